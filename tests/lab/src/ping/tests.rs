//! Requests, answers and the counting, without a socket.

use super::*;

fn probe() -> Probe {
    Probe {
        source: "10.233.0.1".parse().unwrap(),
        target: "10.233.1.1".parse().unwrap(),
        id: 0xabcd,
    }
}

fn reply_to(request: [u8; 16]) -> Vec<u8> {
    let mut message = request;
    message[0] = 0;
    let mut header = [0u8; 20];
    header[0] = 0x45;
    [&header[..], &message].concat()
}

#[test]
fn the_checksum_of_a_whole_request_is_zero() {
    assert_eq!(checksum(&request(&probe(), 7, 70_000)), 0);
}

#[test]
fn an_answer_is_matched_by_the_number_that_it_carries() {
    let packet = reply_to(request(&probe(), 7, 70_000));
    assert_eq!(answer(&probe(), &packet), Some(70_000));
}

#[test]
fn an_answer_to_another_pinger_is_not_ours() {
    let packet = reply_to(request(&Probe { id: 1, ..probe() }, 7, 7));
    assert_eq!(answer(&probe(), &packet), None);
}

#[test]
fn a_request_from_the_target_is_no_answer() {
    let mut packet = reply_to(request(&probe(), 7, 7));
    packet[20] = 8;
    assert_eq!(answer(&probe(), &packet), None);
}

#[test]
fn what_was_not_answered_is_lost_and_a_second_answer_changes_nothing() {
    let mut book: Vec<_> = (0..4)
        .map(|_| Entry {
            sent: Instant::now(),
            answered: None,
        })
        .collect();
    for number in [Some(0), Some(2), Some(2), None, Some(99)] {
        note(&mut book, number);
    }
    let tally = tally(&book);
    assert_eq!((tally.sent, tally.lost), (4, vec![1, 3]));
}
