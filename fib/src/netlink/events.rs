//! What others do to the kernel: links, addresses, neighbours, routes, nexthop objects.

use std::io;

use netlink_packet_core::{NLM_F_REPLACE, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{AsyncSocket, TokioSocket};
use rtnetlink::MulticastGroup;
use tokio::sync::mpsc;
use tracing::debug;

use super::follow::Receive;
use super::nexthop::Message;
use super::own::OwnPort;
use super::{convert, follow};
use crate::kernel::Event;

/// Subscribes, and translates in a task of its own, which ends with the receiver. Our own messages are left out; what is
/// no route of the main table, or no permanent neighbour, is dropped early. A socket that is lost is opened again.
pub(super) fn subscribe(own: &OwnPort, events: mpsc::Sender<Event>) -> io::Result<()> {
    let port = own.clone();
    subscribe_by(move || open(&port), own, events)
}

/// The same with sockets that are opened so.
pub(super) fn subscribe_by<S: Receive + Send + Sync + 'static>(
    mut open: impl FnMut() -> io::Result<S> + Send + 'static,
    own: &OwnPort,
    events: mpsc::Sender<Event>,
) -> io::Result<()> {
    let socket = open()?;
    let own = own.clone();
    tokio::spawn(follow::follow(socket, open, own, translate, events));
    Ok(())
}

fn open(own: &OwnPort) -> io::Result<TokioSocket> {
    let mut socket = follow::open(&GROUPS, own)?;
    // A kernel that has none knows no such group.
    let objects = MulticastGroup::Nexthop as u32;
    if let Err(error) = socket.socket_mut().add_membership(objects) {
        debug!(%error, "netlink: no events about nexthop objects");
    }
    Ok(socket)
}

fn translate(message: NetlinkMessage<Message>) -> Option<Event> {
    let by = message.header.port_number;
    let replaced = message.header.flags & NLM_F_REPLACE != 0;
    match message.payload {
        NetlinkPayload::InnerMessage(Message::Object(id, object)) => {
            Some(Event::Object { id, object, by })
        }
        NetlinkPayload::InnerMessage(Message::ObjectGone(id)) => Some(Event::ObjectGone { id, by }),
        NetlinkPayload::InnerMessage(Message::Other(inner)) => match *inner {
            RouteNetlinkMessage::NewLink(link) => convert::link(&link).map(Event::Link),
            RouteNetlinkMessage::DelLink(link) => {
                convert::link(&link).map(|link| Event::LinkGone(link.index))
            }
            RouteNetlinkMessage::NewAddress(address) => {
                convert::address(&address).map(|(device, net)| Event::Address(device, net))
            }
            RouteNetlinkMessage::DelAddress(address) => {
                convert::address(&address).map(|(device, net)| Event::AddressGone(device, net))
            }
            RouteNetlinkMessage::NewRoute(route) => {
                convert::route(&route).map(|(key, spec)| Event::Route {
                    key,
                    spec,
                    replaced,
                    by,
                })
            }
            RouteNetlinkMessage::DelRoute(route) => {
                convert::route(&route).map(|(key, spec)| Event::RouteGone { key, spec, by })
            }
            RouteNetlinkMessage::NewNeighbour(neighbour) => match convert::neighbour(&neighbour) {
                Some((key, value)) => Some(Event::Neighbour(key, value)),
                // One that is no longer permanent is not the one that we wrote.
                None => convert::neighbour_key(&neighbour).map(Event::NeighbourGone),
            },
            RouteNetlinkMessage::DelNeighbour(neighbour) => {
                convert::neighbour_key(&neighbour).map(Event::NeighbourGone)
            }
            _ => None,
        },
        _ => None,
    }
}

const GROUPS: [MulticastGroup; 6] = [
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Neigh,
];
