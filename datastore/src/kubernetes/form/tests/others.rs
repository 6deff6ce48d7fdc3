//! Kubernetes' own kinds, and KubeVirt's migrations.

use super::*;

fn migration(phase: &str, state: Value) -> Value {
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": {"name": "m", "namespace": "vms", "uid": "u1", "resourceVersion": "5"},
        "spec": {"vmiName": "vm1"},
        "status": {"phase": phase, "migrationState": state},
    })
}

#[test]
fn a_migration_is_there_while_it_is_under_way() {
    for (phase, is_there) in [
        ("", false),
        ("Pending", false),
        ("Scheduling", true),
        ("TargetReady", true),
        ("Running", true),
        ("Failed", true),
        ("Succeeded", false),
    ] {
        let reading = V1.read(Kind::LiveMigration, migration(phase, Value::Null));
        assert_eq!(reading.key.unwrap().to_string(), "LiveMigration vms/m");
        assert_eq!(reading.object.unwrap().is_some(), is_there, "{phase}");
    }
    let object = there(
        V1,
        Kind::LiveMigration,
        &migration("Running", json!({"sourcePod": "virt-launcher-vm1-abc"})),
    );
    assert_eq!(
        object.spec["source"],
        json!({"workload": {"orchestratorID": "k8s", "workloadID": "vms/virt-launcher-vm1-abc"}})
    );
    let selector = object.spec["target"]["selector"].as_str().unwrap();
    let selector = crate::Selector::parse(selector).unwrap();
    let labels = |label: &str, uid: &str| {
        let labels = [(label, "vm1"), ("kubevirt.io/migrationJobUID", uid)];
        labels
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    };
    assert!(selector.matches(&labels("vmi.kubevirt.io/id", "u1")));
    assert!(selector.matches(&labels("vm.kubevirt.io/name", "u1")));
    assert!(!selector.matches(&labels("vm.kubevirt.io/name", "u2")));
    let write = V1.write(
        &object,
        Some(&migration(
            "Running",
            json!({"sourcePod": "virt-launcher-vm1-abc"}),
        )),
    );
    assert!(matches!(write, Ok(Write::Refused(_))));
}

#[test]
fn a_secret_is_itself() {
    let value = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": false,
        "metadata": {
            "name": "bgp", "namespace": "kube-system", "uid": "u1", "resourceVersion": "7",
            "labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["f"],
        },
        "data": {"password": "c2VjcmV0"},
    });
    let mut object = there(V1, Kind::Secret, &value);
    assert_eq!(replaced(V1, &object, &value), value);
    let secret = crate::Stored::<crate::resources::Secret>::from_object(&object).unwrap();
    assert_eq!(secret.spec.value("password"), Some(&b"secret"[..]));
    object.revision = None;
    assert!(matches!(V1.write(&object, None), Ok(Write::Create { .. })));
    let deletion = V1.deletion(&object.key, None, &value);
    assert!(matches!(deletion, Ok(Deletion::Delete(_))));
}

#[test]
fn what_is_kubernetes_own_is_read_and_not_written() {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "web", "namespace": "red", "uid": "u", "resourceVersion": "3",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
        },
        "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"], "externalTrafficPolicy": "Local"},
        "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}},
    });
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "red", "uid": "u", "resourceVersion": "3", "labels": {"team": "a"}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    });
    for (kind, value) in [(Kind::Service, service), (Kind::Namespace, namespace)] {
        let object = there(V1, kind, &value);
        assert_eq!(object.spec["spec"], value["spec"]);
        assert_eq!(object.spec["status"], value["status"]);
        assert!(object.metadata.annotations.len() < 2);
        let write = V1.write(&object, Some(&value)).unwrap();
        assert!(
            matches!(&write, Write::Refused(why) if why.contains("kubectl")),
            "{write:?}"
        );
        let deletion = V1.deletion(&object.key, None, &value);
        assert!(matches!(deletion, Ok(Deletion::Refused(_))));
    }
}

#[test]
fn a_slice_of_either_version_names_the_nodes_of_its_endpoints() {
    let slice = |endpoint: Value, version: &str| {
        json!({
            "apiVersion": format!("discovery.k8s.io/{version}"), "kind": "EndpointSlice",
            "metadata": {
                "name": "web-1", "namespace": "red", "uid": "u", "resourceVersion": "3",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4", "endpoints": [endpoint], "ports": [{"port": 80}],
        })
    };
    let new = json!({"addresses": ["10.1.0.7"], "conditions": {"ready": true}, "nodeName": "node-1", "zone": "z"});
    let old = json!({
        "addresses": ["10.1.0.7"], "conditions": {"ready": true},
        "topology": {"kubernetes.io/hostname": "node-1", "topology.kubernetes.io/zone": "z"},
    });
    let new = there(V1, Kind::EndpointSlice, &slice(new, "v1"));
    let old = there(V1, Kind::EndpointSlice, &slice(old, "v1beta1"));
    assert_eq!(new, old);
    assert_eq!(new.spec["endpoints"][0]["nodeName"], "node-1");
}
