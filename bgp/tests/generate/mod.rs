//! Random messages that a well-behaved speaker could send, for every test that needs many.
//!
//! The seed is fixed, `CARACAL_SEED` chooses another; a failing message is printed after shrinking.

#![allow(
    dead_code,
    reason = "each test binary compiles this file and uses its own part of it"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_bgp::wire::{
    AddPathMode, AsPath, Attributes, Capability, Codec, Family, LongLivedFamily, Message, MpReach,
    NextHopAfi, Nlri, Notification, Open, Origin, Role, RouteRefresh, RouteRefreshKind, Segment,
    UnknownAttribute, Update,
};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

pub(crate) fn seed() -> u64 {
    let seed = std::env::var("CARACAL_SEED").ok();
    seed.map_or(1, |seed| seed.parse().expect("CARACAL_SEED is a number"))
}

pub(crate) fn config(cases: u32) -> Config {
    Config {
        cases,
        rng_seed: RngSeed::Fixed(seed()),
        failure_persistence: None,
        ..Config::default()
    }
}

pub(crate) fn codec(four_octet_as: bool) -> Codec {
    Codec {
        four_octet_as,
        message_octets_max: 4096,
        families: Family::ALL.to_vec(),
        ..Codec::initial()
    }
}

pub(crate) fn encode(codec: &Codec, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    codec.encode(message, &mut out);
    assert!(!out.is_empty(), "does not fit: {message:?}");
    out
}

/// AS numbers of both widths.
pub(crate) fn asn() -> impl Strategy<Value = u32> {
    prop_oneof![
        1u32..=65535,
        64512u32..=65534,
        65536u32..=u32::MAX,
        Just(23456),
        Just(u32::MAX)
    ]
}

fn segment() -> impl Strategy<Value = Segment> {
    let asns = || vec(asn(), 1..8);
    prop_oneof![
        3 => asns().prop_map(Segment::Sequence),
        1 => asns().prop_map(Segment::Set),
    ]
}

/// With a confederation's segments in front, where they belong, and sometimes as many AS numbers
/// as a segment holds.
pub(crate) fn as_path() -> impl Strategy<Value = AsPath> {
    let narrow = || vec(1u32..=65535, 1..4);
    let confed = prop_oneof![
        3 => Just(vec![]),
        1 => narrow().prop_map(|asns| vec![Segment::ConfedSequence(asns)]),
        1 => narrow().prop_map(|asns| vec![Segment::ConfedSet(asns)]),
    ];
    let long = prop_oneof![
        9 => Just(vec![]),
        1 => vec(asn(), 250..=255).prop_map(|asns| vec![Segment::Sequence(asns)]),
    ];
    (confed, long, vec(segment(), 0..4))
        .prop_map(|(confed, long, rest)| AsPath([confed, long, rest].concat()))
}

pub(crate) fn router_id() -> impl Strategy<Value = Ipv4Addr> {
    (1u32..=u32::MAX).prop_map(Ipv4Addr::from)
}

pub(crate) fn next_hop_v4() -> impl Strategy<Value = Ipv4Addr> {
    (0x0100_0000u32..0xe000_0000).prop_map(Ipv4Addr::from)
}

pub(crate) fn next_hop_v6() -> impl Strategy<Value = Ipv6Addr> {
    (1u128..0xff << 120).prop_map(Ipv6Addr::from)
}

pub(crate) fn link_local() -> impl Strategy<Value = Ipv6Addr> {
    any::<u64>().prop_map(|id| Ipv6Addr::from(0xfe80 << 112 | u128::from(id)))
}

/// Unicast, and without host bits.
pub(crate) fn prefix_v4() -> impl Strategy<Value = Nlri> {
    (0x0100_0000u32..0xe000_0000, 0u8..=32).prop_map(|(address, length)| {
        let prefix = Ipv4Net::new(address.into(), length).expect("a length");
        IpNet::from(prefix.trunc()).into()
    })
}

/// Unicast, and without host bits.
pub(crate) fn prefix_v6() -> impl Strategy<Value = Nlri> {
    (0u128..0xff << 120, 0u8..=128).prop_map(|(address, length)| {
        let prefix = Ipv6Net::new(address.into(), length).expect("a length");
        IpNet::from(prefix.trunc()).into()
    })
}

/// Types that any codec carries without looking inside: route target and origin.
fn extended_community() -> impl Strategy<Value = u64> {
    let kind = prop_oneof![Just(0x0002u64), Just(0x0003), Just(0x0102), Just(0x0202)];
    (kind, any::<u64>()).prop_map(|(kind, value)| kind << 48 | value >> 16)
}

/// Of codes that nobody has assigned, as we would pass them on.
fn unknown() -> impl Strategy<Value = Vec<UnknownAttribute>> {
    let value = prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 250..300)];
    let one = (60u8..=120, value).prop_map(|(code, value)| UnknownAttribute {
        code,
        flags: 0xe0,
        value,
    });
    vec(one, 0..3).prop_map(|mut all| {
        all.sort_by_key(|one| one.code);
        all.dedup_by_key(|one| one.code);
        all
    })
}

/// Without next hop.
pub(crate) fn attributes() -> impl Strategy<Value = Attributes> {
    let origin = prop_oneof![
        Just(Origin::Igp),
        Just(Origin::Egp),
        Just(Origin::Incomplete)
    ];
    let large = (any::<u32>(), any::<u32>(), any::<u32>());
    let large = vec(large, 0..4).prop_map(|mut all| {
        all.sort_unstable();
        all.dedup();
        all
    });
    let first = (
        origin,
        as_path(),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        any::<bool>(),
        option::of((asn(), router_id())),
    );
    let second = (
        prop_oneof![vec(any::<u32>(), 0..6), vec(any::<u32>(), 60..80)],
        vec(extended_community(), 0..4),
        large,
        option::of(router_id()),
        vec(router_id(), 0..4),
        unknown(),
    );
    (first, second).prop_map(|(first, second)| {
        let (origin, as_path, med, local_pref, atomic_aggregate, aggregator) = first;
        let (communities, extended, large, originator_id, cluster_list, unknown) = second;
        Attributes {
            origin,
            as_path,
            next_hop: None,
            next_hop_link_local: None,
            med,
            local_pref,
            atomic_aggregate,
            aggregator,
            communities,
            extended_communities: extended,
            large_communities: large,
            originator_id,
            cluster_list,
            unknown,
        }
    })
}

/// IPv4 in the NLRI field, IPv6 in the attributes, both, or only withdrawals; never End-of-RIB.
pub(crate) fn update() -> impl Strategy<Value = Update> {
    let mp = (
        next_hop_v6(),
        option::of(link_local()),
        vec(prefix_v6(), 1..20),
    );
    let announced = (next_hop_v4(), vec(prefix_v4(), 1..20));
    (
        attributes(),
        vec(prop_oneof![prefix_v4(), prefix_v6()], 0..20),
        option::of(announced),
        option::of(mp),
    )
        .prop_filter("announces or withdraws", |(_, withdrawn, v4, v6)| {
            !withdrawn.is_empty() || v4.is_some() || v6.is_some()
        })
        .prop_map(|(mut attributes, mut withdrawn, v4, v6)| {
            // In the order in which a message holds them.
            withdrawn.sort_by_key(|nlri| Family::of(&nlri.prefix));
            if v4.is_none() && v6.is_none() {
                attributes = Attributes::default();
            }
            let (next_hop, announced) = v4.unzip();
            attributes.next_hop = next_hop.map(IpAddr::V4);
            Update {
                withdrawn,
                announced: announced.unwrap_or_default(),
                attributes,
                mp_announced: v6.map(|(next_hop, link_local, prefixes)| MpReach {
                    family: Family::Ipv6Unicast,
                    next_hop: next_hop.into(),
                    link_local,
                    prefixes,
                }),
                end_of_rib: None,
                errors: vec![],
            }
        })
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4Unicast), Just(Family::Ipv6Unicast)]
}

fn next_hop_afi() -> impl Strategy<Value = NextHopAfi> {
    prop_oneof![Just(NextHopAfi::Ipv4), Just(NextHopAfi::Ipv6)]
}

fn add_path_mode() -> impl Strategy<Value = AddPathMode> {
    prop_oneof![
        Just(AddPathMode::Receive),
        Just(AddPathMode::Send),
        Just(AddPathMode::Both)
    ]
}

fn role() -> impl Strategy<Value = Role> {
    prop_oneof![
        Just(Role::Provider),
        Just(Role::RouteServer),
        Just(Role::RouteServerClient),
        Just(Role::Customer),
        Just(Role::Peer)
    ]
}

fn long_lived_family() -> impl Strategy<Value = LongLivedFamily> {
    (family(), any::<bool>(), 0u32..1 << 24).prop_map(|(family, forwarding, stale_time_seconds)| {
        LongLivedFamily {
            family,
            forwarding,
            stale_time_seconds,
        }
    })
}

fn route_refresh() -> impl Strategy<Value = RouteRefresh> {
    let kind = prop_oneof![
        Just(RouteRefreshKind::Request),
        Just(RouteRefreshKind::Begin),
        Just(RouteRefreshKind::End)
    ];
    (family(), kind).prop_map(|(family, kind)| RouteRefresh { family, kind })
}

fn capability() -> impl Strategy<Value = Capability> {
    let restart = (
        any::<bool>(),
        any::<bool>(),
        0u16..4096,
        vec((family(), any::<bool>()), 0..3),
    );
    prop_oneof![
        family().prop_map(Capability::Multiprotocol),
        Just(Capability::RouteRefresh),
        restart.prop_map(|(restarted, notification, time_seconds, families)| {
            Capability::GracefulRestart {
                restarted,
                notification,
                time_seconds,
                families,
            }
        }),
        vec((family(), next_hop_afi()), 0..3).prop_map(Capability::ExtendedNextHop),
        Just(Capability::ExtendedMessage),
        role().prop_map(Capability::Role),
        vec((family(), add_path_mode()), 0..3).prop_map(Capability::AddPath),
        Just(Capability::EnhancedRouteRefresh),
        vec(long_lived_family(), 0..3).prop_map(Capability::LongLivedGracefulRestart),
        ("[ -~]{0,100}", "[a-zäß0-9.-]{0,60}")
            .prop_map(|(host, domain)| Capability::Hostname { host, domain }),
        "[ -~]{0,64}".prop_map(Capability::SoftwareVersion),
        // Of codes that nobody has assigned.
        (150u8..=180, vec(any::<u8>(), 0..60))
            .prop_map(|(code, value)| Capability::Unknown { code, value }),
    ]
}

/// With at most one capability of four-octet AS numbers, which is then the AS number.
pub(crate) fn open() -> impl Strategy<Value = Open> {
    let hold_time = prop_oneof![Just(0u16), 3u16..=u16::MAX];
    let asn = prop_oneof![
        (1u32..=65535).prop_map(|asn| (asn, false)),
        asn().prop_map(|asn| (asn, true)),
    ];
    (asn, hold_time, router_id(), vec(capability(), 0..8)).prop_map(
        |((asn, wide), hold_time_seconds, router_id, mut capabilities)| {
            if wide {
                capabilities.push(Capability::FourOctetAs(asn));
            }
            Open {
                asn,
                hold_time_seconds,
                router_id,
                capabilities,
            }
        },
    )
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let notification = (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..40));
    let end_of_rib = |family| {
        Message::Update(Update {
            end_of_rib: Some(family),
            ..Update::default()
        })
    };
    prop_oneof![
        8 => update().prop_map(Message::Update),
        4 => open().prop_map(Message::Open),
        2 => notification.prop_map(|(code, subcode, data)| {
            Message::Notification(Notification::new(code, subcode, &data))
        }),
        1 => family().prop_map(end_of_rib),
        1 => route_refresh().prop_map(|refresh| Message::RouteRefresh(Some(refresh))),
        1 => Just(Message::Keepalive),
    ]
}
