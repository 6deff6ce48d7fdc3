//! The small form of `caracal-scale`: what a story costs is counted, and grows as it must and no faster.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::time::Duration;

use caracal_sim::scale::{Account, Shape, Story, World, story};

const REFLECTORS: u64 = 4;

/// The accounts, by story. That every node has each block after each of them, and nothing else, is checked on the way.
fn lived(shape: Shape, stories: &[Story]) -> Vec<Account> {
    let mut accounts = Vec::new();
    let tell = |account: &Account| accounts.push(account.clone());
    story::live(shape, stories, || 0, tell).unwrap();
    accounts
}

fn clients(nodes: usize) -> Shape {
    Shape {
        whole: 5,
        ..Shape::reflected(nodes, REFLECTORS as usize)
    }
}

fn of(accounts: &[Account], story: &str) -> Account {
    let found = accounts.iter().find(|account| account.story == story);
    found.unwrap().clone()
}

#[test]
fn a_change_costs_one_update_a_session_and_a_fixed_number_of_encodings() {
    for nodes in [50, 100, 200_u64] {
        let accounts = lived(clients(nodes as usize), &[Story::Change]);
        for story in ["one block is withdrawn", "one block is announced"] {
            let account = of(&accounts, story);
            // To all reflectors, from them to all other clients, and from each to the others.
            let wanted = REFLECTORS * (1 + (nodes - 1) + (REFLECTORS - 1));
            assert_eq!(account.updates, wanted, "{nodes} nodes, {story}");
            // Clients are one group of a reflector, and reflectors the other one.
            assert_eq!(account.encodings, 2 * REFLECTORS, "{nodes} nodes, {story}");
        }
    }
}

#[test]
fn a_change_in_a_mesh_costs_one_update_a_session_and_one_encoding() {
    for nodes in [10, 20, 40_u64] {
        let accounts = lived(Shape::mesh(nodes as usize), &[Story::Change]);
        for story in ["one block is withdrawn", "one block is announced"] {
            let account = of(&accounts, story);
            assert_eq!(account.updates, nodes - 1, "{nodes} nodes, {story}");
            assert_eq!(account.encodings, 1, "{nodes} nodes, {story}");
        }
    }
}

#[test]
fn a_cold_start_sends_each_table_once() {
    for nodes in [50, 100, 200_u64] {
        let account = lived(clients(nodes as usize), &[]).remove(0);
        let to_a_node = account.node_messages.1;
        // Every block of a node is in one UPDATE. Beside them: OPEN, KEEPALIVEs, End-of-RIB.
        let wanted = REFLECTORS * (nodes - 1)..=REFLECTORS * (nodes + 10);
        assert!(wanted.contains(&to_a_node), "{nodes} nodes: {to_a_node}");
        assert_eq!(account.lost, 0);
    }
}

#[test]
fn a_rolling_restart_of_all_nodes_is_heard_of_by_nobody_else() {
    for shape in [clients(100), Shape::mesh(20)] {
        let accounts = lived(shape, &[Story::RollingRestart]);
        let account = of(&accounts, "rolling restart of all nodes");
        assert_eq!(account.lost, 0, "{shape:?}");
        // What a node that is back tells is what its peers had kept (RFC 4724).
        assert_eq!(account.encodings, 0, "{shape:?}");
        let nodes = shape.nodes as u64;
        let wanted = match shape.reflectors as u64 {
            // Both ends of its sessions: its blocks and End-of-RIB, and all that it gets.
            0 => nodes * (nodes - 1) * 4,
            reflectors => nodes * reflectors * (nodes - 1 + 3),
        };
        assert_eq!(account.updates, wanted, "{shape:?}");
    }
}

#[test]
fn the_loss_of_half_of_the_reflectors_costs_no_way_and_no_update() {
    for own_clusters in [false, true] {
        let shape = Shape {
            own_clusters,
            ..clients(50)
        };
        let accounts = lived(shape, &[Story::ReflectorLoss]);
        let account = of(&accounts, "half of the reflectors lost");
        assert_eq!((account.lost, account.updates), (0, 0), "{own_clusters}");
        assert_eq!(of(&accounts, "they are back").lost, 0);
    }
}

#[test]
fn halves_that_cannot_reach_one_another_forget_one_another_and_find_together_again() {
    for shape in [clients(50), Shape::mesh(20)] {
        let accounts = lived(shape, &[Story::Partition]);
        // Each node loses the blocks of the other half, once.
        let lost = shape.nodes * shape.blocks() / 2;
        let account = of(&accounts, "partition into halves");
        assert_eq!(account.lost, lost as u64, "{shape:?}");
        assert_eq!(of(&accounts, "partition heals").lost, 0, "{shape:?}");
    }
}

#[test]
fn what_is_missing_in_a_world_is_found() {
    let shape = clients(10);
    let mut world = World::new(shape, || 0);
    for host in 0..shape.hosts() {
        world.plan_start(host, Duration::ZERO, false);
    }
    assert!(world.check().is_err(), "nobody has anything yet");
    world.run_for(Duration::from_secs(20));
    world.check().unwrap();
    // Nobody's latency is that short.
    world.withdraw(shape.blocks() - 1);
    assert!(world.check().is_err(), "there is one block too many");
    world.run_for(Duration::from_secs(1));
    world.check().unwrap();
    world.announce(shape.blocks() - 1);
    assert!(world.check().is_err(), "one block is missing");
    world.run_for(Duration::from_secs(1));
    world.check().unwrap();
}
