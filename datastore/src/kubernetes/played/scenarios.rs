//! What an API server, the line to it and what stands between may do; what a datastore on it tells.

use super::*;
use crate::conformance::pool;
use crate::store::{Datastore, Key, Kind, Object, StoreError, WatchEvent, Watcher};
use tokio::time::Instant;

const POOLS: &str = "/apis/crd.projectcalico.org/v1/ippools";
const PEERS: &str = "/apis/crd.projectcalico.org/v1/bgppeers";

fn path(name: &str) -> String {
    format!("{POOLS}/{name}")
}

fn a_pool(name: &str) -> Value {
    json!({
        "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name},
        "spec": {"cidr": "10.0.0.0/16"},
    })
}

fn key(name: &str) -> Key {
    Key::new(Kind::IPPool, name)
}

/// What a watch has told.
struct Told {
    watcher: Watcher,
    there: BTreeMap<Key, Object>,
    deleted: Vec<Key>,
    faults: Vec<String>,
    in_sync: usize,
}

impl Told {
    async fn by(store: &dyn Datastore, kinds: &[Kind]) -> Told {
        let mut told = Told::nothing_yet(store, kinds).await;
        told.until(|told| told.in_sync == 1).await;
        told
    }

    async fn nothing_yet(store: &dyn Datastore, kinds: &[Kind]) -> Told {
        Told {
            watcher: store.watch(kinds).await.unwrap(),
            there: BTreeMap::new(),
            deleted: Vec::new(),
            faults: Vec::new(),
            in_sync: 0,
        }
    }

    /// Waits as long as it takes, which is no time where time stands still; after an hour of it nothing will come.
    async fn until(&mut self, condition: impl Fn(&Told) -> bool) {
        let limit = Instant::now() + Duration::from_secs(3600);
        while !condition(self) {
            let event = tokio::time::timeout_at(limit, self.watcher.events.recv()).await;
            match event
                .expect("news within an hour")
                .expect("the watch goes on")
            {
                WatchEvent::Set(object) => drop(self.there.insert(object.key.clone(), object)),
                WatchEvent::Deleted(key) => {
                    self.there.remove(&key);
                    self.deleted.push(key);
                }
                WatchEvent::InSync => self.in_sync += 1,
                WatchEvent::Faults(faults) => {
                    self.faults = faults.iter().map(ToString::to_string).collect();
                }
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.there.contains_key(&key(name))
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_pages_expire_is_begun_again_and_in_the_end_asked_for_in_one_piece() {
    let player = with_pools(1200);
    let store = player.datastore().await;
    let expired = || {
        Act::Refuse(
            410,
            "Expired",
            "The provided continue parameter is too old",
            0,
        )
    };
    player.next("continue=", [expired()]);
    assert_eq!(store.list(Kind::IPPool).await.unwrap().len(), 1200);
    let pages = player.asked("limit=").len();
    assert_eq!(pages, 5, "one page and one that is gone, then three");

    player.next("continue=", (0..3).map(|_| expired()));
    assert_eq!(store.list(Kind::IPPool).await.unwrap().len(), 1200);
    let last = player.asked(POOLS).pop().unwrap();
    assert!(!last.contains("limit="), "{last}");
}

/// A player with so many pools.
fn with_pools(count: usize) -> Player {
    let player = Player::new();
    for at in 0..count {
        let name = format!("pool-{at}");
        player.set(&path(&name), a_pool(&name));
    }
    player
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_many_objects_asks_for_more_when_those_before_have_been_taken() {
    let player = with_pools(5000);
    let store = player.datastore().await;
    let asked = || player.asked(&format!("{POOLS}?")).len();
    let mut told = Told::nothing_yet(&store, &[Kind::IPPool]).await;
    pass(60).await;
    assert!(asked() <= 3, "{} of ten pages are waiting here", asked());
    told.until(|told| told.there.len() >= 3000).await;
    assert_eq!(told.in_sync, 0);
    pass(60).await;
    assert!((6..=8).contains(&asked()), "{} pages", asked());
    told.until(|told| told.in_sync == 1).await;
    assert_eq!(told.there.len(), 5000);
    let pages = player.asked("limit=500").len();
    assert_eq!(pages, 10, "none twice");
    player.remove(&path("pool-4999"));
    told.until(|told| told.deleted == [key("pool-4999")]).await;
    assert_eq!(told.in_sync, 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_a_watch_that_breaks_off_is_completed_without_what_has_gone_meanwhile() {
    for cut in [
        Act::Refuse(
            410,
            "Expired",
            "The provided continue parameter is too old",
            0,
        ),
        Act::Refuse(503, "ServiceUnavailable", "apiserver is shutting down", 0),
        Act::Cut,
    ] {
        let player = with_pools(1200);
        let peer =
            json!({"metadata": {"name": "p"}, "spec": {"peerIP": "10.0.0.1", "asNumber": 1}});
        player.set(&format!("{PEERS}/p"), peer);
        let store = player.datastore().await;
        player.next("continue=", [cut]);
        let kinds = [Kind::IPPool, Kind::BGPPeer];
        let mut told = Told::nothing_yet(&store, &kinds).await;
        player.remove(&path("pool-0"));
        player.remove(&path("pool-1199"));
        told.until(|told| told.in_sync > 0).await;
        assert_eq!(told.there.len(), 1199, "all but two pools, and the peer");
        assert!(!told.has("pool-0") && !told.has("pool-1199"));
        assert_eq!(told.faults, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_may_no_longer_be_read_amid_its_list_holds_no_other_back() {
    let player = with_pools(1200);
    let store = player.datastore().await;
    player.next("continue=", [Act::Refuse(403, "Forbidden", "no right", 0)]);
    let kinds = [Kind::IPPool, Kind::BGPPeer];
    let mut told = Told::nothing_yet(&store, &kinds).await;
    told.until(|told| told.in_sync == 1).await;
    assert!(
        told.faults.iter().any(|fault| fault.contains("no right")),
        "{:?}",
        told.faults
    );
    told.until(|told| told.there.len() == 1200 && told.faults.is_empty())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_dead_for_ten_minutes_loses_no_deletion_even_when_the_past_is_forgotten() {
    for forgotten in [false, true] {
        let player = Player::new();
        for name in ["a", "b", "c"] {
            player.set(&path(name), a_pool(name));
        }
        let store = player.datastore().await;
        let mut told = Told::by(&store, &[Kind::IPPool]).await;
        let lists = player.asked("limit=500").len();
        player.silence();
        player.remove(&path("b"));
        player.set(&path("d"), a_pool("d"));
        player.remove(&path("a"));
        player.set(&path("a"), a_pool("a"));
        if forgotten {
            player.compact();
        }
        pass(600).await;
        assert!(
            told.faults.is_empty() && told.there.len() == 3,
            "what is known stands"
        );
        player.mend();
        told.until(|told| told.has("d") && !told.has("b") && told.has("a"))
            .await;
        assert!(told.deleted.contains(&key("b")));
        if forgotten {
            told.until(|told| told.in_sync == 2).await;
        } else {
            assert_eq!(
                player.asked("limit=500").len(),
                lists,
                "it goes on where it was"
            );
        }
        told.until(|told| told.faults.is_empty()).await;
        assert_eq!(told.there.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_told_as_a_fault_and_so_is_a_line_that_refuses() {
    let player = Player::new();
    player.set(&path("a"), a_pool("a"));
    let store = player.datastore().await;
    let mut told = Told::by(&store, &[Kind::IPPool]).await;
    player.silence();
    told.until(|told| !told.faults.is_empty()).await;
    assert!(told.faults[0].contains("kubernetes"), "{:?}", told.faults);
    player.mend();
    told.until(|told| told.faults.is_empty()).await;
    player.refuse_connections();
    told.until(|told| !told.faults.is_empty()).await;
    assert!(told.faults[0].contains("reset"), "{:?}", told.faults);
    let error = store.get(&key("a")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable { .. }), "{error}");
    player.mend();
    told.until(|told| told.faults.is_empty()).await;
    assert!(told.has("a") && told.deleted.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_told_410_in_the_middle_lists_anew() {
    let player = Player::new();
    for name in ["a", "b"] {
        player.set(&path(name), a_pool(name));
    }
    let store = player.datastore().await;
    let mut told = Told::by(&store, &[Kind::IPPool]).await;
    for _ in 0..3 {
        let syncs = told.in_sync;
        // What happens between the end of the watch and the list is in no history.
        player.end_watches(&Act::Refuse(410, "Expired", "too old resource version", 0));
        player.remove(&path("b"));
        player.compact();
        told.until(|told| told.in_sync > syncs && !told.has("b"))
            .await;
        player.set(&path("b"), a_pool("b"));
        told.until(|told| told.has("b")).await;
    }
    assert!(told.faults.is_empty(), "{:?}", told.faults);
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_is_as_good_as_a_change() {
    let player = Player::new();
    player.set(&path("a"), a_pool("a"));
    let store = player.datastore().await;
    let mut told = Told::by(&store, &[Kind::IPPool]).await;
    // Others' changes move the history on.
    for at in 0..50 {
        player.set(
            &format!("{PEERS}/peer-{at}"),
            json!({"metadata": {"name": format!("peer-{at}")}, "spec": {}}),
        );
    }
    player.bookmark();
    pass(1).await;
    player.compact();
    player.end_watches(&Act::Cut);
    player.set(&path("b"), a_pool("b"));
    told.until(|told| told.has("b")).await;
    assert_eq!(told.in_sync, 1, "nothing was listed anew");
}

#[tokio::test(start_paused = true)]
async fn who_has_too_much_to_do_is_asked_again_when_he_wants_to_be() {
    let player = Player::new();
    let store = player.datastore().await;
    let begin = Instant::now();
    let busy = || Act::Refuse(429, "TooManyRequests", "too many requests", 3);
    player.next(
        "POST",
        [
            busy(),
            Act::Text(429, "Too many requests, please try again later.\n"),
        ],
    );
    store.create(pool("a", "10.0.0.0/16")).await.unwrap();
    let taken = begin.elapsed();
    assert!(
        taken >= Duration::from_secs(4) && taken < Duration::from_secs(6),
        "{taken:?}"
    );
    assert_eq!(player.asked("POST").len(), 3);
    // Not for ever.
    player.next("PUT", (0..20).map(|_| busy()));
    player.next("DELETE", (0..20).map(|_| busy()));
    let error = store.delete(&key("a"), None).await.unwrap_err();
    assert!(error.to_string().contains("too many requests"), "{error}");
    assert!(player.object(&path("a")).is_some());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_server_is_no_answer_and_nothing_is_written_twice() {
    let player = Player::new();
    player.set(&path("a"), a_pool("a"));
    let store = player.datastore().await;
    let mut told = Told::by(&store, &[Kind::IPPool]).await;
    let broken = || Act::Refuse(500, "InternalError", "etcdserver: leader changed", 0);
    player.next("POST", [broken()]);
    let error = store.create(pool("b", "10.1.0.0/16")).await.unwrap_err();
    assert!(error.to_string().contains("leader changed"), "{error}");
    assert_eq!(player.asked("POST").len(), 1, "it may have been done");

    player.next(
        "watch=true",
        [broken(), broken(), Act::Text(502, "Bad Gateway")],
    );
    player.end_watches(&Act::Cut);
    told.until(|told| !told.faults.is_empty()).await;
    player.set(&path("c"), a_pool("c"));
    told.until(|told| told.faults.is_empty() && told.has("c"))
        .await;
    assert_eq!(told.in_sync, 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_is_lost_is_a_conflict_when_it_is_tried_again() {
    let player = Player::new();
    player.set(&path("a"), a_pool("a"));
    let store = player.datastore().await;
    let mut object = store.get(&key("a")).await.unwrap().unwrap();
    object.spec["natOutgoing"] = json!(true);
    player.next("PUT", [Act::Cut]);
    let error = store.update(object.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    // It had been done.
    let mut done = player.object(&path("a")).unwrap();
    done["spec"]["natOutgoing"] = json!(true);
    player.set(&path("a"), done);
    let error = store.update(object).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_webhook_that_refuses_is_quoted() {
    let player = Player::new();
    let store = player.datastore().await;
    let why = "admission webhook \"pools.example.org\" denied the request: ask the network team";
    for (code, reason) in [(400, "BadRequest"), (403, "Forbidden"), (422, "Invalid")] {
        player.next("POST", [Act::Refuse(code, reason, why, 0)]);
        let error = store.create(pool("a", "10.0.0.0/16")).await.unwrap_err();
        assert!(
            error.to_string().contains("ask the network team"),
            "{code}: {error}"
        );
        assert!(error.to_string().contains("IPPool a"), "{code}: {error}");
    }
    assert!(store.get(&key("a")).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_missing_takes_its_kind_away_and_no_other() {
    let player = Player::new();
    player.set(&path("a"), a_pool("a"));
    player.set(
        &format!("{PEERS}/tor"),
        json!({"metadata": {"name": "tor"}, "spec": {"peerIP": "10.0.0.1", "asNumber": 64512}}),
    );
    let forbidden = || {
        Act::Refuse(
            403,
            "Forbidden",
            "User \"u\" cannot list resource \"bgppeers\"",
            0,
        )
    };
    player.next(PEERS, (0..3).map(|_| forbidden()));
    let store = player.datastore().await;
    let mut told = Told::by(&store, &[Kind::IPPool, Kind::BGPPeer]).await;
    assert!(told.has("a"));
    told.until(|told| !told.faults.is_empty()).await;
    assert!(told.faults[0].contains("cannot list"), "{:?}", told.faults);
    let peer = Key::new(Kind::BGPPeer, "tor");
    told.until(|told| told.faults.is_empty() && told.there.contains_key(&peer))
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_object_of_ten_megabytes_holds_nobody_up() {
    let player = Player::new();
    player.set(&path("a"), a_pool("a"));
    let store = player.datastore().await;
    let mut told = Told::by(&store, &[Kind::IPPool]).await;
    let large = json!({"metadata": {"name": "large"}, "spec": {"cidr": "y".repeat(10 << 20)}});
    player.set(&path("large"), large);
    player.set(&path("z"), a_pool("z"));
    told.until(|told| told.has("z") && !told.faults.is_empty())
        .await;
    let fault = &told.faults[0];
    assert!(
        fault.starts_with("IPPool large: spec.cidr"),
        "{}",
        fault.len()
    );
    assert!(fault.len() < 1000, "it is told in {} octets", fault.len());
    player.remove(&path("large"));
    told.until(|told| told.faults.is_empty()).await;
    assert!(told.has("a"));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_ends_the_watch_which_goes_on_where_it_was() {
    let player = Player::new();
    player.set(&path("a"), a_pool("a"));
    let store = player.datastore().await;
    let mut told = Told::by(&store, &[Kind::IPPool]).await;
    for line in [
        &b"<html>login</html>\n"[..],
        b"{\"type\":\"ADDED\"}\n",
        b"{\"type\":\"NEW\",\"object\":{}}\n",
        b"\xff\xfe\n",
    ] {
        player.babble(line);
        told.until(|told| !told.faults.is_empty()).await;
        told.until(|told| told.faults.is_empty()).await;
    }
    player.set(&path("b"), a_pool("b"));
    told.until(|told| told.has("b")).await;
    assert_eq!(told.in_sync, 1);
}

#[tokio::test(start_paused = true)]
async fn who_finds_a_deletion_half_done_ends_it_once_the_line_allows() {
    let player = Player::new();
    let handles = "/apis/crd.projectcalico.org/v1/ipamhandles";
    let marked =
        json!({"metadata": {"name": "h"}, "spec": {"handleID": "H", "block": {}, "deleted": true}});
    player.set(&format!("{handles}/h"), marked);
    let store = player.datastore().await;
    player.next("DELETE", [Act::Cut]);
    let handle = Key::new(Kind::IPAMHandle, "H");
    assert!(store.get(&handle).await.unwrap().is_none());
    assert!(player.object(&format!("{handles}/h")).is_some());
    assert!(store.list(Kind::IPAMHandle).await.unwrap().is_empty());
    assert!(player.object(&format!("{handles}/h")).is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_pod_says_of_itself_is_asked_for_anew_each_time() {
    let player = Player::new();
    let store = player.datastore().await;
    let path = "/api/v1/namespaces/default/pods/web";
    let pod = |pools: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web", "namespace": "default", "annotations": {"cni.projectcalico.org/ipv4pools": pools},
            },
            "spec": {"nodeName": "n"},
        })
    };
    let fault = store.pod("default", "web").await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "Pod default/web: does not exist in Kubernetes"
    );
    for pools in ["[\"a\"]", "[\"b\"]"] {
        player.set(path, pod(pools));
        let metadata = store.pod("default", "web").await.unwrap().unwrap();
        assert_eq!(
            metadata.annotations["cni.projectcalico.org/ipv4pools"],
            pools
        );
    }
    assert_eq!(player.asked(path).len(), 3);
    // No name leads to another path.
    let fault = store.pod("default", "../nodes/n").await.unwrap_err();
    assert_eq!(
        fault.to_string(),
        "Pod default/../nodes/n: no Pod can be called so"
    );
    player.next(path, [Act::Refuse(403, "Forbidden", "not for you", 0)]);
    let fault = store.pod("default", "web").await.unwrap_err();
    assert!(
        matches!(&fault, StoreError::Unavailable { why, .. } if why.contains("Pod default/web")),
        "{fault}"
    );
}
