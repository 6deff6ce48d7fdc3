//! Our values as those of netgauze-bgp-pkt.

use std::net::IpAddr;

use caracal_bgp::wire::{
    AddPathMode, AsPath, Attributes, Capability, Codec, Family, LongLivedFamily, NextHopAfi, Nlri,
    Open, Origin, Role, RouteRefresh, RouteRefreshKind, Segment, UnknownAttribute, Update,
};
use ipnet::IpNet;
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::capabilities::{
    AddPathAddressFamily, AddPathCapability, BgpCapability, BgpRoleCapability,
    ExtendedNextHopEncoding, ExtendedNextHopEncodingCapability, FourOctetAsCapability,
    FqdnCapability, GracefulRestartAddressFamily, GracefulRestartCapability,
    LongLivedGracefulRestartAddressFamily, LongLivedGracefulRestartCapability,
    MultiProtocolExtensionsCapability, UnrecognizedCapability,
};
use netgauze_bgp_pkt::community::{Community, ExtendedCommunity, LargeCommunity};
use netgauze_bgp_pkt::iana::{BgpRoleValue, RouteRefreshSubcode};
use netgauze_bgp_pkt::nlri::{Ipv4Unicast, Ipv4UnicastAddress, Ipv6Unicast, Ipv6UnicastAddress};
use netgauze_bgp_pkt::open::{BgpOpenMessage, BgpOpenMessageParameter};
use netgauze_bgp_pkt::path_attribute as theirs;
use netgauze_bgp_pkt::path_attribute::{PathAttribute, PathAttributeValue as Value};
use netgauze_bgp_pkt::route_refresh::BgpRouteRefreshMessage;
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_iana::address_family::{AddressFamily, AddressType};
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFrom;

const AS_TRANS: u16 = 23456;

pub(crate) fn address_type(family: Family) -> AddressType {
    match family {
        Family::Ipv4Unicast => AddressType::Ipv4Unicast,
        Family::Ipv6Unicast => AddressType::Ipv6Unicast,
    }
}

pub(crate) fn route_refresh(refresh: RouteRefresh) -> BgpMessage {
    let kind = match refresh.kind {
        RouteRefreshKind::Request => RouteRefreshSubcode::NormalRequest,
        RouteRefreshKind::Begin => RouteRefreshSubcode::BeginningOfRouteRefresh,
        RouteRefreshKind::End => RouteRefreshSubcode::EndOfRouteRefresh,
    };
    let family = address_type(refresh.family);
    BgpMessage::RouteRefresh(BgpRouteRefreshMessage::new(family, kind))
}

pub(crate) fn open(open: &Open) -> BgpMessage {
    let capabilities: Vec<_> = open.capabilities.iter().map(capability).collect();
    let parameters = if capabilities.is_empty() {
        vec![]
    } else {
        vec![BgpOpenMessageParameter::new_capabilities(capabilities)]
    };
    BgpMessage::Open(BgpOpenMessage::new(
        u16::try_from(open.asn).unwrap_or(AS_TRANS),
        open.hold_time_seconds,
        open.router_id,
        parameters,
    ))
}

fn capability(capability: &Capability) -> BgpCapability {
    match capability {
        Capability::Multiprotocol(family) => BgpCapability::MultiProtocolExtensions(
            MultiProtocolExtensionsCapability::new(address_type(*family)),
        ),
        Capability::RouteRefresh => BgpCapability::RouteRefresh,
        Capability::FourOctetAs(asn) => {
            BgpCapability::FourOctetAs(FourOctetAsCapability::new(*asn))
        }
        Capability::GracefulRestart {
            restarted,
            notification,
            time_seconds,
            families,
        } => {
            let family = |&(family, forwarding): &(Family, bool)| {
                GracefulRestartAddressFamily::new(forwarding, address_type(family))
            };
            let families: Vec<_> = families.iter().map(family).collect();
            BgpCapability::GracefulRestartCapability(GracefulRestartCapability::new(
                *restarted,
                *notification,
                *time_seconds,
                families,
            ))
        }
        Capability::ExtendedNextHop(families) => {
            let one = |&(family, next_hop): &(Family, NextHopAfi)| {
                let afi = match next_hop {
                    NextHopAfi::Ipv4 => AddressFamily::IPv4,
                    NextHopAfi::Ipv6 => AddressFamily::IPv6,
                };
                ExtendedNextHopEncoding::new(address_type(family), afi)
            };
            let families: Vec<_> = families.iter().map(one).collect();
            BgpCapability::ExtendedNextHopEncoding(ExtendedNextHopEncodingCapability::new(families))
        }
        Capability::ExtendedMessage => BgpCapability::ExtendedMessage,
        Capability::Role(role) => BgpCapability::BgpRole(BgpRoleCapability::new(match role {
            Role::Provider => BgpRoleValue::Provider,
            Role::Peer => BgpRoleValue::Peer,
            other => panic!("it has another number than RFC 9234 for {other}"),
        })),
        Capability::AddPath(families) => {
            let one = |&(family, mode): &(Family, AddPathMode)| {
                AddPathAddressFamily::new(address_type(family), mode.sends(), mode.receives())
            };
            let families: Vec<_> = families.iter().map(one).collect();
            BgpCapability::AddPath(AddPathCapability::new(families))
        }
        Capability::EnhancedRouteRefresh => BgpCapability::EnhancedRouteRefresh,
        Capability::LongLivedGracefulRestart(families) => {
            let one = |one: &LongLivedFamily| {
                let LongLivedFamily {
                    family,
                    forwarding,
                    stale_time_seconds,
                } = *one;
                let kind = address_type(family);
                LongLivedGracefulRestartAddressFamily::new(forwarding, kind, stale_time_seconds)
            };
            let families: Vec<_> = families.iter().map(one).collect();
            let families = LongLivedGracefulRestartCapability::new(families);
            BgpCapability::LongLivedGracefulRestart(families)
        }
        Capability::Hostname { host, domain } => {
            let (host, domain) = (host.as_str().into(), domain.as_str().into());
            BgpCapability::Fqdn(FqdnCapability::new(host, domain))
        }
        // It has no name for this one.
        Capability::SoftwareVersion(version) => {
            let mut value = vec![u8::try_from(version.len()).expect("short")];
            value.extend_from_slice(version.as_bytes());
            BgpCapability::Unrecognized(UnrecognizedCapability::new(75, value))
        }
        Capability::Unknown { code, value } => {
            BgpCapability::Unrecognized(UnrecognizedCapability::new(*code, value.clone()))
        }
    }
}

/// In the order in which we write attributes.
pub(crate) fn update(update: &Update, codec: &Codec) -> BgpMessage {
    let prefix_v4 = |nlri: &Nlri| prefix_v4(nlri, codec);
    let prefix_v6 = |nlri: &Nlri| prefix_v6(nlri, codec);
    let mut all = Vec::new();
    if let Some(reach) = &update.mp_announced {
        let IpAddr::V6(next_hop_global) = reach.next_hop else {
            panic!("an IPv6 next hop, of either family");
        };
        let prefixes = reach.prefixes.iter();
        let reach = match reach.family {
            Family::Ipv4Unicast => theirs::MpReach::Ipv4Unicast {
                next_hop: next_hop_global.into(),
                next_hop_local: reach.link_local,
                nlri: prefixes.filter_map(prefix_v4).collect(),
            },
            Family::Ipv6Unicast => theirs::MpReach::Ipv6Unicast {
                next_hop_global,
                next_hop_local: reach.link_local,
                nlri: prefixes.filter_map(prefix_v6).collect(),
            },
        };
        all.push(optional(Value::MpReach(reach)));
    }
    let withdrawn_v6: Vec<_> = update.withdrawn.iter().filter_map(prefix_v6).collect();
    if !withdrawn_v6.is_empty() {
        let unreach = theirs::MpUnreach::Ipv6Unicast {
            nlri: withdrawn_v6.into(),
        };
        all.push(optional(Value::MpUnreach(unreach)));
    }
    if !update.announced.is_empty() || update.mp_announced.is_some() {
        all.extend(attributes(&update.attributes, codec.four_octet_as));
    }
    let v4 = |prefixes: &[Nlri]| prefixes.iter().filter_map(prefix_v4).collect::<Vec<_>>();
    BgpMessage::Update(BgpUpdateMessage::new(
        v4(&update.withdrawn),
        all,
        v4(&update.announced),
    ))
}

fn attributes(ours: &Attributes, four_octet_as: bool) -> Vec<PathAttribute> {
    let origin = match ours.origin {
        Origin::Igp => theirs::Origin::IGP,
        Origin::Egp => theirs::Origin::EGP,
        Origin::Incomplete => theirs::Origin::Incomplete,
    };
    let known = |code, value| attribute(true, true, ours.partial.contains(code), value);
    // With the code, so that unknown ones can take their place.
    let mut all = vec![
        (1, well_known(Value::Origin(origin))),
        (
            2,
            well_known(Value::AsPath(as_path(&ours.as_path, four_octet_as))),
        ),
    ];
    if let Some(IpAddr::V4(next_hop)) = ours.next_hop {
        all.push((
            3,
            well_known(Value::NextHop(theirs::NextHop::new(next_hop))),
        ));
    }
    if let Some(med) = ours.med {
        let med = theirs::MultiExitDiscriminator::new(med);
        all.push((4, optional(Value::MultiExitDiscriminator(med))));
    }
    if let Some(local_pref) = ours.local_pref {
        let local_pref = theirs::LocalPreference::new(local_pref);
        all.push((5, well_known(Value::LocalPreference(local_pref))));
    }
    if ours.atomic_aggregate {
        all.push((
            6,
            well_known(Value::AtomicAggregate(theirs::AtomicAggregate)),
        ));
    }
    if let Some((asn, router_id)) = ours.aggregator {
        let aggregator = if four_octet_as {
            theirs::Aggregator::As4Aggregator(theirs::As4Aggregator::new(asn, router_id))
        } else {
            let asn = u16::try_from(asn).unwrap_or(AS_TRANS);
            theirs::Aggregator::As2Aggregator(theirs::As2Aggregator::new(asn, router_id))
        };
        all.push((7, known(7, Value::Aggregator(aggregator))));
    }
    if !ours.communities.is_empty() {
        let communities: Vec<_> = ours
            .communities
            .iter()
            .copied()
            .map(Community::new)
            .collect();
        let communities = theirs::Communities::new(communities);
        all.push((8, known(8, Value::Communities(communities))));
    }
    if let Some(originator_id) = ours.originator_id {
        let originator = theirs::Originator::new(originator_id);
        all.push((9, optional(Value::Originator(originator))));
    }
    if !ours.cluster_list.is_empty() {
        let clusters = ours
            .cluster_list
            .iter()
            .copied()
            .map(theirs::ClusterId::new);
        let clusters = theirs::ClusterList::new(clusters.collect::<Vec<_>>());
        all.push((10, optional(Value::ClusterList(clusters))));
    }
    if !ours.extended_communities.is_empty() {
        let communities: Vec<_> = ours.extended_communities.iter().map(extended).collect();
        let communities = theirs::ExtendedCommunities::new(communities);
        all.push((16, known(16, Value::ExtendedCommunities(communities))));
    }
    if !four_octet_as {
        all.extend(as4_path(&ours.as_path).map(|path| (17, transitive(Value::As4Path(path)))));
        all.extend(as4_aggregator(ours).map(|aggregator| (18, aggregator)));
    }
    if !ours.large_communities.is_empty() {
        let large = |&(global, one, two): &(u32, u32, u32)| LargeCommunity::new(global, one, two);
        let communities: Vec<_> = ours.large_communities.iter().map(large).collect();
        let communities = theirs::LargeCommunities::new(communities);
        all.push((32, known(32, Value::LargeCommunities(communities))));
    }
    if let Some(aigp) = &ours.aigp {
        let aigp = theirs::Aigp::AccumulatedIgpMetric(aigp.metric());
        all.push((26, optional(Value::Aigp(aigp))));
    }
    if let Some(otc) = ours.otc {
        let otc = theirs::OnlyToCustomer::new(otc);
        all.push((35, known(35, Value::OnlyToCustomer(otc))));
    }
    all.extend(ours.unknown.iter().map(|one| (one.code, unknown(one))));
    all.sort_by_key(|(code, _)| *code);
    all.into_iter().map(|(_, attribute)| attribute).collect()
}

fn segments<T>(path: &AsPath, one: impl Fn(theirs::AsPathSegmentType, &[u32]) -> T) -> Vec<T> {
    let segment = |segment: &Segment| {
        let kind = match segment {
            Segment::Set(_) => theirs::AsPathSegmentType::AsSet,
            Segment::Sequence(_) => theirs::AsPathSegmentType::AsSequence,
            Segment::ConfedSequence(_) | Segment::ConfedSet(_) => panic!("it knows none of these"),
        };
        one(kind, segment.asns())
    };
    path.0.iter().map(segment).collect()
}

fn as_path(path: &AsPath, four_octet_as: bool) -> theirs::AsPath {
    if four_octet_as {
        let segment = |kind, asns: &[u32]| theirs::As4PathSegment::new(kind, asns);
        return theirs::AsPath::as4_path_segments(segments(path, segment));
    }
    let segment = |kind, asns: &[u32]| {
        let narrow = |&asn: &u32| u16::try_from(asn).unwrap_or(AS_TRANS);
        theirs::As2PathSegment::new(kind, asns.iter().map(narrow).collect::<Vec<_>>())
    };
    theirs::AsPath::as2_path_segments(segments(path, segment))
}

fn as4_path(path: &AsPath) -> Option<theirs::As4Path> {
    let wide = |segment: &Segment| segment.asns().iter().any(|&asn| asn > 65535);
    if !path.0.iter().any(wide) {
        return None;
    }
    let segment = |kind, asns: &[u32]| theirs::As4PathSegment::new(kind, asns);
    Some(theirs::As4Path::new(segments(path, segment)))
}

/// It has no name for this attribute, so it is one that it does not know.
fn as4_aggregator(ours: &Attributes) -> Option<PathAttribute> {
    let (asn, router_id) = ours.aggregator.filter(|(asn, _)| *asn > 65535)?;
    let value = [asn.to_be_bytes(), router_id.octets()].concat();
    let value = Value::UnknownAttribute(theirs::UnknownAttribute::new(18, value));
    Some(PathAttribute::from(true, true, false, false, value).expect("its flags"))
}

fn unknown(ours: &UnknownAttribute) -> PathAttribute {
    let long = ours.value.len() > 255;
    let value = theirs::UnknownAttribute::new(ours.code, ours.value.clone());
    let value = Value::UnknownAttribute(value);
    PathAttribute::from(true, true, true, long, value).expect("flags of our own choice")
}

fn extended(community: &u64) -> ExtendedCommunity {
    let octets = community.to_be_bytes();
    ExtendedCommunity::parse(&mut SliceReader::new(&octets)).expect("eight octets")
}

fn well_known(value: Value) -> PathAttribute {
    attribute(false, true, false, value)
}

fn optional(value: Value) -> PathAttribute {
    attribute(true, false, false, value)
}

fn transitive(value: Value) -> PathAttribute {
    attribute(true, true, false, value)
}

/// With an extended length where the value needs it.
fn attribute(optional: bool, transitive: bool, partial: bool, value: Value) -> PathAttribute {
    use netgauze_parse_utils::WritablePdu;
    let short = PathAttribute::from(optional, transitive, partial, false, value.clone());
    let short = short.expect("the flags of the RFC");
    // Flags, code and one octet of length stand before the value.
    if short.len() - 3 <= 255 {
        return short;
    }
    PathAttribute::from(optional, transitive, partial, true, value).expect("the flags of the RFC")
}

/// Theirs is there or not; ours is 0 where it is not.
fn path_id(nlri: &Nlri, codec: &Codec) -> Option<u32> {
    let sent = codec.add_path_send.contains(&Family::of(&nlri.prefix));
    sent.then_some(nlri.path_id)
}

fn prefix_v4(nlri: &Nlri, codec: &Codec) -> Option<Ipv4UnicastAddress> {
    match nlri.prefix {
        IpNet::V4(prefix) => Some(Ipv4UnicastAddress::new(
            path_id(nlri, codec),
            Ipv4Unicast::from_net(prefix).expect("unicast"),
        )),
        IpNet::V6(_) => None,
    }
}

fn prefix_v6(nlri: &Nlri, codec: &Codec) -> Option<Ipv6UnicastAddress> {
    match nlri.prefix {
        IpNet::V6(prefix) => Some(Ipv6UnicastAddress::new(
            path_id(nlri, codec),
            Ipv6Unicast::from_net(prefix).expect("unicast"),
        )),
        IpNet::V4(_) => None,
    }
}
