//! Files and clusters, and the peers that follow.

use caracal_bgp::BfdConfig;
use caracal_bgp_net::Md5Key;
use caracal_datastore::{Metadata, Stored};
use serde_json::json;

use super::*;
use crate::config::{Config, Source};

const HOLD_TIME: Duration = Duration::from_secs(90);

fn from_file(text: &str) -> Desired {
    let Source::File(file) = Config::parse(text).unwrap().source else {
        panic!("no file source")
    };
    Desired::from_file(&file, HOLD_TIME)
}

const FILE: &str = "
asn: 64512
routerId: 172.31.0.1
listen: ['172.31.0.1:179', '[fd00::1]:179']
peers:
  - {address: 172.31.1.1, asn: 64512, client: true, passive: true}
  - {address: 172.31.1.2, asn: 65001, port: 1179}
dynamicPeers:
  - {prefix: 172.31.0.0/16, asn: 64512, client: true}
  - {prefix: 172.31.9.0/24, asn: 65009}
";

#[test]
fn a_peer_of_a_file_is_what_its_line_says() {
    let desired = from_file(FILE);
    let client = &desired.peers[&"172.31.1.1".parse().unwrap()];
    assert_eq!(client.kind, "client");
    assert!(client.config.reflector_client && client.config.passive);
    assert_eq!(
        client.config.local_address,
        Some("172.31.0.1".parse().unwrap())
    );
    let external = &desired.peers[&"172.31.1.2".parse().unwrap()];
    assert_eq!(external.kind, "peer");
    assert_eq!(
        (external.config.remote_asn, external.config.local_asn),
        (65001.into(), 64512)
    );
    assert_eq!(external.config.remote_port, 1179);
    assert!(!external.config.reflector_client && !external.config.passive);
}

#[test]
fn options_of_an_entry_reach_the_session_and_win_over_the_whole_files() {
    let desired = from_file(
        "
asn: 64512
routerId: 172.31.0.1
listen: ['172.31.0.1:179']
peers:
  - {address: 172.31.1.2, asn: 65001, localAsn: 64999, role: provider, holdTime: 9, families: [ipv6-unicast]}
dynamicPeers:
  - {prefix: 172.31.9.0/24, asn: 64512, client: true, passive: false, import: {default: reject}}
",
    );
    let external = &desired.peers[&"172.31.1.2".parse().unwrap()].config;
    assert_eq!(
        (external.local_asn, external.remote_asn),
        (64999, 65001.into())
    );
    assert_eq!(external.role, Some(caracal_bgp::wire::Role::Provider));
    assert_eq!(external.hold_time, Duration::from_secs(9));
    assert_eq!(external.families, [Family::Ipv6Unicast]);
    let dynamic = desired.dynamic_peer("172.31.9.9".parse().unwrap()).unwrap();
    assert!(dynamic.passive, "we do not know where it listens");
    assert_eq!(dynamic.import, caracal_bgp::Policy::reject_all());
}

#[test]
fn a_dynamic_peer_is_passive_and_the_longest_prefix_decides() {
    let desired = from_file(FILE);
    let peer = |address: &str| desired.dynamic_peer(address.parse().unwrap());
    let client = peer("172.31.3.3").unwrap();
    assert!(client.passive && client.reflector_client);
    assert_eq!(client.remote_asn, 64512);
    let external = peer("172.31.9.9").unwrap();
    assert_eq!(
        (external.remote_asn, external.reflector_client),
        (65009.into(), false)
    );
    assert_eq!(peer("192.0.2.1"), None);
    assert_eq!(peer("fd00::2"), None);
}

#[test]
fn with_several_addresses_or_none_in_particular_the_kernel_chooses_ours() {
    for listen in [
        "'0.0.0.0:179'",
        "'172.31.0.1:179', '172.31.0.2:179'",
        "'[fd00::1]:179'",
    ] {
        let desired = from_file(&format!(
            "{{asn: 1, routerId: 10.0.0.1, listen: [{listen}], peers: [{{address: 172.31.1.1, asn: 1}}]}}"
        ));
        assert_eq!(
            desired.peers[&"172.31.1.1".parse().unwrap()]
                .config
                .local_address,
            None,
            "{listen}"
        );
    }
}

fn view(cluster_id: Option<&str>, password: bool) -> View {
    let mut view = View::default();
    let metadata = |name: &str| Metadata {
        name: name.to_owned(),
        ..Metadata::default()
    };
    for (name, address, cluster_id) in [
        ("a", "10.0.0.1/24", None),
        ("rr", "10.0.0.9/24", cluster_id),
    ] {
        let spec = json!({"bgp": {"ipv4Address": address, "routeReflectorClusterID": cluster_id}});
        let node = Stored {
            metadata: metadata(name),
            spec: serde_json::from_value(spec).unwrap(),
            revision: None,
        };
        view.nodes.insert(name.to_owned(), node);
    }
    let mut spec = json!({"peerIP": "10.0.0.9", "asNumber": 64512});
    if password {
        spec["password"] = json!({"secretKeyRef": {"name": "bgp", "key": "rr"}});
    }
    let peer = Stored {
        metadata: metadata("to-rr"),
        spec: serde_json::from_value(spec).unwrap(),
        revision: None,
    };
    view.peers.insert("to-rr".to_owned(), peer);
    view
}

fn node() -> FromDatastore {
    FromDatastore {
        datastore: caracal_datastore::DatastoreConfig::default(),
        nodename: "rr".to_owned(),
        router_id: None,
        listen: Vec::new(),
    }
}

#[test]
fn a_node_with_a_cluster_id_finds_its_clients_in_the_cluster() {
    let desired = Desired::from_view(&node(), &view(Some("1.0.0.1"), false), HOLD_TIME).unwrap();
    assert_eq!(desired.faults, [""; 0]);
    assert_eq!(desired.own.cluster_id, Some("1.0.0.1".parse().unwrap()));
    assert_eq!(desired.own.listen, vec!["0.0.0.0:179".parse().unwrap()]);
    let client = &desired.peers[&"10.0.0.1".parse().unwrap()];
    assert!(client.config.reflector_client);
    assert_eq!(client.kind, "node specific");
}

#[test]
fn a_node_without_a_cluster_id_is_told_that_it_reflects_nothing() {
    let desired = Desired::from_view(&node(), &view(None, false), HOLD_TIME).unwrap();
    assert_eq!(
        desired.faults,
        [
            "node rr has no spec.bgp.routeReflectorClusterID, so it is no route reflector and has no clients"
        ]
    );
}

fn key(text: &str) -> Option<Md5Key> {
    Some(Md5Key::new(text.as_bytes()).unwrap())
}

#[test]
fn passwords_and_ttl_security_of_a_file_hold_for_addresses_and_prefixes() {
    let desired = from_file(
        "
asn: 64512
routerId: 172.31.0.1
listen: ['172.31.0.1:179']
peers:
  - {address: 172.31.1.1, asn: 64512, password: hush}
  - {address: 172.31.1.2, asn: 65001, ttlSecurity: 1}
  - {address: 172.31.1.3, asn: 65001}
dynamicPeers:
  - {prefix: 172.32.0.0/16, asn: 64512, password: rush}
",
    );
    let mut wanted = Sessions::new();
    for (peers, key, hops) in [
        ("172.31.1.1/32", key("hush"), 0),
        ("172.31.1.2/32", None, 1),
        ("172.32.0.0/16", key("rush"), 0),
    ] {
        let ttl_security = std::num::NonZeroU8::new(hops);
        let options = SessionOptions { key, ttl_security };
        wanted.insert(peers.parse().unwrap(), options);
    }
    assert_eq!(desired.sessions, wanted);
}

#[test]
fn a_password_of_the_cluster_is_looked_up_in_its_secret() {
    let mut view = view(Some("1.0.0.1"), true);
    let mut secret = caracal_datastore::resources::Secret::default();
    let value = caracal_datastore::resources::SecretValue(b"hush".to_vec());
    secret.data.insert("rr".to_owned(), value);
    view.secrets.insert(
        ("kube-system".to_owned(), "bgp".to_owned()),
        Stored::new_in("kube-system", "bgp", secret),
    );
    let desired = Desired::from_view(&node(), &view, HOLD_TIME).unwrap();
    assert_eq!(desired.faults, [""; 0]);
    assert_eq!(desired.peers.len(), 1);
    assert_eq!(
        desired.sessions[&"10.0.0.1/32".parse().unwrap()].key,
        key("hush")
    );
}

#[test]
fn a_peer_that_asks_for_a_password_is_left_out_rather_than_unsigned() {
    let desired = Desired::from_view(&node(), &view(Some("1.0.0.1"), true), HOLD_TIME).unwrap();
    assert!(desired.peers.is_empty());
    assert_eq!(
        desired.faults,
        ["peer Node_10_0_0_1 is left out: there is no Secret bgp"]
    );
}

#[test]
fn a_node_that_is_not_there_is_waited_for() {
    assert_eq!(
        Desired::from_view(&node(), &View::default(), HOLD_TIME).unwrap_err(),
        "node rr is not in the datastore"
    );
}

#[test]
fn bfd_of_a_file_holds_for_peers_and_prefixes() {
    let desired = from_file(
        "
asn: 64512
routerId: 172.31.0.1
listen: ['172.31.0.1:179']
peers:
  - {address: 172.31.1.1, asn: 64512, bfd: true}
  - {address: 172.31.1.2, asn: 65001, ttlSecurity: 1, bfd: {minIntervalMilliseconds: 50, multiplier: 5}}
  - {address: 172.31.1.3, asn: 65001, bfd: false}
dynamicPeers:
  - {prefix: 172.32.0.0/16, asn: 64512, bfd: {multihop: true}}
",
    );
    let of = |address: &str| {
        desired.peers[&address.parse::<IpAddr>().unwrap()]
            .config
            .bfd
    };
    let usual = BfdConfig::default();
    assert_eq!(of("172.31.1.1"), Some(usual));
    let fast = BfdConfig {
        min_interval_milliseconds: 50,
        multiplier: 5,
        multihop: Some(false),
        ..usual
    };
    assert_eq!(of("172.31.1.2"), Some(fast));
    assert_eq!(of("172.31.1.3"), None);
    let client = desired.dynamic_peer("172.32.7.1".parse().unwrap());
    let far = BfdConfig {
        multihop: Some(true),
        ..usual
    };
    assert_eq!(client.unwrap().bfd, Some(far));
}
