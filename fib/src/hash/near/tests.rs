//! Neighbours stand together, and everything else is scattered.

use std::collections::HashSet;
use std::net::Ipv4Addr;

use super::*;
use crate::kernel::{Key, NeighbourKey};

#[test]
fn sixteen_neighbours_have_places_side_by_side_and_different_tags() {
    let nearness = Nearness::default();
    for first in [
        "10.0.0.16/32",
        "10.1.0.0/26",
        "fd00::400/122",
        "fd00::20/128",
    ] {
        let first: IpNet = first.parse().unwrap();
        let hashes: Vec<u64> = following(first, 16).map(|p| hash(&nearness, p)).collect();
        let place = hashes[0] & WHERE;
        for (i, hash) in (0..).zip(&hashes) {
            assert_eq!(hash & WHERE, place + i, "{first}");
        }
        let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> (64 - TAG_BITS)).collect();
        assert!(tags.len() >= 8, "{first}: {tags:?}");
    }
}

#[test]
fn groups_of_neighbours_are_scattered() {
    let nearness = Nearness::default();
    for first in [
        "10.0.0.0/32",
        "10.0.0.0/26",
        "10.0.0.0/24",
        "fd00::/128",
        "fd00::/122",
    ] {
        let all: Vec<IpNet> = following(first.parse().unwrap(), 1 << 16).collect();
        // As many parts of a table as there are groups: at random, 63 % of them (2589) are taken.
        let parts: HashSet<u64> = all
            .iter()
            .map(|prefix| (hash(&nearness, *prefix) & WHERE) >> PLACE_BITS & 0xfff)
            .collect();
        assert!(parts.len() > 2300, "{first}: {}", parts.len());
    }
}

#[test]
fn prefixes_that_differ_in_length_metric_or_family_stand_elsewhere() {
    let nearness = Nearness::default();
    let key = |prefix: &str, metric| {
        let key = Key {
            prefix: prefix.parse().unwrap(),
            metric,
        };
        nearness.hash_one(key) & WHERE & !u64::from(PLACE_MASK)
    };
    let keys = [
        key("10.0.0.0/24", 0),
        key("10.0.0.0/25", 0),
        key("10.0.0.0/24", 1),
        key("0.0.0.0/0", 0),
        key("::/0", 1),
        key("::/128", 0),
    ];
    assert_eq!(HashSet::from(keys).len(), keys.len());
}

#[test]
fn two_tables_do_not_agree_and_other_keys_are_scattered_one_by_one() {
    let [one, other] = [Nearness::default(), Nearness::default()];
    let prefix: IpNet = "10.0.0.0/32".parse().unwrap();
    assert_ne!(hash(&one, prefix), hash(&other, prefix));
    let places: HashSet<u64> = (0..4096u32)
        .map(|i| NeighbourKey::Address(7, Ipv4Addr::from(0x0a00_0000 + i).into()))
        .map(|key| one.hash_one(key) & 0xfff)
        .collect();
    assert!(places.len() > 2300, "{}", places.len());
}

#[test]
fn a_table_by_prefix_is_a_table() {
    let mut map = PrefixMap::default();
    let all: Vec<IpNet> = following("10.0.0.0/26".parse().unwrap(), 5000).collect();
    for (i, prefix) in all.iter().enumerate() {
        assert_eq!(map.insert(*prefix, i), None);
    }
    for (i, prefix) in all.iter().enumerate() {
        assert_eq!(map.get(prefix), Some(&i));
    }
    assert_eq!(map.keys().count(), 5000);
    assert_eq!(map.remove(&all[7]), Some(7));
    assert!(!map.contains_key(&all[7]) && map.contains_key(&all[8]));
    assert_eq!((map.iter().count(), map.values().count()), (4999, 4999));
}

fn hash(nearness: &Nearness, prefix: IpNet) -> u64 {
    nearness.hash_one(Prefix(prefix))
}

fn following(first: IpNet, count: u32) -> impl Iterator<Item = IpNet> {
    let length = first.prefix_len();
    (0..count).map(move |i| match first {
        IpNet::V4(net) => {
            let address = u32::from(net.addr()) + (i << (32 - length));
            IpNet::new(Ipv4Addr::from(address).into(), length).unwrap()
        }
        IpNet::V6(net) => {
            let address = u128::from(net.addr()) + (u128::from(i) << (128 - length));
            IpNet::new(std::net::Ipv6Addr::from(address).into(), length).unwrap()
        }
    })
}

const WHERE: u64 = u64::MAX >> TAG_BITS;
