//! Sums of pools and blocks.

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::resources::Attribute;

fn used(cidr: &str, affinity: Option<&str>, nodes: &[&str]) -> Stored<IPAMBlock> {
    let mut spec = block::new(cidr.parse().unwrap(), affinity, UNIX_EPOCH);
    for (index, node) in nodes.iter().enumerate() {
        let attribute = Attribute {
            handle_id: Some(format!("h{index}")),
            secondary: [("node".to_owned(), (*node).to_owned())].into(),
            ..Attribute::default()
        };
        block::assign_next(&mut spec, attribute).unwrap();
    }
    Stored::new(super::super::names::block(&spec.cidr), spec)
}

#[test]
fn pools_blocks_and_borrowed_addresses_are_summed_up() {
    let pool = |name: &str, cidr: &str| Stored::new(name, IPPool::new(cidr.parse().unwrap()));
    let pools = [pool("v6", "fd00::/48"), pool("a", "10.0.0.0/24")];
    let mut cooling = used("10.0.0.64/26", Some("two"), &["two"]);
    let address = block::addresses_of(&cooling.spec, "h0");
    let rest = Duration::from_secs(60);
    block::release(&mut cooling.spec, "h0", &address, UNIX_EPOCH, rest);
    let blocks = [
        cooling,
        used("10.0.0.0/26", Some("one"), &["one", "one", "two"]),
        used("10.9.0.0/26", None, &["three"]),
    ];
    let usage = summarise(&pools, &blocks);
    let names: Vec<&str> = usage.pools.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(names, ["a", "v6"]);
    let a = &usage.pools[0];
    assert_eq!((a.capacity, a.used, a.free), (256, 4, 252));
    let rows: Vec<_> = a
        .blocks
        .iter()
        .map(|block| (block.used, block.cooling, block.free))
        .collect();
    assert_eq!(rows, [(3, 0, 61), (0, 1, 63)]);
    assert_eq!(usage.pools[1].capacity, 1 << 80);
    assert_eq!(usage.stray_blocks.len(), 1);
    let borrowed: Vec<String> = usage
        .borrowed
        .iter()
        .map(|one| {
            format!(
                "{} of {:?} by {}",
                one.address,
                one.owner.as_deref(),
                one.node
            )
        })
        .collect();
    assert_eq!(
        borrowed,
        [
            "10.0.0.2 of Some(\"host:one\") by two",
            "10.9.0.0 of None by three"
        ]
    );
}
