//! Columns of each kind.

use caracal_datastore::manifest;

use super::*;

fn objects(text: &str) -> Vec<Object> {
    manifest::parse("test", text).into_objects().unwrap()
}

const POOLS: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: default}
spec: {cidr: 10.233.0.0/16, ipipMode: CrossSubnet, natOutgoing: true, nodeSelector: all()}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: six}
spec: {cidr: 'fd00:1::/64', nodeSelector: rack == 'a'}
";

#[test]
fn pools_look_as_calicoctl_shows_them() {
    assert_eq!(
        table(Kind::IPPool, &objects(POOLS), false),
        "\
NAME      CIDR            SELECTOR
default   10.233.0.0/16   all()
six       fd00:1::/64     rack == 'a'
"
    );
    assert_eq!(
        table(Kind::IPPool, &objects(POOLS), true),
        "\
NAME      CIDR            NAT     IPIPMODE      VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR
default   10.233.0.0/16   true    CrossSubnet   Never       false      false              all()
six       fd00:1::/64     false   Never         Never       false      false              rack == 'a'
"
    );
}

#[test]
fn an_empty_kind_says_so() {
    assert_eq!(
        table(Kind::BGPPeer, &objects(""), false),
        "No BGPPeer found.\n"
    );
}

#[test]
fn every_kind_has_columns_and_wide_has_all_of_them() {
    for kind in Kind::all() {
        let (few, many) = (columns(*kind, false), columns(*kind, true));
        let heading = |columns: &[Column]| columns.iter().map(|(heading, _)| *heading).collect();
        let (few_headings, many_headings): (Vec<&str>, Vec<&str>) = (heading(&few), heading(&many));
        assert!(
            few_headings
                .iter()
                .all(|heading| many_headings.contains(heading)),
            "{kind}: {many_headings:?}"
        );
        assert!(
            few.iter()
                .any(|(_, place)| *place == NAME || *place == NAMESPACE),
            "{kind}"
        );
    }
}

#[test]
fn peers_filters_and_the_cluster_look_as_calicoctl_shows_them() {
    let text = "
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: a}
spec: {peerIP: 192.0.2.1, asNumber: 64513}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: b}
spec: {peerIP: 192.0.2.1, asNumber: 64513, nodeSelector: rack == 'a'}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: c}
spec: {peerIP: 192.0.2.1, asNumber: 64513, node: n1}
";
    assert_eq!(
        table(Kind::BGPPeer, &objects(text), false),
        "\
NAME   PEERIP      NODE          ASN
a      192.0.2.1   (global)      64513
b      192.0.2.1   rack == 'a'   64513
c      192.0.2.1   n1            64513
"
    );
    let filter = Object {
        spec: serde_json::json!({"exportV4": [{}, {}], "exportV6": [{}], "importV4": [{}]}),
        ..objects(text)[0].clone()
    };
    assert_eq!(
        table(Kind::BGPFilter, &[filter], false),
        "NAME   NUMEXPORT   NUMIMPORT\na      3           1\n"
    );
    let heading = |kind, wide| {
        let columns = columns(kind, wide);
        columns
            .iter()
            .map(|(heading, _)| *heading)
            .collect::<Vec<_>>()
            .join(" ")
    };
    for (kind, wide, expected) in [
        (
            Kind::BGPConfiguration,
            false,
            "NAME LOGSEVERITY MESHENABLED ASNUMBER",
        ),
        (
            Kind::ClusterInformation,
            false,
            "NAME CLUSTERGUID CLUSTERTYPE CALICOVERSION DATASTOREREADY",
        ),
        (Kind::HostEndpoint, true, "NAME NODE INTERFACE IPS PROFILES"),
        (
            Kind::WorkloadEndpoint,
            false,
            "NAMESPACE WORKLOAD NODE NETWORKS INTERFACE",
        ),
        (
            Kind::WorkloadEndpoint,
            true,
            "NAMESPACE NAME WORKLOAD NODE NETWORKS INTERFACE PROFILES NATS MAC CONTAINER",
        ),
        (
            Kind::NetworkPolicy,
            true,
            "NAMESPACE NAME TIER ORDER SELECTOR",
        ),
        (Kind::GlobalNetworkPolicy, true, "NAME TIER ORDER SELECTOR"),
    ] {
        assert_eq!(heading(kind, wide), expected, "{kind}");
    }
}

#[test]
fn nodes_endpoints_and_blocks_show_what_is_inside() {
    let text = "
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1}
spec: {bgp: {asNumber: 64512, ipv4Address: 172.31.0.1/24}}
";
    assert_eq!(
        table(Kind::Node, &objects(text), false),
        "NAME   ASN     IPV4            IPV6\nn1     64512   172.31.0.1/24\n"
    );
    let block = Object {
        spec: serde_json::json!({"cidr": "10.0.0.0/30", "affinity": "host:n1", "allocations": [0, null, 0, null]}),
        ..objects(text)[0].clone()
    };
    assert_eq!(
        table(Kind::IPAMBlock, &[block], false),
        "NAME   CIDR          AFFINITY   IN USE\nn1     10.0.0.0/30   host:n1    2 of 4\n"
    );
}

#[test]
fn of_a_secret_nothing_is_shown_but_how_many_values_it_has() {
    let text = "
apiVersion: v1
kind: Secret
metadata: {name: bgp, namespace: kube-system}
type: Opaque
stringData: {tor: hush, mesh: hush}
";
    for wide in [false, true] {
        assert_eq!(
            table(Kind::Secret, &objects(text), wide),
            "NAMESPACE     NAME   TYPE     DATA\nkube-system   bgp    Opaque   2\n"
        );
    }
}
