//! Files, and the sentence for each that is wrong.

use caracal_datastore::DatastoreKind;

use super::*;

const WHOLE: &str = r#"
asn: 64512
routerId: 172.31.0.1
listen: ["172.31.0.1:179"]
clusterId: 1.0.0.1
holdTime: 30
families: [ipv4-unicast, ipv6-unicast]
peers:
  - {address: 172.31.1.1, asn: 64512, client: true, passive: true, password: null}
  - {address: 172.31.1.2, asn: 65001, port: 1179}
dynamicPeers:
  - {prefix: 172.31.0.0/16, asn: 64512, client: true}
http: {listen: "127.0.0.1:9092"}
socket: /run/caracal/other.sock
log: {level: debug, format: json}
"#;

#[test]
fn a_whole_file_is_understood() {
    let config = Config::parse(WHOLE).unwrap();
    let Source::File(file) = config.source else {
        panic!("{:?}", config.source)
    };
    assert_eq!(
        (file.asn, file.router_id),
        (64512, Ipv4Addr::new(172, 31, 0, 1))
    );
    assert_eq!(file.cluster_id, Some(Ipv4Addr::new(1, 0, 0, 1)));
    assert_eq!(file.families, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
    let peers: Vec<_> = file
        .peers
        .iter()
        .map(|peer| (peer.port, peer.terms.client, peer.is_passive()))
        .collect();
    assert_eq!(peers, [(179, true, true), (1179, false, false)]);
    assert_eq!(file.dynamic_peers.len(), 1);
    assert_eq!(config.hold_time_seconds, 30);
    assert_eq!(config.http, Some("127.0.0.1:9092".parse().unwrap()));
    assert_eq!(config.socket, PathBuf::from("/run/caracal/other.sock"));
    assert_eq!(
        config.log,
        LogConfig {
            level: "debug".into(),
            format: LogFormat::Json
        }
    );
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let text = WHOLE.replace("level: debug", "level: loud");
    let fault = Config::parse(&text).unwrap_err();
    assert!(fault.contains("log.level: \"loud\""), "{fault}");
}

#[test]
fn defaults_are_those_of_the_help() {
    let config =
        Config::parse("{asn: 64512, routerId: 172.31.0.1, listen: ['172.31.0.1:179']}").unwrap();
    assert_eq!(config.hold_time_seconds, 90);
    assert_eq!(config.http, None);
    assert_eq!(config.socket, PathBuf::from("/run/caracal/rr.sock"));
    let Source::File(file) = config.source else {
        panic!("{:?}", config.source)
    };
    assert_eq!(file.families, [Family::Ipv4Unicast, Family::Ipv6Unicast]);
    assert_eq!(file.cluster_id, None);
}

#[test]
fn a_datastore_and_a_nodename_are_enough() {
    let config =
        Config::parse("{datastore: {type: file, path: /store}, nodename: rr1, routerId: hash}")
            .unwrap();
    let expected = FromDatastore {
        datastore: DatastoreConfig {
            named: Some(DatastoreKind::File),
            path: "/store".into(),
            ..DatastoreConfig::default()
        },
        nodename: "rr1".to_owned(),
        router_id: Some("hash".to_owned()),
        listen: Vec::new(),
    };
    assert_eq!(config.source, Source::Datastore(Box::new(expected)));
}

/// A file that is right but for `more`.
fn fault(more: &str) -> String {
    let text = format!("asn: 64512\nrouterId: 172.31.0.1\nlisten: ['172.31.0.1:179']\n{more}");
    Config::parse(&text).unwrap_err()
}

#[test]
fn each_fault_names_field_and_value() {
    let peers = |entry: &str| fault(&format!("peers: [{entry}]"));
    for (words, expected) in [
        (
            fault("holdTime: 2"),
            "holdTime: 2 is neither 0 nor at least 3 seconds (RFC 4271 §4.2)",
        ),
        (
            fault("families: []"),
            "families: empty, so that nothing could be reflected",
        ),
        (
            fault("nodename: rr1"),
            "nodename: rr1 has a meaning only with `datastore`",
        ),
        (
            peers("{address: 10.0.0.1, asn: 0}"),
            "peers[0].asn: 0 is not an AS number",
        ),
        (
            peers("{address: 10.0.0.1, asn: external, client: true}"),
            "peers[0].client: a client has our AS number 64512, and this peer has external",
        ),
        (
            peers("{address: 10.0.0.1, asn: 65001, client: true}"),
            "peers[0].client: a client has our AS number 64512, and this peer has 65001",
        ),
        (
            peers("{address: 10.0.0.1, asn: 64512}, {address: 10.0.0.1, asn: 65001}"),
            "peers[1].address: 10.0.0.1 is there twice",
        ),
        (
            fault(
                "peers: [{address: 10.0.0.1, asn: 64512}]\n\
                 dynamicPeers: [{prefix: 10.0.0.0/16, asn: 64512, password: hush}]",
            ),
            "peers[0].password: missing, and dynamicPeers has one for 10.0.0.0/16, which this is part of",
        ),
        (
            fault(
                "dynamicPeers: [{prefix: 10.0.0.0/16, asn: 64512, password: hush}, \
                 {prefix: 10.0.1.0/24, asn: 64512}]",
            ),
            "dynamicPeers[1].password: missing, and dynamicPeers has one for 10.0.0.0/16, which this is part of",
        ),
        (
            peers("{address: 10.0.0.1, asn: 64512, port: 0}"),
            "peers[0].port: 0 is not a port",
        ),
        (
            peers("{address: 10.0.0.1, asn: 64512, role: peer}"),
            "peers[0].role: peer: is for external peers only, and the peer has our AS number",
        ),
        (
            peers("{address: 10.0.0.1, asn: 64512, localAsn: 65001, client: true}"),
            "peers[0].client: a client has our AS number 65001, and this peer has 64512",
        ),
        (
            peers("{address: 10.0.0.1, asn: 70000000000}"),
            "peers[0].asn: 70000000000 is neither an AS number nor `external` nor `internal`",
        ),
        (
            peers("{address: 10.0.0.1}"),
            "peers[0]: missing field `asn`",
        ),
        (
            peers(
                "{address: 10.0.0.1, asn: 65001, prefixLimits: {ipv4-unicast: {max: -1, action: warn}}}",
            ),
            "peers[0].prefixLimits.ipv4-unicast.max: invalid value: integer `-1`, expected usize",
        ),
        (
            fault("dynamicPeers: [{prefix: 10.0.0.0/16, asn: 64512, holdTime: 1}]"),
            "dynamicPeers[0].holdTime: 1 is neither 0 nor at least 3 whole seconds (RFC 4271 §4.2)",
        ),
        (
            fault("bgp: {bmp: [{address: '0.0.0.0:11019'}]}"),
            "bgp: bmp: 0.0.0.0:11019 is no address to connect to",
        ),
        (
            fault("dynamicPeers: [{prefix: 10.0.0.1/16, asn: 64512}]"),
            "dynamicPeers[0].prefix: 10.0.0.1/16 has host bits set",
        ),
        (
            fault(
                "dynamicPeers: [{prefix: 10.0.0.0/16, asn: 64512}, {prefix: 10.0.0.0/16, asn: 1}]",
            ),
            "dynamicPeers[1].prefix: 10.0.0.0/16 is there twice",
        ),
        (
            peers("{address: 10.0.0.1, asn: 64512, password: ''}"),
            "peers[0].password: a TCP MD5 key has 1 to 80 octets, and this one has 0",
        ),
        (
            Config::parse("{routerId: 10.0.0.1}").unwrap_err(),
            "asn: missing (or give `datastore` and `nodename`)",
        ),
        (
            Config::parse("{asn: 1, routerId: rr}").unwrap_err(),
            "routerId: `rr` is not an IPv4 address that can name a router",
        ),
        (
            Config::parse("{asn: 1, routerId: 10.0.0.1}").unwrap_err(),
            "listen: missing, and without it no passive or dynamic peer can connect",
        ),
        (
            Config::parse(
                "{asn: 1, routerId: 10.0.0.1, peers: [{address: 10.0.0.2, asn: 1}], \
                 dynamicPeers: [{prefix: 10.0.0.0/16, asn: 1}]}",
            )
            .unwrap_err(),
            "listen: missing, and without it no passive or dynamic peer can connect",
        ),
        (
            Config::parse("{asn: 1, routerId: 10.0.0.1, listen: ['10.0.0.1:0']}").unwrap_err(),
            "listen: 10.0.0.1:0: 0 is not a port",
        ),
        (
            Config::parse("{datastore: {type: file, path: /store}}").unwrap_err(),
            "nodename: missing; with a datastore it says which Node this reflector is",
        ),
        (
            Config::parse("{datastore: {type: file, path: /store}, nodename: rr1, asn: 64512}")
                .unwrap_err(),
            "asn: comes from the datastore and cannot be given beside `datastore`",
        ),
    ] {
        assert_eq!(words, expected);
    }
}

#[test]
fn what_is_no_field_or_no_value_of_one_is_shown_where_it_stands() {
    for (more, expected) in [
        ("perrs: []", "perrs"),
        ("peers: [{address: 10.0.0.300, asn: 64512}]", "10.0.0.300"),
        ("families: [ipv5-unicast]", "ipv5-unicast"),
        ("listen: 5", "5"),
    ] {
        let words = fault(more);
        assert!(words.contains(expected), "{words}");
    }
}

#[test]
fn an_unknown_field_of_an_entry_is_told_all_that_there_are() {
    for (entry, own) in [
        (
            "peers: [{address: 10.0.0.1, asn: 64512, pasword: x}]",
            "expected one of `address`, `port`, `asn`, `localAsn`, `password`, `ttlSecurity`, `shutdown`, ",
        ),
        (
            "dynamicPeers: [{prefix: 10.0.0.0/16, asn: 64512, prefxi: x}]",
            "expected one of `prefix`, `asn`, `localAsn`, `password`, `ttlSecurity`, `shutdown`, ",
        ),
    ] {
        let words = fault(entry);
        assert!(words.contains(own), "{words}");
        assert_eq!(words.matches("`client`").count(), 1, "{words}");
    }
    let inside = fault("peers: [{address: 10.0.0.1, asn: 64512, addPath: {nonsense: 1}}]");
    assert!(!inside.contains("`address`"), "{inside}");
}

#[test]
fn lists_whose_entries_are_all_commented_out_are_empty() {
    let text =
        "asn: 1\nrouterId: 10.0.0.1\nlisten: ['10.0.0.1:179']\npeers:\n# - {}\ndynamicPeers:\n";
    let Source::File(file) = Config::parse(text).unwrap().source else {
        panic!("no file source")
    };
    assert!(file.peers.is_empty() && file.dynamic_peers.is_empty());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let words = Config::load(Path::new("/nonexistent/rr.yaml")).unwrap_err();
    assert!(words.starts_with("/nonexistent/rr.yaml: "), "{words}");
}

#[test]
fn no_fault_and_no_debug_output_shows_a_password() {
    let long = "hush".repeat(21);
    for (entry, expected) in [
        (
            format!("password: {long}"),
            "1 to 80 octets, and this one has 84",
        ),
        (
            "password: ''".to_owned(),
            "1 to 80 octets, and this one has 0",
        ),
        (
            "password: [hush]".to_owned(),
            "peers[0].password: is not a text",
        ),
        ("password: hush, nonsense: 1".to_owned(), "nonsense"),
        ("password: hush, ttlSecurity: 0".to_owned(), ""),
        ("password: hush, ttlSecurity: 256".to_owned(), ""),
        (
            "password: hush, bfd: {minIntervalMilliseconds: 5}".to_owned(),
            "minIntervalMilliseconds: 5 is not within",
        ),
        ("password: hush, bfd: fast".to_owned(), "true, false"),
    ] {
        let words = fault(&format!(
            "peers:\n- {{address: 10.0.0.1, asn: 64512, {entry}}}\n"
        ));
        assert!(words.contains(expected), "{words}");
        assert!(!words.contains("hush"), "{words}");
    }
    let text = "asn: 1\nrouterId: 10.0.0.1\nlisten: ['10.0.0.1:179']\n\
                peers: [{address: 10.0.0.2, asn: 1, password: hush, ttlSecurity: 1}]";
    let config = Config::parse(text).unwrap();
    assert!(!format!("{config:?}").contains("hush"));
}

#[test]
fn the_example_of_the_documents_is_a_configuration_as_it_stands() {
    let text = r#"
asn: 64512
routerId: 172.31.0.1
listen: ["172.31.0.1:179"]
clusterId: 1.0.0.1
holdTime: 90
families: [ipv4-unicast, ipv6-unicast]
peers:
  - {address: 172.31.1.1, asn: 64512, client: true, passive: true, password: null}
dynamicPeers:
  - {prefix: 172.31.0.0/16, asn: 64512, client: true}
http: {listen: "127.0.0.1:9092"}
socket: /run/caracal/rr.sock
"#;
    let config = Config::parse(text).unwrap();
    let Source::File(file) = &config.source else {
        panic!("{config:?}");
    };
    assert_eq!(file.peers[0].terms.password, None);
    assert!(file.peers[0].terms.client && file.dynamic_peers[0].terms.client);
    assert_eq!(config.http, Some("127.0.0.1:9092".parse().unwrap()));
}
