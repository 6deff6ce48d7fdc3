//! Leader election: of those who campaign under one name, one at a time leads.
//!
//! ```text
//!   campaign ──► Seat::take, again and again ──► Leadership ──► holds()? before each write; lost() ends it
//!                  file        flock on <folder>/.lead-<name>, free as soon as its process is gone
//!                  etcd        a key with a lease of 30 s
//!                  kubernetes  coordination.k8s.io/v1 Lease of 30 s, as client-go takes it
//! ```
//!
//! Who leads takes the seat anew every 5 s. Leadership ends 15 s after the last success was *asked for*, whatever the
//! store says meanwhile, and another can have the seat 30 s after it was granted at the earliest: whoever is cut off has
//! stopped long before, and so has a request that he had just sent (which ends after 10 s). Those who do not lead ask
//! once a minute.
//!
//! Time is the kernel's since its start, which a changed clock does not touch, and which goes on while a machine sleeps.
//!
//! *Invariant:* leadership ends before another's begins. What is done under it still compares and swaps.

pub mod etcd;
pub mod file;
pub mod kubernetes;
mod tenure;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::store::StoreError;
pub use tenure::{Tenure, Terms};

/// A store in which leaders are elected.
pub trait Election: Send + Sync + fmt::Debug {
    /// The seat of that name (letters, digits and hyphens), as `who` sees it.
    fn seat(&self, name: &str, who: &str) -> Box<dyn Seat>;
}

/// What one of many may have. What is taken is given back when its holder's process is gone, or does not renew it.
#[async_trait]
pub trait Seat: Send + fmt::Debug {
    /// Takes it or, if it is ours, renews it.
    async fn take(&mut self, clock: Clock<'_>) -> Result<Attempt, StoreError>;
    /// Gives it back, if it is ours, so that another need not wait.
    async fn leave(&mut self);
}

/// Tells a time that only goes forward.
pub type Clock<'a> = &'a (dyn Fn() -> Duration + Send + Sync);

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It is ours.
    Ours,
    /// It is this one's, or somebody's.
    Others(String),
}

/// Leads until it is lost or dropped.
#[derive(Debug)]
pub struct Leadership {
    held_until: watch::Receiver<Option<Duration>>,
    task: AbortHandle,
}

/// Waits until `who` leads. `told` hears who leads meanwhile, and what goes wrong.
pub async fn campaign(
    election: &dyn Election,
    name: &str,
    who: &str,
    told: impl Fn(&Result<Attempt, StoreError>) + Send + Sync,
) -> Leadership {
    stand(election.seat(name, who), Terms::default(), told).await
}

async fn stand(
    mut seat: Box<dyn Seat>,
    terms: Terms,
    told: impl Fn(&Result<Attempt, StoreError>) + Send + Sync,
) -> Leadership {
    let mut tenure = Tenure::new(terms);
    loop {
        let asked = since_boot();
        let attempt = seat.take(&since_boot).await;
        told(&attempt);
        tenure.answered(asked, since_boot(), &attempt);
        if let Some(until) = tenure.held_until(since_boot()) {
            let (sender, held_until) = watch::channel(Some(until));
            let task = tokio::spawn(keep(seat, tenure, sender)).abort_handle();
            return Leadership { held_until, task };
        }
        tokio::time::sleep(spread(tenure.pause(since_boot()))).await;
    }
}

/// Renews until it is lost, or nobody wants to know.
async fn keep(
    mut seat: Box<dyn Seat>,
    mut tenure: Tenure,
    held_until: watch::Sender<Option<Duration>>,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(tenure.pause(since_boot())) => {}
            () = held_until.closed() => break,
        }
        let asked = since_boot();
        // An answer that comes after the end is of no use.
        let left = tenure.held_until(asked).unwrap_or(asked) - asked;
        let answer = tokio::time::timeout(left, seat.take(&since_boot)).await;
        if let Ok(Err(fault)) = &answer {
            tracing::warn!(%fault, "leadership is not renewed; trying again");
        }
        if let Ok(attempt) = &answer {
            tenure.answered(asked, since_boot(), attempt);
        }
        let until = tenure.held_until(since_boot());
        held_until.send_replace(until);
        if until.is_none() {
            break;
        }
    }
    seat.leave().await;
}

impl Leadership {
    /// Whether it holds at this moment.
    pub fn holds(&self) -> bool {
        self.held_until
            .borrow()
            .is_some_and(|until| since_boot() < until)
    }

    /// The same, for who has no leadership at hand.
    pub fn holding(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let held_until = self.held_until.clone();
        move || {
            held_until
                .borrow()
                .is_some_and(|until| since_boot() < until)
        }
    }

    /// Waits until it is lost.
    pub async fn lost(&mut self) {
        let held_until = &mut self.held_until;
        // The end of the task is the end of leadership, too.
        let _ = held_until.wait_for(Option::is_none).await;
    }

    /// Gives it back.
    pub async fn resign(self) {
        let Leadership { held_until, task } = self;
        drop(held_until);
        let patience = Instant::now() + Duration::from_secs(2);
        while !task.is_finished() && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        task.abort();
    }
}

/// Time since the machine started, sleep included. A clock that is set does not change it.
pub fn since_boot() -> Duration {
    let read = || {
        let text = std::fs::read_to_string("/proc/uptime").ok()?;
        let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    };
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    read().unwrap_or_else(|| START.get_or_init(Instant::now).elapsed())
}

/// Between half of it and one and a half, so that not all ask at once.
fn spread(pause: Duration) -> Duration {
    let part = RandomState::new().hash_one(pause) % 1024;
    pause / 2 + pause * u32::try_from(part).unwrap_or(0) / 1024
}

/// A name that no other candidate has, beginning with a readable one.
pub(crate) fn unique(who: &str) -> String {
    let random = RandomState::new().hash_one(who);
    format!("{who}_{}_{random:016x}", std::process::id())
}

/// Without what makes it unique.
pub(crate) fn readable(unique: &str) -> String {
    let parts: Vec<&str> = unique.rsplitn(3, '_').collect();
    match parts.as_slice() {
        [_, _, who] => (*who).to_owned(),
        _ => unique.to_owned(),
    }
}

#[cfg(test)]
mod tests;
