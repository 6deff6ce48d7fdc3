//! Random messages that a well-behaved speaker could send, for every test that needs many.
//!
//! The seed is fixed, `CARACAL_SEED` chooses another; a failing message is printed after shrinking.

#![allow(
    dead_code,
    reason = "each test binary compiles this file and uses its own part of it"
)]

pub(crate) mod mutate;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use caracal_bgp::wire::{
    AddPathMode, Aigp, AsPath, Attributes, Capability, Codec, Family, LongLivedFamily, Message,
    MpReach, NextHopAfi, Nlri, Notification, Open, Origin, Partial, Role, RouteRefresh,
    RouteRefreshKind, Segment, UnknownAttribute, Update,
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
        aigp: true,
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
    let third = (
        option::of(any::<u64>().prop_map(Aigp::new)),
        option::of(any::<u32>()),
        any::<[bool; 5]>(),
    );
    (first, second, third).prop_map(|(first, second, third)| {
        let (aigp, otc, bits) = third;
        let (origin, as_path, med, local_pref, atomic_aggregate, aggregator) = first;
        let (communities, extended, large, originator_id, cluster_list, unknown) = second;
        // The bit is of attributes that are there.
        let there = [
            (7, aggregator.is_some()),
            (8, !communities.is_empty()),
            (16, !extended.is_empty()),
            (32, !large.is_empty()),
            (35, otc.is_some()),
        ];
        let mut partial = Partial::default();
        for ((code, there), bit) in there.into_iter().zip(bits) {
            if there && bit {
                partial.insert(code);
            }
        }
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
            aigp,
            otc,
            partial,
            unknown,
        }
    })
}

/// As a session may have been agreed, with the same both ways.
pub(crate) fn any_codec() -> impl Strategy<Value = Codec> {
    let add_path = prop_oneof![
        2 => Just(vec![]),
        1 => Just(vec![Family::Ipv4Unicast]),
        1 => Just(vec![Family::Ipv6Unicast]),
        1 => Just(Family::ALL.to_vec()),
    ];
    let octets_max = prop_oneof![Just(4096usize), Just(65535)];
    (any::<[bool; 4]>(), add_path, octets_max).prop_map(|(bits, add_path, message_octets_max)| {
        let [
            four_octet_as,
            extended_next_hop,
            enhanced_route_refresh,
            aigp,
        ] = bits;
        Codec {
            message_octets_max,
            add_path_receive: add_path.clone(),
            add_path_send: add_path,
            extended_next_hop,
            enhanced_route_refresh,
            aigp,
            ..codec(four_octet_as)
        }
    })
}

fn with_path_id(prefix: impl Strategy<Value = Nlri>) -> impl Strategy<Value = Nlri> {
    let path_id = prop_oneof![0u32..4, any::<u32>()];
    (prefix, path_id).prop_map(|(nlri, path_id)| Nlri { path_id, ..nlri })
}

/// IPv4 in the NLRI field, IPv6 in the attributes, both, or only withdrawals; never End-of-RIB. For a session
/// of [`codec`].
pub(crate) fn update() -> impl Strategy<Value = Update> {
    update_for(&codec(true))
}

/// As [`update`], with all that this session carries.
pub(crate) fn update_for(codec: &Codec) -> impl Strategy<Value = Update> + use<> {
    let codec = codec.clone();
    let announced_mp = if codec.extended_next_hop {
        prop_oneof![
            vec(with_path_id(prefix_v6()), 1..20),
            vec(with_path_id(prefix_v4()), 1..20)
        ]
        .boxed()
    } else {
        vec(with_path_id(prefix_v6()), 1..20).boxed()
    };
    let mp = (next_hop_v6(), option::of(link_local()), announced_mp);
    let announced = (next_hop_v4(), vec(with_path_id(prefix_v4()), 1..20));
    let withdrawn = with_path_id(prop_oneof![prefix_v4(), prefix_v6()]);
    (
        attributes(),
        vec(withdrawn, 0..20),
        option::of(announced),
        option::of(mp),
    )
        .prop_filter("announces or withdraws", |(_, withdrawn, v4, v6)| {
            !withdrawn.is_empty() || v4.is_some() || v6.is_some()
        })
        .prop_map(move |(mut attributes, mut withdrawn, v4, mp)| {
            // In the order in which a message holds them.
            withdrawn.sort_by_key(|nlri| Family::of(&nlri.prefix));
            if v4.is_none() && mp.is_none() {
                attributes = Attributes::default();
            }
            attributes.aigp.take_if(|_| !codec.aigp);
            let (next_hop, announced) = v4.unzip();
            attributes.next_hop = next_hop.map(IpAddr::V4);
            let mut update = Update {
                withdrawn,
                announced: announced.unwrap_or_default(),
                attributes,
                mp_announced: mp.map(|(next_hop, link_local, prefixes)| MpReach {
                    family: Family::of(&prefixes[0].prefix),
                    next_hop: next_hop.into(),
                    link_local,
                    prefixes,
                }),
                ..Update::default()
            };
            let mp = update
                .mp_announced
                .iter_mut()
                .flat_map(|mp| &mut mp.prefixes);
            let all = update.withdrawn.iter_mut().chain(&mut update.announced);
            for nlri in all.chain(mp) {
                if !codec.add_path_send.contains(&Family::of(&nlri.prefix)) {
                    nlri.path_id = 0;
                }
            }
            update
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
    message_for(&codec(true))
}

/// As [`message`], with all that this session carries.
pub(crate) fn message_for(codec: &Codec) -> impl Strategy<Value = Message> + use<> {
    let notification = (any::<u8>(), any::<u8>(), vec(any::<u8>(), 0..40));
    let end_of_rib = |family| {
        Message::Update(Update {
            end_of_rib: Some(family),
            ..Update::default()
        })
    };
    prop_oneof![
        8 => update_for(codec).prop_map(Message::Update),
        4 => open().prop_map(Message::Open),
        2 => notification.prop_map(|(code, subcode, data)| {
            Message::Notification(Notification::new(code, subcode, &data))
        }),
        1 => family().prop_map(end_of_rib),
        1 => route_refresh().prop_map(|refresh| Message::RouteRefresh(Some(refresh))),
        1 => Just(Message::Keepalive),
    ]
}
