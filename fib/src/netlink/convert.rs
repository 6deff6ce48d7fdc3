//! Messages of netlink-packet-route as the plain values of [`crate::kernel`].

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteType, RouteVia,
};
use smallvec::SmallVec;

use crate::kernel::{
    Hop, Key, Kind, Link, LinkKind, NeighbourKey, NeighbourValue, Nexthops, ObjectId, Resolution,
    Spec, VxlanLink,
};

/// A route of the main table; `None` for any other.
pub(super) fn route(message: &RouteMessage) -> Option<(Key, Spec)> {
    let header = &message.header;
    let default_address: IpAddr = match header.address_family {
        AddressFamily::Inet => std::net::Ipv4Addr::UNSPECIFIED.into(),
        AddressFamily::Inet6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    if header.flags.contains(RouteFlags::Cloned) || header.tos != 0 {
        return None;
    }
    let mut address = default_address;
    let mut table = u32::from(header.table);
    let mut metric = 0;
    let mut source = None;
    let mut foreign_attributes = header.source_prefix_length != 0;
    let mut hops: SmallVec<[Hop; 1]> = SmallVec::new();
    let mut object = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(destination) => address = ip(destination)?,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::MultiPath(many) => {
                hops = many
                    .iter()
                    .map(|one| Hop {
                        via: gateway(&one.attributes),
                        device: one.interface_index,
                        onlink: one.flags.contains(RouteNextHopFlags::Onlink),
                        weight: one.hops,
                    })
                    .collect();
                hops.sort_unstable();
            }
            RouteAttribute::NhId(id) => object = Some(*id),
            RouteAttribute::Metrics(metrics) => foreign_attributes |= !metrics.is_empty(),
            RouteAttribute::PrefSource(address) => source = ip(address).map(Box::new),
            RouteAttribute::Encap(_) | RouteAttribute::Realm(_) | RouteAttribute::Source(_) => {
                foreign_attributes = true
            }
            _ => {}
        }
    }
    if table != RT_TABLE_MAIN {
        return None;
    }
    let kind = match header.kind {
        RouteType::Unicast => Kind::Unicast,
        RouteType::BlackHole => Kind::Blackhole,
        other => Kind::Other(other.into()),
    };
    // IPv6 shows `lo` as the device of a blackhole.
    if kind != Kind::Unicast {
        hops.clear();
    } else if hops.is_empty()
        && let Some(device) = output_device(&message.attributes)
    {
        hops.push(Hop {
            via: gateway(&message.attributes),
            device,
            onlink: header.flags.contains(RouteFlags::Onlink),
            weight: 0,
        });
    }
    let prefix = IpNet::new(address, header.destination_prefix_length).ok()?;
    let key = Key { prefix, metric };
    let spec = Spec {
        protocol: header.protocol.into(),
        kind,
        scope: match prefix {
            IpNet::V4(_) => header.scope.into(),
            IpNet::V6(_) => 0,
        },
        // With `net.ipv4.nexthop_compat_mode` the kernel shows what the object says, too.
        nexthops: match object {
            Some(id) => Nexthops::Object(id),
            None => Nexthops::Own(hops.as_slice().into()),
        },
        source,
        foreign_attributes,
    };
    Some((key, spec))
}

/// The answer to a lookup, from whatever table, and the nexthop object that it leads to.
pub(super) fn lookup(message: &RouteMessage) -> Option<(Resolution, Option<ObjectId>)> {
    let mut message = message.clone();
    let object = message.attributes.iter().find_map(|a| match a {
        RouteAttribute::NhId(id) => Some(*id),
        _ => None,
    });
    // Rules may send the lookup elsewhere; for the answer that makes no difference.
    message.header.table = RT_TABLE_MAIN as u8;
    message.attributes.retain(|attribute| {
        !matches!(
            attribute,
            RouteAttribute::Table(_) | RouteAttribute::NhId(_)
        )
    });
    let (_, spec) = route(&message)?;
    let resolution = Resolution {
        protocol: spec.protocol,
        kind: spec.kind,
        hops: spec.hops().into(),
    };
    Some((resolution, object))
}

/// A device; `None` for messages about a device's part in something else, as a port of a bridge.
pub(super) fn link(message: &LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message
            .header
            .flags
            .intersects(LinkFlags::Running | LinkFlags::LowerUp),
        mtu: 0,
        mac: None,
        kind: match message.header.flags.contains(LinkFlags::Loopback) {
            true => LinkKind::Loopback,
            false => LinkKind::Ordinary,
        },
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) => link.mac = address.as_slice().try_into().ok(),
            LinkAttribute::LinkInfo(infos) => {
                if let Some(kind) = link_kind(infos) {
                    link.kind = kind;
                }
            }
            _ => {}
        }
    }
    Some(link)
}

/// An address with the index of its device.
pub(super) fn address(message: &AddressMessage) -> Option<(u32, IpNet)> {
    // Where both are given, ADDRESS is that of the peer.
    let own = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let any = message.attributes.iter().find_map(|a| match a {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    });
    let net = IpNet::new(own.or(any)?, message.header.prefix_len).ok()?;
    Some((message.header.index, net))
}

/// A permanent neighbour, or a forwarding entry of a VXLAN device.
pub(super) fn neighbour(message: &NeighbourMessage) -> Option<(NeighbourKey, NeighbourValue)> {
    let (key, mac, destination) = neighbour_parts(message)?;
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let value = match key {
        NeighbourKey::Address(..) => NeighbourValue::Mac(mac?),
        NeighbourKey::Mac(..) => NeighbourValue::Remote(destination?),
    };
    Some((key, value))
}

/// What a neighbour message is about, whatever it says about it.
pub(super) fn neighbour_key(message: &NeighbourMessage) -> Option<NeighbourKey> {
    neighbour_parts(message).map(|(key, _, _)| key)
}

type NeighbourParts = (NeighbourKey, Option<[u8; 6]>, Option<IpAddr>);

fn neighbour_parts(message: &NeighbourMessage) -> Option<NeighbourParts> {
    let mut mac: Option<[u8; 6]> = None;
    let mut destination = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(address) => {
                mac = address.as_slice().try_into().ok();
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                destination = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                destination = Some(IpAddr::V6(*v6));
            }
            // In the bridge family the destination comes as bare octets.
            NeighbourAttribute::Destination(NeighbourAddress::Other(octets)) => {
                destination = octets_to_ip(octets);
            }
            _ => {}
        }
    }
    let device = message.header.ifindex;
    let key = match message.header.family {
        AddressFamily::Inet | AddressFamily::Inet6 => NeighbourKey::Address(device, destination?),
        // Some kernels tell of each change twice, once without the destination: that is no news.
        AddressFamily::Bridge => {
            destination?;
            NeighbourKey::Mac(device, mac?)
        }
        _ => return None,
    };
    Some((key, mac, destination))
}

fn link_kind(infos: &[LinkInfo]) -> Option<LinkKind> {
    let kind = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    })?;
    match kind {
        InfoKind::Vxlan => {
            let data = infos.iter().find_map(|info| match info {
                LinkInfo::Data(InfoData::Vxlan(data)) => Some(data.as_slice()),
                _ => None,
            });
            Some(LinkKind::Vxlan(vxlan(data.unwrap_or_default())))
        }
        InfoKind::IpIp => Some(LinkKind::Ipip),
        InfoKind::Ip6Tnl
        | InfoKind::SitTun
        | InfoKind::GreTun
        | InfoKind::GreTun6
        | InfoKind::GreTap
        | InfoKind::GreTap6
        | InfoKind::Vti
        | InfoKind::Wireguard
        | InfoKind::Geneve
        | InfoKind::Xfrm => Some(LinkKind::Tunnel),
        _ => None,
    }
}

fn vxlan(data: &[InfoVxlan]) -> VxlanLink {
    let mut link = VxlanLink {
        vni: 0,
        port: 0,
        local: None,
        learning: true,
    };
    for info in data {
        match info {
            InfoVxlan::Id(vni) => link.vni = *vni,
            InfoVxlan::Port(port) => link.port = *port,
            InfoVxlan::Local(v4) => link.local = Some(IpAddr::V4(*v4)),
            InfoVxlan::Local6(v6) => link.local = Some(IpAddr::V6(*v6)),
            InfoVxlan::Learning(learning) => link.learning = *learning,
            _ => {}
        }
    }
    link
}

fn gateway(attributes: &[RouteAttribute]) -> Option<IpAddr> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Via(RouteVia::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })
}

fn output_device(attributes: &[RouteAttribute]) -> Option<u32> {
    attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(device) => Some(*device),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteAddress::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}

fn octets_to_ip(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

const RT_TABLE_MAIN: u32 = 254;
