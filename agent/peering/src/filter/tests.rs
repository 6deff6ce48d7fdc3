//! What a BGPFilter becomes.

use serde_json::json;

use super::*;
use crate::testing::Cluster;
use crate::{Defaults, peers_of};

fn written(policy: &Policy) -> Value {
    serde_json::to_value(policy).unwrap()["rules"].take()
}

fn of(spec: Value, way: Way) -> (Value, Vec<String>) {
    let cluster = Cluster::default().filter("f", spec);
    let mut faults = Vec::new();
    let names = ["f".to_owned()];
    let policy = filtered(&cluster.0, &names, way, Policy::accept_all(), &mut faults);
    (written(&policy), faults)
}

#[test]
fn each_condition_and_operation_becomes_a_rule() {
    let when = |condition: Value| {
        let mut rule = json!({"action": "Reject"});
        for (field, value) in condition.as_object().unwrap() {
            rule[field] = value.clone();
        }
        let (rules, faults) = of(json!({"importV4": [rule]}), Way::Import);
        assert_eq!(faults, Vec::<String>::new());
        assert_eq!(rules[0]["name"], "f importV4[0]");
        assert_eq!(rules[0]["action"], "reject");
        let mut when = rules[0]["match"].clone();
        assert_eq!(when["families"], json!(["ipv4-unicast"]));
        when.as_object_mut().unwrap().remove("families");
        when
    };
    let table = [
        (json!({}), json!({})),
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "Equal"}),
            json!({"prefixes": ["10.0.0.0/8"]}),
        ),
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "NotEqual"}),
            json!({"notPrefixes": ["10.0.0.0/8"]}),
        ),
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "In"}),
            json!({"prefixes": ["10.0.0.0/8 inside"]}),
        ),
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 24, "max": 28}}),
            json!({"prefixes": ["10.0.0.0/8 ge 24 le 28"]}),
        ),
        (
            json!({"cidr": "10.0.0.0/8", "matchOperator": "NotIn"}),
            json!({"notPrefixes": ["10.0.0.0/8 inside"]}),
        ),
        (
            json!({"source": "RemotePeers"}),
            json!({"from": ["learned"]}),
        ),
        (json!({"peerType": "eBGP"}), json!({"peers": ["external"]})),
        (json!({"peerType": "iBGP"}), json!({"peers": ["internal"]})),
        (
            json!({"communities": {"values": ["64512:1"]}}),
            json!({"communities": {"any": ["64512:1"]}}),
        ),
        (
            json!({"communities": {"values": ["64512:1:2"]}}),
            json!({"largeCommunities": {"any": ["64512:1:2"]}}),
        ),
        (
            json!({"asPathPrefix": [65001, 65002]}),
            json!({"asPath": {"regexp": ["^65001_65002_"]}}),
        ),
        (
            json!({"priority": 1024}),
            json!({"localPref": ["2147482623"]}),
        ),
    ];
    for (condition, expected) in table {
        assert_eq!(when(condition.clone()), expected, "{condition}");
    }
    let operations = json!([
        {"addCommunity": {"value": "64512:7"}},
        {"addCommunity": {"value": "64512:7:8"}},
        {"prependASPath": {"prefix": [64512, 64512]}},
        {"setPriority": {"value": 512}},
    ]);
    let rule = json!({"action": "Accept", "operations": operations});
    let (rules, faults) = of(json!({"exportV6": [rule]}), Way::Export);
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(
        rules[0]["set"],
        json!({
            "localPref": 2_147_483_135,
            "prependPath": [64512, 64512],
            "communities": {"add": ["64512:7"]},
            "largeCommunities": {"add": ["64512:7:8"]},
        })
    );
}

#[test]
fn what_cannot_be_followed_is_left_out_and_said() {
    let (rules, faults) = of(
        json!({"exportV4": [
            {"action": "Reject", "interface": "*.calico"},
            {"action": "Accept", "tomorrow": 1},
            {"action": "Accept", "operations": [{"setOrigin": {"value": "igp"}}]},
            {"action": "Accept", "peerType": "xBGP"},
            {"action": "Reject"},
        ]}),
        Way::Export,
    );
    assert_eq!(rules.as_array().unwrap().len(), 1);
    assert_eq!(
        faults,
        [
            "BGPFilter f: spec.exportV4[0].interface: *.calico: paths have no device; the rule is left out",
            "BGPFilter f: spec.exportV4[1].tomorrow: 1 is not known here",
            "BGPFilter f: spec.exportV4[2].operations[0]: {\"setOrigin\":{\"value\":\"igp\"}} is not known here",
            "BGPFilter f: spec.exportV4[3].peerType: \"xBGP\" is neither eBGP nor iBGP",
        ]
    );
}

#[test]
fn a_peers_filters_come_in_order_before_what_holds_without_them() {
    let reject = |cidr: &str| json!({"action": "Reject", "matchOperator": "In", "cidr": cidr});
    let cluster = Cluster::of(&["a", "b"])
        .filter(
            "one",
            json!({"exportV4": [reject("10.1.0.0/16")], "importV4": [reject("10.9.0.0/16")]}),
        )
        .filter("two", json!({"exportV4": [reject("10.2.0.0/16")]}))
        .peer(
            "tor",
            json!({"peerIP": "10.0.0.254", "asNumber": 65001, "filters": ["two", "one", "none"]}),
        );
    let (peers, faults) = peers_of("a", &cluster.0, &Defaults::default());
    let names = |policy: &Policy| {
        let names = policy.rules.iter().map(|rule| rule.name.clone());
        names.collect::<Vec<_>>()
    };
    let tor = peers
        .iter()
        .find(|peer| peer.config.remote_asn == 65001)
        .unwrap();
    assert_eq!(
        names(&tor.config.export),
        ["two exportV4[0]", "one exportV4[0]", "local"]
    );
    assert_eq!(names(&tor.config.import), ["one importV4[0]"]);
    assert_eq!(faults, ["BGPFilter none: there is none"]);
    let mesh = peers
        .iter()
        .find(|peer| peer.config.remote_asn != 65001)
        .unwrap();
    assert_eq!(names(&mesh.config.export), ["local"]);
}
