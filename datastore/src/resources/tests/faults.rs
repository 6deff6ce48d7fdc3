//! Each fault of validation, by the sentence that a person reads.

use super::*;

/// The faults of an object of that kind, name and spec.
pub(super) fn faults(kind: Kind, name: &str, spec: Value) -> Vec<String> {
    faults_of_written(&object(kind, name, spec))
}

pub(super) fn pool(change: Value) -> Vec<String> {
    let mut spec = json!({"cidr": "10.0.0.0/16"});
    merge(&mut spec, change);
    faults(Kind::IPPool, "p", spec)
}

fn peer(change: Value) -> Vec<String> {
    let mut spec = json!({"peerIP": "192.0.2.1", "asNumber": 64512});
    merge(&mut spec, change);
    faults(Kind::BGPPeer, "p", spec)
}

pub(super) fn merge(spec: &mut Value, change: Value) {
    if let (Some(spec), Value::Object(change)) = (spec.as_object_mut(), change) {
        spec.extend(change);
        spec.retain(|_, value| !value.is_null());
    }
}

#[test]
fn of_an_ip_pool() {
    for (change, expected) in [
        (
            json!({"cidr": "10.0.0.1/16"}),
            "spec.cidr: 10.0.0.1/16 has host bits set",
        ),
        (
            json!({"cidr": "10.0.0.0"}),
            "spec.cidr: \"10.0.0.0\" is not a CIDR such as 10.0.0.0/16",
        ),
        (json!({"cidr": null}), "spec: missing field `cidr`"),
        (
            json!({"cidr": 10}),
            "spec.cidr: invalid type: integer `10`, expected a string",
        ),
        (
            json!({"cidr": "169.254.0.0/20"}),
            "spec.cidr: 169.254.0.0/20 overlaps the link-local range 169.254.0.0/16",
        ),
        (
            json!({"cidr": "224.0.0.0/16"}),
            "spec.cidr: 224.0.0.0/16 is no range of unicast addresses",
        ),
        (
            json!({"blockSize": 19}),
            "spec.blockSize: 19 is not between 20 and 32",
        ),
        (
            json!({"blockSize": 300}),
            "spec.blockSize: invalid value: integer `300`, expected u8",
        ),
        (
            json!({"cidr": "fd00::/64", "blockSize": 64}),
            "spec.blockSize: 64 is not between 116 and 128",
        ),
        (
            json!({"cidr": "10.0.0.0/28"}),
            "spec.blockSize: a block of /26 is larger than the pool 10.0.0.0/28",
        ),
        (
            json!({"ipipMode": "Sometimes"}),
            "spec.ipipMode: \"Sometimes\" is none of Never, Always, CrossSubnet",
        ),
        (
            json!({"cidr": "fd00::/64", "ipipMode": "Always"}),
            "spec.ipipMode: Always on the IPv6 pool fd00::/64: IPIP carries IPv4 only",
        ),
        (
            json!({"ipipMode": "Always", "vxlanMode": "CrossSubnet"}),
            "spec.vxlanMode: CrossSubnet together with ipipMode Always: one of them must be Never",
        ),
        (
            json!({"nodeSelector": "rack = 'a'"}),
            "spec.nodeSelector: \"rack = 'a'\" is not a selector: at character 6: unexpected character '='",
        ),
        (
            json!({"namespaceSelector": "has("}),
            "spec.namespaceSelector: \"has(\" is not a selector: at character 5: expected a label, found the end",
        ),
        (
            json!({"allowedUses": ["LoadBalancer", "Workload"]}),
            "spec.allowedUses: LoadBalancer cannot stand beside other uses",
        ),
        (
            json!({"allowedUses": ["LoadBalancer"], "nodeSelector": "has(a)"}),
            "spec.nodeSelector: \"has(a)\" on a pool for LoadBalancer, which needs all()",
        ),
    ] {
        assert_eq!(pool(change), [expected]);
    }
    assert!(pool(json!({"blockSize": 32})).is_empty());
}

#[test]
fn of_a_bgp_peer() {
    for (change, expected) in [
        (
            json!({"peerSelector": "all()", "asNumber": null}),
            "spec.peerSelector: cannot be given together with peerIP",
        ),
        (
            json!({"node": "n", "nodeSelector": "all()"}),
            "spec.nodeSelector: cannot be given together with node",
        ),
        (
            json!({"peerIP": null, "peerSelector": "all()"}),
            "spec.peerSelector: cannot be given together with asNumber",
        ),
        (
            json!({"localWorkloadSelector": "all()"}),
            "spec.localWorkloadSelector: cannot be given together with peerIP",
        ),
        (
            json!({"peerIP": null, "localWorkloadSelector": "all()", "asNumber": null}),
            "spec.asNumber: is missing",
        ),
        (
            json!({"keepOriginalNextHop": true, "nextHopMode": "Self"}),
            "spec.keepOriginalNextHop: cannot be given together with nextHopMode",
        ),
        (
            json!({"peerIP": null}),
            "spec: one of peerIP, peerSelector and localWorkloadSelector must be given",
        ),
        (json!({"asNumber": null}), "spec.asNumber: is missing"),
        (
            json!({"asNumber": 0}),
            "spec.asNumber: 0 is not an AS number",
        ),
        (
            json!({"asNumber": 4_294_967_296_u64}),
            "spec.asNumber: 4294967296 is larger than any AS number",
        ),
        (
            json!({"asNumber": "1.65536"}),
            "spec.asNumber: \"1.65536\" is not an AS number",
        ),
        (
            json!({"asNumber": 65000.1}),
            "spec.asNumber: invalid type: floating point `65000.1`, expected an AS number such as 64512 or \"1.10\"",
        ),
        (
            json!({"localASNumber": 0}),
            "spec.localASNumber: 0 is not an AS number",
        ),
        (
            json!({"peerIP": "192.0.2.1:0"}),
            "spec.peerIP: \"192.0.2.1:0\" is not an address, or an address with a port",
        ),
        (
            json!({"reachableBy": "fd00::1"}),
            "spec.reachableBy: fd00::1 is not of the family of peerIP 192.0.2.1",
        ),
        (
            json!({"peerIP": null, "peerSelector": "all()", "asNumber": null, "reachableBy": "192.0.2.9"}),
            "spec.reachableBy: 192.0.2.9 needs peerIP",
        ),
        (
            json!({"password": {}}),
            "spec.password.secretKeyRef: is missing",
        ),
        (
            json!({"password": {"secretKeyRef": {"name": "x"}}}),
            "spec.password.secretKeyRef: name \"x\" and key \"\" must both be given",
        ),
        (
            json!({"keepaliveTime": "0s"}),
            "spec.keepaliveTime: 0s is not a time between keepalives",
        ),
        (
            json!({"keepaliveTime": "20"}),
            "spec.keepaliveTime: \"20\" is not a duration such as 90s or 2m0s",
        ),
        (
            json!({"ttlSecurity": 256}),
            "spec.ttlSecurity: invalid value: integer `256`, expected u8",
        ),
        (
            json!({"nextHopMode": "Other"}),
            "spec.nextHopMode: \"Other\" is none of Auto, Self, Keep",
        ),
    ] {
        assert_eq!(peer(change), [expected]);
    }
}

#[test]
fn of_a_bgp_configuration() {
    let default = |spec| faults(Kind::BGPConfiguration, "default", spec);
    for (spec, expected) in [
        (
            json!({"asNumber": 0}),
            "spec.asNumber: 0 is not an AS number",
        ),
        (json!({"listenPort": 0}), "spec.listenPort: 0 is not a port"),
        (
            json!({"logSeverityScreen": "Loud"}),
            "spec.logSeverityScreen: \"Loud\" is none of Trace, Debug, Info, Warning, Error, Fatal",
        ),
        (
            json!({"serviceClusterIPs": [{"cidr": "10.96.0.0/12"}, {"cidr": "10.96.0.1/12"}]}),
            "spec.serviceClusterIPs[1].cidr: 10.96.0.1/12 has host bits set",
        ),
        (
            json!({"communities": [{"name": "a", "value": "70000:1"}], "prefixAdvertisements": [{"cidr": "10.0.0.0/8"}]}),
            "spec.communities[0].value: \"70000:1\" is neither aa:nn nor aa:nn:mm",
        ),
        (
            json!({"prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["b"]}]}),
            "spec.prefixAdvertisements[0].communities[0]: \"b\" is neither a community nor the name of one",
        ),
        (
            json!({"nodeToNodeMeshEnabled": false, "nodeMeshMaxRestartTime": "90s"}),
            "spec.nodeMeshMaxRestartTime: 1m30s while nodeToNodeMeshEnabled is false",
        ),
        (
            json!({"nodeToNodeMeshEnabled": false, "nodeMeshPassword": {"secretKeyRef": {"name": "a", "key": "b"}}}),
            "spec.nodeMeshPassword: is given while nodeToNodeMeshEnabled is false",
        ),
        (
            json!({"ignoredInterfaces": ["eth*", "*"]}),
            "spec.ignoredInterfaces[1]: \"*\" would ignore every device",
        ),
        (
            json!({"ipv4NormalRoutePriority": 0}),
            "spec.ipv4NormalRoutePriority: 0 is not between 1 and 2147483646",
        ),
    ] {
        assert_eq!(default(spec), [expected]);
    }
    assert_eq!(
        faults(Kind::BGPConfiguration, "other", json!({})),
        ["metadata.name: \"other\" is neither default nor node.<node>"]
    );
    assert_eq!(
        faults(
            Kind::BGPConfiguration,
            "node.n",
            json!({"listenPort": 1790, "asNumber": 1})
        ),
        ["spec: node.n may have listenPort, logSeverityScreen and prefixAdvertisements only"]
    );
    assert!(
        faults(
            Kind::BGPConfiguration,
            "node.n",
            json!({"listenPort": 1790})
        )
        .is_empty()
    );
}

#[test]
fn of_a_felix_configuration() {
    let default = |spec| faults(Kind::FelixConfiguration, "default", spec);
    for (spec, expected) in [
        (
            json!({"interfacePrefix": "cali,"}),
            "spec.interfacePrefix: \"\" is no beginning of a device's name (1 to 15 letters, digits, '-' and '_')",
        ),
        (
            json!({"mtuIfacePattern": "eth("}),
            "spec.mtuIfacePattern: \"eth(\" is no regular expression: unclosed group",
        ),
        (
            json!({"iptablesNATOutgoingInterfaceFilter": "eth 0"}),
            "spec.iptablesNATOutgoingInterfaceFilter: \"eth 0\" is no name of a device (up to 15 letters, digits, ':', '.', '_', '-', and '+' at the end)",
        ),
        (
            json!({"ipipMTU": 67}),
            "spec.ipipMTU: 67 is neither 0 nor between 68 and 65535",
        ),
        (
            json!({"vxlanMTUV6": 1279}),
            "spec.vxlanMTUV6: 1279 is neither 0 nor between 1280 and 65535",
        ),
        (json!({"vxlanPort": 0}), "spec.vxlanPort: 0 is not a port"),
        (
            json!({"vxlanVNI": 16_777_216}),
            "spec.vxlanVNI: 16777216 is not between 1 and 16777215",
        ),
        (
            json!({"natPortRange": "0:9"}),
            "spec.natPortRange: 0:9 begins with port 0",
        ),
        (
            json!({"ipv4NormalRoutePriority": 0}),
            "spec.ipv4NormalRoutePriority: 0 is not between 1 and 2147483646",
        ),
        (
            json!({"iptablesNATOutgoingInterfaceFilter": "a+b"}),
            "spec.iptablesNATOutgoingInterfaceFilter: \"a+b\" is no name of a device (up to 15 letters, digits, ':', '.', '_', '-', and '+' at the end)",
        ),
        (
            json!({"iptablesNATOutgoingInterfaceFilter": "a++"}),
            "spec.iptablesNATOutgoingInterfaceFilter: \"a++\" is no name of a device (up to 15 letters, digits, ':', '.', '_', '-', and '+' at the end)",
        ),
        (
            json!({"externalNodesList": ["192.0.2.1", "somewhere"]}),
            "spec.externalNodesList: \"somewhere\" is neither an address nor a network",
        ),
        (
            json!({"ipv4NormalRoutePriority": 512, "ipv4ElevatedRoutePriority": 512}),
            "spec.ipv4ElevatedRoutePriority: 512 is not less than ipv4NormalRoutePriority, which is 512",
        ),
        (
            json!({"ipv6NormalRoutePriority": 5, "ipv6ElevatedRoutePriority": 6}),
            "spec.ipv6ElevatedRoutePriority: 6 is not less than ipv6NormalRoutePriority, which is 5",
        ),
        (
            json!({"ipv6ElevatedRoutePriority": 2_147_483_647_u32}),
            "spec.ipv6ElevatedRoutePriority: 2147483647 is not between 1 and 2147483646",
        ),
        (
            json!({"serviceLoopPrevention": "Perhaps"}),
            "spec.serviceLoopPrevention: \"Perhaps\" is none of Drop, Reject, Disabled",
        ),
        (
            json!({"routeRefreshInterval": "soon"}),
            "spec.routeRefreshInterval: \"soon\" is not a duration such as 90s or 2m0s",
        ),
        (
            json!({"routeRefreshInterval": "3000000h"}),
            "spec.routeRefreshInterval: \"3000000h\" is longer than 292 years",
        ),
        (
            json!({"liveMigrationRouteConvergenceTime": "18446744073709551615s"}),
            "spec.liveMigrationRouteConvergenceTime: \"18446744073709551615s\" is longer than 292 years",
        ),
        (
            json!({"deviceRouteSourceAddress": "fd00::1"}),
            "spec.deviceRouteSourceAddress: \"fd00::1\" is not an IPv4 address",
        ),
    ] {
        assert_eq!(default(spec), [expected]);
    }
    assert!(default(json!({"ipipMTU": 0, "vxlanMTUV6": 0})).is_empty());
    assert!(default(json!({"mtuIfacePattern": r"^((en|ib)[Pcopsvx]\w*|eth\d+)"})).is_empty());
    assert!(faults(Kind::FelixConfiguration, "node.n", json!({})).is_empty());
    assert_eq!(
        faults(Kind::FelixConfiguration, "other", json!({})),
        ["metadata.name: \"other\" is neither default nor node.<node>"]
    );
}

#[test]
fn of_priorities_that_contradict_each_other_only_when_they_are_written() {
    let spec = json!({"ipv4NormalRoutePriority": 512, "ipv4ElevatedRoutePriority": 512, "vxlanPort": 4790});
    let standing = object(Kind::FelixConfiguration, "default", spec);
    assert_eq!(faults_of_written(&standing).len(), 1);
    assert_eq!(faults_of(&standing), Vec::<String>::new());
    let read = crate::Stored::<crate::FelixConfiguration>::from_object(&standing).unwrap();
    assert_eq!(read.spec.vxlan_port, Some(4790));
}

#[test]
fn of_the_other_kinds() {
    for (kind, name, spec, expected) in [
        (
            Kind::Node,
            "n",
            json!({"bgp": {"ipv4Address": "127.0.0.1/8"}}),
            "spec.bgp.ipv4Address: 127.0.0.1/8 is not a node's address",
        ),
        (
            Kind::Node,
            "n",
            json!({"bgp": {"ipv4Address": "192.0.2.300/24"}}),
            "spec.bgp.ipv4Address: \"192.0.2.300/24\" is not an IPv4 address with a prefix length",
        ),
        (
            Kind::Node,
            "n",
            json!({"bgp": {"ipv6Address": "ff02::1/64"}}),
            "spec.bgp.ipv6Address: ff02::1/64 is not a node's address",
        ),
        (
            Kind::Node,
            "n",
            json!({"bgp": {"asNumber": 0}}),
            "spec.bgp.asNumber: 0 is not an AS number",
        ),
        (
            Kind::Node,
            "n",
            json!({"bgp": {"routeReflectorClusterID": "x"}}),
            "spec.bgp.routeReflectorClusterID: \"x\" is not an IPv4 address",
        ),
        (
            Kind::Node,
            "n",
            json!({"addresses": [{"address": "host"}]}),
            "spec.addresses[0].address: \"host\" is not an IP address",
        ),
        (
            Kind::Node,
            "n",
            json!({"vxlanTunnelMACAddr": "66:aa"}),
            "spec.vxlanTunnelMACAddr: \"66:aa\" is not a MAC address",
        ),
        (
            Kind::Node,
            "Node_1",
            json!({}),
            "metadata.name: \"Node_1\" is not a lower-case DNS name (letters, digits, '-' and '.')",
        ),
        (
            Kind::IPAMConfig,
            "default",
            json!({"ipCooldownSeconds": 1201}),
            "spec.ipCooldownSeconds: 1201 is not between 0 and 1200",
        ),
        (
            Kind::IPAMConfig,
            "default",
            json!({"strictAffinity": true, "autoAllocateBlocks": false}),
            "spec.autoAllocateBlocks: false together with strictAffinity true: no node could get an address",
        ),
        (
            Kind::IPAMConfig,
            "other",
            json!({}),
            "metadata.name: \"other\" is not default",
        ),
        (
            Kind::BlockAffinity,
            "x",
            json!({"node": "", "cidr": "10.0.0.0/26"}),
            "spec.node: is empty",
        ),
        (
            Kind::BlockAffinity,
            "x",
            json!({"node": "n", "cidr": "10.0.0.0/26", "state": "almost"}),
            "spec.state: \"almost\" is none of confirmed, pending, pendingDeletion",
        ),
        (
            Kind::BlockAffinity,
            "x",
            json!({"node": "n", "cidr": "10.0.0.0/26", "deleted": "maybe"}),
            "spec.deleted: \"maybe\" is neither true nor false",
        ),
        (
            Kind::IPAMHandle,
            "x",
            json!({"handleID": "", "block": {}}),
            "spec.handleID: is empty",
        ),
        (
            Kind::IPAMHandle,
            "x",
            json!({"handleID": "x", "block": {"y": 1}}),
            "spec.block: \"y\" is not a CIDR",
        ),
        (
            Kind::IPAMBlock,
            "x",
            json!({"cidr": "10.0.0.0/31", "allocations": [null, null], "unallocated": [0, 0]}),
            "spec.unallocated: 0 stands there twice",
        ),
        (
            Kind::WorkloadEndpoint,
            "x",
            json!({"orchestrator": "k8s", "node": "", "pod": "p", "endpoint": "eth0"}),
            "spec.node: is empty",
        ),
        (
            Kind::WorkloadEndpoint,
            "x",
            json!({"orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0"}),
            "metadata.name: \"x\" does not fit its fields, which give \"n-k8s-p-eth0\"",
        ),
        (
            Kind::WorkloadEndpoint,
            "n-k8s-p-eth0",
            json!({"orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0", "ipNetworks": ["10.0.0.0/31"]}),
            "spec.ipNetworks[0]: 10.0.0.0/31 is not a single address",
        ),
        (
            Kind::WorkloadEndpoint,
            "n-k8s-p-eth0",
            json!({"orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0", "interfaceName": "cali0123456789ab"}),
            "spec.interfaceName: \"cali0123456789ab\" is not a device's name",
        ),
        (
            Kind::WorkloadEndpoint,
            "n-k8s-p-eth0",
            json!({"orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0", "mac": "x"}),
            "spec.mac: \"x\" is not a MAC address",
        ),
        (
            Kind::WorkloadEndpoint,
            "n-k8s-p-eth0",
            json!({"orchestrator": "k8s", "node": "n", "pod": "p", "endpoint": "eth0", "allowSpoofedSourcePrefixes": ["10.0.0.1/24"]}),
            "spec.allowSpoofedSourcePrefixes[0]: 10.0.0.1/24 has host bits set",
        ),
        (
            Kind::LiveMigration,
            "m",
            json!({"source": {}}),
            "spec.source: has not exactly one of workload and workloadEndpoint",
        ),
        (
            Kind::LiveMigration,
            "m",
            json!({"target": {"selector": "all()", "workloadEndpoint":
                {"orchestratorID": "k8s", "workloadID": "default/p", "endpointID": "eth0"}}}),
            "spec.target: has not exactly one of selector and workloadEndpoint",
        ),
        (
            Kind::LiveMigration,
            "m",
            json!({"target": {"selector": "vm ="}}),
            "spec.target.selector: \"vm =\": at character 4: unexpected character '='",
        ),
        (
            Kind::LiveMigration,
            "m",
            json!({"target": {"workloadEndpoint":
                {"orchestratorID": "openstack", "workloadID": "vm", "endpointID": "port"}}}),
            "spec.target.workloadEndpoint.hostname: is empty",
        ),
        (
            Kind::LiveMigration,
            "m",
            json!({"source": {"workloadEndpoint": {"orchestratorID": "k8s", "workloadID": "default/p"}}}),
            "spec.source.workloadEndpoint.endpointID: is empty",
        ),
    ] {
        assert_eq!(faults(kind, name, spec), [expected]);
    }
}

#[test]
fn of_a_namespace_where_none_belongs() {
    let mut wrong = object(Kind::IPPool, "p", json!({"cidr": "10.0.0.0/16"}));
    wrong.key.namespace = Some("default".to_owned());
    assert_eq!(
        faults_of(&wrong),
        ["metadata.namespace: \"default\" on a IPPool, which has no namespace"]
    );
}
