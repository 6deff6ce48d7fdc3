//! Nodes.

use super::*;

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": "node-1", "uid": "u1", "resourceVersion": "900", "creationTimestamp": "2024-05-06T07:08:09Z",
            "labels": {"kubernetes.io/hostname": "node-1", "rack": "a"},
            "annotations": {
                "node.alpha.kubernetes.io/ttl": "0",
                "projectcalico.org/IPv4Address": "10.0.0.5/24",
                "projectcalico.org/IPv6Address": "fd00::5/64",
                "projectcalico.org/IPv4IPIPTunnelAddr": "192.168.1.1",
                "projectcalico.org/IPv4VXLANTunnelAddr": "192.168.1.2",
                "projectcalico.org/VXLANTunnelMACAddr": "66:00:00:00:00:01",
                "projectcalico.org/ASNumber": "64512",
                "projectcalico.org/RouteReflectorClusterID": "244.0.0.1",
                "projectcalico.org/IPv4WireguardInterfaceAddr": "192.168.1.3",
                "projectcalico.org/Interfaces": "[{\"name\":\"eth1\",\"addresses\":[\"10.9.0.5\"]}]",
                "projectcalico.org/WireguardPublicKey": "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY=",
                "projectcalico.org/labels": "{\"route-reflector\":\"true\"}",
            },
        },
        "spec": {"podCIDR": "10.244.0.0/24"},
        "status": {"addresses": [
            {"type": "InternalIP", "address": "10.0.0.5"},
            {"type": "ExternalIP", "address": "203.0.113.5"},
            {"type": "Hostname", "address": "node-1"},
        ]},
    })
}

fn written(object: &Object, current: &Value) -> Value {
    match V1.write(object, Some(current)).unwrap() {
        Write::PatchStatus(patch) => patch,
        other => panic!("{other:?} is no patch"),
    }
}

fn refused(object: &Object, current: &Value) -> String {
    match V1.write(object, Some(current)).unwrap() {
        Write::Refused(why) => why,
        other => panic!("{other:?} is not refused"),
    }
}

#[test]
fn annotations_and_addresses_of_kubernetes_are_our_spec() {
    let object = there(V1, Kind::Node, &node());
    assert_eq!(
        object.spec,
        json!({
            "bgp": {
                "asNumber": "64512", "ipv4Address": "10.0.0.5/24", "ipv6Address": "fd00::5/64",
                "ipv4IPIPTunnelAddr": "192.168.1.1", "routeReflectorClusterID": "244.0.0.1",
            },
            "wireguard": {"interfaceIPv4Address": "192.168.1.3"},
            "ipv4VXLANTunnelAddr": "192.168.1.2", "vxlanTunnelMACAddr": "66:00:00:00:00:01",
            "interfaces": [{"name": "eth1", "addresses": ["10.9.0.5"]}],
            "orchRefs": [{"nodeName": "node-1", "orchestrator": "k8s"}],
            "addresses": [
                {"address": "10.0.0.5/24", "type": "CalicoNodeIP"},
                {"address": "fd00::5/64", "type": "CalicoNodeIP"},
                {"address": "10.0.0.5", "type": "InternalIP"},
                {"address": "203.0.113.5", "type": "ExternalIP"},
            ],
        })
    );
    let labels = ["kubernetes.io/hostname", "rack", "route-reflector"];
    assert_eq!(object.metadata.labels.keys().collect::<Vec<_>>(), labels);
    // A Node that no program of Calico has touched.
    let bare = json!({"metadata": {"name": "n", "uid": "u", "resourceVersion": "1"}});
    let object = there(V1, Kind::Node, &bare);
    assert_eq!(
        object.spec,
        json!({"orchRefs": [{"nodeName": "n", "orchestrator": "k8s"}]})
    );
}

#[test]
fn nothing_is_written_when_nothing_changes() {
    let node = node();
    let object = there(V1, Kind::Node, &node);
    assert_eq!(
        written(&object, &node)["metadata"]["annotations"],
        json!({})
    );
}

#[test]
fn a_write_touches_what_changes_and_removes_with_null() {
    let node = node();
    let mut object = there(V1, Kind::Node, &node);
    let bgp = object.spec["bgp"].as_object_mut().unwrap();
    bgp.insert("asNumber".to_owned(), json!(64_999));
    bgp.remove("routeReflectorClusterID");
    object.spec["ipv6VXLANTunnelAddr"] = json!("fd00:9::1");
    object
        .metadata
        .labels
        .insert("mine".to_owned(), "1".to_owned());
    object.metadata.labels.remove("route-reflector");
    object
        .metadata
        .annotations
        .insert("note".to_owned(), "x".to_owned());
    let patch = written(&object, &node);
    assert_eq!(
        patch,
        json!({"metadata": {"uid": "u1", "resourceVersion": "900", "annotations": {
            "projectcalico.org/ASNumber": "64999",
            "projectcalico.org/RouteReflectorClusterID": null,
            "projectcalico.org/IPv6VXLANTunnelAddr": "fd00:9::1",
            "projectcalico.org/labels": "{\"mine\":\"1\"}",
            "projectcalico.org/annotations": "{\"note\":\"x\"}",
        }}})
    );
    let after = patched(&node, &patch);
    let read = there(V1, Kind::Node, &after);
    assert_eq!(read.metadata.labels, object.metadata.labels);
    assert_eq!(read.metadata.annotations, object.metadata.annotations);
    assert_eq!(read.spec["bgp"]["asNumber"], "64999");
    assert_ne!(read.revision, object.revision);
    let key = "projectcalico.org/WireguardPublicKey";
    assert_eq!(
        after["metadata"]["annotations"][key],
        node["metadata"]["annotations"][key]
    );
}

#[test]
fn a_heartbeat_of_the_kubelet_is_no_change() {
    let node = node();
    let object = there(V1, Kind::Node, &node);
    let mut later = node.clone();
    later["metadata"]["resourceVersion"] = json!("901");
    later["status"]["conditions"] =
        json!([{"type": "Ready", "lastHeartbeatTime": "2024-05-06T07:08:10Z"}]);
    assert_eq!(there(V1, Kind::Node, &later).revision, object.revision);
    // And is not in the way of a write, which is for the version that is there.
    let patch = written(&object, &later);
    assert_eq!(patch["metadata"]["resourceVersion"], "901");
    later["metadata"]["labels"]["rack"] = json!("b");
    assert!(matches!(
        V1.write(&object, Some(&later)),
        Err(StoreError::Conflict(_))
    ));
    // Another machine of that name.
    let mut other = node;
    other["metadata"]["uid"] = json!("u2");
    assert!(matches!(
        V1.write(&object, Some(&other)),
        Err(StoreError::Conflict(_))
    ));
}

#[test]
fn what_has_no_place_is_refused_with_a_sentence() {
    let node = node();
    let object = there(V1, Kind::Node, &node);
    let new = Object {
        revision: None,
        ..object.clone()
    };
    let write = V1.write(&new, None).unwrap();
    assert!(
        matches!(&write, Write::Refused(why) if why.contains("kubelet")),
        "{write:?}"
    );
    assert!(matches!(
        V1.write(&new, Some(&node)),
        Err(StoreError::Exists(_))
    ));
    let deletion = V1.deletion(&object.key, None, &node).unwrap();
    assert!(matches!(deletion, Deletion::Refused(_)));

    let mut odd = object.clone();
    odd.spec["bgp"]["colour"] = json!("red");
    let why = refused(&odd, &node);
    assert!(why.starts_with("spec.bgp.colour: "), "{why}");
    let mut odd = object.clone();
    odd.metadata
        .labels
        .insert("rack".to_owned(), "b".to_owned());
    let why = refused(&odd, &node);
    assert!(
        why.contains("rack") && why.contains("kubectl label node"),
        "{why}"
    );
}
