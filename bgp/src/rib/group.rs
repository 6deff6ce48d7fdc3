//! Peers with equal terms: what they should have, and the log of how that changes.

use std::sync::Arc;

use smallvec::SmallVec;

use super::AdjIns;
use super::adj_in::PeerFacts;
use super::adj_out::Inputs;
use super::ids::{NlriId, NlriKind, PathSlot, PrefixId};
use super::intern::{Interned, Interner};
use super::log::{Change, Log, Sequence};
use super::member::Member;
use super::paths::Paths;
use super::pen::{Pen, octets};
use super::table::{Entry, Path, Source, Staleness};
use super::via::Via;
use crate::config::PathsSent;
use crate::decision;
use crate::disseminate::{Onward, Terms};
use crate::event::PeerId;
use crate::import::Verdict;
use crate::policy::Signature;
use crate::stale::LLGR_STALE;
use crate::wire::{Attributes, Family, Nlri};

/// Peers with equal terms.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) terms: Terms,
    pub(super) desired: DesiredSet,
    pub(super) log: Log,
    pub(super) members: usize,
    /// Members that have read everything.
    pub(super) idle: Vec<PeerId>,
    /// The last attributes that were made ready to go out, since the next prefix often has the same.
    memo: Option<Memo>,
    /// The order in which a walk goes, as long as nothing changes.
    plan: Option<Arc<[NlriId]>>,
    /// How often it was made.
    #[cfg(test)]
    pub(super) plans: usize,
}

/// What the members of a group should have of a prefix or of a path of it.
#[derive(Debug, Clone)]
pub(super) struct Desired {
    pub(super) attributes: Option<Interned>,
    pub(super) via: Via,
    /// The newest record about it; dropped by the log when all have read it.
    pub(super) sequence: Sequence,
}

impl Default for Desired {
    fn default() -> Desired {
        Desired {
            attributes: None,
            via: Via::new(None),
            sequence: 0,
        }
    }
}

/// By number of prefix and of path.
#[derive(Debug, Default)]
pub(super) struct DesiredSet {
    prefixes: Vec<Desired>,
    paths: Vec<Desired>,
}

#[derive(Debug)]
struct Memo {
    source: Source,
    sender: Option<PeerFacts>,
    family: Family,
    signature: Signature,
    /// The serial of the attributes.
    from: u64,
    long_lived_stale: bool,
    to: Option<(Interned, Via)>,
}

impl Group {
    pub(super) fn new(terms: Terms, rib: &mut Inputs<'_>, paths: &mut Paths) -> Group {
        let mut group = Group {
            log: Log::new(
                terms
                    .codec
                    .message_octets_max
                    .saturating_sub(RECORD_OCTETS_SPARE),
            ),
            terms,
            desired: DesiredSet::default(),
            members: 0,
            idle: Vec::new(),
            memo: None,
            plan: None,
            #[cfg(test)]
            plans: 0,
        };
        for (id, entry) in rib.table.iter() {
            if group.terms.sends_paths(Family::of(&entry.prefix)) {
                for (path_id, desired) in group.evaluate_paths(entry, rib) {
                    let slot = paths.find_or_insert(id, path_id);
                    paths.want(slot, true);
                    *group.desired.get_mut(slot.into()) = desired;
                }
            } else if let Some(best) = entry.best()
                && let Some(desired) = group.evaluate(entry, best, rib.adj_ins, rib.interner)
            {
                *group.desired.get_mut(id.into()) = desired;
            }
        }
        group
    }

    /// The paths of a prefix have changed; false when what is desired of it has not.
    pub(super) fn update(&mut self, id: PrefixId, rib: &mut Inputs<'_>, paths: &mut Paths) -> bool {
        let entry = rib.table.entry(id);
        if !self.terms.sends_paths(Family::of(&entry.prefix)) {
            let desired = entry
                .best()
                .and_then(|best| self.evaluate(entry, best, rib.adj_ins, rib.interner));
            return self.set(id.into(), &entry.prefix.into(), desired, rib.interner);
        }
        let wanted = self.evaluate_paths(entry, rib);
        let mut is_other = false;
        let known: SmallVec<[PathSlot; 8]> = paths.of_prefix(id).collect();
        for slot in known {
            let path_id = paths.slot(slot).path_id;
            let is_wanted = wanted.iter().any(|(wanted, _)| *wanted == path_id);
            if !is_wanted && self.desired.has(slot.into()) {
                paths.want(slot, false);
                let nlri = nlri(entry, path_id);
                is_other |= self.set(slot.into(), &nlri, None, rib.interner);
            }
        }
        for (path_id, desired) in wanted {
            let slot = paths.find_or_insert(id, path_id);
            if !self.desired.has(slot.into()) {
                paths.want(slot, true);
            }
            let nlri = nlri(entry, path_id);
            is_other |= self.set(slot.into(), &nlri, Some(desired), rib.interner);
        }
        is_other
    }

    /// Phase 3 for the paths of one prefix, where each goes out under its own identifier (RFC 7911).
    fn evaluate_paths(&mut self, entry: &Entry, rib: &mut Inputs<'_>) -> Vec<(u16, Desired)> {
        let paths = offered(&self.terms, entry, rib.adj_ins, rib.options);
        let paths = paths.into_iter().map(|index| &entry.paths[index]);
        let named = paths.filter(|path| path.path_id != 0);
        named
            .filter_map(|path| {
                let desired = self.evaluate(entry, path, rib.adj_ins, rib.interner)?;
                Some((path.path_id, desired))
            })
            .collect()
    }

    /// Phase 3 for one path: what the members should have of it.
    fn evaluate(
        &mut self,
        entry: &Entry,
        path: &Path,
        adj_ins: &AdjIns,
        interner: &mut Interner,
    ) -> Option<Desired> {
        let from = path.source.peer();
        let sender = from.and_then(|peer| adj_ins.facts(peer));
        let family = Family::of(&entry.prefix);
        let signature = self.terms.signature(&entry.prefix);
        let long_lived_stale = path.staleness == Staleness::LongLived;
        let fits = |memo: &&Memo| {
            memo.source == path.source
                && memo.sender.as_ref() == sender
                && memo.family == family
                && memo.from == path.attributes.serial()
                && memo.signature == signature
                && memo.long_lived_stale == long_lived_stale
        };
        let to = match self.memo.as_ref().filter(fits) {
            Some(memo) => memo.to.clone(),
            None => {
                let mut attributes = interner.take(&path.attributes);
                before_dissemination(path, &mut attributes);
                let onward = self.terms.pass_on(family, &signature, &attributes, sender);
                let via = Via::new(from);
                let to = match onward {
                    Ok(Onward::AsItCame(sender)) => {
                        // With what a long-lived stale path is marked with, they are others.
                        let attributes = match path.staleness {
                            Staleness::LongLived => interner.intern(Attributes::clone(&attributes)),
                            _ => path.attributes.clone(),
                        };
                        Some((attributes, via.reflected(sender)))
                    }
                    Ok(Onward::Changed(out)) => Some((interner.intern(out), via)),
                    Err(_) => None,
                };
                if path.staleness != Staleness::LongLived {
                    interner.put_back(&path.attributes, attributes);
                }
                self.memo = Some(Memo {
                    source: path.source,
                    sender: sender.copied(),
                    family,
                    signature,
                    from: path.attributes.serial(),
                    long_lived_stale,
                    to: to.clone(),
                });
                to
            }
        };
        to.map(|(attributes, via)| Desired {
            attributes: Some(attributes),
            via,
            sequence: 0,
        })
    }

    /// Notes what is desired now; false when that is what was desired before.
    fn set(
        &mut self,
        id: NlriId,
        nlri: &Nlri,
        desired: Option<Desired>,
        interner: &mut Interner,
    ) -> bool {
        let Desired {
            attributes, via, ..
        } = desired.unwrap_or_default();
        let readers = self.members;
        let old = self.desired.get_mut(id);
        if old.attributes == attributes && old.via == via {
            return false;
        }
        self.plan = None;
        let (superseded, replaced) = (old.sequence, old.attributes.take());
        let family = Family::of(&nlri.prefix);
        let change = match &attributes {
            Some(attributes) => Change::Announce {
                attributes: attributes.clone(),
                family,
                via,
            },
            None => Change::Withdraw { family },
        };
        self.log.supersede(superseded);
        let sequence = self.log.push(id, octets(nlri), change, readers);
        *self.desired.get_mut(id) = Desired {
            attributes,
            via,
            sequence,
        };
        if let Some(replaced) = replaced {
            interner.release(replaced);
        }
        if self.log.is_bloated() {
            let desired = &self.desired;
            self.log
                .compact(|id, sequence| desired.sequence(id) == sequence);
        }
        true
    }

    /// The number has been released: nobody asks any more.
    pub(super) fn forget(&mut self, id: NlriId) {
        if let Some(desired) = self.desired.take(id) {
            self.log.supersede(desired.sequence);
        }
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
            .prepare(sequence, |id| desired.sequence(id) == sequence);
        let Some(record) = self.log.record(sequence) else {
            return;
        };
        match &record.change {
            Change::Announce { via, .. } if via.peer() == Some(peer) => {
                member.no_longer_held(&record.ids);
                let standing = member.standing_of(&record.ids);
                pen.withdraw(&self.terms, member, &standing);
            }
            Change::Announce {
                attributes, via, ..
            } if !member.has_room_for(pen, &record.ids) => {
                pen.announce(&self.terms, member, (attributes, *via), &record.ids);
            }
            &Change::Announce { family, .. } => {
                let updates = self.write(sequence, pen);
                let Some(record) = self.log.record(sequence) else {
                    return;
                };
                if updates > 0 {
                    pen.note_announced(member, family, &record.ids);
                } else {
                    // The attributes do not fit into a message. What they replace must not stay.
                    let standing = member.standing_of(&record.ids);
                    pen.withdraw(&self.terms, member, &standing);
                }
            }
            &Change::Withdraw { family } => {
                member.no_longer_held(&record.ids);
                if !member.has_all(&record.ids) {
                    let standing = member.standing_of(&record.ids);
                    return pen.withdraw(&self.terms, member, &standing);
                }
                self.write(sequence, pen);
                if let Some(record) = self.log.record(sequence) {
                    pen.note_withdrawn(member, family, &record.ids);
                }
            }
        }
    }

    /// Appends the record's UPDATEs, which its first reader encodes for all. How many they are.
    fn write(&mut self, sequence: Sequence, pen: &mut Pen<'_>) -> u64 {
        if let Some(encoded) = self.log.encoded(sequence) {
            pen.copy(encoded);
            return encoded.updates;
        }
        let Some(record) = self.log.record(sequence) else {
            return 0;
        };
        let start = pen.out.len();
        let updates = pen.encode(&self.terms, record);
        self.log.note_encoded(sequence, &pen.out[start..], updates);
        updates
    }

    /// All that is desired, ordered so that equal attributes are together: a walk packs them well.
    pub(super) fn plan(&mut self) -> Arc<[NlriId]> {
        // From here on a change is in a record behind the cursor of who walks.
        self.log.close_all();
        if let Some(plan) = &self.plan {
            return plan.clone();
        }
        #[cfg(test)]
        {
            self.plans += 1;
        }
        let key = |(id, desired): (NlriId, &Desired)| {
            let serial = desired.attributes.as_ref()?.serial();
            Some((serial, id))
        };
        let mut keys: Vec<(u64, NlriId)> = self.desired.iter().filter_map(key).collect();
        keys.sort_unstable();
        let plan: Arc<[NlriId]> = keys.into_iter().map(|(_, id)| id).collect();
        self.plan = Some(plan.clone());
        plan
    }

    /// Paths that are desired, when there are no members any more.
    pub(super) fn paths_desired(&self) -> impl Iterator<Item = PathSlot> {
        let desired = self.desired.iter();
        let paths = desired.filter(|(_, desired)| desired.attributes.is_some());
        paths.filter_map(|(id, _)| match id.kind() {
            NlriKind::Path(slot) => Some(slot),
            NlriKind::Prefix(_) => None,
        })
    }
}

impl Desired {
    pub(super) fn announced(&self) -> Option<(&Interned, Via)> {
        Some((self.attributes.as_ref()?, self.via))
    }
}

impl DesiredSet {
    pub(super) fn get(&self, id: NlriId) -> Option<&Desired> {
        match id.kind() {
            NlriKind::Prefix(id) => self.prefixes.get(id.index()),
            NlriKind::Path(slot) => self.paths.get(slot.0 as usize),
        }
    }

    fn get_mut(&mut self, id: NlriId) -> &mut Desired {
        let (all, index) = match id.kind() {
            NlriKind::Prefix(id) => (&mut self.prefixes, id.index()),
            NlriKind::Path(slot) => (&mut self.paths, slot.0 as usize),
        };
        if index >= all.len() {
            all.resize(index + 1, Desired::default());
        }
        &mut all[index]
    }

    fn take(&mut self, id: NlriId) -> Option<Desired> {
        self.get(id)?;
        Some(std::mem::take(self.get_mut(id)))
    }

    fn has(&self, id: NlriId) -> bool {
        self.get(id)
            .is_some_and(|desired| desired.attributes.is_some())
    }

    fn sequence(&self, id: NlriId) -> Sequence {
        self.get(id).map_or(0, |desired| desired.sequence)
    }

    /// In order of number, also those of which nothing is desired.
    fn iter(&self) -> impl Iterator<Item = (NlriId, &Desired)> {
        let prefixes = self.prefixes.iter().zip(0..);
        let prefixes = prefixes.map(|(desired, number)| (NlriId::from(PrefixId(number)), desired));
        let paths = self.paths.iter().zip(0..);
        let paths = paths.map(|(desired, number)| (NlriId::from(PathSlot(number)), desired));
        prefixes.chain(paths)
    }
}

fn nlri(entry: &Entry, path_id: u16) -> Nlri {
    Nlri {
        prefix: entry.prefix,
        path_id: path_id.into(),
    }
}

/// Which paths of a prefix a group is offered, by index: the best, or with ADD-PATH (RFC 7911) those that may be
/// chosen, as the decision ranks them where not all are wanted. What of these must not go to the members is not
/// made up for by others, as it is not where only the best goes out.
pub(super) fn offered(
    terms: &Terms,
    entry: &Entry,
    adj_ins: &AdjIns,
    options: &decision::Options,
) -> decision::Indices {
    let max = match terms.paths_sent {
        _ if !terms.sends_paths(Family::of(&entry.prefix)) => 1,
        PathsSent::Best => 1,
        PathsSent::All => {
            let eligible = |index: &usize| entry.paths[*index].verdict == Verdict::Eligible;
            return (0..entry.paths.len()).filter(eligible).collect();
        }
        PathsSent::BestOf(max) => max,
    };
    if max == 1 {
        return entry.best().map(|_| 0).into_iter().collect();
    }
    decision::rank(&adj_ins.candidates(&entry.paths), options, max)
}

/// With LLGR_STALE (RFC 9494 §4.2) where it is due, so that nobody beyond takes it for a path like others.
pub(super) fn before_dissemination(path: &Path, attributes: &mut Attributes) {
    if path.staleness == Staleness::LongLived && !attributes.communities.contains(&LLGR_STALE) {
        attributes.communities.push(LLGR_STALE);
    }
}

/// What a record leaves of a message for header and attributes, so that it usually is one UPDATE.
const RECORD_OCTETS_SPARE: usize = 256;
