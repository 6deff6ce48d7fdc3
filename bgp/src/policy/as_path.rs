//! What a rule may ask of an AS_PATH.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::range::NumberRange;
use super::text::{BadText, is_default, serde_as_text};
use crate::wire::{AsPath, Segment};

/// Conditions about AS_PATH; all must hold, and of each one alternative. An empty list asks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AsPathMatch {
    /// Its first AS number, the neighbour's ([`AsPath::first_as`]).
    #[serde(skip_serializing_if = "is_default")]
    pub first: Vec<NumberRange>,
    /// Its last AS number, where the prefix comes from; a path that ends with an AS_SET has none.
    #[serde(skip_serializing_if = "is_default")]
    pub origin: Vec<NumberRange>,
    /// Some AS number in it.
    #[serde(skip_serializing_if = "is_default")]
    pub contains: Vec<NumberRange>,
    /// Its length as the decision counts it ([`AsPath::hops`]).
    #[serde(skip_serializing_if = "is_default")]
    pub length: Vec<NumberRange>,
    /// Its text.
    #[serde(skip_serializing_if = "is_default")]
    pub regexp: Vec<PathRegexp>,
}

impl AsPathMatch {
    pub(super) fn holds(&self, path: &AsPath) -> bool {
        let within = |ranges: &[NumberRange], asn: Option<u32>| {
            ranges.is_empty()
                || asn.is_some_and(|asn| ranges.iter().any(|range| range.contains(asn)))
        };
        let contains = |range: &NumberRange| {
            let mut asns = path.0.iter().flat_map(Segment::asns);
            asns.any(|&asn| range.contains(asn))
        };
        within(&self.first, path.first_as())
            && within(&self.origin, origin_as(path))
            && within(&self.length, u32::try_from(path.hops()).ok())
            && (self.contains.is_empty() || self.contains.iter().any(contains))
            && (self.regexp.is_empty() || {
                let text = path.to_string();
                self.regexp.iter().any(|regexp| regexp.is_match(&text))
            })
    }
}

fn origin_as(path: &AsPath) -> Option<u32> {
    match path.0.iter().rfind(|segment| !segment.is_confed())? {
        Segment::Sequence(asns) => asns.last().copied(),
        _ => None,
    }
}

/// A regular expression over the text of an AS_PATH (`64512 64513 {1 2}`), as on Cisco's routers and FRR: `_` stands
/// for the begin, the end, a space or a bracket, so `_64512_` is this AS number anywhere. The rest is the syntax of
/// the `regex` crate: no look-around, no back-references, time linear in the length of the path.
#[derive(Clone)]
pub struct PathRegexp {
    text: String,
    compiled: Arc<Regex>,
}

impl PathRegexp {
    /// Whether it is found in the text of a path.
    pub fn is_match(&self, path: &str) -> bool {
        self.compiled.is_match(path.as_bytes())
    }
}

impl FromStr for PathRegexp {
    type Err = BadText;

    fn from_str(text: &str) -> Result<PathRegexp, BadText> {
        let bad = |why: String| BadText::new("AS path regexp", text, why);
        if text.len() > REGEXP_OCTETS_MAX {
            let octets = text.len();
            return Err(bad(format!(
                "{octets} octets, and {REGEXP_OCTETS_MAX} are the most"
            )));
        }
        let compiled = RegexBuilder::new(&with_boundaries(text))
            .unicode(false)
            .size_limit(COMPILED_OCTETS_MAX)
            .dfa_size_limit(COMPILED_OCTETS_MAX)
            .build()
            .map_err(|error| {
                // The crate draws the whole pattern first; its last line says what is wrong.
                let words = error.to_string();
                let last = words.lines().next_back().unwrap_or_default();
                bad(last.trim_start_matches("error: ").to_owned())
            })?;
        Ok(PathRegexp {
            text: text.to_owned(),
            compiled: Arc::new(compiled),
        })
    }
}

/// `_` outside of a class and unescaped becomes what it stands for.
fn with_boundaries(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_class, mut escaped) = (false, false);
    for letter in text.chars() {
        match letter {
            '_' if !escaped && !in_class => {
                out.push_str(BOUNDARY);
                continue;
            }
            '[' if !escaped => in_class = true,
            ']' if !escaped => in_class = false,
            _ => {}
        }
        escaped = letter == '\\' && !escaped;
        out.push(letter);
    }
    out
}

impl PartialEq for PathRegexp {
    fn eq(&self, other: &PathRegexp) -> bool {
        self.text == other.text
    }
}

impl Eq for PathRegexp {}

impl Hash for PathRegexp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Debug for PathRegexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathRegexp({:?})", self.text)
    }
}

impl fmt::Display for PathRegexp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

serde_as_text!(PathRegexp);

const BOUNDARY: &str = r"(?:^|$|[ ,{}()\[\]])";
const REGEXP_OCTETS_MAX: usize = 1024;
const COMPILED_OCTETS_MAX: usize = 1 << 20;
