//! Adj-RIBs-Out (RFC 4271 §3.2): what each peer should have, what it has, and how it gets the rest.
//!
//! *Desired* is one array for a [`Group`] of peers with equal terms: of prefixes, and with ADD-PATH (RFC 7911)
//! of single paths. *Actual* is a set of these for each [`Member`]: the announcements that stand there. *Pending* is what the group's log has after the member's
//! cursor, and for a new member (or one whose terms changed, or that asked for a refresh) a walk of the
//! desired. The log goes before the walk, so news are never behind the table, and what the walk says is
//! always the newest.
//!
//! Nothing is sent here: a member's cursor moves when its connection has room, in [`AdjOuts::transmit`].

use std::collections::{BTreeMap, VecDeque};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::AdjIns;
use super::group::Group;
use super::ids::{NlriId, PathSlot, PrefixId};
use super::intern::Interner;
use super::member::{Member, MemberTerms};
use super::paths::Paths;
use super::pen::{Names, Pen, Sent};
use super::per_family::PerFamily;
use super::table::Table;
use super::walk::Walk;
use crate::decision::Options;
use crate::disseminate::Terms;
use crate::event::PeerId;
use crate::wire::{Family, Nlri, RouteRefreshKind};

/// All groups and members.
#[derive(Debug)]
pub(crate) struct AdjOuts {
    groups: BTreeMap<GroupId, Group>,
    members: HashMap<PeerId, Member, FixedState>,
    paths: Paths,
    next_group: GroupId,
    /// Of the groups, those that get several paths of a prefix (RFC 7911).
    add_path_groups: usize,
    /// How often anything was encoded for the logs of groups that are gone.
    encodes_before: u64,
    /// Members that were at the end of their log and have something to read now.
    woken: VecDeque<PeerId>,
}

type GroupId = u64;

impl AdjOuts {
    pub(crate) fn new() -> AdjOuts {
        AdjOuts {
            groups: BTreeMap::new(),
            members: HashMap::with_hasher(FixedState::default()),
            paths: Paths::default(),
            next_group: 0,
            add_path_groups: 0,
            encodes_before: 0,
            woken: VecDeque::new(),
        }
    }

    /// The peer's session is up: it gets everything, and then End-of-RIB.
    pub(super) fn join(
        &mut self,
        peer: PeerId,
        terms: Terms,
        own: MemberTerms,
        rib: &mut Inputs<'_>,
    ) {
        let end_of_rib = terms.codec.families.iter().rev().copied().collect();
        self.members.insert(peer, Member::new(end_of_rib, own));
        self.enter(peer, terms, rib, Walk::initial());
    }

    /// The peer's session is down: nothing stands there. Returns what has been released.
    pub(super) fn leave(&mut self, peer: PeerId, table: &mut Table) -> Vec<NlriId> {
        self.exit(peer);
        let mut gone = Vec::new();
        if let Some(member) = self.members.remove(&peer) {
            let mut names = Names {
                table,
                paths: &mut self.paths,
            };
            for id in member.standing().iter() {
                names.fall(id, &mut gone);
            }
        }
        gone
    }

    /// The peer's terms have changed, its session not.
    pub(super) fn change_terms(&mut self, peer: PeerId, terms: Terms, rib: &mut Inputs<'_>) {
        let same = |member: &Member| {
            self.groups
                .get(&member.group)
                .is_some_and(|g| g.terms == terms)
        };
        if self.members.get(&peer).is_none_or(same) {
            return;
        }
        self.exit(peer);
        self.enter(peer, terms, rib, Walk::everything());
    }

    /// The peer may have more or fewer announcements than before. What stands there stays.
    pub(super) fn set_limits(&mut self, peer: PeerId, limits: PerFamily<Option<usize>>) {
        if let Some(member) = self.members.get_mut(&peer) {
            member.set_limits(limits);
            self.wake(peer);
        }
    }

    /// Route refresh (RFC 2918): the peer gets the family once more, after what it is being told now.
    pub(super) fn refresh(&mut self, peer: PeerId, family: Family) {
        if let Some(member) = self.members.get_mut(&peer)
            && !member.refresh.contains(&family)
        {
            member.refresh.push(family);
            self.wake(peer);
        }
    }

    /// End-of-RIB, which was held back, may go out.
    pub(super) fn wake_for_end_of_rib(&mut self) {
        let mut waiting: Vec<PeerId> = self
            .members
            .iter()
            .filter(|(_, m)| !m.end_of_rib.is_empty())
            .map(|(&peer, _)| peer)
            .collect();
        waiting.sort();
        for peer in waiting {
            self.wake(peer);
        }
    }

    /// Some group announces other paths than the best.
    pub(super) fn has_add_path(&self) -> bool {
        self.add_path_groups > 0
    }

    /// The paths of the prefix, or what may be said of them, have changed.
    pub(super) fn update(&mut self, id: PrefixId, rib: &mut Inputs<'_>) {
        for group in self.groups.values_mut() {
            if !group.update(id, rib, &mut self.paths) {
                continue;
            }
            for peer in group.idle.drain(..) {
                if let Some(member) = self.members.get_mut(&peer) {
                    member.idle = false;
                    self.woken.push_back(peer);
                }
            }
        }
        if self.has_add_path() {
            self.release_paths(self.paths.of_prefix(id).collect());
        }
    }

    /// The number has been released.
    pub(super) fn forget(&mut self, id: NlriId) {
        for group in self.groups.values_mut() {
            group.forget(id);
        }
    }

    /// A member that has something to read.
    pub(crate) fn poll_woken(&mut self) -> Option<PeerId> {
        self.woken.pop_front()
    }

    /// What stands at the peer; nothing without a session.
    pub(super) fn standing<'a>(
        &'a self,
        peer: PeerId,
        table: &'a Table,
    ) -> impl Iterator<Item = Nlri> + 'a {
        let member = self.members.get(&peer);
        let ids = member.into_iter().flat_map(|m| m.standing().iter());
        ids.map(|id| Nlri {
            prefix: table.entry(self.paths.prefix(id)).prefix,
            path_id: self.paths.path_id(id),
        })
    }

    /// Of a family, how many announcements stand at the peer, and how many should and do not because it
    /// may not have more.
    pub(super) fn count(&self, peer: PeerId, family: Family, table: &Table) -> (usize, usize) {
        let Some(member) = self.members.get(&peer) else {
            return (0, 0);
        };
        let family_of = |id| Family::of(&table.entry(self.paths.prefix(id)).prefix);
        let held = self.groups.get(&member.group).map_or(0, |group| {
            let of_family = |&id: &NlriId| group.desires(id, peer) && family_of(id) == family;
            member.held().filter(of_family).count()
        });
        (member.standing_count(family), held)
    }

    /// The limit because of which the announcement does not stand at the peer; path id zero: the prefix.
    pub(super) fn held_by(
        &self,
        peer: PeerId,
        prefix: PrefixId,
        path_id: u32,
        family: Family,
    ) -> Option<usize> {
        let id = match path_id {
            0 => prefix.into(),
            _ => self.paths.find(prefix, path_id)?.into(),
        };
        self.members.get(&peer)?.held_by(id, family)
    }

    /// Moves the peer's cursor until about `octets_max` octets are in `out`. End-of-RIB is held back
    /// unless `may_end`.
    pub(super) fn transmit(
        &mut self,
        peer: PeerId,
        table: &mut Table,
        may_end: bool,
        out: &mut Vec<u8>,
        octets_max: usize,
    ) -> (Sent, Vec<NlriId>) {
        let mut pen = Pen {
            names: Names {
                table,
                paths: &mut self.paths,
            },
            out,
            sent: Sent::default(),
            gone: Vec::new(),
        };
        let Some(member) = self.members.get_mut(&peer) else {
            return (pen.sent, pen.gone);
        };
        let Some(group) = self.groups.get_mut(&member.group) else {
            return (pen.sent, pen.gone);
        };
        let end = pen.out.len().saturating_add(octets_max);
        loop {
            if pen.out.len() >= end {
                pen.sent.more = true;
                break;
            }
            if let Some(sequence) = group.log.next_from(member.cursor) {
                group.read(peer, member, sequence, &mut pen);
                member.cursor = sequence + 1;
                group.log.passed(sequence);
            } else if let Some(mut walk) = member.walk.take() {
                if !walk.step(peer, member, group, &mut pen) {
                    member.walk = Some(walk);
                } else if let Some(family) = member.refreshing.take() {
                    pen.marker(&group.terms, family, RouteRefreshKind::End);
                }
            } else if member.release_held(peer, group, &mut pen) {
                // There was room again for what the peer could not have before.
            } else if may_end && let Some(family) = member.end_of_rib.pop() {
                group.terms.codec.encode_end_of_rib(family, pen.out);
                pen.sent.updates += 1;
            } else if let Some(family) = member.next_refresh() {
                // The log has been read: what is desired now is all that is said between the markers.
                if member.marks_refresh() {
                    pen.marker(&group.terms, family, RouteRefreshKind::Begin);
                    member.refreshing = Some(family);
                }
                member.walk = Some(Walk::refresh(family));
            } else {
                member.cursor = group.log.end();
                if !member.idle {
                    member.idle = true;
                    group.idle.push(peer);
                }
                break;
            }
        }
        pen.sent.full = member.is_full();
        (pen.sent, pen.gone)
    }

    /// How often anything was encoded to be shared by the members of a group.
    pub(super) fn encodes(&self) -> u64 {
        let logs = self.groups.values().map(|group| group.log.encodes);
        self.encodes_before + logs.sum::<u64>()
    }

    /// How often anything was encoded, and prefixes and octets that the logs hold.
    #[cfg(test)]
    pub(super) fn effort(&self) -> (u64, usize, usize) {
        let logs = self
            .groups
            .values()
            .map(|group| (group.log.encodes, group.log.size()));
        logs.fold((0, 0, 0), |sum, (encodes, (ids, octets))| {
            (sum.0 + encodes, sum.1 + ids, sum.2 + octets)
        })
    }

    /// How often a group has put in order what it desires.
    #[cfg(test)]
    pub(super) fn plans(&self) -> usize {
        self.groups.values().map(|group| group.plans).sum()
    }

    fn enter(&mut self, peer: PeerId, terms: Terms, rib: &mut Inputs<'_>, walk: Walk) {
        let known = self
            .groups
            .iter()
            .find(|(_, group)| group.terms == terms)
            .map(|(&id, _)| id);
        let id = known.unwrap_or_else(|| {
            self.next_group += 1;
            self.add_path_groups += usize::from(terms.sends_any_paths());
            let group = Group::new(terms, rib, &mut self.paths);
            self.groups.insert(self.next_group, group);
            self.next_group
        });
        let (Some(group), Some(member)) = (self.groups.get_mut(&id), self.members.get_mut(&peer))
        else {
            return;
        };
        group.members += 1;
        member.group = id;
        member.walk = Some(walk);
        // What comes from now on is behind the cursor, also where an open record could have taken it.
        group.log.close_all();
        member.cursor = group.log.end();
        member.hold_nothing();
        member.idle = false;
        self.woken.push_back(peer);
    }

    fn exit(&mut self, peer: PeerId) {
        let Some(member) = self.members.get(&peer) else {
            return;
        };
        let Some(group) = self.groups.get_mut(&member.group) else {
            return;
        };
        group.log.left(member.cursor);
        group.idle.retain(|&idle| idle != peer);
        group.members -= 1;
        if group.members == 0
            && let Some(group) = self.groups.remove(&member.group)
        {
            self.add_path_groups -= usize::from(group.terms.sends_any_paths());
            self.encodes_before += group.log.encodes;
            for slot in group.paths_desired() {
                self.paths.want(slot, false);
            }
            self.release_paths(group.paths_desired().collect());
        }
    }

    /// Forgets those of the paths that nobody desires and that stand nowhere.
    fn release_paths(&mut self, slots: Vec<PathSlot>) {
        for slot in slots {
            if self.paths.release(slot) {
                self.forget(slot.into());
            }
        }
    }

    fn wake(&mut self, peer: PeerId) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        if member.idle
            && let Some(group) = self.groups.get_mut(&member.group)
        {
            member.idle = false;
            group.idle.retain(|&idle| idle != peer);
        }
        self.woken.push_back(peer);
    }
}

/// What a change of the tables is made from.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) table: &'a Table,
    pub(super) adj_ins: &'a AdjIns,
    pub(super) interner: &'a mut Interner,
    pub(super) options: &'a Options,
}
