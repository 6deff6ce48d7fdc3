//! Communities of all three kinds as text, and patterns for them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::range::{NumberRange, digits};
use super::text::{BadText, is_default, serde_as_text};

/// GRACEFUL_SHUTDOWN (RFC 8326 §5).
pub const GRACEFUL_SHUTDOWN: StandardCommunity = StandardCommunity(0xffff_0000);

/// A kind of community: the value, and a pattern that names some of them.
pub trait CommunityKind: Copy + PartialEq {
    /// With numbers, ranges and `*`.
    type Pattern;

    /// Whether the pattern names it.
    fn is_named_by(self, pattern: &Self::Pattern) -> bool;
}

/// Conditions about the communities of one kind; all must hold. An empty list asks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    default,
    deny_unknown_fields,
    bound(
        serialize = "P: Serialize + PartialEq",
        deserialize = "P: Deserialize<'de>"
    )
)]
pub struct CommunityMatch<P> {
    /// One of these patterns names a community of the path.
    #[serde(skip_serializing_if = "is_default")]
    pub any: Vec<P>,
    /// Each of these patterns names a community of the path.
    #[serde(skip_serializing_if = "is_default")]
    pub all: Vec<P>,
    /// None of these patterns names a community of the path.
    #[serde(skip_serializing_if = "is_default")]
    pub none: Vec<P>,
}

impl<P> Default for CommunityMatch<P> {
    fn default() -> CommunityMatch<P> {
        CommunityMatch {
            any: Vec::new(),
            all: Vec::new(),
            none: Vec::new(),
        }
    }
}

impl<P> CommunityMatch<P> {
    pub(super) fn holds<C: CommunityKind<Pattern = P>>(
        &self,
        of_path: impl Iterator<Item = C> + Clone,
    ) -> bool {
        let is_there = |pattern: &P| {
            of_path
                .clone()
                .any(|community| community.is_named_by(pattern))
        };
        (self.any.is_empty() || self.any.iter().any(is_there))
            && self.all.iter().all(is_there)
            && !self.none.iter().any(is_there)
    }
}

/// What becomes of the communities of one kind: first `set`, then `remove`, then `add`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    default,
    deny_unknown_fields,
    bound(
        serialize = "C: Serialize + PartialEq, C::Pattern: Serialize + PartialEq",
        deserialize = "C: Deserialize<'de>, C::Pattern: Deserialize<'de>"
    )
)]
pub struct CommunityChange<C: CommunityKind> {
    /// These instead of those that are there; `[]` removes all.
    #[serde(skip_serializing_if = "is_default")]
    pub set: Option<Vec<C>>,
    /// Without those that one of these patterns names.
    #[serde(skip_serializing_if = "is_default")]
    pub remove: Vec<C::Pattern>,
    /// With these, once each.
    #[serde(skip_serializing_if = "is_default")]
    pub add: Vec<C>,
}

impl<C: CommunityKind> Default for CommunityChange<C> {
    fn default() -> CommunityChange<C> {
        CommunityChange {
            set: None,
            remove: Vec::new(),
            add: Vec::new(),
        }
    }
}

impl<C: CommunityKind> CommunityChange<C> {
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_none() && self.remove.is_empty() && self.add.is_empty()
    }

    pub(super) fn apply<W: Copy + PartialEq>(
        &self,
        of_path: &mut Vec<W>,
        read: impl Fn(W) -> C,
        write: impl Fn(C) -> W,
    ) {
        if let Some(set) = &self.set {
            *of_path = set.iter().copied().map(&write).collect();
        }
        let named = |community: C| {
            self.remove
                .iter()
                .any(|pattern| community.is_named_by(pattern))
        };
        of_path.retain(|&community| !named(read(community)));
        for community in self.add.iter().copied().map(&write) {
            if !of_path.contains(&community) {
                of_path.push(community);
            }
        }
    }
}

/// A community of RFC 1997: `64512:100`, or a name of IANA's registry as `no-export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StandardCommunity(pub u32);

/// Communities of RFC 1997: `64512:*`, `64512:100-200`, `*:666`, or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StandardPattern([NumberRange; 2]);

/// A community of RFC 8092: `64512:1:2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargeCommunity(pub u32, pub u32, pub u32);

/// Communities of RFC 8092: `64512:*:1-9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LargePattern([NumberRange; 3]);

/// A community of RFC 4360: a route target `rt:64512:100` or `rt:192.0.2.1:100`, a route origin `ro:…`, or any
/// other as 16 hexadecimal digits, `0x4004fc0000000064`.
///
/// With a number of two octets the administrator is one (type 0x00), with a greater one of four (type 0x02,
/// RFC 5668), with an address an address (type 0x01).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedCommunity(pub u64);

/// Communities of RFC 4360: `rt:64512:*`, `ro:192.0.2.1:1-9`, `rt:*:*`, or the first hexadecimal digits and a star,
/// `0x4004*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtendedPattern(Extended);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Extended {
    Target {
        subtype: u8,
        administrator: Administrator,
        number: NumberRange,
    },
    /// The highest `bits` are these.
    Raw { value: u64, bits: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Administrator {
    Any,
    Asn(NumberRange),
    Address(Ipv4Addr),
}

impl CommunityKind for StandardCommunity {
    type Pattern = StandardPattern;

    fn is_named_by(self, StandardPattern([high, low]): &StandardPattern) -> bool {
        high.contains(self.0 >> 16) && low.contains(self.0 & 0xffff)
    }
}

impl CommunityKind for LargeCommunity {
    type Pattern = LargePattern;

    fn is_named_by(self, LargePattern([one, two, three]): &LargePattern) -> bool {
        one.contains(self.0) && two.contains(self.1) && three.contains(self.2)
    }
}

impl CommunityKind for ExtendedCommunity {
    type Pattern = ExtendedPattern;

    fn is_named_by(self, ExtendedPattern(pattern): &ExtendedPattern) -> bool {
        match *pattern {
            Extended::Raw { value, bits } => (self.0 ^ value).leading_zeros() >= bits,
            Extended::Target {
                subtype,
                administrator,
                number,
            } => {
                let [kind, own_subtype, a, b, c, d, e, f] = self.0.to_be_bytes();
                let (asn, address, own_number) = match kind {
                    0x00 => (
                        Some(u32::from(u16::from_be_bytes([a, b]))),
                        None,
                        u32::from_be_bytes([c, d, e, f]),
                    ),
                    0x01 => (
                        None,
                        Some(Ipv4Addr::new(a, b, c, d)),
                        u32::from(u16::from_be_bytes([e, f])),
                    ),
                    0x02 => (
                        Some(u32::from_be_bytes([a, b, c, d])),
                        None,
                        u32::from(u16::from_be_bytes([e, f])),
                    ),
                    _ => return false,
                };
                let is_administrator = match administrator {
                    Administrator::Any => true,
                    Administrator::Asn(asns) => asn.is_some_and(|asn| asns.contains(asn)),
                    Administrator::Address(wanted) => address == Some(wanted),
                };
                own_subtype == subtype && is_administrator && number.contains(own_number)
            }
        }
    }
}

impl fmt::Display for StandardCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff),
        }
    }
}

impl FromStr for StandardCommunity {
    type Err = BadText;

    fn from_str(text: &str) -> Result<StandardCommunity, BadText> {
        if let Some((_, value)) = NAMES.iter().find(|(name, _)| *name == text) {
            return Ok(StandardCommunity(*value));
        }
        let half = |text| digits(text).filter(|&number| number <= HALF_MAX);
        let value = || {
            let (high, low) = text.split_once(':')?;
            Some(StandardCommunity(half(high)? << 16 | half(low)?))
        };
        value().ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            let why = format!(
                "wanted: two numbers up to 65535, as in 64512:100, or one of {}",
                names.join(", ")
            );
            BadText::new("community", text, why)
        })
    }
}

impl fmt::Display for StandardPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StandardPattern([high, low]) = *self;
        match (high.single(), low.single()) {
            (Some(high), Some(low)) => StandardCommunity(high << 16 | low).fmt(f),
            _ => write!(f, "{high}:{low}"),
        }
    }
}

impl FromStr for StandardPattern {
    type Err = BadText;

    fn from_str(text: &str) -> Result<StandardPattern, BadText> {
        if let Ok(StandardCommunity(value)) = text.parse() {
            return Ok(StandardPattern([
                (value >> 16).into(),
                (value & HALF_MAX).into(),
            ]));
        }
        let fits = |range: &NumberRange| range.last() <= HALF_MAX || range.last() == u32::MAX;
        let ranges = parts(text).filter(|ranges: &[NumberRange; 2]| ranges.iter().all(fits));
        ranges.map(StandardPattern).ok_or_else(|| {
            let why = "wanted: two numbers or ranges up to 65535 or *, as in 64512:100-199 or 64512:*, or a name as no-export";
            BadText::new("community pattern", text, why)
        })
    }
}

impl fmt::Display for LargeCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.0, self.1, self.2)
    }
}

impl FromStr for LargeCommunity {
    type Err = BadText;

    fn from_str(text: &str) -> Result<LargeCommunity, BadText> {
        let single = |ranges: [NumberRange; 3]| {
            let [one, two, three] = ranges.map(NumberRange::single);
            Some(LargeCommunity(one?, two?, three?))
        };
        parts(text).and_then(single).ok_or_else(|| {
            let why = "wanted: three numbers up to 4294967295, as in 64512:1:2";
            BadText::new("large community", text, why)
        })
    }
}

impl fmt::Display for LargePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LargePattern([one, two, three]) = self;
        write!(f, "{one}:{two}:{three}")
    }
}

impl FromStr for LargePattern {
    type Err = BadText;

    fn from_str(text: &str) -> Result<LargePattern, BadText> {
        parts(text).map(LargePattern).ok_or_else(|| {
            let why = "wanted: three numbers, ranges or *, as in 64512:*:1-9";
            BadText::new("large community pattern", text, why)
        })
    }
}

impl fmt::Display for ExtendedCommunity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, subtype, a, b, c, d, e, g] = self.0.to_be_bytes();
        let Some((name, _)) = TARGETS.iter().find(|(_, value)| *value == subtype) else {
            return write!(f, "{:#018x}", self.0);
        };
        match kind {
            0x00 => {
                let (asn, number) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, g]));
                write!(f, "{name}:{asn}:{number}")
            }
            0x01 => {
                let number = u16::from_be_bytes([e, g]);
                write!(f, "{name}:{}:{number}", Ipv4Addr::new(a, b, c, d))
            }
            // With a small number it would be read back as type 0x00.
            0x02 if (a, b) != (0, 0) => {
                let (asn, number) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, g]));
                write!(f, "{name}:{asn}:{number}")
            }
            _ => write!(f, "{:#018x}", self.0),
        }
    }
}

impl FromStr for ExtendedCommunity {
    type Err = BadText;

    fn from_str(text: &str) -> Result<ExtendedCommunity, BadText> {
        let value = || {
            if let Some(hex) = text.strip_prefix("0x") {
                return raw(hex)
                    .filter(|&(_, bits)| bits == 64)
                    .map(|(value, _)| value);
            }
            let (subtype, administrator, number) = target(text)?;
            let number = number.single()?;
            let small = u16::try_from(number).ok().map(u16::to_be_bytes);
            let [e, f, g, h] = number.to_be_bytes();
            let (kind, [a, b, c, d], [g, h]) = match administrator {
                Administrator::Address(address) => (0x01, address.octets(), small?),
                Administrator::Asn(asn) => match asn.single()? {
                    asn if asn <= HALF_MAX => {
                        let [_, _, a, b] = asn.to_be_bytes();
                        (0x00, [a, b, e, f], [g, h])
                    }
                    asn => (0x02, asn.to_be_bytes(), small?),
                },
                Administrator::Any => return None,
            };
            Some(u64::from_be_bytes([kind, subtype, a, b, c, d, g, h]))
        };
        value().map(ExtendedCommunity).ok_or_else(|| {
            let why = "wanted: rt:64512:100, rt:192.0.2.1:100, ro:… or 0x and 16 hexadecimal digits; after an address or a great AS number at most 65535";
            BadText::new("extended community", text, why)
        })
    }
}

impl fmt::Display for ExtendedPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Extended::Raw { value, bits: 64 } => ExtendedCommunity(value).fmt_raw(f),
            Extended::Raw { value, bits } => {
                let digits = format!("{value:016x}");
                let digits = digits.get(..bits as usize / 4).unwrap_or_default();
                write!(f, "0x{digits}*")
            }
            Extended::Target {
                subtype,
                administrator,
                number,
            } => {
                let name = TARGETS.iter().find(|(_, value)| *value == subtype);
                let name = name.map_or("?", |(name, _)| name);
                match administrator {
                    Administrator::Any => write!(f, "{name}:*:{number}"),
                    Administrator::Asn(asn) => write!(f, "{name}:{asn}:{number}"),
                    Administrator::Address(address) => write!(f, "{name}:{address}:{number}"),
                }
            }
        }
    }
}

impl ExtendedCommunity {
    fn fmt_raw(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

impl FromStr for ExtendedPattern {
    type Err = BadText;

    fn from_str(text: &str) -> Result<ExtendedPattern, BadText> {
        let pattern = || {
            if let Some(hex) = text.strip_prefix("0x") {
                let (value, bits) = raw(hex.strip_suffix('*').unwrap_or(hex))?;
                let is_whole = bits == 64 || hex.ends_with('*');
                return is_whole.then_some(Extended::Raw { value, bits });
            }
            let (subtype, administrator, number) = target(text)?;
            Some(Extended::Target {
                subtype,
                administrator,
                number,
            })
        };
        pattern().map(ExtendedPattern).ok_or_else(|| {
            let why =
                "wanted: rt:64512:*, ro:192.0.2.1:1-9, rt:*:*, or hexadecimal digits as 0x4004*";
            BadText::new("extended community pattern", text, why)
        })
    }
}

serde_as_text!(StandardCommunity);
serde_as_text!(StandardPattern);
serde_as_text!(LargeCommunity);
serde_as_text!(LargePattern);
serde_as_text!(ExtendedCommunity);
serde_as_text!(ExtendedPattern);

/// Exactly as many ranges as wanted, between colons.
fn parts<const N: usize>(text: &str) -> Option<[NumberRange; N]> {
    let parts: Option<Vec<NumberRange>> = text.split(':').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

fn target(text: &str) -> Option<(u8, Administrator, NumberRange)> {
    let mut parts = text.split(':');
    let (name, administrator, number) = (parts.next()?, parts.next()?, parts.next()?);
    let (_, subtype) = TARGETS.iter().find(|(known, _)| *known == name)?;
    let administrator = if administrator == "*" {
        Administrator::Any
    } else if let Ok(address) = administrator.parse() {
        Administrator::Address(address)
    } else {
        Administrator::Asn(administrator.parse().ok()?)
    };
    let number = number.parse().ok().filter(|_| parts.next().is_none())?;
    Some((*subtype, administrator, number))
}

/// Hexadecimal digits from the highest on, and how many bits they are.
fn raw(digits: &str) -> Option<(u64, u32)> {
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let bits = u32::try_from(digits.len()).ok()?.checked_mul(4)?;
    let value = u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    (bits <= 64).then(|| (value << (64 - bits), bits))
}

/// The registry "BGP Well-known Communities", as far as a policy has to do with them.
const NAMES: [(&str, u32); 8] = [
    ("graceful-shutdown", GRACEFUL_SHUTDOWN.0),
    ("llgr-stale", 0xffff_0006),
    ("no-llgr", 0xffff_0007),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
];
/// Route Target and Route Origin (RFC 4360 §4, §5).
const TARGETS: [(&str, u8); 2] = [("rt", 0x02), ("ro", 0x03)];
const HALF_MAX: u32 = 0xffff;
