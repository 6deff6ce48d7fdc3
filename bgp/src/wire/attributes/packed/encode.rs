//! Packed attributes to an UPDATE, without a look at what most of them say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{LONG, next, unpack_next_hops};
use crate::wire::attributes::encode::encode_attribute;
use crate::wire::attributes::{Attributes, OPTIONAL_NON_TRANSITIVE, Partial, WELL_KNOWN};
use crate::wire::cursor::Cursor;
use crate::wire::iana::{attribute_code as code, attribute_flag};
use crate::wire::message::Codec;
use crate::wire::prefix::Nlri;

/// What a path gets that is reflected as it came (RFC 4456 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reflection {
    /// ORIGINATOR_ID where there is none.
    pub(crate) originator_id: Ipv4Addr,
    /// In front of CLUSTER_LIST.
    pub(crate) cluster_id: Ipv4Addr,
    /// LOCAL_PREF where there is none.
    pub(crate) local_pref: u32,
}

impl Reflection {
    /// The attributes as they go out.
    pub(crate) fn apply(&self, attributes: &mut Attributes) {
        attributes.originator_id.get_or_insert(self.originator_id);
        attributes.cluster_list.insert(0, self.cluster_id);
        attributes.local_pref.get_or_insert(self.local_pref);
    }
}

impl Codec {
    /// As [`Codec::encode_announce`], of what [`Attributes::pack`] has packed.
    pub(crate) fn encode_announce_packed(
        &self,
        packed: &[u8],
        reflection: Option<Reflection>,
        prefixes: &[Nlri],
        out: &mut Vec<u8>,
    ) -> usize {
        let front = Front::of(packed);
        if front.has_unknown || !self.four_octet_as {
            // Other octets, or another order.
            let mut attributes = Attributes::unpack(packed);
            if let Some(reflection) = reflection {
                reflection.apply(&mut attributes);
            }
            return self.encode_announce(&attributes, prefixes, out);
        }
        self.encode_announce_with((front.next_hop, front.link_local), prefixes, out, |out| {
            self.encode_packed(packed, reflection, out);
        })
    }

    /// All but MP_REACH_NLRI and MP_UNREACH_NLRI, and AIGP only on a session that carries it.
    fn encode_packed(&self, packed: &[u8], reflection: Option<Reflection>, out: &mut Vec<u8>) {
        let mut cursor = Cursor::new(packed);
        let partial = Partial(cursor.u8().unwrap_or_default());
        let mut additions = Additions::from(reflection);
        // Where it begins what is the same on the wire and not written yet: mostly that is nearly all.
        let mut same = cursor.rest();
        loop {
            let here = cursor.rest();
            let Some((flags, code, value)) = next(&mut cursor) else {
                break;
            };
            let is_same = match code {
                code::NEXT_HOP => value.len() == 4,
                code::CLUSTER_LIST => additions.cluster_id.is_none(),
                code::AIGP => self.aigp,
                _ => true,
            };
            if is_same
                && value.len() < usize::from(LONG)
                && !partial.contains(code)
                && !additions.are_due_before(code)
            {
                additions.are_in(code);
                continue;
            }
            out.extend_from_slice(&same[..same.len() - here.len()]);
            same = cursor.rest();
            additions.encode_before(code, out);
            match code {
                code::NEXT_HOP if value.len() != 4 && value.len() != 20 => continue,
                code::AIGP if !self.aigp => continue,
                _ => {}
            }
            let partial = if partial.contains(code) {
                attribute_flag::PARTIAL
            } else {
                0
            };
            encode_attribute(flags | partial, code, out, |out| {
                if code == code::CLUSTER_LIST
                    && let Some(cluster_id) = additions.cluster_id
                {
                    out.extend_from_slice(&cluster_id.octets());
                }
                // What is behind an IPv4 next hop has no place in NEXT_HOP.
                let octets = if code == code::NEXT_HOP {
                    4
                } else {
                    value.len()
                };
                out.extend_from_slice(&value[..octets]);
            });
            additions.are_in(code);
        }
        out.extend_from_slice(same);
        additions.encode_before(u8::MAX, out);
    }
}

/// What must be known before the first octet.
struct Front {
    next_hop: Option<IpAddr>,
    link_local: Option<Ipv6Addr>,
    has_unknown: bool,
}

impl Front {
    fn of(packed: &[u8]) -> Front {
        let mut front = Front {
            next_hop: None,
            link_local: None,
            has_unknown: false,
        };
        let mut cursor = Cursor::new(packed);
        cursor.u8();
        while let Some((_, code, value)) = next(&mut cursor) {
            match code {
                code::NEXT_HOP => (front.next_hop, front.link_local) = unpack_next_hops(value),
                0 => {
                    front.has_unknown = true;
                    break;
                }
                _ => {}
            }
        }
        front
    }
}

/// What reflection adds and is not there yet.
struct Additions {
    local_pref: Option<u32>,
    originator_id: Option<Ipv4Addr>,
    cluster_id: Option<Ipv4Addr>,
}

impl From<Option<Reflection>> for Additions {
    fn from(reflection: Option<Reflection>) -> Additions {
        Additions {
            local_pref: reflection.map(|it| it.local_pref),
            originator_id: reflection.map(|it| it.originator_id),
            cluster_id: reflection.map(|it| it.cluster_id),
        }
    }
}

impl Additions {
    /// The turn of some is before that of `code`.
    fn are_due_before(&self, code: u8) -> bool {
        (self.local_pref.is_some() && code > code::LOCAL_PREF)
            || (self.originator_id.is_some() && code > code::ORIGINATOR_ID)
            || (self.cluster_id.is_some() && code > code::CLUSTER_LIST)
    }

    /// Those whose turn it is before that of `code`.
    fn encode_before(&mut self, code: u8, out: &mut Vec<u8>) {
        if code > code::LOCAL_PREF
            && let Some(local_pref) = self.local_pref.take()
        {
            encode_attribute(WELL_KNOWN, code::LOCAL_PREF, out, |out| {
                out.extend_from_slice(&local_pref.to_be_bytes());
            });
        }
        for (one, its_code) in [
            (&mut self.originator_id, code::ORIGINATOR_ID),
            (&mut self.cluster_id, code::CLUSTER_LIST),
        ] {
            if code > its_code
                && let Some(address) = one.take()
            {
                encode_attribute(OPTIONAL_NON_TRANSITIVE, its_code, out, |out| {
                    out.extend_from_slice(&address.octets());
                });
            }
        }
    }

    /// The attribute is there.
    fn are_in(&mut self, code: u8) {
        match code {
            code::LOCAL_PREF => self.local_pref = None,
            code::ORIGINATOR_ID => self.originator_id = None,
            code::CLUSTER_LIST => self.cluster_id = None,
            _ => {}
        }
    }
}
