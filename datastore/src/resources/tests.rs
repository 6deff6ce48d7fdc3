//! Calico's objects as its documentation shows them, and each fault that validation knows.

mod faults;

use serde_json::{Value, json};

use super::*;
use crate::manifest;

fn object(kind: Kind, name: &str, spec: Value) -> Object {
    let namespace = kind.namespaced().then(|| "default".to_owned());
    Object {
        key: crate::Key {
            kind,
            namespace: namespace.clone(),
            name: name.to_owned(),
        },
        metadata: Metadata {
            name: name.to_owned(),
            namespace,
            ..Metadata::default()
        },
        spec,
        revision: None,
    }
}

/// Reads the spec into its type and writes it again.
fn rewritten(object: &Object) -> Value {
    fn through<R: Resource>(object: &Object) -> Value {
        Stored::<R>::from_object(object).unwrap().into_object().spec
    }
    match object.key.kind {
        Kind::Node => through::<Node>(object),
        Kind::IPPool => through::<IPPool>(object),
        Kind::BGPConfiguration => through::<BGPConfiguration>(object),
        Kind::BGPPeer => through::<BGPPeer>(object),
        Kind::BGPFilter => through::<BGPFilter>(object),
        Kind::IPAMBlock => through::<IPAMBlock>(object),
        Kind::BlockAffinity => through::<BlockAffinity>(object),
        Kind::IPAMHandle => through::<IPAMHandle>(object),
        Kind::IPAMConfig => through::<IPAMConfig>(object),
        Kind::WorkloadEndpoint => through::<WorkloadEndpoint>(object),
        Kind::FelixConfiguration => through::<FelixConfiguration>(object),
        Kind::LiveMigration => through::<LiveMigration>(object),
        Kind::Secret => through::<Secret>(object),
    }
}

/// Every field of every kind, and one that nobody knows yet.
fn complete() -> Vec<Object> {
    vec![
        object(
            Kind::Node,
            "node-1",
            json!({
                "bgp": {
                    "asNumber": 64512,
                    "ipv4Address": "192.0.2.7/24",
                    "ipv6Address": "2001:db8::7/64",
                    "ipv4IPIPTunnelAddr": "10.0.0.1",
                    "routeReflectorClusterID": "224.0.0.1",
                    "interfaces": [{"name": "eth0"}],
                },
                "ipv4VXLANTunnelAddr": "10.0.0.2",
                "ipv6VXLANTunnelAddr": "fd00::2",
                "vxlanTunnelMACAddr": "66:aa:bb:cc:dd:ee",
                "vxlanTunnelMACAddrV6": "66:aa:bb:cc:dd:ef",
                "addresses": [{"address": "192.0.2.7/24", "type": "CalicoNodeIP"}, {"address": "192.0.2.7"}],
                "orchRefs": [{"nodeName": "node-1", "orchestrator": "k8s"}],
                "wireguard": {"interfaceIPv4Address": "10.0.0.3"},
            }),
        ),
        object(
            Kind::IPPool,
            "default-ipv4-ippool",
            json!({
                "cidr": "192.168.0.0/16",
                "blockSize": 26,
                "ipipMode": "CrossSubnet",
                "vxlanMode": "Never",
                "natOutgoing": true,
                "disabled": true,
                "disableBGPExport": true,
                "nodeSelector": "zone == \"west\"",
                "namespaceSelector": "all()",
                "allowedUses": ["Workload", "Tunnel"],
                "assignmentMode": "Manual",
                "tomorrow": {"a": [1, null]},
            }),
        ),
        object(
            Kind::BGPConfiguration,
            "default",
            json!({
                "logSeverityScreen": "Info",
                "nodeToNodeMeshEnabled": true,
                "asNumber": 63400,
                "serviceLoadBalancerIPs": [{"cidr": "203.0.113.0/24"}],
                "serviceExternalIPs": [{"cidr": "104.244.42.129/32"}, {"cidr": "172.217.3.0/24"}],
                "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}],
                "communities": [{"name": "bgp-large-community", "value": "63400:300:100"}],
                "prefixAdvertisements": [{"cidr": "172.218.4.0/26", "communities": ["bgp-large-community", "63400:120"]}],
                "listenPort": 178,
                "nodeMeshPassword": {"secretKeyRef": {"name": "bgp", "key": "mesh", "optional": false}},
                "nodeMeshMaxRestartTime": "2m0s",
                "bindMode": "NodeIP",
                "ignoredInterfaces": ["docker*"],
                "localWorkloadPeeringIPV4": "192.168.255.1",
                "localWorkloadPeeringIPV6": "fd00::ffff",
                "serviceLoadBalancerAggregation": "Disabled",
                "programClusterRoutes": "Enabled",
                "ipv4NormalRoutePriority": 1024,
                "ipv6NormalRoutePriority": 1025,
                "tomorrow": 1,
            }),
        ),
        object(
            Kind::BGPFilter,
            "f",
            json!({
                "exportV4": [{
                    "action": "Accept", "matchOperator": "In", "cidr": "10.0.0.0/8",
                    "prefixLength": {"min": 24}, "source": "RemotePeers", "interface": "*.calico",
                    "peerType": "eBGP", "communities": {"values": ["64512:1"]},
                    "asPathPrefix": [65001], "priority": 1024,
                    "operations": [{"addCommunity": {"value": "64512:2"}}], "tomorrow": 1,
                }],
                "importV6": [{"action": "Reject"}],
                "tomorrow": 1,
            }),
        ),
        object(
            Kind::BGPPeer,
            "rack-1",
            json!({
                "nodeSelector": "rack == 'rack-1'",
                "peerIP": "[2001:db8::1]:1179",
                "asNumber": 64567,
                "keepOriginalNextHop": true,
                "password": {"secretKeyRef": {"name": "bgp", "key": "rack-1"}},
                "sourceAddress": "None",
                "maxRestartTime": "1m30s",
                "numAllowedLocalASNumbers": 1,
                "ttlSecurity": 1,
                "reachableBy": "2001:db8::ff",
                "filters": ["first", "second"],
                "localASNumber": 64600,
                "reversePeering": "Manual",
                "keepaliveTime": "20s",
                "failureDetectionMode": "BFDIfDirectlyConnected",
            }),
        ),
        object(
            Kind::IPAMBlock,
            "10-0-0-0-30",
            json!({
                "cidr": "10.0.0.0/30",
                "affinity": "host:node-1",
                "affinityClaimTime": "2026-08-01T12:00:00Z",
                "allocations": [0, null, 1, null],
                "unallocated": [3, 1],
                "attributes": [
                    {"handle_id": "k8s-pod-network.0123", "secondary": {"node": "node-1", "pod": "a", "namespace": "no", "timestamp": "2026-08-01 12:00:00 +0000 UTC"}, "alternateOwnerAttrs": {"node": "node-2"}},
                    {"releasedAt": "2026-08-01T12:34:56Z", "tomorrow": true},
                ],
                "sequenceNumber": 1_806_123_456_789_012_347_u64,
                "sequenceNumberForAllocation": {"0": 1_806_123_456_789_012_345_u64},
                "deleted": false,
                "strictAffinity": false,
                "tomorrow": "x",
            }),
        ),
        object(
            Kind::BlockAffinity,
            "node-1-10-0-0-0-30",
            json!({"state": "pendingDeletion", "node": "load-balancer", "type": "virtual", "cidr": "10.0.0.0/30", "deleted": "false", "tomorrow": 1}),
        ),
        object(
            Kind::IPAMHandle,
            "k8s-pod-network.abc",
            json!({"handleID": "k8s-pod-network.ABC", "block": {"10.0.0.0/30": 2}, "deleted": false, "tomorrow": 1}),
        ),
        object(
            Kind::IPAMConfig,
            "default",
            json!({"strictAffinity": true, "autoAllocateBlocks": true, "maxBlocksPerHost": 4, "ipCooldownSeconds": 30, "kubeVirtVMAddressPersistence": "Enabled"}),
        ),
        object(
            Kind::WorkloadEndpoint,
            "node--1-k8s-web--0-eth0",
            json!({
                "orchestrator": "k8s",
                "node": "node-1",
                "containerID": "1337495556942031415926535",
                "pod": "web-0",
                "endpoint": "eth0",
                "serviceAccountName": "default",
                "ipNetworks": ["192.168.0.1/32", "fd00::1/128"],
                "ipNATs": [{"internalIP": "192.168.0.1", "externalIP": "203.0.113.7"}],
                "ipv4Gateway": "169.254.1.1",
                "ipv6Gateway": "fe80::1",
                "profiles": ["kns.default"],
                "interfaceName": "cali0ef24ba1234",
                "mac": "ca:fe:1d:52:bb:e9",
                "ports": [{"name": "http", "protocol": "TCP", "port": 80, "hostPort": 8080, "hostIP": "192.0.2.7"}],
                "allowSpoofedSourcePrefixes": ["10.9.0.0/24"],
                "qosControls": {"ingressBandwidth": 1000},
            }),
        ),
        object(
            Kind::LiveMigration,
            "vm-7",
            json!({
                "source": {"workload": {"orchestratorID": "k8s", "workloadID": "default/vm-7-a"}},
                "target": {"selector": "vmi == 'vm-7'"},
                "tomorrow": 1,
            }),
        ),
        object(
            Kind::LiveMigration,
            "port-7",
            json!({
                "source": {"workloadEndpoint":
                    {"hostname": "node-1", "orchestratorID": "openstack", "workloadID": "vm-7", "endpointID": "port-7"}},
                "target": {"workloadEndpoint":
                    {"hostname": "node-2", "orchestratorID": "openstack", "workloadID": "vm-7", "endpointID": "port-7"}},
            }),
        ),
        object(
            Kind::FelixConfiguration,
            "default",
            json!({
                "interfacePrefix": "cali,tap",
                "mtuIfacePattern": "^(eth|bond).*",
                "requireMTUFile": true,
                "ipipMTU": 1480,
                "vxlanMTU": 1450,
                "vxlanMTUV6": 1430,
                "vxlanPort": 4790,
                "vxlanVNI": 4097,
                "natPortRange": "32768:65535",
                "natOutgoingAddress": "192.0.2.9",
                "natOutgoingExclusions": "IPPoolsAndHostIPs",
                "iptablesNATOutgoingInterfaceFilter": "eth+",
                "serviceLoopPrevention": "Reject",
                "workloadSourceSpoofing": "Any",
                "ipForwarding": "Disabled",
                "allowIPIPPacketsFromWorkloads": false,
                "allowVXLANPacketsFromWorkloads": true,
                "externalNodesList": ["192.0.2.1", "198.51.100.0/24"],
                "deviceRouteSourceAddress": "192.0.2.7",
                "deviceRouteSourceAddressIPv6": "2001:db8::7",
                "removeExternalRoutes": false,
                "routeRefreshInterval": "1m30s",
                "ipv4NormalRoutePriority": 1024,
                "ipv6NormalRoutePriority": 1025,
                "ipv4ElevatedRoutePriority": 512,
                "ipv6ElevatedRoutePriority": 513,
                "liveMigrationRouteConvergenceTime": "30s",
                "programClusterRoutes": "EnabledIPIPOnly",
                "routeSyncDisabled": true,
                "bpfEnabled": false,
                "logSeverityScreen": "Info",
            }),
        ),
        object(
            Kind::Secret,
            "bgp",
            json!({"type": "Opaque", "data": {"rack-1": "aHVzaA=="}, "immutable": true}),
        ),
    ]
}

#[test]
fn every_field_of_every_kind_survives_a_read_and_a_write() {
    for object in complete() {
        assert_eq!(faults_of(&object), Vec::<String>::new(), "{}", object.key);
        assert_eq!(rewritten(&object), object.spec, "{}", object.key);
    }
    let mut kinds: Vec<Kind> = complete().iter().map(|object| object.key.kind).collect();
    kinds.dedup();
    assert_eq!(kinds, Kind::all());
}

#[test]
fn every_kind_survives_being_a_manifest() {
    for object in complete() {
        let text = manifest::to_yaml(&object).unwrap();
        let parsed = manifest::parse("x", &text).into_objects().unwrap();
        assert_eq!(parsed, std::slice::from_ref(&object), "{text}");
        // The other reader of YAML, which knows version 1.2 of its rules, reads the same.
        let other: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(other, manifest::to_value(&object), "{text}");
    }
}

#[test]
fn a_migration_is_read_with_capital_letters_too() {
    let written = json!({"Source": {"WorkloadEndpoint":
        {"Hostname": "n", "OrchestratorID": "openstack", "WorkloadID": "vm", "EndpointID": "port"}}});
    let expected = json!({"source": {"workloadEndpoint":
        {"hostname": "n", "orchestratorID": "openstack", "workloadID": "vm", "endpointID": "port"}}});
    let object = object(Kind::LiveMigration, "m", written);
    assert_eq!(faults_of(&object), Vec::<String>::new());
    assert_eq!(rewritten(&object), expected);
}

#[test]
fn calicos_tolerance_in_reading() {
    let read = |kind, spec| Stored::<BGPPeer>::read_spec(&object(kind, "x", spec)).unwrap();
    let peer = read(
        Kind::BGPPeer,
        json!({"peerIP": "192.0.2.1", "asNumber": "65000.1", "sourceAddress": ""}),
    );
    assert_eq!(peer.as_number, Some(65000 << 16 | 1));
    assert_eq!(peer.source_address, SourceAddress::UseNodeIP);
    let peer = read(
        Kind::BGPPeer,
        json!({"asNumber": "4200000000", "filters": null, "keepaliveTime": "1h0m5.5s"}),
    );
    assert_eq!(peer.as_number, Some(4_200_000_000));
    assert_eq!(
        peer.keepalive_time,
        Some(std::time::Duration::from_millis(3_605_500))
    );

    let read = |spec| Stored::<IPPool>::read_spec(&object(Kind::IPPool, "x", spec)).unwrap();
    for word in ["cross-subnet", "CrossSubnet", "crosssubnet"] {
        let pool = read(json!({"cidr": "10.0.0.0/16", "ipipMode": word, "nodeSelector": ""}));
        assert_eq!(pool.ipip_mode, Encapsulation::CrossSubnet);
        assert_eq!(pool.node_selector, "all()");
        assert!(pool.allows(AllowedUse::Tunnel) && !pool.allows(AllowedUse::LoadBalancer));
    }
    let pool = read(json!({"cidr": "fd00::/64", "vxlanMode": null, "allowedUses": []}));
    assert_eq!(
        (pool.block_prefix_length(), pool.vxlan_mode),
        (122, Encapsulation::Never)
    );

    let read = |deleted| {
        let spec = json!({"node": "n", "cidr": "10.0.0.0/26", "state": "", "deleted": deleted});
        Stored::<BlockAffinity>::read_spec(&object(Kind::BlockAffinity, "x", spec)).unwrap()
    };
    for (deleted, expected) in [
        (json!("true"), true),
        (json!(true), true),
        (json!(null), false),
    ] {
        let affinity = read(deleted);
        assert_eq!(
            (affinity.deleted, affinity.state),
            (expected, AffinityState::Confirmed)
        );
    }

    let node = json!({"bgp": {"ipv4Address": "192.0.2.7", "ipv6Address": "", "asNumber": null}});
    let node = Stored::<Node>::read_spec(&object(Kind::Node, "n", node)).unwrap();
    let bgp = node.bgp.unwrap();
    assert_eq!(bgp.ipv4_address, Some("192.0.2.7/32".parse().unwrap()));
    assert_eq!((bgp.ipv6_address, bgp.as_number), (None, None));
}

#[test]
fn pools_that_overlap_are_named_as_pairs() {
    let pool = |name: &str, cidr: &str| Stored::new(name, IPPool::new(cidr.parse().unwrap()));
    let pools = [
        pool("a", "10.0.0.0/8"),
        pool("b", "10.1.0.0/16"),
        pool("c", "10.2.0.0/16"),
    ];
    assert_eq!(
        overlaps(&pools),
        [
            "IPPool b: spec.cidr: 10.1.0.0/16 overlaps 10.0.0.0/8 of IPPool a",
            "IPPool c: spec.cidr: 10.2.0.0/16 overlaps 10.0.0.0/8 of IPPool a",
        ]
    );
}

#[test]
fn times_are_read_and_written_as_kubernetes_does() {
    for text in [
        "1970-01-01T00:00:00Z",
        "2000-02-29T23:59:59Z",
        "2026-12-31T00:00:01Z",
        "1969-07-20T20:17:40Z",
    ] {
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
    }
    let with_offset: Timestamp = "2026-08-01T14:00:00.123+02:00".parse().unwrap();
    assert_eq!(with_offset.to_string(), "2026-08-01T12:00:00Z");
    for bad in [
        "",
        "2026-08-01",
        "2026-13-01T00:00:00Z",
        "2026-08-01T12:00:00",
        "2026-08-01T12:00:00+",
        "é-08-01T12:00:00Z",
        "2026-08-01T12:00:00+é:",
    ] {
        bad.parse::<Timestamp>().unwrap_err();
    }
}

#[test]
fn an_endpoints_name_doubles_the_dashes_of_its_parts() {
    assert_eq!(
        WorkloadEndpoint::name_for_pod("node-1", "web-0", "eth0"),
        "node--1-k8s-web--0-eth0"
    );
    assert_eq!(
        WorkloadEndpoint::name_for_container("n", "0a-1b", "eth0"),
        "n-cni-0a--1b-eth0"
    );
}
