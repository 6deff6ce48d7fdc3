//! Where nodes end up.

use super::*;

fn racks(nodes: u16, racks: u8) -> Vec<u8> {
    Options {
        nodes,
        racks,
        ..Options::default()
    }
    .sites()
    .iter()
    .map(|site| site.rack)
    .collect()
}

#[test]
fn three_nodes_in_two_racks_leave_two_nodes_side_by_side() {
    assert_eq!(racks(3, 2), [1, 1, 2]);
}

#[test]
fn every_rack_has_a_node() {
    for nodes in 1..=20 {
        for count in 1..=nodes as u8 {
            let mut used = racks(nodes, count);
            used.dedup();
            assert_eq!(
                used,
                (1..=count).collect::<Vec<_>>(),
                "{nodes} nodes in {count} racks"
            );
        }
    }
}

#[test]
fn a_node_has_the_rack_in_its_addresses() {
    let sites = Options {
        nodes: 3,
        racks: 2,
        ..Options::default()
    }
    .sites();
    let shown: Vec<_> = sites
        .iter()
        .map(|site| format!("{} {} {}", site.name, site.ipv4, site.ipv6))
        .collect();
    assert_eq!(
        shown,
        [
            "node1 172.31.1.1/24 fd00:31:1::1/64",
            "node2 172.31.1.2/24 fd00:31:1::2/64",
            "node3 172.31.2.1/24 fd00:31:2::1/64"
        ]
    );
}

#[test]
fn an_option_out_of_range_is_named_with_its_value() {
    let of = |nodes, racks| {
        Options {
            nodes,
            racks,
            ..Options::default()
        }
        .check()
        .unwrap_err()
        .to_string()
    };
    assert_eq!(of(0, 1), "--nodes 0: 1 to 1000 are possible");
    assert_eq!(of(300, 1), "--racks 1: 2 to 50 are possible with 300 nodes");
    assert_eq!(of(2, 3), "--racks 3: 1 to 2 are possible with 2 nodes");
}
