//! What becomes of it when a right is missing.

use super::*;

/// Somebody may do this with one of Calico's kinds, too.
async fn grant(kubectl: &Client, role: &str, plural: &str, verbs: &[&str]) {
    let api = "rbac.authorization.k8s.io";
    let metadata = json!({"name": role});
    let rules =
        json!([{"apiGroups": ["crd.projectcalico.org"], "resources": [plural], "verbs": verbs}]);
    let binding = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": metadata,
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": api, "kind": "User", "name": server::SOMEBODY}],
    });
    let role = json!({"apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": metadata, "rules": rules});
    for (plural, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/{api}/v1/{plural}");
        let made = kubectl.post(&path, &object).await;
        assert!(matches!(made, Ok(_) | Err(Failure::Exists)), "{made:?}");
    }
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn who_may_mark_and_not_delete_is_told_which_right_is_missing() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let verbs = ["get", "list", "watch", "create", "update"];
    grant(
        &server.client().await,
        "keeps-handles",
        "ipamhandles",
        &verbs,
    )
    .await;
    let store = server.open_with(&server.config_of_somebody()).await;
    let key = Key::new(Kind::IPAMHandle, "half");
    let handle = || {
        let spec = json!({"handleID": "half", "block": {"10.0.0.0/26": 1}});
        object(key.clone(), spec)
    };
    while let Err(fault) = store.create(handle()).await {
        // A right that was granted is known to the server a moment later.
        assert!(fault.to_string().contains("a right is missing"), "{fault}");
        tokio::task::yield_now().await;
    }
    // It is gone to all who read.
    store.delete(&key, None).await.unwrap();
    assert!(store.get(&key).await.unwrap().is_none());
    let refused = store.create(handle()).await.unwrap_err().to_string();
    assert!(
        refused.contains("a right is missing") && refused.contains("cannot delete"),
        "{refused}"
    );
    // Who may finishes it.
    let whole = server.open().await;
    assert!(whole.get(&key).await.unwrap().is_none());
    store.create(handle()).await.unwrap();
    whole.delete(&key, None).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_right_that_is_missing_is_named_and_takes_nothing_else_away() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let kubectl = server.client().await;
    grant(
        &kubectl,
        "reads-pools",
        "ippools",
        &["get", "list", "watch"],
    )
    .await;
    server
        .open()
        .await
        .create(pool("a", "10.0.0.0/16"))
        .await
        .unwrap();
    let store = server.open_with(&server.config_of_somebody()).await;
    let mut watcher = store.watch(&[Kind::IPPool, Kind::BGPPeer]).await.unwrap();
    let mut seen = BTreeMap::new();
    let faults = faults_until(&mut watcher, &mut seen, |faults| !faults.is_empty()).await;
    let all = faults.join("\n");
    for words in ["a right is missing", "bgppeers", "list", server::SOMEBODY] {
        assert!(all.contains(words), "{words}: {all}");
    }
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;
    let refused = store.create(pool("b", "10.1.0.0/16")).await.unwrap_err();
    let text = refused.to_string();
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{text}");
    assert!(
        text.contains("IPPool b: a right is missing") && text.contains("create"),
        "{text}"
    );
}
