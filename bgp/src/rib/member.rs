//! A peer in its group: how far it has read, what stands there, and what it may not have for want of room.
//!
//! A peer with a limit (`prefix_limits_out`) reads the same log as the others. What is new there beyond the
//! limit is *held*, and goes out when a withdrawal has made room: which of the prefixes those are that stand
//! depends on who came first, how many there are does not.

use std::net::Ipv4Addr;

use super::group::{Desired, Group};
use super::ids::{NlriId, NlriSet};
use super::log::Sequence;
use super::pen::{Names, Pen};
use super::per_family::PerFamily;
use super::walk::Walk;
use crate::event::PeerId;
use crate::wire::Family;

/// What was agreed on with one peer and does not concern the others of its group.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct MemberTerms {
    /// Most announcements that may stand.
    pub(crate) limits: PerFamily<Option<usize>>,
    /// The beginning and the end of a refresh are marked (RFC 7313).
    pub(crate) marks_refresh: bool,
}

/// One peer's place in its group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) group: u64,
    pub(super) cursor: Sequence,
    pub(super) walk: Option<Walk>,
    /// Families whose End-of-RIB is not out.
    pub(super) end_of_rib: Vec<Family>,
    /// Families that the peer has asked for once more.
    pub(super) refresh: Vec<Family>,
    /// The one that it has been told the beginning of (BoRR, RFC 7313 §4).
    pub(super) refreshing: Option<Family>,
    pub(super) idle: bool,
    /// The announcements that stand at the peer.
    standing: NlriSet,
    standing_count: PerFamily<usize>,
    own: MemberTerms,
    /// What should stand and does not, because of the limit. What nobody desires any more may be in it.
    held: NlriSet,
    is_full: PerFamily<bool>,
}

impl Member {
    pub(super) fn new(end_of_rib: Vec<Family>, own: MemberTerms) -> Member {
        Member {
            group: 0,
            cursor: 0,
            walk: None,
            end_of_rib,
            refresh: Vec::new(),
            refreshing: None,
            idle: false,
            standing: NlriSet::default(),
            standing_count: PerFamily::default(),
            own,
            held: NlriSet::default(),
            is_full: PerFamily::default(),
        }
    }

    /// The next family to be sent once more. Markers do not go before End-of-RIB (RFC 7313 §4).
    pub(super) fn next_refresh(&mut self) -> Option<Family> {
        let ready = |family: &Family| !self.own.marks_refresh || !self.end_of_rib.contains(family);
        let index = self.refresh.iter().position(ready)?;
        Some(self.refresh.remove(index))
    }

    pub(super) fn standing(&self) -> &NlriSet {
        &self.standing
    }

    pub(super) fn standing_count(&self, family: Family) -> usize {
        self.standing_count[family]
    }

    pub(super) fn standing_of(&self, ids: &[NlriId]) -> Vec<NlriId> {
        let ids = ids.iter().copied();
        ids.filter(|&id| self.standing.contains(id)).collect()
    }

    /// All of these stand there.
    pub(super) fn has_all(&self, ids: &[NlriId]) -> bool {
        ids.iter().all(|&id| self.standing.contains(id))
    }

    /// False when it stood there before.
    pub(super) fn note_announced(&mut self, family: Family, id: NlriId) -> bool {
        let is_new = self.standing.insert(id);
        if is_new {
            self.standing_count[family] += 1;
            self.held.remove(id);
        }
        is_new
    }

    /// False when it did not stand there.
    pub(super) fn note_withdrawn(&mut self, family: Family, id: NlriId) -> bool {
        let was = self.standing.remove(id);
        if was {
            self.standing_count[family] -= 1;
        }
        was
    }

    pub(super) fn set_limits(&mut self, limits: PerFamily<Option<usize>>) {
        self.own.limits = limits;
    }

    /// BoRR and EoRR are said (RFC 7313 §4).
    pub(super) fn marks_refresh(&self) -> bool {
        self.own.marks_refresh
    }

    /// Whether all of these, which are of one family, may stand.
    pub(super) fn has_room_for(&self, pen: &Pen<'_>, ids: &[NlriId]) -> bool {
        let Some(family) = ids.first().map(|&id| pen.names.family(id)) else {
            return true;
        };
        let Some(room) = self.room(family) else {
            return true;
        };
        ids.len() <= room || self.new_of(ids) <= room
    }

    /// Those of these, which are of one family, that may stand. The others are held.
    pub(super) fn admit(&mut self, names: &Names<'_>, ids: &[NlriId]) -> Vec<NlriId> {
        let family = ids.first().map(|&id| names.family(id));
        let Some((family, mut room)) = family.and_then(|f| Some((f, self.room(f)?))) else {
            return ids.to_vec();
        };
        let mut admitted = Vec::with_capacity(ids.len());
        for &id in ids {
            if self.standing.contains(id) {
                admitted.push(id);
            } else if room > 0 {
                room -= 1;
                admitted.push(id);
            } else {
                self.held.insert(id);
                self.is_full[family] = true;
            }
        }
        admitted
    }

    pub(super) fn no_longer_held(&mut self, ids: &[NlriId]) {
        if self.held.len() > 0 {
            for &id in ids {
                self.held.remove(id);
            }
        }
    }

    /// The peer has come into another group, whose walk will hold what must be held.
    pub(super) fn hold_nothing(&mut self) {
        self.held = NlriSet::default();
    }

    /// The limit that holds it.
    pub(super) fn held_by(&self, id: NlriId, family: Family) -> Option<usize> {
        self.own.limits[family].filter(|_| self.held.contains(id))
    }

    pub(super) fn held(&self) -> impl Iterator<Item = NlriId> {
        self.held.iter()
    }

    /// Announces what was held, as far as there is room now; true when there was something.
    pub(super) fn release_held(&mut self, peer: PeerId, group: &Group, pen: &mut Pen<'_>) -> bool {
        let mut room = PerFamily::default();
        for family in Family::ALL {
            room[family] = self.room(family).unwrap_or(usize::MAX);
        }
        if Family::ALL.iter().all(|&family| room[family] == 0) {
            return false;
        }
        let mut out: Vec<(Family, u64, Option<Ipv4Addr>, NlriId)> = Vec::new();
        let mut undesired: Vec<NlriId> = Vec::new();
        for id in self.held.iter() {
            let desired = group.desired.get(id).filter(|_| group.desires(id, peer));
            let Some((attributes, via)) = desired.and_then(Desired::announced) else {
                undesired.push(id);
                continue;
            };
            let family = pen.names.family(id);
            if room[family] > 0 {
                room[family] -= 1;
                out.push((family, attributes.serial(), via.originator(), id));
            }
        }
        self.no_longer_held(&undesired);
        out.sort_unstable();
        for run in out.chunk_by(|a, b| (a.0, a.1, a.2) == (b.0, b.1, b.2)) {
            let ids: Vec<NlriId> = run.iter().map(|&(.., id)| id).collect();
            self.no_longer_held(&ids);
            let desired = ids.first().and_then(|&id| group.desired.get(id));
            if let Some(announced) = desired.and_then(Desired::announced) {
                pen.announce(&group.terms, self, announced, &ids);
            }
        }
        for family in Family::ALL {
            if room[family] > 0 {
                self.is_full[family] = false;
            }
        }
        !out.is_empty()
    }

    /// Families of which something has been held since there was room last.
    pub(super) fn is_full(&self) -> PerFamily<bool> {
        self.is_full
    }

    /// How many announcements more may stand; `None`: as many as there are.
    fn room(&self, family: Family) -> Option<usize> {
        let limit = self.own.limits[family]?;
        Some(limit.saturating_sub(self.standing_count[family]))
    }

    fn new_of(&self, ids: &[NlriId]) -> usize {
        let is_new = |id: &&NlriId| !self.standing.contains(**id);
        ids.iter().filter(is_new).count()
    }
}
