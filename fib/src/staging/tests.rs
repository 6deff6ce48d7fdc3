//! The table of the module, row by row: what is wanted, what the kernel has, what the far end says, how long ago.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::device_prefixes::DevicePrefixes;
use crate::kernel::fake::through;
use crate::kernel::{Hop, Link, LinkKind, Refusal, Resolution};
use crate::model::Vtep;
use crate::vteps::Vteps;
use crate::world::World;

const NEVER: Encapsulation = Encapsulation::None;
const IPIP: Encapsulation = Encapsulation::Ipip(Mode::Always);
const IPIP_CROSS: Encapsulation = Encapsulation::Ipip(Mode::CrossSubnet);
const VXLAN: Encapsulation = Encapsulation::Vxlan(Mode::Always);

const DIRECT: &str = "via 172.18.0.2 dev eth0";
const IN_IPIP: &str = "via 172.18.0.2 dev tunl0 onlink";
const IN_VXLAN: &str = "via 10.233.2.0 dev vxlan.calico onlink";

#[test]
fn what_is_there_is_taken_whatever_the_kernel_has() {
    let scene = Scene::new();
    for kernel in ["", DIRECT, IN_IPIP, IN_VXLAN] {
        assert_eq!(scene.choose(NEVER, kernel, 0), take(DIRECT));
        assert_eq!(scene.choose(IPIP, kernel, 0), take(IN_IPIP));
        assert_eq!(scene.choose(VXLAN, kernel, 0), take(IN_VXLAN));
    }
}

#[test]
fn a_route_keeps_its_way_until_the_far_end_can_receive() {
    let silent = Scene::new().without_ipip();
    assert_eq!(silent.choose(IPIP, DIRECT, 0), keep(DIRECT));
    assert_eq!(silent.choose(IPIP, IN_VXLAN, 299), keep(IN_VXLAN));
    assert_eq!(silent.choose(IPIP_CROSS, DIRECT, 0), take(DIRECT));
    let silent = Scene::new().without_vtep();
    assert_eq!(silent.choose(VXLAN, DIRECT, 299), keep(DIRECT));
    assert_eq!(silent.choose(VXLAN, IN_IPIP, 299), keep(IN_IPIP));
    let mut unwritten = Scene::new();
    unwritten.unwritten.insert(node());
    assert_eq!(unwritten.choose(VXLAN, DIRECT, 0), keep(DIRECT));
}

#[test]
fn a_far_end_that_names_its_tunnel_no_more_is_sent_to_in_the_same_way_while_the_pool_asks_for_it() {
    let silent = Scene::new().without_ipip();
    assert_eq!(silent.choose(IPIP, IN_IPIP, 0), keep(IN_IPIP));
    let mut leaving = Scene::new();
    leaving.vteps.remove(node(), leaving.start);
    assert_eq!(leaving.choose(VXLAN, IN_VXLAN, 0), keep(IN_VXLAN));
    assert_eq!(leaving.choose(VXLAN, "", 0), wait());
    assert_eq!(leaving.choose(NEVER, IN_VXLAN, 0), take(DIRECT));
}

#[test]
fn a_route_keeps_its_way_while_our_own_device_is_not_there() {
    let mut scene = Scene::new();
    scene.world.link_mut(3).unwrap().up = false;
    assert_eq!(scene.choose(IPIP, DIRECT, 299), keep(DIRECT));
    assert_eq!(scene.choose(IPIP, IN_VXLAN, 299), keep(IN_VXLAN));
    assert_eq!(scene.choose(IPIP, "", 9999), wait());
    scene.world.remove_link(2);
    assert_eq!(scene.choose(VXLAN, DIRECT, 299), keep(DIRECT));
}

#[test]
fn no_way_is_kept_for_longer_than_five_minutes() {
    assert_eq!(
        Scene::new().without_vtep().choose(VXLAN, DIRECT, 300),
        wait()
    );
    let mut scene = Scene::new();
    scene.world.remove_link(3);
    assert_eq!(scene.choose(IPIP, DIRECT, 299), keep(DIRECT));
    assert_eq!(scene.choose(IPIP, DIRECT, 300), wait());
}

#[test]
fn a_route_to_another_node_is_not_kept() {
    let silent = Scene::new().without_ipip();
    assert_eq!(silent.choose(IPIP, "via 172.18.0.3 dev eth0", 0), wait());
    assert_eq!(silent.choose(IPIP, "blackhole", 0), wait());
}

#[test]
fn patience_with_a_silent_far_end_ends_sooner_where_there_is_no_way_yet() {
    let silent = Scene::new().without_ipip();
    assert_eq!(silent.choose(IPIP, "", 9), wait());
    assert_eq!(silent.choose(IPIP, "", 10), unconfirmed(IN_IPIP));
    assert_eq!(silent.choose(IPIP, DIRECT, 299), keep(DIRECT));
    assert_eq!(silent.choose(IPIP, DIRECT, 300), unconfirmed(IN_IPIP));
    // There is nothing to send to.
    assert_eq!(Scene::new().without_vtep().choose(VXLAN, "", 9999), wait());
}

#[test]
fn of_several_next_hops_none_changes_its_way_before_all_can() {
    let scene = Scene::new().without_ipip();
    let both = ["172.18.0.2", "172.18.0.3"];
    let direct = "nexthop via 172.18.0.2 dev eth0 nexthop via 172.18.0.3 dev eth0";
    assert_eq!(scene.choose_among(&both, IPIP, direct, 0), keep(direct));
    // Nothing to keep: the one that can.
    let one = "via 172.18.0.3 dev tunl0 onlink";
    assert_eq!(scene.choose_among(&both, IPIP, "", 0), take(one));
}

#[test]
fn a_way_through_a_gateway_is_kept_too_and_the_kernel_is_asked_before_it_is_judged() {
    let behind = ["172.19.0.2"];
    let kernel = "via 172.18.0.254 dev eth0";
    let mut scene = Scene::new();
    scene
        .without_ipip
        .insert("172.19.0.2".parse().unwrap(), scene.start);
    let asked = scene.choose_among(&behind, IPIP_CROSS, kernel, 0);
    assert_eq!(asked, ("unasked".into(), String::new()));
    scene.gateways.insert(
        "172.19.0.2".parse().unwrap(),
        Ok(through("172.18.0.254", 1)),
    );
    assert_eq!(
        scene.choose_among(&behind, IPIP_CROSS, kernel, 0),
        keep(kernel)
    );
}

#[test]
fn a_new_route_to_a_node_of_which_nothing_is_said_is_sent_at_once_as_calico_does() {
    assert_eq!(Scene::new().choose(IPIP, "", 0), take(IN_IPIP));
}

/// A node with `eth0` 172.18.0.1/16, both tunnels, and one other node that can receive everything.
struct Scene {
    world: World,
    vteps: Vteps,
    unwritten: HashSet<IpAddr>,
    without_ipip: HashMap<IpAddr, Instant>,
    gateways: BTreeMap<IpAddr, Result<Resolution, Refusal>>,
    start: Instant,
}

type Outcome = (String, String);

impl Scene {
    fn new() -> Scene {
        let links = [(1, "eth0"), (2, "vxlan.calico"), (3, "tunl0")];
        let kind = |name: &str| match name {
            "eth0" => LinkKind::Ordinary,
            _ => LinkKind::Tunnel,
        };
        let link = |(index, name): (u32, &str)| Link {
            index,
            name: name.into(),
            up: true,
            carrier: true,
            mtu: 1500,
            mac: None,
            kind: kind(name),
        };
        let own = (1, "172.18.0.1/16".parse().unwrap());
        let vtep = Vtep {
            address: "10.233.2.0".parse().unwrap(),
            mac: [6; 6],
        };
        let mut vteps = Vteps::default();
        let start = Instant::now();
        vteps.set(node(), vtep, start);
        Scene {
            world: World::new(links.map(link).into(), vec![own]),
            vteps,
            unwritten: HashSet::new(),
            without_ipip: HashMap::new(),
            gateways: BTreeMap::new(),
            start,
        }
    }

    fn without_ipip(mut self) -> Scene {
        self.without_ipip.insert(node(), self.start);
        self
    }

    fn without_vtep(mut self) -> Scene {
        self.vteps = Vteps::default();
        self
    }

    fn choose(&self, wanted: Encapsulation, kernel: &str, seconds: u64) -> Outcome {
        self.choose_among(&["172.18.0.2"], wanted, kernel, seconds)
    }

    /// `kernel`: the route that is there, as `ip route` prints it.
    fn choose_among(
        &self,
        next_hops: &[&str],
        encapsulation: Encapsulation,
        kernel: &str,
        seconds: u64,
    ) -> Outcome {
        let around = Surroundings {
            protocol: 67,
            settings: &crate::settings::Settings::default(),
            world: &self.world,
            subnets: &self.world.own_subnets(&DevicePrefixes::default()),
            vteps: &self.vteps,
            unwritten_vteps: &self.unwritten,
            without_ipip: &self.without_ipip,
            there: None,
            gateways: &self.gateways,
        };
        let route = Route::Remote {
            next_hops: next_hops.iter().map(|hop| hop.parse().unwrap()).collect(),
            encapsulation,
        };
        let name = |index| self.world.name(index);
        let there = || parse(kernel);
        let there = (!kernel.is_empty()).then_some(&there as &dyn Fn() -> Spec);
        let now = self.start + Duration::from_secs(seconds);
        let prefix = "10.233.2.0/26".parse().unwrap();
        let since = there.map(|_| self.start);
        match super::choose(&around, &prefix, &route, there, since, now) {
            Choice::Take(spec) => take(&spec.describe(name)),
            Choice::Keep(spec, _) => keep(&spec.describe(name)),
            Choice::Unconfirmed(spec, _) => unconfirmed(&spec.describe(name)),
            Choice::Wait(Waiting::Unasked(_)) => ("unasked".into(), String::new()),
            Choice::Wait(_) => wait(),
        }
    }
}

/// A route as `ip route` prints it.
fn parse(way: &str) -> Spec {
    if way == "blackhole" {
        return Spec::blackhole(67);
    }
    let prefix = "10.233.2.0/26".parse().unwrap();
    let ways = way.split("nexthop").filter(|way| !way.is_empty());
    let hops = ways.map(|way| {
        let words: Vec<&str> = way.split_whitespace().collect();
        let device = match words[3] {
            "eth0" => 1,
            "vxlan.calico" => 2,
            _ => 3,
        };
        Hop {
            via: Some(words[1].parse().unwrap()),
            device,
            onlink: words.contains(&"onlink"),
            weight: 0,
        }
    });
    Spec::unicast(67, &prefix, hops.collect())
}

fn node() -> IpAddr {
    "172.18.0.2".parse().unwrap()
}

fn take(way: &str) -> Outcome {
    ("take".into(), way.into())
}

fn keep(way: &str) -> Outcome {
    ("keep".into(), way.into())
}

fn unconfirmed(way: &str) -> Outcome {
    ("unconfirmed".into(), way.into())
}

fn wait() -> Outcome {
    ("wait".into(), String::new())
}
