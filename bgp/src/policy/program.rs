//! A policy as one session has it, and its evaluation.

use std::borrow::Cow;
use std::fmt;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::peer::{PathSource, SessionPeer};
use super::{Decision, NextHopChange, Policy, Rule, RuleAction};
use crate::wire::{Attributes, Family};

/// The rules of a policy that may match in a session. Conditions about the session have been answered; they are no
/// longer in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    steps: Vec<Step>,
    default: Decision,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    /// Its place in the policy, from 1.
    number: usize,
    rule: Rule,
}

/// For which rules the conditions about the prefix hold. All that a policy wants to know of a prefix, besides its
/// family.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Signature(SmallVec<[u64; 1]>);

/// A path on its way through a policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) family: Family,
    pub(crate) source: PathSource,
    pub(crate) attributes: &'a Attributes,
    /// The AS number that `prepend` puts in front.
    pub(crate) prepend_asn: Option<u32>,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Judgement<'p, 'a> {
    pub(crate) decision: Decision,
    /// Who decided; `None`: the default.
    pub(crate) by: Option<RuleName<'p>>,
    pub(crate) draft: Draft<'a>,
}

/// What the rules have made of a path.
#[derive(Debug, Clone)]
pub(crate) struct Draft<'a> {
    /// Borrowed as long as nothing has been changed.
    pub(crate) attributes: Cow<'a, Attributes>,
    /// What shall become of NEXT_HOP; an address is in `attributes` already.
    pub(crate) next_hop: Option<NextHopChange>,
    /// MED is what the policy says, also for an external peer.
    pub(crate) med_is_set: bool,
    received: &'a Attributes,
}

/// A rule, for people: `rule 3 "customers"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RuleName<'p> {
    pub(crate) number: usize,
    pub(crate) name: &'p str,
}

impl Policy {
    /// What of it may matter in the session.
    pub(crate) fn program(&self, peer: &SessionPeer<'_>) -> Program {
        let numbered = self.rules.iter().zip(1..);
        let in_session = numbered.filter(|(rule, _)| rule.when.session_holds(peer));
        let steps = in_session.map(|(rule, number)| {
            let mut rule = rule.clone();
            rule.when.peers = Vec::new();
            rule.when.interfaces = Vec::new();
            Step { number, rule }
        });
        Program {
            steps: steps.collect(),
            default: self.default,
        }
    }
}

#[cfg(test)]
impl Policy {
    /// For tests that are not about sessions.
    pub(crate) fn in_no_session(&self) -> Program {
        self.program(&SessionPeer {
            address: std::net::Ipv4Addr::UNSPECIFIED.into(),
            kind: crate::rib::SessionKind::Internal,
            interface: None,
        })
    }
}

impl Program {
    pub(crate) fn signature(&self, prefix: &IpNet) -> Signature {
        let mut words: SmallVec<[u64; 1]> = SmallVec::new();
        for (index, step) in self.steps.iter().enumerate() {
            if index % 64 == 0 {
                words.push(0);
            }
            if step.rule.when.asks_for_prefix()
                && step.rule.when.prefix_holds(prefix)
                && let Some(word) = words.last_mut()
            {
                *word |= 1 << (index % 64);
            }
        }
        Signature(words)
    }

    /// The answer for every prefix with this signature and of the subject's family.
    pub(crate) fn evaluate<'p, 'a>(
        &'p self,
        signature: &Signature,
        subject: Subject<'a>,
    ) -> Judgement<'p, 'a> {
        let mut draft = Draft::new(subject.attributes);
        for (index, step) in self.steps.iter().enumerate() {
            let Rule {
                name,
                when,
                set,
                action,
            } = &step.rule;
            if when.asks_for_prefix() && !signature.holds(index) {
                continue;
            }
            if !when.path_holds(subject.family, subject.source, &draft.attributes) {
                continue;
            }
            set.apply(&mut draft, subject.prepend_asn);
            let decision = match action {
                RuleAction::Accept => Decision::Accept,
                RuleAction::Reject => Decision::Reject,
                RuleAction::Next => continue,
            };
            let number = step.number;
            return Judgement {
                decision,
                by: Some(RuleName { number, name }),
                draft,
            };
        }
        Judgement {
            decision: self.default,
            by: None,
            draft,
        }
    }
}

impl Signature {
    fn holds(&self, index: usize) -> bool {
        let word = self.0.get(index / 64);
        word.is_some_and(|word| word & (1 << (index % 64)) != 0)
    }
}

impl<'a> Draft<'a> {
    pub(crate) fn new(attributes: &'a Attributes) -> Draft<'a> {
        Draft {
            attributes: Cow::Borrowed(attributes),
            next_hop: None,
            med_is_set: false,
            received: attributes,
        }
    }

    /// Takes back what has been made of NEXT_HOP, AS_PATH, LOCAL_PREF and MED.
    pub(crate) fn restore_what_decides(&mut self) {
        self.next_hop = None;
        self.med_is_set = false;
        if let Cow::Owned(changed) = &mut self.attributes {
            let received = self.received;
            changed.next_hop = received.next_hop;
            changed.next_hop_link_local = received.next_hop_link_local;
            changed.as_path.clone_from(&received.as_path);
            changed.local_pref = received.local_pref;
            changed.med = received.med;
        }
    }

    pub(super) fn change_next_hop(&mut self, change: NextHopChange) {
        let next_hop = match change {
            NextHopChange::Address(address) => Some(address),
            NextHopChange::Own | NextHopChange::Keep => self.received.next_hop,
        };
        if self.attributes.next_hop != next_hop {
            let attributes = self.attributes.to_mut();
            attributes.next_hop = next_hop;
            attributes.next_hop_link_local = match change {
                NextHopChange::Address(_) => None,
                NextHopChange::Own | NextHopChange::Keep => self.received.next_hop_link_local,
            };
        }
        self.next_hop = Some(change);
    }
}

impl fmt::Display for RuleName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.number)?;
        if !self.name.is_empty() {
            write!(f, " {:?}", self.name)?;
        }
        Ok(())
    }
}
