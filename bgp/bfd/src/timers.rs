//! When which session wants to be woken.
//!
//! A session's detection time moves with each packet that arrives, nearly always to later. So the queue is lazy:
//! a session is in it with a time that is not after its first deadline, is looked at when that time has come, and
//! is queued anew. Hearing a packet costs no queue operation that way. It is in the queue once at most: the
//! neighbour has a say in how far away a deadline is, and must not have one in how long the queue gets.

use std::collections::BTreeSet;

use crate::Time;
use crate::event::SessionId;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Time, SessionId)>);

impl Timers {
    /// Brings `queued`, where the session is in the queue, in line with its first deadline.
    pub(crate) fn queue(
        &mut self,
        session: SessionId,
        deadline: Option<Time>,
        queued: &mut Option<Time>,
    ) {
        if let Some(deadline) = deadline
            && queued.is_none_or(|queued| deadline < queued)
        {
            self.forget(session, *queued);
            self.0.insert((deadline, session));
            *queued = Some(deadline);
        }
    }

    /// The session is gone.
    pub(crate) fn forget(&mut self, session: SessionId, queued: Option<Time>) {
        if let Some(queued) = queued {
            self.0.remove(&(queued, session));
        }
    }

    /// The next session whose time has come; it is no longer queued.
    pub(crate) fn pop(&mut self, now: Time) -> Option<SessionId> {
        let first = *self.0.first()?;
        if first.0 > now {
            return None;
        }
        self.0.pop_first();
        Some(first.1)
    }

    pub(crate) fn first(&self) -> Option<Time> {
        self.0.first().map(|(time, _)| *time)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
