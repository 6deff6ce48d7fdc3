//! A seat in etcd: the key `/caracal/v1/leaders/<name>` with a lease. etcd deletes both when nobody renews the lease.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Attempt, Clock, Election, Seat, Terms};
use crate::store::StoreError;

/// What is asked of etcd.
#[async_trait]
pub(crate) trait Leases: Send + Sync + fmt::Debug {
    /// A new lease of so many seconds.
    async fn grant(&self, seconds: i64) -> Result<i64, StoreError>;
    /// Renews one; false when it is over.
    async fn renew(&self, lease: i64) -> Result<bool, StoreError>;
    /// Ends one, and deletes what has it.
    async fn revoke(&self, lease: i64) -> Result<(), StoreError>;
    /// What stands under the key, with its lease.
    async fn holder(&self, path: &str) -> Result<Option<Holder>, StoreError>;
    /// Writes the key if it is not there.
    async fn claim(&self, path: &str, who: &str, lease: i64) -> Result<bool, StoreError>;
}

/// Who has a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) who: String,
    pub(crate) lease: i64,
}

/// Elections in etcd.
#[derive(Debug, Clone)]
pub struct EtcdElection {
    leases: Arc<dyn Leases>,
}

impl EtcdElection {
    pub(crate) fn new(leases: Arc<dyn Leases>) -> EtcdElection {
        EtcdElection { leases }
    }
}

impl Election for EtcdElection {
    fn seat(&self, name: &str, who: &str) -> Box<dyn Seat> {
        Box::new(EtcdSeat {
            leases: Arc::clone(&self.leases),
            path: format!("/caracal/v1/leaders/{name}"),
            who: who.to_owned(),
            lease: None,
        })
    }
}

#[derive(Debug)]
struct EtcdSeat {
    leases: Arc<dyn Leases>,
    path: String,
    who: String,
    /// While the key has it, or may have: the answer to a claim can get lost.
    lease: Option<i64>,
}

#[async_trait]
impl Seat for EtcdSeat {
    async fn take(&mut self, _clock: Clock<'_>) -> Result<Attempt, StoreError> {
        if let Some(lease) = self.lease
            && !self.leases.renew(lease).await?
        {
            self.lease = None;
        }
        // Not before somebody looks: of thousands of candidates only a few write.
        if let Some(holder) = self.leases.holder(&self.path).await? {
            if Some(holder.lease) == self.lease {
                return Ok(Attempt::Ours);
            }
            self.leave().await;
            return Ok(Attempt::Others(holder.who));
        }
        let lease = match self.lease {
            Some(lease) => lease,
            None => {
                let seconds = Terms::default().lease.as_secs();
                let lease = self
                    .leases
                    .grant(i64::try_from(seconds).unwrap_or(30))
                    .await?;
                *self.lease.insert(lease)
            }
        };
        if self.leases.claim(&self.path, &self.who, lease).await? {
            return Ok(Attempt::Ours);
        }
        self.leave().await;
        Ok(Attempt::Others("another candidate".to_owned()))
    }

    async fn leave(&mut self) {
        if let Some(lease) = self.lease.take()
            && let Err(fault) = self.leases.revoke(lease).await
        {
            // It ends by itself.
            tracing::debug!(%fault, "a lease is not revoked");
        }
    }
}
