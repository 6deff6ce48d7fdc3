//! What import has thought of attributes before, so that it thinks once about each.
//!
//! A policy wants to know little of a prefix: its [`Signature`]. All prefixes of an UPDATE, and in a soft
//! reconfiguration all prefixes with equal attributes, mostly have the same.

use std::borrow::Cow;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use ipnet::IpNet;

use crate::import::{Importer, Verdict};
use crate::policy::Signature;
use crate::rib::{Interned, Interner};
use crate::wire::Family;

/// Answers of one [`Importer`].
#[derive(Debug, Default)]
pub(crate) struct Judgements {
    /// The newest, since the next question is mostly the same.
    last: Option<(Question, Answer)>,
    before: HashMap<Question, Answer, FixedState>,
    /// How often the policy was evaluated.
    #[cfg(test)]
    pub(crate) evaluations: usize,
}

/// The attributes by their serial.
type Question = (u64, Family, Signature);
/// The verdict, and the path as decision and dissemination see it.
type Answer = (Verdict, Interned);

impl Judgements {
    /// The verdict about what was received for a prefix, and what the policy has made of it.
    pub(crate) fn judge(
        &mut self,
        importer: &Importer,
        prefix: &IpNet,
        received: &Interned,
        interner: &mut Interner,
    ) -> &Answer {
        let signature = importer.signature(prefix);
        let question = (received.serial(), Family::of(prefix), signature);
        if let Some((last, answer)) = self.last.take_if(|(last, _)| *last != question) {
            self.before.insert(last, answer);
        }
        let (_, answer) = self.last.get_or_insert_with(|| {
            if let Some(answer) = self.before.get(&question) {
                return (question, answer.clone());
            }
            #[cfg(test)]
            {
                self.evaluations += 1;
            }
            let (_, family, signature) = &question;
            let unpacked = interner.take(received);
            let imported = importer.judge(*family, signature, &unpacked);
            let verdict = imported.verdict;
            let changed = match imported.attributes {
                Cow::Borrowed(_) => None,
                Cow::Owned(changed) => Some(changed),
            };
            interner.put_back(received, unpacked);
            let attributes = changed.map_or_else(|| received.clone(), |it| interner.intern(it));
            (question, (verdict, attributes))
        });
        answer
    }
}
