//! Paths come and go: what an UPDATE does to the RIBs, and what a change of policy does.

use super::Speaker;
use super::again::keeps_received;
use crate::event::{Event, PeerId};
use crate::import::{Importer, Verdict};
use crate::judgements::Judgements;
use crate::rib::{PerFamily, Rib, Source};
use crate::time::Time;
use crate::wire::{Attributes, Codec, Family, Nlri, Update};

impl Speaker {
    pub(super) fn update(&mut self, now: Time, id: PeerId, mut update: Box<Update>) {
        if !update.errors.is_empty()
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.errors.count_update(&update.errors);
        }
        for error in update.errors.drain(..) {
            self.events.push_back(Event::UpdateError {
                peer: id,
                detail: error.to_string(),
            });
        }
        let Some(peer) = self.peers.get(&id) else {
            return;
        };
        let (Some(agreed), Some(importer)) = (peer.negotiated(), &peer.importer) else {
            return;
        };
        let families = agreed.families();
        let mut phase1 = Phase1 {
            peer: id,
            importer,
            codec: &agreed.codec,
            paths_max: peer.config.add_path.receive_max,
            rib: &mut self.rib,
            keeps_received: keeps_received(peer),
            refused: Vec::new(),
        };

        phase1.withdraw(&update.withdrawn);
        let mut attributes = std::mem::take(&mut update.attributes);
        if let Some(mp) = update.mp_announced.take() {
            let others = (!update.announced.is_empty()).then(|| attributes.clone());
            (attributes.next_hop, attributes.next_hop_link_local) =
                (Some(mp.next_hop), mp.link_local);
            phase1.announce(attributes, &mp.prefixes);
            attributes = others.unwrap_or_default();
        }
        phase1.announce(attributes, &update.announced);

        let refused = phase1.refused;
        let ended = update.end_of_rib.filter(|family| families.contains(family));
        self.refuse_paths(id, &refused);
        self.note_room(now, id, &update.withdrawn);
        if let Some(family) = update.disable_family {
            // RFC 4760 §7. Nothing more will come of it, so nobody need wait for its end.
            self.events
                .push_back(Event::FamilyDisabled { peer: id, family });
            self.rib.drop_family(id, family);
            self.end_of_rib(id, family);
        } else if let Some(family) = ended {
            self.end_of_rib(id, family);
        }
        self.check_limits(now, id);
    }

    /// Families of which the peer has as much as it may have, and should have more.
    pub(super) fn note_full(&mut self, id: PeerId, full: PerFamily<bool>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let was_full = std::mem::replace(&mut peer.full, full);
        let is_news = |family: &Family| full[*family] && !was_full[*family];
        for family in Family::ALL.into_iter().filter(is_news) {
            if let Some(&limit) = peer.config.prefix_limits_out.get(&family) {
                self.events.push_back(Event::PrefixLimitOut {
                    peer: id,
                    family,
                    limit,
                });
            }
        }
    }

    /// Policies, next hops or our own addresses are others than before; the session goes on.
    pub(super) fn apply_policies(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(session) = peer.established() else {
            return;
        };
        let (importer, terms) = (
            peer.importer(&self.config, session),
            peer.terms(&self.config, session),
        );
        let keeps_received = keeps_received(peer);
        let is_other = peer.importer.as_ref() != Some(&importer);
        if keeps_received {
            let mut judgements = Judgements::default();
            self.rib.rejudge(id, |prefix, received, interner| {
                judgements
                    .judge(&importer, prefix, received, interner)
                    .clone()
            });
        }
        peer.importer = Some(importer);
        let (limits, kind) = (peer.limits_out(), peer.kind());
        self.rib.change_kind(id, kind);
        self.rib.change_limits(id, limits);
        if let Some(terms) = terms {
            self.rib.change_terms(id, terms);
        }
        if !keeps_received && is_other {
            self.ask_for_everything(id);
        }
    }
}

/// One UPDATE's way into the table.
struct Phase1<'a> {
    peer: PeerId,
    importer: &'a Importer,
    codec: &'a Codec,
    /// Most paths of a prefix that are kept where ADD-PATH was agreed on.
    paths_max: usize,
    rib: &'a mut Rib,
    keeps_received: bool,
    /// Those that were too many.
    refused: Vec<Nlri>,
}

impl Phase1<'_> {
    fn withdraw(&mut self, nlris: &[Nlri]) {
        for &Nlri { prefix, path_id } in nlris {
            let source = Source::Peer(self.peer, path_id);
            self.rib.remove_path(source, &prefix);
        }
    }

    fn announce(&mut self, attributes: Attributes, nlris: &[Nlri]) {
        if nlris.is_empty() {
            return;
        }
        let received = self.rib.intern(attributes);
        let mut judgements = Judgements::default();
        for &nlri in nlris {
            let Nlri { prefix, path_id } = nlri;
            let family = Family::of(&prefix);
            // What was not agreed on was not sent (RFC 4760 §8).
            if !self.codec.families.contains(&family) {
                continue;
            }
            let source = Source::Peer(self.peer, path_id);
            if self.codec.add_path_receive.contains(&family)
                && !self.rib.has_room(source, &prefix, self.paths_max)
            {
                self.refused.push(nlri);
                continue;
            }
            let (verdict, attributes) =
                judgements.judge(self.importer, &prefix, &received, self.rib.interner());
            if !self.keeps_received && *verdict == Verdict::Policy {
                self.rib.remove_path(source, &prefix);
                continue;
            }
            let is_other = self.keeps_received && *attributes != received;
            let different = is_other.then_some(&received);
            self.rib.set_path(source, prefix, attributes, *verdict);
            self.rib.keep_received(source, &prefix, different);
        }
    }
}
