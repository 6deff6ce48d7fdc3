//! UIDs and owners.

use super::super::metadata::reversed_uid;
use super::*;

#[test]
fn a_uid_is_reversed_bit_by_bit_but_for_version_and_variant() {
    for (uid, reversed) in [
        (
            "01020304-0506-4708-890a-0b0c0d0e0f10",
            "8040c020-a060-4710-8950-d030b070f008",
        ),
        (
            "ffffffff-0000-4fff-bfff-000000000001",
            "ffffffff-0000-4fff-bfff-000000000080",
        ),
        ("not a uid", "not a uid"),
        ("", ""),
    ] {
        assert_eq!(reversed_uid(uid), reversed);
        assert_eq!(reversed_uid(reversed), uid);
    }
}

#[test]
fn an_owner_is_referred_to_by_the_uid_that_is_right_there() {
    let uid = "01020304-0506-4708-890a-0b0c0d0e0f10";
    let kept = json!({"creationTimestamp": null, "ownerReferences": [
        {"apiVersion": "crd.projectcalico.org/v1", "kind": "Tier", "name": "a", "uid": uid},
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b", "uid": uid},
    ]});
    let value = json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "BGPFilter",
        "metadata": {"name": "f", "uid": uid, "resourceVersion": "1", "annotations": {METADATA: kept.to_string()}},
        "spec": {},
    });
    let object = there(V1, Kind::BGPFilter, &value);
    let owners = &object.metadata.extra["ownerReferences"];
    assert_eq!(owners[0]["apiVersion"], "projectcalico.org/v3");
    assert_eq!(owners[0]["uid"], reversed_uid(uid));
    assert_eq!(owners[1]["uid"], uid);
    assert_eq!(meaning(&replaced(V1, &object, &value)), meaning(&value));
}
