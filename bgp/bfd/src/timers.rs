//! When which session wants to be woken.
//!
//! A session's detection time moves with each packet that arrives, nearly always to later. So the queue is lazy:
//! a session is in it with a time that is not after its first deadline, is looked at when that time has come, and
//! is queued anew. A packet received costs no queue operation that way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::Time;
use crate::event::SessionId;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(Time, SessionId)>>);

impl Timers {
    /// Brings `queued`, what the queue knows of the session, in line with its first deadline.
    pub(crate) fn queue(
        &mut self,
        session: SessionId,
        deadline: Option<Time>,
        queued: &mut Option<Time>,
    ) {
        if let Some(deadline) = deadline
            && queued.is_none_or(|queued| deadline < queued)
        {
            self.0.push(Reverse((deadline, session)));
            *queued = Some(deadline);
        }
    }

    /// The next entry that is due. It counts only if the session still is queued at that time.
    pub(crate) fn pop(&mut self, now: Time) -> Option<(Time, SessionId)> {
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
