//! Address management on a store in memory: rules, races, crashes.

mod bad_data;
mod claims;
mod crashes;
mod files;
mod interleavings;
mod processes;
mod requests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use super::audit::{Finding, audit};
use super::*;
use crate::memory::MemoryDatastore;
use crate::resources::{
    AffinityState, AllowedUse, AssignmentMode, BlockAffinity, IPAMBlock, IPAMHandle,
};
use crate::store::{Key, Kind};
use ipnet::IpNet;

/// A cluster in memory with a clock of its own.
pub(super) struct Cluster {
    store: MemoryDatastore,
    seconds: Arc<AtomicU64>,
}

impl Cluster {
    pub(super) async fn new(pools: &[(&str, &str, u8)]) -> Cluster {
        let cluster = Cluster {
            store: MemoryDatastore::new(),
            seconds: Arc::new(AtomicU64::new(1_800_000_000)),
        };
        for (name, cidr, block_size) in pools {
            let mut pool = IPPool::new(cidr.parse().unwrap());
            pool.block_size = Some(*block_size);
            cluster
                .typed()
                .create(Stored::new(*name, pool))
                .await
                .unwrap();
        }
        cluster
    }

    fn typed(&self) -> TypedStore {
        TypedStore(Arc::new(self.store.client()))
    }

    pub(super) fn ipam(&self, node: &str) -> Ipam {
        self.ipam_on(node, self.store.client())
    }

    pub(super) fn ipam_on(&self, node: &str, store: impl Datastore + 'static) -> Ipam {
        let seconds = Arc::clone(&self.seconds);
        let clock = move || UNIX_EPOCH + Duration::from_secs(seconds.load(Ordering::Relaxed));
        Ipam::with_clock(Arc::new(store), node.to_owned(), Arc::new(clock))
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn change_pool(&self, name: &str, change: impl FnOnce(&mut IPPool)) {
        let mut pool = self.typed().get::<IPPool>(name).await.unwrap().unwrap();
        change(&mut pool.spec);
        self.typed().update(pool).await.unwrap();
    }

    async fn configure(&self, config: IPAMConfig) {
        self.typed()
            .create(Stored::new("default", config))
            .await
            .unwrap();
    }

    async fn blocks(&self) -> Vec<Stored<IPAMBlock>> {
        self.typed().list().await.unwrap().0
    }

    async fn affinities(&self) -> Vec<Stored<BlockAffinity>> {
        self.typed().list().await.unwrap().0
    }

    pub(super) async fn findings(&self) -> Vec<Finding> {
        let (handles, _) = self.typed().list::<IPAMHandle>().await.unwrap();
        audit(&self.blocks().await, &self.affinities().await, &handles)
    }
}

pub(super) fn request(handle: &str, node: &str) -> AssignRequest {
    AssignRequest {
        handle: handle.to_owned(),
        attributes: BTreeMap::from([("node".to_owned(), node.to_owned())]),
        ipv4: true,
        ..AssignRequest::default()
    }
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_claim_leaves_calicos_objects_in_calicos_form() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/26", 26)]).await;
    let ipam = cluster.ipam("node-1");
    let assigned = ipam
        .assign(request("k8s-pod-network.AbC", "node-1"))
        .await
        .unwrap();
    assert_eq!(
        assigned,
        [Assigned {
            address: "10.0.0.0".parse().unwrap(),
            block: net("10.0.0.0/26"),
            pool: "p".to_owned(),
            borrowed: false,
        }]
    );
    let store = cluster.store.client();
    let get = async |kind, name: &str| store.get(&Key::new(kind, name)).await.unwrap().unwrap();
    let affinity = get(Kind::BlockAffinity, "node-1-10-0-0-0-26").await;
    assert_eq!(
        affinity.spec,
        serde_json::json!({"state": "confirmed", "node": "node-1", "cidr": "10.0.0.0/26", "deleted": "false"})
    );
    assert_eq!(
        affinity.metadata.labels["projectcalico.org/ip-version"],
        "4"
    );
    let handle = get(Kind::IPAMHandle, "k8s-pod-network.AbC").await;
    assert_eq!(
        handle.spec,
        serde_json::json!({"handleID": "k8s-pod-network.AbC", "block": {"10.0.0.0/26": 1}, "deleted": false})
    );
    let block = get(Kind::IPAMBlock, "10-0-0-0-26").await;
    assert_eq!(block.spec["affinity"], "host:node-1");
    assert_eq!(block.spec["affinityClaimTime"], "2027-01-15T08:00:00Z");
    assert_eq!(block.spec["allocations"][0], 0);
    assert_eq!(
        block.spec["attributes"],
        serde_json::json!([{"handle_id": "k8s-pod-network.AbC", "secondary": {"node": "node-1"}}])
    );
    assert_eq!(block.spec["sequenceNumber"], 1_800_000_000_000_000_001_u64);
    assert_eq!(
        block.spec["sequenceNumberForAllocation"],
        serde_json::json!({"0": 1_800_000_000_000_000_000_u64})
    );
}

#[tokio::test]
async fn a_repeated_call_returns_what_the_handle_has() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/16", 26), ("q", "fd00::/112", 122)]).await;
    let ipam = cluster.ipam("n");
    let first = ipam.assign(request("h", "n")).await.unwrap();
    assert_eq!(ipam.assign(request("h", "n")).await.unwrap(), first);
    // The other family is added to what there is, by another process of the same node, too.
    let both = AssignRequest {
        ipv6: true,
        ..request("h", "n")
    };
    let both = cluster.ipam("n").assign(both).await.unwrap();
    assert_eq!((both.len(), &both[0]), (2, &first[0]));
    let mut released = ipam.release_handle("h").await.unwrap();
    released.sort();
    assert_eq!(released, [both[0].address, both[1].address]);
    assert!(ipam.release_handle("h").await.unwrap().is_empty());
    assert!(cluster.findings().await.is_empty());
}

#[tokio::test]
async fn a_half_success_is_rolled_back() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/16", 26)]).await;
    let ipam = cluster.ipam("n");
    let both = AssignRequest {
        ipv6: true,
        ..request("h", "n")
    };
    let error = ipam.assign(both).await.unwrap_err();
    assert_eq!(error.to_string(), "no IP pool for IPv6: none exists");
    assert!(ipam.handles_of_this_node().await.unwrap().is_empty());
    assert!(cluster.findings().await.is_empty());
    // What it had before stays.
    ipam.assign(request("h", "n")).await.unwrap();
    let both = AssignRequest {
        ipv6: true,
        ..request("h", "n")
    };
    ipam.assign(both).await.unwrap_err();
    assert_eq!(ipam.handles_of_this_node().await.unwrap()["h"].len(), 1);
}

#[tokio::test]
async fn pools_are_chosen_by_selector_use_and_name() {
    let cluster = Cluster::new(&[("a", "10.0.0.0/24", 26), ("b", "10.1.0.0/24", 26)]).await;
    let mut node = Stored::new("n", Node::default());
    node.metadata
        .labels
        .insert("rack".to_owned(), "b".to_owned());
    cluster.typed().create(node).await.unwrap();
    cluster
        .change_pool("a", |pool| pool.node_selector = "rack == 'a'".to_owned())
        .await;
    let ipam = cluster.ipam("n");
    assert_eq!(ipam.assign(request("1", "n")).await.unwrap()[0].pool, "b");
    // To be asked for by name goes past the selector.
    for wanted in ["a", "10.0.0.0/24"] {
        let named = AssignRequest {
            ipv4_pools: vec![wanted.to_owned()],
            ..request(wanted, "n")
        };
        assert_eq!(ipam.assign(named).await.unwrap()[0].pool, "a");
    }
    cluster
        .change_pool("b", |pool| pool.assignment_mode = AssignmentMode::Manual)
        .await;
    let error = ipam.assign(request("2", "n")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no IP pool for IPv4: a does not select node n, b must be asked for by name"
    );
    cluster
        .change_pool("b", |pool| pool.allowed_uses = vec![AllowedUse::Workload])
        .await;
    let tunnel = AssignRequest {
        ipv4_pools: vec!["b".to_owned(), "c".to_owned()],
        purpose: Purpose::Tunnel,
        ..request("ipip-tunnel-addr-n", "n")
    };
    let error = ipam.assign(tunnel).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no IP pool for IPv4: b is not for Tunnel, there is no pool c"
    );
    cluster.change_pool("b", |pool| pool.disabled = true).await;
    let named = AssignRequest {
        ipv4_pools: vec!["b".to_owned()],
        ..request("3", "n")
    };
    let error = ipam.assign(named).await.unwrap_err();
    assert_eq!(error.to_string(), "no IP pool for IPv4: b is disabled");
}

#[tokio::test]
async fn the_last_addresses_are_borrowed_unless_affinity_is_strict() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/30", 31)]).await;
    let (one, two) = (cluster.ipam("one"), cluster.ipam("two"));
    for index in 0..3 {
        one.assign(request(&format!("one-{index}"), "one"))
            .await
            .unwrap();
    }
    let borrowed = two.assign(request("two-0", "two")).await.unwrap();
    assert!(borrowed[0].borrowed);
    let error = two.assign(request("two-1", "two")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free address: pool p has no free address for node two"
    );
    assert_eq!(
        two.release_handle("two-0").await.unwrap(),
        [borrowed[0].address]
    );
    cluster
        .configure(IPAMConfig {
            strict_affinity: true,
            ..IPAMConfig::default()
        })
        .await;
    two.assign(request("two-2", "two")).await.unwrap_err();
    assert!(cluster.findings().await.is_empty());
    let usage = usage::summarise(&[], &cluster.blocks().await);
    assert_eq!(usage.stray_blocks.len(), 2);
}

#[tokio::test]
async fn a_node_has_no_more_blocks_than_it_may() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 32)]).await;
    cluster
        .configure(IPAMConfig {
            max_blocks_per_host: 2,
            ..IPAMConfig::default()
        })
        .await;
    let ipam = cluster.ipam("n");
    ipam.assign(request("1", "n")).await.unwrap();
    ipam.assign(request("2", "n")).await.unwrap();
    let error = ipam.assign(request("3", "n")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no free address: node n has 2 blocks, the most that maxBlocksPerHost allows, and all are full"
    );
    ipam.tend().await.unwrap();
    assert_eq!(cluster.blocks().await.len(), 2);
}

#[tokio::test]
async fn an_empty_block_of_another_node_is_taken_after_a_minute() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/31", 32)]).await;
    let (one, two) = (cluster.ipam("one"), cluster.ipam("two"));
    one.assign(request("a", "one")).await.unwrap();
    one.tend().await.unwrap();
    assert_eq!(cluster.blocks().await.len(), 2);
    cluster
        .configure(IPAMConfig {
            strict_affinity: true,
            ..IPAMConfig::default()
        })
        .await;
    two.assign(request("b", "two")).await.unwrap_err();
    cluster.pass(60);
    let taken = two.assign(request("b", "two")).await.unwrap();
    assert!(!taken[0].borrowed);
    // The first node notices when it writes.
    one.assign(request("c", "one")).await.unwrap_err();
    assert!(cluster.findings().await.is_empty());
}

#[tokio::test]
async fn certain_addresses_are_given_once_and_refused_with_the_reason() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 26)]).await;
    let (one, two) = (cluster.ipam("one"), cluster.ipam("two"));
    let certain = |handle: &str, node: &str, address: &str| AssignRequest {
        addresses: vec![address.parse().unwrap()],
        ipv4: false,
        ..request(handle, node)
    };
    let given = one.assign(certain("a", "one", "10.0.0.77")).await.unwrap();
    assert_eq!(
        (given[0].block, given[0].borrowed),
        (net("10.0.0.64/26"), false)
    );
    let given = two.assign(certain("b", "two", "10.0.0.78")).await.unwrap();
    assert!(given[0].borrowed);
    for (handle, address, reason) in [
        ("c", "10.0.0.77", "address 10.0.0.77: it is taken by a"),
        ("c", "10.9.0.1", "address 10.9.0.1: it is in no pool"),
    ] {
        let error = two
            .assign(certain(handle, "two", address))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), reason);
    }
    cluster
        .configure(IPAMConfig {
            strict_affinity: true,
            ..IPAMConfig::default()
        })
        .await;
    let error = two
        .assign(certain("c", "two", "10.0.0.79"))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "address 10.0.0.79: its block 10.0.0.64/26 belongs to host:one and strictAffinity is set"
    );
    assert!(cluster.findings().await.is_empty());
}

#[tokio::test]
async fn a_deleted_node_gives_up_its_blocks_and_keeps_addresses_in_use() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 32)]).await;
    let one = cluster.ipam("one");
    one.assign(request("a", "one")).await.unwrap();
    one.tend().await.unwrap();
    let two = cluster.ipam("two");
    assert_eq!(two.release_node("one").await.unwrap(), 2);
    assert!(cluster.affinities().await.is_empty());
    let blocks = cluster.blocks().await;
    assert_eq!((blocks.len(), &blocks[0].spec.affinity), (1, &None));
    // The last address of a block of nobody takes the block with it.
    two.release_handle("a").await.unwrap();
    assert!(cluster.blocks().await.is_empty());
    assert!(cluster.findings().await.is_empty());
}

#[tokio::test]
async fn one_block_is_kept_ahead_and_a_pool_that_no_longer_serves_gets_its_empty_blocks_back() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 31)]).await;
    let ipam = cluster.ipam("n");
    for _ in 0..3 {
        ipam.tend().await.unwrap();
        assert_eq!(cluster.blocks().await.len(), 1);
    }
    ipam.assign(request("a", "n")).await.unwrap();
    ipam.assign(request("b", "n")).await.unwrap();
    ipam.tend().await.unwrap();
    assert_eq!(cluster.blocks().await.len(), 2);
    cluster
        .change_pool("p", |pool| pool.node_selector = "has(gpu)".to_owned())
        .await;
    ipam.tend().await.unwrap();
    assert_eq!(cluster.blocks().await.len(), 1);
    assert!(cluster.findings().await.is_empty());
}

#[tokio::test]
async fn the_next_block_is_claimed_before_the_last_address_is_gone() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/16", 28)]).await;
    let ipam = cluster.ipam("n");
    for pod in 0..13 {
        ipam.assign(request(&pod.to_string(), "n")).await.unwrap();
        ipam.tend().await.unwrap();
        assert_eq!(cluster.blocks().await.len(), 1, "after pod {pod}");
    }
    // Two of sixteen are left.
    ipam.assign(request("13", "n")).await.unwrap();
    ipam.tend().await.unwrap();
    assert_eq!(cluster.blocks().await.len(), 2);
}

#[tokio::test]
async fn what_a_crash_can_leave_is_mended() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/16", 26)]).await;
    let typed = cluster.typed();
    let affinity = async |cidr: &str, state| {
        let cidr = net(cidr);
        let spec = BlockAffinity::new("n", cidr, state);
        typed
            .create(Stored::new(names::affinity("n", &cidr), spec))
            .await
            .unwrap();
    };
    let block = async |cidr: &str, node: Option<&str>, used: bool| {
        let cidr = net(cidr);
        let mut spec = block::new(cidr, node, UNIX_EPOCH);
        if used {
            let attribute = crate::resources::Attribute {
                handle_id: Some("h".to_owned()),
                ..Default::default()
            };
            block::assign_next(&mut spec, attribute).unwrap();
        }
        typed
            .create(Stored::new(names::block(&cidr), spec))
            .await
            .unwrap();
    };
    affinity("10.0.0.0/26", AffinityState::Pending).await;
    affinity("10.0.0.64/26", AffinityState::Pending).await;
    block("10.0.0.64/26", Some("n"), false).await;
    affinity("10.0.0.128/26", AffinityState::Pending).await;
    block("10.0.0.128/26", Some("other"), true).await;
    affinity("10.0.0.192/26", AffinityState::PendingDeletion).await;
    block("10.0.0.192/26", Some("n"), true).await;
    affinity("10.0.1.0/26", AffinityState::PendingDeletion).await;
    block("10.0.1.0/26", Some("n"), false).await;
    affinity("10.0.1.64/26", AffinityState::Confirmed).await;
    block("10.0.1.128/26", Some("n"), true).await;
    block("10.0.1.192/26", None, false).await;
    cluster.ipam("n").tend().await.unwrap();

    let mut left: Vec<String> = Vec::new();
    for stored in cluster.affinities().await {
        left.push(format!("{} {}", stored.spec.cidr, stored.spec.state));
    }
    left.sort();
    assert_eq!(
        left,
        [
            "10.0.0.192/26 confirmed",
            "10.0.0.64/26 confirmed",
            "10.0.1.128/26 confirmed"
        ]
    );
    let mut blocks: Vec<String> = Vec::new();
    for stored in cluster.blocks().await {
        blocks.push(stored.spec.cidr.to_string());
    }
    assert_eq!(
        blocks,
        [
            "10.0.0.128/26",
            "10.0.0.192/26",
            "10.0.0.64/26",
            "10.0.1.128/26"
        ]
    );
}

#[tokio::test]
async fn a_broken_block_is_not_used_and_not_claimed_over() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/25", 26)]).await;
    let ipam = cluster.ipam("n");
    ipam.tend().await.unwrap();
    let mine = cluster.blocks().await.remove(0);
    // As another writer might leave it; the store in memory would refuse it, so it comes by the back door.
    let mut object = mine.clone().into_object();
    object.spec["unallocated"] = serde_json::json!([0, 0]);
    cluster.store.put_unchecked(object);
    let fresh = cluster.ipam("n");
    fresh.tend().await.unwrap();
    let given = fresh.assign(request("h", "n")).await.unwrap();
    assert_ne!(given[0].block, mine.spec.cidr);
}

#[tokio::test]
async fn a_hundred_concurrent_requests_get_a_hundred_addresses() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 28)]).await;
    let ipam = Arc::new(cluster.ipam("n"));
    let mut tasks = Vec::new();
    for index in 0..100 {
        let ipam = Arc::clone(&ipam);
        // Two calls a handle, as when a runtime tries again too early.
        let handle = format!("h{}", index / 2);
        tasks.push(tokio::spawn(async move {
            ipam.assign(request(&handle, "n")).await
        }));
    }
    let mut addresses = std::collections::BTreeSet::new();
    for task in tasks {
        addresses.insert(task.await.unwrap().unwrap()[0].address);
    }
    assert_eq!(addresses.len(), 50);
    assert!(cluster.findings().await.is_empty());
    assert_eq!(cluster.blocks().await.len(), 4);
}

#[test]
fn the_walk_starts_anywhere_and_visits_every_block_once() {
    let mut pool = IPPool::new(net("10.0.0.0/28"));
    pool.block_size = Some(30);
    let mut existing = BTreeMap::new();
    let mut found = Vec::new();
    while let Some(cidr) = pools::first_unclaimed(&pool, u128::from(u32::MAX), &existing, &[]) {
        existing.insert(cidr.network(), cidr);
        found.push(cidr.to_string());
    }
    assert_eq!(
        found,
        ["10.0.0.12/30", "10.0.0.0/30", "10.0.0.4/30", "10.0.0.8/30"]
    );
    // Blocks of another size are in the way, too.
    let existing = BTreeMap::from([("10.0.0.0".parse().unwrap(), net("10.0.0.0/29"))]);
    assert_eq!(
        pools::first_unclaimed(&pool, 0, &existing, &[]),
        Some(net("10.0.0.8/30"))
    );
    let existing = BTreeMap::from([("10.0.0.1".parse().unwrap(), net("10.0.0.1/32"))]);
    assert_eq!(
        pools::first_unclaimed(&pool, 0, &existing, &[]),
        Some(net("10.0.0.4/30"))
    );
    // An IPv6 pool has more blocks than anyone could walk.
    let pool = IPPool::new(net("fd00::/48"));
    assert!(pools::first_unclaimed(&pool, u128::MAX, &BTreeMap::new(), &[]).is_some());
}

#[tokio::test]
async fn two_confirmed_affinities_for_one_block_are_found_and_the_loser_is_named() {
    let cidr = net("10.0.0.0/26");
    let affinity = |node: &str, cidr| {
        let spec = BlockAffinity::new(node, cidr, AffinityState::Confirmed);
        Stored::new(names::affinity(node, &cidr), spec)
    };
    let block = Stored::new("b", block::new(cidr, Some("two"), UNIX_EPOCH));
    let affinities = [affinity("one", cidr), affinity("two", cidr)];
    let findings = audit::duplicate_affinities([&block], &affinities);
    let loses = |findings: &[Finding]| match findings {
        [Finding::DuplicateAffinity { loser, .. }] => loser.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(loses(&findings), "one");
    assert_eq!(loses(&audit::duplicate_affinities(&[], &affinities)), "two");
    let overlapping = [affinity("one", cidr), affinity("two", net("10.0.0.32/27"))];
    assert_eq!(
        loses(&audit::duplicate_affinities(&[], &overlapping)),
        "two"
    );
}
