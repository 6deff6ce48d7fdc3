use super::*;

#[derive(Debug, serde::Deserialize)]
#[expect(dead_code, reason = "read only to be refused")]
struct Example {
    #[serde(rename = "holdTime")]
    hold_time: u16,
    password: Option<String>,
    more: Option<u16>,
}

fn said(text: &str) -> String {
    fault(text, &serde_saphyr::from_str::<Example>(text).unwrap_err())
}

#[test]
fn without_a_password_the_lines_around_are_shown() {
    let words = said("more: 1\nholdTime: 9x\n");
    assert!(
        words.contains("holdTime: 9x") && words.contains("more: 1"),
        "{words}"
    );
}

#[test]
fn what_is_wrong_is_said_to_somebody_who_has_not_read_the_program() {
    for (text, expected) in [
        ("holdTime: 70000", "not a whole number from 0 to 65535"),
        (
            "holdTime: 1\nholdTime: 2",
            "duplicate mapping key: holdTime",
        ),
        ("[]", "expected keys with values"),
    ] {
        for password in ["", "\nmore: 1 # password"] {
            let words = said(&format!("{text}{password}"));
            assert!(words.contains(expected), "{words}");
            assert!(!words.contains("Policy"), "{words}");
        }
    }
}

#[test]
fn with_a_password_the_line_of_the_fault_is_shown_alone() {
    for text in [
        "password: hush\nmore: 1\nholdTime: 9x\n",
        "holdTime: 9x\npassword: hush\n",
        "more: 1\nholdTime: 9x\npassword: hush\n",
    ] {
        let words = said(text);
        assert!(words.ends_with(": `holdTime: 9x`"), "{words}");
    }
}

#[test]
fn a_line_with_a_password_or_after_one_is_not_shown() {
    for text in [
        "{holdTime: 9x, password: hush}",
        "holdTime: 1\npassword: [hush]\n",
        "holdTime: 1\npassword:\n  [hush]\n",
        "password: hush\nholdTime: hush\n",
        "password: \"hush\n\n",
    ] {
        let words = said(text);
        assert!(!words.contains("hush"), "{words}");
        assert!(words.contains("line"), "{words}");
    }
}
