//! IPAM's records that are incomplete, and how many of them are looked at.

use super::*;

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

#[test]
fn a_node_without_a_resource_is_to_be_registered() {
    assert!(!make(&cluster(&[]), own(&[])).registered);
    assert!(make(&cluster(&[node("node1", "172.31.1.1/24")]), own(&[])).registered);
    // As a kubelet makes it anew after somebody has deleted it.
    let bare = [(Kind::Node, "node1", json!({}))];
    assert!(!make(&cluster(&bare), own(&[])).registered);
    let no_address = [(Kind::Node, "node1", json!({"bgp": {"asNumber": 64513}}))];
    assert!(!make(&cluster(&no_address), own(&[])).registered);
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
