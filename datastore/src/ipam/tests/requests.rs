//! What a request costs, what it waits for, and what it may have.

use async_trait::async_trait;

use super::*;
use crate::memory::{Fault, Operation, Verb};
use crate::resources::{IPReservation, Namespace};
use crate::store::{Object, Revision, Watcher};

/// What a client asks for, in words.
fn asked_by(client: &MemoryDatastore) -> Arc<Mutex<Vec<String>>> {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&asked);
    client.set_plan(move |operation: &Operation| {
        let words = format!("{:?} {}", operation.verb, operation.kind);
        noted.lock().unwrap().push(words);
        Fault::None
    });
    asked
}

fn taken(asked: &Mutex<Vec<String>>) -> Vec<String> {
    std::mem::take(&mut *asked.lock().unwrap())
}

/// An Ipam whose view is complete.
async fn following(cluster: &Cluster, node: &str, client: MemoryDatastore) -> Ipam {
    let ipam = cluster.ipam_on(node, client);
    ipam.follow().await.unwrap();
    in_view(&ipam, |_| true).await;
    ipam
}

async fn in_view(ipam: &Ipam, is: impl Fn(&view::State) -> bool) {
    let view = ipam.view.get().unwrap();
    while !view.state().is_some_and(|state| is(&state)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_address_costs_one_read_and_two_writes_and_so_does_its_release() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/16", 26)]).await;
    let client = cluster.store.client();
    let asked = asked_by(&client);
    let ipam = following(&cluster, "n", client).await;
    ipam.tend().await.unwrap();
    taken(&asked);
    for index in 0..20 {
        let handle = format!("h{index}");
        ipam.assign(request(&handle, "n")).await.unwrap();
        let cost = ["Get IPAMHandle", "Create IPAMHandle", "Update IPAMBlock"];
        assert_eq!(taken(&asked), cost);
    }
    ipam.release_handle("h7").await.unwrap();
    let cost = ["Get IPAMHandle", "Update IPAMBlock", "Delete IPAMHandle"];
    assert_eq!(taken(&asked), cost);
}

#[tokio::test]
async fn a_thousand_addresses_cost_two_writes_each_and_no_list_of_blocks() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/16", 26)]).await;
    let client = cluster.store.client();
    let asked = asked_by(&client);
    let ipam = following(&cluster, "n", client).await;
    ipam.tend().await.unwrap();
    taken(&asked);
    for index in 0..1000 {
        ipam.assign(request(&format!("h{index}"), "n"))
            .await
            .unwrap();
        if index % 16 == 15 {
            ipam.tend().await.unwrap();
        }
    }
    let asked = taken(&asked);
    let count = |of: &str| asked.iter().filter(|words| words.starts_with(of)).count();
    // Sixteen blocks, of which one was there before: three writes each.
    let writes = ["Create", "Update", "Delete"].map(count);
    assert_eq!(writes.iter().sum::<usize>(), 2 * 1000 + 3 * 15);
    assert_eq!(count("List"), 0);
}

#[tokio::test]
async fn a_walk_past_claimed_blocks_lists_nothing() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 28)]).await;
    for node in ["a", "b", "c", "d", "e", "f"] {
        cluster.ipam(node).tend().await.unwrap();
    }
    let client = cluster.store.client();
    let asked = asked_by(&client);
    let ipam = following(&cluster, "n", client).await;
    ipam.assign(request("h", "n")).await.unwrap();
    assert!(!taken(&asked).iter().any(|words| words.starts_with("List")));
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn what_others_change_reaches_a_view() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 28)]).await;
    let ipam = following(&cluster, "n", cluster.store.client()).await;
    ipam.assign(request("a", "n")).await.unwrap();
    cluster.change_pool("p", |pool| pool.disabled = true).await;
    in_view(&ipam, |state| state.pools["p"].spec.disabled).await;
    let error = ipam.assign(request("b", "n")).await.unwrap_err();
    assert_eq!(error.to_string(), "no IP pool for IPv4: p is disabled");
    let pool = cluster.typed().get::<IPPool>("p").await.unwrap().unwrap();
    cluster.typed().delete(&pool).await.unwrap();
    in_view(&ipam, |state| state.pools.is_empty()).await;
    let error = ipam.assign(request("b", "n")).await.unwrap_err();
    assert_eq!(error.to_string(), "no IP pool for IPv4: none exists");
}

fn reserve(cluster: &Cluster, cidrs: &[&str]) {
    let spec = IPReservation {
        reserved_cidrs: cidrs.iter().map(|cidr| net(cidr)).collect(),
        ..IPReservation::default()
    };
    let object = Stored::new("r", spec).into_object();
    cluster.store.put_unchecked(object);
}

#[tokio::test]
async fn reserved_addresses_are_given_only_to_who_asks_for_them_by_name() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/28", 30)]).await;
    // Three of a block, a whole block, and a range of two.
    reserve(&cluster, &["10.0.0.0/31", "10.0.0.2/32", "10.0.0.4/30"]);
    let ipam = cluster.ipam("n");
    let mut given = Vec::new();
    while let Ok(assigned) = ipam.assign(request(&given.len().to_string(), "n")).await {
        given.push(assigned[0].address.to_string());
        ipam.tend().await.unwrap();
    }
    given.sort();
    let free = ["10", "11", "12", "13", "14", "15", "3", "8", "9"];
    assert_eq!(given, free.map(|last| format!("10.0.0.{last}")));
    // Nothing is borrowed of them, and a block that is reserved as a whole is not claimed for nothing.
    let two = cluster.ipam("two");
    two.assign(request("two", "two")).await.unwrap_err();
    assert_eq!(cluster.blocks().await.len(), 3);
    let certain = AssignRequest {
        addresses: vec!["10.0.0.5".parse().unwrap()],
        ipv4: false,
        ..request("certain", "n")
    };
    assert_eq!(
        ipam.assign(certain).await.unwrap()[0].block,
        net("10.0.0.4/30")
    );
    // What is no longer reserved is given again.
    reserve(&cluster, &[]);
    two.assign(request("two", "two")).await.unwrap();
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn a_walk_jumps_over_reservations_of_any_size() {
    let mut pool = IPPool::new(net("fd00::/48"));
    pool.block_size = Some(122);
    let existing = BTreeMap::new();
    let reserved = [net("fd00::/49"), net("fd00:0:0:8000::/50")];
    let found = pools::first_unclaimed(&pool, 5, &existing, &reserved);
    assert_eq!(found, Some(net("fd00:0:0:c000::/122")));
    let all = [net("fd00::/16")];
    assert_eq!(pools::first_unclaimed(&pool, 5, &existing, &all), None);
}

#[tokio::test]
async fn a_released_address_rests_and_is_given_again_before_another_block_is_claimed() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 32)]).await;
    cluster
        .configure(IPAMConfig {
            ip_cooldown_seconds: Some(30),
            max_blocks_per_host: 1,
            ..IPAMConfig::default()
        })
        .await;
    let ipam = cluster.ipam("n");
    let first = ipam.assign(request("a", "n")).await.unwrap();
    ipam.release_handle("a").await.unwrap();
    cluster.pass(29);
    ipam.assign(request("b", "n")).await.unwrap_err();
    cluster.pass(1);
    assert_eq!(ipam.assign(request("b", "n")).await.unwrap(), first);
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn an_idle_block_whose_addresses_have_rested_is_taken_over() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/32", 32)]).await;
    cluster
        .configure(IPAMConfig {
            ip_cooldown_seconds: Some(90),
            strict_affinity: true,
            ..IPAMConfig::default()
        })
        .await;
    let (one, two) = (cluster.ipam("one"), cluster.ipam("two"));
    one.assign(request("a", "one")).await.unwrap();
    one.release_handle("a").await.unwrap();
    cluster.pass(89);
    two.assign(request("b", "two")).await.unwrap_err();
    cluster.pass(1);
    two.assign(request("b", "two")).await.unwrap();
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn blocks_of_every_size_are_claimed_filled_and_given_back() {
    let sizes = (20..=32).map(|size| ("10.0.0.0/16", size));
    for (cidr, size) in sizes.chain((116..=128).map(|size| ("fd00::/104", size))) {
        let cluster = Cluster::new(&[("p", cidr, size)]).await;
        let ipam = cluster.ipam("n");
        ipam.tend().await.unwrap();
        let block = cluster.blocks().await.remove(0).spec;
        assert_eq!(block.cidr.prefix_len(), size);
        let last = block::address(&block.cidr, block.allocations.len() - 1);
        assert_eq!(last, block.cidr.broadcast());
        let wish = AssignRequest {
            addresses: vec![last],
            ipv4: last.is_ipv4(),
            ipv6: last.is_ipv6(),
            ..request("h", "n")
        };
        assert_eq!(ipam.assign(wish).await.unwrap()[0].address, last);
        assert_eq!(ipam.release_handle("h").await.unwrap(), [last]);
        assert_eq!(cluster.findings().await, [], "{cidr} {size}");
    }
}

#[tokio::test]
async fn a_pool_serves_the_namespaces_whose_labels_it_selects() {
    let cluster = Cluster::new(&[("a", "10.0.0.0/24", 26), ("b", "10.1.0.0/24", 26)]).await;
    cluster
        .change_pool("a", |pool| {
            pool.namespace_selector = Some("team == 'red'".to_owned());
        })
        .await;
    let mut namespace = Stored::new("shop", Namespace::default());
    namespace
        .metadata
        .labels
        .insert("team".to_owned(), "red".to_owned());
    cluster.store.put_unchecked(namespace.into_object());
    cluster
        .change_pool("b", |pool| {
            pool.namespace_selector = Some("projectcalico.org/name != 'shop'".to_owned());
        })
        .await;
    let ipam = cluster.ipam("n");
    for (namespace, pool) in [("shop", "a"), ("other", "b")] {
        let mut wish = request(namespace, "n");
        wish.attributes
            .insert("namespace".to_owned(), namespace.to_owned());
        assert_eq!(ipam.assign(wish).await.unwrap()[0].pool, pool);
    }
}

/// Holds up the writes of one object until it may go on.
#[derive(Debug)]
struct Stalled {
    store: MemoryDatastore,
    /// Which, and when the writes go on.
    name: &'static str,
    go_on: Arc<tokio::sync::Semaphore>,
}

impl Stalled {
    async fn wait(&self, key: &Key) {
        if key.name == self.name {
            drop(self.go_on.acquire().await);
        }
    }
}

#[async_trait]
impl Datastore for Stalled {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.store.list(kind).await
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.wait(&object.key).await;
        self.store.create(object).await
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.wait(&object.key).await;
        self.store.update(object).await
    }
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.wait(key).await;
        self.store.delete(key, revision).await
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.store.watch(kinds).await
    }
}

/// An Ipam with a block, in a store that holds up one object.
async fn stalled(
    cluster: &Cluster,
    name: &'static str,
) -> (Arc<Ipam>, Arc<tokio::sync::Semaphore>) {
    cluster.ipam("n").tend().await.unwrap();
    let go_on = Arc::new(tokio::sync::Semaphore::new(0));
    let store = Stalled {
        store: cluster.store.client(),
        name,
        go_on: Arc::clone(&go_on),
    };
    let ipam = Ipam {
        patience: Patience {
            assign: Duration::from_millis(300),
            ..PATIENCE
        },
        ..cluster.ipam_on("n", store)
    };
    (Arc::new(ipam), go_on)
}

/// Invariant 8: a request waits for its own writes and not for those of others.
#[tokio::test]
async fn a_request_that_gets_no_answer_ends_with_a_sentence_and_holds_up_no_other() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 28)]).await;
    let (ipam, _go_on) = stalled(&cluster, "slow").await;
    let slow = tokio::spawn({
        let ipam = Arc::clone(&ipam);
        async move { ipam.assign(request("slow", "n")).await }
    });
    tokio::task::yield_now().await;
    for index in 0..5 {
        let handle = format!("h{index}");
        ipam.assign(request(&handle, "n")).await.unwrap();
        ipam.release_handle(&handle).await.unwrap();
    }
    ipam.tend().await.unwrap();
    assert!(!slow.is_finished());
    let error = slow.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "datastore for handle slow: no address within 300ms"
    );
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn requests_that_wait_for_a_block_are_served_by_one_write() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/26", 26)]).await;
    let (ipam, go_on) = stalled(&cluster, "10-0-0-0-26").await;
    let ipam = Arc::new(Ipam {
        patience: PATIENCE,
        ..Arc::into_inner(ipam).unwrap()
    });
    let requests: Vec<_> = (0..20)
        .map(|index| {
            let ipam = Arc::clone(&ipam);
            tokio::spawn(async move { ipam.assign(request(&format!("h{index}"), "n")).await })
        })
        .collect();
    let handles = async || {
        let (handles, _) = cluster.typed().list::<IPAMHandle>().await.unwrap();
        handles.len()
    };
    while handles().await < 20 {
        tokio::task::yield_now().await;
    }
    let before = cluster.store.writes();
    // By then all wait.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    go_on.add_permits(1);
    let mut addresses = BTreeSet::new();
    for request in requests {
        addresses.insert(request.await.unwrap().unwrap()[0].address);
    }
    assert_eq!(addresses.len(), 20);
    // The first alone, the others that waited meanwhile together.
    assert_eq!(cluster.store.writes() - before, 2);
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn those_who_waited_with_a_request_that_was_given_up_are_told_and_try_again() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/26", 26)]).await;
    let (ipam, go_on) = stalled(&cluster, "10-0-0-0-26").await;
    let ask = |handle: &'static str| {
        let ipam = Arc::clone(&ipam);
        tokio::spawn(async move { ipam.assign(request(handle, "n")).await })
    };
    let (one, two) = (ask("one"), ask("two"));
    let errors = [one.await.unwrap(), two.await.unwrap()].map(Result::unwrap_err);
    for error in errors {
        assert!(error.to_string().contains("within 300ms"), "{error}");
    }
    go_on.add_permits(1);
    ask("one").await.unwrap().unwrap();
    ask("two").await.unwrap().unwrap();
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn without_a_list_nothing_is_decided_by_a_view_that_is_not_complete() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/26", 26)]).await;
    let client = cluster.store.client();
    client.set_plan(|operation| match operation.verb {
        Verb::Watch => Fault::Before(MemoryDatastore::down()),
        _ => Fault::None,
    });
    let ipam = cluster.ipam_on("n", client);
    ipam.follow().await.unwrap_err();
    // Then it is read for each request.
    ipam.assign(request("h", "n")).await.unwrap();
}

#[tokio::test]
async fn what_the_view_cannot_follow_or_read_is_told_until_it_can() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/26", 26)]).await;
    let ipam = following(&cluster, "n", cluster.store.client()).await;
    assert_eq!(ipam.unread_and_unreadable(), (vec![], vec![]));
    let key = crate::Key::new(crate::Kind::IPReservation, "r");
    let strange = Object {
        metadata: crate::Metadata {
            name: "r".to_owned(),
            ..Default::default()
        },
        key: key.clone(),
        spec: serde_json::json!({"reservedCIDRs": 7}),
        revision: None,
    };
    let reservation = cluster.store.get(&key).await.unwrap();
    assert!(reservation.is_none());
    cluster.store.put_unchecked(strange);
    while ipam.unread_and_unreadable().1.is_empty() {
        tokio::task::yield_now().await;
    }
    let (unread, unreadable) = ipam.unread_and_unreadable();
    assert_eq!((unread.len(), unreadable.len()), (0, 1));
    assert!(unreadable[0].contains("IPReservation r"), "{unreadable:?}");
    cluster.store.delete(&key, None).await.unwrap();
    while !ipam.unread_and_unreadable().1.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_view_without_the_right_to_a_kind_says_so_and_is_not_complete() {
    let mut state = view::State::default();
    let fault = StoreError::Unavailable {
        what: "kubernetes https://[::1]:6443".to_owned(),
        why: "ippools is forbidden".to_owned(),
    };
    state.handle(crate::WatchEvent::Faults(vec![fault.clone()]));
    state.handle(crate::WatchEvent::InSync);
    assert!(!state.is_complete());
    let told = state.unread_and_unreadable();
    assert_eq!(told, (vec![fault.to_string()], vec![]));
    state.handle(crate::WatchEvent::Faults(Vec::new()));
    assert!(state.is_complete());
    assert_eq!(state.unread_and_unreadable(), (vec![], vec![]));
}
