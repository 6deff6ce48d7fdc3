use super::*;
use crate::difference::changes;
use crate::model::TunnelProtection;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn masqueraded(pools: &[&str]) -> Rules {
    Rules {
        masquerade: Masquerade {
            sources: pools.iter().map(|pool| net(pool)).collect(),
            except_to: pools.iter().map(|pool| net(pool)).collect(),
            ..Masquerade::default()
        },
        ..Rules::default()
    }
}

fn made(rules: &Rules) -> Option<Table> {
    table(rules, &BTreeMap::new())
}

#[test]
fn nothing_to_do_is_no_table() {
    assert_eq!(made(&Rules::default()), None);
    let mut rules = Rules {
        service_loops: Some(ServiceLoops {
            services: BTreeSet::new(),
            reject: false,
        }),
        ..Rules::default()
    };
    rules.masquerade.except_to.insert(net("10.65.0.0/16"));
    assert_eq!(made(&rules), None);
}

#[test]
fn a_family_without_sources_has_no_rule() {
    let rules_of = |pools: &[&str]| made(&masqueraded(pools)).unwrap().chains[POSTROUTING].clone();
    assert_eq!(rules_of(&["10.65.0.0/16"]).rules.len(), 1);
    assert_eq!(rules_of(&["10.65.0.0/16", "fd65::/64"]).rules.len(), 2);
    assert_eq!(rules_of(&["10.65.0.0/16", "10.66.0.0/16"]).rules.len(), 1);
}

#[test]
fn nested_and_doubled_pools_do_not_overlap_in_a_set() {
    let table = made(&masqueraded(&[
        "10.65.0.0/16",
        "10.65.4.0/24",
        "10.64.0.0/16",
        "10.70.0.1/32",
    ]));
    let set = &table.unwrap().sets["pools-v4"];
    let ranges: Vec<_> = set.elements.iter().collect();
    assert_eq!(ranges.len(), 2, "{ranges:?}");
    assert_eq!(ranges[0].first, [10, 64, 0, 0]);
    assert_eq!(ranges[0].last, [10, 65, 255, 255]);
    assert_eq!(ranges[1].first, ranges[1].last);
}

#[test]
fn a_chain_that_is_refused_is_left_out_and_the_others_stay() {
    let mut rules = masqueraded(&["10.65.0.0/16"]);
    rules.spoofing = Some(SpoofProtection {
        device_prefixes: ["cali".to_owned()].into(),
        allowed: BTreeMap::new(),
        may_send_ipip: false,
        vxlan_port: None,
    });
    let without = [(PREROUTING, "no such expression".to_owned())].into();
    let table = table(&rules, &without).unwrap();
    assert_eq!(table.chains.keys().collect::<Vec<_>>(), [PODS, POSTROUTING]);
}

#[test]
fn equal_tables_need_no_message_and_a_pool_more_needs_one_a_set() {
    let one = made(&masqueraded(&["10.65.0.0/16"]));
    let two = made(&masqueraded(&["10.65.0.0/16", "10.77.0.0/16"]));
    assert_eq!(changes(one.as_ref(), one.as_ref()), []);
    let objects = |changes: Vec<crate::difference::Change>| -> Vec<String> {
        changes.into_iter().map(|change| change.object).collect()
    };
    let more = changes(one.as_ref(), two.as_ref());
    assert_eq!(objects(more), ["set masquerade-v4", "set pools-v4"]);
    assert_eq!(objects(changes(one.as_ref(), None)), ["table"]);
    assert_eq!(changes(None, None), []);
}

#[test]
fn a_node_more_is_one_element_more_and_tunnels_that_do_not_end_here_have_no_rule() {
    let with = |ends: &[&str]| Rules {
        tunnels: Some(TunnelProtection {
            ipip: true,
            ends: ends.iter().map(|end| net(end)).collect(),
            ..TunnelProtection::default()
        }),
        ..Rules::default()
    };
    let one = made(&with(&["192.0.2.1/32"]));
    let two = made(&with(&["192.0.2.1/32", "192.0.2.9/32"]));
    let more = changes(one.as_ref(), two.as_ref());
    let objects: Vec<&str> = more.iter().map(|change| &*change.object).collect();
    assert_eq!(objects, ["set ends-v4"]);
    assert_eq!(one.unwrap().chains[INPUT].rules.len(), 1);
    let nothing = Rules {
        tunnels: Some(TunnelProtection::default()),
        ..Rules::default()
    };
    assert_eq!(made(&nothing), None);
}

#[test]
fn pods_without_a_name_are_nobody() {
    let rules = Rules {
        spoofing: Some(SpoofProtection {
            device_prefixes: BTreeSet::new(),
            allowed: BTreeMap::new(),
            may_send_ipip: false,
            vxlan_port: Some(4789),
        }),
        ..Rules::default()
    };
    assert_eq!(made(&rules), None);
}

#[test]
fn many_elements_are_several_messages_of_less_than_64_kilobytes() {
    let mut rules = masqueraded(&["10.65.0.0/16"]);
    let nets = (0..2000u32).map(|n| IpNet::from(IpAddr::from((n * 2).to_be_bytes())));
    let allowed = BTreeMap::from([("cali0123456789a".to_owned(), nets.collect())]);
    rules.spoofing = Some(SpoofProtection {
        device_prefixes: ["cali".to_owned()].into(),
        allowed,
        may_send_ipip: true,
        vxlan_port: None,
    });
    let changes = changes(None, made(&rules).as_ref());
    let of_set = |change: &&crate::difference::Change| change.object == "set allowed-v4";
    assert_eq!(changes.iter().filter(of_set).count(), 1 + 4);
    for change in &changes {
        assert!(change.message.attributes.0.len() < 1 << 16);
    }
}

#[test]
fn a_pattern_is_a_name_or_the_beginning_of_one() {
    use crate::model::DevicePattern;
    let octets = |text: &str| text.parse::<DevicePattern>().unwrap().octets();
    assert_eq!(octets("eth+"), b"eth");
    assert_eq!(octets("eth*"), b"eth");
    assert_eq!(octets("eth0"), *b"eth0\0\0\0\0\0\0\0\0\0\0\0\0");
    for wrong in ["", "*", "a b", "eth*0", "a234567890123456", "eth/0"] {
        let fault = wrong.parse::<DevicePattern>().unwrap_err();
        assert!(fault.to_string().contains(&format!("{wrong:?}")), "{fault}");
    }
}
