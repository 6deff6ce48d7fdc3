//! The peers by id, which is asked for with every message.

use crate::event::PeerId;
use crate::peer::Peer;

/// All configured peers. An id is an index; what a removed peer leaves is eight octets.
#[derive(Debug, Default)]
pub(crate) struct Peers(Vec<Option<Box<Peer>>>);

impl Peers {
    /// The id of the peer that is inserted next.
    pub(crate) fn next_id(&self) -> PeerId {
        // Four thousand million peers are not configured in the life of a process.
        PeerId(self.0.len() as u32)
    }

    /// Its id must be `next_id`.
    pub(crate) fn insert(&mut self, peer: Peer) {
        debug_assert_eq!(peer.id, self.next_id());
        self.0.push(Some(Box::new(peer)));
    }

    pub(crate) fn get(&self, id: &PeerId) -> Option<&Peer> {
        self.0.get(id.0 as usize)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: &PeerId) -> Option<&mut Peer> {
        self.0.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(crate) fn remove(&mut self, id: &PeerId) -> Option<Peer> {
        self.0.get_mut(id.0 as usize)?.take().map(|peer| *peer)
    }

    /// In order of id.
    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.0.iter().flatten().map(|peer| peer.id).collect()
    }
}
