use serde_json::json;

use super::*;

fn stored(cidr: &str, node: Option<&str>, size: usize, taken: &[usize]) -> IPAMBlock {
    let allocations: Vec<Option<usize>> = (0..size)
        .map(|ordinal| taken.contains(&ordinal).then_some(0))
        .collect();
    serde_json::from_value(json!({
        "cidr": cidr, "affinity": node.map(|node| format!("host:{node}")), "allocations": allocations,
    }))
    .unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn what_is_new_of_a_block_is_told_apart() {
    let cidr = "10.65.1.0/26".parse().unwrap();
    let mut blocks = Blocks::default();
    for (node, taken, news) in [
        (Some("node1"), &[][..], News::Owner(cidr)),
        (Some("node1"), &[], News::None),
        (Some("node1"), &[5], News::Addresses(cidr)),
        (Some("node2"), &[5], News::Owner(cidr)),
        (None, &[5], News::Owner(cidr)),
        (Some("node1"), &[5], News::Owner(cidr)),
    ] {
        let block = stored("10.65.1.0/26", node, 64, taken);
        assert_eq!(blocks.set("a", &block, "node1"), news, "{node:?} {taken:?}");
        assert_eq!(blocks.own().contains(&cidr), node == Some("node1"));
    }
    assert_eq!(blocks.remove("a"), News::Owner(cidr));
    assert_eq!(blocks.remove("a"), News::None);
    assert!(blocks.own().is_empty());
    assert_eq!(blocks.around(address("10.65.1.5")), None);
}

#[test]
fn the_block_around_an_address_is_found_whatever_its_length() {
    let mut blocks = Blocks::default();
    for (cidr, size) in [
        ("10.65.1.0/26", 64),
        ("10.65.2.0/28", 16),
        ("fd00::40/122", 64),
    ] {
        blocks.set(cidr, &stored(cidr, Some("node1"), size, &[3]), "node1");
    }
    for (text, around, taken) in [
        ("10.65.1.3", Some("10.65.1.0/26"), true),
        ("10.65.1.4", Some("10.65.1.0/26"), false),
        ("10.65.2.3", Some("10.65.2.0/28"), true),
        ("10.65.2.16", None, false),
        ("fd00::43", Some("fd00::40/122"), true),
        ("fd00::83", None, false),
    ] {
        let found = blocks
            .around(address(text))
            .map(|(cidr, _)| cidr.to_string());
        assert_eq!(found.as_deref(), around, "{text}");
        assert_eq!(blocks.is_taken(address(text)), taken, "{text}");
    }
}

#[test]
fn an_object_that_changes_its_cidr_leaves_the_former_one() {
    let mut blocks = Blocks::default();
    blocks.set(
        "a",
        &stored("10.65.1.0/26", Some("node1"), 64, &[]),
        "node1",
    );
    blocks.set(
        "a",
        &stored("10.65.2.0/28", Some("node1"), 16, &[]),
        "node1",
    );
    assert_eq!(blocks.around(address("10.65.1.5")), None);
    let own: Vec<String> = blocks.own().iter().map(ToString::to_string).collect();
    assert_eq!(own, ["10.65.2.0/28"]);
}
