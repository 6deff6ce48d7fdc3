//! A second independent codec, bgp-rs, in the region where it is right.
//!
//! It guesses the width of AS numbers from the shape of AS_PATH, guesses ADD-PATH when `0.0.0.0/0` stands beside
//! other prefixes, cannot write some attributes and drops those that it does not know. So here: paths that
//! cannot be mistaken, no `0.0.0.0/0`, known attributes. It may panic; then the test says on which octets.

#![allow(clippy::expect_used, clippy::panic, reason = "how a test fails")]

mod generate;

use std::io::Cursor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::catch_unwind;

use bgp_rs::{AFI, ASPath, MPReachNLRI, MPUnreachNLRI, NLRIEncoding, PathAttribute, Prefix, SAFI};
use bgp_rs::{OpenCapability, OpenParameter};
use caracal_bgp::wire::{
    AsPath, Attributes, Capability, Codec, Family, Message, MpReach, Nlri, Open, Origin, Partial,
    Segment, Update,
};
use generate::{codec, config, encode, open, update};
use ipnet::IpNet;
use proptest::collection::vec;
use proptest::prelude::*;

/// AS numbers of which no two adjacent octets look like the front of a segment, and at least one of
/// which needs four octets.
fn as_path() -> impl Strategy<Value = AsPath> {
    let wide = 0xfa56_ea00u32..=0xfa56_ffff; // from 4,200,000,000
    let narrow = 64512u32..=65534;
    let asns = move || {
        let tail = vec(prop_oneof![wide.clone(), narrow.clone()], 0..6);
        (wide.clone(), tail).prop_map(|(first, tail)| [vec![first], tail].concat())
    };
    (asns(), proptest::option::of(asns())).prop_map(|(sequence, set)| {
        let sequence = Segment::Sequence(sequence);
        AsPath(
            [Some(sequence), set.map(Segment::Set)]
                .into_iter()
                .flatten()
                .collect(),
        )
    })
}

/// What is left of a random UPDATE in the region.
fn region(mut update: Update, as_path: AsPath) -> Update {
    let not_all = |nlri: &Nlri| nlri.prefix.prefix_len() != 0;
    update.withdrawn.retain(not_all);
    update.announced.retain(not_all);
    if let Some(reach) = &mut update.mp_announced {
        reach.link_local = None;
        reach.prefixes.retain(not_all);
    }
    update
        .mp_announced
        .take_if(|reach| reach.prefixes.is_empty());
    if update.announced.is_empty() {
        update.attributes.next_hop = None;
    }
    if update.announced.is_empty() && update.mp_announced.is_none() {
        update.attributes = Attributes::default();
    } else {
        update.attributes.as_path = as_path;
        update.attributes.unknown.clear();
        // It has no words for these.
        update.attributes.aigp = None;
        update.attributes.otc = None;
        update.attributes.partial = Partial::default();
    }
    update
}

fn read(octets: &[u8]) -> bgp_rs::Message {
    let read = catch_unwind(|| bgp_rs::Reader::new(Cursor::new(octets)).read());
    match read {
        Ok(Ok((_, message))) => message,
        Ok(Err(error)) => panic!("it does not read {octets:02x?}: {error}"),
        Err(_) => panic!("it panics on {octets:02x?}"),
    }
}

fn write(message: &bgp_rs::Message) -> Vec<u8> {
    let mut octets = Vec::new();
    message
        .encode(&mut octets)
        .expect("it writes what it was given");
    octets
}

/// What its value says, as one of ours.
fn ours(theirs: &bgp_rs::Update) -> Update {
    let mut update = Update {
        withdrawn: prefixes(&theirs.withdrawn_routes),
        announced: prefixes(&theirs.announced_routes),
        ..Update::default()
    };
    let attributes = &mut update.attributes;
    for attribute in &theirs.attributes {
        match attribute {
            PathAttribute::ORIGIN(origin) => {
                attributes.origin = match origin {
                    bgp_rs::Origin::IGP => Origin::Igp,
                    bgp_rs::Origin::EGP => Origin::Egp,
                    bgp_rs::Origin::INCOMPLETE => Origin::Incomplete,
                }
            }
            PathAttribute::AS_PATH(path) => {
                let segment = |segment: &bgp_rs::Segment| match segment {
                    bgp_rs::Segment::AS_SEQUENCE(asns) => Segment::Sequence(asns.clone()),
                    bgp_rs::Segment::AS_SET(asns) => Segment::Set(asns.clone()),
                };
                attributes.as_path = AsPath(path.segments.iter().map(segment).collect());
            }
            PathAttribute::NEXT_HOP(next_hop) => attributes.next_hop = Some(*next_hop),
            PathAttribute::MULTI_EXIT_DISC(med) => attributes.med = Some(*med),
            PathAttribute::LOCAL_PREF(preference) => attributes.local_pref = Some(*preference),
            PathAttribute::ATOMIC_AGGREGATOR => attributes.atomic_aggregate = true,
            PathAttribute::AGGREGATOR(aggregator) => attributes.aggregator = Some(*aggregator),
            PathAttribute::COMMUNITY(communities) => attributes.communities = communities.clone(),
            PathAttribute::EXTENDED_COMMUNITIES(communities) => {
                attributes.extended_communities = communities.clone();
            }
            PathAttribute::LARGE_COMMUNITY(communities) => {
                attributes.large_communities = communities.clone();
            }
            PathAttribute::ORIGINATOR_ID(id) => {
                attributes.originator_id = Some(Ipv4Addr::from(*id));
            }
            PathAttribute::CLUSTER_LIST(clusters) => {
                attributes.cluster_list = clusters.iter().copied().map(Ipv4Addr::from).collect();
            }
            PathAttribute::MP_REACH_NLRI(reach) => {
                let next_hop: [u8; 16] = reach.next_hop[..].try_into().expect("sixteen octets");
                update.mp_announced = Some(MpReach {
                    family: Family::Ipv6Unicast,
                    next_hop: Ipv6Addr::from(next_hop).into(),
                    link_local: None,
                    prefixes: prefixes(&reach.announced_routes),
                });
            }
            PathAttribute::MP_UNREACH_NLRI(unreach) => {
                update.withdrawn.extend(prefixes(&unreach.withdrawn_routes));
            }
            other => panic!("not one that we wrote: {other:?}"),
        }
    }
    update
}

fn prefixes(theirs: &[NLRIEncoding]) -> Vec<Nlri> {
    let prefix = |nlri: &NLRIEncoding| match nlri {
        NLRIEncoding::IP(prefix) => {
            let (address, length): (IpAddr, u8) = prefix.into();
            IpNet::new(address, length).expect("a length").into()
        }
        other => panic!("not a prefix: {other:?}"),
    };
    theirs.iter().map(prefix).collect()
}

/// As one of its values, without those attributes that it cannot write.
fn theirs(update: &mut Update) -> bgp_rs::Update {
    let attributes = &mut update.attributes;
    attributes.atomic_aggregate = false;
    attributes.aggregator = None;
    attributes.large_communities.clear();

    let nlri = |prefixes: &[Nlri], family: Family| {
        let same = prefixes
            .iter()
            .filter(|one| Family::of(&one.prefix) == family);
        let nlri = |one: &Nlri| {
            let prefix = one.prefix;
            NLRIEncoding::IP(Prefix::from((prefix.addr(), prefix.prefix_len())))
        };
        same.map(nlri).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    if !update.announced.is_empty() || update.mp_announced.is_some() {
        all.push(PathAttribute::ORIGIN(match attributes.origin {
            Origin::Igp => bgp_rs::Origin::IGP,
            Origin::Egp => bgp_rs::Origin::EGP,
            Origin::Incomplete => bgp_rs::Origin::INCOMPLETE,
        }));
        let segment = |segment: &Segment| match segment {
            Segment::Set(asns) => bgp_rs::Segment::AS_SET(asns.clone()),
            other => bgp_rs::Segment::AS_SEQUENCE(other.asns().to_vec()),
        };
        let segments = attributes.as_path.0.iter().map(segment).collect();
        all.push(PathAttribute::AS_PATH(ASPath { segments }));
    }
    all.extend(attributes.next_hop.map(PathAttribute::NEXT_HOP));
    all.extend(attributes.med.map(PathAttribute::MULTI_EXIT_DISC));
    all.extend(attributes.local_pref.map(PathAttribute::LOCAL_PREF));
    if !attributes.communities.is_empty() {
        all.push(PathAttribute::COMMUNITY(attributes.communities.clone()));
    }
    all.extend(
        attributes
            .originator_id
            .map(|id| PathAttribute::ORIGINATOR_ID(id.into())),
    );
    if !attributes.cluster_list.is_empty() {
        let clusters = attributes.cluster_list.iter().copied().map(u32::from);
        all.push(PathAttribute::CLUSTER_LIST(clusters.collect()));
    }
    if !attributes.extended_communities.is_empty() {
        let communities = attributes.extended_communities.clone();
        all.push(PathAttribute::EXTENDED_COMMUNITIES(communities));
    }
    if let Some(reach) = &update.mp_announced {
        let IpAddr::V6(next_hop) = reach.next_hop else {
            panic!("IPv6 has an IPv6 next hop");
        };
        all.push(PathAttribute::MP_REACH_NLRI(MPReachNLRI {
            afi: AFI::IPV6,
            safi: SAFI::Unicast,
            next_hop: next_hop.octets().to_vec(),
            announced_routes: nlri(&reach.prefixes, Family::Ipv6Unicast),
        }));
    }
    let withdrawn_routes = nlri(&update.withdrawn, Family::Ipv6Unicast);
    if !withdrawn_routes.is_empty() {
        all.push(PathAttribute::MP_UNREACH_NLRI(MPUnreachNLRI {
            afi: AFI::IPV6,
            safi: SAFI::Unicast,
            withdrawn_routes,
        }));
    }
    bgp_rs::Update {
        withdrawn_routes: nlri(&update.withdrawn, Family::Ipv4Unicast),
        attributes: all,
        announced_routes: nlri(&update.announced, Family::Ipv4Unicast),
    }
}

/// Of an OPEN, what it and we know under one name: the fixed part, and some capabilities.
fn known(open: &Open) -> (u32, u16, u32, Vec<Capability>) {
    let known = |one: &&Capability| {
        matches!(
            one,
            Capability::Multiprotocol(_)
                | Capability::RouteRefresh
                | Capability::FourOctetAs(_)
                | Capability::Unknown { .. }
        )
    };
    let capabilities = open.capabilities.iter().filter(known).cloned().collect();
    (
        open.asn,
        open.hold_time_seconds,
        open.router_id.into(),
        capabilities,
    )
}

fn capabilities(parameters: &[OpenParameter]) -> Vec<Capability> {
    let all = parameters.iter().flat_map(|parameter| match parameter {
        OpenParameter::Capabilities(capabilities) => capabilities.as_slice(),
        other => panic!("not a parameter that we wrote: {other:?}"),
    });
    let capability = |one: &OpenCapability| match one {
        OpenCapability::MultiProtocol((AFI::IPV4, SAFI::Unicast)) => {
            Some(Capability::Multiprotocol(Family::Ipv4Unicast))
        }
        OpenCapability::MultiProtocol((AFI::IPV6, SAFI::Unicast)) => {
            Some(Capability::Multiprotocol(Family::Ipv6Unicast))
        }
        OpenCapability::RouteRefresh => Some(Capability::RouteRefresh),
        OpenCapability::FourByteASN(asn) => Some(Capability::FourOctetAs(*asn)),
        OpenCapability::AddPath(_)
        | OpenCapability::Unknown {
            cap_code: 5 | 6 | 9 | 64 | 70 | 71 | 73 | 75,
            ..
        } => None,
        OpenCapability::Unknown {
            cap_code, value, ..
        } => Some(Capability::Unknown {
            code: *cap_code,
            value: value.clone(),
        }),
        other => panic!("not a capability that we wrote: {other:?}"),
    };
    all.filter_map(capability).collect()
}

fn session() -> Codec {
    codec(true)
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn it_reads_the_updates_that_we_write(update in update(), as_path in as_path()) {
        let update = region(update, as_path);
        prop_assume!(update != Update::default());
        let bgp_rs::Message::Update(theirs) = read(&encode(&session(), &Message::Update(update.clone()))) else {
            panic!("an UPDATE");
        };
        prop_assert_eq!(ours(&theirs), update);
    }

    #[test]
    fn we_read_the_updates_that_it_writes(update in update(), as_path in as_path()) {
        let mut update = region(update, as_path);
        prop_assume!(update != Update::default());
        let octets = write(&bgp_rs::Message::Update(theirs(&mut update)));
        prop_assert_eq!(session().decode(&octets), Ok(Message::Update(update)));
    }

    #[test]
    fn it_reads_the_opens_that_we_write(open in open()) {
        let octets = encode(&session(), &Message::Open(open.clone()));
        // It knows nothing of RFC 9072.
        prop_assume!(octets.get(29) != Some(&255));
        let bgp_rs::Message::Open(theirs) = read(&octets) else {
            panic!("an OPEN");
        };
        let capabilities = capabilities(&theirs.parameters);
        let wide = capabilities.iter().find_map(|one| match one {
            Capability::FourOctetAs(asn) => Some(*asn),
            _ => None,
        });
        let asn = wide.unwrap_or(u32::from(theirs.peer_asn));
        prop_assert_eq!((asn, theirs.hold_timer, theirs.identifier, capabilities), known(&open));
    }
}
