use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::*;
use crate::compile;
use crate::model::{Masquerade, Rules, SpoofProtection, TunnelProtection};

fn made(rules: &Rules) -> Option<Table> {
    compile::table(rules, &BTreeMap::new())
}

fn nets(texts: &[&str]) -> BTreeSet<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn rules(ends: &[&str], port: u16, pools: &[&str], allowed: &[&str]) -> Rules {
    Rules {
        masquerade: Masquerade {
            sources: nets(pools),
            except_to: nets(pools),
            ..Masquerade::default()
        },
        spoofing: Some(SpoofProtection {
            device_prefixes: ["cali".to_owned()].into(),
            allowed: [("cali1".to_owned(), nets(allowed))].into(),
            may_send_ipip: false,
            vxlan_port: Some(port),
        }),
        tunnels: Some(TunnelProtection {
            vxlan: Some(port),
            ends: nets(ends),
            ..TunnelProtection::default()
        }),
        ..Rules::default()
    }
}

#[test]
fn what_stands_stays_and_what_is_new_comes() {
    let before = rules(
        &["192.0.2.1/32", "192.0.2.7/32"],
        4790,
        &["10.65.0.0/16"],
        &["10.9.0.0/24"],
    );
    let before = made(&before).unwrap();
    // A node, the pool and the FelixConfiguration cannot be read, and there is a node more.
    let seen = rules(
        &["192.0.2.1/32", "192.0.2.9/32"],
        4789,
        &[],
        &["10.9.0.0/23"],
    );
    let joined = joined(&before, made(&seen)).unwrap();
    let expected = rules(
        &["192.0.2.1/32", "192.0.2.7/32", "192.0.2.9/32"],
        4790,
        &["10.65.0.0/16"],
        &["10.9.0.0/23"],
    );
    assert_eq!(Some(joined), made(&expected));
}

#[test]
fn nothing_to_wish_for_takes_no_table_away() {
    let before = made(&rules(&[], 4789, &["10.65.0.0/16"], &[])).unwrap();
    assert_eq!(joined(&before, None), Some(before));
}

#[test]
fn a_table_of_another_version_is_replaced() {
    let mut before = made(&rules(&[], 4789, &["10.65.0.0/16"], &[])).unwrap();
    before.sets.remove("ends-v4");
    let desired = made(&rules(&["192.0.2.1/32"], 4789, &[], &[]));
    assert_eq!(joined(&before, desired.clone()), desired);
}

#[test]
fn elements_that_overlap_are_one_and_those_of_two_devices_are_not() {
    let before = made(&rules(
        &[],
        4789,
        &["10.65.0.0/17", "10.70.0.0/16"],
        &["::/0"],
    ))
    .unwrap();
    let mut seen = rules(&[], 4789, &["10.65.0.0/16", "10.71.0.0/16"], &[]);
    if let Some(spoofing) = &mut seen.spoofing {
        spoofing.allowed = [("cali2".to_owned(), nets(&["::/0"]))].into();
    }
    let joined = joined(&before, made(&seen)).unwrap();
    let count = |name: &str| joined.sets[name].elements.len();
    assert_eq!(count("pools-v4"), 2);
    assert_eq!(count("allowed-v6"), 2);
}
