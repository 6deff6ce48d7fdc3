//! The backend on a real API server: the conformance suite, and what Kubernetes alone can do to a watch or a write.
//!
//! `./tests/run kubernetes` builds the API server and runs them.

mod rights;
pub(crate) mod server;
mod watches;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::*;
use crate::conformance::{
    Surroundings, a_watch_survives, faults_until, many_objects_removed, next, pool, suite_in, until,
};
use crate::etcd::with_etcd::cable::Cable;
use crate::store::{Metadata, WatchEvent};
use client::Client;
use server::server;

/// Calico's definitions, as `deploy/` installs them.
pub(crate) fn definitions() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let read = |file| serde_saphyr::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let all = files.map(read);
    all.filter(|one: &Value| one["kind"] == json!("CustomResourceDefinition"))
        .collect()
}

fn definition_of(kind: &str) -> Vec<Value> {
    let all = definitions().into_iter();
    all.filter(|one| one["spec"]["names"]["kind"] == json!(kind))
        .collect()
}

/// Pods and Nodes are made by others.
pub(crate) struct Kubectl(Client);

#[async_trait]
impl Surroundings for Kubectl {
    async fn prepare(&self, object: &Object) {
        if object.key.kind == Kind::WorkloadEndpoint {
            let text = |field: &str| object.spec[field].as_str().unwrap().to_owned();
            let namespace = object.key.namespace.as_ref().unwrap();
            self.pod(namespace, &text("pod"), &text("node")).await;
        }
    }

    fn is_free(&self) -> bool {
        false
    }
}

impl Kubectl {
    pub(crate) async fn new(config: &KubernetesConfig) -> Kubectl {
        Kubectl(Client::new(config, Pulse::default()).await.unwrap())
    }

    async fn namespace(&self, name: &str) {
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        match self.0.post("/api/v1/namespaces", &namespace).await {
            Ok(_) | Err(Failure::Exists) => {}
            Err(failure) => panic!("{failure:?}"),
        }
    }

    async fn pod(&self, namespace: &str, name: &str, node: &str) {
        self.namespace(namespace).await;
        self.try_pod(namespace, name, node).await.unwrap();
    }

    /// In a namespace that is there, also if the pod is.
    pub(crate) async fn pod_again(&self, namespace: &str, name: &str, node: &str) {
        match self.try_pod(namespace, name, node).await {
            Ok(()) | Err(Failure::Exists) => {}
            Err(failure) => panic!("{failure:?}"),
        }
    }

    async fn try_pod(&self, namespace: &str, name: &str, node: &str) -> Result<(), Failure> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "nodeName": node, "automountServiceAccountToken": false,
                "containers": [{"name": "c", "image": "none"}],
            },
        });
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        self.0.post(&path, &pod).await.map(drop)
    }

    pub(crate) async fn node(&self, name: &str) {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        self.0.post("/api/v1/nodes", &node).await.unwrap();
    }

    /// At once, and no matter whether it is there.
    pub(crate) async fn remove(&self, path: &str) {
        let at_once = json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
        match self.0.delete(path, &at_once).await {
            Ok(()) | Err(Failure::Absent(_)) => {}
            Err(failure) => panic!("{failure:?}"),
        }
    }
}

fn key(name: &str) -> Key {
    Key::new(Kind::IPPool, name)
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn it_conforms() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let kubectl = Kubectl(server.client().await);
    let (one, other) = (server.open().await, server.open().await);
    suite_in(&kubectl, Arc::new(one), Arc::new(other)).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn it_conforms_where_calicos_group_is_v3() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    // What differs: group, version, and two names.
    let v3 = definitions().into_iter().map(|definition| {
        let text = definition.to_string();
        let text = text.replace("crd.projectcalico.org", "projectcalico.org");
        let text = text.replace("\"v1\",\"schema\"", "\"v3\",\"schema\"");
        let text = text
            .replace("ipamconfigs", "ipamconfigurations")
            .replace("IPAMConfig", "IPAMConfiguration");
        let mut definition: Value = serde_json::from_str(&text).unwrap();
        definition["spec"]["versions"][0]["name"] = json!("v3");
        definition["spec"]["names"]
            .as_object_mut()
            .unwrap()
            .remove("shortNames");
        definition["spec"]["versions"][0]["schema"] = json!({"openAPIV3Schema": {
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
        }});
        definition
    });
    let v3: Vec<Value> = v3.collect();
    server.define(v3.clone()).await;
    let kubectl = Kubectl(server.client().await);
    let config = KubernetesConfig {
        group: Some(CalicoGroup::V3),
        ..server.config()
    };
    let one = server.open_with(&config).await;
    let other = server.open_with(&config).await;
    suite_in(&kubectl, Arc::new(one), Arc::new(other)).await;
    server.undefine(&v3).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn one_candidate_leads_until_it_leaves() {
    use crate::lead::Attempt;
    let server = server().await;
    let server = server.as_ref().unwrap();
    let (one, other) = (server.open().await, server.open().await);
    let seat = |store: &KubernetesDatastore, who| store.election().unwrap().seat("gc", who);
    let (mut first, mut second) = (seat(&one, "first"), seat(&other, "second"));
    let clock = &crate::lead::since_boot;
    assert_eq!(first.take(clock).await.unwrap(), Attempt::Ours);
    let taken = Attempt::Others("first".to_owned());
    assert_eq!(second.take(clock).await.unwrap(), taken);
    assert_eq!(first.take(clock).await.unwrap(), Attempt::Ours);
    first.leave().await;
    assert_eq!(second.take(clock).await.unwrap(), Attempt::Ours);
    let taken = Attempt::Others("second".to_owned());
    assert_eq!(first.take(clock).await.unwrap(), taken);
    second.leave().await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn it_holds_twenty_thousand_objects() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let (one, other) = (server.open().await, server.open().await);
    let kubectl = server.client().await;
    // One by one and in two steps it would take minutes.
    let remove = async |_: Vec<Key>| {
        let path = "/apis/crd.projectcalico.org/v1/ipamhandles";
        let at_once = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        while kubectl.delete(path, &at_once).await.is_err() {}
    };
    many_objects_removed(Arc::new(one), Arc::new(other), remove).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_node_and_a_pod_are_annotated_and_never_made_or_deleted() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let kubectl = Kubectl(server.client().await);
    kubectl.node("n1").await;
    kubectl.node("n2").await;
    kubectl.pod("default", "p1", "n1").await;
    kubectl.pod("default", "p2", "n2").await;
    let config = KubernetesConfig {
        node: Some("n1".to_owned()),
        ..server.config()
    };
    let store = server.open_with(&config).await;
    let kinds = [Kind::Node, Kind::WorkloadEndpoint];
    let mut watcher = store.watch(&kinds).await.unwrap();

    let node = Key::new(Kind::Node, "n1");
    let spec = json!({"bgp": {"ipv4Address": "192.0.2.1/24", "asNumber": 64512}});
    let mut object = match store.get(&node).await.unwrap() {
        Some(there) => there,
        None => object(node.clone(), json!({})),
    };
    object.spec = spec.clone();
    let written = match object.revision {
        Some(_) => store.update(object).await.unwrap(),
        None => store.create(object).await.unwrap(),
    };
    assert_eq!(
        written.spec["bgp"]["ipv4Address"],
        spec["bgp"]["ipv4Address"]
    );
    for (pod, node, address) in [("p1", "n1", "10.0.0.1/32"), ("p2", "n2", "10.0.0.2/32")] {
        let key = Key::in_namespace(
            Kind::WorkloadEndpoint,
            "default",
            format!("{node}-k8s-{pod}-eth0"),
        );
        let spec = json!({
            "orchestrator": "k8s", "node": node, "pod": pod, "endpoint": "eth0", "containerID": "c",
            "ipNetworks": [address],
        });
        store.create(self::object(key, spec)).await.unwrap();
    }
    assert_eq!(store.list(Kind::WorkloadEndpoint).await.unwrap().len(), 2);
    let mut seen = BTreeMap::new();
    let p1 = Key::in_namespace(Kind::WorkloadEndpoint, "default", "n1-k8s-p1-eth0");
    until(&mut watcher, &mut seen, |seen| {
        let bgp = seen.get(&node).map(|node| &node.spec["bgp"]["ipv4Address"]);
        bgp == Some(&json!("192.0.2.1/24")) && seen.contains_key(&p1)
    })
    .await;
    // The other node's pod is not told.
    let endpoints = seen.keys().filter(|key| key.kind == Kind::WorkloadEndpoint);
    assert_eq!(endpoints.count(), 1);

    // A pod that loses its address is gone for us, and stays for Kubernetes.
    store.delete(&p1, None).await.unwrap();
    until(&mut watcher, &mut seen, |seen| !seen.contains_key(&p1)).await;
    assert!(store.get(&p1).await.unwrap().is_none());
    let gone = store.delete(&p1, None).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
    assert!(
        kubectl
            .0
            .get("/api/v1/namespaces/default/pods/p1")
            .await
            .unwrap()
            .is_some()
    );
    let refused = store.delete(&node, None).await;
    assert!(
        matches!(refused, Err(StoreError::Invalid { .. })),
        "{refused:?}"
    );
    let nobody = store
        .create(self::object(Key::new(Kind::Node, "n9"), spec))
        .await;
    assert!(
        matches!(nobody, Err(StoreError::Invalid { .. })),
        "{nobody:?}"
    );
}

fn object(key: Key, spec: Value) -> Object {
    Object {
        metadata: Metadata {
            name: key.name.clone(),
            namespace: key.namespace.clone(),
            ..Metadata::default()
        },
        key,
        spec,
        revision: None,
    }
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn who_finds_a_deletion_that_was_begun_ends_it() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let kubectl = server.client().await;
    let store = server.open().await;
    let key = Key::new(Kind::IPAMHandle, "h");
    let handle = || {
        object(
            key.clone(),
            json!({"handleID": "h", "block": {"10.0.0.0/26": 1}}),
        )
    };
    let path = store.path(&key).unwrap().unwrap();
    let begin = async || {
        store.create(handle()).await.unwrap();
        let mut value = kubectl.get(&path).await.unwrap().unwrap();
        value["spec"]["deleted"] = json!(true);
        kubectl.put(&path, &value).await.unwrap();
    };
    begin().await;
    assert!(store.get(&key).await.unwrap().is_none());
    assert!(kubectl.get(&path).await.unwrap().is_none());
    begin().await;
    assert!(store.list(Kind::IPAMHandle).await.unwrap().is_empty());
    assert!(kubectl.get(&path).await.unwrap().is_none());
    begin().await;
    // It is not in the way of another.
    store.create(handle()).await.unwrap();
    let mut watcher = store.watch(&[Kind::IPAMHandle]).await.unwrap();
    let mut seen = BTreeMap::new();
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;
    store.delete(&key, None).await.unwrap();
    until(&mut watcher, &mut seen, BTreeMap::is_empty).await;
    assert!(kubectl.get(&path).await.unwrap().is_none());
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn what_others_wrote_wrong_is_named_and_the_last_good_state_stands() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let kubectl = server.client().await;
    let store = server.open().await;
    store.create(pool("a", "10.0.0.0/16")).await.unwrap();
    let mut watcher = store.watch(&[Kind::IPPool, Kind::IPAMBlock]).await.unwrap();
    let mut seen = BTreeMap::new();
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;

    let path = store.path(&key("a")).unwrap().unwrap();
    let mut value = kubectl.get(&path).await.unwrap().unwrap();
    value["spec"]["cidr"] = json!("oops");
    kubectl.put(&path, &value).await.unwrap();
    let collection = "/apis/crd.projectcalico.org/v1";
    let twice = json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "IPAMBlock", "metadata": {"name": "10-0-0-0-30"},
        "spec": {
            "cidr": "10.0.0.0/30", "allocations": [0, null, null, null], "unallocated": [0, 1, 2, 3],
            "attributes": [{}], "deleted": false, "strictAffinity": false, "future": {"a": 1},
        },
    });
    kubectl
        .post(&format!("{collection}/ipamblocks"), &twice)
        .await
        .unwrap();
    let faults = faults_until(&mut watcher, &mut seen, |faults| faults.len() == 2).await;
    let all = faults.join("\n");
    assert!(
        all.contains("IPPool a: spec.cidr") && all.contains("oops"),
        "{all}"
    );
    assert!(all.contains("IPAMBlock 10-0-0-0-30: spec."), "{all}");
    // The rest goes on, and what was good is not forgotten.
    store.create(pool("b", "10.1.0.0/16")).await.unwrap();
    until(&mut watcher, &mut seen, |seen| seen.len() == 2).await;
    assert_eq!(seen[&key("a")].spec["cidr"], json!("10.0.0.0/16"));
    // It can be deleted.
    store.delete(&key("a"), None).await.unwrap();
    store
        .delete(&Key::new(Kind::IPAMBlock, "10-0-0-0-30"), None)
        .await
        .unwrap();
    faults_until(&mut watcher, &mut seen, <[String]>::is_empty).await;
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn what_is_too_large_is_refused_with_its_name_and_size() {
    let server = server().await;
    let store = server.as_ref().unwrap().open().await;
    for size in [2_000_000, 10_000_000] {
        let mut large = pool("large", "10.0.0.0/16");
        large.spec["future"] = json!("x".repeat(size));
        let fault = store.create(large).await.unwrap_err();
        assert!(matches!(fault, StoreError::Invalid { .. }), "{fault}");
        let text = fault.to_string();
        let begin = format!("IPPool large: its {}", size / 10_000);
        assert!(
            text.starts_with(&begin) && text.contains("more than the API server takes"),
            "{text}"
        );
    }
    store.create(pool("small", "10.0.0.0/16")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_kind_without_definition_is_empty_until_it_is_installed() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let filters = definition_of("BGPFilter");
    server.undefine(&filters).await;
    let store = server.open().await;
    assert!(store.list(Kind::BGPFilter).await.unwrap().is_empty());
    let filter = || object(Key::new(Kind::BGPFilter, "f"), json!({}));
    let fault = store.create(filter()).await.unwrap_err().to_string();
    assert!(
        fault.contains(
            "bgpfilters.crd.projectcalico.org: the CustomResourceDefinition is not installed"
        ),
        "{fault}"
    );
    let mut watcher = store.watch(&[Kind::BGPFilter, Kind::IPPool]).await.unwrap();
    assert!(matches!(next(&mut watcher).await, WatchEvent::InSync));
    server.define(filters).await;
    store.create(filter()).await.unwrap();
    let mut seen = BTreeMap::new();
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_kind_that_every_cluster_has_is_missed_until_it_is_installed() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let handles = definition_of("IPAMHandle");
    server.undefine(&handles).await;
    let store = server.open().await;
    let mut watcher = store.watch(&[Kind::IPAMHandle]).await.unwrap();
    let mut seen = BTreeMap::new();
    let faults = faults_until(&mut watcher, &mut seen, |faults| !faults.is_empty()).await;
    let words = "ipamhandles.crd.projectcalico.org: the CustomResourceDefinition is not installed";
    assert!(faults.len() == 1 && faults[0].contains(words), "{faults:?}");
    server.define(handles).await;
    faults_until(&mut watcher, &mut seen, <[String]>::is_empty).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn what_makes_no_sense_about_the_connection_is_named() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let fault = async |config: KubernetesConfig| {
        KubernetesDatastore::connect(&config)
            .await
            .unwrap_err()
            .to_string()
    };
    let missing = server.folder().join("missing");
    let nowhere = fault(KubernetesConfig {
        kubeconfig: Some(missing),
        ..server.config()
    })
    .await;
    assert!(
        nowhere.contains("missing") && nowhere.contains("No such file"),
        "{nowhere}"
    );
    let context = KubernetesConfig {
        context: Some("other".to_owned()),
        ..server.config()
    };
    assert!(fault(context).await.contains("other"));
    let refused = fault(server.config_through(1)).await;
    assert!(
        refused.contains("kubernetes https://127.0.0.1:1: ") && refused.contains("refused"),
        "{refused}"
    );
    let stranger = fault(server.config_of("nonsense")).await;
    assert!(
        stranger.contains("it does not know who we are (401)"),
        "{stranger}"
    );
}
