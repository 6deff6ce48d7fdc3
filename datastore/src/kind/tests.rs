//! Names by which kinds are called.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_name_that_calicoctl_knows_finds_its_kind() {
    let names = [
        (
            "bgpconfig bgpconfigs bgpconfiguration",
            Kind::BGPConfiguration,
        ),
        ("bgppeer bgppeers bgpp bgpps bp bps", Kind::BGPPeer),
        ("bgpfilter bgpfilters", Kind::BGPFilter),
        (
            "blockaffinity blockaffinities affinity affinities",
            Kind::BlockAffinity,
        ),
        (
            "caliconodestatus caliconodestatuses CalicoNodeStatus",
            Kind::CalicoNodeStatus,
        ),
        (
            "clusterinformation clusterinformations clusterinfo clusterinfos",
            Kind::ClusterInformation,
        ),
        (
            "felixconfiguration felixconfigurations felixconfig felixconfigs",
            Kind::FelixConfiguration,
        ),
        (
            "globalnetworkpolicy globalnetworkpolicies gnp gnps",
            Kind::GlobalNetworkPolicy,
        ),
        ("globalnetworkset globalnetworksets", Kind::GlobalNetworkSet),
        ("hostendpoint hostendpoints hep heps", Kind::HostEndpoint),
        (
            "ipamconfiguration ipamconfigurations ipamconfig ipamconfigs",
            Kind::IPAMConfig,
        ),
        ("ippool ippools ipp ipps pool pools", Kind::IPPool),
        (
            "ipreservation ipreservations reservation reservations",
            Kind::IPReservation,
        ),
        (
            "networkpolicy networkpolicies policy np policies pol pols",
            Kind::NetworkPolicy,
        ),
        ("networkset networksets netset netsets", Kind::NetworkSet),
        ("node nodes no nos", Kind::Node),
        (
            "workloadendpoint workloadendpoints wep weps",
            Kind::WorkloadEndpoint,
        ),
        ("secret secrets", Kind::Secret),
        ("namespace namespaces ns", Kind::Namespace),
        ("service services svc", Kind::Service),
        ("endpointslice endpointslices", Kind::EndpointSlice),
    ];
    for (words, kind) in names {
        for word in words.split(' ') {
            assert_eq!(word.parse(), Ok(kind), "{word}");
        }
    }
    let fault = "tier".parse::<Kind>().unwrap_err();
    assert!(
        fault.starts_with("there is no kind \"tier\"; known are Node, IPPool"),
        "{fault}"
    );
}

#[test]
fn no_name_means_two_kinds() {
    let mut names = BTreeSet::new();
    for kind in Kind::all() {
        let Facts {
            name,
            plural,
            short,
            ..
        } = kind.facts();
        let mut own = BTreeSet::from([name.to_ascii_lowercase(), plural.to_owned()]);
        own.extend(short.iter().map(|name| (*name).to_owned()));
        for name in own {
            assert!(names.insert(name.clone()), "{name}");
        }
        assert_eq!(kind.as_str().parse(), Ok(*kind));
    }
}

#[test]
fn all_are_all_in_the_order_of_their_declaration() {
    assert!(Kind::all().is_sorted());
    // The last in declaration: a kind that was added behind it and forgotten in `all` is found here.
    assert_eq!(Kind::all().len(), Kind::EndpointSlice as usize + 1);
}
