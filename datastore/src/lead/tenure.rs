//! How long one may believe to lead. Pure: times are given, and only go forward.

use std::time::Duration;

use super::Attempt;
use crate::store::StoreError;

/// How long things take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// For so long after it was granted or renewed nobody else can have the seat.
    pub lease: Duration,
    /// For so long after a success was asked for one believes to have it.
    pub tenure: Duration,
    /// Between two renewals.
    pub renewal: Duration,
    /// Between two attempts of who does not lead.
    pub candidacy: Duration,
}

impl Default for Terms {
    fn default() -> Terms {
        Terms {
            lease: Duration::from_secs(30),
            tenure: Duration::from_secs(15),
            renewal: Duration::from_secs(5),
            candidacy: Duration::from_secs(60),
        }
    }
}

/// A candidate's belief.
#[derive(Debug)]
pub struct Tenure {
    terms: Terms,
    until: Option<Duration>,
}

impl Tenure {
    /// Nobody leads at first.
    pub fn new(terms: Terms) -> Tenure {
        Tenure { terms, until: None }
    }

    /// An attempt asked for at one time was answered at another. What was granted counts from when it was asked for:
    /// the answer may have been on its way for long.
    pub fn answered(
        &mut self,
        asked: Duration,
        now: Duration,
        attempt: &Result<Attempt, StoreError>,
    ) {
        match attempt {
            Ok(Attempt::Ours) => self.until = Some(asked + self.terms.tenure),
            Ok(Attempt::Others(_)) => self.until = None,
            // Perhaps it was renewed, perhaps not: what was granted before still holds.
            Err(_) => {}
        }
        self.until = self.held_until(now);
    }

    /// Until when it leads, if it does.
    pub fn held_until(&self, now: Duration) -> Option<Duration> {
        self.until.filter(|until| now < *until)
    }

    /// How long to wait before the next attempt.
    pub fn pause(&self, now: Duration) -> Duration {
        match self.held_until(now) {
            Some(until) => self.terms.renewal.min(until - now),
            None => self.terms.candidacy,
        }
    }
}
