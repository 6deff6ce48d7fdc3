//! What is written, and who is meant.

use super::*;

#[test]
fn it_is_written_as_a_number_or_a_word() {
    let cases = [
        (RemoteAs::Number(64512), "64512"),
        (RemoteAs::External, "\"external\""),
        (RemoteAs::Internal, "\"internal\""),
    ];
    for (remote, text) in cases {
        assert_eq!(serde_json::to_string(&remote).unwrap(), text);
        assert_eq!(serde_json::from_str::<RemoteAs>(text).unwrap(), remote);
        assert_eq!(remote.to_string(), text.trim_matches('"'));
    }
    let fault = serde_json::from_str::<RemoteAs>("\"extern\"").unwrap_err();
    let words = "neither an AS number nor `external` nor `internal`";
    assert!(fault.to_string().contains(words), "{fault}");
}

#[test]
fn who_is_admitted_is_who_is_meant() {
    // remote, admits 64512 (ours) and 65001, is external
    let table = [
        (RemoteAs::Number(64512), [true, false], false),
        (RemoteAs::Number(65001), [false, true], true),
        (RemoteAs::External, [false, true], true),
        (RemoteAs::Internal, [true, false], false),
    ];
    for (remote, admits, external) in table {
        let is = [64512, 65001].map(|asn| remote.admits(asn, 64512));
        assert_eq!(
            (is, remote.is_external(64512)),
            (admits, external),
            "{remote}"
        );
    }
}
