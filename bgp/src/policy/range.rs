//! Ranges of numbers and of prefixes.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use super::text::{BadText, serde_as_text};

/// Numbers from the first to the last, both included: `7`, `100-200`, `100-` (and above), `*` (every number).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumberRange {
    first: u32,
    last: u32,
}

impl NumberRange {
    /// Every number.
    pub const ALL: NumberRange = NumberRange {
        first: 0,
        last: u32::MAX,
    };

    /// From `first` to `last`; `None` where there is nothing between them.
    pub fn new(first: u32, last: u32) -> Option<NumberRange> {
        (first <= last).then_some(NumberRange { first, last })
    }

    /// Whether the number is in it.
    pub fn contains(self, number: u32) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// The number, where it is only one.
    pub(super) fn single(self) -> Option<u32> {
        (self.first == self.last).then_some(self.first)
    }

    pub(super) fn last(self) -> u32 {
        self.last
    }
}

impl From<u32> for NumberRange {
    fn from(number: u32) -> NumberRange {
        NumberRange {
            first: number,
            last: number,
        }
    }
}

impl fmt::Display for NumberRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            NumberRange::ALL => f.write_str("*"),
            NumberRange { first, last } if first == last => write!(f, "{first}"),
            NumberRange {
                first,
                last: u32::MAX,
            } => write!(f, "{first}-"),
            NumberRange { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

impl FromStr for NumberRange {
    type Err = BadText;

    fn from_str(text: &str) -> Result<NumberRange, BadText> {
        let wanted = "wanted: a number up to 4294967295, 100-200, 100- or *";
        let range = || {
            if text == "*" {
                return Some(NumberRange::ALL);
            }
            let Some((first, last)) = text.split_once('-') else {
                return digits(text).map(NumberRange::from);
            };
            let last = if last.is_empty() {
                u32::MAX
            } else {
                digits(last)?
            };
            NumberRange::new(digits(first)?, last)
        };
        range().ok_or_else(|| BadText::new("number or range", text, wanted))
    }
}

serde_as_text!(NumberRange);

/// Digits only: `u32::from_str` would take a sign.
pub(super) fn digits(text: &str) -> Option<u32> {
    let all = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| all)
}

/// Prefixes that are equal to a net or inside it, of certain lengths:
///
/// | text | prefixes |
/// |---|---|
/// | `10.0.0.0/8` | this one only |
/// | `10.0.0.0/8 inside` | this one and all in it |
/// | `10.0.0.0/8 ge 16` | those in it of 16 bits and more |
/// | `10.0.0.0/8 le 24` | this one and those in it of up to 24 bits |
/// | `10.0.0.0/8 ge 16 le 24` | both |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixRange {
    net: IpNet,
    ge: u8,
    le: u8,
}

impl PrefixRange {
    /// This prefix only.
    pub fn exact(net: IpNet) -> PrefixRange {
        let net = net.trunc();
        PrefixRange {
            net,
            ge: net.prefix_len(),
            le: net.prefix_len(),
        }
    }

    /// This prefix and everything in it.
    pub fn inside(net: IpNet) -> PrefixRange {
        PrefixRange {
            le: net.max_prefix_len(),
            ..PrefixRange::exact(net)
        }
    }

    /// Prefixes in `net` whose lengths are `ge` to `le`. `None` unless the length of `net` ≤ `ge` ≤ `le` ≤ the
    /// length of an address.
    pub fn new(net: IpNet, ge: u8, le: u8) -> Option<PrefixRange> {
        let is_in_order = net.prefix_len() <= ge && ge <= le && le <= net.max_prefix_len();
        is_in_order.then_some(PrefixRange {
            net: net.trunc(),
            ge,
            le,
        })
    }

    /// Whether the prefix is one of them.
    pub fn contains(&self, prefix: &IpNet) -> bool {
        (self.ge..=self.le).contains(&prefix.prefix_len()) && self.net.contains(prefix)
    }
}

impl fmt::Display for PrefixRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (own, max) = (self.net.prefix_len(), self.net.max_prefix_len());
        write!(f, "{}", self.net)?;
        match (self.ge, self.le) {
            (ge, le) if ge == own && le == own => Ok(()),
            (ge, le) if ge == own && le == max => f.write_str(" inside"),
            (ge, le) if ge == own => write!(f, " le {le}"),
            (ge, le) if le == max => write!(f, " ge {ge}"),
            (ge, le) => write!(f, " ge {ge} le {le}"),
        }
    }
}

impl FromStr for PrefixRange {
    type Err = BadText;

    fn from_str(text: &str) -> Result<PrefixRange, BadText> {
        let bad = |why: &str| BadText::new("prefix", text, why);
        let words: Vec<&str> = text.split_whitespace().collect();
        let (Some(first), rest) = (words.first(), words.get(1..).unwrap_or_default()) else {
            return Err(bad("it is empty"));
        };
        let net: IpNet = first
            .parse()
            .map_err(|_| bad("wanted: address/length, as in 10.0.0.0/8"))?;
        if net.trunc() != net {
            return Err(bad(&format!(
                "bits are set after the length; {} is meant?",
                net.trunc()
            )));
        }
        let length = |word: &str| {
            let number = digits(word).and_then(|number| u8::try_from(number).ok());
            number.ok_or_else(|| bad(&format!("{word} is no length")))
        };
        let (own, max) = (net.prefix_len(), net.max_prefix_len());
        let (ge, le) = match rest {
            [] => (own, own),
            ["inside"] => (own, max),
            ["ge", ge] => (length(ge)?, max),
            ["le", le] => (own, length(le)?),
            ["ge", ge, "le", le] | ["le", le, "ge", ge] => (length(ge)?, length(le)?),
            _ => {
                return Err(bad(
                    "wanted after the prefix: inside, ge N, le N or ge N le N",
                ));
            }
        };
        PrefixRange::new(net, ge, le)
            .ok_or_else(|| bad(&format!("wanted: {own} ≤ ge ≤ le ≤ {max}")))
    }
}

serde_as_text!(PrefixRange);
