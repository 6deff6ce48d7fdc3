//! Whose a block is, and what becomes of it: what the rules of claim and release are there for, one by one.

use super::*;
use crate::ipam::release::Claimed;

const BLOCK: &str = "10.0.0.0/26";

async fn one_block() -> Cluster {
    Cluster::new(&[("p", BLOCK, 26)]).await
}

#[tokio::test]
async fn what_somebody_has_marked_as_deleted_is_deleted_and_not_used() {
    let cluster = one_block().await;
    let typed = cluster.typed();
    let mut block = block::new(net(BLOCK), Some("node-1"), UNIX_EPOCH);
    block.deleted = true;
    typed
        .create(Stored::new(names::block(&net(BLOCK)), block))
        .await
        .unwrap();
    let mut affinity = BlockAffinity::new("node-1", net(BLOCK), AffinityState::Confirmed);
    affinity.deleted = true;
    let name = names::affinity("node-1", &net(BLOCK));
    typed.create(Stored::new(name, affinity)).await.unwrap();

    let ipam = cluster.ipam("node-1");
    ipam.assign(request("h", "node-1")).await.unwrap();
    let (blocks, affinities) = (cluster.blocks().await, cluster.affinities().await);
    assert_eq!((blocks.len(), affinities.len()), (1, 1));
    assert!(!blocks[0].spec.deleted && !affinities[0].spec.deleted);
    assert_eq!(affinities[0].spec.state, AffinityState::Confirmed);
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn a_block_in_use_stays_its_nodes_where_only_empty_ones_are_given_up() {
    let cluster = one_block().await;
    let ipam = cluster.ipam("node-1");
    ipam.assign(request("h", "node-1")).await.unwrap();
    let rules = ipam.rules().await.unwrap();
    let given_up = ipam.release_claim("node-1", net(BLOCK), Claimed::WhenEmpty, &rules);
    given_up.await.unwrap();
    let (blocks, affinities) = (cluster.blocks().await, cluster.affinities().await);
    assert_eq!(block::node_of(&blocks[0].spec), Some("node-1"));
    assert_eq!(affinities[0].spec.state, AffinityState::Confirmed);
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn a_node_that_goes_takes_no_block_of_another_with_it() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/24", 26)]).await;
    for node in ["node-1", "node-2"] {
        let ipam = cluster.ipam(node);
        ipam.assign(request(node, node)).await.unwrap();
    }
    let count = cluster.ipam("leader").release_affinities_of("node-1").await;
    assert_eq!(count.unwrap(), 1);
    let owners: Vec<_> = cluster.blocks().await;
    let owners = owners.iter().map(|block| block::node_of(&block.spec));
    let mut owners: Vec<_> = owners.map(|node| node.map(str::to_owned)).collect();
    owners.sort();
    assert_eq!(owners, [None, Some("node-2".to_owned())]);
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn of_a_handle_only_the_addresses_that_are_named_are_released() {
    let cluster = one_block().await;
    let ipam = cluster.ipam("node-1");
    let own = ipam.assign(request("h", "node-1")).await.unwrap()[0].address;
    let rules = ipam.rules().await.unwrap();
    let another = "10.0.0.63".parse().unwrap();
    ipam.release_some("h", &[another], &rules).await.unwrap();
    assert_eq!(
        block::addresses_of(&cluster.blocks().await[0].spec, "h"),
        [own]
    );
    ipam.release_some("h", &[own, another], &rules)
        .await
        .unwrap();
    assert!(block::addresses_of(&cluster.blocks().await[0].spec, "h").is_empty());
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn what_another_process_of_the_node_has_given_is_released_though_memory_is_older() {
    let cluster = one_block().await;
    let (one, other) = (cluster.ipam("node-1"), cluster.ipam("node-1"));
    one.assign(request("first", "node-1")).await.unwrap();
    other.assign(request("second", "node-1")).await.unwrap();
    one.release_handle("second").await.unwrap();
    let blocks = cluster.blocks().await;
    assert!(block::addresses_of(&blocks[0].spec, "second").is_empty());
    assert_eq!(block::addresses_of(&blocks[0].spec, "first").len(), 1);
    assert_eq!(cluster.findings().await, []);
}

#[tokio::test]
async fn an_empty_block_goes_with_its_claim() {
    let cluster = one_block().await;
    let ipam = cluster.ipam("node-1");
    ipam.assign(request("h", "node-1")).await.unwrap();
    ipam.release_handle("h").await.unwrap();
    let leader = cluster.ipam("leader");
    leader.release_affinity("node-1", net(BLOCK)).await.unwrap();
    assert!(cluster.blocks().await.is_empty() && cluster.affinities().await.is_empty());
}
