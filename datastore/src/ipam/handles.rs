//! Handles: how many addresses an owner has in which block. Counted up before a block is written and down
//! after, so that a crash leaves a count too high and never an address without a handle.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::{Ipam, TRIES, names};
use crate::resources::{Extra, IPAMHandle};
use crate::store::{StoreError, Stored};

/// A handle as this request has last read or written it, so that it is not read twice. May be old: the
/// compare-and-swap notices.
#[derive(Debug, Default)]
#[expect(clippy::large_enum_variant, reason = "one a request, and not for long")]
pub(crate) enum Seen {
    #[default]
    Not,
    /// `None`: it is not there.
    As(Option<Stored<IPAMHandle>>),
}

impl Ipam {
    /// The handle's object; one that is marked for deletion is deleted and absent.
    pub(crate) async fn handle(
        &self,
        handle: &str,
    ) -> Result<Option<Stored<IPAMHandle>>, StoreError> {
        match self.store.get::<IPAMHandle>(&names::handle(handle)).await? {
            Some(stored) if stored.spec.deleted => {
                ignore_absence(self.store.delete(&stored).await)?;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// Counts one address more in a block.
    pub(crate) async fn increment(
        &self,
        handle: &str,
        cidr: &IpNet,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        self.change_handle(handle, seen, |counts| {
            *counts.entry(cidr.to_string()).or_insert(0) += 1;
        })
        .await
    }

    /// Counts addresses less in a block. A handle that counts nothing is deleted.
    pub(crate) async fn decrement(
        &self,
        handle: &str,
        cidr: &IpNet,
        less: usize,
    ) -> Result<(), StoreError> {
        self.change_handle(handle, &mut Seen::default(), |counts| {
            let name = cidr.to_string();
            if let Some(count) = counts.get_mut(&name) {
                *count = count.saturating_sub(less);
                if *count == 0 {
                    counts.remove(&name);
                }
            }
        })
        .await
    }

    /// Makes the counts what they are found to be.
    pub(crate) async fn recount(
        &self,
        handle: &str,
        counts: &BTreeMap<String, usize>,
    ) -> Result<(), StoreError> {
        let change = |old: &mut BTreeMap<String, usize>| old.clone_from(counts);
        self.change_handle(handle, &mut Seen::default(), change)
            .await
    }

    /// A handle that counts nothing any more is deleted.
    pub(crate) async fn forget_handle(
        &self,
        handle: &str,
        seen: &mut Seen,
    ) -> Result<(), StoreError> {
        self.change_handle(handle, seen, BTreeMap::clear).await
    }

    async fn change_handle(
        &self,
        handle: &str,
        seen: &mut Seen,
        change: impl Fn(&mut BTreeMap<String, usize>),
    ) -> Result<(), StoreError> {
        let mut last = None;
        for _ in 0..TRIES {
            let stored = match std::mem::take(seen) {
                Seen::As(stored) => stored,
                Seen::Not => self.handle(handle).await?,
            };
            let result = match stored {
                None => {
                    let mut block = BTreeMap::new();
                    change(&mut block);
                    if block.is_empty() {
                        *seen = Seen::As(None);
                        return Ok(());
                    }
                    let spec = IPAMHandle {
                        handle_id: handle.to_owned(),
                        block,
                        deleted: false,
                        extra: Extra::new(),
                    };
                    let stored = Stored::new(names::handle(handle), spec);
                    self.store.create(stored).await.map(Some)
                }
                Some(mut stored) => {
                    let before = stored.spec.block.clone();
                    change(&mut stored.spec.block);
                    if stored.spec.block.is_empty() {
                        self.store.delete(&stored).await.map(|()| None)
                    } else if stored.spec.block == before {
                        *seen = Seen::As(Some(stored));
                        return Ok(());
                    } else {
                        self.store.update(stored).await.map(Some)
                    }
                }
            };
            match result {
                Ok(written) => {
                    *seen = Seen::As(written);
                    return Ok(());
                }
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(too_often(last, &format!("IPAMHandle {handle}")))
    }
}

/// Someone else was faster; what they wrote must be read before the next try.
pub(crate) fn is_race(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Conflict(_) | StoreError::Exists(_) | StoreError::NotFound(_)
    )
}

/// To delete what is gone already, or was changed since, is no fault of the deletion that a `deleted` mark asks for.
pub(crate) fn ignore_absence(result: Result<(), StoreError>) -> Result<(), StoreError> {
    match result {
        Err(error) if is_race(&error) => Ok(()),
        other => other,
    }
}

/// The end of a series of races.
pub(crate) fn too_often(last: Option<StoreError>, what: &str) -> StoreError {
    let why = last.map_or_else(String::new, |error| format!(": {error}"));
    StoreError::Unavailable {
        what: what.to_owned(),
        why: format!("others were faster {TRIES} times{why}"),
    }
}
