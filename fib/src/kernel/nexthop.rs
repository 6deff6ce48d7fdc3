//! Nexthop objects (RTM_NEWNEXTHOP, Linux 5.3): one way out, or a group of ways, that any number of routes share by
//! its number. To replace an object is to move all its routes at once.
//!
//! What Linux does with them, and so what the fake kernel does:
//!
//! - a route to an object that is not there is refused, and an IPv6 route to one that has an IPv4 gateway;
//! - an object cannot become a group, nor a group an object, nor can a group be a member of one;
//! - an object goes with its device, when that goes down and also when it loses its carrier, and with it, without a
//!   word, go the routes on it; a group loses that member, and goes with its last one;
//! - with an object that somebody deletes its routes go; that is told of the object, and of the IPv6 routes only.

use smallvec::SmallVec;

use super::{Hop, Ways};

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Nexthops {
    /// These, in ascending order. None unless unicast.
    Own(Ways),
    /// To what this object says.
    Object(ObjectId),
}

/// The number of a nexthop object (NHA_ID, RTA_NH_ID).
pub(crate) type ObjectId = u32;

/// A nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub protocol: u8,
    pub content: Content,
}

/// What an object stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// One way out; its weight is 0.
    Single(Hop),
    /// Several (NEXTHOP_GRP_TYPE_MPATH), in ascending order.
    Group(SmallVec<[Member; 2]>),
    /// What we never write: blackholes, encapsulations, resilient groups, forwarding entries.
    Other,
}

/// One object in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Member {
    pub id: ObjectId,
    /// Of 1 to 256, less one.
    pub weight: u8,
}

impl Object {
    /// An object of ours with one way out.
    pub(crate) fn single(protocol: u8, hop: Hop) -> Object {
        Object {
            protocol,
            content: Content::Single(Hop { weight: 0, ..hop }),
        }
    }

    /// A group of ours, of these objects.
    pub(crate) fn group(protocol: u8, members: impl IntoIterator<Item = Member>) -> Object {
        let mut members: SmallVec<[Member; 2]> = members.into_iter().collect();
        members.sort_unstable();
        members.dedup_by_key(|member| member.id);
        Object {
            protocol,
            content: Content::Group(members),
        }
    }

    /// The index of the device that it leads through; [`GROUPS`], which is no device's, where it has members instead.
    pub(crate) fn device(&self) -> Option<u32> {
        match &self.content {
            Content::Single(hop) => Some(hop.device),
            Content::Group(_) => Some(GROUPS),
            Content::Other => None,
        }
    }

    /// The members of a group; none of anything else.
    pub(crate) fn members(&self) -> &[Member] {
        match &self.content {
            Content::Group(members) => members,
            Content::Single(_) | Content::Other => &[],
        }
    }
}

/// In place of the index of a device.
pub(crate) const GROUPS: u32 = 0;
