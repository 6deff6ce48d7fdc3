//! The backend on a real etcd: the conformance suite, and what etcd alone can do to a watch.
//!
//! They need the program `etcd`; `./tests/run stores` installs it and runs them.

mod by_hand;
pub(crate) mod cable;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use tokio::sync::Mutex;

use super::*;
use crate::conformance::{a_watch_survives, faults_until, many_objects, next, pool, suite, until};
use crate::lead::etcd::Leases;
use crate::store::WatchEvent;
use by_hand::ByHand;
use cable::Cable;
use server::Server;

const POOLS: &str = "/calico/resources/v3/projectcalico.org/ippools/";

fn key(name: &str) -> Key {
    Key::new(Kind::IPPool, name)
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn it_conforms() {
    let server = Server::start().await;
    suite(Arc::new(server.open().await), Arc::new(server.open().await)).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn it_conforms_with_certificates_and_refuses_those_without() {
    let server = Server::start_secure().await;
    suite(Arc::new(server.open().await), Arc::new(server.open().await)).await;
    let mut config = server.config();
    (config.cert_file, config.key_file) = (None, None);
    let fault = EtcdDatastore::connect(&config).await.unwrap_err();
    assert!(matches!(fault, StoreError::Unavailable { .. }), "{fault}");
    // Signed by an authority that is not the one we trust.
    let other = Server::start_secure().await;
    let config = EtcdConfig {
        ca_file: other.config().ca_file,
        ..server.config()
    };
    let fault = EtcdDatastore::connect(&config)
        .await
        .unwrap_err()
        .to_string();
    assert!(fault.contains("certificate"), "{fault}");
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn renewed_certificates_are_read_with_the_next_connection() {
    let mut server = Server::start_secure().await;
    let store = server.open().await;
    store.create(pool("before", "10.1.0.0/16")).await.unwrap();
    // Files that make no sense leave what was read before.
    let file = server.config().ca_file.unwrap();
    let whole = std::fs::read(&file).unwrap();
    server.kill();
    std::fs::write(&file, "-----BEG").unwrap();
    let fault = store.get(&key("before")).await.unwrap_err();
    assert!(matches!(fault, StoreError::Unavailable { .. }), "{fault}");
    std::fs::write(&file, whole).unwrap();
    // The old authority is trusted by nobody any more.
    server.renew_certificates();
    server.resume().await;
    let begin = std::time::Instant::now();
    while let Err(error) = store.get(&key("before")).await {
        assert!(begin.elapsed().as_secs() < 20, "{error}");
        tokio::task::yield_now().await;
    }
    store.create(pool("after", "10.2.0.0/16")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn one_candidate_leads_until_it_leaves_or_its_lease_is_gone() {
    use crate::lead::Attempt;
    let server = Server::start().await;
    let (one, other) = (server.open().await, server.open().await);
    let seat = |store: &EtcdDatastore, who| store.election().unwrap().seat("gc", who);
    let (mut first, mut second) = (seat(&one, "first"), seat(&other, "second"));
    let now = &|| std::time::Duration::ZERO;
    assert_eq!(first.take(now).await.unwrap(), Attempt::Ours);
    let taken = Attempt::Others("first".to_owned());
    assert_eq!(second.take(now).await.unwrap(), taken);
    assert_eq!(first.take(now).await.unwrap(), Attempt::Ours);
    first.leave().await;
    assert_eq!(second.take(now).await.unwrap(), Attempt::Ours);
    let taken = Attempt::Others("second".to_owned());
    assert_eq!(first.take(now).await.unwrap(), taken);
    // Its lease ends, as when nobody renews it.
    let holder = one.client.holder("/caracal/v1/leaders/gc").await.unwrap();
    one.client.revoke(holder.unwrap().lease).await.unwrap();
    assert_eq!(first.take(now).await.unwrap(), Attempt::Ours);
    let taken = Attempt::Others("first".to_owned());
    assert_eq!(second.take(now).await.unwrap(), taken);
    // What somebody else keeps below our prefix is no object.
    assert_eq!(one.list(Kind::Secret).await.unwrap(), []);
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn it_holds_twenty_thousand_objects() {
    let server = Server::start().await;
    let one = Arc::new(server.open().await);
    many_objects(one, Arc::new(server.open().await)).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn a_watch_survives_a_restart_of_etcd() {
    let server = Mutex::new(Server::start().await);
    let one = server.lock().await.open().await;
    let other = server.lock().await.open().await;
    let restart = async || {
        let mut server = server.lock().await;
        server.kill();
        server.resume().await;
    };
    a_watch_survives(&one, &other, restart, async || {}).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn a_watch_survives_a_lost_connection_and_says_so_meanwhile() {
    let server = Server::start().await;
    let cable = Cable::to(server.port()).await;
    let one = EtcdDatastore::connect(&cable.config()).await.unwrap();
    let other = server.open().await;
    let mut watcher = one.watch(&[Kind::IPPool]).await.unwrap();
    a_watch_survives(&one, &other, async || cable.cut(), async || cable.mend()).await;
    let mut seen = BTreeMap::new();
    let lost = faults_until(&mut watcher, &mut seen, |faults| !faults.is_empty()).await;
    let begin = format!("datastore etcd http://127.0.0.1:{}: ", cable.port());
    assert!(lost.len() == 1 && lost[0].starts_with(&begin), "{lost:?}");
    faults_until(&mut watcher, &mut seen, <[String]>::is_empty).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn a_watch_survives_a_compaction_while_it_was_cut_off_and_is_in_sync_again() {
    let server = Server::start().await;
    let cable = Cable::to(server.port()).await;
    let one = EtcdDatastore::connect(&cable.config()).await.unwrap();
    let other = server.open().await;
    let hand = ByHand::new(&server.config());
    let mut watcher = one.watch(&[Kind::IPPool]).await.unwrap();
    let compact = async || {
        hand.compact().await;
        cable.mend();
    };
    a_watch_survives(&one, &other, async || cable.cut(), compact).await;
    let mut in_sync = 0;
    while in_sync < 2 {
        if matches!(next(&mut watcher).await, WatchEvent::InSync) {
            in_sync += 1;
        }
    }
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn an_etcd_that_has_lost_everything_is_noticed() {
    let mut server = Server::start().await;
    let store = server.open().await;
    for name in ["a", "b", "c"] {
        store.create(pool(name, "10.0.0.0/16")).await.unwrap();
    }
    let mut watcher = store.watch(&[Kind::IPPool]).await.unwrap();
    let mut seen = BTreeMap::new();
    until(&mut watcher, &mut seen, |seen| seen.len() == 3).await;
    server.kill();
    server.wipe();
    server.resume().await;
    until(&mut watcher, &mut seen, BTreeMap::is_empty).await;
    store.create(pool("d", "10.0.0.0/16")).await.unwrap();
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn a_watch_ends_with_its_datastore_and_a_follower_with_its_watch() {
    let server = Server::start().await;
    let store = server.open().await;
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

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn what_others_wrote_wrong_is_named_and_the_last_good_state_stands() {
    let server = Server::start().await;
    let store = server.open().await;
    let hand = ByHand::new(&server.config());
    store.create(pool("a", "10.0.0.0/16")).await.unwrap();
    let mut watcher = store.watch(&[Kind::IPPool, Kind::IPAMBlock]).await.unwrap();
    let mut seen = BTreeMap::new();
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;

    hand.put(&format!("{POOLS}a"), "oops").await;
    let faults = faults_until(&mut watcher, &mut seen, |faults| faults.len() == 1).await;
    assert_eq!(
        faults,
        [format!(
            "IPPool a (etcd {POOLS}a): is not JSON (expected value at line 1 column 1): \"oops\""
        )]
    );
    let bad = r#"{"spec":{"cidr":"10.0.0.1/16"}}"#;
    hand.put(&format!("{POOLS}bad"), bad).await;
    let block = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";
    let twice = r#"{"cidr":"10.0.0.0/30","allocations":[0,null,null,null],"unallocated":[0,1,2,3],"attributes":[{}]}"#;
    hand.put(block, twice).await;
    hand.put(&format!("{POOLS}x/y"), "{}").await;
    let faults = faults_until(&mut watcher, &mut seen, |faults| faults.len() == 4).await;
    let all = faults.join("\n");
    for words in [
        "IPPool bad: spec.cidr: 10.0.0.1/16 has host bits set",
        "ippools/x/y: this is not the key of any IPPool",
        "IPAMBlock 10-0-0-0-30: spec.",
    ] {
        assert!(all.contains(words), "{all}");
    }
    // The rest goes on, and what was good is not forgotten.
    store.create(pool("b", "10.1.0.0/16")).await.unwrap();
    until(&mut watcher, &mut seen, |seen| seen.len() == 2).await;
    assert_eq!(seen[&key("a")].spec["cidr"], json!("10.0.0.0/16"));

    // Who lists sees what is wrong, and it can be deleted.
    let (good, wrong) = crate::TypedStore(Arc::new(server.open().await))
        .list::<crate::IPPool>()
        .await
        .unwrap();
    assert_eq!((good.len(), wrong.len()), (1, 2));
    hand.delete(&format!("{POOLS}x/y")).await;
    hand.delete(block).await;
    for name in ["a", "bad"] {
        store.delete(&key(name), None).await.unwrap();
    }
    faults_until(&mut watcher, &mut seen, <[String]>::is_empty).await;
    until(&mut watcher, &mut seen, |seen| seen.len() == 1).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn what_is_too_large_is_refused_with_its_name_and_size() {
    let server = Server::start().await;
    let store = server.open().await;
    let mut large = pool("large", "10.0.0.0/16");
    large.spec["future"] = json!("x".repeat(3_000_000));
    let fault = store.create(large).await.unwrap_err();
    assert!(matches!(fault, StoreError::Invalid { .. }), "{fault}");
    let text = fault.to_string();
    assert!(
        text.starts_with("IPPool large: its 3000") && text.contains("more than etcd takes"),
        "{text}"
    );
    store.create(pool("small", "10.0.0.0/16")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn fields_beside_the_spec_survive_a_write() {
    let server = Server::start().await;
    let store = server.open().await;
    let hand = ByHand::new(&server.config());
    let theirs = r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"a","uid":"u"},"spec":{"cidr":"10.0.0.0/16"},"status":{"conditions":[1]}}"#;
    hand.put(&format!("{POOLS}a"), theirs).await;
    let mut object = store.get(&key("a")).await.unwrap().unwrap();
    object.spec["disabled"] = json!(true);
    store.update(object).await.unwrap();
    let found = store.find(&key("a")).await.unwrap().unwrap();
    let value: serde_json::Value = serde_json::from_slice(&found.value).unwrap();
    assert_eq!(value["status"], json!({"conditions": [1]}));
    assert_eq!(value["spec"]["disabled"], json!(true));
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn a_user_with_a_password_is_let_in_and_stays_so_after_a_restart() {
    let server = Mutex::new(Server::start().await);
    let open = server.lock().await.config();
    ByHand::new(&open).enable_login("root", "hush").await;
    let with = |password: &str| EtcdConfig {
        username: Some("root".to_owned()),
        password: Some(Password(password.to_owned())),
        ..open.clone()
    };
    for (config, words) in [
        (with("wrong"), "login: etcdserver: authentication failed"),
        (open.clone(), "user name is empty"),
    ] {
        let fault = EtcdDatastore::connect(&config)
            .await
            .unwrap_err()
            .to_string();
        assert!(fault.contains(words), "{fault}");
    }
    let one = EtcdDatastore::connect(&with("hush")).await.unwrap();
    let other = EtcdDatastore::connect(&with("hush")).await.unwrap();
    // A restarted etcd has forgotten its tokens.
    let restart = async || {
        let mut server = server.lock().await;
        server.kill();
        server.resume_for(&with("hush")).await;
        // The first request after it may find the old connection.
        while other.list(Kind::IPPool).await.is_err() {}
    };
    a_watch_survives(&one, &other, restart, async || {}).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn it_conforms_with_the_role_that_the_documentation_names() {
    let server = Server::start().await;
    let hand = ByHand::new(&server.config());
    let ranges = [("/calico/", "/calico0"), ("/caracal/", "/caracal0")];
    hand.add_user("caracal", "hush", &ranges).await;
    hand.enable_login("root", "louder").await;
    let config = EtcdConfig {
        username: Some("caracal".to_owned()),
        password: Some(Password("hush".to_owned())),
        ..server.config()
    };
    let one = EtcdDatastore::connect(&config).await.unwrap();
    let other = EtcdDatastore::connect(&config).await.unwrap();
    suite(Arc::new(one), Arc::new(other)).await;
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn a_user_is_no_hindrance_before_authentication_is_enabled_and_logs_in_after() {
    let server = Server::start().await;
    let config = EtcdConfig {
        username: Some("root".to_owned()),
        password: Some(Password("hush".to_owned())),
        ..server.config()
    };
    let store = EtcdDatastore::connect(&config).await.unwrap();
    store.create(pool("a", "10.0.0.0/16")).await.unwrap();
    ByHand::new(&server.config())
        .enable_login("root", "hush")
        .await;
    store.create(pool("b", "10.1.0.0/16")).await.unwrap();
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn another_member_is_asked_when_one_takes_connections_and_says_nothing() {
    let server = Server::start_secure().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = format!("https://127.0.0.1:{port}");
    let mut config = server.config();
    // Whichever of them comes first.
    for place in [0, 1] {
        config.endpoints = server.config().endpoints;
        config.endpoints.insert(place, silent.clone());
        EtcdDatastore::connect(&config).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn another_member_is_asked_when_one_is_away() {
    let server = Server::start().await;
    let nobody = format!("http://127.0.0.1:{}", server::free_port());
    let alone = EtcdConfig {
        endpoints: vec![nobody.clone()],
        ..EtcdConfig::default()
    };
    let fault = EtcdDatastore::connect(&alone)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        fault.starts_with(&format!("datastore etcd {nobody}: ")) && fault.contains("refused"),
        "{fault}"
    );
    // Whichever of them comes first.
    let both = EtcdConfig {
        endpoints: vec![nobody.clone(), server.config().endpoints[0].clone(), nobody],
        ..EtcdConfig::default()
    };
    for index in 0..8 {
        let store = EtcdDatastore::connect(&both).await.unwrap();
        let name = format!("p{index}");
        store.create(pool(&name, "10.0.0.0/16")).await.unwrap();
    }
}
