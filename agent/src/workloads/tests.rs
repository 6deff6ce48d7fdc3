use sha1::{Digest, Sha1};

use super::requests::GATEWAY_V6;
use super::*;

mod fake;
mod moves;
mod reading;
mod reports;
mod requests;

#[test]
fn the_device_is_named_as_calico_names_it() {
    // printf default.web-1 | sha1sum
    let named = device_name(Some(("default", "web-1")), "0123456789ab", "eth0");
    assert_eq!(named, format!("cali{}", &sha1_hex("default.web-1")[..11]));
    assert_eq!(named.len(), 15);
}

#[test]
fn a_further_interface_of_a_pod_has_a_device_of_its_own() {
    let named = device_name(Some(("default", "web-1")), "0123456789ab", "net1");
    assert_eq!(
        named,
        format!("cali{}", &sha1_hex("default.web-1/net1")[..11])
    );
}

#[test]
fn without_kubernetes_the_device_follows_the_container() {
    let named = device_name(None, "0123456789ab", "eth0");
    assert_eq!(
        named,
        format!("cali{}", &sha1_hex("0123456789ab.eth0")[..11])
    );
}

#[test]
fn a_mac_is_six_octets() {
    assert_eq!(
        parse_mac("ee:00:01:02:03:ff"),
        Some([0xee, 0, 1, 2, 3, 0xff])
    );
    for bad in [
        "",
        "ee",
        "ee:00:01:02:03",
        "ee:00:01:02:03:ff:00",
        "xx:00:01:02:03:ff",
        "ee-00-01-02-03-ff",
    ] {
        assert_eq!(parse_mac(bad), None, "{bad}");
    }
}

#[test]
fn a_handle_names_network_and_container() {
    assert_eq!(handle("k8s-pod-network", "abc"), "k8s-pod-network.abc");
}

#[test]
fn the_ipv6_gateway_is_the_link_local_address_of_the_host_sides_mac() {
    assert_eq!(GATEWAY_V6.to_string(), "fe80::ecee:eeff:feee:eeee");
}

#[test]
fn a_pod_may_spoof_where_it_asks_for_sources_and_asking_is_allowed() {
    let quiet = Workload {
        key: Key::in_namespace(caracal_datastore::Kind::WorkloadEndpoint, "default", "w"),
        network: None,
        container_id: "0123456789ab".into(),
        ifname: "eth0".into(),
        namespace: None,
        pod: None,
        device: "cali1".into(),
        addresses: vec!["10.65.0.7".parse().unwrap()],
        mac: [2, 0, 0, 0, 0, 7],
        allowed_sources: vec![],
        identity: Identity::default(),
        recorded: true,
    };
    let asking = Workload {
        allowed_sources: vec!["10.9.0.0/24".parse().unwrap()],
        ..quiet.clone()
    };
    for (workload, allowed, expected) in [
        (&quiet, true, false),
        (&asking, false, false),
        (&asking, true, true),
    ] {
        assert_eq!(workload.endpoint(allowed).may_spoof, expected);
    }
}

fn sha1_hex(text: &str) -> String {
    Sha1::digest(text.as_bytes())
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect()
}
