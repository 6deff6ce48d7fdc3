//! What a light node has been told, a bit for each peer and block, in place of its tables.

use super::blocks::BlockSet;
use super::reading::Reading;
use super::shape::Shape;

/// The paths of a light node.
#[derive(Debug)]
pub struct Book {
    from: Vec<Pages>,
    /// Blocks that it knows from anybody.
    known: usize,
    /// Announcements that name another node than the block's own, or that are of no block.
    pub wrong: u64,
    /// How often the last way to a block was gone.
    pub lost: u64,
}

/// What one peer has said.
#[derive(Debug)]
struct Pages {
    fresh: BlockSet,
    /// Kept after the end of a session (RFC 4724 §4.2).
    stale: BlockSet,
    /// Counts sessions, so that the end of an older one's time is not taken for that of this.
    session: u32,
    is_up: bool,
}

impl Book {
    /// An empty book about `peers` peers.
    pub(super) fn new(peers: usize, blocks: usize) -> Book {
        let pages = |_| Pages {
            fresh: BlockSet::new(blocks),
            stale: BlockSet::new(blocks),
            session: 0,
            is_up: false,
        };
        Book {
            from: (0..peers).map(pages).collect(),
            known: 0,
            wrong: 0,
            lost: 0,
        }
    }

    /// How many blocks it knows.
    pub fn known(&self) -> usize {
        self.known
    }

    /// What the peer's present session has announced.
    pub fn fresh(&self, peer: usize) -> &BlockSet {
        &self.from[peer].fresh
    }

    /// How many are left of the peer's former session.
    pub fn stale(&self, peer: usize) -> usize {
        self.from[peer].stale.len()
    }

    /// An UPDATE to `host`. True when something is not as it was.
    pub(super) fn note(
        &mut self,
        shape: Shape,
        host: usize,
        peer: usize,
        update: &Reading,
    ) -> bool {
        self.wrong += u64::from(update.wrong);
        let mut is_other = false;
        for block in update.withdrawn.iter().map(|&block| block as usize) {
            let pages = &mut self.from[peer];
            if pages.fresh.remove(block) | pages.stale.remove(block) {
                is_other = true;
                self.note_gone(block);
            }
        }
        for block in update.announced.iter().map(|&block| block as usize) {
            if shape.owner(block) == host {
                // Our own, which a reflector has from another one: a loop (RFC 4456 §8).
                continue;
            }
            let is_new = !self.knows(block);
            self.from[peer].stale.remove(block);
            is_other |= self.from[peer].fresh.insert(block);
            self.known += usize::from(is_new);
        }
        if update.ends_rib {
            is_other = true;
            self.sweep(peer);
        }
        is_other
    }

    /// A session is up.
    pub(super) fn up(&mut self, peer: usize) {
        self.from[peer].session += 1;
        self.from[peer].is_up = true;
    }

    /// A session is over. Its number, for `time_over`.
    pub(super) fn down(&mut self, peer: usize, stale_kept: bool) -> u32 {
        let pages = &mut self.from[peer];
        pages.is_up = false;
        // What was stale already goes: it was not said again.
        let left: Vec<usize> = pages.stale.iter().collect();
        std::mem::swap(&mut pages.fresh, &mut pages.stale);
        pages.fresh.clear();
        for block in left {
            self.note_gone(block);
        }
        if !stale_kept {
            self.sweep(peer);
        }
        self.from[peer].session
    }

    /// Its Restart Time is over, and it has not come back.
    pub(super) fn time_over(&mut self, peer: usize, session: u32) -> bool {
        let pages = &self.from[peer];
        let is_due = !pages.is_up && pages.session == session && !pages.stale.is_empty();
        if is_due {
            self.sweep(peer);
        }
        is_due
    }

    fn sweep(&mut self, peer: usize) {
        let left: Vec<usize> = self.from[peer].stale.iter().collect();
        self.from[peer].stale.clear();
        for block in left {
            self.note_gone(block);
        }
    }

    /// It was in some set that it is not in any more.
    fn note_gone(&mut self, block: usize) {
        if !self.knows(block) {
            self.known -= 1;
            self.lost += 1;
        }
    }

    fn knows(&self, block: usize) -> bool {
        let mut pages = self.from.iter();
        pages.any(|pages| pages.fresh.contains(block) || pages.stale.contains(block))
    }
}
