//! What others have left in the store and makes no sense: it is named, nothing is assigned from it, and the rest goes on.

use serde_json::{Value, json};

use super::*;
use crate::store::Object;

/// Ways in which a block of four addresses may be broken, and what is said of them.
fn broken() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"allocations": [0, null, null, null], "unallocated": [0, 1, 2, 3], "attributes": [{"handle_id": "x"}]}),
            "0 is allocated as well",
        ),
        (
            json!({"allocations": [null, null, null], "unallocated": [0, 1, 2]}),
            "has 3 entries, its CIDR has 4 addresses",
        ),
        (
            json!({"allocations": [7, null, null, null], "unallocated": [1, 2, 3]}),
            "points to attribute 7, which is not there",
        ),
        (
            json!({"unallocated": [0, 1, 2, 9]}),
            "9 is outside the block",
        ),
        (json!({"unallocated": [3, 3]}), "3 stands there twice"),
        (
            json!({"allocations": "many"}),
            "spec.allocations: invalid type: string \"many\"",
        ),
        (
            json!({"sequenceNumber": -1}),
            "spec.sequenceNumber: invalid value: integer `-1`",
        ),
        (json!({"cidr": "10.0.0.0/3"}), "spec.cidr"),
        (
            json!({"cidr": "nonsense"}),
            "spec.cidr: \"nonsense\" is not a CIDR",
        ),
    ]
}

fn changed(object: &Object, change: Value) -> Object {
    let mut object = object.clone();
    let (Some(spec), Value::Object(change)) = (object.spec.as_object_mut(), change) else {
        panic!("no object");
    };
    spec.extend(change);
    object
}

#[tokio::test]
async fn nothing_is_assigned_from_a_broken_block_and_the_rest_goes_on() {
    for (change, said) in broken() {
        let cluster = Cluster::new(&[("p", "10.0.0.0/28", 30)]).await;
        cluster.ipam("n").tend().await.unwrap();
        let good = cluster.blocks().await.remove(0);
        let object = changed(&good.clone().into_object(), change.clone());
        cluster.store.put_unchecked(object);

        let (_, faults) = cluster.typed().list::<IPAMBlock>().await.unwrap();
        assert_eq!(faults.len(), 1, "{change}");
        let fault = faults[0].to_string();
        let name = format!("IPAMBlock {}: spec", good.metadata.name);
        assert!(
            fault.starts_with(&name) && fault.contains(said),
            "{change}: {fault}"
        );

        // Also after a restart, and until the pool is full.
        for start in 0..2 {
            let ipam = cluster.ipam("n");
            ipam.tend().await.unwrap();
            for index in 0..4 {
                let handle = format!("h{start}-{index}");
                let given = ipam.assign(request(&handle, "n")).await.unwrap();
                assert_ne!(given[0].block, good.spec.cidr, "{change}");
            }
        }
        let key = Key::new(Kind::IPAMBlock, good.metadata.name.clone());
        let left = cluster.store.get(&key).await.unwrap();
        assert!(left.is_some(), "{change}");
    }
}

#[tokio::test]
async fn a_block_whose_affinity_makes_no_sense_is_not_assigned_from() {
    let cluster = Cluster::new(&[("p", "10.0.0.0/28", 30)]).await;
    cluster.ipam("n").tend().await.unwrap();
    let block = cluster.blocks().await.remove(0);
    let affinity = cluster
        .store
        .list(Kind::BlockAffinity)
        .await
        .unwrap()
        .remove(0);
    cluster
        .store
        .put_unchecked(changed(&affinity, json!({"state": "almost"})));
    let fault = cluster
        .typed()
        .list::<crate::BlockAffinity>()
        .await
        .unwrap()
        .1;
    assert_eq!(
        fault[0].to_string(),
        format!(
            "{}: spec.state: \"almost\" is none of confirmed, pending, pendingDeletion",
            affinity.key
        )
    );
    let ipam = cluster.ipam("n");
    ipam.tend().await.unwrap();
    let given = ipam.assign(request("h", "n")).await.unwrap();
    assert_ne!(given[0].block, block.spec.cidr);
}
