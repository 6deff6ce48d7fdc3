//! Kinds by any of their names, and what errors say.

use super::*;
use crate::{IPPool, MemoryDatastore};

#[test]
fn kinds_are_known_by_any_of_their_names() {
    for (text, kind) in [
        ("ippool", Kind::IPPool),
        ("IPPools", Kind::IPPool),
        ("pool", Kind::IPPool),
        ("pools", Kind::IPPool),
        ("nodes", Kind::Node),
        ("bgpconfig", Kind::BGPConfiguration),
        ("bgpconfigurations", Kind::BGPConfiguration),
        ("peers", Kind::BGPPeer),
        ("wep", Kind::WorkloadEndpoint),
        ("weps", Kind::WorkloadEndpoint),
        ("workloadendpoint", Kind::WorkloadEndpoint),
        ("blockaffinities", Kind::BlockAffinity),
        ("affinities", Kind::BlockAffinity),
        ("ipamhandle", Kind::IPAMHandle),
        ("ipamconfigs", Kind::IPAMConfig),
        ("ipamconfiguration", Kind::IPAMConfig),
        ("ipamblocks", Kind::IPAMBlock),
    ] {
        assert_eq!(text.parse::<Kind>(), Ok(kind), "{text}");
    }
    for kind in Kind::all() {
        assert_eq!(kind.to_string().parse::<Kind>(), Ok(*kind));
    }
    let fault = "pod".parse::<Kind>().unwrap_err();
    assert!(
        fault.starts_with("there is no kind \"pod\"; known are Node, IPPool,"),
        "{fault}"
    );
}

#[test]
fn errors_name_the_object_as_people_do() {
    let pool = Key::new(Kind::IPPool, "default-ipv4-ippool");
    let endpoint = Key::in_namespace(Kind::WorkloadEndpoint, "default", "x");
    for (error, expected) in [
        (
            StoreError::Exists(pool.clone()),
            "IPPool default-ipv4-ippool exists already",
        ),
        (
            StoreError::NotFound(endpoint),
            "WorkloadEndpoint default/x does not exist",
        ),
        (
            StoreError::Conflict(pool),
            "IPPool default-ipv4-ippool was changed by someone else meanwhile",
        ),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_typed_store_separates_what_cannot_be_read() {
    let memory = MemoryDatastore::new();
    let store = TypedStore(Arc::new(memory.client()));
    let good = Stored::new("good", IPPool::new("10.0.0.0/16".parse().unwrap()));
    let stored = store.create(good.clone()).await.unwrap();
    assert_eq!(
        store.get::<IPPool>("good").await.unwrap(),
        Some(stored.clone())
    );
    let mut bad = good.clone().into_object();
    bad.key.name = "bad".to_owned();
    bad.spec["cidr"] = "10.0.0.0/99".into();
    memory.put_unchecked(bad);
    let (read, faults) = store.list::<IPPool>().await.unwrap();
    assert_eq!(read, std::slice::from_ref(&stored));
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["IPPool bad: spec.cidr: \"10.0.0.0/99\" is not a CIDR such as 10.0.0.0/16"]
    );

    let mut wrong = stored.clone();
    wrong.spec.block_size = Some(99);
    let fault = store.update(wrong).await.unwrap_err();
    assert!(fault.to_string().contains("spec.blockSize: 99"), "{fault}");
    store.delete(&stored).await.unwrap();
    assert!(matches!(
        store.delete(&stored).await,
        Err(StoreError::NotFound(_))
    ));
}
