//! How a NOTIFICATION reads.

use super::*;
use crate::wire::iana::{fsm_error, update_error};

fn text(code: u8, subcode: u8, data: &[u8]) -> String {
    Notification::new(code, subcode, data).to_string()
}

#[test]
fn code_and_subcode_are_named_in_the_words_of_the_rfcs() {
    let as_path = update_error::MALFORMED_AS_PATH;
    assert_eq!(
        text(3, as_path, &[]),
        "UPDATE Message Error: Malformed AS_PATH"
    );
    assert_eq!(text(4, 0, &[]), "Hold Timer Expired");
    let fsm = fsm_error::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM;
    assert_eq!(
        text(5, fsm, &[]),
        "Finite State Machine Error: Receive Unexpected Message in OpenConfirm State"
    );
    assert_eq!(text(6, 7, &[]), "Cease: Connection Collision Resolution");
    assert_eq!(
        text(2, 6, &[]),
        "OPEN Message Error: Unacceptable Hold Time"
    );
}

#[test]
fn every_named_subcode_belongs_to_a_named_code() {
    let mut named = 0;
    for code in 0..=u8::MAX {
        for subcode in 0..=u8::MAX {
            if error_subcode_name(code, subcode).is_some() {
                assert!(error_name(code).is_some(), "code {code}");
                assert_ne!(subcode, UNSPECIFIC);
                named += 1;
            }
        }
    }
    assert_eq!(named, 3 + 7 + 10 + 3 + 10 + 1);
}

#[test]
fn unknown_numbers_are_shown_as_numbers() {
    assert_eq!(text(99, 3, &[]), "error code 99: subcode 3");
    assert_eq!(text(6, 200, &[]), "Cease: subcode 200");
    assert_eq!(text(2, 0, &[]), "OPEN Message Error");
}

#[test]
fn data_are_shown_but_not_all_of_them() {
    assert_eq!(
        text(1, 2, &[0x13, 0x88]),
        "Message Header Error: Bad Message Length, data 0x1388"
    );
    let long = text(3, 1, &[0xab; 4000]);
    assert!(long.ends_with("ab... (4000 octets)"), "{long}");
    assert!(long.len() < 150);
}

#[test]
fn a_shutdown_communication_is_quoted_and_cannot_forge_a_log_line() {
    let notification =
        Notification::cease_with_communication(2, "bye\n2027 peer up\u{1b}[2J\u{202e}");
    assert_eq!(
        notification.to_string(),
        r#"Cease: Administrative Shutdown "bye\n2027 peer up\u{1b}[2J\u{202e}""#
    );
}

#[test]
fn a_communication_survives_and_is_cut_between_characters() {
    let notification = Notification::cease_with_communication(4, "maintenance, back at 18:00");
    assert_eq!(
        notification.communication().as_deref(),
        Some("maintenance, back at 18:00")
    );

    let long = Notification::cease_with_communication(2, &"ä".repeat(200));
    assert_eq!(long.data.len(), 255);
    assert_eq!(long.communication(), Some("ä".repeat(127)));
}

#[test]
fn a_malformed_communication_is_none() {
    for data in [&[][..], &[0], &[5, b'a'], &[255]] {
        assert_eq!(
            Notification::new(6, 2, data).communication(),
            None,
            "{data:?}"
        );
    }
    // Not where nobody promised a text.
    assert_eq!(Notification::new(6, 5, &[1, b'a']).communication(), None);
    // Not UTF-8: shown as well as can be.
    let latin1 = Notification::new(6, 2, &[2, b'a', 0xe4]);
    assert_eq!(latin1.communication().as_deref(), Some("a\u{fffd}"));
}

#[test]
fn a_hard_reset_names_its_cause() {
    assert_eq!(
        text(6, 9, &[6, 3]),
        "Cease: Hard Reset (Peer De-configured)"
    );
    assert_eq!(
        text(6, 9, &[6, 9, 6, 9, 6, 9]),
        "Cease: Hard Reset (Hard Reset)"
    );
    assert_eq!(text(6, 9, &[6]), "Cease: Hard Reset, data 0x06");
}

#[test]
fn a_hard_reset_carries_the_words_of_its_cause() {
    let cause = Notification::cease_with_communication(2, "maintenance");
    let hard = Notification::hard_reset(&cause);
    assert_eq!((hard.code, hard.subcode), (6, 9));
    assert_eq!(hard.data[..3], [6, 2, 11]);
    assert_eq!(
        hard.to_string(),
        r#"Cease: Hard Reset (Administrative Shutdown "maintenance")"#
    );
}

/// RFC 4486 §4.
#[test]
fn a_prefix_limit_says_which() {
    let limit = Notification::prefix_limit(Family::Ipv6Unicast, 1000);
    assert_eq!(limit, Notification::new(6, 1, &[0, 2, 1, 0, 0, 3, 0xe8]));
    assert_eq!(
        limit.to_string(),
        "Cease: Maximum Number of Prefixes Reached (ipv6-unicast, at most 1000)"
    );
    assert_eq!(
        text(6, 1, &[0, 25, 70, 0, 0, 0, 1]),
        "Cease: Maximum Number of Prefixes Reached (AFI 25, SAFI 70, at most 1)"
    );
    assert_eq!(
        text(6, 1, &[0, 2]),
        "Cease: Maximum Number of Prefixes Reached, data 0x0002"
    );
    let huge = Notification::prefix_limit(Family::Ipv4Unicast, usize::MAX);
    assert_eq!(huge.data[3..], [255; 4]);
}
