//! UPDATE (RFC 4271 §4.3) with the error handling of RFC 7606.
//!
//! ```text
//! +------------------------------+
//! | Withdrawn Routes Length (2)  |
//! +------------------------------+     prefix:  length in bits (1), as many octets as that needs
//! | Withdrawn Routes             |              (IPv4 only)
//! +------------------------------+
//! | Total Path Attribute Length  |              0   1   2   3   4 ... 7
//! +------------------------------+            +---+---+---+---+---------+------+----------+-------+
//! | Path Attributes              | attribute: |Opt|Trs|Prt|Ext| unused  | code | length   | value |
//! +------------------------------+            +---+---+---+---+---------+------+ (2 if Ext)-------+
//! | NLRI, up to the end          |
//! +------------------------------+     IPv6 prefixes are in two attributes:
//!                                      MP_REACH_NLRI:   AFI, SAFI, next hop length, next hop,
//!                                                       reserved, prefixes
//!                                      MP_UNREACH_NLRI: AFI, SAFI, prefixes
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::attributes::decode::Decoded;
use super::attributes::encode::{encode_attribute, encode_mp_reach_front};
use super::attributes::{Attributes, OPTIONAL_NON_TRANSITIVE};
use super::cursor::Cursor;
use super::family::Family;
use super::iana::{attribute_code as code, attribute_name, update_error};
use super::message::{Codec, fill_length};
use super::notification::Notification;
use super::prefix::{self, Nlri};

/// A decoded UPDATE, good parts and complaints apart.
///
/// When one of `errors` asks for treat-as-withdraw, every prefix of the message is in `withdrawn` and
/// none is announced. Attributes without a prefix that they are about are dropped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// Withdrawn prefixes, of the withdrawn routes field and of MP_UNREACH_NLRI, and those of
    /// treat-as-withdraw. To be looked at before the announced ones (RFC 4271 §4.3).
    pub withdrawn: Vec<Nlri>,
    /// Announced prefixes of the NLRI field, with NEXT_HOP's next hop.
    pub announced: Vec<Nlri>,
    /// Attributes with NEXT_HOP.
    pub attributes: Attributes,
    /// MP_REACH_NLRI: its next hop and its prefixes. The same `attributes` otherwise.
    pub mp_announced: Option<MpReach>,
    /// End-of-RIB marker of this family (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// AFI/SAFI disable (RFC 7606 §2, RFC 4760 §7): all paths of this family from the peer are to be
    /// deleted, and the family belongs into [`Codec::disabled`] from now on. No prefix of it is above, and
    /// the session still has another family.
    pub disable_family: Option<Family>,
    /// What was wrong and did not need a reset (RFC 7606), in order.
    pub errors: Vec<AttributeError>,
}

/// MP_REACH_NLRI (RFC 4760 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MpReach {
    /// Which family.
    pub family: Family,
    /// The next hop: the global one where there are two.
    pub next_hop: IpAddr,
    /// Link-local next hop (RFC 2545 §3).
    pub link_local: Option<Ipv6Addr>,
    /// The prefixes.
    pub prefixes: Vec<Nlri>,
}

/// One complaint about an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeError {
    /// What RFC 7606 prescribes.
    pub action: AttributeErrorAction,
    /// Attribute Type Code; 0 when the list ends before it.
    pub code: u8,
    /// In words, with the value.
    pub detail: String,
}

/// RFC 7606 §2, in order of preference. Session reset is an `Err` of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AttributeErrorAction {
    /// The attribute is ignored, the rest of the UPDATE counts.
    Discard,
    /// The UPDATE's prefixes are withdrawn.
    TreatAsWithdraw,
    /// AFI/SAFI disable: all that the peer announced of the family goes, and nothing more of it is taken
    /// from this session (RFC 4760 §7). Only where the session has another family: else it is reset.
    DisableFamily,
}

impl Update {
    /// The body of an UPDATE.
    pub(super) fn decode(body: &[u8], codec: &Codec) -> Result<Update, Notification> {
        let fields = Fields::read(body).ok_or_else(|| {
            // RFC 4271 §6.3, first paragraph: without these lengths not even the NLRI can be found.
            Notification::update(update_error::MALFORMED_ATTRIBUTE_LIST, &[])
        })?;

        let mut update = Update::default();
        let mut decoded = Decoded::decode(fields.attributes, codec)?;
        for (field, prefixes) in [
            (fields.withdrawn, &mut update.withdrawn),
            (fields.announced, &mut update.announced),
        ] {
            let form = codec.form_received(Family::Ipv4Unicast);
            prefix::decode(field, form, prefixes).map_err(|_| {
                // RFC 7606 §5.3: what was meant cannot be known.
                Notification::update(update_error::INVALID_NETWORK_FIELD, &[])
            })?;
        }
        update.mp_announced = decoded.mp_reach.take();
        let announces = !update.announced.is_empty() || update.mp_announced.is_some();
        let missing = check_mandatory(&update, &decoded, announces);

        // RFC 7606 §5.2: with nothing announced, we may not have seen what the error is about.
        let to_withdraw = decoded
            .complaints
            .iter()
            .find(|complaint| complaint.error.action == AttributeErrorAction::TreatAsWithdraw);
        let only_withdraws = decoded.seen.is_only(code::MP_UNREACH_NLRI) && !decoded.broken;
        if let Some(complaint) = to_withdraw
            && !(announces || decoded.mp_reach_ignored || only_withdraws)
        {
            return Err(Notification::update(complaint.subcode, complaint.data));
        }

        update.end_of_rib = end_of_rib(&fields, &decoded);
        match decoded.mp_unreach {
            Some((_, prefixes)) if update.withdrawn.is_empty() => update.withdrawn = prefixes,
            Some((_, prefixes)) => update.withdrawn.extend(prefixes),
            None => {}
        }
        let complaints = decoded.complaints.into_iter();
        let complaints = complaints.map(|complaint| complaint.error);
        update.errors = complaints.chain(missing).collect();
        update.attributes = decoded.attributes;
        update.disable_family = decoded.disable_family;
        update.settle(&codec.disabled);
        Ok(update)
    }

    /// One of its errors asks for treat-as-withdraw (RFC 7606 §2).
    pub fn is_treated_as_withdraw(&self) -> bool {
        let severe = |error: &AttributeError| error.action == AttributeErrorAction::TreatAsWithdraw;
        self.errors.iter().any(severe)
    }

    /// It announces nothing, withdraws nothing and ends nothing.
    pub(super) fn is_silent(&self) -> bool {
        self.withdrawn.is_empty()
            && self.announced.is_empty()
            && self.mp_announced.is_none()
            && self.end_of_rib.is_none()
    }

    /// Carries treat-as-withdraw out, and drops attributes that are about nothing and prefixes of a family
    /// of which there is to be nothing more.
    fn settle(&mut self, disabled: &[Family]) {
        for family in self.disable_family.iter().chain(disabled) {
            let others = |nlri: &Nlri| Family::of(&nlri.prefix) != *family;
            self.withdrawn.retain(others);
            self.announced.retain(others);
            self.mp_announced.take_if(|reach| reach.family == *family);
            self.end_of_rib.take_if(|ended| ended == family);
        }
        if self.is_treated_as_withdraw() {
            self.withdrawn.append(&mut self.announced);
            if let Some(reach) = self.mp_announced.take() {
                self.withdrawn.extend(reach.prefixes);
            }
        }
        if self.announced.is_empty() {
            // RFC 4760 §3: NEXT_HOP is then to be ignored.
            self.attributes.next_hop = None;
            if self.mp_announced.is_none() {
                self.attributes = Attributes::default();
            }
        }
    }

    /// The body of one UPDATE, whatever its length. It mixes what RFC 7606 §5.1 wants apart when the
    /// caller does.
    pub(super) fn encode(&self, codec: &Codec, out: &mut Vec<u8>) {
        let withdrawn_of = |family: Family| {
            let prefixes = self.withdrawn.iter();
            prefixes.filter(move |nlri| Family::of(&nlri.prefix) == family)
        };
        let encode = |nlri: &Nlri, out: &mut Vec<u8>| {
            let form = codec.form_sent(Family::of(&nlri.prefix));
            prefix::encode(nlri, form.path_ids, out);
        };
        let withdraws_v6 = withdrawn_of(Family::Ipv6Unicast).next().is_some();

        let length_at = begin_field(out);
        withdrawn_of(Family::Ipv4Unicast).for_each(|one| encode(one, out));
        finish_field(out, length_at);

        let length_at = begin_field(out);
        if let Some(reach) = &self.mp_announced {
            encode_attribute(OPTIONAL_NON_TRANSITIVE, code::MP_REACH_NLRI, out, |out| {
                encode_mp_reach_front(reach.family, reach.next_hop, reach.link_local, out);
                reach.prefixes.iter().for_each(|one| encode(one, out));
            });
        }
        if withdraws_v6 || self.end_of_rib == Some(Family::Ipv6Unicast) {
            encode_attribute(OPTIONAL_NON_TRANSITIVE, code::MP_UNREACH_NLRI, out, |out| {
                Family::Ipv6Unicast.encode(out);
                withdrawn_of(Family::Ipv6Unicast).for_each(|one| encode(one, out));
            });
        }
        let announces = !self.announced.is_empty();
        if announces || self.mp_announced.is_some() {
            self.attributes.encode(codec, announces, out);
        }
        finish_field(out, length_at);

        self.announced.iter().for_each(|one| encode(one, out));
    }
}

/// The three fields of an UPDATE.
struct Fields<'a> {
    withdrawn: &'a [u8],
    attributes: &'a [u8],
    announced: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(body: &'a [u8]) -> Option<Fields<'a>> {
        let mut cursor = Cursor::new(body);
        let length = cursor.u16()?;
        let withdrawn = cursor.take(usize::from(length))?;
        let length = cursor.u16()?;
        let attributes = cursor.take(usize::from(length))?;
        Some(Fields {
            withdrawn,
            attributes,
            announced: cursor.rest(),
        })
    }
}

/// RFC 7606 §3 (d). NEXT_HOP is about the NLRI field only (RFC 4760 §3).
fn check_mandatory(update: &Update, decoded: &Decoded<'_>, announces: bool) -> Vec<AttributeError> {
    let mandatory = [
        (code::ORIGIN, announces),
        (code::AS_PATH, announces),
        (code::NEXT_HOP, !update.announced.is_empty()),
    ];
    let missing = mandatory.iter().filter(|(_, needed)| *needed);
    let missing = missing.filter(|(code, _)| !decoded.seen.contains(*code));
    missing
        .map(|(code, _)| AttributeError {
            action: AttributeErrorAction::TreatAsWithdraw,
            code: *code,
            detail: "missing".to_owned(),
        })
        .collect()
}

/// RFC 4724 §2: an UPDATE of nothing at all, or of an MP_UNREACH_NLRI of nothing.
fn end_of_rib(fields: &Fields<'_>, decoded: &Decoded<'_>) -> Option<Family> {
    if !fields.withdrawn.is_empty() || !fields.announced.is_empty() {
        return None;
    }
    if fields.attributes.is_empty() {
        return Some(Family::Ipv4Unicast);
    }
    match &decoded.mp_unreach {
        Some((family, prefixes))
            if prefixes.is_empty()
                && decoded.complaints.is_empty()
                && decoded.seen.is_only(code::MP_UNREACH_NLRI) =>
        {
            Some(*family)
        }
        _ => None,
    }
}

/// Appends two octets that [`finish_field`] fills in, and says where they are.
pub(super) fn begin_field(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0, 0]);
    out.len() - 2
}

/// Fills in the length of what was appended since [`begin_field`].
pub(super) fn finish_field(out: &mut [u8], length_at: usize) {
    let octets = out.len() - length_at - 2;
    fill_length(out, length_at, octets);
}

/// `AS_PATH (2): AS number 0, value 0x...: treat as withdraw`.
impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match attribute_name(self.code) {
            Some(name) => write!(f, "{name}")?,
            None => write!(f, "attribute {}", self.code)?,
        }
        write!(f, ": {}: {}", self.detail, self.action)
    }
}

impl fmt::Display for AttributeErrorAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            AttributeErrorAction::Discard => "attribute discarded",
            AttributeErrorAction::TreatAsWithdraw => "treated as withdrawal",
            AttributeErrorAction::DisableFamily => "address family disabled",
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
