//! Octets to attributes, with a complaint for each that is not as it should be.
//!
//! RFC 7606 §2 names four things to do about one, here from mild to severe: ignore the attribute, take the
//! UPDATE's prefixes back, have no more of the family, end the session. The first three are [`Complaint`]s,
//! the last is the `Err`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::raw::{Codes, Raw, category};
use super::{Aigp, AsPath, Attributes, OPTIONAL_TRANSITIVE, Origin, UnknownAttribute};
use crate::wire::cursor::Cursor;
use crate::wire::family::Family;
use crate::wire::iana::{AS_TRANS, attribute_code as code, attribute_flag, update_error};
use crate::wire::message::Codec;
use crate::wire::notification::{Hex, Notification};
use crate::wire::prefix::{self, Nlri};
use crate::wire::update::{AttributeError, AttributeErrorAction, MpReach};

/// What the Path Attributes field says.
#[derive(Debug, Default)]
pub(in crate::wire) struct Decoded<'a> {
    /// With NEXT_HOP as next hop.
    pub(in crate::wire) attributes: Attributes,
    /// MP_REACH_NLRI of a family that was agreed, if it announces anything.
    pub(in crate::wire) mp_reach: Option<MpReach>,
    /// MP_UNREACH_NLRI of a family that was agreed.
    pub(in crate::wire) mp_unreach: Option<(Family, Vec<Nlri>)>,
    /// An MP_REACH_NLRI was passed over, since its family was not agreed or is to be disabled.
    pub(in crate::wire) mp_reach_ignored: bool,
    /// AFI/SAFI disable (RFC 7606 §2).
    pub(in crate::wire) disable_family: Option<Family>,
    /// In order.
    pub(in crate::wire) complaints: Vec<Complaint<'a>>,
    /// Which attributes there were, good or bad.
    pub(in crate::wire) seen: Codes,
    /// The list ended inside an attribute.
    pub(in crate::wire) broken: bool,
    repeated: Codes,
    as4_path: Option<AsPath>,
    as4_aggregator: Option<(u32, Ipv4Addr)>,
}

/// An error, and the NOTIFICATION it makes when it has to end the session after all (RFC 7606 §5.2).
#[derive(Debug)]
pub(in crate::wire) struct Complaint<'a> {
    pub(in crate::wire) error: AttributeError,
    pub(in crate::wire) subcode: u8,
    pub(in crate::wire) data: &'a [u8],
}

/// What is wrong with a value.
struct Fault {
    action: Action,
    subcode: u8,
    detail: String,
}

/// What to do about it.
enum Action {
    Soft(AttributeErrorAction),
    /// The prefixes of this family that are in it cannot be known.
    Disable(Family),
    Reset,
}

use AttributeErrorAction::{DisableFamily, Discard, TreatAsWithdraw};

impl<'a> Decoded<'a> {
    /// Walks the Path Attributes field once.
    pub(in crate::wire) fn decode(
        field: &'a [u8],
        codec: &Codec,
    ) -> Result<Decoded<'a>, Notification> {
        let mut decoded = Decoded::default();
        let mut cursor = Cursor::new(field);
        while !cursor.is_empty() {
            match Raw::read(&mut cursor) {
                Ok(raw) => decoded.take(raw, codec)?,
                Err((code, detail)) => {
                    // RFC 7606 §4: what follows cannot be found, but the NLRI field can.
                    decoded.broken = true;
                    decoded.complaints.push(Complaint {
                        error: AttributeError {
                            action: TreatAsWithdraw,
                            code,
                            detail,
                        },
                        subcode: update_error::MALFORMED_ATTRIBUTE_LIST,
                        data: &[],
                    });
                    break;
                }
            }
        }
        decoded.merge_as4();
        decoded
            .attributes
            .unknown
            .sort_by_key(|unknown| unknown.code);
        Ok(decoded)
    }

    fn take(&mut self, raw: Raw<'a>, codec: &Codec) -> Result<(), Notification> {
        let multiprotocol = matches!(raw.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);

        // RFC 7606 §3 (g): the first one counts.
        if !self.seen.insert(raw.code) {
            if multiprotocol {
                return Err(Notification::update(
                    update_error::MALFORMED_ATTRIBUTE_LIST,
                    &[],
                ));
            }
            if self.repeated.insert(raw.code) {
                let detail = format!("repeated with value {}", Hex(raw.value));
                self.complain(raw, Discard, update_error::MALFORMED_ATTRIBUTE_LIST, detail);
            }
            return Ok(());
        }

        let Some(category) = category(raw.code) else {
            return self.take_unknown(raw);
        };

        // RFC 7311 §3.1: as if it were one that we do not know.
        if raw.code == code::AIGP && !codec.aigp {
            return Ok(());
        }

        // RFC 7606 §7.5, §7.9, §7.10: no business of an external peer, whatever is in it.
        let internal = matches!(
            raw.code,
            code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST
        );
        if internal && codec.peer_is_external {
            let detail = format!("from an external peer, value {}", Hex(raw.value));
            self.complain(raw, Discard, update_error::OPTIONAL_ATTRIBUTE_ERROR, detail);
            return Ok(());
        }

        let taken = if (raw.flags ^ category) & OPTIONAL_TRANSITIVE == 0 {
            self.take_value(raw, codec)
        } else {
            wrong_flags(raw, category, codec)
        };
        let Err(fault) = taken else {
            if raw.flags & attribute_flag::PARTIAL != 0 {
                self.attributes.partial.insert(raw.code);
            }
            return Ok(());
        };
        let action = match fault.action {
            Action::Soft(action) => action,
            Action::Disable(family) if self.can_disable(family, codec) => {
                self.disable_family = Some(family);
                self.mp_reach_ignored |= raw.code == code::MP_REACH_NLRI;
                DisableFamily
            }
            Action::Disable(_) | Action::Reset => {
                return Err(Notification::update(fault.subcode, raw.octets));
            }
        };
        self.complain(raw, action, fault.subcode, fault.detail);
        Ok(())
    }

    /// The session is still good for something without the family.
    fn can_disable(&self, family: Family, codec: &Codec) -> bool {
        let lost = |one: &Family| {
            *one == family || Some(*one) == self.disable_family || codec.disabled.contains(one)
        };
        !codec.families.iter().all(lost)
    }

    fn take_value(&mut self, raw: Raw<'a>, codec: &Codec) -> Result<(), Fault> {
        let wide = codec.four_octet_as;
        let attributes = &mut self.attributes;
        match raw.code {
            code::ORIGIN => {
                let [number] = fixed(raw, TreatAsWithdraw)?;
                let origin = Origin::from_number(number);
                attributes.origin = origin.ok_or_else(|| {
                    let subcode = update_error::INVALID_ORIGIN_ATTRIBUTE;
                    withdraw(subcode, format!("undefined value {number}"))
                })?;
            }
            code::AS_PATH => {
                attributes.as_path = AsPath::decode(raw.value, wide).map_err(|error| {
                    let subcode = update_error::MALFORMED_AS_PATH;
                    withdraw(subcode, format!("{error}, value {}", Hex(raw.value)))
                })?;
            }
            code::NEXT_HOP => {
                let next_hop = Ipv4Addr::from(fixed::<4>(raw, TreatAsWithdraw)?);
                check_next_hop(IpAddr::V4(next_hop))?;
                attributes.next_hop = Some(IpAddr::V4(next_hop));
            }
            code::MULTI_EXIT_DISC => {
                attributes.med = Some(u32::from_be_bytes(fixed(raw, TreatAsWithdraw)?));
            }
            code::LOCAL_PREF => {
                attributes.local_pref = Some(u32::from_be_bytes(fixed(raw, TreatAsWithdraw)?));
            }
            code::ATOMIC_AGGREGATE => {
                let [] = fixed(raw, Discard)?;
                attributes.atomic_aggregate = true;
            }
            code::AGGREGATOR if wide => {
                attributes.aggregator = Some(aggregator(raw)?);
            }
            code::AGGREGATOR => {
                let [high, low, router_id @ ..] = fixed::<6>(raw, Discard)?;
                let asn = u32::from(u16::from_be_bytes([high, low]));
                attributes.aggregator = Some(aggregator_of(asn, router_id)?);
            }
            code::COMMUNITIES => {
                let communities = array_of::<4>(raw)?.iter();
                attributes.communities = communities.map(|&one| u32::from_be_bytes(one)).collect();
            }
            code::ORIGINATOR_ID => {
                let originator_id = Ipv4Addr::from(fixed::<4>(raw, TreatAsWithdraw)?);
                attributes.originator_id = Some(originator_id);
            }
            code::CLUSTER_LIST => {
                let clusters = array_of::<4>(raw)?.iter();
                attributes.cluster_list = clusters.map(|&one| Ipv4Addr::from(one)).collect();
            }
            code::EXTENDED_COMMUNITIES => {
                let communities = array_of::<8>(raw)?.iter();
                attributes.extended_communities =
                    communities.map(|&one| u64::from_be_bytes(one)).collect();
            }
            code::LARGE_COMMUNITY => {
                attributes.large_communities = large_communities(array_of::<12>(raw)?);
            }
            code::AS4_PATH | code::AS4_AGGREGATOR if wide => {
                // RFC 6793 §4.1.
                let detail = "from a peer whose AS numbers are four octets".to_owned();
                return Err(discard(update_error::OPTIONAL_ATTRIBUTE_ERROR, detail));
            }
            code::AS4_PATH => {
                // RFC 6793 §6.
                self.as4_path = Some(AsPath::decode(raw.value, true).map_err(|error| {
                    let subcode = update_error::OPTIONAL_ATTRIBUTE_ERROR;
                    discard(subcode, format!("{error}, value {}", Hex(raw.value)))
                })?);
            }
            code::AS4_AGGREGATOR => self.as4_aggregator = Some(aggregator(raw)?),
            code::AIGP => {
                // RFC 7311 §3.
                attributes.aigp = Some(Aigp::decode(raw.value).map_err(|error| {
                    let subcode = update_error::OPTIONAL_ATTRIBUTE_ERROR;
                    discard(subcode, format!("{error}, value {}", Hex(raw.value)))
                })?);
            }
            code::OTC => {
                // RFC 9234 §5.
                attributes.otc = Some(u32::from_be_bytes(fixed(raw, TreatAsWithdraw)?));
            }
            // RFC 7606 §7.13: nobody has said what would be malformed, and we have no use for it.
            code::TRAFFIC_ENGINEERING => {}
            code::IPV6_EXTENDED_COMMUNITIES => {
                // RFC 7606 §7.15.
                array_of::<20>(raw)?;
                self.keep_unknown(raw);
            }
            code::ATTR_SET => {
                check_attr_set(raw)?;
                self.keep_unknown(raw);
            }
            code::MP_REACH_NLRI => self.take_mp_reach(raw, codec)?,
            code::MP_UNREACH_NLRI => self.take_mp_unreach(raw, codec)?,
            _ => {} // `category` knows no others
        }
        Ok(())
    }

    /// RFC 4271 §5: kept if transitive, else quietly ignored. Nobody may send a well-known one that we
    /// do not know (§6.3).
    fn take_unknown(&mut self, raw: Raw<'a>) -> Result<(), Notification> {
        if raw.flags & attribute_flag::OPTIONAL == 0 {
            let subcode = update_error::UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE;
            return Err(Notification::update(subcode, raw.octets));
        }
        if raw.flags & attribute_flag::TRANSITIVE != 0 {
            self.keep_unknown(raw);
        }
        Ok(())
    }

    fn keep_unknown(&mut self, raw: Raw<'a>) {
        self.attributes.unknown.push(UnknownAttribute {
            code: raw.code,
            flags: raw.flags & (OPTIONAL_TRANSITIVE | attribute_flag::PARTIAL),
            value: raw.value.to_vec(),
        });
    }

    /// RFC 4760 §3. Without its prefixes nothing can be withdrawn, so it is whole or its family is lost
    /// (RFC 7606 §5.3, §7.11).
    fn take_mp_reach(&mut self, raw: Raw<'a>, codec: &Codec) -> Result<(), Fault> {
        let mut cursor = Cursor::new(raw.value);
        let Some(family) = agreed_family(&mut cursor, codec)? else {
            self.mp_reach_ignored = true;
            return family_not_taken(raw, codec);
        };
        let mut front = || {
            let length = cursor.u8()?;
            let next_hop = cursor.take(usize::from(length))?;
            let _reserved = cursor.u8()?;
            next_hops(family, next_hop, codec.extended_next_hop)
        };
        let (next_hop, link_local) = front().ok_or_else(|| {
            let detail = format!("no next hop of {family}, value {}", Hex(raw.value));
            disable(family, detail)
        })?;
        let prefixes = mp_prefixes(cursor.rest(), family, codec)?;
        if prefixes.is_empty() {
            return Ok(());
        }
        self.mp_reach = Some(MpReach {
            family,
            next_hop,
            link_local,
            prefixes,
        });
        check_next_hop(next_hop)
    }

    /// RFC 4760 §4.
    fn take_mp_unreach(&mut self, raw: Raw<'a>, codec: &Codec) -> Result<(), Fault> {
        let mut cursor = Cursor::new(raw.value);
        let Some(family) = agreed_family(&mut cursor, codec)? else {
            return family_not_taken(raw, codec);
        };
        let prefixes = mp_prefixes(cursor.rest(), family, codec)?;
        self.mp_unreach = Some((family, prefixes));
        Ok(())
    }

    /// RFC 6793 §4.2.3: what a speaker of two-octet AS numbers carried through for others.
    fn merge_as4(&mut self) {
        let as4_path = self.as4_path.take();
        let as4_aggregator = self.as4_aggregator.take();
        if let (Some((asn, _)), Some(_)) = (self.attributes.aggregator, as4_aggregator) {
            if asn != u32::from(AS_TRANS) {
                return; // somebody aggregated later who knew neither attribute
            }
            self.attributes.aggregator = as4_aggregator;
        }
        if let Some(as4_path) = as4_path {
            let as_path = std::mem::take(&mut self.attributes.as_path);
            self.attributes.as_path = as_path.merge_as4(as4_path);
        }
    }

    fn complain(
        &mut self,
        raw: Raw<'a>,
        action: AttributeErrorAction,
        subcode: u8,
        detail: String,
    ) {
        self.complaints.push(Complaint {
            error: AttributeError {
                action,
                code: raw.code,
                detail,
            },
            subcode,
            data: raw.octets,
        });
    }
}

/// A value of exactly `N` octets.
fn fixed<const N: usize>(raw: Raw<'_>, action: AttributeErrorAction) -> Result<[u8; N], Fault> {
    raw.value.try_into().map_err(|_| {
        let length = raw.value.len();
        Fault {
            action: Action::Soft(action),
            subcode: update_error::ATTRIBUTE_LENGTH_ERROR,
            detail: format!("length {length}, should be {N}, value {}", Hex(raw.value)),
        }
    })
}

/// A value of one or more times `N` octets (RFC 7606 §7.8, §7.10, §7.14, RFC 8092 §6).
fn array_of<const N: usize>(raw: Raw<'_>) -> Result<&[[u8; N]], Fault> {
    match raw.value.as_chunks::<N>() {
        ([_, ..], []) => Ok(raw.value.as_chunks::<N>().0),
        _ => {
            let length = raw.value.len();
            let value = Hex(raw.value);
            let detail = format!("length {length}, should be a multiple of {N}, value {value}");
            Err(withdraw(update_error::ATTRIBUTE_LENGTH_ERROR, detail))
        }
    }
}

/// AGGREGATOR with four octets of AS number, and AS4_AGGREGATOR.
fn aggregator(raw: Raw<'_>) -> Result<(u32, Ipv4Addr), Fault> {
    let [a, b, c, d, router_id @ ..] = fixed::<8>(raw, Discard)?;
    aggregator_of(u32::from_be_bytes([a, b, c, d]), router_id)
}

/// RFC 7607 §2: AS number 0 aggregates nothing.
fn aggregator_of(asn: u32, router_id: [u8; 4]) -> Result<(u32, Ipv4Addr), Fault> {
    if asn == 0 {
        let detail = "AS number 0".to_owned();
        return Err(discard(update_error::OPTIONAL_ATTRIBUTE_ERROR, detail));
    }
    Ok((asn, Ipv4Addr::from(router_id)))
}

/// RFC 8092 §5: "A receiving speaker MUST silently remove redundant BGP Large Communities".
fn large_communities(values: &[[u8; 12]]) -> Vec<(u32, u32, u32)> {
    let part = |value: &[u8; 12], at: usize| {
        u32::from_be_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
    };
    let community = |value| (part(value, 0), part(value, 4), part(value, 8));
    let mut communities: Vec<_> = values.iter().map(community).collect();
    if communities.len() > 1 {
        let mut seen = std::collections::BTreeSet::new();
        communities.retain(|community| seen.insert(*community));
    }
    communities
}

/// RFC 7606 §3 (c). Of the multiprotocol attributes it says in §5.3 that they are then incorrect, their
/// prefixes included; RFC 7311 §3 has an AIGP that is not as it should be ignored.
fn wrong_flags(raw: Raw<'_>, category: u8, codec: &Codec) -> Result<(), Fault> {
    let subcode = update_error::ATTRIBUTE_FLAGS_ERROR;
    let detail = format!("flags {:#04x}, should be {category:#04x}", raw.flags);
    match raw.code {
        code::MP_REACH_NLRI | code::MP_UNREACH_NLRI => {
            match agreed_family(&mut Cursor::new(raw.value), codec)? {
                Some(family) => Err(Fault {
                    subcode,
                    ..disable(family, detail)
                }),
                None => family_not_taken(raw, codec),
            }
        }
        code::AIGP => Err(discard(subcode, detail)),
        _ => Err(withdraw(subcode, detail)),
    }
}

/// RFC 6368 §5 as RFC 7606 §7.16 revises it: an AS number, and attributes of which none has prefixes. The
/// attributes can be cut apart; no one looks into them here, because we only pass them on.
fn check_attr_set(raw: Raw<'_>) -> Result<(), Fault> {
    let malformed = |detail| withdraw(update_error::OPTIONAL_ATTRIBUTE_ERROR, detail);
    let mut cursor = Cursor::new(raw.value);
    if cursor.u32().is_none() {
        let value = Hex(raw.value);
        return Err(malformed(format!("no AS number, value {value}")));
    }
    while !cursor.is_empty() {
        let inner = Raw::read(&mut cursor);
        let inner = inner.map_err(|(code, detail)| malformed(format!("in {code}: {detail}")))?;
        if matches!(inner.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
            return Err(malformed(format!("attribute {} in it", inner.code)));
        }
    }
    Ok(())
}

/// The prefixes of MP_REACH_NLRI or MP_UNREACH_NLRI.
fn mp_prefixes(field: &[u8], family: Family, codec: &Codec) -> Result<Vec<Nlri>, Fault> {
    let mut prefixes = Vec::new();
    let form = codec.form_received(family);
    let decoded = prefix::decode(field, form, &mut prefixes);
    decoded.map_err(|error| disable(family, format!("{error}, in {}", Hex(field))))?;
    Ok(prefixes)
}

/// AFI and SAFI; `Ok(None)`: not one that this session carries, or no longer.
fn agreed_family(cursor: &mut Cursor<'_>, codec: &Codec) -> Result<Option<Family>, Fault> {
    let mut numbers = || Some((cursor.u16()?, cursor.u8()?));
    let (afi, safi) = numbers().ok_or_else(reset)?;
    let agreed =
        |family: &Family| codec.families.contains(family) && !codec.disabled.contains(family);
    Ok(Family::from_numbers(afi, safi).filter(agreed))
}

/// Passed over: with a complaint where it was never agreed, without where it was disabled.
fn family_not_taken(raw: Raw<'_>, codec: &Codec) -> Result<(), Fault> {
    let [high, low, safi, ..] = *raw.value else {
        return Err(reset());
    };
    let afi = u16::from_be_bytes([high, low]);
    match Family::from_numbers(afi, safi) {
        Some(family) if codec.disabled.contains(&family) => Ok(()),
        _ => {
            let detail = format!("AFI {afi}, SAFI {safi} is not agreed for this session");
            Err(discard(update_error::OPTIONAL_ATTRIBUTE_ERROR, detail))
        }
    }
}

/// The global and the link-local next hop (RFC 4760 §3, RFC 2545 §3); `None`: no such length. IPv4 has
/// those of IPv6 too where that was agreed (RFC 8950 §3).
fn next_hops(family: Family, octets: &[u8], extended: bool) -> Option<(IpAddr, Option<Ipv6Addr>)> {
    match family {
        Family::Ipv4Unicast if !extended || octets.len() == 4 => {
            let next_hop = <[u8; 4]>::try_from(octets).ok()?;
            Some((IpAddr::V4(Ipv4Addr::from(next_hop)), None))
        }
        Family::Ipv4Unicast | Family::Ipv6Unicast => {
            let (global, link_local) = octets.split_first_chunk::<16>()?;
            let global = IpAddr::V6(Ipv6Addr::from(*global));
            if link_local.is_empty() {
                return Some((global, None));
            }
            // Some fill the second half with anything; only a link-local address is one.
            let link_local = Ipv6Addr::from(<[u8; 16]>::try_from(link_local).ok()?);
            Some((
                global,
                Some(link_local).filter(Ipv6Addr::is_unicast_link_local),
            ))
        }
    }
}

/// RFC 4271 §6.3: "represents a valid IP host address". Whether we can use it is the RIB's question.
fn check_next_hop(next_hop: IpAddr) -> Result<(), Fault> {
    let valid = match next_hop {
        IpAddr::V4(next_hop) => {
            next_hop.octets()[0] != 0 && !next_hop.is_multicast() && !next_hop.is_broadcast()
        }
        IpAddr::V6(next_hop) => !next_hop.is_unspecified() && !next_hop.is_multicast(),
    };
    if valid {
        return Ok(());
    }
    let detail = format!("next hop {next_hop} is no host's address");
    Err(withdraw(update_error::INVALID_NEXT_HOP_ATTRIBUTE, detail))
}

fn discard(subcode: u8, detail: String) -> Fault {
    Fault {
        action: Action::Soft(Discard),
        subcode,
        detail,
    }
}

fn withdraw(subcode: u8, detail: String) -> Fault {
    Fault {
        action: Action::Soft(TreatAsWithdraw),
        subcode,
        detail,
    }
}

/// RFC 4760 §7: what the attribute is about is known, but not which prefixes.
fn disable(family: Family, detail: String) -> Fault {
    Fault {
        action: Action::Disable(family),
        subcode: update_error::OPTIONAL_ATTRIBUTE_ERROR,
        detail,
    }
}

/// RFC 7606 §5.3: not even the family is known.
fn reset() -> Fault {
    Fault {
        action: Action::Reset,
        subcode: update_error::OPTIONAL_ATTRIBUTE_ERROR,
        detail: String::new(),
    }
}
