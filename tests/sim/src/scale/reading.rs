//! UPDATEs to light nodes, decoded. The same octets go to thousands of them and are decoded once.

use std::sync::Arc;

use caracal_bgp::wire::{Codec, Family, Message};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::blocks;
use super::shape::Shape;
use crate::speakers::next_hop;

/// What an UPDATE says of blocks.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) announced: Vec<u32>,
    pub(super) withdrawn: Vec<u32>,
    /// Prefixes that are no blocks, announcements that do not name the block's own node as next hop, and errors.
    pub(super) wrong: u32,
    /// End-of-RIB (RFC 4724 §2).
    pub(super) ends_rib: bool,
}

/// Reads UPDATEs, and remembers what it has read.
#[derive(Debug)]
pub(super) struct Reader {
    shape: Shape,
    codec: Codec,
    known: HashMap<Box<[u8]>, Arc<Reading>, FixedState>,
}

impl Reader {
    pub(super) fn new(shape: Shape) -> Reader {
        Reader {
            shape,
            // What light nodes agree on with everybody.
            codec: Codec {
                four_octet_as: true,
                message_octets_max: 65_535,
                families: vec![Family::Ipv4Unicast],
                ..Codec::initial()
            },
            known: HashMap::with_hasher(FixedState::default()),
        }
    }

    pub(super) fn read(&mut self, message: &[u8]) -> Arc<Reading> {
        if let Some(reading) = self.known.get(message) {
            return reading.clone();
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let reading = Arc::new(self.decode(message));
        self.known.insert(message.into(), reading.clone());
        reading
    }

    fn decode(&self, message: &[u8]) -> Reading {
        let Ok(Message::Update(update)) = self.codec.decode(message) else {
            return Reading {
                wrong: 1,
                ..Reading::default()
            };
        };
        let mut reading = Reading {
            wrong: update.errors.len() as u32,
            ends_rib: update.end_of_rib == Some(Family::Ipv4Unicast),
            ..Reading::default()
        };
        for nlri in &update.withdrawn {
            match blocks::number(&nlri.prefix, self.shape.blocks()) {
                Some(block) => reading.withdrawn.push(block as u32),
                None => reading.wrong += 1,
            }
        }
        for nlri in &update.announced {
            let block = blocks::number(&nlri.prefix, self.shape.blocks()).filter(|&block| {
                let owner = next_hop(self.shape.owner(block), &nlri.prefix);
                update.attributes.next_hop == Some(owner)
            });
            match block {
                Some(block) => reading.announced.push(block as u32),
                None => reading.wrong += 1,
            }
        }
        reading
    }
}

const KNOWN_MAX: usize = 200_000;
