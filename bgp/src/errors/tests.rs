//! Names, and how often.

use super::*;

#[test]
fn whatever_numbers_come_the_names_are_few() {
    let mut errors = PeerErrors::default();
    for code in 0..=u8::MAX {
        for subcode in 0..=u8::MAX {
            let cause = Cause::Received(Notification::new(code, subcode, &[]));
            let reason = String::new();
            errors.count_end(&End { cause, reason }, false);
        }
    }
    let received = &errors.notifications_received;
    assert!(received.len() < 64, "{}", received.len());
    assert_eq!(received.values().sum::<u64>(), 65536);
    assert_eq!(received["OPEN Message Error: Bad Peer AS"], 1);
    assert_eq!(received["Hold Timer Expired"], 1);
    assert_eq!(received["Hold Timer Expired: other"], 255);
    assert_eq!(received["other"], (256 - 7) * 256);
    assert!(errors.notifications_sent.is_empty());
}

#[test]
fn an_update_counts_once_for_each_kind_of_fault() {
    let fault = |action| AttributeError {
        action,
        code: 1,
        detail: String::new(),
    };
    let mut errors = PeerErrors::default();
    errors.count_update(&[
        fault(AttributeErrorAction::Discard),
        fault(AttributeErrorAction::Discard),
        fault(AttributeErrorAction::TreatAsWithdraw),
    ]);
    errors.count_update(&[]);
    let counted = PeerErrors {
        attributes_discarded: 1,
        treated_as_withdraw: 1,
        ..PeerErrors::default()
    };
    assert_eq!(errors, counted);
}

#[test]
fn what_we_close_ourselves_without_a_word_is_not_lost() {
    let lost = End {
        cause: Cause::Lost,
        reason: String::new(),
    };
    let mut errors = PeerErrors::default();
    errors.count_end(&lost, true);
    assert_eq!(errors, PeerErrors::default());
    errors.count_end(&lost, false);
    assert_eq!(errors.connections_lost, 1);
}
