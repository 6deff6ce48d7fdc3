//! This node's confirmed blocks in memory, with their revisions, so that an assignment needs no list.
//!
//! What is cached may be old: the compare-and-swap notices, and the block is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::IpNet;

use super::block;
use super::own::Waiting;
use crate::resources::IPAMBlock;
use crate::store::Stored;

/// The blocks of this node.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    loaded: bool,
    blocks: BTreeMap<IpNet, Arc<Slot>>,
}

/// One block.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) cidr: IpNet,
    /// As last read or written; `None` when it must be read. Held for the time of one compare-and-swap.
    pub(crate) block: tokio::sync::Mutex<Option<Stored<IPAMBlock>>>,
    /// Requests that the next write of the block serves.
    queue: Mutex<Vec<Waiting>>,
    room: Mutex<Room>,
}

#[derive(Debug, Default)]
struct Room {
    /// Free addresses of the block as last seen.
    free: usize,
    /// Requests on their way to it.
    reserved: usize,
    /// Who had addresses of it.
    handles: BTreeSet<String>,
}

/// A request's place in a block, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) slot: Arc<Slot>,
}

impl Cache {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.lock().loaded
    }

    /// Takes over what the store says; blocks that are known already keep their state.
    pub(crate) fn load(&self, blocks: Vec<Stored<IPAMBlock>>) {
        let mut state = self.lock();
        state.loaded = true;
        let mut old = std::mem::take(&mut state.blocks);
        for stored in blocks {
            let cidr = stored.spec.cidr;
            let slot = old.remove(&cidr).unwrap_or_else(|| Slot::of(stored));
            state.blocks.insert(cidr, slot);
        }
    }

    pub(crate) fn insert(&self, stored: Stored<IPAMBlock>) {
        self.lock()
            .blocks
            .insert(stored.spec.cidr, Slot::of(stored));
    }

    pub(crate) fn remove(&self, cidr: &IpNet) {
        self.lock().blocks.remove(cidr);
    }

    pub(crate) fn slot(&self, cidr: &IpNet) -> Option<Arc<Slot>> {
        self.lock().blocks.get(cidr).cloned()
    }

    pub(crate) fn slots(&self) -> Vec<Arc<Slot>> {
        self.lock().blocks.values().cloned().collect()
    }

    /// A place in the first block inside one of these ranges that has room; ranges in order of preference.
    pub(crate) fn reserve(&self, ranges: &[IpNet], except: &[IpNet]) -> Option<Place> {
        let state = self.lock();
        ranges
            .iter()
            .flat_map(|range| {
                let blocks = state.blocks.values();
                blocks.filter(move |slot| range.contains(&slot.cidr))
            })
            .filter(|slot| !except.contains(&slot.cidr))
            .find_map(|slot| slot.reserve())
    }

    /// Free addresses in the blocks inside a range.
    pub(crate) fn free_in(&self, range: &IpNet) -> usize {
        let state = self.lock();
        let blocks = state.blocks.values();
        blocks
            .filter(|slot| range.contains(&slot.cidr))
            .map(|slot| {
                let room = slot.room();
                room.free.saturating_sub(room.reserved)
            })
            .sum()
    }

    /// How many blocks of that family there are.
    pub(crate) fn count(&self, like: &IpNet) -> usize {
        let same = |cidr: &&IpNet| {
            matches!(
                (cidr, like),
                (IpNet::V4(_), IpNet::V4(_)) | (IpNet::V6(_), IpNet::V6(_))
            )
        };
        self.lock().blocks.keys().filter(same).count()
    }
}

impl Slot {
    fn of(stored: Stored<IPAMBlock>) -> Arc<Slot> {
        Arc::new(Slot {
            cidr: stored.spec.cidr,
            queue: Mutex::default(),
            room: Mutex::new(Room {
                free: block::free(&stored.spec),
                reserved: 0,
                handles: block::handles(&stored.spec),
            }),
            block: tokio::sync::Mutex::new(Some(stored)),
        })
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes who is in the block by now, and how many addresses of it may be given.
    pub(crate) fn saw(&self, block: &IPAMBlock, free: usize) {
        let mut room = self.room();
        room.free = free;
        room.handles = block::handles(block);
    }

    /// Whether a handle had addresses of it when it was last seen.
    pub(crate) fn holds(&self, handle: &str) -> bool {
        self.room().handles.contains(block::plain(handle))
    }

    fn queue(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn enqueue(&self, waiting: Waiting) {
        self.queue().push(waiting);
    }

    /// Those that wait, in order. Who takes them answers them.
    pub(crate) fn take_waiting(&self) -> Vec<Waiting> {
        std::mem::take(&mut *self.queue())
    }

    fn reserve(self: &Arc<Self>) -> Option<Place> {
        let mut room = self.room();
        if room.free <= room.reserved {
            return None;
        }
        room.reserved += 1;
        Some(Place {
            slot: Arc::clone(self),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.slot.room().reserved -= 1;
    }
}
