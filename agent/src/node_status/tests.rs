//! Questions and answers, on a store in memory and a clock that is moved.

use std::sync::atomic::{AtomicUsize, Ordering};

use caracal_agent_api::{FibRoute, Peer};
use caracal_datastore::MemoryDatastore;
use caracal_datastore::memory::{Fault, Verb};
use caracal_datastore::resources::NodeStatusClass;
use serde_json::{Value, json};

use super::*;

fn peer(address: &str, peer_type: &str, state: &str) -> Peer {
    serde_json::from_value(json!({
        "name": "x", "peerType": peer_type, "address": address, "remoteAsn": 1, "localAsn": 1, "state": state,
        "stateSeconds": 60, "routerId": null, "holdTimeSeconds": null, "families": [], "prefixesReceived": 0,
        "prefixesAccepted": 0, "prefixesStale": 0, "prefixesSent": 0, "flaps": 0, "messagesReceived": 0,
        "messagesSent": 0, "lastError": null,
    }))
    .unwrap()
}

fn path(peer: Option<&str>, next_hop: &str, best: bool) -> Value {
    json!({
        "peer": peer, "nextHop": next_hop, "best": best, "multipath": best, "stale": false, "lostBecause": null,
        "localPref": 100, "asPath": "", "origin": "IGP", "med": null, "communities": [], "originatorId": null,
        "clusterList": [],
    })
}

fn facts() -> Facts {
    let route = |prefix: &str, paths: Value| -> Route {
        serde_json::from_value(json!({"prefix": prefix, "paths": paths})).unwrap()
    };
    let fib = |prefix: &str, way: &str, state: &str| FibRoute {
        prefix: prefix.parse().unwrap(),
        way: way.to_owned(),
        metric: None,
        nexthop_id: None,
        state: state.to_owned(),
        reason: None,
    };
    Facts {
        ready: true,
        families: [true, false],
        router_id: Some([192, 0, 2, 7].into()),
        started: Some(SystemTime::UNIX_EPOCH),
        peers: vec![
            peer("192.0.2.8", "node-to-node mesh", "Established"),
            peer("192.0.2.1", "global", "Active"),
            peer("2001:db8::1", "node specific", "Established"),
        ],
        routes: vec![
            route("10.0.0.0/26", json!([path(None, "192.0.2.7", true)])),
            route(
                "10.0.0.64/26",
                json!([
                    path(Some("192.0.2.8"), "192.0.2.8", true),
                    path(Some("192.0.2.1"), "192.0.2.1", false)
                ]),
            ),
            route(
                "fd00::/122",
                json!([path(Some("2001:db8::1"), "2001:db8::1", true)]),
            ),
        ],
        fib: vec![
            fib("10.0.0.0/26", "blackhole", "installed"),
            fib("10.0.0.64/26", "via 192.0.2.8 dev eth0", "installed"),
            fib("10.0.0.3/32", "dev cali0123456789a scope link", "installed"),
            fib("fd00::/122", "via 2001:db8::1 dev eth0", "failed"),
        ],
    }
}

fn asks(node: &str, classes: &[NodeStatusClass], seconds: u32) -> NodeStatusQuestion {
    NodeStatusQuestion {
        node: node.to_owned(),
        classes: classes.to_vec(),
        update_period_seconds: Some(seconds),
        ..NodeStatusQuestion::default()
    }
}

#[test]
fn an_answer_says_what_was_asked_for_in_calicos_words() {
    use NodeStatusClass::{Agent, BGP, Routes};
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(3600);
    let whole = answer::to(&asks("n", &[Agent, BGP, Routes], 1), &facts(), now);
    assert_eq!(
        serde_json::to_value(&whole).unwrap(),
        json!({
            "lastUpdated": "1970-01-01T01:00:00Z",
            "agent": {
                "birdV4": {
                    "state": "Ready", "version": concat!("Caracal ", env!("CARGO_PKG_VERSION")), "routerID": "192.0.2.7",
                    "lastBootTime": "1970-01-01T00:00:00Z",
                },
                "birdV6": {"state": "NotReady"},
            },
            "bgp": {
                "numberEstablishedV4": 1, "numberNotEstablishedV4": 1, "numberEstablishedV6": 1, "numberNotEstablishedV6": 0,
                "peersV4": [
                    {"peerIP": "192.0.2.8", "type": "NodeMesh", "state": "Established", "since": "1970-01-01T00:59:00Z"},
                    {"peerIP": "192.0.2.1", "type": "GlobalPeer", "state": "Active", "since": "1970-01-01T00:59:00Z"},
                ],
                "peersV6": [{"peerIP": "2001:db8::1", "type": "NodePeer", "state": "Established", "since": "1970-01-01T00:59:00Z"}],
            },
            "routes": {
                "routesV4": [
                    {"type": "FIB", "destination": "10.0.0.0/26", "gateway": "N/A", "interface": "blackhole", "learnedFrom": {"sourceType": "Static"}},
                    {"type": "FIB", "destination": "10.0.0.64/26", "gateway": "192.0.2.8", "interface": "eth0", "learnedFrom": {"sourceType": "NodeMesh", "peerIP": "192.0.2.8"}},
                    {"type": "RIB", "destination": "10.0.0.64/26", "gateway": "192.0.2.1", "learnedFrom": {"sourceType": "BGPPeer", "peerIP": "192.0.2.1"}},
                    {"type": "FIB", "destination": "10.0.0.3/32", "gateway": "N/A", "interface": "cali0123456789a", "learnedFrom": {"sourceType": "Direct"}},
                ],
                "routesV6": [
                    {"type": "RIB", "destination": "fd00::/122", "gateway": "2001:db8::1", "learnedFrom": {"sourceType": "BGPPeer", "peerIP": "2001:db8::1"}},
                ],
            },
        })
    );
    let bgp = answer::to(&asks("n", &[BGP], 1), &facts(), now);
    assert_eq!(bgp.bgp, whole.bgp);
    assert_eq!((bgp.agent, bgp.routes), Default::default());
    let not_ready = Facts {
        ready: false,
        ..facts()
    };
    let agent = answer::to(&asks("n", &[Agent], 1), &not_ready, now).agent;
    assert_eq!(agent.bird_v4.state, "NotReady");
}

#[test]
fn more_routes_than_an_object_can_hold_are_counted() {
    let one = facts().routes.remove(0);
    let many = Facts {
        routes: (0..5000_u32)
            .map(|number| Route {
                prefix: ipnet::Ipv4Net::new_assert(number.into(), 32).into(),
                ..one.clone()
            })
            .collect(),
        ..Facts::default()
    };
    let answer = answer::to(
        &asks("n", &[NodeStatusClass::Routes], 1),
        &many,
        SystemTime::now(),
    );
    assert_eq!(answer.routes.routes_v4.len(), 2000);
    assert_eq!(answer.extra["routesLeftOut"], json!(3000));
    assert!(serde_json::to_vec(&answer).unwrap().len() < 1 << 20);
}

/// A store in which questions are asked, and how often the node was looked at.
struct World {
    store: TypedStore,
    looks: Arc<AtomicUsize>,
}

impl World {
    fn start() -> World {
        let memory = MemoryDatastore::new();
        let store = TypedStore(Arc::new(memory.client()));
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = looks.clone();
        tokio::spawn(async move {
            let facts = move || -> BoxFuture<'static, Facts> {
                counted.fetch_add(1, Ordering::Relaxed);
                Box::pin(async { facts() })
            };
            run("n", Arc::new(memory), facts, &Unheard::default()).await;
        });
        World { store, looks }
    }

    async fn ask(&self, name: &str, question: NodeStatusQuestion) {
        let spec = CalicoNodeStatus {
            spec: question,
            ..CalicoNodeStatus::default()
        };
        self.store.create(Stored::new(name, spec)).await.unwrap();
    }

    /// After so many seconds, how often the node was looked at since the last time.
    async fn looks_within(&self, seconds: u64) -> usize {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        self.looks.swap(0, Ordering::Relaxed)
    }

    async fn asked(&self, name: &str) -> Stored<CalicoNodeStatus> {
        self.store.get(name).await.unwrap().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_at_once_and_again_as_often_as_it_asks() {
    let world = World::start();
    world.ask("q", asks("n", &[NodeStatusClass::BGP], 10)).await;
    assert_eq!(world.looks_within(1).await, 1);
    let answered = world.asked("q").await;
    assert_eq!(answered.spec.status.unwrap().bgp.number_established_v4, 1);
    assert_eq!(world.looks_within(100).await, 10);

    // A shorter period is followed at once, 0 ends it, and so does the object's end.
    let mut changed = world.asked("q").await;
    changed.spec.spec.update_period_seconds = Some(5);
    world.store.update(changed).await.unwrap();
    assert_eq!(world.looks_within(1).await, 1);
    assert_eq!(world.looks_within(50).await, 10);
    let mut changed = world.asked("q").await;
    changed.spec.spec.update_period_seconds = Some(0);
    world.store.update(changed).await.unwrap();
    assert_eq!(world.looks_within(1000).await, 0);
    world
        .ask("r", asks("n", &[NodeStatusClass::Agent], 10))
        .await;
    assert_eq!(world.looks_within(15).await, 2);
    world.store.delete(&world.asked("r").await).await.unwrap();
    assert_eq!(world.looks_within(1000).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_may_not_be_is_told_until_it_may() {
    let memory = MemoryDatastore::new();
    let refused = Arc::new(AtomicUsize::new(2));
    let left = refused.clone();
    memory.set_plan(move |operation| {
        let refuses = operation.verb == Verb::Watch
            && left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        match refuses {
            true => Fault::Before(MemoryDatastore::down()),
            false => Fault::None,
        }
    });
    let unheard = Arc::new(Unheard::default());
    let told = unheard.clone();
    tokio::spawn(async move {
        let facts = || -> BoxFuture<'static, Facts> { Box::pin(async { facts() }) };
        run("n", Arc::new(memory), facts, &told).await;
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let (unread, unreadable) = unheard.unread_and_unreadable();
    assert_eq!((unread.len(), unreadable.len()), (1, 0), "{unread:?}");
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(refused.load(Ordering::Relaxed), 0);
    assert_eq!(unheard.unread_and_unreadable(), (vec![], vec![]));
}

#[tokio::test(start_paused = true)]
async fn questions_for_other_nodes_are_theirs() {
    let world = World::start();
    world
        .ask("q", asks("other", &[NodeStatusClass::BGP], 10))
        .await;
    assert_eq!(world.looks_within(100).await, 0);
    assert_eq!(world.asked("q").await.spec.status, None);
    // It is ours when it is changed to be.
    let mut changed = world.asked("q").await;
    changed.spec.spec.node = "n".to_owned();
    world.store.update(changed).await.unwrap();
    assert_eq!(world.looks_within(1).await, 1);
    assert!(world.asked("q").await.spec.status.is_some());
}
