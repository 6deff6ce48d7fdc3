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

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId(7);

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn a_deadline_that_moves_to_later_wakes_once_at_the_old_time_and_then_at_the_new() {
        let (mut timers, mut queued) = (Timers::default(), None);
        timers.queue(PEER, Some(at(10)), &mut queued);
        timers.queue(PEER, Some(at(30)), &mut queued);
        assert_eq!((timers.first(), queued), (Some(at(10)), Some(at(10))));
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(10)), Some((at(10), PEER)));
        queued = None;
        timers.queue(PEER, Some(at(30)), &mut queued);
        assert_eq!(timers.first(), Some(at(30)));
    }

    #[test]
    fn a_deadline_that_moves_to_earlier_is_not_missed() {
        let (mut timers, mut queued) = (Timers::default(), None);
        timers.queue(PEER, Some(at(30)), &mut queued);
        timers.queue(PEER, Some(at(10)), &mut queued);
        assert_eq!(
            (timers.pop(at(10)), queued),
            (Some((at(10), PEER)), Some(at(10)))
        );
        assert_eq!(
            timers.first(),
            Some(at(30)),
            "which no longer counts: queued is not 30"
        );
    }
}
