//! Removes what connection tracking remembers of addresses, so that the next owner of an address does not get packets of
//! the last one's connections, nor its packets another address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::message::{Attributes, AttributesOf, Message, Received};
use crate::socket::{Failure, Netfilter};

/// Deletes every entry that has one of these addresses as source or destination, in the original or the reply
/// direction. Returns how many there were.
pub(crate) fn forget(addresses: &BTreeSet<IpAddr>) -> Result<u64, Failure> {
    let mut netfilter = Netfilter::open().map_err(|error| Failure::Socket(error.to_string()))?;
    let mut deleted = 0;
    for family in [libc::AF_INET as u8, libc::AF_INET6 as u8] {
        let of_family = |address: &IpAddr| address.is_ipv4() == (family == libc::AF_INET as u8);
        let these: BTreeSet<IpAddr> = addresses.iter().copied().filter(of_family).collect();
        let entries = find(&mut netfilter, family, &these)?;
        for entry in entries.values() {
            match netfilter.order(&entry.deletion(family)) {
                Ok(()) => deleted += 1,
                // It ended by itself, or another has its tuple by now.
                Err(failure) if failure.errno() == Some(libc::ENOENT) => {}
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(deleted)
}

/// What a deletion needs, as the kernel gave it.
#[derive(Debug)]
struct Entry {
    tuple: Vec<u8>,
    id: Vec<u8>,
    zone: Option<Vec<u8>>,
}

impl Entry {
    /// With the ID, so that nothing else is deleted that has the same tuple by then. Without a tuple the kernel would
    /// delete everything.
    fn deletion(&self, family: u8) -> Message {
        let mut message = Message::new(CTNETLINK, IPCTNL_MSG_CT_DELETE, family);
        message
            .attributes
            .bytes(CTA_TUPLE_ORIG, &self.tuple)
            .bytes(CTA_ID, &self.id);
        if let Some(zone) = &self.zone {
            message.attributes.bytes(CTA_ZONE, zone);
        }
        message
    }
}

/// By ID.
type Entries = BTreeMap<Vec<u8>, Entry>;

/// A few addresses are looked for by the kernel, each in four places; for many one look at the whole table is cheaper.
fn find(
    netfilter: &mut Netfilter,
    family: u8,
    addresses: &BTreeSet<IpAddr>,
) -> Result<Entries, Failure> {
    let mut entries = Entries::new();
    let mut take = |received: Received<'_>| {
        let attributes = received.attributes();
        // A kernel before 5.8 knows no filter and sends everything.
        if !concerns(attributes, addresses) {
            return;
        }
        let (tuple, id) = (attributes.find(CTA_TUPLE_ORIG), attributes.find(CTA_ID));
        if let (Some(tuple), Some(id)) = (tuple, id) {
            let zone = attributes.find(CTA_ZONE);
            let entry = Entry {
                tuple: tuple.to_vec(),
                id: id.to_vec(),
                zone: zone.map(<[u8]>::to_vec),
            };
            entries.insert(id.to_vec(), entry);
        }
    };
    let everything = Message::new(CTNETLINK, IPCTNL_MSG_CT_GET, family);
    if addresses.is_empty() {
        return Ok(entries);
    }
    if addresses.len() > FEW_ADDRESSES {
        netfilter.dump(&everything, &mut take)?;
        return Ok(entries);
    }
    for address in addresses {
        for (tuple, source) in [
            (CTA_TUPLE_ORIG, true),
            (CTA_TUPLE_ORIG, false),
            (CTA_TUPLE_REPLY, true),
            (CTA_TUPLE_REPLY, false),
        ] {
            let filtered = filtered(family, *address, tuple, source);
            match netfilter.dump(&filtered, &mut take) {
                Err(failure) if failure.errno().is_some() => {
                    netfilter.dump(&everything, &mut take)?;
                    return Ok(entries);
                }
                outcome => outcome?,
            }
        }
    }
    Ok(entries)
}

fn filtered(family: u8, address: IpAddr, tuple: u16, source: bool) -> Message {
    let mut message = Message::new(CTNETLINK, IPCTNL_MSG_CT_GET, family);
    message.attributes.nested(tuple, |tuple| {
        tuple.nested(CTA_TUPLE_IP, |ip| match address {
            IpAddr::V4(v4) => drop(ip.bytes(place(true, source), &v4.octets())),
            IpAddr::V6(v6) => drop(ip.bytes(place(false, source), &v6.octets())),
        });
    });
    let flags = match source {
        true => CTA_FILTER_F_CTA_IP_SRC,
        false => CTA_FILTER_F_CTA_IP_DST,
    };
    let (original, reply) = match tuple {
        CTA_TUPLE_ORIG => (flags, 0),
        _ => (0, flags),
    };
    // The one place where the kernel insists on NLA_F_NESTED and takes numbers in the host's order.
    let mut filter = Attributes::default();
    filter
        .bytes(CTA_FILTER_ORIG_FLAGS, &u32::to_ne_bytes(original))
        .bytes(CTA_FILTER_REPLY_FLAGS, &u32::to_ne_bytes(reply));
    message
        .attributes
        .bytes(CTA_FILTER | NLA_F_NESTED, &filter.0);
    message
}

fn concerns(attributes: AttributesOf<'_>, addresses: &BTreeSet<IpAddr>) -> bool {
    [CTA_TUPLE_ORIG, CTA_TUPLE_REPLY].into_iter().any(|tuple| {
        let mut ip = attributes.nested(tuple).nested(CTA_TUPLE_IP);
        ip.any(|(_, octets)| {
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let v6 = <[u8; 16]>::try_from(octets).map(IpAddr::from);
            v4.or(v6).is_ok_and(|address| addresses.contains(&address))
        })
    })
}

fn place(v4: bool, source: bool) -> u16 {
    match (v4, source) {
        (true, true) => CTA_IP_V4_SRC,
        (true, false) => CTA_IP_V4_DST,
        (false, true) => CTA_IP_V6_SRC,
        (false, false) => CTA_IP_V6_DST,
    }
}

const FEW_ADDRESSES: usize = 8;

// linux/netfilter/nfnetlink_conntrack.h
const CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_FILTER_F_CTA_IP_SRC: u32 = 1;
const CTA_FILTER_F_CTA_IP_DST: u32 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const NLA_F_NESTED: u16 = 0x8000;
