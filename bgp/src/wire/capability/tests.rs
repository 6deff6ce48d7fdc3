//! Each capability both ways, and what becomes of one that is not as it should be.

use super::*;

fn octets(capability: &Capability) -> Vec<u8> {
    let mut out = Vec::new();
    capability.encode(1000, &mut out);
    out
}

fn decoded(octets: &[u8]) -> Option<Capability> {
    let mut cursor = Cursor::new(octets);
    let capability = Capability::decode(&mut cursor)?;
    assert!(cursor.is_empty(), "{octets:?}");
    Some(capability)
}

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;

#[test]
fn the_octets_are_those_of_the_rfcs_both_ways() {
    let long_lived = |family, forwarding, stale_time_seconds| LongLivedFamily {
        family,
        forwarding,
        stale_time_seconds,
    };
    let table = [
        (
            Capability::ExtendedNextHop(vec![(V4, NextHopAfi::Ipv6), (V6, NextHopAfi::Ipv4)]),
            vec![5, 12, 0, 1, 0, 1, 0, 2, 0, 2, 0, 1, 0, 1],
        ),
        (Capability::ExtendedMessage, vec![6, 0]),
        (Capability::Role(Role::Provider), vec![9, 1, 0]),
        (Capability::Role(Role::RouteServer), vec![9, 1, 1]),
        (Capability::Role(Role::RouteServerClient), vec![9, 1, 2]),
        (Capability::Role(Role::Customer), vec![9, 1, 3]),
        (Capability::Role(Role::Peer), vec![9, 1, 4]),
        (
            Capability::AddPath(vec![
                (V4, AddPathMode::Receive),
                (V6, AddPathMode::Send),
                (V6, AddPathMode::Both),
            ]),
            vec![69, 12, 0, 1, 1, 1, 0, 2, 1, 2, 0, 2, 1, 3],
        ),
        (Capability::EnhancedRouteRefresh, vec![70, 0]),
        (
            Capability::LongLivedGracefulRestart(vec![
                long_lived(V4, true, 86_400),
                long_lived(V6, false, 0x00ff_ffff),
            ]),
            vec![
                71, 14, 0, 1, 1, 0x80, 1, 0x51, 0x80, 0, 2, 1, 0, 255, 255, 255,
            ],
        ),
        (
            Capability::Hostname {
                host: "node-1".to_owned(),
                domain: "lab".to_owned(),
            },
            b"\x49\x0b\x06node-1\x03lab".to_vec(),
        ),
        (
            Capability::SoftwareVersion("FRRouting/10.2".to_owned()),
            b"\x4b\x0f\x0eFRRouting/10.2".to_vec(),
        ),
    ];
    for (capability, wanted) in table {
        assert_eq!(octets(&capability), wanted, "{capability:?}");
        assert_eq!(decoded(&wanted), Some(capability));
    }
}

#[test]
fn a_length_that_it_cannot_have_makes_the_open_malformed() {
    for octets in [
        &[2, 1, 0][..],
        &[5, 5, 0, 1, 0, 1, 0],
        &[5, 7, 0, 1, 0, 1, 0, 2, 0],
        &[6, 1, 0],
        &[9, 0],
        &[9, 2, 0, 0],
        &[69, 3, 0, 1, 1],
        &[69, 5, 0, 1, 1, 1, 0],
        &[70, 1, 0],
        &[71, 6, 0, 1, 1, 0, 0, 0],
        &[71, 8, 0, 1, 1, 0, 0, 0, 1, 0],
        &[200, 3, 1, 2],
        &[200],
    ] {
        assert_eq!(decoded(octets), None, "{octets:?}");
    }
}

#[test]
fn what_is_not_understood_is_kept_as_it_came() {
    for octets in [
        &[9, 1, 5][..],                   // a role without a name (RFC 9234 §4.1)
        &[69, 8, 0, 1, 1, 3, 0, 1, 1, 4], // Send/Receive 4 (RFC 7911 §4)
        &[69, 4, 0, 1, 1, 0],             // and 0
        &[73, 2, 5, b'a'],                // texts that end too early
        &[73, 3, 1, b'a', 2],
        &[73, 4, 1, b'a', 0, 0],
        &[73, 0],
        &[75, 2, 9, b'v'],
        &[75, 3, 1, b'v', 0],
        &[75, 0],
    ] {
        let wanted = Capability::Unknown {
            code: octets[0],
            value: octets[2..].to_vec(),
        };
        assert_eq!(decoded(octets), Some(wanted));
    }
}

#[test]
fn families_that_we_do_not_know_are_left_out() {
    for (octets, capability) in [
        (
            &[
                5, 18, 0, 1, 0, 128, 0, 2, 0, 1, 1, 1, 0, 2, 0, 1, 0, 1, 0, 3,
            ][..],
            Capability::ExtendedNextHop(vec![]),
        ),
        (
            &[69, 8, 0, 1, 128, 3, 0, 2, 1, 1],
            Capability::AddPath(vec![(V6, AddPathMode::Receive)]),
        ),
        (
            &[71, 7, 0, 25, 70, 0x80, 0, 0, 9],
            Capability::LongLivedGracefulRestart(vec![]),
        ),
    ] {
        assert_eq!(decoded(octets), Some(capability));
    }
}

#[test]
fn texts_are_cut_to_what_fits_and_made_printable() {
    let long = Capability::Hostname {
        host: "h".repeat(200),
        domain: "d".repeat(200),
    };
    let wanted = Capability::Hostname {
        host: "h".repeat(200),
        domain: "d".repeat(53),
    };
    assert_eq!(octets(&long).len(), 2 + 255);
    assert_eq!(decoded(&octets(&long)), Some(wanted));

    let version = Capability::SoftwareVersion("v".repeat(65));
    let wanted = Capability::SoftwareVersion("v".repeat(64));
    assert_eq!(decoded(&octets(&version)), Some(wanted));

    let rude = decoded(b"\x4b\x05\x04\x1b[2J");
    assert_eq!(rude, Some(Capability::SoftwareVersion("?[2J".to_owned())));
}

#[test]
fn a_stale_time_of_more_than_24_bits_becomes_the_longest() {
    let forever = Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
        family: V4,
        forwarding: false,
        stale_time_seconds: u32::MAX,
    }]);
    assert_eq!(octets(&forever)[2..], [0, 1, 1, 0, 255, 255, 255]);
}

#[test]
fn every_role_has_one_counterpart() {
    for (role, counterpart) in [
        (Role::Provider, Role::Customer),
        (Role::RouteServer, Role::RouteServerClient),
        (Role::Peer, Role::Peer),
    ] {
        assert_eq!(role.counterpart(), counterpart);
        assert_eq!(counterpart.counterpart(), role);
    }
}
