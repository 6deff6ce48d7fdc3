use serde_json::{Value, json};

use super::*;

fn read(spec: Value) -> FelixConfiguration {
    serde_json::from_value(spec).unwrap()
}

#[test]
fn the_upper_object_wins_field_by_field() {
    let default = read(json!({
        "ipv4NormalRoutePriority": 1024,
        "vxlanPort": 4790,
        "requireMTUFile": true,
        "logSeverityScreen": "Info",
        "floatingIPs": "Enabled",
    }));
    let node = read(json!({
        "ipv4NormalRoutePriority": 100,
        "requireMTUFile": false,
        "logSeverityScreen": "Debug",
    }));
    let merged = read(json!({
        "ipv4NormalRoutePriority": 100,
        "vxlanPort": 4790,
        "requireMTUFile": false,
        "logSeverityScreen": "Debug",
        "floatingIPs": "Enabled",
    }));
    assert_eq!(node.over(default), merged);
    let nothing = FelixConfiguration::default;
    assert_eq!(nothing().over(merged.clone()), merged);
    assert_eq!(merged.clone().over(nothing()), merged);
}

#[test]
fn external_nodes_are_addresses_or_networks() {
    let felix =
        read(json!({"externalNodesList": ["192.0.2.1", "198.51.100.7/24", "2001:db8::/64"]}));
    let nets: Vec<String> = felix.external_nodes().map(|net| net.to_string()).collect();
    assert_eq!(nets, ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/64"]);
    assert_eq!(read(json!({})).external_nodes().count(), 0);
}

#[test]
fn ports_are_a_number_or_a_range() {
    let range = |spec| read(json!({ "natPortRange": spec })).nat_port_range;
    let ports = |first, last| Some(PortRange { first, last });
    assert_eq!(range(json!("32768:65535")), ports(32_768, 65_535));
    assert_eq!(range(json!(99)), ports(99, 99));
    assert_eq!(range(json!("99")), ports(99, 99));
    assert_eq!(range(json!(null)), None);
    for wrong in [
        json!("5:4"),
        json!("a:b"),
        json!(65_536),
        json!(-1),
        json!("1:2:3"),
    ] {
        let spec = json!({ "natPortRange": wrong });
        let fault = serde_json::from_value::<FelixConfiguration>(spec).unwrap_err();
        assert!(
            fault.to_string().contains("is no range of ports"),
            "{fault}"
        );
    }
}
