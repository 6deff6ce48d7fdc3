//! Policies: ordered rules that decide what of a path is taken (Phase 1) or passed on (Phase 3), and how it looks.
//!
//! ```yaml
//! default: reject
//! rules:
//!   - name: our customers
//!     match:
//!       prefixes: [192.0.2.0/24 le 28, 2001:db8::/32 inside]
//!       asPath: { first: [64500-64510] }
//!       communities: { any: ["64512:*"], none: [no-export] }
//!     set:
//!       localPref: 200
//!       communities: { add: [64512:1], remove: ["64512:900-999"] }
//!     action: accept
//! ```
//!
//! Rules are tried in order. One matches when *all* its conditions hold; a condition is a list of alternatives, and
//! an empty list asks nothing. What matches is changed as `set` says, and then `accept` and `reject` end the matter,
//! while `next` goes on: later rules see what earlier ones made of the path. Where no rule has decided, `default`
//! does.
//!
//! | conditions about | depend on | evaluated |
//! |---|---|---|
//! | `peers`, `interfaces` | the session | once, when it comes up: `Program` has only the rules that may match there |
//! | `prefixes`, `notPrefixes` | the prefix | for each prefix: `Program::signature` |
//! | all else | the attributes, the family and where the path is from | once for all prefixes of equal `Signature` |
//!
//! *Invariant:* peers whose sessions leave the same rules of a policy have equal `Program`s, and so share one
//! Adj-RIB-Out; those for which other rules are left have unequal ones and do not. Equality is structural, names and
//! places of rules included, since people are told them.

mod as_path;
mod change;
mod community;
mod condition;
mod peer;
mod program;
mod range;
mod text;

use serde::{Deserialize, Deserializer, Serialize};

pub use as_path::{AsPathMatch, PathRegexp};
pub use change::{Changes, MedChange, NextHopChange};
pub use community::{
    CommunityChange, CommunityKind, CommunityMatch, ExtendedCommunity, ExtendedPattern,
    GRACEFUL_SHUTDOWN, LargeCommunity, LargePattern, StandardCommunity, StandardPattern,
};
pub use condition::Match;
pub use peer::{AddressRange, Glob, PeerPattern, SourcePattern};
pub(crate) use peer::{PathSource, SessionPeer};
pub(crate) use program::{Draft, Program, RuleName, Signature, Subject};
pub use range::{NumberRange, PrefixRange};
pub use text::BadText;
use text::is_default;

/// Ordered rules, and what happens to a path on which none has decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// In order.
    pub rules: Vec<Rule>,
    /// What happens to a path on which no rule has decided.
    pub default: Decision,
}

/// One rule of a [`Policy`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// For people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub name: String,
    /// Which paths it is about. In a file: `match`.
    #[serde(default, rename = "match", skip_serializing_if = "is_default")]
    pub when: Match,
    /// What it changes about them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub set: Changes,
    /// What happens to them then.
    pub action: RuleAction,
}

/// The end of the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Decision {
    /// The path is taken, or passed on.
    Accept,
    /// It is not.
    Reject,
}

/// What a rule does with a path, when it has changed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleAction {
    /// The path is taken, or passed on.
    Accept,
    /// It is not.
    Reject,
    /// The next rule is asked.
    Next,
}

impl Policy {
    /// Takes everything.
    pub fn accept_all() -> Policy {
        Policy {
            rules: Vec::new(),
            default: Decision::Accept,
        }
    }

    /// Takes nothing.
    pub fn reject_all() -> Policy {
        Policy {
            rules: Vec::new(),
            default: Decision::Reject,
        }
    }
}

impl Rule {
    /// Accepts what matches, and changes nothing.
    pub fn accept(when: Match) -> Rule {
        Rule {
            name: String::new(),
            when,
            set: Changes::default(),
            action: RuleAction::Accept,
        }
    }

    /// Rejects what matches.
    pub fn reject(when: Match) -> Rule {
        Rule {
            action: RuleAction::Reject,
            ..Rule::accept(when)
        }
    }
}

/// An error says where: `rules[2].match.prefixes[0]: bad prefix "10.0.0.1/8": …`.
impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Written {
            #[serde(default)]
            rules: Vec<Rule>,
            default: Decision,
        }
        let written: Result<Written, _> = serde_path_to_error::deserialize(deserializer);
        match written {
            Ok(Written { rules, default }) => Ok(Policy { rules, default }),
            Err(error) => Err(serde::de::Error::custom(error)),
        }
    }
}

#[cfg(test)]
mod tests;
