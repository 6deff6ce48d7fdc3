//! AS_PATH (RFC 4271 §4.3, §5.1.2): what one asks of it, and how it looks as text.

use std::fmt::{self, Write as _};
use std::str::FromStr;

pub(super) use codec::encode_asn;

mod codec;

/// AS_PATH.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct AsPath(pub Vec<Segment>);

/// A segment of an AS_PATH.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Segment {
    /// AS_SEQUENCE.
    Sequence(Vec<u32>),
    /// AS_SET.
    Set(Vec<u32>),
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence(Vec<u32>),
    /// AS_CONFED_SET (RFC 5065).
    ConfedSet(Vec<u32>),
}

impl AsPath {
    /// A path of one AS_SEQUENCE; empty when `asns` is.
    pub fn from_sequence(asns: Vec<u32>) -> AsPath {
        if asns.is_empty() {
            AsPath::default()
        } else {
            AsPath(vec![Segment::Sequence(asns)])
        }
    }

    /// Its length as the decision counts it: an AS_SET is one however many are in it
    /// (RFC 4271 §9.1.2.2 a), and a confederation's segments are none (RFC 5065 §5.3).
    pub fn hops(&self) -> usize {
        self.0.iter().map(Segment::hops).sum()
    }

    /// `asn` is somewhere in it: a loop when it is ours (RFC 4271 §9.1.2).
    pub fn contains(&self, asn: u32) -> bool {
        self.0.iter().any(|segment| segment.asns().contains(&asn))
    }

    /// The neighbour AS: the first of the first segment that is no confederation's (RFC 4271
    /// §9.1.2.2 c, RFC 5065 §5.3). `None`: the path is empty or begins with an AS_SET.
    pub fn first_as(&self) -> Option<u32> {
        let outside = |segment: &&Segment| !segment.is_confed();
        match self.0.iter().find(outside)? {
            Segment::Sequence(asns) => asns.first().copied(),
            _ => None,
        }
    }

    /// Puts `asn` in front, `times` times (RFC 4271 §5.1.2), in a new segment where the first one
    /// is full or no AS_SEQUENCE.
    pub fn prepend(&mut self, asn: u32, times: usize) {
        let mut left = times;
        if let Some(Segment::Sequence(asns)) = self.0.first_mut() {
            let fit = left.min(SEGMENT_ASNS_MAX.saturating_sub(asns.len()));
            asns.splice(0..0, std::iter::repeat_n(asn, fit));
            left -= fit;
        }
        while left > 0 {
            let fit = left.min(SEGMENT_ASNS_MAX);
            self.0.insert(0, Segment::Sequence(vec![asn; fit]));
            left -= fit;
        }
    }
}

impl Segment {
    /// Its AS numbers.
    pub fn asns(&self) -> &[u32] {
        match self {
            Segment::Sequence(asns)
            | Segment::Set(asns)
            | Segment::ConfedSequence(asns)
            | Segment::ConfedSet(asns) => asns,
        }
    }

    /// It is of a confederation (RFC 5065), and nobody outside should see it.
    pub fn is_confed(&self) -> bool {
        matches!(self, Segment::ConfedSequence(_) | Segment::ConfedSet(_))
    }

    fn hops(&self) -> usize {
        match self {
            Segment::Sequence(asns) => asns.len(),
            Segment::Set(asns) => usize::from(!asns.is_empty()),
            Segment::ConfedSequence(_) | Segment::ConfedSet(_) => 0,
        }
    }

    /// What stands before, between and after its AS numbers in text.
    fn brackets(&self) -> (&'static str, &'static str) {
        match self {
            Segment::Sequence(_) => ("", ""),
            Segment::Set(_) => ("{", "}"),
            Segment::ConfedSequence(_) => ("(", ")"),
            Segment::ConfedSet(_) => ("[", "]"),
        }
    }
}

/// `64512 64513 {1 2}`; a confederation's sequence is in `( )`, its set in `[ ]`.
impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_char(' ')?;
            }
            let (open, close) = segment.brackets();
            f.write_str(open)?;
            for (index, asn) in segment.asns().iter().enumerate() {
                if index > 0 {
                    f.write_char(' ')?;
                }
                write!(f, "{asn}")?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

/// A text that is no AS_PATH.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad AS path {text:?}: {why}")]
pub struct ParseAsPathError {
    text: String,
    why: String,
}

impl FromStr for AsPath {
    type Err = ParseAsPathError;

    fn from_str(text: &str) -> Result<AsPath, ParseAsPathError> {
        parse(text).map_err(|why| ParseAsPathError {
            text: text.to_owned(),
            why,
        })
    }
}

/// Adjacent AS_SEQUENCEs look like one in text, so one is what they become.
fn parse(text: &str) -> Result<AsPath, String> {
    let mut segments: Vec<Segment> = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (segment_of, close): (fn(Vec<u32>) -> Segment, char) = match first {
            '{' => (Segment::Set, '}'),
            '(' => (Segment::ConfedSequence, ')'),
            '[' => (Segment::ConfedSet, ']'),
            _ => {
                let end = rest.find(['{', '(', '[']).unwrap_or(rest.len());
                segments.push(Segment::Sequence(parse_asns(&rest[..end])?));
                rest = &rest[end..];
                continue;
            }
        };
        let end = rest.find(close);
        let end = end.ok_or_else(|| format!("no {close:?} for {first:?}"))?;
        segments.push(segment_of(parse_asns(&rest[1..end])?));
        rest = rest[end + 1..].trim_start();
    }
    Ok(AsPath(segments))
}

fn parse_asns(text: &str) -> Result<Vec<u32>, String> {
    let number = |word: &str| {
        let asn = word.parse().ok();
        asn.ok_or_else(|| format!("{word:?} is no AS number"))
    };
    let asns: Vec<u32> = text
        .split_whitespace()
        .map(number)
        .collect::<Result<_, _>>()?;
    if asns.is_empty() {
        return Err("empty segment".to_owned());
    }
    Ok(asns)
}

/// The count of a segment's AS numbers is one octet (RFC 4271 §4.3).
const SEGMENT_ASNS_MAX: usize = 255;

#[cfg(test)]
mod tests;
