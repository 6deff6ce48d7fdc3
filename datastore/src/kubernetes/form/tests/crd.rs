//! Custom resources.

use super::*;

const UID: &str = "4fa2ff36-25b4-4dc1-9d22-e9a5c6ba0001";
/// The same as Calico shows it.
const UID_SHOWN: &str = "f245ff6c-a42d-4d83-9d44-97a5635d0080";

fn crd(kind: &str, name: &str, metadata: Value, rest: Value) -> Value {
    let mut value = json!({
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": kind,
        "metadata": {
            "name": name, "uid": UID, "resourceVersion": "77", "generation": 3,
            "creationTimestamp": "2024-05-06T07:08:09Z",
            "managedFields": [{"manager": "calico-node", "operation": "Update"}],
        },
    });
    value["metadata"]
        .as_object_mut()
        .unwrap()
        .extend(metadata.as_object().unwrap().clone());
    value
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    value
}

/// As Calico writes them, through its client library and through its address management.
fn as_calico_writes() -> Vec<(Kind, Value)> {
    vec![
        (
            Kind::IPPool,
            crd(
                "IPPool",
                "default-ipv4-ippool",
                json!({"annotations": {METADATA:
                    "{\"generation\":1,\"creationTimestamp\":\"2023-01-02T03:04:05Z\",\"labels\":{\"team\":\"net\"},\"annotations\":{\"note\":\"ours\"}}"}}),
                json!({"spec": {
                    "allowedUses": ["Workload", "Tunnel"], "assignmentMode": "Automatic", "blockSize": 26,
                    "cidr": "192.168.0.0/16", "ipipMode": "Always", "natOutgoing": true,
                    "nodeSelector": "all()", "vxlanMode": "Never", "fieldOfTheFuture": {"a": [1, null]},
                }, "status": {"conditions": [{"type": "Allocatable", "status": "True"}]}}),
            ),
        ),
        (
            Kind::IPAMBlock,
            crd(
                "IPAMBlock",
                "192-168-1-64-30",
                json!({"annotations": {METADATA: "{\"creationTimestamp\":null}"}}),
                json!({"spec": {
                    "affinity": "host:node-1", "affinityClaimTime": "2024-05-06T07:08:09Z",
                    "allocations": [0, null, null, 1],
                    "attributes": [
                        {"handle_id": "ipip-tunnel-addr-node-1",
                         "secondary": {"node": "node-1", "type": "ipipTunnelAddress"}},
                        {"handle_id": "k8s-pod-network.AbC",
                         "secondary": {"namespace": "red", "node": "node-1", "pod": "web-0",
                                       "timestamp": "2024-05-06 07:08:09.1 +0000 UTC"}},
                    ],
                    "cidr": "192.168.1.64/30", "deleted": false,
                    // More than a float can tell apart.
                    "sequenceNumber": 1_714_979_289_123_456_789_u64,
                    "sequenceNumberForAllocation": {"0": 1_714_979_289_123_456_787_u64, "3": 9_007_199_254_740_993_u64},
                    "strictAffinity": false, "unallocated": [1, 2],
                }}),
            ),
        ),
        (
            Kind::BlockAffinity,
            crd(
                "BlockAffinity",
                "node-1-192-168-1-64-30",
                json!({
                    "annotations": {METADATA: "{\"creationTimestamp\":null,\"labels\":{\"projectcalico.org/affinity-type\":\"host\",\"projectcalico.org/hostname-hash\":\"A3XPYDATRKB7Q4SM2O5FN4RXIHBFIL2PITFX26BAIP5XAB2X74CA\",\"projectcalico.org/ip-version\":\"4\"}}"},
                    "labels": {
                        "projectcalico.org/affinity-type": "host",
                        "projectcalico.org/hostname-hash": "A3XPYDATRKB7Q4SM2O5FN4RXIHBFIL2PITFX26BAIP5XAB2X74CA",
                        "projectcalico.org/ip-version": "4",
                    },
                }),
                json!({"spec": {
                    "cidr": "192.168.1.64/30", "deleted": "false", "node": "node-1",
                    "state": "confirmed", "type": "host",
                }}),
            ),
        ),
        (
            Kind::IPAMHandle,
            crd(
                "IPAMHandle",
                "k8s-pod-network.abc",
                json!({"annotations": {METADATA: "{\"creationTimestamp\":null}"}}),
                json!({"spec": {
                    "block": {"192.168.1.64/30": 1}, "deleted": false, "handleID": "k8s-pod-network.AbC",
                }}),
            ),
        ),
        (
            Kind::IPAMConfig,
            crd(
                "IPAMConfig",
                "default",
                json!({"annotations": {METADATA: "{\"creationTimestamp\":null}"}}),
                json!({"spec": {"autoAllocateBlocks": true, "maxBlocksPerHost": 0, "strictAffinity": false}}),
            ),
        ),
        (
            Kind::BGPPeer,
            crd(
                "BGPPeer",
                "tor",
                json!({"annotations": {
                    METADATA: "{\"creationTimestamp\":\"2023-01-02T03:04:05Z\",\"annotations\":{\"projectcalico.org/hint\":\"x\"}}",
                    "projectcalico.org/hint": "x",
                }}),
                json!({"spec": {"asNumber": 64512, "nodeSelector": "rack == '1'", "peerIP": "10.0.0.1"}}),
            ),
        ),
    ]
}

#[test]
fn what_calico_writes_is_read_and_written_back_equal_in_meaning() {
    for (kind, value) in as_calico_writes() {
        let object = there(V1, kind, &value);
        assert_eq!(object.revision, Some(Revision(format!("77/{UID}"))));
        assert_eq!(object.metadata.extra["uid"], UID_SHOWN, "{kind}");
        let written = replaced(V1, &object, &value);
        assert_eq!(meaning(&written), meaning(&value), "{kind}");
        // And unseen, where nobody else writes.
        if !V1.needs_current(kind) {
            let write = V1.write(&object, None).unwrap();
            let Write::Replace {
                value: unseen,
                main: true,
                status: false,
            } = write
            else {
                panic!("{write:?}");
            };
            assert_eq!(meaning(&unseen), meaning(&value), "{kind}");
        }
    }
}

#[test]
fn metadata_that_people_give_is_in_the_annotation() {
    let (kind, value) = as_calico_writes().swap_remove(0);
    let mut object = there(V1, kind, &value);
    assert_eq!(object.metadata.labels["team"], "net");
    assert_eq!(object.metadata.annotations["note"], "ours");
    assert_eq!(object.metadata.annotations.len(), 1);
    assert_eq!(
        object.metadata.extra["creationTimestamp"],
        "2023-01-02T03:04:05Z"
    );

    object
        .metadata
        .labels
        .insert("rack".to_owned(), "1".to_owned());
    object.metadata.annotations.remove("note");
    let written = replaced(V1, &object, &value);
    assert_eq!(written["metadata"]["labels"], Value::Null);
    let kept = written["metadata"]["annotations"][METADATA]
        .as_str()
        .unwrap();
    let kept: Value = serde_json::from_str(kept).unwrap();
    assert_eq!(kept["labels"], json!({"team": "net", "rack": "1"}));
    assert_eq!(kept["annotations"], Value::Null);
    assert_eq!(kept["uid"], Value::Null);
    assert_eq!(there(V1, kind, &written).metadata, object.metadata);
}

#[test]
fn a_new_object_is_made_without_a_version() {
    for form in [V1, V3] {
        for (kind, value) in as_calico_writes() {
            let mut object = there(V1, kind, &value);
            object.revision = None;
            let Write::Create {
                mut value,
                status: false,
            } = form.write(&object, None).unwrap()
            else {
                panic!("{kind} is not created");
            };
            let metadata = value["metadata"].as_object_mut().unwrap();
            assert!(!metadata.contains_key("uid") && !metadata.contains_key("resourceVersion"));
            // The API server gives it.
            metadata.insert("uid".to_owned(), UID.into());
            metadata.insert("resourceVersion".to_owned(), "1".into());
            let mut made = there(form, kind, &value);
            assert_eq!(made.key, object.key);
            assert_eq!(made.metadata.labels, object.metadata.labels);
            assert_eq!(made.metadata.annotations, object.metadata.annotations);
            if kind == Kind::BlockAffinity {
                // A text in one group, a boolean in the other.
                let deleted = [json!(false), json!("false")];
                assert_eq!(made.spec["deleted"], deleted[usize::from(form == V1)]);
                made.spec["deleted"] = object.spec["deleted"].clone();
            }
            assert_eq!(made.spec, object.spec, "{kind}");
        }
    }
}

#[test]
fn what_others_keep_on_the_custom_resource_stays_where_it_stands() {
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": UID}]);
    let value = crd(
        "BGPPeer",
        "tor",
        json!({
            "labels": {"app.kubernetes.io/managed-by": "Helm"},
            "annotations": {"meta.helm.sh/release-name": "calico"},
            "finalizers": ["example.org/wait"],
            "ownerReferences": owner,
        }),
        json!({"spec": {"asNumber": 64512, "peerIP": "10.0.0.1"}, "status": {"seen": true}, "more": 1}),
    );
    let mut object = there(V1, Kind::BGPPeer, &value);
    assert_eq!(
        object.metadata.labels["app.kubernetes.io/managed-by"],
        "Helm"
    );
    assert_eq!(
        object.metadata.extra["creationTimestamp"],
        "2024-05-06T07:08:09Z"
    );
    assert!(!object.metadata.extra.contains_key("managedFields"));
    object
        .metadata
        .labels
        .insert("rack".to_owned(), "1".to_owned());
    let written = replaced(V1, &object, &value);
    let metadata = &written["metadata"];
    assert_eq!(
        metadata["labels"],
        json!({"app.kubernetes.io/managed-by": "Helm"})
    );
    assert_eq!(
        metadata["annotations"]["meta.helm.sh/release-name"],
        "calico"
    );
    assert_eq!(metadata["finalizers"], json!(["example.org/wait"]));
    assert_eq!(metadata["ownerReferences"], owner);
    assert_eq!(metadata["managedFields"], Value::Null);
    assert_eq!(written["status"], json!({"seen": true}));
    assert_eq!(written["more"], 1);
    let kept: Value =
        serde_json::from_str(metadata["annotations"][METADATA].as_str().unwrap()).unwrap();
    assert_eq!(kept["labels"], json!({"rack": "1"}));
    assert_eq!(there(V1, Kind::BGPPeer, &written).metadata, object.metadata);
}

#[test]
fn in_the_native_group_metadata_stands_as_it_is() {
    let mut value = crd(
        "IPPool",
        "a",
        json!({"labels": {"team": "net"}, "annotations": {"note": "x"}, "finalizers": ["f"]}),
        json!({"spec": {"cidr": "10.0.0.0/16"}, "status": {"conditions": []}}),
    );
    value["apiVersion"] = json!("projectcalico.org/v3");
    let object = there(V3, Kind::IPPool, &value);
    assert_eq!(object.metadata.extra["uid"], UID);
    assert_eq!(meaning(&replaced(V3, &object, &value)), meaning(&value));

    let mut config = crd(
        "IPAMConfiguration",
        "default",
        json!({}),
        json!({"spec": {
            "strictAffinity": true, "autoAllocateBlocks": true, "maxBlocksPerHost": 4,
        }}),
    );
    config["apiVersion"] = json!("projectcalico.org/v3");
    let object = there(V3, Kind::IPAMConfig, &config);
    assert_eq!(object.key, Key::new(Kind::IPAMConfig, "default"));
    assert_eq!(meaning(&replaced(V3, &object, &config)), meaning(&config));
}

#[test]
fn what_is_marked_as_deleted_is_not_there_and_the_deletion_is_finished() {
    for (form, mark) in [(V1, json!("true")), (V3, json!(true))] {
        for (kind, value) in as_calico_writes() {
            if !super::super::crd::is_ipams(kind) {
                let deletion = V1
                    .deletion(&there(V1, kind, &value).key, None, &value)
                    .unwrap();
                assert_eq!(deletion, Deletion::Delete(Version::of(&value).unwrap()));
                continue;
            }
            let object = there(form, kind, &value);
            let deletion = form
                .deletion(&object.key, object.revision.as_ref(), &value)
                .unwrap();
            let Deletion::MarkFirst(marked) = deletion else {
                panic!("{deletion:?}");
            };
            let mark = if kind == Kind::BlockAffinity {
                mark.clone()
            } else {
                json!(true)
            };
            assert_eq!(marked["spec"]["deleted"], mark);
            assert_eq!(marked["metadata"]["resourceVersion"], "77");
            let mut rest = marked.clone();
            rest["spec"]["deleted"] = value["spec"]["deleted"].clone();
            assert_eq!(meaning(&rest), meaning(&value), "only the mark is new");

            let reading = form.read(kind, marked.clone());
            assert!(reading.marked && matches!(reading.object, Ok(None)));
            assert_eq!(reading.key.as_ref(), Some(&object.key));
            let version = Version::of(&marked).unwrap();
            let deletion = form.deletion(&object.key, None, &marked).unwrap();
            assert_eq!(deletion, Deletion::Delete(version.clone()));
            assert_eq!(
                version.delete_options()["preconditions"],
                json!({"uid": UID, "resourceVersion": "77"})
            );
        }
    }
}

#[test]
fn another_revision_is_a_conflict() {
    let (kind, value) = as_calico_writes().swap_remove(0);
    let object = there(V1, kind, &value);
    let mut newer = value.clone();
    newer["metadata"]["resourceVersion"] = json!("78");
    let old = object.revision.as_ref();
    assert!(matches!(
        V1.write(&object, Some(&newer)),
        Err(StoreError::Conflict(_))
    ));
    assert!(matches!(
        V1.deletion(&object.key, old, &newer),
        Err(StoreError::Conflict(_))
    ));
    assert!(matches!(
        V1.write(&object, None),
        Err(StoreError::NotFound(_))
    ));
    let new = Object {
        revision: None,
        ..object
    };
    assert!(matches!(
        V1.write(&new, Some(&value)),
        Err(StoreError::Exists(_))
    ));
}

#[test]
fn what_makes_no_sense_is_named() {
    let bad = crd(
        "IPPool",
        "a",
        json!({"annotations": {METADATA: "{oops"}}),
        json!({"spec": {}}),
    );
    let reading = V1.read(Kind::IPPool, bad.clone());
    assert_eq!(reading.key, Some(Key::new(Kind::IPPool, "a")));
    let why = reading.object.unwrap_err().to_string();
    assert!(
        why.starts_with("IPPool a: metadata.annotations:") && why.contains("{oops"),
        "{why}"
    );
    // And can be removed.
    let key = Key::new(Kind::IPPool, "a");
    assert!(matches!(
        V1.deletion(&key, None, &bad),
        Ok(Deletion::Delete(_))
    ));
    for bad in [
        json!([]),
        json!({}),
        json!({"metadata": {}}),
        json!({"metadata": {"name": 3}}),
    ] {
        for kind in Kind::all() {
            let reading = V1.read(*kind, bad.clone());
            assert!(
                reading.object.is_err() && reading.key.is_none(),
                "{kind} {bad}"
            );
        }
    }
    assert!(V1.read_text(Kind::IPPool, "{").object.is_err());
    assert!(V1.read_text(Kind::WorkloadEndpoint, "{").object.is_err());
}

#[test]
fn a_policy_has_its_tier_before_its_name_and_the_name_in_the_annotation() {
    let spec = json!({"spec": {"selector": "all()", "types": ["Ingress"]}});
    for (there_named, kept, ours) in [
        (
            "default.allow-dns",
            "{\"name\":\"allow-dns\",\"creationTimestamp\":null}",
            "allow-dns",
        ),
        (
            "default.allow-dns",
            "{\"creationTimestamp\":null}",
            "allow-dns",
        ),
        (
            "security.deny",
            "{\"name\":\"security.deny\",\"creationTimestamp\":null}",
            "security.deny",
        ),
    ] {
        let value = crd(
            "GlobalNetworkPolicy",
            there_named,
            json!({"annotations": {METADATA: kept}}),
            spec.clone(),
        );
        let object = there(V1, Kind::GlobalNetworkPolicy, &value);
        assert_eq!(object.key.name, ours);
        assert_eq!(object.metadata.name, ours);
        let written = replaced(V1, &object, &value);
        assert_eq!(written["metadata"]["name"], there_named);
        assert_eq!(
            there(V1, Kind::GlobalNetworkPolicy, &written).key.name,
            ours
        );
    }
}

#[test]
fn the_status_of_a_node_status_is_written_to_its_own_place() {
    let value = crd(
        "CalicoNodeStatus",
        "n",
        json!({}),
        json!({
            "spec": {"node": "node-1", "classes": ["BGP"], "updatePeriodSeconds": 10},
            "status": {"lastUpdated": "2024-05-06T07:08:09Z"},
        }),
    );
    let mut object = there(V1, Kind::CalicoNodeStatus, &value);
    object.spec["status"]["lastUpdated"] = json!("2024-05-06T07:08:19Z");
    let write = V1.write(&object, Some(&value)).unwrap();
    assert!(
        matches!(&write, Write::Replace { status: true, .. }),
        "{write:?}"
    );
    object.spec["status"] = value["status"].clone();
    object.spec["spec"]["updatePeriodSeconds"] = json!(20);
    let write = V1.write(&object, Some(&value)).unwrap();
    assert!(
        matches!(
            &write,
            Write::Replace {
                main: true,
                status: false,
                ..
            }
        ),
        "{write:?}"
    );
}
