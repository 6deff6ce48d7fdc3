//! A community of RFC 1997 as text: `aa:bb`.

use std::fmt;
use std::str::FromStr;

/// A community: its high half is an AS number, its low half that AS's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Community(pub u32);

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0 >> 16, self.0 & 0xffff)
    }
}

/// A text that is no community.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad community {0:?} (wanted: two numbers up to 65535, as in 64512:100)")]
pub struct ParseCommunityError(String);

impl FromStr for Community {
    type Err = ParseCommunityError;

    fn from_str(text: &str) -> Result<Community, ParseCommunityError> {
        let halves = || {
            let (high, low) = text.split_once(':')?;
            Some((half(high)?, half(low)?))
        };
        let (high, low) = halves().ok_or_else(|| ParseCommunityError(text.to_owned()))?;
        Ok(Community(u32::from(high) << 16 | u32::from(low)))
    }
}

/// Digits only: `u16::from_str` would take a sign.
fn half(text: &str) -> Option<u16> {
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
