//! Each fault of policies and the kinds around them, by the sentence that a person reads.

use super::faults::{faults, merge, pool};
use super::*;

fn policy(change: Value) -> Vec<String> {
    faults(Kind::NetworkPolicy, "p", change)
}

fn ingress(rule: Value) -> Vec<String> {
    let mut whole = json!({"action": "Allow"});
    merge(&mut whole, rule);
    policy(json!({"ingress": [whole]}))
}

fn egress(rule: Value) -> Vec<String> {
    let mut whole = json!({"action": "Allow"});
    merge(&mut whole, rule);
    policy(json!({"egress": [whole]}))
}

#[test]
fn of_a_rule() {
    for (found, expected) in [
        (
            ingress(json!({"action": "Drop"})),
            "spec.ingress[0].action: \"Drop\" is none of Allow, Deny, Log, Pass",
        ),
        (
            ingress(json!({"action": null})),
            "spec.ingress[0]: missing field `action`",
        ),
        (
            ingress(json!({"protocol": "TCP", "destination": {"ports": ["2000:1000"]}})),
            "spec.ingress[0].destination.ports[0]: \"2000:1000\" ends before it begins",
        ),
        (
            ingress(json!({"protocol": "TCP", "destination": {"ports": [0]}})),
            "spec.ingress[0].destination.ports[0]: \"0\" is not between 1 and 65535",
        ),
        (
            ingress(json!({"protocol": "TCP", "destination": {"ports": ["65536"]}})),
            "spec.ingress[0].destination.ports[0]: \"65536\" is not between 1 and 65535",
        ),
        (
            ingress(json!({"protocol": "TCP", "destination": {"ports": ["a b"]}})),
            "spec.ingress[0].destination.ports[0]: \"a b\" is not a port, a range such as \"1000:2000\", or a name",
        ),
        (
            ingress(json!({"protocol": "TCP", "destination": {"ports": ["1:x"]}})),
            "spec.ingress[0].destination.ports[0]: \"1:x\" is not a port, a range such as \"1000:2000\", or a name",
        ),
        (
            ingress(json!({"destination": {"ports": [80]}})),
            "spec.ingress[0].destination.ports: needs protocol TCP, UDP or SCTP",
        ),
        (
            ingress(json!({"protocol": "UDPLite", "source": {"notPorts": [80]}})),
            "spec.ingress[0].source.notPorts: needs protocol TCP, UDP or SCTP",
        ),
        (
            ingress(json!({"protocol": "HTTP"})),
            "spec.ingress[0].protocol: \"HTTP\" is none of TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, and not a number between 1 and 255",
        ),
        (
            ingress(json!({"protocol": 0})),
            "spec.ingress[0].protocol: \"0\" is none of TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, and not a number between 1 and 255",
        ),
        (
            ingress(json!({"protocol": "TCP", "icmp": {"type": 8}})),
            "spec.ingress[0].icmp: needs protocol ICMP or ICMPv6",
        ),
        (
            ingress(json!({"protocol": "ICMP", "icmp": {"type": 255}})),
            "spec.ingress[0].icmp.type: 255 is not between 0 and 254",
        ),
        (
            ingress(json!({"protocol": 1, "icmp": {"code": 1}})),
            "spec.ingress[0].icmp.code: 1 without a type",
        ),
        (
            ingress(json!({"protocol": "ICMP", "notICMP": {"code": 1}})),
            "spec.ingress[0].notICMP.code: 1 without a type",
        ),
        (
            ingress(json!({"protocol": "ICMPv6", "ipVersion": 4})),
            "spec.ingress[0].ipVersion: 4 with protocol ICMPv6, which needs 6",
        ),
        (
            ingress(json!({"notProtocol": "ICMP", "ipVersion": 6})),
            "spec.ingress[0].ipVersion: 6 with protocol ICMP, which needs 4",
        ),
        (
            ingress(json!({"ipVersion": 5})),
            "spec.ingress[0].ipVersion: 5 is neither 4 nor 6",
        ),
        (
            ingress(json!({"ipVersion": 4, "source": {"nets": ["fd00::/8"]}})),
            "spec.ingress[0].source.nets[0]: fd00::/8 in a rule of IPv4",
        ),
        (
            ingress(
                json!({"source": {"nets": ["10.0.0.0/8"]}, "destination": {"notNets": ["fd00::/8"]}}),
            ),
            "spec.ingress[0].destination.notNets[0]: fd00::/8 in a rule of IPv4",
        ),
        (
            ingress(json!({"source": {"nets": ["10.0.0.1/8"]}})),
            "spec.ingress[0].source.nets[0]: 10.0.0.1/8 has host bits set",
        ),
        (
            ingress(json!({"source": {"nets": ["ten"]}})),
            "spec.ingress[0].source.nets: \"ten\" is not a CIDR such as 10.0.0.0/16, nor an address",
        ),
        (
            ingress(json!({"source": {"selector": "a ="}})),
            "spec.ingress[0].source.selector: \"a =\" is not a selector: at character 3: unexpected character '='",
        ),
        (
            ingress(json!({"source": {"selector": "global()"}})),
            "spec.ingress[0].source.selector: \"global()\": global() is for the namespaceSelector of a rule's source and destination only",
        ),
        (
            ingress(json!({"source": {"namespaceSelector": "global() || has(a)"}})),
            "spec.ingress[0].source.namespaceSelector: \"global() || has(a)\": global() cannot be combined with others",
        ),
        (
            ingress(json!({"source": {"notSelector": "("}})),
            "spec.ingress[0].source.notSelector: \"(\" is not a selector: at character 2: expected a label, found the end",
        ),
        (
            ingress(json!({"source": {"serviceAccounts": {"selector": "!"}}})),
            "spec.ingress[0].source.serviceAccounts.selector: \"!\" is not a selector: at character 2: expected a label, found the end",
        ),
        (
            ingress(json!({"source": {"services": {"name": ""}}})),
            "spec.ingress[0].source.services.name: is missing",
        ),
        (
            ingress(json!({"source": {"services": {"name": "A"}}})),
            "spec.ingress[0].source.services.name: \"A\" is not a lower-case DNS name (letters, digits, '-' and '.')",
        ),
        (
            ingress(json!({"source": {"services": {"name": "a"}, "selector": "has(x)"}})),
            "spec.ingress[0].source.services: cannot be given together with selector",
        ),
        (
            ingress(json!({"source": {"services": {"name": "a"}, "nets": ["10.0.0.0/8"]}})),
            "spec.ingress[0].source.services: cannot be given together with nets",
        ),
        (
            ingress(json!({"destination": {"services": {"name": "a"}}})),
            "spec.ingress[0].destination.services: only the source of an ingress rule and the destination of an egress rule may have it",
        ),
        (
            egress(json!({"source": {"services": {"name": "a"}}})),
            "spec.egress[0].source.services: only the source of an ingress rule and the destination of an egress rule may have it",
        ),
        (
            egress(
                json!({"protocol": "TCP", "destination": {"services": {"name": "a"}, "ports": [80]}}),
            ),
            "spec.egress[0].destination.ports: cannot be given together with services, which have their own",
        ),
        (
            ingress(json!({"protocol": "UDP", "http": {"methods": ["GET"]}})),
            "spec.ingress[0].protocol: UDP together with http, which needs TCP or none",
        ),
        (
            ingress(json!({"http": {"methods": ["GET", "GET"]}})),
            "spec.ingress[0].http.methods[1]: GET is there twice",
        ),
        (
            ingress(json!({"http": {"paths": [{"exact": "/a", "prefix": "/b"}]}})),
            "spec.ingress[0].http.paths[0]: has not exactly one of exact and prefix",
        ),
        (
            ingress(json!({"http": {"paths": [{"prefix": "/a?b"}]}})),
            "spec.ingress[0].http.paths[0].prefix: \"/a?b\" does not begin with / or has ?, # or a space in it",
        ),
        (
            ingress(json!({"action": "Deny", "http": {"methods": ["GET"]}})),
            "spec.ingress[0].http: in a rule that says Deny, only Allow may have it",
        ),
        (
            egress(json!({"http": {"methods": ["GET"]}})),
            "spec.egress[0].http: only ingress rules may have it",
        ),
    ] {
        assert_eq!(found, [expected]);
    }
    assert_eq!(
        ingress(
            json!({"protocol": "tcp", "destination": {"ports": [80, "80", "1000:2000", "http"]}})
        ),
        Vec::<String>::new()
    );
}

#[test]
fn of_a_policy() {
    let global = |change| faults(Kind::GlobalNetworkPolicy, "p", change);
    for (found, expected) in [
        (
            policy(json!({"selector": "role ="})),
            "spec.selector: \"role =\" is not a selector: at character 6: unexpected character '='",
        ),
        (
            policy(json!({"selector": "!global()"})),
            "spec.selector: \"!global()\": global() is for the namespaceSelector of a rule's source and destination only",
        ),
        (
            policy(json!({"serviceAccountSelector": "global()"})),
            "spec.serviceAccountSelector: \"global()\": global() is for the namespaceSelector of a rule's source and destination only",
        ),
        (
            policy(json!({"types": ["Ingress", "Ingress"]})),
            "spec.types[1]: Ingress is there twice",
        ),
        (
            policy(json!({"types": ["Up"]})),
            "spec.types[0]: \"Up\" is none of Ingress, Egress",
        ),
        (
            policy(json!({"order": "first"})),
            "spec.order: invalid type: string \"first\", expected f64",
        ),
        (
            policy(json!({"tier": "A"})),
            "spec.tier: \"A\" is not a lower-case DNS name (letters, digits, '-' and '.')",
        ),
        (
            policy(json!({"performanceHints": ["Fast"]})),
            "spec.performanceHints[0]: \"Fast\" is not AssumeNeededOnEveryNode",
        ),
        (
            faults(Kind::NetworkPolicy, "a.b.c", json!({})),
            "metadata.name: \"a.b.c\" has more than one dot, which stands between tier and name",
        ),
        (
            faults(Kind::GlobalNetworkPolicy, "A", json!({})),
            "metadata.name: \"A\" is not a lower-case DNS name (letters, digits, '-' and '.')",
        ),
        (
            global(json!({"doNotTrack": true})),
            "spec.applyOnForward: false, and doNotTrack needs it",
        ),
        (
            global(json!({"preDNAT": true})),
            "spec.applyOnForward: false, and preDNAT needs it",
        ),
        (
            global(json!({"preDNAT": true, "doNotTrack": true, "applyOnForward": true})),
            "spec.preDNAT: cannot be given together with doNotTrack",
        ),
        (
            global(
                json!({"preDNAT": true, "applyOnForward": true, "egress": [{"action": "Deny"}]}),
            ),
            "spec.egress: cannot be given together with preDNAT",
        ),
        (
            global(json!({"preDNAT": true, "applyOnForward": true, "types": ["Egress"]})),
            "spec.types: Egress cannot be given together with preDNAT",
        ),
        (
            global(json!({"namespaceSelector": "global()"})),
            "spec.namespaceSelector: \"global()\": global() is for the namespaceSelector of a rule's source and destination only",
        ),
        (
            global(
                json!({"ingress": [{"action": "Allow", "source": {"services": {"name": "a"}}}]}),
            ),
            "spec.ingress[0].source.services.namespace: is missing, in a policy without a namespace",
        ),
    ] {
        assert_eq!(found, [expected]);
    }
    assert_eq!(
        faults(Kind::NetworkPolicy, "knp.default.a.b.c", json!({})),
        Vec::<String>::new()
    );
    let rule = Rule::default();
    let rule = std::slice::from_ref(&rule);
    for (said, ingress, egress, expected) in [
        (&[][..], &[][..], &[][..], &[PolicyType::Ingress][..]),
        (&[], &[], rule, &[PolicyType::Egress]),
        (&[], rule, rule, &[PolicyType::Ingress, PolicyType::Egress]),
        (&[PolicyType::Egress], rule, &[], &[PolicyType::Egress]),
    ] {
        assert_eq!(types_of(said, ingress, egress), expected);
    }
}

#[test]
fn of_the_kinds_beside_policies() {
    let host = |spec| faults(Kind::HostEndpoint, "h", spec);
    let port = |port| host(json!({"node": "n", "interfaceName": "*", "ports": [port]}));
    let asked = |change| {
        let mut spec = json!({"node": "n", "classes": ["BGP"], "updatePeriodSeconds": 10});
        merge(&mut spec, change);
        faults(Kind::CalicoNodeStatus, "q", json!({"spec": spec}))
    };
    for (found, expected) in [
        (
            host(json!({"interfaceName": "eth0"})),
            "spec.node: is missing",
        ),
        (
            host(json!({"node": "n"})),
            "spec.interfaceName: is missing, and there are no expectedIPs either",
        ),
        (
            host(json!({"node": "n", "interfaceName": "a b"})),
            "spec.interfaceName: \"a b\" is neither * nor a device's name",
        ),
        (
            host(json!({"node": "n", "expectedIPs": ["10.0.0.0/8"]})),
            "spec.expectedIPs: \"10.0.0.0/8\" is not an IP address",
        ),
        (
            host(json!({"node": "n", "interfaceName": "*", "profiles": ["A"]})),
            "spec.profiles[0]: \"A\" is not a lower-case DNS name (letters, digits, '-' and '.')",
        ),
        (
            port(json!({"name": "SSH", "protocol": "TCP", "port": 22})),
            "spec.ports[0].name: \"SSH\" is not a port's name (up to 15 of a-z, 0-9 and single '-', a letter among them)",
        ),
        (
            port(json!({"name": "ssh", "protocol": "ICMP", "port": 22})),
            "spec.ports[0].protocol: ICMP has no ports; TCP, UDP and SCTP have",
        ),
        (
            port(json!({"name": "ssh", "protocol": "TCP", "port": 0})),
            "spec.ports[0].port: 0 is not a port",
        ),
        (
            faults(
                Kind::IPReservation,
                "r",
                json!({"reservedCIDRs": ["10.0.0.0/33"]}),
            ),
            "spec.reservedCIDRs: \"10.0.0.0/33\" is not a CIDR such as 10.0.0.0/16, nor an address",
        ),
        (
            faults(Kind::GlobalNetworkSet, "s", json!({"nets": ["x"]})),
            "spec.nets: \"x\" is not a CIDR such as 10.0.0.0/16, nor an address",
        ),
        (
            faults(Kind::ClusterInformation, "mine", json!({})),
            "metadata.name: \"mine\" is not default",
        ),
        (
            faults(
                Kind::ClusterInformation,
                "default",
                json!({"datastoreReady": "yes"}),
            ),
            "spec.datastoreReady: invalid type: string \"yes\", expected a boolean",
        ),
        (asked(json!({"node": null})), "spec.node: is missing"),
        (
            asked(json!({"classes": null})),
            "spec.classes: is missing: Agent, BGP, Routes",
        ),
        (
            asked(json!({"classes": ["BGP", "BGP"]})),
            "spec.classes[1]: BGP is there twice",
        ),
        (
            asked(json!({"classes": ["Weather"]})),
            "spec.classes[0]: \"Weather\" is none of Agent, BGP, Routes",
        ),
        (
            asked(json!({"updatePeriodSeconds": null})),
            "spec.updatePeriodSeconds: is missing",
        ),
        (
            asked(json!({"updatePeriodSeconds": 86401})),
            "spec.updatePeriodSeconds: 86401 is not between 0 and 86400",
        ),
        (
            faults(
                Kind::Service,
                "s",
                json!({"spec": {"clusterIPs": ["None", "x"]}}),
            ),
            "spec.clusterIPs[1]: \"x\" is not an IP address",
        ),
        (
            faults(Kind::EndpointSlice, "s", json!({"addressType": "MAC"})),
            "addressType: \"MAC\" is none of IPv4, IPv6, FQDN",
        ),
        (
            pool(json!({"allowedUses": ["LoadBalancer"], "vxlanMode": "Always"})),
            "spec.vxlanMode: Always on a pool for LoadBalancer, whose addresses are on no tunnel's other end",
        ),
        (
            pool(json!({"allowedUses": ["LoadBalancer"], "disableBGPExport": true})),
            "spec.disableBGPExport: true on a pool for LoadBalancer",
        ),
        (
            faults(
                Kind::BGPConfiguration,
                "default",
                json!({"communities": [{"name": "a", "value": "1:2"}]}),
            ),
            "spec.communities: are given and no prefixAdvertisements, which use them",
        ),
    ] {
        assert_eq!(found, [expected]);
    }
    assert_eq!(
        asked(json!({"updatePeriodSeconds": 0})),
        Vec::<String>::new()
    );
    // The pool of a cluster that takes no addresses from it may be smaller than a block.
    assert_eq!(
        pool(json!({"cidr": "10.0.0.0/28", "disabled": true})),
        Vec::<String>::new()
    );
    let single = json!({"reservedCIDRs": ["10.0.0.7", "10.0.0.9/24", "fd00::7"]});
    let read =
        Stored::<IPReservation>::read_spec(&object(Kind::IPReservation, "r", single)).unwrap();
    assert_eq!(read.reserved_cidrs[0], "10.0.0.7/32".parse().unwrap());
}

#[test]
fn of_labels_and_annotations_only_when_they_are_written() {
    let mut wrong = object(Kind::IPPool, "p", json!({"cidr": "10.0.0.0/16"}));
    let pairs = [("-a", "x"), ("ok.example/a_b", "has space"), ("empty", "")];
    wrong.metadata.labels = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    wrong.metadata.annotations = [
        ("Example.com/Fine".to_owned(), "x".repeat(256 * 1024)),
        ("a/b/c".to_owned(), String::new()),
    ]
    .into();
    assert_eq!(faults_of(&wrong), Vec::<String>::new());
    assert_eq!(
        faults_of_written(&wrong),
        [
            "metadata.labels: \"-a\" is not a label's name",
            "metadata.labels.ok.example/a_b: \"has space\" is not a label's value (up to 63 letters, digits, '-', '_' and '.')",
            "metadata.annotations: \"a/b/c\" is not an annotation's name",
            "metadata.annotations: 262165 octets, and 262144 are the most",
        ]
    );
}
