//! Every condition and every change, as operators write them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde_json::{Value, json};

use super::*;
use crate::rib::SessionKind;
use crate::wire::{Attributes, Family, Origin};

mod order;
mod text;

const OWN_ASN: u32 = 64512;

/// The path that the tables below are about.
fn path() -> Attributes {
    Attributes {
        origin: Origin::Egp,
        as_path: "65001 65002 {7 8} 65010".parse().unwrap(),
        next_hop: Some([192, 0, 2, 1].into()),
        med: Some(50),
        local_pref: Some(150),
        communities: vec![64512 << 16 | 100, 0xffff_ff01],
        // rt:64512:100, ro:192.0.2.1:5, rt:4200000000:7, and a link bandwidth.
        extended_communities: vec![
            0x0002_fc00_0000_0064,
            0x0103_c000_0201_0005,
            0x0202_fa56_ea00_0007,
            0x4004_fc00_0000_0064,
        ],
        large_communities: vec![(64512, 1, 2)],
        ..Attributes::default()
    }
}

fn policy(written: Value) -> Policy {
    serde_json::from_value(written).unwrap()
}

struct Seen {
    accepted: bool,
    rule: Option<String>,
    attributes: Attributes,
    next_hop: Option<NextHopChange>,
}

fn run(policy: &Policy, prefix: &str, attributes: &Attributes) -> Seen {
    let session = SessionPeer {
        address: [10, 0, 0, 7].into(),
        kind: SessionKind::Client,
        interface: Some("eth0.100"),
    };
    let source = PathSource::Peer {
        address: [10, 0, 0, 9].into(),
        kind: SessionKind::External,
    };
    let prefix: IpNet = prefix.parse().unwrap();
    let program = policy.program(&session);
    let subject = Subject {
        family: Family::of(&prefix),
        source,
        attributes,
        prepend_asn: Some(OWN_ASN),
    };
    let judged = program.evaluate(&program.signature(&prefix), subject);
    Seen {
        accepted: judged.decision == Decision::Accept,
        rule: judged.by.map(|rule| rule.to_string()),
        next_hop: judged.draft.next_hop,
        attributes: judged.draft.attributes.into_owned(),
    }
}

fn matches(condition: &Value) -> bool {
    let rule = json!({"match": condition, "action": "accept"});
    let policy = policy(json!({"rules": [rule], "default": "reject"}));
    run(&policy, "10.1.0.0/24", &path()).accepted
}

#[test]
fn each_condition_holds_and_fails_as_written() {
    let table = [
        (json!({}), true),
        (json!({"prefixes": ["10.1.0.0/24"]}), true),
        (json!({"prefixes": ["10.1.0.0/16"]}), false),
        (json!({"prefixes": ["10.1.0.0/16 inside"]}), true),
        (json!({"prefixes": ["10.1.0.0/25 inside"]}), false),
        (json!({"prefixes": ["10.0.0.0/8 ge 24"]}), true),
        (json!({"prefixes": ["10.0.0.0/8 ge 25"]}), false),
        (json!({"prefixes": ["10.0.0.0/8 le 23"]}), false),
        (json!({"prefixes": ["10.0.0.0/8 ge 20 le 24"]}), true),
        (
            json!({"prefixes": ["fd00::/8 inside", "10.1.0.0/24"]}),
            true,
        ),
        (json!({"notPrefixes": ["10.2.0.0/16 inside"]}), true),
        (json!({"notPrefixes": ["10.1.0.0/24"]}), false),
        (
            json!({"prefixes": ["10.0.0.0/8 inside"], "notPrefixes": ["10.1.0.0/16 inside"]}),
            false,
        ),
        (json!({"families": ["ipv4-unicast"]}), true),
        (json!({"families": ["ipv6-unicast"]}), false),
        (json!({"from": ["learned"]}), true),
        (json!({"from": ["local"]}), false),
        (json!({"from": ["external"]}), true),
        (json!({"from": ["internal", "client"]}), false),
        (json!({"from": ["10.0.0.9"]}), true),
        (json!({"from": ["10.0.0.7"]}), false),
        (json!({"peers": ["10.0.0.7"]}), true),
        (json!({"peers": ["10.0.0.0/24"]}), true),
        (json!({"peers": ["10.0.0.9", "external"]}), false),
        (json!({"peers": ["internal"]}), true),
        (json!({"peers": ["client"]}), true),
        (json!({"interfaces": ["eth*"]}), true),
        (json!({"interfaces": ["*.100"]}), true),
        (json!({"interfaces": ["eth0"]}), false),
        (json!({"interfaces": ["e*0*0"]}), true),
        (json!({"nextHops": ["192.0.2.1"]}), true),
        (json!({"nextHops": ["192.0.2.0/24"]}), true),
        (json!({"nextHops": ["192.0.3.0/24", "::/0"]}), false),
        (json!({"med": [50]}), true),
        (json!({"med": ["0-49", "51-"]}), false),
        (json!({"localPref": ["101-"]}), true),
        (json!({"localPref": ["0-149"]}), false),
        (json!({"origins": ["egp", "incomplete"]}), true),
        (json!({"origins": ["igp"]}), false),
        (json!({"asPath": {"first": [65001]}}), true),
        (json!({"asPath": {"first": [65002]}}), false),
        (json!({"asPath": {"origin": ["65000-65020"]}}), true),
        (json!({"asPath": {"origin": [8]}}), false),
        (json!({"asPath": {"contains": [8]}}), true),
        (json!({"asPath": {"contains": [9, "65003-65009"]}}), false),
        (json!({"asPath": {"length": ["0-4"]}}), true),
        (json!({"asPath": {"length": ["5-"]}}), false),
        (json!({"asPath": {"regexp": ["_65002_"]}}), true),
        (json!({"asPath": {"regexp": ["_8_"]}}), true),
        (json!({"asPath": {"regexp": ["_6500_"]}}), false),
        (json!({"asPath": {"regexp": ["^65001_65002_"]}}), true),
        (json!({"asPath": {"regexp": ["_65010$"]}}), true),
        (json!({"asPath": {"regexp": ["^$"]}}), false),
        (json!({"asPath": {"regexp": ["^6500[1-3]( |$)"]}}), true),
        (json!({"communities": {"any": ["64512:*"]}}), true),
        (
            json!({"communities": {"any": ["64512:101-", "64513:*"]}}),
            false,
        ),
        (json!({"communities": {"any": ["no-export"]}}), true),
        (
            json!({"communities": {"all": ["64512:100", "no-export"]}}),
            true,
        ),
        (
            json!({"communities": {"all": ["64512:100", "64512:101"]}}),
            false,
        ),
        (json!({"communities": {"none": ["64512:1-99"]}}), true),
        (json!({"communities": {"none": ["*:100"]}}), false),
        (
            json!({"extendedCommunities": {"any": ["rt:64512:*"]}}),
            true,
        ),
        (
            json!({"extendedCommunities": {"any": ["ro:64512:*"]}}),
            false,
        ),
        (
            json!({"extendedCommunities": {"any": ["ro:192.0.2.1:1-9"]}}),
            true,
        ),
        (
            json!({"extendedCommunities": {"all": ["rt:4200000000:7", "0x4004*"]}}),
            true,
        ),
        (json!({"extendedCommunities": {"none": ["rt:*:*"]}}), false),
        (
            json!({"extendedCommunities": {"any": ["0x4005*", "0x4004fc0000000065"]}}),
            false,
        ),
        (json!({"largeCommunities": {"any": ["64512:*:2"]}}), true),
        (json!({"largeCommunities": {"all": ["64512:1:3-"]}}), false),
        // All must hold.
        (json!({"med": [50], "origins": ["igp"]}), false),
        (
            json!({"med": [50], "asPath": {"first": [65001], "origin": [1]}}),
            false,
        ),
    ];
    for (condition, holds) in table {
        assert_eq!(matches(&condition), holds, "{condition}");
    }
}

#[test]
fn what_a_path_does_not_have_is_as_the_decision_sees_it() {
    let bare = Attributes::default();
    for (condition, holds) in [
        (json!({"med": [0]}), true),
        (json!({"localPref": [100]}), true),
        (json!({"nextHops": ["0.0.0.0/0", "::/0"]}), false),
        (json!({"asPath": {"first": ["*"]}}), false),
        (json!({"asPath": {"origin": ["*"]}}), false),
        (json!({"asPath": {"regexp": ["^$"]}}), true),
        (json!({"asPath": {"length": [0]}}), true),
    ] {
        let rule = json!({"match": condition, "action": "accept"});
        let policy = policy(json!({"rules": [rule], "default": "reject"}));
        assert_eq!(
            run(&policy, "10.1.0.0/24", &bare).accepted,
            holds,
            "{condition}"
        );
    }
}

fn changed(set: Value) -> Seen {
    let policy = policy(json!({"rules": [{"set": set, "action": "accept"}], "default": "reject"}));
    run(&policy, "10.1.0.0/24", &path())
}

#[test]
fn each_change_does_what_it_says_and_nothing_else() {
    type Expect = fn(&mut Attributes);
    let table: [(Value, Expect); 18] = [
        (json!({}), |_| ()),
        (json!({"localPref": 200}), |a| a.local_pref = Some(200)),
        (json!({"med": 7}), |a| a.med = Some(7)),
        (json!({"med": "add 10"}), |a| a.med = Some(60)),
        (json!({"med": "add 4294967295"}), |a| a.med = Some(u32::MAX)),
        (json!({"med": "subtract 60"}), |a| a.med = Some(0)),
        (json!({"med": "remove"}), |a| a.med = None),
        (json!({"origin": "incomplete"}), |a| {
            a.origin = Origin::Incomplete
        }),
        (json!({"nextHop": "192.0.2.9"}), |a| {
            a.next_hop = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9)));
        }),
        (json!({"nextHop": "self"}), |_| ()),
        (json!({"prepend": 2}), |a| {
            a.as_path = "64512 64512 65001 65002 {7 8} 65010".parse().unwrap();
        }),
        (json!({"prepend": 1, "prependPath": [1, 2]}), |a| {
            a.as_path = "1 2 64512 65001 65002 {7 8} 65010".parse().unwrap();
        }),
        (
            json!({"communities": {"add": ["64512:100", "64512:101"]}}),
            |a| {
                a.communities.push(64512 << 16 | 101);
            },
        ),
        (json!({"communities": {"remove": ["64512:*"]}}), |a| {
            a.communities = vec![0xffff_ff01];
        }),
        (json!({"communities": {"set": []}}), |a| {
            a.communities = Vec::new()
        }),
        (
            json!({"communities": {"set": ["1:1"], "remove": ["1:*"], "add": ["2:2"]}}),
            |a| a.communities = vec![2 << 16 | 2],
        ),
        (
            json!({"extendedCommunities": {"remove": ["rt:*:*", "0x4004*"], "add": ["rt:64513:1"]}}),
            |a| {
                a.extended_communities = vec![0x0103_c000_0201_0005, 0x0002_fc01_0000_0001];
            },
        ),
        (
            json!({"largeCommunities": {"remove": ["64512:1:*"], "add": ["64512:3:3"]}}),
            |a| a.large_communities = vec![(64512, 3, 3)],
        ),
    ];
    for (set, expect) in table {
        let mut expected = path();
        expect(&mut expected);
        assert_eq!(changed(set.clone()).attributes, expected, "{set}");
    }
    assert_eq!(
        changed(json!({"nextHop": "self"})).next_hop,
        Some(NextHopChange::Own)
    );
    assert_eq!(
        changed(json!({"nextHop": "keep"})).next_hop,
        Some(NextHopChange::Keep)
    );
}

#[test]
fn what_nothing_changes_is_not_copied() {
    let policy = policy(
        json!({"rules": [{"match": {"med": [50]}, "action": "accept"}], "default": "reject"}),
    );
    let (program, attributes) = (policy.in_no_session(), path());
    let prefix: IpNet = "10.1.0.0/24".parse().unwrap();
    let subject = Subject {
        family: Family::Ipv4Unicast,
        source: PathSource::Local,
        attributes: &attributes,
        prepend_asn: None,
    };
    let judged = program.evaluate(&program.signature(&prefix), subject);
    assert!(matches!(
        judged.draft.attributes,
        std::borrow::Cow::Borrowed(_)
    ));
}
