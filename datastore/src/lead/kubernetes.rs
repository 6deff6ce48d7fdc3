//! A seat in Kubernetes: a Lease of `coordination.k8s.io/v1`, taken, renewed and released as client-go does it, so that
//! `kubectl get lease` shows what people are used to.
//!
//! The times in a Lease are for people: they are its holder's clock, which may be wrong. A candidate takes a Lease from
//! its holder when he himself has seen no change of it for as long as it lasts.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Attempt, Clock, Election, Seat, Terms, readable, unique};
use crate::resources::Timestamp;
use crate::store::StoreError;

/// What is asked of the API server, all in one namespace. Objects are whole, so that fields of others stay.
#[async_trait]
pub(crate) trait LeaseObjects: Send + Sync + fmt::Debug {
    /// The Lease of that name.
    async fn get(&self, name: &str) -> Result<Option<Value>, StoreError>;
    /// Creates it; false when there is one.
    async fn create(&self, lease: Value) -> Result<bool, StoreError>;
    /// Replaces the one of that `resourceVersion`; false when it is another by now, or gone.
    async fn replace(&self, name: &str, lease: Value) -> Result<bool, StoreError>;
}

/// Elections in Kubernetes.
#[derive(Debug, Clone)]
pub struct KubernetesElection {
    objects: Arc<dyn LeaseObjects>,
}

impl KubernetesElection {
    pub(crate) fn new(objects: Arc<dyn LeaseObjects>) -> KubernetesElection {
        KubernetesElection { objects }
    }
}

impl Election for KubernetesElection {
    fn seat(&self, name: &str, who: &str) -> Box<dyn Seat> {
        Box::new(KubernetesSeat {
            objects: Arc::clone(&self.objects),
            name: format!("caracal-{name}"),
            me: unique(who),
            seen: None,
        })
    }
}

#[derive(Debug)]
struct KubernetesSeat {
    objects: Arc<dyn LeaseObjects>,
    name: String,
    me: String,
    /// The version that was seen last, and when first.
    seen: Option<(String, Duration)>,
}

/// What to do about a Lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is none.
    Create,
    /// It is ours.
    Renew,
    /// Its holder has given it back, or has not renewed it for too long.
    TakeOver,
    /// It is this one's.
    Wait(String),
}

impl KubernetesSeat {
    fn step(&mut self, lease: Option<&Value>, now: Duration) -> Step {
        let Some(lease) = lease else {
            return Step::Create;
        };
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if holder == self.me {
            return Step::Renew;
        }
        if holder.is_empty() {
            return Step::TakeOver;
        }
        let version = version_of(lease);
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => {
                self.seen = Some((version, now));
                now
            }
        };
        let said = lease["spec"]["leaseDurationSeconds"].as_u64().unwrap_or(0);
        // One that says too little, or nothing, is left to its holder for as long as ours is.
        let lasts = Duration::from_secs(said).max(Terms::default().lease);
        match now.saturating_sub(since) >= lasts {
            true => Step::TakeOver,
            false => Step::Wait(readable(holder)),
        }
    }

    fn filled(&self, mut lease: Value, is_new_holder: bool) -> Value {
        // The resolution of a MicroTime.
        let now = Timestamp::of(SystemTime::now())
            .to_string()
            .replace('Z', ".000000Z");
        let spec = &mut lease["spec"];
        if is_new_holder {
            let before = spec["leaseTransitions"].as_u64();
            spec["leaseTransitions"] = json!(before.map_or(0, |count| count + 1));
            spec["acquireTime"] = json!(now);
        }
        spec["holderIdentity"] = json!(self.me);
        spec["leaseDurationSeconds"] = json!(Terms::default().lease.as_secs());
        spec["renewTime"] = json!(now);
        lease
    }
}

fn version_of(lease: &Value) -> String {
    let metadata = &lease["metadata"];
    // A Lease that was deleted and made again is another.
    format!("{} {}", metadata["uid"], metadata["resourceVersion"])
}

#[async_trait]
impl Seat for KubernetesSeat {
    async fn take(&mut self, clock: Clock<'_>) -> Result<Attempt, StoreError> {
        let lease = self.objects.get(&self.name).await?;
        let step = self.step(lease.as_ref(), clock());
        let taken = match (step, lease) {
            (Step::Wait(holder), _) => return Ok(Attempt::Others(holder)),
            (Step::Renew, Some(lease)) => {
                let lease = self.filled(lease, false);
                self.objects.replace(&self.name, lease).await?
            }
            (_, Some(lease)) => {
                let lease = self.filled(lease, true);
                self.objects.replace(&self.name, lease).await?
            }
            (_, None) => {
                let new = json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self.name},
                    "spec": {},
                });
                self.objects.create(self.filled(new, true)).await?
            }
        };
        Ok(match taken {
            true => Attempt::Ours,
            false => Attempt::Others("another candidate".to_owned()),
        })
    }

    async fn leave(&mut self) {
        let given_back = async {
            let Some(mut lease) = self.objects.get(&self.name).await? else {
                return Ok(true);
            };
            if lease["spec"]["holderIdentity"].as_str() != Some(&self.me) {
                return Ok(true);
            }
            lease["spec"]["holderIdentity"] = json!("");
            self.objects.replace(&self.name, lease).await
        };
        let given_back: Result<bool, StoreError> = given_back.await;
        if let Err(fault) = given_back {
            // It ends by itself.
            tracing::debug!(%fault, "a lease is not given back");
        }
    }
}
