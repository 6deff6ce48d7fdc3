//! Answers as bytes, and the writer against a real kernel in a namespace of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use netlink_sys::TokioSocket;
use rtnetlink::MulticastGroup;
use smallvec::smallvec;
use tokio::sync::mpsc;

use super::*;
use crate::kernel::{Event, Hop, Key, Lane, Spec};
use crate::netlink::follow::{self, Receive};
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
        SockRef::from(&writer.socket)
            .set_recv_buffer_size(1)
            .unwrap();
        let batch: Vec<Write> = (0..256).map(|_| unreachable()).collect();
        assert_eq!(writer.write(&batch), Err(WriteError::Overrun));
        let outcomes = writer.write(&[blackhole(1)]).unwrap();
        assert_eq!(outcomes, [Ok(())]);
    });
}

#[test]
fn a_socket_that_fails_is_replaced_and_who_gets_its_port_is_heard() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut own = Writer::open().unwrap();
            let (sender, mut events) = mpsc::channel(100_000);
            events::subscribe(own.port(), sender).unwrap();
            let port = own.port().number();
            fail(&mut own);
            let mut thief = Socket::new(NETLINK_ROUTE).unwrap();
            let at_port = SocketAddr::new(port, 0);
            let taken = thief.bind(&at_port).unwrap_err();
            assert_eq!(taken.raw_os_error(), Some(libc::EADDRINUSE));
            assert_eq!(own.write(&[blackhole(1)]), Ok(vec![Ok(())]));
            assert_ne!(own.port().number(), port);
            // Now it is free.
            thief.bind(&at_port).unwrap();
            let mut message = Vec::new();
            encode::message(&mut message, &blackhole(2), 1);
            thief.send_to(&message, &SocketAddr::new(0, 0), 0).unwrap();
            own.write(&[blackhole(3)]).unwrap();
            let mut other = Writer::open().unwrap();
            other.write(&[blackhole(4)]).unwrap();
            let mut heard = Vec::new();
            while heard.len() < 2 {
                let Some(Event::Route { key, by, .. }) = events.recv().await else {
                    panic!("no route event");
                };
                heard.push((key, by));
            }
            let others = [(key(2), port), (key(4), other.port().number())];
            assert_eq!(heard, others);
        });
    });
}

#[test]
fn events_are_heard_again_after_their_socket_was_lost() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let own = Writer::open().unwrap();
            let mut other = Writer::open().unwrap();
            let lose = Arc::new(AtomicBool::new(false));
            let (of_first, port) = (lose.clone(), own.port().clone());
            let mut opened = 0;
            let open = move || {
                opened += 1;
                if opened == 2 {
                    return Err(io::Error::from_raw_os_error(libc::EMFILE));
                }
                Ok(Losable {
                    socket: follow::open(&[MulticastGroup::Ipv4Route], &port)?,
                    lose: if opened == 1 {
                        of_first.clone()
                    } else {
                        Arc::default()
                    },
                })
            };
            let (sender, mut events) = mpsc::channel(100_000);
            events::subscribe_by(open, own.port(), sender).unwrap();
            other.write(&[blackhole(1)]).unwrap();
            let heard = events.recv().await.unwrap();
            assert!(
                matches!(heard, Event::Route { key, .. } if key == self::key(1)),
                "{heard:?}"
            );
            lose.store(true, Ordering::Relaxed);
            other.write(&[blackhole(2)]).unwrap();
            let reason = io::Error::from_raw_os_error(libc::EBADF).to_string();
            let lost = Event::SocketLost(Lane::Events, reason);
            assert_eq!(events.recv().await, Some(lost));
            assert_eq!(events.recv().await, Some(Event::SocketBack(Lane::Events)));
            other.write(&[blackhole(3)]).unwrap();
            let heard = events.recv().await.unwrap();
            assert!(
                matches!(heard, Event::Route { key, .. } if key == self::key(3)),
                "{heard:?}"
            );
        });
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
            let (sender, mut events) = mpsc::channel(100_000);
            events::subscribe(own.port(), sender).unwrap();
            own.write(&[blackhole(0)]).unwrap();
            other.write(&[blackhole(1)]).unwrap();
            let Some(Event::Route { key, by, .. }) = events.recv().await else {
                panic!("no route event");
            };
            assert_eq!((key, by), (self::key(1), other.port().number()));

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

#[test]
fn what_nobody_takes_fills_the_kernels_buffer_and_no_memory_of_ours() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let own = Writer::open().unwrap();
            let mut other = Writer::open().unwrap();
            let (sender, mut events) = mpsc::channel(8);
            events::subscribe(own.port(), sender).unwrap();
            let flood: Vec<Write> = (0..40_000).map(blackhole).collect();
            for part in flood.chunks(500) {
                other.write(part).unwrap();
                // Time enough to take all of it, if there were room.
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                assert!(events.len() <= 8);
            }
            while events.recv().await.unwrap() != Event::Overrun {}
        });
    });
}

/// Nobody is there: to send is refused.
fn fail(writer: &mut Writer) {
    writer.lose();
    let error = writer.write(&[blackhole(1)]).unwrap_err();
    assert!(matches!(error, WriteError::Failed(_)), "{error}");
}

/// A socket of the kernel that can be lost.
struct Losable {
    socket: TokioSocket,
    lose: Arc<AtomicBool>,
}

impl Receive for Losable {
    fn poll_receive(&self, context: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let received = Receive::poll_receive(&self.socket, context);
        match self.lose.load(Ordering::Relaxed) {
            true => Poll::Ready(Err(io::Error::from_raw_os_error(libc::EBADF))),
            false => received,
        }
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        Receive::receive(&self.socket, buffer)
    }
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
