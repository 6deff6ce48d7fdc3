//! Configurations, good and bad.

use super::*;

fn refused(text: &str) -> CniError {
    Config::parse(text.as_bytes()).unwrap_err()
}

#[test]
fn a_minimal_configuration_has_the_documented_defaults() {
    let config =
        Config::parse(br#"{"cniVersion":"1.1.0","name":"pods","type":"caracal-cni"}"#).unwrap();
    assert_eq!(config.version, Version::V1_1_0);
    assert_eq!(config.name, "pods");
    assert_eq!(config.socket, PathBuf::from("/run/caracal/agent.sock"));
    assert_eq!(config.spool, PathBuf::from("/var/lib/caracal/cni"));
    assert_eq!(config.mtu, None);
    assert!(
        config.ipv4_pools.is_empty() && config.ipv6_pools.is_empty() && config.addresses.is_empty()
    );
    assert!(!config.forwarding);
    assert_eq!(config.prev_result, None);
    assert_eq!(config.valid_attachments, None);
}

#[test]
fn a_configuration_written_for_calico_is_accepted_as_it_is() {
    let config = Config::parse(
        br#"{
          "cniVersion": "0.3.1", "name": "k8s-pod-network", "type": "caracal-cni",
          "log_level": "info", "log_file_path": "/var/log/calico/cni/cni.log",
          "datastore_type": "kubernetes", "nodename": "n1", "mtu": 0,
          "ipam": {"type": "calico-ipam", "assign_ipv4": "true", "ipv4_pools": ["10.1.0.0/16", "default-ipv4-ippool"],
                   "ipv6_pools": ["fd00::/48"]},
          "policy": {"type": "k8s"}, "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"},
          "container_settings": {"allow_ip_forwarding": true},
          "runtimeConfig": {"ips": ["10.1.2.3/24"]}, "args": {"cni": {"ips": ["fd00::7"]}}
        }"#,
    )
    .unwrap();
    assert_eq!(config.version, Version::V0_3_1);
    assert_eq!(config.mtu, None);
    assert_eq!(config.ipv4_pools, ["10.1.0.0/16", "default-ipv4-ippool"]);
    assert_eq!(config.ipv6_pools, ["fd00::/48"]);
    assert_eq!(
        config.addresses,
        [
            "10.1.2.3".parse::<IpAddr>().unwrap(),
            "fd00::7".parse().unwrap()
        ]
    );
    assert!(config.forwarding);
}

#[test]
fn says_what_is_wrong_with_which_key() {
    let cases = [
        (
            r#"{"cniVersion":"1.1.0","name""#,
            Code::Decode,
            "network config on stdin is not JSON: EOF while parsing an object at line 1 column 28",
        ),
        (
            "[]",
            Code::Decode,
            "network config on stdin is not a JSON object",
        ),
        (
            r#"{"cniVersion":"9.9.9","name":"n"}"#,
            Code::IncompatibleVersion,
            "cniVersion 9.9.9 is not supported: caracal-cni speaks 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0",
        ),
        (
            r#"{"name":"n"}"#,
            Code::IncompatibleVersion,
            "network config has no cniVersion: caracal-cni speaks 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0",
        ),
        (
            r#"{"cniVersion":"1.0.0"}"#,
            Code::InvalidConfig,
            "network config: name is missing",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","mtu":"big"}"#,
            Code::InvalidConfig,
            "network config: mtu: invalid type: string \"big\", expected u32",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","ipam":{"type":"host-local"}}"#,
            Code::UnsupportedField,
            "network n: ipam.type host-local is not supported: the agent assigns addresses",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","ipam":{"ipv4_pools":[7]}}"#,
            Code::InvalidConfig,
            "network config: ipam.ipv4_pools: invalid type: integer `7`, expected a string",
        ),
        (
            r#"{"cniVersion":"1.0.0","name":"n","runtimeConfig":{"ips":["10.0.0"]}}"#,
            Code::InvalidConfig,
            "network config: runtimeConfig.ips: 10.0.0 is not an address",
        ),
        (
            r#"{"cniVersion":"1.1.0","name":"n","cni.dev/valid-attachments":[{"containerID":"c"}]}"#,
            Code::InvalidConfig,
            "network config: cni.dev/valid-attachments: {\"containerID\":\"c\"} has no containerID or no ifname",
        ),
    ];
    for (text, code, msg) in cases {
        let error = refused(text);
        assert_eq!((error.code, error.msg.as_str()), (code, msg), "for {text}");
    }
}

#[test]
fn errors_are_told_in_the_callers_version_or_the_newest() {
    assert_eq!(version_of(br#"{"cniVersion":"0.4.0"}"#), "0.4.0");
    assert_eq!(version_of(b"{"), "1.1.0");
}

#[test]
fn reads_the_attachments_of_a_gc() {
    let config = Config::parse(
        br#"{"cniVersion":"1.1.0","name":"n","cni.dev/valid-attachments":[{"containerID":"c","ifname":"eth0"}]}"#,
    )
    .unwrap();
    assert_eq!(
        config.valid_attachments,
        Some(vec![("c".to_owned(), "eth0".to_owned())])
    );
}

#[test]
fn a_wrong_previous_result_is_named_when_it_is_needed() {
    let config = Config::parse(
        br#"{"cniVersion":"1.1.0","name":"n","prevResult":{"ips":[{"address":"10.0.0.1"}]}}"#,
    )
    .unwrap();
    assert_eq!(
        config.earlier().unwrap_err().msg,
        "network config: prevResult: ips[0].address 10.0.0.1 is not an address with prefix length"
    );
}
