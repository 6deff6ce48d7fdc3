//! Attributes to octets: ascending by type code, NLRI first (RFC 7606 §5.1).

use std::net::{IpAddr, Ipv6Addr};

use super::{
    Attributes, OPTIONAL_NON_TRANSITIVE, OPTIONAL_TRANSITIVE, UnknownAttribute, WELL_KNOWN,
};
use crate::wire::as_path::encode_asn;
use crate::wire::family::Family;
use crate::wire::iana::{attribute_code as code, attribute_flag};
use crate::wire::message::Codec;

impl Attributes {
    /// All but MP_REACH_NLRI and MP_UNREACH_NLRI, NEXT_HOP only if `with_next_hop`, and AIGP only on a
    /// session that carries it.
    pub(in crate::wire) fn encode(&self, codec: &Codec, with_next_hop: bool, out: &mut Vec<u8>) {
        let four_octet_as = codec.four_octet_as;
        let transitive = |code: u8| {
            let partial = self.partial.contains(code);
            OPTIONAL_TRANSITIVE | if partial { attribute_flag::PARTIAL } else { 0 }
        };
        let mut unknown = self.unknown.as_slice();
        let mut attribute =
            |flags: u8, code: u8, out: &mut Vec<u8>, value: &dyn Fn(&mut Vec<u8>)| {
                encode_unknown_before(code, &mut unknown, out);
                encode_attribute(flags, code, out, value);
            };

        attribute(WELL_KNOWN, code::ORIGIN, out, &|out| {
            out.push(self.origin.number());
        });
        attribute(WELL_KNOWN, code::AS_PATH, out, &|out| {
            self.as_path.encode(four_octet_as, out);
        });
        if let (true, Some(IpAddr::V4(next_hop))) = (with_next_hop, self.next_hop) {
            attribute(WELL_KNOWN, code::NEXT_HOP, out, &|out| {
                out.extend_from_slice(&next_hop.octets());
            });
        }
        if let Some(med) = self.med {
            attribute(
                OPTIONAL_NON_TRANSITIVE,
                code::MULTI_EXIT_DISC,
                out,
                &|out| {
                    out.extend_from_slice(&med.to_be_bytes());
                },
            );
        }
        if let Some(local_pref) = self.local_pref {
            attribute(WELL_KNOWN, code::LOCAL_PREF, out, &|out| {
                out.extend_from_slice(&local_pref.to_be_bytes());
            });
        }
        if self.atomic_aggregate {
            attribute(WELL_KNOWN, code::ATOMIC_AGGREGATE, out, &|_| {});
        }
        if let Some((asn, router_id)) = self.aggregator {
            attribute(
                transitive(code::AGGREGATOR),
                code::AGGREGATOR,
                out,
                &|out| {
                    encode_asn(asn, four_octet_as, out);
                    out.extend_from_slice(&router_id.octets());
                },
            );
        }
        if !self.communities.is_empty() {
            attribute(
                transitive(code::COMMUNITIES),
                code::COMMUNITIES,
                out,
                &|out| {
                    out.extend(self.communities.iter().flat_map(|one| one.to_be_bytes()));
                },
            );
        }
        if let Some(originator_id) = self.originator_id {
            attribute(OPTIONAL_NON_TRANSITIVE, code::ORIGINATOR_ID, out, &|out| {
                out.extend_from_slice(&originator_id.octets());
            });
        }
        if !self.cluster_list.is_empty() {
            attribute(OPTIONAL_NON_TRANSITIVE, code::CLUSTER_LIST, out, &|out| {
                out.extend(self.cluster_list.iter().flat_map(|one| one.octets()));
            });
        }
        if !self.extended_communities.is_empty() {
            attribute(
                transitive(code::EXTENDED_COMMUNITIES),
                code::EXTENDED_COMMUNITIES,
                out,
                &|out| {
                    let octets = self.extended_communities.iter();
                    out.extend(octets.flat_map(|one| one.to_be_bytes()));
                },
            );
        }
        if !four_octet_as && self.as_path.needs_as4() {
            attribute(OPTIONAL_TRANSITIVE, code::AS4_PATH, out, &|out| {
                self.as_path.encode_as4(out);
            });
        }
        if let Some((asn, router_id)) = self.aggregator
            && !four_octet_as
            && asn > u32::from(u16::MAX)
        {
            attribute(OPTIONAL_TRANSITIVE, code::AS4_AGGREGATOR, out, &|out| {
                encode_asn(asn, true, out);
                out.extend_from_slice(&router_id.octets());
            });
        }
        if let Some(aigp) = self.aigp.as_ref().filter(|_| codec.aigp) {
            attribute(OPTIONAL_NON_TRANSITIVE, code::AIGP, out, &|out| {
                out.extend_from_slice(aigp.octets());
            });
        }
        if !self.large_communities.is_empty() {
            attribute(
                transitive(code::LARGE_COMMUNITY),
                code::LARGE_COMMUNITY,
                out,
                &|out| {
                    for &(global, one, two) in &self.large_communities {
                        out.extend(
                            [global, one, two]
                                .iter()
                                .flat_map(|part| part.to_be_bytes()),
                        );
                    }
                },
            );
        }
        if let Some(otc) = self.otc {
            attribute(transitive(code::OTC), code::OTC, out, &|out| {
                out.extend_from_slice(&otc.to_be_bytes());
            });
        }
        encode_unknown_before(u8::MAX, &mut unknown, out);
        unknown.iter().for_each(|last| encode_unknown(last, out));
    }
}

/// The unknown attributes whose turn it is before that of `code`.
fn encode_unknown_before(code: u8, unknown: &mut &[UnknownAttribute], out: &mut Vec<u8>) {
    while let Some((first, rest)) = unknown.split_first()
        && first.code < code
    {
        encode_unknown(first, out);
        *unknown = rest;
    }
}

/// RFC 4271 §5: who passes on what it does not know sets the partial bit.
fn encode_unknown(unknown: &UnknownAttribute, out: &mut Vec<u8>) {
    let flags = unknown.flags & !attribute_flag::EXTENDED_LENGTH | attribute_flag::PARTIAL;
    encode_attribute(flags, unknown.code, out, |out| {
        out.extend_from_slice(&unknown.value);
    });
}

/// One attribute; with an Attribute Length of two octets only when one is too small.
///
/// A value of more than 65,535 octets makes a message that cannot be sent: the caller sees it by the
/// length of the whole.
pub(in crate::wire) fn encode_attribute(
    flags: u8,
    code: u8,
    out: &mut Vec<u8>,
    value: impl Fn(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend_from_slice(&[flags, code, 0]);
    let value_start = out.len();
    value(out);
    let length = out.len() - value_start;
    match u8::try_from(length) {
        Ok(length) => out[start + 2] = length,
        Err(_) => {
            let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            out[start] |= attribute_flag::EXTENDED_LENGTH;
            out[start + 2] = high;
            out.insert(value_start, low);
        }
    }
}

/// What stands before the prefixes in the value of MP_REACH_NLRI (RFC 4760 §3, RFC 2545 §3).
pub(in crate::wire) fn encode_mp_reach_front(
    family: Family,
    next_hop: IpAddr,
    link_local: Option<Ipv6Addr>,
    out: &mut Vec<u8>,
) {
    family.encode(out);
    match (next_hop, link_local) {
        (IpAddr::V4(next_hop), _) => {
            out.push(4);
            out.extend_from_slice(&next_hop.octets());
        }
        (IpAddr::V6(next_hop), None) => {
            out.push(16);
            out.extend_from_slice(&next_hop.octets());
        }
        (IpAddr::V6(next_hop), Some(link_local)) => {
            out.push(32);
            out.extend_from_slice(&next_hop.octets());
            out.extend_from_slice(&link_local.octets());
        }
    }
    out.push(0); // Reserved
}
