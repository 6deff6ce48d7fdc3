//! Messages about nexthop objects, which netlink-packet-route does not know: read by hand, here; written with the
//! routes, by [`super::encode`].
//!
//! ```text
//!   nlmsghdr │ family scope protocol 0 │ flags (32) │ attributes: NHA_ID, then NHA_OIF and NHA_GATEWAY, or NHA_GROUP
//! ```

#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;

use futures::StreamExt;
use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_proto::sys::SocketAddr;
use netlink_sys::protocols::NETLINK_ROUTE;
use smallvec::SmallVec;

use crate::kernel::{Content, Hop, Member, Object, ObjectId};

/// What may arrive where nexthop objects are told of among other things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    Object(ObjectId, Object),
    ObjectGone(ObjectId),
    /// The question about one object, or about all.
    Get(Option<ObjectId>),
    Other(Box<RouteNetlinkMessage>),
}

/// Asks for nexthop objects, on a socket of its own.
#[derive(Debug, Clone)]
pub(super) struct Objects(netlink_proto::ConnectionHandle<Message>);

impl Objects {
    /// With the connection by which it goes.
    pub(super) fn open() -> io::Result<(Objects, netlink_proto::Connection<Message>)> {
        let (connection, handle, _) = netlink_proto::new_connection::<Message>(NETLINK_ROUTE)?;
        Ok((Objects(handle), connection))
    }

    /// All objects; `None`: this kernel has no such thing.
    pub(super) async fn all(&self) -> Result<Option<Vec<(ObjectId, Object)>>, rtnetlink::Error> {
        let answer = self.get(None, NLM_F_REQUEST | NLM_F_DUMP).await;
        match answer {
            Ok(objects) => Ok(Some(objects)),
            Err(rtnetlink::Error::NetlinkError(message))
                if UNSUPPORTED.contains(&-message.raw_code()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The ways out of one object, those of its members if it is a group.
    pub(super) async fn hops(&self, id: ObjectId) -> Result<SmallVec<[Hop; 1]>, rtnetlink::Error> {
        let mut hops = SmallVec::new();
        for (_, object) in self.get(Some(id), NLM_F_REQUEST).await? {
            match &object.content {
                Content::Single(hop) => hops.push(*hop),
                Content::Group(members) => {
                    for member in members {
                        let found = self.get(Some(member.id), NLM_F_REQUEST).await?;
                        hops.extend(found.iter().filter_map(|(_, object)| match object.content {
                            Content::Single(hop) => Some(Hop {
                                weight: member.weight,
                                ..hop
                            }),
                            _ => None,
                        }));
                    }
                }
                Content::Other => {}
            }
        }
        Ok(hops)
    }

    async fn get(
        &self,
        id: Option<ObjectId>,
        flags: u16,
    ) -> Result<Vec<(ObjectId, Object)>, rtnetlink::Error> {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let question = NetlinkPayload::InnerMessage(Message::Get(id));
        let request = NetlinkMessage::new(header, question);
        let kernel = SocketAddr::new(0, 0);
        let answers = self.0.clone().request(request, kernel);
        let mut answers = answers.map_err(|_| rtnetlink::Error::RequestFailed)?;
        let mut objects = Vec::new();
        while let Some(answer) = answers.next().await {
            match answer.payload {
                NetlinkPayload::InnerMessage(Message::Object(id, object)) => {
                    objects.push((id, object));
                    // One that was asked for by its number has no end of dump after it.
                    if flags & NLM_F_DUMP != NLM_F_DUMP {
                        break;
                    }
                }
                NetlinkPayload::Error(message) if message.code.is_some() => {
                    return Err(rtnetlink::Error::NetlinkError(message));
                }
                _ => {}
            }
        }
        Ok(objects)
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Message, DecodeError> {
        let decoded = match header.message_type {
            RTM_NEWNEXTHOP => object(payload).map(|(id, object)| Message::Object(id, object)),
            RTM_DELNEXTHOP => object(payload).map(|(id, _)| Message::ObjectGone(id)),
            _ => {
                let other = RouteNetlinkMessage::deserialize(header, payload)?;
                return Ok(Message::Other(Box::new(other)));
            }
        };
        decoded.ok_or_else(|| DecodeError::from("a broken message about a nexthop object"))
    }
}

/// Only questions are sent this way.
impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        match self {
            Message::Object(..) => RTM_NEWNEXTHOP,
            Message::ObjectGone(_) => RTM_DELNEXTHOP,
            Message::Get(_) => RTM_GETNEXTHOP,
            Message::Other(other) => other.message_type(),
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Message::Get(None) => HEADER_BYTES,
            Message::Get(Some(_)) => HEADER_BYTES + 8,
            Message::Object(..) | Message::ObjectGone(_) => 0,
            Message::Other(other) => other.buffer_len(),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Message::Get(id) => {
                buffer.fill(0);
                if let (Some(id), Some(attribute)) = (id, buffer.get_mut(HEADER_BYTES..)) {
                    attribute[..2].copy_from_slice(&8u16.to_ne_bytes());
                    attribute[2..4].copy_from_slice(&NHA_ID.to_ne_bytes());
                    attribute[4..8].copy_from_slice(&id.to_ne_bytes());
                }
            }
            Message::Object(..) | Message::ObjectGone(_) => {}
            Message::Other(other) => other.serialize(buffer),
        }
    }
}

/// `nhmsg` with its attributes. `None`: it is cut, or an attribute has a wrong length, or there is no number.
fn object(message: &[u8]) -> Option<(ObjectId, Object)> {
    let header = message.get(..HEADER_BYTES)?;
    let flags = u32::from_ne_bytes(header[4..8].try_into().ok()?);
    let mut id = None;
    let mut device = None;
    let mut via = None;
    let mut members = None;
    let mut other = false;
    let mut rest = &message[HEADER_BYTES..];
    while !rest.is_empty() {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?) & NLA_TYPE_MASK;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        match kind {
            NHA_ID => id = Some(u32::from_ne_bytes(value.try_into().ok()?)),
            NHA_OIF => device = Some(u32::from_ne_bytes(value.try_into().ok()?)),
            NHA_GATEWAY => via = Some(address(value)?),
            NHA_GROUP => members = Some(group(value)?),
            NHA_GROUP_TYPE => other |= value != NEXTHOP_GRP_TYPE_MPATH.to_ne_bytes(),
            NHA_BLACKHOLE | NHA_ENCAP_TYPE | NHA_ENCAP | NHA_FDB => other = true,
            _ => {}
        }
    }
    let content = match (other, members, device) {
        (false, Some(Some(members)), None) => Content::Group(members),
        (false, None, Some(device)) => Content::Single(Hop {
            via,
            device,
            onlink: flags & RTNH_F_ONLINK != 0,
            weight: 0,
        }),
        _ => Content::Other,
    };
    let protocol = header[2];
    Some((id?, Object { protocol, content }))
}

/// `nexthop_grp` entries: number (32), weight less one (8), its upper part (8), a hole (16). Inside `Some`, `None`: a
/// weight that we have no room for.
fn group(entries: &[u8]) -> Option<Option<SmallVec<[Member; 2]>>> {
    let (entries, []) = entries.as_chunks::<8>() else {
        return None;
    };
    if entries.iter().any(|entry| entry[5] != 0) {
        return Some(None);
    }
    let mut members: SmallVec<[Member; 2]> = entries
        .iter()
        .map(|entry| Member {
            id: u32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]),
            weight: entry[4],
        })
        .collect();
    members.sort_unstable();
    Some(Some(members))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// What a kernel without nexthop objects answers.
const UNSUPPORTED: [i32; 3] = [libc::EOPNOTSUPP, libc::EINVAL, libc::ENOSYS];
// linux/netlink.h, linux/rtnetlink.h, linux/nexthop.h
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_GETNEXTHOP: u16 = 106;
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEADER_BYTES: usize = 8;
const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;
const NEXTHOP_GRP_TYPE_MPATH: u16 = 0;
const RTNH_F_ONLINK: u32 = 4;
