//! What may happen to a watch of a real API server: restarts, cuts, silence, a history that is gone.

use super::*;

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_watch_of_all_nodes_tells_of_the_pods_of_all_nodes() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let kubectl = Kubectl(server.client().await);
    for node in ["here", "there"] {
        kubectl.pod("everywhere", &format!("on-{node}"), node).await;
        let path = format!("/api/v1/namespaces/everywhere/pods/on-{node}/status");
        let status = json!({"status": {"podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}]}});
        kubectl.0.patch(&path, &status).await.unwrap();
    }
    let config = KubernetesConfig {
        node: Some("here".to_owned()),
        ..server.config()
    };
    let store = server.open_with(&config).await;
    let told = async |mut watcher: Watcher| {
        let mut pods = Vec::new();
        loop {
            match next(&mut watcher).await {
                WatchEvent::Set(object) => {
                    let namespace = object.key.namespace.as_deref();
                    let pod = object.spec["pod"].as_str().unwrap_or_default();
                    pods.extend((namespace == Some("everywhere")).then(|| pod.to_owned()));
                }
                WatchEvent::InSync => break,
                _ => {}
            }
        }
        pods.sort();
        pods
    };
    let kinds = [Kind::WorkloadEndpoint];
    let narrow = told(store.watch(&kinds).await.unwrap()).await;
    assert_eq!(narrow, ["on-here"]);
    let all = told(store.watch_all(&kinds).await.unwrap()).await;
    assert_eq!(all, ["on-here", "on-there"]);
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_watch_survives_a_restart_of_the_api_server() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let one = server.open().await;
    let other = server.open().await;
    let restart = async || {
        server.stop();
        server.resume();
    };
    a_watch_survives(&one, &other, restart, async || {}).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_watch_survives_a_lost_connection_and_says_so_meanwhile() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let cable = Cable::to(server.port()).await;
    let one = server.open_with(&server.config_through(cable.port())).await;
    let other = server.open().await;
    let mut watcher = one.watch(&[Kind::IPPool, Kind::Node]).await.unwrap();
    a_watch_survives(&one, &other, async || cable.cut(), async || cable.mend()).await;
    let mut seen = BTreeMap::new();
    let lost = faults_until(&mut watcher, &mut seen, |faults| !faults.is_empty()).await;
    let begin = format!("datastore kubernetes https://127.0.0.1:{}: ", cable.port());
    assert!(lost.iter().all(|why| why.starts_with(&begin)), "{lost:?}");
    faults_until(&mut watcher, &mut seen, <[String]>::is_empty).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_connection_that_is_dead_without_a_word_is_noticed_and_nothing_is_missed() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let cable = Cable::to(server.port()).await;
    let one = server.open_with(&server.config_through(cable.port())).await;
    let other = server.open().await;
    let mut witness = one.watch(&[Kind::IPPool]).await.unwrap();
    let mut seen = BTreeMap::new();
    until(&mut witness, &mut seen, BTreeMap::is_empty).await;
    let noticed = tokio::sync::Mutex::new(witness);
    let silence = async || {
        cable.silence();
        let mut seen = BTreeMap::new();
        let mut witness = noticed.lock().await;
        faults_until(&mut witness, &mut seen, |faults| !faults.is_empty()).await;
    };
    a_watch_survives(&one, &other, silence, async || cable.mend()).await;
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_watch_that_was_away_for_too_long_is_in_sync_again() {
    let server = server().await;
    let server = server.as_ref().unwrap();
    let cable = Cable::to(server.port()).await;
    let one = server.open_with(&server.config_through(cable.port())).await;
    let other = server.open().await;
    let mut watcher = one.watch(&[Kind::IPPool]).await.unwrap();
    // A restarted API server remembers nothing of what was before.
    let forget = async || {
        server.stop();
        server.resume();
        cable.mend();
    };
    a_watch_survives(&one, &other, async || cable.cut(), forget).await;
    let mut in_sync = 0;
    while in_sync < 2 {
        if matches!(next(&mut watcher).await, WatchEvent::InSync) {
            in_sync += 1;
        }
    }
}

#[tokio::test]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn a_watch_ends_with_its_datastore_and_a_follower_with_its_watch() {
    let server = server().await;
    let store = server.as_ref().unwrap().open().await;
    let mut watcher = store.watch(&[Kind::IPPool]).await.unwrap();
    drop(store.watch(&[Kind::IPPool]).await.unwrap());
    let ended = async || {
        while store.followers().try_join_next().is_none() {
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(20);
    tokio::time::timeout(deadline, ended()).await.unwrap();
    assert_eq!(store.followers().len(), 1);
    assert!(matches!(next(&mut watcher).await, WatchEvent::InSync));
    drop(store);
    assert!(watcher.events.recv().await.is_none());
}
