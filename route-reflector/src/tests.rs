//! A reflector in this process, clients that are real speakers on loopback TCP, and its socket.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use caracal_agent_api::{
    Client, Explain, Explained, GracefulShutdown, Peer, PeerOrder, PeerVerb, Route, Status,
};
use caracal_bgp::wire::Family;
use caracal_bgp::{LocalPath, PeerConfig, Speaker, SpeakerConfig, Time};
use caracal_bgp_net::{Md5Key, OptionsError, SessionOptions, Shell};
use ipnet::IpNet;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use crate::config::Config;
use crate::reflector::Reflector;

mod prefixes;

const ASN: u32 = 64512;
const PORT: u16 = 1790;
const DEADLINE: Duration = Duration::from_secs(30);

/// An address of this host that no other test process uses.
fn address(last: u8) -> IpAddr {
    let process = std::process::id();
    let octet = |number: u32| u8::try_from(number % 250).unwrap_or_default() + 2;
    Ipv4Addr::new(127, octet(process / 250), octet(process), last).into()
}

/// A folder with a configuration, and a reflector that runs by it until it is dropped.
struct Running {
    folder: TempDir,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(last: u8, more: &str) -> Running {
        let folder = tempfile::tempdir().unwrap();
        write(&folder, last, more);
        let file = folder.path().join("rr.yaml");
        let mut reflector = Reflector::start(file.clone(), Config::load(&file).unwrap())
            .await
            .unwrap();
        let task = tokio::spawn(async move {
            loop {
                reflector.step().await.unwrap();
            }
        });
        Running { folder, task }
    }

    fn client(&self) -> Client {
        Client::new(self.folder.path().join("rr.sock"), DEADLINE)
    }

    async fn peers(&self) -> Vec<Peer> {
        self.client().get("/v1/peers").await.unwrap()
    }

    async fn status(&self) -> Status {
        self.client().get("/v1/status").await.unwrap()
    }

    async fn until_established(&self, count: usize) {
        until("Established", async || {
            self.peers()
                .await
                .iter()
                .filter(|peer| peer.state == "Established")
                .count()
                == count
        })
        .await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Replaces the file as editors do: a new one is moved over it.
fn write(folder: &TempDir, last: u8, more: &str) {
    let text = format!(
        "asn: {ASN}\nrouterId: 10.0.0.{last}\nclusterId: 1.0.0.{last}\nlisten: ['{}:{PORT}']\nsocket: {}\n{more}",
        address(last),
        folder.path().join("rr.sock").display(),
    );
    let new = folder.path().join("rr.yaml.new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, folder.path().join("rr.yaml")).unwrap();
}

fn line(last: u8) -> String {
    format!(
        "  - {{address: {}, asn: {ASN}, client: true, passive: true}}\n",
        address(last)
    )
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    let mut again = interval(Duration::from_millis(10));
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        again.tick().await;
    }
}

/// A client of the reflector at `reflector`.
async fn client(last: u8, reflector: u8) -> Shell {
    client_called(last, reflector, last).await
}

/// With another router id.
async fn client_called(last: u8, reflector: u8, router_id: u8) -> Shell {
    let config = SpeakerConfig {
        seed: last.into(),
        ..SpeakerConfig::new(ASN, Ipv4Addr::new(10, 0, 0, router_id))
    };
    let mut speaker = Speaker::new(config, Time::ZERO);
    let peer = PeerConfig {
        name: "reflector".to_owned(),
        remote_port: PORT,
        local_address: Some(address(last)),
        families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast],
        connect_retry: Duration::from_millis(200),
        ..PeerConfig::new(address(reflector), ASN, ASN)
    };
    speaker.set_peer(Time::ZERO, peer);
    Shell::start(speaker, &[SocketAddr::new(address(last), 0)]).unwrap()
}

async fn originate(shell: &Shell, prefix: IpNet) {
    shell
        .with(move |speaker, now| speaker.originate(now, prefix, LocalPath::default()))
        .await
        .unwrap();
}

async fn has_route(shell: &Shell, prefix: IpNet) -> bool {
    shell
        .with(move |speaker, _| speaker.route(&prefix).is_some())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_routes_on_between_clients_with_the_marks_of_reflection() {
    let reflector = Running::start(1, &format!("peers:\n{}{}", line(2), line(3))).await;
    let (one, other) = (client(2, 1).await, client(3, 1).await);
    reflector.until_established(2).await;

    let block: IpNet = "10.233.2.0/26".parse().unwrap();
    originate(&one, block).await;
    until("the route", async || has_route(&other, block).await).await;
    let view = other
        .with(move |speaker, _| speaker.route(&block))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(view.paths.len(), 1);
    assert_eq!(view.paths[0].next_hop, Some(address(2)));
    assert_eq!(
        view.paths[0].originator_id,
        Some(Ipv4Addr::new(10, 0, 0, 2))
    );
    assert_eq!(view.paths[0].cluster_list, [Ipv4Addr::new(1, 0, 0, 1)]);

    let routes: Vec<Route> = reflector.client().get("/v1/routes").await.unwrap();
    assert_eq!(routes.len(), 1);
    assert_eq!(routes[0].paths[0].peer, Some(address(2)));

    one.with(move |speaker, now| speaker.withdraw(now, block))
        .await
        .unwrap();
    until("the withdrawal", async || !has_route(&other, block).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_peers_are_told_on_the_socket() {
    let reflector = Running::start(11, &format!("peers:\n{}{}", line(12), line(13))).await;
    let _client = client(12, 11).await;
    reflector.until_established(1).await;
    let status = reflector.status().await;
    assert!(status.ready, "{:?}", status.not_ready_because);
    assert_eq!(
        (status.asn, status.router_id),
        (ASN, Some(Ipv4Addr::new(10, 0, 0, 11)))
    );
    assert_eq!(status.cluster_id, Some(Ipv4Addr::new(1, 0, 0, 11)));
    assert_eq!((status.peers_established, status.peers_configured), (1, 2));
    assert_eq!(status.fib, None);
    // The one that is away is a condition, and no reason not to be ready.
    assert_eq!(status.conditions.len(), 1);
    assert!(
        status.conditions[0]
            .message
            .starts_with(&format!("peer {} is ", address(13)))
    );
    let peers = reflector.peers().await;
    assert_eq!(peers[0].peer_type, "client");
    assert_eq!(peers[0].families, ["ipv4-unicast", "ipv6-unicast"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_adds_a_peer_and_keeps_the_sessions_of_the_others() {
    let reflector = Running::start(21, &format!("peers:\n{}", line(22))).await;
    let _one = client(22, 21).await;
    reflector.until_established(1).await;
    let _other = client(23, 21).await;
    write(
        &reflector.folder,
        21,
        &format!("peers:\n{}{}", line(22), line(23)),
    );
    reflector.until_established(2).await;
    assert!(reflector.peers().await.iter().all(|peer| peer.flaps == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_becomes_wrong_is_a_condition_and_changes_nothing() {
    let reflector = Running::start(31, &format!("peers:\n{}", line(32))).await;
    let _one = client(32, 31).await;
    reflector.until_established(1).await;
    write(&reflector.folder, 31, "holdTime: 2");
    until("the condition", async || {
        !reflector.status().await.conditions.is_empty()
    })
    .await;
    let status = reflector.status().await;
    assert_eq!(
        status.conditions[0].message,
        format!(
            "{}: holdTime: 2 is neither 0 nor at least 3 seconds (RFC 4271 §4.2); the last good configuration stands",
            reflector.folder.path().join("rr.yaml").display()
        )
    );
    assert_eq!(status.peers_established, 1);

    write(&reflector.folder, 31, &format!("peers:\n{}", line(32)));
    until("no condition", async || {
        reflector.status().await.conditions.is_empty()
    })
    .await;
    assert!(reflector.peers().await.iter().all(|peer| peer.flaps == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_a_restart_brings_is_said() {
    let reflector = Running::start(35, "").await;
    let file = reflector.folder.path().join("rr.yaml");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("routerId: 10.0.0.35", "routerId: 10.0.0.1");
    std::fs::write(&file, text).unwrap();
    until("the condition", async || {
        !reflector.status().await.conditions.is_empty()
    })
    .await;
    assert_eq!(
        reflector.status().await.conditions[0].message,
        "only a restart brings router id 10.0.0.1; it runs with 10.0.0.35"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_id_and_meshed_clients_come_under_the_sessions() {
    let peers = format!("peers:\n{}{}", line(182), line(183));
    let reflector = Running::start(181, &peers).await;
    let (one, other) = (client(182, 181).await, client(183, 181).await);
    reflector.until_established(2).await;
    let block: IpNet = "10.233.72.0/26".parse().unwrap();
    originate(&one, block).await;
    until("the route", async || has_route(&other, block).await).await;
    let file = reflector.folder.path().join("rr.yaml");
    let written = std::fs::read_to_string(&file).unwrap();
    let another = written.replace("clusterId: 1.0.0.181", "clusterId: 1.0.0.9");
    std::fs::write(&file, &another).unwrap();
    let cluster_list = async || {
        let view = other.with(move |speaker, _| speaker.route(&block)).await;
        let view = view
            .unwrap()
            .map(|route| route.paths[0].cluster_list.clone());
        view.unwrap_or_default()
    };
    until("the other cluster id", async || {
        cluster_list().await == [Ipv4Addr::new(1, 0, 0, 9)]
    })
    .await;
    std::fs::write(&file, format!("clientToClient: false\n{another}")).unwrap();
    until("the withdrawal", async || !has_route(&other, block).await).await;
    assert!(reflector.peers().await.iter().all(|peer| peer.flaps == 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_and_probes_are_answered() {
    let http = SocketAddr::new(address(51), 9092);
    let reflector = Running::start(
        51,
        &format!("http: {{listen: '{http}'}}\npeers:\n{}", line(52)),
    )
    .await;
    let _one = client(52, 51).await;
    reflector.until_established(1).await;
    let get = async |path: &str| {
        let mut stream = tokio::net::TcpStream::connect(http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: rr\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    };
    assert!(get("/livez").await.starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
    let metrics = get("/metrics").await;
    assert!(
        metrics.contains("caracal_bgp_peers{state=\"Established\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("\ncaracal_bgp_updates_encoded_total "),
        "{metrics}"
    );
    assert!(metrics.contains("caracal_rr_ready 1\n"), "{metrics}");
    // The same on the socket, as the agent's.
    let of_socket = reflector.client().text("/v1/metrics").await.unwrap();
    assert!(of_socket.contains("caracal_rr_ready 1\n"), "{of_socket}");
    assert!(get("/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_socket_that_another_process_answers_on_is_left_alone() {
    let reflector = Running::start(61, "").await;
    let file = reflector.folder.path().join("rr.yaml");
    let error = Reflector::start(file.clone(), Config::load(&file).unwrap())
        .await
        .unwrap_err();
    let socket = reflector.folder.path().join("rr.sock");
    assert_eq!(
        format!("{error:#}"),
        format!(
            "socket {}: another process is running and answers there",
            socket.display()
        )
    );
}

#[tokio::test]
async fn a_bgp_port_in_use_ends_the_start_with_one_sentence() {
    let _taken = std::net::TcpListener::bind((address(62), PORT)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(&folder, 62, "");
    let file = folder.path().join("rr.yaml");
    let error = Reflector::start(file.clone(), Config::load(&file).unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        format!("cannot listen on {}:{PORT}: address in use", address(62))
    );
}

/// A manifest in a folder that is a datastore.
fn manifest(store: &Path, name: &str, text: &str) {
    let new = store.join(format!(".{name}.new"));
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, store.join(format!("{name}.yaml"))).unwrap();
}

fn node(name: &str, bgp: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: {name}, labels: {{role: {name}}}}}\nspec: {{bgp: {{{bgp}}}}}\n"
    )
}

fn store() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir(&store).unwrap();
    (folder, store)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_it_finds_its_clients_by_selector_and_follows_changes() {
    let (folder, store) = store();
    let text = format!(
        "datastore: {{type: file, path: {}}}\nnodename: rr1\nlisten: ['{}:{PORT}']\nsocket: {}\n",
        store.display(),
        address(71),
        folder.path().join("rr.sock").display(),
    );
    let file = folder.path().join("rr.yaml");
    std::fs::write(&file, text).unwrap();
    let mut reflector = Reflector::start(file.clone(), Config::load(&file).unwrap())
        .await
        .unwrap();
    let task = tokio::spawn(async move {
        loop {
            reflector.step().await.unwrap();
        }
    });
    let running = Running { folder, task };
    until("it is waiting for its node", async || {
        let status = running.status().await;
        status.node == "rr1" && status.not_ready_because == ["node rr1 is not in the datastore"]
    })
    .await;

    manifest(&store, "a", &node("a", "ipv4Address: 192.0.2.1/24"));
    manifest(
        &store,
        "to-reflectors",
        "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: to-reflectors}\nspec: {nodeSelector: role != 'rr1', peerSelector: role == 'rr1'}\n",
    );
    manifest(
        &store,
        "rr1",
        &node(
            "rr1",
            "ipv4Address: 192.0.2.9/24, routeReflectorClusterID: 1.0.0.1",
        ),
    );
    until("a client", async || running.peers().await.len() == 1).await;
    assert_eq!(running.peers().await[0].name, "Node_192_0_2_1");
    assert!(running.status().await.ready);

    manifest(&store, "b", &node("b", "ipv4Address: 192.0.2.2/24"));
    until("another client", async || running.peers().await.len() == 2).await;
    std::fs::remove_file(store.join("a.yaml")).unwrap();
    until("one client again", async || {
        running.peers().await.len() == 1
    })
    .await;
    assert_eq!(running.peers().await[0].name, "Node_192_0_2_2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_client_stays_while_the_key_changes() {
    let signed = |key: &str| {
        let line = line(92);
        let line = line.trim_end().trim_end_matches('}');
        format!("peers:\n{line}, password: {key}}}\n{}", self::line(93))
    };
    let options = |key: &str| {
        Some(SessionOptions {
            key: Some(Md5Key::new(key.as_bytes()).unwrap()),
            ttl_security: None,
        })
    };
    let one = client(92, 91).await;
    if let Err(OptionsError::Key { why, .. }) =
        one.set_session_options(address(91), options("old")).await
    {
        println!("skipped: {why}");
        return;
    }
    let reflector = Running::start(91, &signed("old")).await;
    let other = client(93, 91).await;
    reflector.until_established(2).await;

    write(&reflector.folder, 91, &signed("new"));
    one.set_session_options(address(91), options("new"))
        .await
        .unwrap();
    let block: IpNet = "10.233.92.0/26".parse().unwrap();
    originate(&one, block).await;
    until("the route", async || has_route(&other, block).await).await;
    assert_eq!(
        reflector
            .peers()
            .await
            .iter()
            .map(|peer| peer.flaps)
            .sum::<u64>(),
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_and_questions_come_over_the_socket() {
    let reflector = Running::start(111, &format!("peers:\n{}", line(112))).await;
    let one = client(112, 111).await;
    reflector.until_established(1).await;
    let socket = reflector.client();
    let order = async |verb, peer| -> Result<serde_json::Value, String> {
        let words = "a new card".to_owned();
        let order = PeerOrder { peer, verb, words };
        let done = socket.post("/v1/peers/order", &order).await;
        done.map_err(|error| error.to_string())
    };

    order(PeerVerb::ShutDown, address(112)).await.unwrap();
    let held = |peers: Vec<Peer>| peers[0].held.clone().unwrap_or_default();
    assert_eq!(
        held(reflector.peers().await),
        "administratively down: a new card"
    );
    until("the words", async || {
        let views = one.with(|speaker, now| speaker.peers(now)).await.unwrap();
        let words = views[0].last_error.clone().unwrap_or_default();
        words.contains("Administrative Shutdown \"a new card\"")
    })
    .await;
    // The file has changed, and the order stands.
    let other = line(112).replace("passive: true", "passive: true, allowOwnAs: 1");
    write(
        &reflector.folder,
        111,
        &format!("peers:\n{other}{}", line(113)),
    );
    until("the other peer", async || {
        reflector.peers().await.len() == 2
    })
    .await;
    assert_ne!(held(reflector.peers().await), "");
    order(PeerVerb::BringUp, address(112)).await.unwrap();
    reflector.until_established(1).await;
    assert_eq!(
        order(PeerVerb::BringUp, address(112)).await.unwrap_err(),
        format!("peer {} is not shut down", address(112))
    );
    assert_eq!(
        order(PeerVerb::Refresh, address(114)).await.unwrap_err(),
        format!("{} is not a configured peer", address(114))
    );
    order(PeerVerb::Refresh, address(112)).await.unwrap();
    order(PeerVerb::ResetSoft, address(112)).await.unwrap();
    let flaps = reflector.peers().await[0].flaps;
    order(PeerVerb::ResetHard, address(112)).await.unwrap();
    until("the reset", async || {
        let peer = reflector.peers().await.remove(0);
        peer.flaps == flaps + 1 && peer.state == "Established"
    })
    .await;

    let block: IpNet = "10.233.2.0/26".parse().unwrap();
    originate(&one, block).await;
    let question = Explain {
        peer: address(112),
        prefix: Some(block),
        policy: Some(serde_json::json!({"default": "reject"})),
    };
    until("the path", async || {
        !reflector
            .client()
            .get::<Vec<Route>>("/v1/routes")
            .await
            .unwrap()
            .is_empty()
    })
    .await;
    let asked = socket.post("/v1/explain/import", &question).await;
    let explained: Vec<Explained> = asked.unwrap();
    assert_eq!(explained.len(), 1);
    assert!(!explained[0].accepted, "{explained:?}");

    let on = GracefulShutdown { on: true };
    let _: serde_json::Value = socket.post("/v1/graceful-shutdown", &on).await.unwrap();
    let conditions = reflector.status().await.conditions;
    let names: Vec<&str> = conditions.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["GracefulShutdown", "PeerDown"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collectors_files_and_records_are_those_of_the_configuration() {
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("rr.jsonl");
    let more = format!(
        "bgp: {{bmp: [{{address: '{}'}}], record: {}}}\npeers:\n{}",
        collector.local_addr().unwrap(),
        record.display(),
        line(102),
    );
    let reflector = Running::start(101, &more).await;
    let (mut told, _) = collector.accept().await.unwrap();
    let mut version = [0];
    told.read_exact(&mut version).await.unwrap();
    assert_eq!(version, [3]);
    until("the collector", async || {
        let monitoring = reflector.status().await.monitoring;
        monitoring.is_some_and(|all| all.stations[0].up && all.stations[0].octets > 0)
    })
    .await;
    until("the record", async || {
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        text.contains("10.0.0.101") && text.contains(&address(102).to_string())
    })
    .await;
}
