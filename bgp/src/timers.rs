//! When which peer wants to be woken.
//!
//! A peer's deadlines move with each message that arrives, nearly always to later. So the queue is lazy: a
//! peer is in it with a time that is not after its first deadline, is looked at when that time has come, and
//! is queued anew. Moving a hold timer costs nothing that way, whatever the number of peers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::PeerId;
use crate::time::Time;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Time, PeerId)>>);

impl Timers {
    /// Brings `queued`, what the queue knows of the peer, in line with its first deadline.
    pub(crate) fn queue(
        &mut self,
        peer: PeerId,
        deadline: Option<Time>,
        queued: &mut Option<Time>,
    ) {
        if let Some(deadline) = deadline
            && queued.is_none_or(|queued| deadline < queued)
        {
            self.0.push(Reverse((deadline, peer)));
            *queued = Some(deadline);
        }
    }

    /// The next entry that is due. It counts only if the peer still is queued at that time.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Time, PeerId)> {
        let Reverse(first) = *self.0.peek()?;
        if first.0 > now {
            return None;
        }
        self.0.pop();
        Some(first)
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((time, _))| *time)
    }
}
