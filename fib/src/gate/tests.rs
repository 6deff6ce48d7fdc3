//! The gate's rows, and whose routes are whose.

use smallvec::{SmallVec, smallvec};

use super::*;
use crate::kernel::{Hop, Link, LinkKind};

/// Invariant 3 of docs/architecture.md.
#[test]
fn a_closed_gate_lets_nothing_go_and_an_open_one_everything() {
    for spec in [
        remote("172.18.0.2"),
        workload(),
        Spec::blackhole(67),
        shared(),
    ] {
        assert!(!may(&Rule::Closed, &spec));
        assert!(may(&Rule::Open, &spec));
    }
}

#[test]
fn local_only_keeps_what_a_peer_may_still_bring() {
    assert!(may(&Rule::LocalOnly, &workload()));
    assert!(may(&Rule::LocalOnly, &Spec::blackhole(67)));
    assert!(!may(&Rule::LocalOnly, &remote("172.18.0.2")));
    assert!(!may(&Rule::LocalOnly, &shared()));
}

#[test]
fn an_absent_peer_protects_its_own_routes_only() {
    let rule = except("172.18.0.2");
    assert!(!may(&rule, &remote("172.18.0.2")));
    assert!(may(&rule, &remote("172.18.0.3")));
    assert!(may(&rule, &workload()));
    assert!(may(&rule, &Spec::blackhole(67)));
    let either = unicast(smallvec![hop("172.18.0.2", 2), hop("172.18.0.3", 2)]);
    assert!(
        !may(&rule, &either),
        "a part of a multipath route is enough"
    );
}

#[test]
fn where_a_nexthop_object_leads_counts_and_one_that_is_not_known_protects() {
    let rule = except("172.18.0.2");
    let via = |host| [hop(host, 2)];
    assert!(!rule.may_delete(&shared(), Some(&via("172.18.0.2"))));
    assert!(rule.may_delete(&shared(), Some(&via("172.18.0.3"))));
    assert!(!rule.may_delete(&shared(), None));
    assert!(!Rule::LocalOnly.may_delete(&shared(), Some(&[])));
    let leftover =
        |rule: &Rule| rule.may_delete_leftover(&shared(), &world(), &DevicePrefixes::default());
    assert!(!leftover(&rule));
    assert!(!leftover(&Rule::LocalOnly));
    assert!(leftover(&Rule::Open));
}

/// Invariant 2 of docs/architecture.md.
#[test]
fn only_what_calico_made_is_taken_over() {
    let cases = [
        (80, workload(), Foreign::Leftover),
        (12, Spec::blackhole(0), Foreign::Leftover),
        (80, Spec::blackhole(0), Foreign::Leftover),
        (12, on(4), Foreign::Leftover),
        (80, on(5), Foreign::Leftover),
        (12, remote("172.18.0.2"), Foreign::Replaceable),
        (80, remote("172.18.0.2"), Foreign::Leftover),
        (3, workload(), Foreign::External),
        (4, workload(), Foreign::External),
        (2, workload(), Foreign::Untouchable),
        (2, on(4), Foreign::Untouchable),
        (4, remote("172.18.0.2"), Foreign::Untouchable),
        (3, on(4), Foreign::Untouchable),
        (4, Spec::blackhole(0), Foreign::Untouchable),
        (186, remote("172.18.0.2"), Foreign::Untouchable),
    ];
    let world = world();
    for (protocol, spec, expected) in cases {
        let spec = Spec { protocol, ..spec };
        assert_eq!(
            foreign(&spec, &world, &DevicePrefixes::default()),
            expected,
            "{spec:?}"
        );
    }
}

#[test]
fn leftovers_go_as_ours_go() {
    let world = world();
    let may = |rule: &Rule, spec: &Spec| {
        rule.may_delete_leftover(spec, &world, &DevicePrefixes::default())
    };
    let device_only = unicast(smallvec![Hop {
        via: None,
        device: 4,
        onlink: false,
        weight: 0,
    }]);
    for (rule, expected) in [
        (Rule::Closed, [false, false, false, false]),
        (Rule::LocalOnly, [true, true, false, false]),
        (except("172.19.0.2"), [true, true, false, true]),
        (Rule::Open, [true, true, true, true]),
    ] {
        let all = [workload(), Spec::blackhole(80), on(4), device_only.clone()];
        assert_eq!(all.map(|spec| may(&rule, &spec)), expected, "{rule:?}");
    }
}

fn may(rule: &Rule, spec: &Spec) -> bool {
    let hops = spec.object().is_none().then(|| spec.hops());
    rule.may_delete(spec, hops)
}

fn except(peer: &str) -> Rule {
    Rule::Except(HashSet::from([address(peer)]))
}

/// A route by a nexthop object.
fn shared() -> Spec {
    Spec::by_object(67, 7)
}

fn remote(via: &str) -> Spec {
    unicast(smallvec![hop(via, 2)])
}

fn on(device: u32) -> Spec {
    unicast(smallvec![hop("172.19.0.2", device)])
}

fn workload() -> Spec {
    unicast(smallvec![Hop {
        via: None,
        device: 3,
        onlink: false,
        weight: 0,
    }])
}

fn unicast(hops: SmallVec<[Hop; 1]>) -> Spec {
    Spec::unicast(67, &"10.0.0.0/8".parse().unwrap(), hops)
}

fn hop(via: &str, device: u32) -> Hop {
    Hop {
        via: Some(address(via)),
        device,
        onlink: false,
        weight: 0,
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn world() -> World {
    let names = ["lo", "eth0", "cali1", "tunl0", "vxlan.calico"];
    let links = names.iter().zip(1..).map(|(name, index)| Link {
        index,
        name: (*name).into(),
        up: true,
        carrier: true,
        mtu: 1500,
        mac: None,
        kind: LinkKind::Ordinary,
    });
    World::new(links.collect(), vec![])
}
