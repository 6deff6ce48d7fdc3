use super::*;

fn parse(text: &str) -> Result<Config, String> {
    let config = Config::parse(text)?;
    config.check()?;
    Ok(config)
}

#[test]
fn reads_every_documented_key() {
    let config = parse(
        "nodename: node1\ndatastore: {type: file, path: /tmp/store}\nip: 172.31.1.1/24\nip6: none\nrouterId: 1.2.3.4\n\
         socket: /run/a.sock\nhttp: {listen: \"127.0.0.1:9091\"}\nbgp: {listen: [\"0.0.0.0:1790\"], meshOptions: {bfd: true, holdTime: 9}}\n\
         cni: {spool: /tmp/cni, mtu: 1400, mtuFile: none}\n\
         ipam: {gc: false, gcIntervalSeconds: 10, gcGraceSeconds: 60, gcRepairsMax: 7}\nmetrics: {perPeer: true}\nlog: {level: debug, format: json}\n",
    )
    .unwrap();
    assert_eq!(
        config.ip,
        Some(NodeAddress::Fixed("172.31.1.1/24".parse().unwrap()))
    );
    assert_eq!(config.ip6, Some(NodeAddress::None));
    assert_eq!(config.bgp.listen, ["0.0.0.0:1790".parse().unwrap()]);
    let options = serde_json::json!({"bfd": true, "holdTime": 9});
    assert_eq!(config.bgp.mesh_options, PeerOptions::of(options).unwrap());
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.cni.mtu_file, MtuFile(None));
    assert!(config.metrics.per_peer && !config.ipam.gc);
    assert_eq!(config.ipam.interval().as_secs(), 10);
    assert_eq!(config.ipam.settings().grace.as_secs(), 60);
    assert_eq!(config.ipam.settings().repairs_max, 7);
}

#[test]
fn names_an_unknown_key_and_where_it_stands() {
    let fault = parse("nodename: node1\nhtpp: {}\n").unwrap_err();
    assert!(fault.contains("htpp") && fault.contains('2'), "{fault}");
}

#[test]
fn names_a_bad_value() {
    for (text, word) in [
        ("nodename: Node_1\n", "Node_1"),
        (
            "nodename: n\nbgp: {unnumbered: [{interface: eth1, asn: 0}]}\n",
            "bgp.unnumbered[0].asn: 0",
        ),
        (
            "nodename: n\nbgp: {unnumbered: [{interface: '', asn: 1}]}\n",
            "bgp.unnumbered[0].interface: \"\"",
        ),
        (
            "nodename: n\nbgp: {unnumbered: [{interface: eth1, asn: 1}, {interface: eth1, asn: 2}]}\n",
            "bgp.unnumbered[1].interface: eth1 is there twice",
        ),
        ("nodename: n\nip: 172.31.1.1\n", "172.31.1.1"),
        ("nodename: n\nip: fd00::1/64\n", "fd00::1/64"),
        ("nodename: n\nhttp: {listen: \"9091\"}\n", "9091"),
        ("nodename: n\ndatastore: {type: zookeeper}\n", "zookeeper"),
        (
            "nodename: n\nbgp: {meshOptions: {bfd: {multiplier: 0}}}\n",
            "bfd: multiplier: 0",
        ),
        ("nodename: n\ncni: {mtu: 100}\n", "100"),
        (
            "nodename: n\nipam: {gcGraceSeconds: 59}\n",
            "ipam.gcGraceSeconds: 59",
        ),
        ("nodename: n\nipam: {gcRepairsMax: 0}\n", "gcRepairsMax"),
        ("nodename: n\nlog: {level: loud}\n", "log.level: \"loud\""),
    ] {
        let fault = parse(text).unwrap_err();
        assert!(fault.contains(word), "{text:?}: {fault}");
    }
}

#[test]
fn the_environment_wins_over_the_file() {
    let mut config = Config::parse("nodename: from-file\nip: 172.31.1.1/24\n").unwrap();
    let environment = |key: &str| match key {
        "NODENAME" => Some("from-environment".to_owned()),
        "CARACAL_IP" => Some("autodetect".to_owned()),
        "CARACAL_BGP_LISTEN" => Some("127.0.0.1:1790, [::1]:1790".to_owned()),
        _ => None,
    };
    config.override_from(&environment).unwrap();
    assert_eq!(config.nodename, "from-environment");
    assert_eq!(config.ip, Some(NodeAddress::Autodetect));
    assert_eq!(config.bgp.listen.len(), 2);
}

#[test]
fn a_bad_variable_is_named() {
    let fault = Config::default()
        .override_from(&|key| (key == "CARACAL_LOG_FORMAT").then(|| "xml".to_owned()))
        .unwrap_err();
    assert!(
        fault.contains("CARACAL_LOG_FORMAT") && fault.contains("xml"),
        "{fault}"
    );
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse("\n").unwrap(), Config::default());
}

#[test]
fn who_watches_the_speaker_is_read_and_checked() {
    let text = "bgp: {bmp: [{address: 192.0.2.10:11019, locRib: false}], mrt: {rib: {directory: /tmp/mrt}}}";
    let config = Config::parse(text).unwrap();
    let monitor = config.bgp.monitor();
    assert!(monitor.bmp[0].pre_policy && !monitor.bmp[0].loc_rib);
    assert_eq!(monitor.mrt.rib.unwrap().interval_seconds, 7200);
    let mut config = Config::parse("bgp: {bmp: [{address: 192.0.2.10:0}]}").unwrap();
    config.nodename = "node1".to_owned();
    let fault = config.check().unwrap_err();
    assert!(fault.contains("bgp: bmp: 192.0.2.10:0"), "{fault}");
}

#[test]
fn a_link_with_peers_is_a_device_and_an_as_number() {
    let config =
        parse("nodename: n\nbgp: {unnumbered: [{interface: eth1, asn: 64999}]}\n").unwrap();
    let entry = UnnumberedEntry {
        interface: "eth1".to_owned(),
        asn: RemoteAs::Number(64999),
    };
    assert_eq!(config.bgp.unnumbered, [entry]);
    let config = parse("nodename: n\nbgp: {unnumbered: [{interface: eth1, asn: external}]}\n");
    assert_eq!(config.unwrap().bgp.unnumbered[0].asn, RemoteAs::External);
}
