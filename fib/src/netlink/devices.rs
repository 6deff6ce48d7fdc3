//! Changes of devices, addresses and neighbours, each one request.

use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
};
use netlink_packet_route::link::InfoKind;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::{Error, Handle, LinkMessageBuilder, LinkUnspec, LinkVxlan};

use crate::kernel::{DeviceChange, NeighbourKey, NeighbourValue};

pub(super) async fn change(handle: &Handle, change: &DeviceChange) -> Result<(), Error> {
    match change {
        DeviceChange::AddIpip(name) => {
            let message = LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(InfoKind::IpIp)
                .name(name.clone())
                .build();
            handle.link().add(message).execute().await
        }
        DeviceChange::AddVxlan {
            name,
            link,
            mac,
            mtu,
        } => {
            let builder = LinkVxlan::new(name, link.vni)
                .port(link.port)
                .learning(link.learning)
                .address(mac.to_vec())
                .mtu(*mtu);
            let builder = match link.local {
                Some(IpAddr::V4(local)) => builder.local(local),
                Some(IpAddr::V6(local)) => builder.local6(local),
                None => builder,
            };
            handle.link().add(builder.up().build()).execute().await
        }
        DeviceChange::DeleteLink(index) => handle.link().del(*index).execute().await,
        DeviceChange::SetUp(index, up) => {
            let builder = LinkUnspec::new_with_index(*index);
            let message = if *up { builder.up() } else { builder.down() };
            handle.link().change(message.build()).execute().await
        }
        DeviceChange::SetMtu(index, mtu) => {
            let message = LinkUnspec::new_with_index(*index).mtu(*mtu).build();
            handle.link().change(message).execute().await
        }
        DeviceChange::AddAddress(index, net) => {
            let mut request = handle
                .address()
                .add(*index, net.addr(), net.prefix_len())
                .replace();
            if net.addr().is_ipv6() {
                // Ours by construction: nobody else can have it on this link.
                let message = request.message_mut();
                message.header.flags |= AddressHeaderFlags::Nodad;
                message
                    .attributes
                    .push(AddressAttribute::Flags(AddressFlags::Nodad));
            }
            request.execute().await
        }
        DeviceChange::DeleteAddress(index, net) => {
            let mut message = AddressMessage::default();
            message.header.family = family(&net.addr());
            message.header.prefix_len = net.prefix_len();
            message.header.scope = AddressScope::Universe;
            message.header.index = *index;
            message.attributes.push(AddressAttribute::Local(net.addr()));
            message
                .attributes
                .push(AddressAttribute::Address(net.addr()));
            handle.address().del(message).execute().await
        }
        DeviceChange::SetNeighbour(key, value) => match (key, value) {
            (NeighbourKey::Address(device, address), NeighbourValue::Mac(mac)) => {
                let request = handle.neighbours().add(*device, *address);
                request.link_layer_address(mac).replace().execute().await
            }
            (NeighbourKey::Mac(device, mac), NeighbourValue::Remote(remote)) => {
                let request = handle.neighbours().add_bridge(*device, mac);
                request
                    .flags(NeighbourFlags::Own)
                    .destination(*remote)
                    .replace()
                    .execute()
                    .await
            }
            _ => Err(Error::RequestFailed),
        },
        DeviceChange::DeleteNeighbour(key, value) => {
            let message = neighbour(key, value);
            handle.neighbours().del(message).execute().await
        }
    }
}

fn neighbour(key: &NeighbourKey, value: &NeighbourValue) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.state = NeighbourState::Permanent;
    match key {
        NeighbourKey::Address(device, address) => {
            message.header.family = family(address);
            message.header.ifindex = *device;
            message
                .attributes
                .push(NeighbourAttribute::Destination(destination(address)));
        }
        NeighbourKey::Mac(device, mac) => {
            message.header.family = AddressFamily::Bridge;
            message.header.ifindex = *device;
            message.header.flags = NeighbourFlags::Own;
            message
                .attributes
                .push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
            if let NeighbourValue::Remote(remote) = value {
                message
                    .attributes
                    .push(NeighbourAttribute::Destination(destination(remote)));
            }
        }
    }
    message
}

fn destination(address: &IpAddr) -> NeighbourAddress {
    match address {
        IpAddr::V4(v4) => NeighbourAddress::Inet(*v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(*v6),
    }
}

fn family(address: &IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
