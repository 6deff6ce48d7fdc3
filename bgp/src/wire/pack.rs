//! Many prefixes into few UPDATEs (RFC 4271 §4.3): each as full as it may be, one kind of prefix in each
//! (RFC 7606 §5.1).

use std::iter::Peekable;
use std::net::IpAddr;

use ipnet::IpNet;

use super::attributes::encode::{encode_attribute, encode_mp_reach_front};
use super::attributes::{Attributes, OPTIONAL_NON_TRANSITIVE};
use super::family::Family;
use super::iana::{attribute_code, attribute_flag, message_type};
use super::message::{Codec, begin, fill_length, finish};
use super::prefix;
use super::update::{begin_field, finish_field};

impl Codec {
    /// Appends as many UPDATEs as needed to announce `prefixes` (one family, that of the next hop)
    /// with `attributes`. Returns how many.
    ///
    /// IPv4 with an IPv4 next hop goes into the NLRI field, IPv6 with an IPv6 next hop into
    /// MP_REACH_NLRI. Attributes are encoded once, and their octets repeated in each message.
    ///
    /// Returns 0 and appends nothing when there is nothing to announce, when no prefix is of the next
    /// hop's family (or there is no next hop), and when the attributes are so large that a message of
    /// `message_octets_max` has no room for even one prefix, whichever it is: the caller then must treat
    /// the prefixes as not announced. Prefixes of the other family are passed over.
    pub fn encode_announce(
        &self,
        attributes: &Attributes,
        prefixes: &[IpNet],
        out: &mut Vec<u8>,
    ) -> usize {
        let Some(next_hop) = attributes.next_hop else {
            return 0;
        };
        let family = match next_hop {
            IpAddr::V4(_) => Family::Ipv4Unicast,
            IpAddr::V6(_) => Family::Ipv6Unicast,
        };
        let mut prefixes = of_family(prefixes, family);
        let mut first: Option<std::ops::Range<usize>> = None;
        let mut messages = 0;
        while prefixes.peek().is_some() {
            let start = begin(out, message_type::UPDATE);
            begin_field(out); // no withdrawn routes
            let attributes_at = begin_field(out);
            let body = out.len();
            match first.clone() {
                Some(octets) => out.extend_from_within(octets),
                None => attributes.encode(self.four_octet_as, true, out),
            }
            let attributes_octets = out.len() - body;
            if family == Family::Ipv6Unicast {
                begin_mp_reach(next_hop, out);
            }
            let room = self.message_octets_max.checked_sub(out.len() - start);
            if room.is_none_or(|room| room < prefix_octets_max(family)) {
                out.truncate(start);
                return 0; // the first message was the same, so there is none
            }
            let prefixes_at = out.len();
            fill(&mut prefixes, start + self.message_octets_max, out);
            let attributes_end = match family {
                Family::Ipv4Unicast => prefixes_at,
                Family::Ipv6Unicast => {
                    finish_mp(out, body + attributes_octets);
                    // It was written behind the others; it goes in front of them.
                    out[body..].rotate_left(attributes_octets);
                    out.len()
                }
            };
            fill_length(out, attributes_at, attributes_end - body);
            first.get_or_insert(attributes_end - attributes_octets..attributes_end);
            finish(out, start);
            messages += 1;
        }
        messages
    }

    /// Appends as many UPDATEs as needed to withdraw `prefixes` (any families). Returns how many.
    pub fn encode_withdraw(&self, prefixes: &[IpNet], out: &mut Vec<u8>) -> usize {
        let mut messages = 0;
        for family in Family::ALL {
            let mut prefixes = of_family(prefixes, family);
            while prefixes.peek().is_some() {
                let start = begin(out, message_type::UPDATE);
                let end_max = start + self.message_octets_max;
                let length_at = begin_field(out);
                match family {
                    Family::Ipv4Unicast => {
                        fill(&mut prefixes, end_max - FIELD_LENGTH_OCTETS, out);
                        finish_field(out, length_at);
                        begin_field(out); // no attributes
                    }
                    Family::Ipv6Unicast => {
                        let length_at = begin_field(out);
                        let attribute_at = begin_mp(attribute_code::MP_UNREACH_NLRI, out);
                        family.encode(out);
                        fill(&mut prefixes, end_max, out);
                        finish_mp(out, attribute_at);
                        finish_field(out, length_at);
                    }
                }
                finish(out, start);
                messages += 1;
            }
        }
        messages
    }

    /// Appends End-of-RIB (RFC 4724 §2).
    pub fn encode_end_of_rib(&self, family: Family, out: &mut Vec<u8>) {
        let start = begin(out, message_type::UPDATE);
        begin_field(out);
        let length_at = begin_field(out);
        if family != Family::Ipv4Unicast {
            let code = attribute_code::MP_UNREACH_NLRI;
            encode_attribute(OPTIONAL_NON_TRANSITIVE, code, out, |out| family.encode(out));
        }
        finish_field(out, length_at);
        finish(out, start);
    }
}

fn of_family(prefixes: &[IpNet], family: Family) -> Peekable<impl Iterator<Item = &IpNet>> {
    let same = move |prefix: &&IpNet| Family::of(prefix) == family;
    prefixes.iter().filter(same).peekable()
}

/// Appends prefixes while `out` stays at or under `end_max`.
fn fill<'a>(
    prefixes: &mut Peekable<impl Iterator<Item = &'a IpNet>>,
    end_max: usize,
    out: &mut Vec<u8>,
) {
    while let Some(one) = prefixes.next_if(|one| out.len() + prefix::encoded_octets(one) <= end_max)
    {
        prefix::encode(one, out);
    }
}

/// Begins a multiprotocol attribute, whose length [`finish_mp`] fills in.
fn begin_mp(code: u8, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    let flags = OPTIONAL_NON_TRANSITIVE | attribute_flag::EXTENDED_LENGTH;
    out.extend_from_slice(&[flags, code, 0, 0]);
    at
}

fn begin_mp_reach(next_hop: IpAddr, out: &mut Vec<u8>) {
    begin_mp(attribute_code::MP_REACH_NLRI, out);
    encode_mp_reach_front(Family::Ipv6Unicast, next_hop, None, out);
}

fn finish_mp(out: &mut [u8], at: usize) {
    finish_field(out, at + 2);
}

/// What the longest prefix takes.
fn prefix_octets_max(family: Family) -> usize {
    1 + usize::from(family.address_bits()) / 8
}

const FIELD_LENGTH_OCTETS: usize = 2;

#[cfg(test)]
mod tests;
