use super::*;
use crate::tunnels::derived_mac;
use caracal_bgp_net::Md5Key;
use caracal_datastore::{Key, Kind, Metadata, Object, WatchEvent};
use caracal_fib::model::IpipDevice;
use caracal_fib::{TunnelSet, Tunnels};
use serde_json::{Value, json};

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
fn tunnels_are_there_when_a_pool_needs_them() {
    let nodes = [
        node("node1", "172.31.1.1/24"),
        node("node2", "172.31.2.1/24"),
    ];
    let with = |mode: Value| {
        make(
            &cluster(&[nodes[0].clone(), nodes[1].clone(), pool(mode)]),
            own(&[]),
        )
    };
    let ipip = with(json!({"ipipMode": "CrossSubnet"}));
    assert_eq!(
        ipip.tunnels.ipip,
        Some(IpipDevice {
            address: "10.233.0.1".parse().unwrap(),
            mtu: None
        })
    );
    assert!(ipip.tunnels.leaving.vxlan && !ipip.tunnels.leaving.ipip);
    assert_eq!(ipip.pod_mtu(1500), 1480);
    let vxlan = with(json!({"vxlanMode": "Always"}));
    assert!(vxlan.tunnels.leaving.ipip);
    let device = vxlan.tunnels.vxlan.clone().unwrap();
    assert_eq!(
        (device.vni, device.port, device.mac),
        (4096, 4789, derived_mac("node1", false))
    );
    assert_eq!(
        vxlan.vteps.keys().copied().collect::<Vec<_>>(),
        ["172.31.2.1".parse::<IpAddr>().unwrap()]
    );
    assert_eq!(vxlan.pod_mtu(1500), 1450);
}

#[test]
fn pods_have_the_smallest_mtu_of_the_tunnels_that_pools_need_as_configured() {
    let pools = |modes: &[Value], felix: Value| {
        let felix = (Kind::FelixConfiguration, "default", felix);
        let mut objects = vec![node("node1", "172.31.1.1/24"), felix];
        let names = ["one", "two", "three"];
        for (at, mode) in modes.iter().enumerate() {
            let mut spec = json!({"cidr": format!("10.{}.0.0/16", 200 + at)});
            let fields = spec.as_object_mut().unwrap();
            fields.extend(mode.as_object().unwrap().clone());
            objects.push((Kind::IPPool, names[at], spec));
        }
        cluster(&objects)
    };
    let with = |modes: &[Value], felix: Value| {
        let plan = make(&pools(modes, felix), own(&[]));
        (plan.pod_mtu(1500), plan.too_large_mtus(1500))
    };
    let (none, ipip) = (json!({}), json!({"ipipMode": "Always"}));
    let vxlan = json!({"vxlanMode": "CrossSubnet"});
    let pod_mtu = |modes: &[&Value], felix: Value| {
        let modes: Vec<Value> = modes.iter().copied().cloned().collect();
        with(&modes, felix).0
    };
    assert_eq!(pod_mtu(&[&none], json!({"ipipMTU": 1300})), 1500);
    assert_eq!(pod_mtu(&[&none, &ipip], json!({})), 1480);
    assert_eq!(pod_mtu(&[&none, &ipip], json!({"ipipMTU": 1300})), 1300);
    assert_eq!(
        pod_mtu(&[&ipip], json!({"ipipMTU": 0, "vxlanMTU": 1200})),
        1480
    );
    assert_eq!(pod_mtu(&[&ipip, &vxlan], json!({"ipipMTU": 1470})), 1450);
    assert_eq!(pod_mtu(&[&ipip, &vxlan], json!({"vxlanMTU": 1400})), 1400);
    // As Felix does; what comes of it is said.
    let (mtu, sentences) = with(&[ipip], json!({"ipipMTU": 1500}));
    assert_eq!((mtu, sentences.len()), (1500, 1));
    assert!(
        sentences[0].starts_with("ipipMTU is 1500, but packets of more than 1480 octets"),
        "{sentences:?}"
    );
}

#[test]
fn a_tunnel_that_no_pool_asks_for_leaves_and_its_device_waits_for_the_other_nodes() {
    let bare = |name: &'static str, address: &str| {
        (Kind::Node, name, json!({"bgp": {"ipv4Address": address}}))
    };
    let named = |name, address| node(name, address);
    let (own_address, other) = ("172.31.1.1/24", "172.31.2.1/24");
    let with = |nodes: [(Kind, &'static str, Value); 2], mode: Value| {
        let [one, two] = nodes;
        make(&cluster(&[one, two, pool(mode)]), own(&[]))
    };
    let ipip = |tunnels: &Tunnels| {
        let (leaving, awaited) = (tunnels.leaving.ipip, tunnels.awaited.ipip);
        (tunnels.ipip.is_some(), leaving, awaited)
    };
    let both = [named("node1", own_address), named("node2", other)];
    assert_eq!(ipip(&with(both, json!({})).tunnels), (true, true, true));
    let other_only = [bare("node1", own_address), named("node2", other)];
    let plan = with(other_only, json!({}));
    assert_eq!(ipip(&plan.tunnels), (false, false, true));
    assert_eq!(plan.without_ipip.len(), 0);
    let none = [bare("node1", own_address), bare("node2", other)];
    assert_eq!(with(none.clone(), json!({})).tunnels, Tunnels::default());
    // A pool asks, and nothing is named yet.
    let plan = with(none, json!({"ipipMode": "Always"}));
    assert_eq!(ipip(&plan.tunnels), (false, false, false));
    assert_eq!(plan.tunnels.leaving, TunnelSet::default());
    let silent: Vec<IpAddr> = plan.without_ipip.into_iter().collect();
    assert_eq!(silent, ["172.31.2.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn what_ipam_has_given_is_on_the_device_before_the_resource_names_it() {
    let address: IpAddr = "10.233.7.7".parse().unwrap();
    let bare = (
        Kind::Node,
        "node1",
        json!({"bgp": {"ipv4Address": "172.31.1.1/24"}}),
    );
    let cluster = |mode: Value| cluster(&[bare.clone(), pool(mode)]);
    let given = Own {
        assigned: [(Tunnel::Ipip, address)].into_iter().collect(),
        ..own(&[])
    };
    let plan = make(&cluster(json!({"ipipMode": "Always"})), given);
    assert_eq!(plan.tunnel_addresses(), [address]);
    assert!(!plan.records_lost, "no watch has told of its block yet");
    let none = make(&cluster(json!({})), given).tunnel_addresses();
    assert!(none.is_empty(), "{none:?}");
}

#[test]
fn felix_configuration_says_how_vxlan_devices_are() {
    let felix = json!({"vxlanVNI": 7, "vxlanPort": 8472, "vxlanMTU": 1400});
    let plan = make(
        &cluster(&[
            node("node1", "172.31.1.1/24"),
            pool(json!({"vxlanMode": "Always"})),
            (Kind::FelixConfiguration, "default", felix),
        ]),
        own(&[]),
    );
    let device = plan.tunnels.vxlan.unwrap();
    assert_eq!((device.vni, device.port, device.mtu), (7, 8472, Some(1400)));
}

#[test]
fn the_derived_mac_is_unicast_and_locally_administered() {
    for v6 in [false, true] {
        let mac = derived_mac("node1", v6);
        assert_eq!(mac[0] & 0b11, 0b10);
    }
    assert_ne!(derived_mac("node1", false), derived_mac("node1", true));
}

/// A cluster whose node1 has a signed peer, the Secret's data being this.
fn with_secret(data: Option<Value>) -> Cluster {
    let mut cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        (
            Kind::BGPPeer,
            "tor",
            json!({"peerIP": "172.31.1.254", "asNumber": 64999, "ttlSecurity": 2,
                   "password": {"secretKeyRef": {"name": "bgp", "key": "tor"}}}),
        ),
    ]);
    if let Some(data) = data {
        cluster.handle(WatchEvent::Set(secret(data)));
    }
    cluster
}

fn secret(data: Value) -> Object {
    Object {
        key: Key::in_namespace(Kind::Secret, "kube-system", "bgp"),
        metadata: Metadata {
            name: "bgp".into(),
            namespace: Some("kube-system".into()),
            ..Metadata::default()
        },
        spec: json!({ "data": data }),
        revision: None,
    }
}

#[test]
fn a_peer_with_a_password_has_the_key_of_the_secret_and_its_ttl_security() {
    let address: IpAddr = "172.31.1.254".parse().unwrap();
    // "hush" and "rush".
    for (base64, octets) in [("aHVzaA==", b"hush"), ("cnVzaA==", b"rush")] {
        let plan = make(&with_secret(Some(json!({"tor": base64}))), own(&[]));
        assert!(plan.peer(address).is_some());
        let options = SessionOptions {
            key: Some(Md5Key::new(octets).unwrap()),
            ttl_security: std::num::NonZeroU8::new(2),
        };
        assert_eq!(plan.sessions, BTreeMap::from([(address, options)]));
        assert_eq!(plan.conditions, []);
        assert!(!format!("{plan:?}").contains("ush"));
    }
}

#[test]
fn a_peer_whose_password_is_missing_is_not_connected_and_peer_secret_and_key_are_named() {
    let long = "eHh4".repeat(27);
    for (data, why) in [
        (None, "there is no Secret bgp"),
        (
            Some(json!({"mesh": "aHVzaA=="})),
            "Secret kube-system/bgp has no key tor",
        ),
        (
            Some(json!({"tor": long})),
            "Secret bgp, key tor: a TCP MD5 key has 1 to 80 octets, and this one has 81",
        ),
    ] {
        let plan = make(&with_secret(data), own(&[]));
        assert!(plan.peers.is_empty() && plan.sessions.is_empty());
        let message =
            format!("peer 172.31.1.254 (Global_172_31_1_254): {why}; it is not connected");
        assert_eq!(plan.conditions, [condition("PasswordMissing", &message)]);
    }
}

#[test]
fn a_secret_that_goes_takes_its_peer_along() {
    let mut cluster = with_secret(Some(json!({"tor": "aHVzaA=="})));
    assert_eq!(make(&cluster, own(&[])).peers.len(), 1);
    cluster.handle(WatchEvent::Deleted(secret(json!({})).key));
    assert!(make(&cluster, own(&[])).peers.is_empty());
}

#[test]
fn a_block_outlives_its_pool_and_is_named() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        affinity("a", "node1", "10.233.1.0/26", "confirmed"),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
    ]);
    let plan = make(&cluster, own(&[]));
    assert_eq!(
        plan.originated.keys().copied().collect::<Vec<_>>(),
        nets(&["10.233.1.0/26"])
    );
    assert_eq!(plan.conditions[0].name, "BlockWithoutPool");
    assert!(plan.conditions[0].message.contains("10.233.1.0/26"));
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

#[test]
fn a_block_whose_affinity_is_lost_is_named_to_be_claimed_again() {
    let cluster = cluster(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        block("10-233-1-0-26", "node1", "10.233.1.0/26", 64),
        block("10-233-2-0-26", "node2", "10.233.2.0/26", 64),
        affinity("c", "node1", "10.233.3.0/26", "pending"),
        block("10-233-3-0-26", "node1", "10.233.3.0/26", 64),
    ]);
    let plan = make(&cluster, own(&[]));
    assert_eq!(
        plan.orphans.iter().copied().collect::<Vec<_>>(),
        nets(&["10.233.1.0/26"])
    );
    assert_eq!(plan.conditions[0].name, "BlockWithoutAffinity");
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

#[test]
fn a_node_without_a_resource_is_to_be_registered() {
    assert!(!make(&cluster(&[]), own(&[])).registered);
    assert!(make(&cluster(&[node("node1", "172.31.1.1/24")]), own(&[])).registered);
}

#[test]
fn an_address_in_use_that_ipam_counts_as_free_is_noticed() {
    let free = block("10-233-1-0-26", "node1", "10.233.1.0/26", 64);
    let mut taken = free.clone();
    taken.2["allocations"][5] = json!(0);
    taken.2["attributes"] = json!([{"handle_id": "h"}]);
    let unallocated: Vec<usize> = (0..64).filter(|ordinal| *ordinal != 5).collect();
    taken.2["unallocated"] = json!(unallocated);
    let workloads: Vec<IpAddr> = vec!["10.233.1.5".parse().unwrap()];
    let lost =
        |objects: &[(Kind, &str, Value)]| make(&cluster(objects), own(&workloads)).records_lost;
    assert!(
        lost(&[node("node1", "172.31.1.1/24"), pool(json!({}))]),
        "its block is gone"
    );
    assert!(lost(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        free
    ]));
    assert!(!lost(&[
        node("node1", "172.31.1.1/24"),
        pool(json!({})),
        taken
    ]));
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

#[test]
fn a_plan_looks_at_the_nodes_own_blocks_and_addresses_and_at_no_others() {
    let mut objects = mesh();
    let names: Vec<String> = (0..5000)
        .map(|number| format!("10-{}-{}-0-26", number / 256, number % 256))
        .collect();
    let names: Vec<&'static str> = names.iter().map(|name| &*name.clone().leak()).collect();
    for name in names {
        let cidr = name.strip_suffix("-26").unwrap().replace('-', ".") + "/26";
        objects.push(block(name, "node2", &cidr, 64));
    }
    let cluster = cluster(&objects);
    let workloads: Vec<IpAddr> = ["10.233.1.5", "10.7.7.7"]
        .map(|address| address.parse().unwrap())
        .into();
    let plan = make(&cluster, own(&workloads));
    // One is the node's own, the other lies in another node's block.
    let announced: Vec<IpNet> = plan.originated.into_keys().collect();
    assert_eq!(announced, nets(&["10.7.7.7/32", "10.233.1.0/26"]));
    let looked_at = cluster.blocks.looked_at.get();
    assert!(looked_at <= 10, "{looked_at} blocks");
}
