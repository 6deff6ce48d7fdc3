//! Adj-RIBs-Out (RFC 4271 §3.2): what each peer should have, what it has, and how it gets the rest.
//!
//! *Desired* is one array for a [`Group`] of peers with equal terms. *Actual* is a set of prefixes for each
//! [`Member`]: the announcements that stand there. *Pending* is what the group's log has after the member's
//! cursor, and for a new member (or one whose terms changed, or that asked for a refresh) a walk of the
//! desired. The log goes before the walk, so news are never behind the table, and what the walk says is
//! always the newest.
//!
//! Nothing is sent here: a member's cursor moves when its connection has room, in [`AdjOuts::transmit`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::AdjIns;
use super::group::{Desired, Group};
use super::ids::{IdSet, PrefixId};
use super::intern::Interner;
use super::log::Sequence;
use super::pen::{Pen, Sent};
use super::table::Table;
use super::walk::Walk;
use crate::disseminate::Terms;
use crate::event::PeerId;
use crate::wire::{Family, RouteRefreshKind};

/// All groups and members.
#[derive(Debug)]
pub(crate) struct AdjOuts {
    groups: BTreeMap<GroupId, Group>,
    members: HashMap<PeerId, Member, FixedState>,
    next_group: GroupId,
    /// Members that were at the end of their log and have something to read now.
    woken: VecDeque<PeerId>,
}

type GroupId = u64;

/// One peer's place in its group.
#[derive(Debug)]
pub(super) struct Member {
    group: GroupId,
    cursor: Sequence,
    /// The announcements that stand at the peer.
    pub(super) standing: IdSet,
    pub(super) walk: Option<Walk>,
    /// Families whose End-of-RIB is not out.
    end_of_rib: Vec<Family>,
    /// Families that the peer has asked for once more.
    refresh: Vec<Family>,
    /// The one that it has been told the beginning of (BoRR, RFC 7313 §4).
    refreshing: Option<Family>,
    idle: bool,
}

impl AdjOuts {
    pub(crate) fn new() -> AdjOuts {
        AdjOuts {
            groups: BTreeMap::new(),
            members: HashMap::with_hasher(FixedState::default()),
            next_group: 0,
            woken: VecDeque::new(),
        }
    }

    /// The peer's session is up: it gets everything, and then End-of-RIB.
    pub(super) fn join(&mut self, peer: PeerId, terms: Terms, rib: &mut Inputs<'_>) {
        let end_of_rib = terms.codec.families.iter().rev().copied().collect();
        let member = Member {
            group: 0,
            cursor: 0,
            standing: IdSet::default(),
            walk: None,
            end_of_rib,
            refresh: Vec::new(),
            refreshing: None,
            idle: false,
        };
        self.members.insert(peer, member);
        self.enter(peer, terms, rib, Walk::initial);
    }

    /// The peer's session is down. Returns what stood there.
    pub(super) fn leave(&mut self, peer: PeerId) -> IdSet {
        self.exit(peer);
        self.members
            .remove(&peer)
            .map(|member| member.standing)
            .unwrap_or_default()
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
        self.enter(peer, terms, rib, Walk::everything);
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

    /// The best path of the prefix, or what may be said of it, has changed.
    pub(super) fn update(&mut self, id: PrefixId, rib: &mut Inputs<'_>) {
        for group in self.groups.values_mut() {
            let (attributes, from) = group.evaluate(rib.table.entry(id), rib.adj_ins, rib.interner);
            if !group.set(id, &rib.table.entry(id).prefix, attributes, from) {
                continue;
            }
            for peer in group.idle.drain(..) {
                if let Some(member) = self.members.get_mut(&peer) {
                    member.idle = false;
                    self.woken.push_back(peer);
                }
            }
        }
    }

    /// The table has released the id.
    pub(super) fn forget(&mut self, id: PrefixId) {
        for group in self.groups.values_mut() {
            if let Some(desired) = group.desired.get_mut(id.index()) {
                group.log.supersede(desired.sequence);
                *desired = Desired::default();
            }
        }
    }

    /// A member that has something to read.
    pub(crate) fn poll_woken(&mut self) -> Option<PeerId> {
        self.woken.pop_front()
    }

    pub(crate) fn standing(&self, peer: PeerId) -> Option<&IdSet> {
        self.members.get(&peer).map(|member| &member.standing)
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
    ) -> (Sent, Vec<PrefixId>) {
        let mut pen = Pen {
            table,
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
            } else if may_end && let Some(family) = member.end_of_rib.pop() {
                group.terms.codec.encode_end_of_rib(family, pen.out);
                pen.sent.updates += 1;
            } else if let Some(family) = member.next_refresh(&group.terms) {
                // The log has been read: what is desired now is all that is said between the markers.
                if group.terms.codec.enhanced_route_refresh {
                    pen.marker(&group.terms, family, RouteRefreshKind::Begin);
                    member.refreshing = Some(family);
                }
                member.walk = Some(Walk::refresh(group.plan(), family));
            } else {
                member.cursor = group.log.end();
                if !member.idle {
                    member.idle = true;
                    group.idle.push(peer);
                }
                break;
            }
        }
        (pen.sent, pen.gone)
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

    fn enter(
        &mut self,
        peer: PeerId,
        terms: Terms,
        rib: &mut Inputs<'_>,
        walk: impl FnOnce(Arc<[PrefixId]>) -> Walk,
    ) {
        let known = self
            .groups
            .iter()
            .find(|(_, group)| group.terms == terms)
            .map(|(&id, _)| id);
        let id = known.unwrap_or_else(|| {
            self.next_group += 1;
            self.groups.insert(self.next_group, Group::new(terms, rib));
            self.next_group
        });
        let (Some(group), Some(member)) = (self.groups.get_mut(&id), self.members.get_mut(&peer))
        else {
            return;
        };
        group.members += 1;
        member.group = id;
        member.walk = Some(walk(group.plan()));
        member.cursor = group.log.end();
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
        if group.members == 0 {
            self.groups.remove(&member.group);
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

impl Member {
    /// The next family to be sent once more. Markers do not go before End-of-RIB (RFC 7313 §4).
    fn next_refresh(&mut self, terms: &Terms) -> Option<Family> {
        let ready = |family: &Family| {
            !terms.codec.enhanced_route_refresh || !self.end_of_rib.contains(family)
        };
        let index = self.refresh.iter().position(ready)?;
        Some(self.refresh.remove(index))
    }

    pub(super) fn standing_of(&self, ids: &[PrefixId]) -> Vec<PrefixId> {
        ids.iter()
            .copied()
            .filter(|&id| self.standing.contains(id))
            .collect()
    }
}

/// What a change of the tables is made from.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) table: &'a Table,
    pub(super) adj_ins: &'a AdjIns,
    pub(super) interner: &'a mut Interner,
}
