//! Peers with equal terms: what they should have, and the log of how that changes.

use std::sync::Arc;

use ipnet::IpNet;

use super::AdjIns;
use super::adj_out::{Inputs, Member};
use super::ids::PrefixId;
use super::intern::{Interned, Interner};
use super::log::{Change, Log, Sequence};
use super::pen::{Pen, encode, octets};
use super::table::{Entry, Source};
use crate::disseminate::Terms;
use crate::event::PeerId;
use crate::policy::Signature;
use crate::wire::Family;

/// Peers with equal terms.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) terms: Terms,
    /// By index of prefix.
    pub(super) desired: Vec<Desired>,
    pub(super) log: Log,
    pub(super) members: usize,
    /// Members that have read everything.
    pub(super) idle: Vec<PeerId>,
    /// The last attributes that were made ready to go out, since the next prefix often has the same.
    memo: Option<Memo>,
    /// The order in which a walk goes, and the end of the log when it was made.
    plan: Option<(Sequence, Arc<[PrefixId]>)>,
}

/// What the members of a group should have of a prefix.
#[derive(Debug, Clone, Default)]
pub(super) struct Desired {
    pub(super) attributes: Option<Interned>,
    /// The peer that must not get it, because it sent it.
    pub(super) from: Option<PeerId>,
    /// The newest record about the prefix; dropped by the log when all have read it.
    pub(super) sequence: Sequence,
}

#[derive(Debug)]
struct Memo {
    source: Source,
    family: Family,
    signature: Signature,
    from: Interned,
    to: Option<Interned>,
}

impl Group {
    pub(super) fn new(terms: Terms, rib: &mut Inputs<'_>) -> Group {
        let mut group = Group {
            log: Log::new(
                terms
                    .codec
                    .message_octets_max
                    .saturating_sub(RECORD_OCTETS_SPARE),
            ),
            terms,
            desired: Vec::new(),
            members: 0,
            idle: Vec::new(),
            memo: None,
            plan: None,
        };
        for (id, entry) in rib.table.iter() {
            let (attributes, from) = group.evaluate(entry, rib.adj_ins, rib.interner);
            if attributes.is_some() {
                *group.desired_mut(id) = Desired {
                    attributes,
                    from,
                    sequence: 0,
                };
            }
        }
        group
    }

    /// Phase 3 for one prefix: what the members should have of it.
    pub(super) fn evaluate(
        &mut self,
        entry: &Entry,
        adj_ins: &AdjIns,
        interner: &mut Interner,
    ) -> (Option<Interned>, Option<PeerId>) {
        let Some(best) = entry.best() else {
            return (None, None);
        };
        let (sender, from) = match best.source {
            Source::Local => (None, None),
            Source::Peer(peer) => (adj_ins.facts(peer), Some(peer)),
        };
        let family = Family::of(&entry.prefix);
        let signature = self.terms.signature(&entry.prefix);
        let fits = |memo: &&Memo| {
            memo.source == best.source
                && memo.family == family
                && memo.from == best.attributes
                && memo.signature == signature
        };
        let attributes = match self.memo.as_ref().filter(fits) {
            Some(memo) => memo.to.clone(),
            None => {
                let out = self
                    .terms
                    .disseminate(family, &signature, &best.attributes, sender);
                let to = out.ok().map(|out| interner.intern(out.attributes));
                let from = best.attributes.clone();
                self.memo = Some(Memo {
                    source: best.source,
                    family,
                    signature,
                    from,
                    to: to.clone(),
                });
                to
            }
        };
        let from = from.filter(|_| attributes.is_some());
        (attributes, from)
    }

    /// Notes what is desired of a prefix now; false when that is what was desired before.
    pub(super) fn set(
        &mut self,
        id: PrefixId,
        prefix: &IpNet,
        attributes: Option<Interned>,
        from: Option<PeerId>,
    ) -> bool {
        let readers = self.members;
        let old = self.desired_mut(id);
        if old.attributes == attributes && old.from == from {
            return false;
        }
        let superseded = old.sequence;
        let change = match &attributes {
            Some(attributes) => Change::Announce {
                attributes: attributes.clone(),
                family: Family::of(prefix),
                from,
            },
            None => Change::Withdraw,
        };
        self.log.supersede(superseded);
        let sequence = self.log.push(id, octets(prefix), change, readers);
        *self.desired_mut(id) = Desired {
            attributes,
            from,
            sequence,
        };
        if self.log.is_bloated() {
            let desired = &self.desired;
            self.log
                .compact(|id, sequence| desired[id.index()].sequence == sequence);
        }
        true
    }

    /// One member reads one record.
    pub(super) fn read(
        &mut self,
        peer: PeerId,
        member: &mut Member,
        sequence: Sequence,
        pen: &mut Pen<'_>,
    ) {
        let desired = &self.desired;
        self.log
            .prepare(sequence, |id| desired[id.index()].sequence == sequence);
        let Some(record) = self.log.record(sequence) else {
            return;
        };
        match &record.change {
            Change::Announce { from, .. } if *from == Some(peer) => {
                let standing = member.standing_of(&record.ids);
                pen.withdraw(&self.terms, member, &standing);
            }
            Change::Announce { .. } => {
                let encoded = self
                    .log
                    .encoded(sequence, |record| encode(&self.terms, pen.table, record));
                let Some(record) = self.log.record(sequence) else {
                    return;
                };
                match encoded {
                    Some(encoded) if encoded.updates > 0 => {
                        pen.copy(&encoded);
                        pen.note_announced(member, &record.ids);
                    }
                    // The attributes do not fit into a message. What they replace must not stay.
                    _ => {
                        let standing = member.standing_of(&record.ids);
                        pen.withdraw(&self.terms, member, &standing);
                    }
                }
            }
            Change::Withdraw => {
                let standing = member.standing_of(&record.ids);
                if standing.len() < record.ids.len() {
                    pen.withdraw(&self.terms, member, &standing);
                } else if let Some(encoded) = self
                    .log
                    .encoded(sequence, |record| encode(&self.terms, pen.table, record))
                {
                    pen.copy(&encoded);
                    pen.note_withdrawn(member, &standing);
                }
            }
        }
    }

    /// All that is desired, ordered so that equal attributes are together: a walk packs them well.
    pub(super) fn plan(&mut self) -> Arc<[PrefixId]> {
        // From here on a change is in a record at or after `end`.
        self.log.close_all();
        let end = self.log.end();
        if let Some((made_at, plan)) = &self.plan
            && *made_at == end
        {
            return plan.clone();
        }
        let key = |(index, desired): (usize, &Desired)| {
            let serial = desired.attributes.as_ref()?.serial();
            Some((serial, PrefixId(index as u32)))
        };
        let mut keys: Vec<(u64, PrefixId)> =
            self.desired.iter().enumerate().filter_map(key).collect();
        keys.sort_unstable();
        let plan: Arc<[PrefixId]> = keys.into_iter().map(|(_, id)| id).collect();
        self.plan = Some((end, plan.clone()));
        plan
    }

    fn desired_mut(&mut self, id: PrefixId) -> &mut Desired {
        if id.index() >= self.desired.len() {
            self.desired.resize(id.index() + 1, Desired::default());
        }
        &mut self.desired[id.index()]
    }
}

/// What a record leaves of a message for header and attributes, so that it usually is one UPDATE.
const RECORD_OCTETS_SPARE: usize = 256;
