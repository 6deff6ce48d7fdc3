//! Attributes in few octets: how the RIB keeps them while nobody looks into them.
//!
//! ```text
//! +-------------+-----------+----------+-----------------------------+-----------+
//! | partial (1) | flags (1) | code (1) | length (1; 255: 4 more)     | value     |  ... next attribute
//! +-------------+-----------+----------+-----------------------------+-----------+
//! ```
//!
//! About the Path Attributes field of an UPDATE with AS numbers of four octets, by type code, so that equal attributes are
//! equal octets. What differs: the next hop of either family is in NEXT_HOP, with the link-local one behind it; a length
//! has room for more than a message; unknown attributes have their flags as received. Nothing of it leaves the speaker.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Aigp, AsPath, Attributes, OPTIONAL_NON_TRANSITIVE, OPTIONAL_TRANSITIVE, Origin, Partial,
    UnknownAttribute, WELL_KNOWN,
};
use crate::wire::cursor::Cursor;
use crate::wire::iana::attribute_code as code;

pub(crate) use encode::Reflection;

mod encode;

impl Attributes {
    /// Appends them packed.
    pub(crate) fn pack(&self, out: &mut Vec<u8>) {
        out.push(self.partial.0);
        put(WELL_KNOWN, code::ORIGIN, out, |out| {
            out.push(self.origin.number());
        });
        put(WELL_KNOWN, code::AS_PATH, out, |out| {
            self.as_path.encode(true, out);
        });
        if self.next_hop.is_some() || self.next_hop_link_local.is_some() {
            put(WELL_KNOWN, code::NEXT_HOP, out, |out| {
                pack_next_hops(self.next_hop, self.next_hop_link_local, out);
            });
        }
        if let Some(med) = self.med {
            put_u32(OPTIONAL_NON_TRANSITIVE, code::MULTI_EXIT_DISC, med, out);
        }
        if let Some(local_pref) = self.local_pref {
            put_u32(WELL_KNOWN, code::LOCAL_PREF, local_pref, out);
        }
        if self.atomic_aggregate {
            put(WELL_KNOWN, code::ATOMIC_AGGREGATE, out, |_| {});
        }
        if let Some((asn, router_id)) = self.aggregator {
            put(OPTIONAL_TRANSITIVE, code::AGGREGATOR, out, |out| {
                out.extend_from_slice(&asn.to_be_bytes());
                out.extend_from_slice(&router_id.octets());
            });
        }
        if !self.communities.is_empty() {
            put(OPTIONAL_TRANSITIVE, code::COMMUNITIES, out, |out| {
                self.communities
                    .iter()
                    .for_each(|one| out.extend_from_slice(&one.to_be_bytes()));
            });
        }
        if let Some(originator_id) = self.originator_id {
            let number = originator_id.to_bits();
            put_u32(OPTIONAL_NON_TRANSITIVE, code::ORIGINATOR_ID, number, out);
        }
        if !self.cluster_list.is_empty() {
            put(OPTIONAL_NON_TRANSITIVE, code::CLUSTER_LIST, out, |out| {
                self.cluster_list
                    .iter()
                    .for_each(|one| out.extend_from_slice(&one.octets()));
            });
        }
        if !self.extended_communities.is_empty() {
            put(
                OPTIONAL_TRANSITIVE,
                code::EXTENDED_COMMUNITIES,
                out,
                |out| {
                    self.extended_communities
                        .iter()
                        .for_each(|one| out.extend_from_slice(&one.to_be_bytes()));
                },
            );
        }
        if let Some(aigp) = &self.aigp {
            put(OPTIONAL_NON_TRANSITIVE, code::AIGP, out, |out| {
                out.extend_from_slice(aigp.octets());
            });
        }
        if !self.large_communities.is_empty() {
            put(OPTIONAL_TRANSITIVE, code::LARGE_COMMUNITY, out, |out| {
                for &(administrator, one, two) in &self.large_communities {
                    for part in [administrator, one, two] {
                        out.extend_from_slice(&part.to_be_bytes());
                    }
                }
            });
        }
        if let Some(otc) = self.otc {
            put_u32(OPTIONAL_TRANSITIVE, code::OTC, otc, out);
        }
        // Behind the others: what is unknown may have any code.
        if !self.unknown.is_empty() {
            out.extend_from_slice(&UNKNOWN_FOLLOW);
        }
        for unknown in &self.unknown {
            put(unknown.flags, unknown.code, out, |out| {
                out.extend_from_slice(&unknown.value);
            });
        }
    }

    /// What [`Attributes::pack`] has packed.
    pub(crate) fn unpack(octets: &[u8]) -> Attributes {
        let mut attributes = Attributes::default();
        let mut cursor = Cursor::new(octets);
        attributes.partial = Partial(cursor.u8().unwrap_or_default());
        let mut are_known = true;
        while let Some((flags, code, value)) = next(&mut cursor) {
            if are_known && [flags, code] == [0, 0] {
                are_known = false;
            } else if are_known {
                attributes.unpack_one(code, value);
            } else {
                attributes.unknown.push(UnknownAttribute {
                    code,
                    flags,
                    value: value.to_vec(),
                });
            }
        }
        attributes
    }

    /// Only the next hop and the link-local one of what [`Attributes::pack`] has packed: nothing is made of the others.
    pub(crate) fn unpack_next_hops(octets: &[u8]) -> (Option<IpAddr>, Option<Ipv6Addr>) {
        let mut cursor = Cursor::new(octets);
        cursor.u8();
        let known = std::iter::from_fn(|| next(&mut cursor))
            .take_while(|(flags, code, _)| [*flags, *code] != [0, 0]);
        let mut next_hops = known.filter(|(_, code, _)| *code == code::NEXT_HOP);
        next_hops
            .next()
            .map_or((None, None), |(_, _, value)| unpack_next_hops(value))
    }

    fn unpack_one(&mut self, code: u8, value: &[u8]) {
        let number = || Cursor::new(value).u32();
        match code {
            code::ORIGIN => {
                let origin = value
                    .first()
                    .and_then(|&number| Origin::from_number(number));
                self.origin = origin.unwrap_or_default();
            }
            code::AS_PATH => self.as_path = AsPath::unpack(value),
            code::NEXT_HOP => {
                (self.next_hop, self.next_hop_link_local) = unpack_next_hops(value);
            }
            code::MULTI_EXIT_DISC => self.med = number(),
            code::LOCAL_PREF => self.local_pref = number(),
            code::ATOMIC_AGGREGATE => self.atomic_aggregate = true,
            code::AGGREGATOR => {
                let mut cursor = Cursor::new(value);
                let both = cursor.u32().zip(cursor.u32());
                self.aggregator = both.map(|(asn, id)| (asn, Ipv4Addr::from_bits(id)));
            }
            code::COMMUNITIES => self.communities = words(value).collect(),
            code::ORIGINATOR_ID => self.originator_id = number().map(Ipv4Addr::from_bits),
            code::CLUSTER_LIST => {
                self.cluster_list = words(value).map(Ipv4Addr::from_bits).collect();
            }
            code::EXTENDED_COMMUNITIES => {
                let (communities, _) = value.as_chunks::<8>();
                let communities = communities.iter();
                self.extended_communities =
                    communities.map(|&one| u64::from_be_bytes(one)).collect();
            }
            code::AIGP => self.aigp = Aigp::decode(value).ok(),
            code::LARGE_COMMUNITY => {
                let (communities, _) = value.as_chunks::<12>();
                let large = |one: &[u8; 12]| {
                    let mut parts = words(one);
                    Some((parts.next()?, parts.next()?, parts.next()?))
                };
                self.large_communities = communities.iter().filter_map(large).collect();
            }
            code::OTC => self.otc = number(),
            _ => {} // `pack` writes no others
        }
    }
}

fn put(flags: u8, code: u8, out: &mut Vec<u8>, value: impl Fn(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[flags, code, 0]);
    value(out);
    let length = out.len() - start - 3;
    if length < usize::from(LONG) {
        out[start + 2] = length as u8;
    } else {
        out[start + 2] = LONG;
        // Four thousand million octets of one attribute do not fit into memory.
        let length = (length as u32).to_be_bytes();
        out.splice(start + 3..start + 3, length);
    }
}

fn put_u32(flags: u8, code: u8, number: u32, out: &mut Vec<u8>) {
    let [a, b, c, d] = number.to_be_bytes();
    out.extend_from_slice(&[flags, code, 4, a, b, c, d]);
}

/// Flags, code and value of the next attribute.
fn next<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, u8, &'a [u8])> {
    let [flags, code, length] = cursor.array()?;
    let length = match length {
        LONG => cursor.u32()? as usize,
        length => usize::from(length),
    };
    Some((flags, code, cursor.take(length)?))
}

/// The length tells what there is: 4, 16 or none for the next hop, 16 for the link-local one; 17 is the latter alone.
fn pack_next_hops(next_hop: Option<IpAddr>, link_local: Option<Ipv6Addr>, out: &mut Vec<u8>) {
    match next_hop {
        Some(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
        Some(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
        None => out.push(0),
    }
    if let Some(address) = link_local {
        out.extend_from_slice(&address.octets());
    }
}

fn unpack_next_hops(value: &[u8]) -> (Option<IpAddr>, Option<Ipv6Addr>) {
    let mut cursor = Cursor::new(value);
    let next_hop = match value.len() {
        4 | 20 => cursor.u32().map(|bits| Ipv4Addr::from_bits(bits).into()),
        16 | 32 => cursor
            .array::<16>()
            .map(|octets| Ipv6Addr::from(octets).into()),
        _ => {
            cursor.u8();
            None
        }
    };
    (next_hop, cursor.array::<16>().map(Ipv6Addr::from))
}

fn words(value: &[u8]) -> impl Iterator<Item = u32> + use<'_> {
    let (words, _) = value.as_chunks::<4>();
    words.iter().map(|&word| u32::from_be_bytes(word))
}

/// Stands for a length that is in the four octets behind it.
const LONG: u8 = 255;
/// An attribute of code zero, which is none.
const UNKNOWN_FOLLOW: [u8; 3] = [0, 0, 0];

#[cfg(test)]
mod tests;
