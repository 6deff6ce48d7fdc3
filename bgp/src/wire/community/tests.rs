//! Communities as text.

use super::*;

#[test]
fn a_community_is_two_numbers() {
    let community = Community(64512 << 16 | 100);
    assert_eq!(community.to_string(), "64512:100");
    assert_eq!("64512:100".parse(), Ok(community));
    assert_eq!("65535:65535".parse(), Ok(Community(u32::MAX)));
}

#[test]
fn other_texts_are_no_community() {
    for text in [
        "",
        "1",
        "1:",
        ":1",
        "1:65536",
        "70000:1",
        "1:2:3",
        "+1:2",
        "1: 2",
        "no-export",
    ] {
        let error = text.parse::<Community>().expect_err(text);
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}
