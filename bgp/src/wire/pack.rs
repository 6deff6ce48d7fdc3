//! Many prefixes into few UPDATEs (RFC 4271 §4.3): each as full as it may be, one kind of prefix in each
//! (RFC 7606 §5.1).

use std::iter::Peekable;
use std::net::{IpAddr, Ipv6Addr};

use super::attributes::encode::{encode_attribute, encode_mp_reach_front};
use super::attributes::{Attributes, OPTIONAL_NON_TRANSITIVE};
use super::family::Family;
use super::iana::{attribute_code, attribute_flag, message_type};
use super::message::{Codec, begin, fill_length, finish};
use super::prefix::{self, Nlri};
use super::update::{begin_field, finish_field};

/// Where announced prefixes of a family stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the NLRI field; the next hop is in NEXT_HOP.
    Nlri,
    /// In MP_REACH_NLRI, behind this next hop.
    MpReach(IpAddr),
}

impl Codec {
    /// Appends as many UPDATEs as needed to announce `prefixes` with `attributes`. Returns how many.
    ///
    /// IPv4 with an IPv4 next hop goes into the NLRI field. IPv6 with an IPv6 next hop goes into
    /// MP_REACH_NLRI, and so does IPv4 with an IPv6 next hop where that was agreed (RFC 8950), with the
    /// link-local next hop if there is one. Attributes are encoded once for each family, and their octets
    /// repeated in each message.
    ///
    /// Returns 0 and appends nothing when there is nothing to announce, when the next hop does not suit
    /// one of the prefixes (or there is none), and when the attributes are so large that a message of
    /// `message_octets_max` has no room for even one prefix, whichever it is: the caller then must treat
    /// all the prefixes as not announced.
    pub fn encode_announce(
        &self,
        attributes: &Attributes,
        prefixes: &[Nlri],
        out: &mut Vec<u8>,
    ) -> usize {
        let next_hops = (attributes.next_hop, attributes.next_hop_link_local);
        self.encode_announce_with(next_hops, prefixes, out, |out| {
            attributes.encode(self, true, out);
        })
    }

    /// The same with the attributes' next hop, and the link-local one beside it, and what appends the attributes.
    pub(super) fn encode_announce_with(
        &self,
        (next_hop, link_local): (Option<IpAddr>, Option<Ipv6Addr>),
        prefixes: &[Nlri],
        out: &mut Vec<u8>,
        encode: impl Fn(&mut Vec<u8>),
    ) -> usize {
        let start = out.len();
        let mut messages = 0;
        for family in Family::ALL {
            let mut prefixes = of_family(prefixes, family);
            if prefixes.peek().is_none() {
                continue;
            }
            let place = self.place(family, next_hop);
            let written = place.and_then(|place| {
                self.encode_announce_of(family, (place, link_local), &encode, prefixes, out)
            });
            match written {
                Some(written) => messages += written,
                None => {
                    out.truncate(start);
                    return 0;
                }
            }
        }
        messages
    }

    /// `None`: RFC 4760 and RFC 8950 have no place for such a pair, or it was not agreed.
    fn place(&self, family: Family, next_hop: Option<IpAddr>) -> Option<Place> {
        let next_hop = next_hop?;
        match (family, next_hop) {
            (Family::Ipv4Unicast, IpAddr::V4(_)) => Some(Place::Nlri),
            (Family::Ipv4Unicast, IpAddr::V6(_)) => {
                (self.extended_next_hop).then_some(Place::MpReach(next_hop))
            }
            (Family::Ipv6Unicast, IpAddr::V6(_)) => Some(Place::MpReach(next_hop)),
            (Family::Ipv6Unicast, IpAddr::V4(_)) => None,
        }
    }

    /// `None`: there is no room for one prefix. Then something may have been appended.
    fn encode_announce_of<'a>(
        &self,
        family: Family,
        (place, link_local): (Place, Option<Ipv6Addr>),
        encode: impl Fn(&mut Vec<u8>),
        mut prefixes: Peekable<impl Iterator<Item = &'a Nlri>>,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let form = self.form_sent(family);
        let mut first: Option<std::ops::Range<usize>> = None;
        let mut messages = 0;
        while prefixes.peek().is_some() {
            let start = begin(out, message_type::UPDATE);
            begin_field(out); // no withdrawn routes
            let attributes_at = begin_field(out);
            let body = out.len();
            match first.clone() {
                Some(octets) => out.extend_from_within(octets),
                None => encode(out),
            }
            let attributes_octets = out.len() - body;
            if let Place::MpReach(next_hop) = place {
                begin_mp(attribute_code::MP_REACH_NLRI, out);
                encode_mp_reach_front(family, next_hop, link_local, out);
            }
            let room = self.message_octets_max.checked_sub(out.len() - start)?;
            if room < prefix::encoded_octets_max(form) {
                return None;
            }
            let prefixes_at = out.len();
            fill(
                &mut prefixes,
                form.path_ids,
                start + self.message_octets_max,
                out,
            );
            let attributes_end = match place {
                Place::Nlri => prefixes_at,
                Place::MpReach(_) => {
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
        Some(messages)
    }

    /// Appends as many UPDATEs as needed to withdraw `prefixes` (any families). Returns how many.
    pub fn encode_withdraw(&self, prefixes: &[Nlri], out: &mut Vec<u8>) -> usize {
        let mut messages = 0;
        for family in Family::ALL {
            let path_ids = self.form_sent(family).path_ids;
            let mut prefixes = of_family(prefixes, family);
            while prefixes.peek().is_some() {
                let start = begin(out, message_type::UPDATE);
                let end_max = start + self.message_octets_max;
                let length_at = begin_field(out);
                match family {
                    Family::Ipv4Unicast => {
                        fill(&mut prefixes, path_ids, end_max - FIELD_LENGTH_OCTETS, out);
                        finish_field(out, length_at);
                        begin_field(out); // no attributes
                    }
                    Family::Ipv6Unicast => {
                        let length_at = begin_field(out);
                        let attribute_at = begin_mp(attribute_code::MP_UNREACH_NLRI, out);
                        family.encode(out);
                        fill(&mut prefixes, path_ids, end_max, out);
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

fn of_family(prefixes: &[Nlri], family: Family) -> Peekable<impl Iterator<Item = &Nlri>> {
    let same = move |nlri: &&Nlri| Family::of(&nlri.prefix) == family;
    prefixes.iter().filter(same).peekable()
}

/// Appends prefixes while `out` stays at or under `end_max`.
fn fill<'a>(
    prefixes: &mut Peekable<impl Iterator<Item = &'a Nlri>>,
    path_ids: bool,
    end_max: usize,
    out: &mut Vec<u8>,
) {
    let fits = |one: &&Nlri, at: usize| at + prefix::encoded_octets(one, path_ids) <= end_max;
    while let Some(one) = prefixes.next_if(|one| fits(one, out.len())) {
        prefix::encode(one, path_ids, out);
    }
}

/// Begins a multiprotocol attribute, whose length [`finish_mp`] fills in.
fn begin_mp(code: u8, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    let flags = OPTIONAL_NON_TRANSITIVE | attribute_flag::EXTENDED_LENGTH;
    out.extend_from_slice(&[flags, code, 0, 0]);
    at
}

fn finish_mp(out: &mut [u8], at: usize) {
    finish_field(out, at + 2);
}

const FIELD_LENGTH_OCTETS: usize = 2;

#[cfg(test)]
mod tests;
