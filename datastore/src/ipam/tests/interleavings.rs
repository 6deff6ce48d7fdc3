//! Two nodes that want the same block: every order in which their operations can meet.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::*;
use crate::store::{Object, Revision, Watcher};

/// Lets one operation through a permit.
#[derive(Debug)]
struct Stepped {
    store: MemoryDatastore,
    permits: Arc<Semaphore>,
}

impl Stepped {
    async fn step(&self) {
        self.permits.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl Datastore for Stepped {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.step().await;
        self.store.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.step().await;
        self.store.list(kind).await
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.step().await;
        self.store.create(object).await
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.step().await;
        self.store.update(object).await
    }
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.step().await;
        self.store.delete(key, revision).await
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.store.watch(kinds).await
    }
}

/// Runs two futures so that bit n of `schedule` says whose operation is the nth; when one has finished the
/// other goes on alone. Returns the results and how many operations there were.
fn drive<A, B>(
    schedule: u64,
    (one, one_permits): (impl Future<Output = A>, &Semaphore),
    (two, two_permits): (impl Future<Output = B>, &Semaphore),
) -> (A, B, u32) {
    let mut context = Context::from_waker(Waker::noop());
    // Tokio would make a task pause that is polled so often.
    let mut one = pin!(tokio::task::unconstrained(one));
    let mut two = pin!(tokio::task::unconstrained(two));
    let (mut first, mut second) = (None, None);
    let mut operations = 0;
    // Up to the first operation of each.
    loop {
        let turn = operations < 64 && schedule >> operations & 1 == 1;
        if first.is_none() && (second.is_some() || !turn) {
            if let Poll::Ready(result) = one.as_mut().poll(&mut context) {
                first = Some(result);
                continue;
            }
            one_permits.add_permits(1);
            if let Poll::Ready(result) = one.as_mut().poll(&mut context) {
                first = Some(result);
            }
        } else if second.is_none() {
            if let Poll::Ready(result) = two.as_mut().poll(&mut context) {
                second = Some(result);
                continue;
            }
            two_permits.add_permits(1);
            if let Poll::Ready(result) = two.as_mut().poll(&mut context) {
                second = Some(result);
            }
        }
        operations += 1;
        assert!(operations < 10_000, "schedule {schedule:b} does not end");
        if let (Some(_), Some(_)) = (&first, &second) {
            break;
        }
    }
    match (first, second) {
        (Some(first), Some(second)) => (first, second, operations),
        _ => unreachable!(),
    }
}

fn stepped(cluster: &Cluster, node: &str) -> (Ipam, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let store = Stepped {
        store: cluster.store.client(),
        permits: Arc::clone(&permits),
    };
    (cluster.ipam_on(node, store), permits)
}

/// Every schedule of the first operations of a claim against another claim on the same block.
#[tokio::test]
async fn two_claims_on_one_block_have_one_winner_in_every_order() {
    let cidr = net("10.0.0.0/26");
    let mut winners = BTreeMap::new();
    for schedule in 0..1 << 10 {
        let cluster = Cluster::new(&[("p", "10.0.0.0/26", 26)]).await;
        let (one, one_permits) = stepped(&cluster, "one");
        let (two, two_permits) = stepped(&cluster, "two");
        let (first, second, operations) = drive(
            schedule,
            (one.claim(cidr), &one_permits),
            (two.claim(cidr), &two_permits),
        );
        assert!(
            operations <= 10,
            "the enumeration must cover {operations} operations"
        );
        let (first, second) = (first.unwrap().is_some(), second.unwrap().is_some());
        assert!(first ^ second, "schedule {schedule:b}");
        *winners.entry(first).or_insert(0) += 1;
        let affinities = cluster.affinities().await;
        assert_eq!(affinities.len(), 1, "schedule {schedule:b}");
        assert_eq!(affinities[0].spec.state, AffinityState::Confirmed);
        assert_eq!(cluster.findings().await, [], "schedule {schedule:b}");
    }
    assert_eq!(winners.len(), 2, "both must win in some order");
}

/// The owner uses its block out of memory while another node takes it away for being empty.
#[tokio::test]
async fn an_owner_and_a_reclaimer_never_both_get_the_block() {
    let mut outcomes = BTreeMap::new();
    // Both first read the rules and the handle, which is no race.
    for schedule in (0..1 << 11).map(|schedule| schedule << 8 | 0b1010_1010) {
        let cluster = Cluster::new(&[("p", "10.0.0.0/32", 32)]).await;
        let strict = IPAMConfig {
            strict_affinity: true,
            ..IPAMConfig::default()
        };
        cluster.configure(strict).await;
        let (owner, owner_permits) = stepped(&cluster, "owner");
        let (taker, taker_permits) = stepped(&cluster, "taker");
        owner_permits.add_permits(100);
        owner.tend().await.unwrap();
        owner_permits.forget_permits(owner_permits.available_permits());
        cluster.pass(60);
        let (first, second, _) = drive(
            schedule,
            (owner.assign(request("a", "owner")), &owner_permits),
            (taker.assign(request("b", "taker")), &taker_permits),
        );
        assert!(
            first.is_ok() ^ second.is_ok(),
            "schedule {schedule:b}: {first:?} {second:?}"
        );
        *outcomes.entry(first.is_ok()).or_insert(0) += 1;
        assert_eq!(cluster.findings().await, [], "schedule {schedule:b}");
    }
    assert_eq!(outcomes.len(), 2, "both must win in some order");
}
