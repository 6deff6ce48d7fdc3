//! Paths come and go: what an UPDATE does to the RIBs, and what a change of policy does.

use super::Speaker;
use crate::event::{Event, PeerId};
use crate::import::Importer;
use crate::judgements::Judgements;
use crate::rib::{Rib, Source};
use crate::time::Time;
use crate::wire::{Attributes, Family, Nlri, Update};

impl Speaker {
    pub(super) fn update(&mut self, now: Time, id: PeerId, mut update: Update) {
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
            families,
            rib: &mut self.rib,
        };

        phase1.withdraw(&update.withdrawn);
        let attributes = std::mem::take(&mut update.attributes);
        if let Some(mp) = update.mp_announced.take() {
            let next_hop = Some(mp.next_hop);
            phase1.announce(
                Attributes {
                    next_hop,
                    next_hop_link_local: mp.link_local,
                    ..attributes.clone()
                },
                &mp.prefixes,
            );
        }
        phase1.announce(attributes, &update.announced);

        if let Some(family) = update.disable_family {
            // RFC 4760 §7. Nothing more will come of it, so nobody need wait for its end.
            self.rib.drop_family(id, family);
            self.end_of_rib(id, family);
        } else if let Some(family) = update.end_of_rib.filter(|family| families.contains(family)) {
            self.end_of_rib(id, family);
        }
        self.check_limits(now, id);
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
        let mut judgements = Judgements::default();
        self.rib.rejudge(id, |prefix, received, interner| {
            judgements.judge(&importer, prefix, received, interner)
        });
        peer.importer = Some(importer);
        if let Some(terms) = terms {
            self.rib.change_terms(id, terms);
        }
    }
}

/// One UPDATE's way into the table.
struct Phase1<'a> {
    peer: PeerId,
    importer: &'a Importer,
    families: &'a [Family],
    rib: &'a mut Rib,
}

impl Phase1<'_> {
    // ADD-PATH is not agreed on by anyone yet, so a prefix says it all.
    fn withdraw(&mut self, prefixes: &[Nlri]) {
        for Nlri { prefix, .. } in prefixes {
            self.rib.remove_path(Source::Peer(self.peer), prefix);
        }
    }

    fn announce(&mut self, attributes: Attributes, prefixes: &[Nlri]) {
        if prefixes.is_empty() {
            return;
        }
        let received = self.rib.intern(attributes);
        let source = Source::Peer(self.peer);
        let mut judgements = Judgements::default();
        for Nlri { prefix, .. } in prefixes {
            // What was not agreed on was not sent (RFC 4760 §8).
            if !self.families.contains(&Family::of(prefix)) {
                continue;
            }
            let (verdict, attributes) =
                judgements.judge(self.importer, prefix, &received, self.rib.interner());
            let different = (attributes != received).then_some(&received);
            self.rib.set_path(source, *prefix, &attributes, verdict);
            self.rib.keep_received(source, prefix, different);
        }
    }
}
