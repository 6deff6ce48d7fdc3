use super::*;
use crate::tunnels::derived_mac;
use caracal_bgp_net::Md5Key;
use caracal_datastore::{Key, Kind, Metadata, Object, WatchEvent};
use caracal_fib::model::IpipDevice;
use caracal_fib::{TunnelSet, Tunnels};
use serde_json::{Value, json};

mod peers;
mod records;
mod tunnels;

fn cluster(objects: &[(Kind, &str, Value)]) -> Cluster {
    let mut cluster = Cluster::new("node1");
    for (kind, name, spec) in objects {
        cluster.handle(WatchEvent::Set(Object {
            key: Key {
                kind: *kind,
                namespace: None,
                name: (*name).into(),
            },
            metadata: Metadata {
                name: (*name).into(),
                ..Metadata::default()
            },
            spec: spec.clone(),
            revision: None,
        }));
    }
    cluster.handle(WatchEvent::InSync);
    cluster
}

fn node(name: &'static str, address: &str) -> (Kind, &'static str, Value) {
    (
        Kind::Node,
        name,
        json!({"bgp": {"ipv4Address": address, "ipv4IPIPTunnelAddr": "10.233.0.1"}, "ipv4VXLANTunnelAddr": "10.233.0.2"}),
    )
}

fn pool(mode: Value) -> (Kind, &'static str, Value) {
    let mut spec = json!({"cidr": "10.233.0.0/16"});
    spec.as_object_mut()
        .unwrap()
        .extend(mode.as_object().unwrap().clone());
    (Kind::IPPool, "pool", spec)
}

fn affinity(
    name: &'static str,
    node: &str,
    cidr: &str,
    state: &str,
) -> (Kind, &'static str, Value) {
    (
        Kind::BlockAffinity,
        name,
        json!({"node": node, "cidr": cidr, "state": state, "deleted": "false"}),
    )
}

fn block(name: &'static str, node: &str, cidr: &str, size: usize) -> (Kind, &'static str, Value) {
    let allocations: Vec<Value> = vec![Value::Null; size];
    let unallocated: Vec<usize> = (0..size).collect();
    let spec = json!({"cidr": cidr, "affinity": format!("host:{node}"), "allocations": allocations,
        "unallocated": unallocated, "attributes": [], "strictAffinity": false});
    (Kind::IPAMBlock, name, spec)
}

static NO_OPTIONS: std::sync::LazyLock<PeerOptions> =
    std::sync::LazyLock::new(PeerOptions::default);

static NOTHING_SAID: std::sync::LazyLock<settings::Environment> =
    std::sync::LazyLock::new(settings::Environment::default);

static NOBODY: BTreeSet<IpAddr> = BTreeSet::new();

static NOTHING_ALLOWED: crate::filtering::AllowedSources = crate::filtering::AllowedSources::new();

fn own(workloads: &[IpAddr]) -> Own<'_> {
    let addresses = NodeAddresses {
        ipv4: Some("172.31.1.1/24".parse().unwrap()),
        ipv6: None,
    };
    Own {
        node: "node1",
        addresses,
        workloads,
        elevated: &NOBODY,
        assigned: Assigned::default(),
        tunnels_there: const { &BTreeSet::new() },
        mesh_options: &NO_OPTIONS,
        felix: &NOTHING_SAID,
        allowed_sources: &NOTHING_ALLOWED,
    }
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_confirmed_block_is_announced_and_a_pending_one_is_not() {
    // Invariant 4 of docs/architecture.md.
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
        affinity("b", "node1", "10.233.2.0/26", "pending"),
        block("10-233-2-0-26", "node1", "10.233.2.0/26", 64),
        affinity("c", "node1", "10.233.3.0/26", "pendingDeletion"),
        block("10-233-3-0-26", "node1", "10.233.3.0/26", 64),
        affinity("d", "node2", "10.233.4.0/26", "confirmed"),
        block("10-233-4-0-26", "node2", "10.233.4.0/26", 64),
    ]);
    let plan = make(&cluster, own(&[]));
    assert_eq!(
        plan.originated.keys().copied().collect::<Vec<_>>(),
        nets(&["10.233.1.0/26"])
    );
    assert_eq!(
        plan.originated.values().next().unwrap().local_pref,
        Some(2_147_482_623)
    );
    assert_eq!(
        plan.blackholes.iter().copied().collect::<Vec<_>>(),
        nets(&["10.233.1.0/26"])
    );
    assert_eq!(plan.conditions, []);
}

#[test]
fn of_two_confirmed_affinities_the_one_that_the_block_contradicts_is_named_and_not_announced() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        affinity("b", "node2", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node2", "10.233.1.0/26", 64),
    ]);
    let plan = make(&cluster, own(&[]));
    assert!(plan.originated.is_empty() && plan.blackholes.is_empty());
    assert_eq!(plan.conditions[0].name, "DuplicateAffinity");
    assert!(
        plan.conditions[0].message.contains("10.233.1.0/26")
            && plan.conditions[0].message.contains("node2")
    );
}

#[test]
fn a_confirmed_affinity_without_a_block_is_named_and_not_announced() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
    ]);
    let plan = make(&cluster, own(&[]));
    assert!(plan.originated.is_empty());
    assert_eq!(plan.conditions[0].name, "AffinityWithoutBlock");
}

#[test]
fn a_block_of_one_address_is_announced_without_a_blackhole() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({"blockSize": 32})),
        affinity("a", "node1", "10.233.1.7/32", "confirmed"),
        block("10-233-1-7-32", "node1", "10.233.1.7/32", 1),
    ]);
    let plan = make(&cluster, own(&[]));
    assert_eq!(
        plan.originated.keys().copied().collect::<Vec<_>>(),
        nets(&["10.233.1.7/32"])
    );
    assert!(plan.blackholes.is_empty());
}

#[test]
fn a_borrowed_address_is_announced_as_its_own_route() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
        block("10-233-2-0-26", "node2", "10.233.2.0/26", 64),
    ]);
    let workloads: Vec<IpAddr> = ["10.233.1.5", "10.233.2.9", "10.233.77.7"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    let plan = make(&cluster, own(&workloads));
    // 10.233.77.7 lies in a block that the watch has not shown yet: it may be ours, so nothing is said of it.
    assert_eq!(
        plan.originated.keys().copied().collect::<Vec<_>>(),
        nets(&["10.233.1.0/26", "10.233.2.9/32"])
    );
    assert_eq!(
        plan.blackholes.iter().copied().collect::<Vec<_>>(),
        nets(&["10.233.1.0/26"])
    );
}

#[test]
fn a_workload_that_has_just_come_is_announced_above_all_others_whosever_block_it_is() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
        block("10-233-2-0-26", "node2", "10.233.2.0/26", 64),
    ]);
    let workloads: Vec<IpAddr> = ["10.233.1.5", "10.233.2.9"]
        .map(|a| a.parse().unwrap())
        .into();
    let elevated: BTreeSet<IpAddr> = workloads.iter().copied().collect();
    let plan = make(
        &cluster,
        Own {
            elevated: &elevated,
            ..own(&workloads)
        },
    );
    let preferences: Vec<_> = plan
        .originated
        .iter()
        .map(|(p, path)| (p.to_string(), path.local_pref))
        .collect();
    assert_eq!(
        preferences,
        [
            ("10.233.1.0/26".to_owned(), Some(2_147_482_623)),
            ("10.233.1.5/32".to_owned(), Some(2_147_483_135)),
            ("10.233.2.9/32".to_owned(), Some(2_147_483_135)),
        ]
    );
    assert_eq!(plan.normal_local_pref, (2_147_482_623, 2_147_482_623));
}

#[test]
fn what_a_pool_keeps_inside_is_not_announced() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({"disableBGPExport": true})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
    ]);
    let plan = make(&cluster, own(&[]));
    assert!(plan.originated.is_empty());
    assert_eq!(plan.blackholes.len(), 1);
}

#[test]
fn a_pool_over_the_nodes_own_network_is_named_and_left_alone() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        (Kind::IPPool, "wide", json!({"cidr": "172.16.0.0/12"})),
        affinity("a", "node1", "172.20.1.0/26", "confirmed"),
        block("172-20-1-0-26", "node1", "172.20.1.0/26", 64),
    ]);
    let plan = make(&cluster, own(&[]));
    assert!(plan.originated.is_empty() && plan.blackholes.is_empty());
    let condition = &plan.conditions[0];
    assert!(
        condition.message.contains("wide") && condition.message.contains("172.31.1.0/24"),
        "{condition:?}"
    );
}

#[test]
fn what_a_disabled_pool_gave_is_announced_and_encapsulated_as_before() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({"disabled": true, "ipipMode": "Always"})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
    ]);
    let plan = make(&cluster, own(&[]));
    assert_eq!(plan.originated.len(), 1);
    assert!(plan.tunnels.ipip.is_some());
    assert!(!plan.pools[0].may_assign());
    assert_eq!(plan.conditions, []);
}

/// Calico's way to say that a network is not masqueraded.
#[test]
fn a_disabled_pool_over_the_nodes_own_network_is_no_fault() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        (
            Kind::IPPool,
            "no-nat",
            json!({"cidr": "172.16.0.0/12", "disabled": true}),
        ),
    ]);
    let plan = make(&cluster, own(&[]));
    assert_eq!(plan.conditions, []);
    assert_eq!(plan.pools[0].unusable, None);
}

#[test]
fn pools_that_overlap_one_another_are_named() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        (Kind::IPPool, "one", json!({"cidr": "10.233.0.0/16"})),
        (Kind::IPPool, "two", json!({"cidr": "10.233.128.0/17"})),
    ]);
    let plan = make(&cluster, own(&[]));
    let message = &plan.conditions[0].message;
    assert!(
        message.contains("one") && message.contains("two"),
        "{message}"
    );
}

/// For tests of what is made of a plan: node1 with a block, two others in the mesh, VXLAN.
pub(crate) fn mesh_of_three() -> Plan {
    make(&cluster(&mesh()), own(&[]))
}

/// The same with a router beside them.
pub(crate) fn with_router(address: &str) -> Plan {
    let mut objects = mesh();
    let spec = json!({"peerIP": address, "asNumber": 64999});
    objects.push((Kind::BGPPeer, "router", spec));
    make(&cluster(&objects), own(&[]))
}

fn mesh() -> Vec<(Kind, &'static str, Value)> {
    vec![
        node("node1", "172.31.1.1/24"),
        node("node2", "172.31.1.2/24"),
        node("node3", "172.31.2.1/24"),
        pool(json!({"vxlanMode": "CrossSubnet"})),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
    ]
}
