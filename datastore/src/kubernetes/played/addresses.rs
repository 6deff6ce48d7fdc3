//! What an address costs the API server: requests, counted.

use std::sync::Arc;

use super::*;
use crate::ipam::{AssignRequest, Ipam};
use crate::resources::WorkloadEndpoint;
use crate::store::{Datastore, Stored, TypedStore};

const CALICO: &str = "/apis/crd.projectcalico.org/v1";

/// A cluster of one node, which follows its pools and has a block.
async fn cluster() -> (Player, TypedStore, Ipam) {
    let player = Player::new();
    player.set(
        &format!("{CALICO}/ippools/p"),
        json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": "p"},
            "spec": {"cidr": "10.0.0.0/16"},
        }),
    );
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    player.set("/api/v1/nodes/n", node);
    let store: Arc<dyn Datastore> = Arc::new(player.datastore().await);
    let ipam = Ipam::new(Arc::clone(&store), "n".to_owned());
    ipam.follow().await.unwrap();
    // The block's claim is seen by the watch in its own time; nothing depends on it.
    ipam.assign(request("first")).await.unwrap();
    ipam.tend().await.unwrap();
    (player, TypedStore(store), ipam)
}

fn request(pod: &str) -> AssignRequest {
    let said = [("node", "n"), ("namespace", "default"), ("pod", pod)];
    AssignRequest {
        handle: format!("net.{pod}"),
        attributes: said
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ipv4: true,
        ..AssignRequest::default()
    }
}

/// Method and kind of what was asked since then, watches left out.
fn since(player: &Player, before: usize) -> Vec<String> {
    let asked = player.asked("").into_iter().skip(before);
    let asked = asked.filter(|asked| !asked.contains("watch="));
    asked
        .map(|asked| {
            let (method, address) = asked.split_once(' ').unwrap();
            let path = address.split('?').next().unwrap();
            let kinds = ["ipamhandles", "ipamblocks", "pods"];
            let kind = kinds.into_iter().find(|kind| path.contains(kind));
            format!("{method} {}", kind.unwrap_or(path))
        })
        .collect()
}

#[tokio::test]
async fn an_address_costs_one_read_and_two_writes_of_the_api_server() {
    let (player, _, ipam) = cluster().await;
    for index in 0..20 {
        let before = player.asked("").len();
        ipam.assign(request(&format!("p{index}"))).await.unwrap();
        let cost = ["GET ipamhandles", "POST ipamhandles", "PUT ipamblocks"];
        assert_eq!(since(&player, before), cost);
    }
}

#[tokio::test]
async fn a_released_address_costs_one_read_and_three_writes_because_a_handle_goes_in_two_steps() {
    let (player, _, ipam) = cluster().await;
    ipam.assign(request("p")).await.unwrap();
    let before = player.asked("").len();
    ipam.release_handle("net.p").await.unwrap();
    let asked = since(&player, before);
    let writes = asked.iter().filter(|asked| !asked.starts_with("GET"));
    let cost = ["PUT ipamblocks", "PUT ipamhandles", "DELETE ipamhandles"];
    assert_eq!(writes.collect::<Vec<_>>(), cost, "{asked:?}");
    let reads = asked.iter().filter(|asked| asked.starts_with("GET"));
    assert!(reads.clone().all(|asked| asked == "GET ipamhandles"));
    assert!(reads.count() <= 2, "{asked:?}");
}

#[tokio::test]
async fn a_pods_record_costs_one_patch_of_the_pod() {
    let (player, store, _) = cluster().await;
    let path = "/api/v1/namespaces/default/pods/p";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": {"nodeName": "n"},
    });
    player.set(path, pod);
    let spec = WorkloadEndpoint {
        orchestrator: "k8s".to_owned(),
        node: "n".to_owned(),
        pod: "p".to_owned(),
        endpoint: "eth0".to_owned(),
        container_id: "c".to_owned(),
        ip_networks: vec!["10.0.0.1/32".parse().unwrap()],
        ..WorkloadEndpoint::default()
    };
    let before = player.asked("").len();
    let record = Stored::new_in("default", spec.name(), spec);
    store.create(record).await.unwrap();
    assert_eq!(since(&player, before), ["GET pods", "PATCH pods"]);
    let pod = player.object(path).unwrap();
    let address = &pod["metadata"]["annotations"]["cni.projectcalico.org/podIP"];
    assert_eq!(address, "10.0.0.1/32");
}
