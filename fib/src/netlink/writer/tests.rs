//! Answers as bytes, and the writer against a real kernel in a namespace of its own.

use std::net::IpAddr;

use smallvec::smallvec;

use super::*;
use crate::kernel::{Event, Hop, Key, Spec};
use crate::netlink::{events, in_namespace};

#[test]
fn an_error_carries_the_kernels_words() {
    let mut datagram = answer(
        7,
        -22,
        NLM_F_CAPPED | NLM_F_ACK_TLVS,
        b"Nexthop has invalid gateway\0",
    );
    datagram.extend(answer(8, 0, NLM_F_CAPPED, b""));
    let answers: Vec<_> = Answers(&datagram).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!((answers[0].sequence, answers[0].errno), (7, libc::EINVAL));
    assert_eq!(
        answers[0].refusal().reason,
        "Nexthop has invalid gateway (Invalid argument (os error 22))"
    );
    assert_eq!((answers[1].sequence, answers[1].errno), (8, 0));
}

#[test]
fn broken_answers_end_the_datagram_and_nothing_else() {
    let whole = answer(7, -22, NLM_F_CAPPED | NLM_F_ACK_TLVS, b"text\0");
    for length in 0..whole.len() {
        assert!(Answers(&whole[..length]).count() <= 1);
    }
    let mut short = whole.clone();
    short[0..4].copy_from_slice(&3u32.to_ne_bytes());
    assert_eq!(Answers(&short).count(), 0);
}

#[test]
fn one_refused_message_does_not_stop_the_others_and_is_named() {
    in_namespace(|| {
        let mut writer = Writer::open().unwrap();
        let mut batch: Vec<Write> = (0..10).map(blackhole).collect();
        batch.insert(4, unreachable());
        let outcomes = writer.write(&batch).unwrap();
        for (i, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.is_err(), i == 4, "{i}: {outcome:?}");
        }
        let refusal = outcomes[4].clone().unwrap_err();
        assert_eq!(refusal.errno, libc::ENETUNREACH);
        assert!(
            refusal.reason.starts_with("Nexthop has invalid gateway"),
            "{}",
            refusal.reason
        );
        let again = writer.write(&[blackhole(3)]).unwrap();
        assert_eq!(again[0].clone().unwrap_err().errno, libc::EEXIST);
    });
}

#[test]
fn a_batch_larger_than_a_datagram_is_sent_in_parts() {
    in_namespace(|| {
        let mut writer = Writer::open().unwrap();
        let mut batch: Vec<Write> = (0..20_000).map(blackhole).collect();
        batch.push(unreachable());
        let outcomes = writer.write(&batch).unwrap();
        assert_eq!(outcomes.len(), 20_001);
        assert!(outcomes[..20_000].iter().all(Result::is_ok));
        assert!(outcomes[20_000].is_err());
    });
}

#[test]
fn answers_that_do_not_fit_are_an_overrun_and_the_next_batch_is_not_confused() {
    in_namespace(|| {
        let mut writer = Writer::open().unwrap();
        SockRef::from(writer.socket.as_ref().unwrap())
            .set_recv_buffer_size(1)
            .unwrap();
        let batch: Vec<Write> = (0..256).map(|_| unreachable()).collect();
        assert_eq!(writer.write(&batch), Err(WriteError::Overrun));
        let outcomes = writer.write(&[blackhole(1)]).unwrap();
        assert_eq!(outcomes, [Ok(())]);
    });
}

#[test]
fn a_socket_that_fails_is_replaced_at_the_same_port() {
    in_namespace(|| {
        let mut writer = Writer::open().unwrap();
        let port = writer.port();
        // Nobody is there: to send is refused.
        let socket = writer.socket.as_ref().unwrap();
        socket.connect(&SocketAddr::new(port + 1, 0)).unwrap();
        let error = writer.write(&[blackhole(1)]).unwrap_err();
        assert!(matches!(error, WriteError::Failed(_)), "{error}");
        assert_eq!(writer.write(&[blackhole(1)]), Ok(vec![Ok(())]));
        let mut address = SocketAddr::new(0, 0);
        let socket = writer.socket.as_ref().unwrap();
        socket.get_address(&mut address).unwrap();
        assert_eq!((address.port_number(), writer.port()), (port, port));
    });
}

#[test]
fn own_writes_are_no_events_and_too_many_of_others_are_an_overrun() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut own = Writer::open().unwrap();
            let mut other = Writer::open().unwrap();
            let mut events = events::subscribe(own.port()).unwrap();
            own.write(&[blackhole(0)]).unwrap();
            other.write(&[blackhole(1)]).unwrap();
            let Some(Event::Route { key, by, .. }) = events.recv().await else {
                panic!("no route event");
            };
            assert_eq!((key, by), (self::key(1), other.port()));

            // Nobody reads meanwhile: this thread is the one that would.
            let flood: Vec<Write> = (2..40_000).map(blackhole).collect();
            other.write(&flood).unwrap();
            loop {
                let event = events.recv().await.unwrap();
                if event == Event::Overrun {
                    break;
                }
            }
        });
    });
}

fn answer(sequence: u32, errno: i32, flags: u16, text: &[u8]) -> Vec<u8> {
    let mut body = errno.to_ne_bytes().to_vec();
    body.extend([0; HEADER_BYTES]);
    if flags & NLM_F_ACK_TLVS != 0 {
        body.extend((4 + text.len() as u16).to_ne_bytes());
        body.extend(NLMSGERR_ATTR_MSG.to_ne_bytes());
        body.extend(text);
    }
    let mut message = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(NLMSG_ERROR.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(0u32.to_ne_bytes());
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

fn key(i: u32) -> Key {
    let address = std::net::Ipv4Addr::from(0x0a00_0000 + i);
    Key::new(IpAddr::V4(address).into(), 0)
}

fn blackhole(i: u32) -> Write {
    Write::Set {
        key: key(i),
        spec: Spec::blackhole(67),
        replace: false,
    }
}

/// Through a gateway that is on no link.
fn unreachable() -> Write {
    let key = Key::new("10.233.0.0/16".parse().unwrap(), 0);
    let hop = Hop {
        via: Some("192.0.2.1".parse().unwrap()),
        device: 1,
        onlink: false,
        weight: 0,
    };
    Write::Set {
        key,
        spec: Spec::unicast(67, &key.prefix, smallvec![hop]),
        replace: false,
    }
}
