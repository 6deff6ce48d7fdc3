//! A member is told what is desired from the beginning, a message at a time.

use std::sync::Arc;

use super::group::{Desired, Group};
use super::ids::NlriId;
use super::intern::Interned;
use super::member::Member;
use super::pen::{Pen, octets};
use super::via::Via;
use crate::event::PeerId;
use crate::wire::Family;

/// How far a member has come.
#[derive(Debug)]
pub(super) struct Walk {
    /// All that was desired at the first step. What came later is in the log. It is not made before: of those
    /// who come at once, the later ones bring what the first ones would have to be told anew.
    plan: Option<Arc<[NlriId]>>,
    at: usize,
    /// Announce also what stands there already.
    again: bool,
    /// Only this family.
    only: Option<Family>,
    /// First withdraw what stands there and is not desired.
    sweep: bool,
}

impl Walk {
    /// For a new session, where nothing stands but what the log has brought meanwhile.
    pub(super) fn initial() -> Walk {
        Walk {
            plan: None,
            at: 0,
            again: false,
            only: None,
            sweep: false,
        }
    }

    /// For a session that may have anything.
    pub(super) fn everything() -> Walk {
        Walk {
            again: true,
            sweep: true,
            ..Walk::initial()
        }
    }

    /// For a peer that has asked (RFC 2918 §4).
    pub(super) fn refresh(family: Family) -> Walk {
        Walk {
            again: true,
            only: Some(family),
            ..Walk::initial()
        }
    }

    /// Writes the next prefixes that have equal attributes; true when the walk is over. The member has
    /// read its log to the end.
    pub(super) fn step(
        &mut self,
        peer: PeerId,
        member: &mut Member,
        group: &mut Group,
        pen: &mut Pen<'_>,
    ) -> bool {
        let plan = self.plan.get_or_insert_with(|| group.plan()).clone();
        if std::mem::take(&mut self.sweep) {
            let undesired = |&id: &NlriId| !group.desires(id, peer);
            let gone: Vec<NlriId> = member.standing().iter().filter(undesired).collect();
            pen.withdraw(&group.terms, member, &gone);
            return false;
        }
        type Mine<'a> = Option<(&'a Interned, Via, Family)>;
        // Whom it came from does not matter, as far as it is not seen.
        let key =
            |mine: Mine<'_>| mine.map(|(it, via, family)| (it.serial(), via.originator(), family));
        let mut run: Vec<NlriId> = Vec::new();
        let mut attributes: Mine<'_> = None;
        let mut left = group.terms.codec.message_octets_max;
        while let Some(&id) = plan.get(self.at) {
            if group.desires(id, peer) && (self.again || !member.standing().contains(id)) {
                let nlri = pen.names.nlri(id);
                let family = Family::of(&nlri.prefix);
                if self.only.is_none_or(|only| only == family) {
                    let desired = group.desired.get(id);
                    let announced = desired.and_then(Desired::announced);
                    let mine = announced.map(|(attributes, via)| (attributes, via, family));
                    let fits = attributes.is_none() || key(attributes) == key(mine);
                    if !fits || left < octets(&nlri) {
                        break;
                    }
                    attributes = mine;
                    left -= octets(&nlri);
                    run.push(id);
                }
            }
            self.at += 1;
        }
        if let Some((attributes, via, _)) = attributes {
            pen.announce(&group.terms, member, (attributes, via), &run);
        }
        self.at >= plan.len()
    }
}

impl Group {
    /// Whether the peer should have it.
    pub(super) fn desires(&self, id: NlriId, peer: PeerId) -> bool {
        self.desired
            .get(id)
            .is_some_and(|desired| desired.attributes.is_some() && desired.via.peer() != Some(peer))
    }
}
