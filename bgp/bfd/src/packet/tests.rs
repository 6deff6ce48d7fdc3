//! Packets: octets both ways, and everything that is discarded.

use super::*;

fn id(number: u32) -> SessionId {
    SessionId(NonZeroU32::new(number).unwrap())
}

fn packet() -> Packet {
    Packet {
        diagnostic: Diagnostic::DETECTION_TIME_EXPIRED,
        state: State::Up,
        poll: true,
        finale: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: id(0x0102_0304),
        your_discriminator: Some(id(0xfffe_fdfc)),
        desired_min_tx: Duration::from_millis(300),
        required_min_rx: Duration::from_secs(1),
        required_min_echo_rx: Duration::from_micros(50_000),
    }
}

const OCTETS: [u8; 24] = [
    0x21, 0xe0, 3, 24, 1, 2, 3, 4, 0xff, 0xfe, 0xfd, 0xfc, 0x00, 0x04, 0x93, 0xe0, 0x00, 0x0f,
    0x42, 0x40, 0x00, 0x00, 0xc3, 0x50,
];

#[test]
fn a_packet_has_the_octets_of_the_rfcs_picture() {
    assert_eq!(packet().encode(), OCTETS);
    assert_eq!(Packet::decode(&OCTETS), Ok(packet()));
}

#[test]
fn every_state_flag_and_diagnostic_survives_the_wire() {
    for number in 0..32 {
        for state in State::ALL {
            for flags in 0..16 {
                let sent = Packet {
                    diagnostic: Diagnostic(number),
                    state,
                    poll: flags & 1 != 0,
                    finale: flags & 2 != 0,
                    control_plane_independent: flags & 4 != 0,
                    demand: flags & 8 != 0,
                    ..packet()
                };
                assert_eq!(Packet::decode(&sent.encode()), Ok(sent));
            }
        }
    }
}

#[test]
fn a_span_that_is_too_long_is_sent_as_the_longest() {
    let sent = Packet {
        desired_min_tx: Duration::from_secs(100_000),
        ..packet()
    };
    let received = Packet::decode(&sent.encode()).unwrap();
    assert_eq!(
        received.desired_min_tx,
        Duration::from_micros(u32::MAX.into())
    );
}

#[test]
fn every_malformed_packet_is_discarded_with_its_reason() {
    type Change = fn(&mut Vec<u8>);
    let rows: [(Change, Discard); 17] = [
        (|p| p.clear(), Discard::TooShort(0)),
        (|p| p.truncate(23), Discard::TooShort(23)),
        (|p| p[0] &= 0x1f, Discard::Version(0)),
        (|p| p[0] = 0x41, Discard::Version(2)),
        (|p| p[0] = 0xe1, Discard::Version(7)),
        (|p| p[3] = 0, length(0, 24, 24)),
        (|p| p[3] = 23, length(23, 24, 24)),
        (|p| p[3] = 25, length(25, 24, 24)),
        (|p| p[3] = 255, length(255, 24, 24)),
        (|p| p[1] |= 0x04, length(24, 26, 24)),
        (|p| p[2] = 0, Discard::DetectMultiplierZero),
        (|p| p[1] |= 0x01, Discard::Multipoint),
        (|p| p[4..8].fill(0), Discard::MyDiscriminatorZero),
        (
            |p| p[8..12].fill(0),
            Discard::YourDiscriminatorZero(State::Up),
        ),
        (
            |p| {
                p[1] = 0x80;
                p[8..12].fill(0);
            },
            Discard::YourDiscriminatorZero(State::Init),
        ),
        (
            |p| {
                p[1] |= 0x04;
                p[3] = 26;
                p.extend([1, 2]);
            },
            Discard::Authenticated,
        ),
        (
            |p| {
                p[1] |= 0x04;
                p[3] = 25;
                p.extend([1, 2]);
            },
            length(25, 26, 26),
        ),
    ];
    for (change, expected) in rows {
        let mut payload = OCTETS.to_vec();
        change(&mut payload);
        assert_eq!(Packet::decode(&payload), Err(expected), "{payload:02x?}");
    }
}

fn length(length: u8, octets_min: usize, payload: usize) -> Discard {
    Discard::Length {
        length,
        octets_min,
        payload,
    }
}

#[test]
fn your_discriminator_may_be_unknown_to_who_is_down() {
    for (bits, state) in [(0x00, State::AdminDown), (0x40, State::Down)] {
        let mut payload = OCTETS;
        payload[1] = bits;
        payload[8..12].fill(0);
        let packet = Packet::decode(&payload).unwrap();
        assert_eq!((packet.your_discriminator, packet.state), (None, state));
    }
}

#[test]
fn octets_behind_the_mandatory_section_are_passed_over() {
    let mut payload = OCTETS.to_vec();
    payload.extend([0xff; 8]);
    assert_eq!(Packet::decode(&payload), Ok(packet()));
    payload[3] = 32;
    assert_eq!(Packet::decode(&payload), Ok(packet()));
}

#[test]
fn diagnostics_are_words_where_the_rfc_has_words() {
    let shown = [Diagnostic::ADMINISTRATIVELY_DOWN, Diagnostic(9)].map(|d| d.to_string());
    assert_eq!(shown, ["administratively down", "diagnostic 9"]);
}
