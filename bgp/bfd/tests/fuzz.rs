//! Decoder and set under fire: packets that are good, nearly good and not at all, in any order, at any time.
//!
//! `CARACAL_FUZZ_PACKETS` says how many (200,000 when it is not set), `CARACAL_SEED` which.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "how a test fails")]
#![allow(clippy::print_stdout, reason = "the seed of a failed run")]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use caracal_bfd::{Kind, Packet, SessionConfig, Sessions, State};

/// xorshift64*, so that a run depends on its seed and nothing else.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

fn number_of(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

fn packets() -> u64 {
    number_of("CARACAL_FUZZ_PACKETS", 200_000)
}

fn random() -> Random {
    let seed = number_of("CARACAL_SEED", 1);
    println!("CARACAL_SEED={seed}");
    Random(seed | 1 << 63)
}

/// A payload that often is right but for one thing.
fn payload(random: &mut Random, discriminators: &[u32]) -> Vec<u8> {
    let mut payload = vec![0x20, 0, 3, 24];
    payload[0] |= random.octet() & 0x1f;
    // State, P, F, C, D; A and M by mutation.
    payload[1] = random.octet() & 0xfa;
    payload[2] = [1, 3, 255][random.below(3) as usize];
    payload.extend((random.below(3) as u32 + 1).to_be_bytes());
    let your = match random.below(4) {
        0 => 0,
        _ => discriminators[random.below(discriminators.len() as u64) as usize],
    };
    payload.extend(your.to_be_bytes());
    for _ in 0..3 {
        let interval = [0, 1, 50_000, 1_000_000, u32::MAX][random.below(5) as usize];
        payload.extend(interval.to_be_bytes());
    }
    if random.below(3) == 0 {
        let at = random.below(24) as usize;
        payload[at] = random.octet();
    }
    match random.below(20) {
        0 => payload.truncate(random.below(25) as usize),
        1 => payload.extend([0xff; 9]),
        _ => {}
    }
    payload
}

#[test]
fn what_is_decoded_means_the_same_when_it_is_sent_again() {
    let mut random = random();
    let mut decoded = 0;
    for _ in 0..packets() {
        let payload = payload(&mut random, &[1, 2, 3]);
        if let Ok(packet) = Packet::decode(&payload) {
            assert_eq!(
                Packet::decode(&packet.encode()),
                Ok(packet),
                "{payload:02x?}"
            );
            decoded += 1;
        }
    }
    assert!(decoded > packets() / 4, "only {decoded} were good");
}

#[test]
fn noise_is_never_a_panic() {
    let mut random = random();
    for _ in 0..packets() {
        let length = random.below(40);
        let payload: Vec<u8> = (0..length).map(|_| random.octet()).collect();
        if let Ok(packet) = Packet::decode(&payload) {
            assert_eq!(
                Packet::decode(&packet.encode()),
                Ok(packet),
                "{payload:02x?}"
            );
        }
    }
}

fn config(random: &mut Random, host: u8) -> SessionConfig {
    let interval = |random: &mut Random| {
        let micros = [10_000, 300_000, 2_000_000, u32::MAX][random.below(4) as usize];
        Duration::from_micros(micros.into())
    };
    SessionConfig {
        remote: IpAddr::from([10, 0, 0, host]),
        local: IpAddr::from([10, 0, 1, 1]),
        interface: 0,
        kind: [Kind::SingleHop, Kind::MultiHop][usize::from(host % 2)],
        min_tx: interval(random),
        min_rx: interval(random),
        multiplier: random.octet().max(1),
        admin_down: random.below(8) == 0,
    }
}

#[test]
fn a_set_survives_any_packets_changes_and_clock() {
    let mut random = random();
    let mut sessions = Sessions::new(7);
    let mut now = Duration::ZERO;
    let mut ids = Vec::new();
    let mut ups = 0;
    for host in 0..8 {
        let config = config(&mut random, host);
        ids.push(sessions.set(now, config).unwrap());
    }
    for _ in 0..packets() {
        let host = random.below(8) as u8;
        match random.below(40) {
            0 => {
                let config = config(&mut random, host);
                ids[usize::from(host)] = sessions.set(now, config).unwrap();
            }
            1 => sessions.remove(now, ids[usize::from(host)]),
            _ => {
                let numbers: Vec<u32> = ids.iter().map(|id| id.number()).collect();
                let payload = payload(&mut random, &numbers);
                let port = [3784, 4784][usize::from(host % 2)];
                let source = SocketAddr::from(([10, 0, 0, host], 50_000));
                let destination = SocketAddr::from(([10, 0, 1, 1], port));
                // Most are discarded; that is not what is asked here.
                let _ = sessions.handle_packet(now, source, destination, 255, &payload);
            }
        }
        now += Duration::from_micros([0, 10, 1_000, 400_000][random.below(4) as usize]);
        sessions.handle_timeout(now);
        let mut sent = 0;
        while let Some(transmit) = sessions.poll_transmit(now) {
            let packet = Packet::decode(&transmit.bytes).expect("what we send is no error");
            assert!(!(packet.poll && packet.finale));
            let slow = packet.state == State::Up || packet.desired_min_tx >= Duration::from_secs(1);
            assert!(slow, "{packet:?}");
            sent += 1;
        }
        assert!(sent <= 24, "one packet made us send {sent}");
        while let Some(event) = sessions.poll_event() {
            ups += u64::from(matches!(event, caracal_bfd::Event::Up { .. }));
        }
        assert!(
            sessions.poll_timeout().is_none_or(|at| at > now),
            "woken for nothing"
        );
        assert!(sessions.views(now).len() <= 8);
    }
    assert!(
        ups > packets() / 1000,
        "only {ups} times up: the fuzz does not reach far"
    );
}
