//! The complete table of state and input, and the way bytes become inputs.

use std::net::Ipv4Addr;

use super::*;
use crate::config::AddPath;
use crate::wire::iana::{cease, header_error};
use crate::wire::{Capability, iana::open_error};

/// What a cell of the table says.
#[derive(Debug, PartialEq, Eq)]
enum Cell {
    /// Stays, and sends nothing.
    Stay,
    /// Stays, and sends KEEPALIVE.
    Keepalive,
    /// Stays, and hands something on.
    Deliver,
    /// Goes there, and sends nothing.
    Go(State),
    /// Sends OPEN, and waits for the peer's.
    Begin,
    /// The same, and has the peer's already.
    Open,
    /// Closed with this NOTIFICATION (code, subcode).
    Send(u8, u8),
    /// Closed without a word.
    Close,
}

use Cell::{Begin, Close, Deliver, Go, Keepalive, Open as OpenBoth, Send, Stay};
use State::{Closed, DelayOpen, Established, OpenConfirm, OpenSent};

#[test]
fn every_state_answers_every_input_as_the_table_says() {
    let stop = || Input::Stop(Some(Notification::new(6, 2, &[])), "enough".to_owned());
    let malformed = || Input::Malformed(Notification::new(1, 3, &[9]));
    #[rustfmt::skip]
    let table: [(Input, [Cell; 4]); 18] = [
        // input                               DelayOpen        OpenSent         OpenConfirm    Established
        // The same once more is what some speakers do; another one is not.
        (Input::Open(open(64512)),            [OpenBoth,        Go(OpenConfirm), Stay,          Send(5, 3)]),
        (Input::Open(open(64999)),            [Send(2, 2),      Send(2, 2),      Send(5, 2),    Send(5, 3)]),
        (Input::Keepalive,                    [Send(5, 0),      Send(5, 1),      Go(Established), Stay]),
        (Input::Update(Box::default()),       [Send(5, 0),      Send(5, 1),      Send(5, 2),    Deliver]),
        (refresh(Some(Family::Ipv4Unicast)),  [Send(5, 0),      Send(5, 1),      Send(5, 2),    Deliver]),
        (refresh(None),                       [Send(5, 0),      Send(5, 1),      Send(5, 2),    Deliver]),
        (notification(6, 2),                  [Close,           Close,           Close,         Close]),
        (notification(2, 1),                  [Close,           Close,           Close,         Close]),
        (notification(77, 77),                [Close,           Close,           Close,         Close]),
        (malformed(),                         [Send(1, 3),      Send(1, 3),      Send(1, 3),    Send(1, 3)]),
        (Input::DelayOpenTimerExpires,        [Begin,           Stay,            Stay,          Stay]),
        (Input::HoldTimerExpires,             [Send(4, 0),      Send(4, 0),      Send(4, 0),    Send(4, 0)]),
        (Input::KeepaliveTimerExpires,        [Stay,            Stay,            Keepalive,     Keepalive]),
        (Input::Lost("reset".to_owned()),     [Close,           Close,           Close,         Close]),
        (Input::Proceed,                      [Stay,            Stay,            Stay,          Stay]),
        (stop(),                              [Send(6, 2),      Send(6, 2),      Send(6, 2),    Send(6, 2)]),
        (Input::Stop(None, "moved".into()),   [Close,           Close,           Close,         Close]),
        (Input::Open(no_common_family()),     [Send(2, 7),      Send(2, 7),      Send(5, 2),    Send(5, 3)]),
    ];
    for (input, cells) in table {
        for (state, cell) in STATES.into_iter().zip(cells) {
            let mut connection = in_state(state);
            let outcome = connection.step(NOW, input.clone());
            let is = cell_of(state, &connection, &outcome);
            assert_eq!(is, cell, "{state:?}, {input:?}: {outcome:?}");
        }
        let mut closed = in_state(Closed);
        assert_eq!(closed.step(NOW, input), Outcome::Nothing);
        assert_eq!((closed.state(), closed.transmit.len()), (Closed, 0));
    }
}

#[test]
fn with_delay_open_the_peer_may_speak_first_and_after_a_while_we_do() {
    let mut waiting = in_state(DelayOpen);
    let deadline = NOW + Duration::from_secs(10);
    assert_eq!(waiting.next_deadline(), Some(deadline));
    assert_eq!(waiting.due(deadline), Some(Input::DelayOpenTimerExpires));
    waiting.step(deadline, Input::DelayOpenTimerExpires);
    assert_eq!(waiting.state(), OpenSent);
    let hold = deadline + OPEN_SENT_HOLD_TIME;
    assert_eq!(waiting.next_deadline(), Some(hold), "and no longer waits");

    let mut spoken_to = in_state(DelayOpen);
    let both = [Message::Open(open(64512)), Message::Keepalive];
    feed(&mut spoken_to, &from_remote(&both));
    assert_eq!(spoken_to.state(), Established);
    let said = messages(&spoken_to.transmit);
    assert_eq!(said, [Message::Open(offer().open()), Message::Keepalive]);
    let theirs = from_remote(&both[..1]);
    assert_eq!(spoken_to.received_open.as_ref(), theirs.as_slice());
}

#[test]
fn an_open_that_comes_twice_neither_ends_the_connection_nor_prolongs_it() {
    let mut connection = in_state(OpenConfirm);
    let deadline = connection.next_deadline();
    let later = NOW + Duration::from_secs(5);
    assert_eq!(
        connection.step(later, Input::Open(open(64512))),
        Outcome::Nothing
    );
    assert_eq!(connection.next_deadline(), deadline);
    assert_eq!(connection.step(later, Input::Keepalive), Outcome::Up);
    let mut connection = in_state(OpenConfirm);
    let other = Open {
        router_id: Ipv4Addr::new(203, 0, 113, 9),
        ..open(64512)
    };
    let outcome = connection.step(later, Input::Open(other));
    assert!(matches!(outcome, Outcome::Ended(_)), "{outcome:?}");
}

#[test]
fn a_connection_is_established_when_both_have_confirmed_it_and_nothing_holds_it() {
    let opened = || {
        let mut connection = in_state(OpenSent);
        connection.step(NOW, Input::Open(open(64512)));
        connection.transmit.clear();
        connection
    };
    let mut early = opened();
    assert_eq!(early.step(NOW, Input::Keepalive), Outcome::Nothing);
    assert_eq!(early.step(NOW, Input::Proceed), Outcome::Up);
    assert_eq!(messages(&early.transmit), [Message::Keepalive]);

    let mut held = opened();
    held.step(NOW, Input::Proceed);
    let until = NOW + Duration::from_secs(5);
    held.hold(until);
    assert_eq!(held.step(NOW, Input::Keepalive), Outcome::Nothing);
    assert_eq!(
        (held.state(), held.next_deadline()),
        (OpenConfirm, Some(until))
    );
    assert_eq!(held.due(until), Some(Input::Proceed));
    assert_eq!(held.step(until, Input::Proceed), Outcome::Up);
    held.hold(until);
    assert!(!held.is_held(), "what is Established stays");
}

#[test]
fn the_outcome_says_what_the_peer_must_do() {
    assert_eq!(
        in_state(OpenSent).step(NOW, Input::Open(open(64512))),
        Outcome::Opened
    );
    assert_eq!(
        in_state(OpenConfirm).step(NOW, Input::Keepalive),
        Outcome::Up
    );
    let family = Family::Ipv6Unicast;
    assert_eq!(
        in_state(Established).step(NOW, refresh(Some(family))),
        Outcome::Refresh(Some(RouteRefresh::request(family)))
    );
    let Outcome::Ended(end) = in_state(OpenSent).step(NOW, Input::Open(open(64999))) else {
        panic!("not ended")
    };
    assert_eq!(
        end.reason,
        "sent OPEN Message Error: Bad Peer AS (the peer's AS is 64999, configured is 64512)"
    );
}

#[test]
fn a_hold_timer_runs_from_the_last_message_and_keepalives_come_three_times_as_often() {
    let mut connection = in_state(Established);
    let deadline = connection.next_deadline().unwrap();
    assert!(
        deadline <= NOW + Duration::from_secs(30)
            && deadline >= NOW + Duration::from_millis(22_500)
    );
    assert_eq!(
        connection.due(NOW + Duration::from_secs(30)),
        Some(Input::KeepaliveTimerExpires)
    );
    assert_eq!(
        connection.due(NOW + Duration::from_secs(90)),
        Some(Input::HoldTimerExpires)
    );
    connection.step(NOW + Duration::from_secs(80), Input::Keepalive);
    connection.step(NOW + Duration::from_secs(80), Input::KeepaliveTimerExpires);
    assert_eq!(connection.due(NOW + Duration::from_secs(100)), None);
    assert_eq!(
        connection.due(NOW + Duration::from_secs(170)),
        Some(Input::HoldTimerExpires)
    );
}

#[test]
fn with_hold_time_zero_there_are_neither_keepalives_nor_a_hold_timer() {
    let mut connection = in_state(OpenSent);
    assert_eq!(
        connection.due(NOW + OPEN_SENT_HOLD_TIME),
        Some(Input::HoldTimerExpires)
    );
    connection.step(
        NOW,
        Input::Open(Open {
            hold_time_seconds: 0,
            ..open(64512)
        }),
    );
    connection.step(NOW, Input::Proceed);
    connection.step(NOW, Input::Keepalive);
    assert_eq!(
        (connection.state(), connection.next_deadline()),
        (Established, None)
    );
}

#[test]
fn bytes_may_be_cut_anywhere() {
    let whole = from_remote(&[
        Message::Open(open(64512)),
        Message::Keepalive,
        Message::Keepalive,
    ]);
    for cut in 1..whole.len() {
        let mut connection = in_state(OpenSent);
        for part in whole.chunks(cut) {
            feed(&mut connection, part);
        }
        assert_eq!(
            (connection.state(), connection.received.len()),
            (Established, 0),
            "cut at {cut}"
        );
        assert_eq!(connection.traffic.messages_received, 3);
    }
}

#[test]
fn what_comes_after_a_notification_is_ignored() {
    let mut bytes = from_remote(&[Message::Notification(Notification::new(6, 4, &[]))]);
    bytes.extend([0; 100]);
    let mut connection = in_state(Established);
    feed(&mut connection, &bytes);
    feed(&mut connection, &[0; 100]);
    assert_eq!((connection.state(), connection.transmit.len()), (Closed, 0));
    assert_eq!(connection.received.capacity(), 0);
}

#[test]
fn garbage_is_answered_with_the_notification_that_fits() {
    let header = |length: u16, kind: u8| {
        let mut bytes = vec![0xff; 16];
        bytes.extend(length.to_be_bytes());
        bytes.push(kind);
        bytes
    };
    let cases = [
        (vec![0; 19], header_error::CONNECTION_NOT_SYNCHRONIZED),
        (header(18, 4), header_error::BAD_MESSAGE_LENGTH),
        (header(0, 2), header_error::BAD_MESSAGE_LENGTH),
        (header(65535, 2), header_error::BAD_MESSAGE_LENGTH),
        (header(20, 4), header_error::BAD_MESSAGE_LENGTH),
        (header(19, 9), header_error::BAD_MESSAGE_TYPE),
    ];
    for (bytes, subcode) in cases {
        for state in STATES {
            let mut connection = in_state(state);
            feed(&mut connection, &bytes);
            assert_eq!(sent(&connection), [(1, subcode)], "{state:?} {bytes:?}");
            assert_eq!(connection.state(), Closed);
        }
    }
    let mut waiting = in_state(Established);
    feed(&mut waiting, &header(4096, 2));
    assert_eq!(
        waiting.state(),
        Established,
        "the rest of the message may still come"
    );
}

#[test]
fn only_an_end_that_was_not_meant_keeps_paths() {
    let end = |cause| End {
        cause,
        reason: String::new(),
    };
    let cease = |subcode| Notification::new(error_code::CEASE, subcode, &[]);
    // cause, graceful without and with RFC 8538, protocol error
    let table = [
        (Cause::Lost, true, true, false),
        (Cause::HoldTimer, false, true, false),
        (
            Cause::Sent(cease(cease::PEER_DE_CONFIGURED)),
            false,
            true,
            false,
        ),
        (
            Cause::Received(cease(cease::ADMINISTRATIVE_SHUTDOWN)),
            false,
            true,
            false,
        ),
        (
            Cause::Received(cease(cease::HARD_RESET)),
            false,
            false,
            false,
        ),
        (Cause::Sent(cease(cease::HARD_RESET)), false, false, false),
        (
            Cause::Received(Notification::new(4, 0, &[])),
            false,
            true,
            false,
        ),
        (Cause::Sent(Notification::new(3, 1, &[])), false, true, true),
        (
            Cause::Received(Notification::new(2, 2, &[])),
            false,
            true,
            true,
        ),
    ];
    for (cause, without, with, error) in table {
        let end = end(cause);
        assert_eq!(
            (end.is_graceful(false), end.is_graceful(true)),
            (without, with),
            "{end:?}"
        );
        assert_eq!(end.is_protocol_error(), error, "{end:?}");
    }
}

const STATES: [State; 4] = [DelayOpen, OpenSent, OpenConfirm, Established];

const NOW: Time = Time::from_micros(1_000_000);

fn offer() -> Offer {
    Offer {
        local_asn: 64512,
        remote_asn: 64512.into(),
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        hold_time: Duration::from_secs(90),
        families: vec![Family::Ipv4Unicast],
        role: None,
        role_strict: false,
        add_path: AddPath::default(),
        graceful_restart: None,
        restarting: false,
        long_lived: Vec::new(),
        extended_messages: false,
        extended_next_hop: false,
        hostname: None,
        software: None,
    }
}

fn open(asn: u32) -> Open {
    let router_id = Ipv4Addr::new(10, 0, 0, 2);
    Open {
        asn,
        ..Offer {
            local_asn: asn,
            router_id,
            ..offer()
        }
        .open()
    }
}

fn no_common_family() -> Open {
    let capabilities = vec![Capability::Multiprotocol(Family::Ipv6Unicast)];
    assert_eq!(open_error::UNSUPPORTED_CAPABILITY, 7);
    Open {
        capabilities,
        ..open(64512)
    }
}

fn refresh(family: Option<Family>) -> Input {
    Input::RouteRefresh(family.map(RouteRefresh::request))
}

fn notification(code: u8, subcode: u8) -> Input {
    Input::Notification(Notification::new(code, subcode, &[]))
}

fn in_state(state: State) -> Connection {
    let local = SocketAddr::from(([10, 0, 0, 1], 179));
    let id = ConnectionId(7);
    let delay_open = (state == DelayOpen).then_some(Duration::from_secs(10));
    let terms = (offer(), delay_open);
    let mut connection = Connection::new(NOW, id, Initiator::Local, local, terms, Rng::new(1));
    if state != OpenSent && state != DelayOpen {
        connection.step(NOW, Input::Open(open(64512)));
        connection.step(NOW, Input::Proceed);
    }
    if state == Established {
        connection.step(NOW, Input::Keepalive);
    }
    if state == Closed {
        connection.step(NOW, Input::Lost(String::new()));
    }
    assert_eq!(connection.state(), state);
    connection.transmit.clear();
    connection
}

fn feed(connection: &mut Connection, bytes: &[u8]) {
    connection.receive(bytes);
    let mut taken = 0;
    while let Some(outcome) = connection.poll(NOW, &mut taken) {
        if outcome == Outcome::Opened {
            connection.step(NOW, Input::Proceed);
        }
    }
    connection.discard(taken);
}

fn from_remote(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages
        .iter()
        .for_each(|message| Codec::initial().encode(message, &mut bytes));
    bytes
}

fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(octets) = Codec::initial().frame(bytes).unwrap() {
        messages.push(Codec::initial().decode(&bytes[..octets]).unwrap());
        bytes = &bytes[octets..];
    }
    assert!(bytes.is_empty());
    messages
}

fn sent(connection: &Connection) -> Vec<(u8, u8)> {
    let notifications = messages(&connection.transmit).into_iter();
    notifications
        .map(|message| match message {
            Message::Notification(notification) => (notification.code, notification.subcode),
            other => panic!("sent {other:?}"),
        })
        .collect()
}

fn cell_of(before: State, connection: &Connection, outcome: &Outcome) -> Cell {
    let said = messages(&connection.transmit);
    match (connection.state(), outcome, said.as_slice()) {
        (Closed, Outcome::Ended(_), [Message::Notification(n)]) => Send(n.code, n.subcode),
        (Closed, Outcome::Ended(_), []) => Close,
        (state, Outcome::Nothing, []) if state == before => Stay,
        (state, Outcome::Nothing, [Message::Keepalive]) if state == before => Keepalive,
        (state, Outcome::Update(_) | Outcome::Refresh(_), []) if state == before => Deliver,
        (OpenSent, Outcome::Nothing, [Message::Open(_)]) => Begin,
        (OpenConfirm, Outcome::Opened, [Message::Open(_)]) => OpenBoth,
        (OpenConfirm, Outcome::Opened, []) => Go(OpenConfirm),
        (Established, Outcome::Up, []) => Go(Established),
        other => panic!("{other:?}"),
    }
}
