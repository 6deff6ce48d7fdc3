//! From wishes to hops.

use super::*;
use crate::device_prefixes::DevicePrefixes;
use crate::kernel::fake::{refusal, through};
use crate::kernel::{Link, LinkKind};
use crate::model::Mode;

#[test]
fn a_next_hop_in_an_own_subnet_is_reached_directly() {
    let spec = Scene::new().remote(&["172.18.0.2"], Encapsulation::None);
    assert_eq!(spec.unwrap(), "via 172.18.0.2 dev eth0");
}

#[test]
fn several_next_hops_may_go_different_ways() {
    let mode = Encapsulation::Ipip(Mode::CrossSubnet);
    let spec = Scene::new().remote(&["172.19.0.2", "172.18.0.2"], mode);
    assert_eq!(
        spec.unwrap(),
        "nexthop via 172.18.0.2 dev eth0 nexthop via 172.19.0.2 dev tunl0 onlink"
    );
}

#[test]
fn a_tunnel_that_is_missing_or_down_is_named() {
    let mode = Encapsulation::Ipip(Mode::Always);
    let mut scene = Scene::new();
    scene.world.link_mut(3).unwrap().up = false;
    let reason = scene.remote(&["172.18.0.2"], mode);
    assert_eq!(reason.unwrap_err(), "device tunl0 is down");
    scene.world.remove_link(3);
    let reason = scene.remote(&["172.18.0.2"], mode);
    assert_eq!(reason.unwrap_err(), "there is no device tunl0");
}

#[test]
fn vxlan_leads_to_the_tunnel_address_of_the_node_by_family_of_the_prefix() {
    let mode = Encapsulation::Vxlan(Mode::Always);
    let mut scene = Scene::new();
    let reason = scene.remote(&["172.18.0.2"], mode);
    assert_eq!(
        reason.unwrap_err(),
        "node 172.18.0.2 has no VXLAN tunnel address"
    );
    scene.vtep("172.18.0.2", "10.233.2.1");
    scene.vtep("2001:db8::2", "fd00:2::1");
    let spec = scene.remote(&["172.18.0.2"], mode);
    assert_eq!(spec.unwrap(), "via 10.233.2.1 dev vxlan.calico onlink");
    let spec = scene.to("fd00:2::/122", &["2001:db8::2"], mode);
    assert_eq!(spec.unwrap(), "via fd00:2::1 dev vxlan-v6.calico onlink");
}

#[test]
fn a_next_hop_behind_a_gateway_takes_all_next_hops_of_the_kernels_route() {
    let mut scene = Scene::new();
    let asked = scene.remote(&["172.19.0.2"], Encapsulation::None);
    assert_eq!(asked.unwrap_err(), "looking for the way to 172.19.0.2");

    let mut way = through("172.18.0.254", 2);
    way.hops.extend(through("172.18.0.253", 2).hops);
    scene.gateway("172.19.0.2", Ok(way));
    let spec = scene.remote(&["172.19.0.2"], Encapsulation::None);
    assert_eq!(
        spec.unwrap(),
        "nexthop via 172.18.0.253 dev eth0 nexthop via 172.18.0.254 dev eth0"
    );
}

#[test]
fn a_next_hop_that_is_on_a_link_is_its_own_gateway() {
    let mut scene = Scene::new();
    let mut way = through("0.0.0.0", 2);
    way.hops[0].via = None;
    scene.gateway("192.0.2.7", Ok(way));
    let spec = scene.remote(&["192.0.2.7"], Encapsulation::None);
    assert_eq!(spec.unwrap(), "via 192.0.2.7 dev eth0");
}

#[test]
fn ways_that_lead_nowhere_are_refused_with_a_reason() {
    let mut scene = Scene::new();
    let none = Encapsulation::None;
    scene.gateway("172.19.0.2", Err(refusal(101, "Network is unreachable")));
    let reason = scene.remote(&["172.19.0.2"], none).unwrap_err();
    assert_eq!(
        reason,
        "next hop 172.19.0.2 is unreachable: Network is unreachable"
    );
    let mut ours = through("172.18.0.9", 2);
    ours.protocol = 67;
    scene.gateway("172.19.0.2", Ok(ours));
    let reason = scene.remote(&["172.19.0.2"], none).unwrap_err();
    assert!(
        reason.contains("itself a route learned from a peer"),
        "{reason}"
    );
    let mut local = through("172.18.0.9", 1);
    local.kind = Kind::Other(2);
    scene.gateway("172.19.0.2", Ok(local));
    let reason = scene.remote(&["172.19.0.2"], none).unwrap_err();
    assert!(reason.contains("an address of this node"), "{reason}");
    for mode in [none, Encapsulation::Ipip(Mode::Always)] {
        let reason = scene.remote(&["172.18.0.1"], mode).unwrap_err();
        assert!(reason.contains("this node's own address"), "{reason}");
    }
    let both = scene.remote(&["172.18.0.1", "172.18.0.2"], none);
    assert_eq!(both.unwrap(), "via 172.18.0.2 dev eth0");
    assert_eq!(scene.remote(&[], none).unwrap_err(), "no next hop");
    let reason = scene.remote(&["2001:db8::2"], Encapsulation::Ipip(Mode::Always));
    assert!(reason.unwrap_err().contains("IPIP carries IPv4"));
}

#[test]
fn of_several_next_hops_those_count_that_have_a_way() {
    let mut scene = Scene::new();
    scene.gateway("172.19.0.2", Err(refusal(101, "Network is unreachable")));
    let spec = scene.remote(&["172.19.0.2", "172.18.0.2"], Encapsulation::None);
    assert_eq!(spec.unwrap(), "via 172.18.0.2 dev eth0");
    let unasked = scene.remote(&["172.18.0.2", "172.20.0.2"], Encapsulation::None);
    assert!(unasked.is_err(), "not half a route before the answer");
}

struct Scene {
    world: World,
    vteps: Vteps,
    gateways: BTreeMap<IpAddr, Result<Resolution, Refusal>>,
}

impl Scene {
    fn new() -> Scene {
        let links = ["lo", "eth0", "tunl0", VXLAN_DEVICE, VXLAN_V6_DEVICE];
        let links = links.iter().zip(1..).map(|(name, index)| Link {
            index,
            name: (*name).into(),
            up: true,
            carrier: true,
            mtu: 1500,
            mac: None,
            kind: match index {
                1 => LinkKind::Loopback,
                2 => LinkKind::Ordinary,
                _ => LinkKind::Tunnel,
            },
        });
        let addresses = [
            (1, "127.0.0.1/8"),
            (2, "172.18.0.1/24"),
            (2, "2001:db8::1/64"),
            (2, "192.0.2.1/32"),
            (3, "10.233.1.0/24"),
        ];
        let addresses = addresses.map(|(index, net)| (index, net.parse().unwrap()));
        Scene {
            world: World::new(links.collect(), addresses.to_vec()),
            vteps: Vteps::default(),
            gateways: BTreeMap::new(),
        }
    }

    fn vtep(&mut self, node: &str, address: &str) {
        let vtep = Vtep {
            address: address.parse().unwrap(),
            mac: [2; 6],
        };
        let now = std::time::Instant::now();
        self.vteps.set(node.parse().unwrap(), vtep, now);
    }

    fn gateway(&mut self, next_hop: &str, answer: Result<Resolution, Refusal>) {
        self.gateways.insert(next_hop.parse().unwrap(), answer);
    }

    fn remote(&self, next_hops: &[&str], encapsulation: Encapsulation) -> Result<String, String> {
        self.to("10.233.2.0/26", next_hops, encapsulation)
    }

    fn to(
        &self,
        prefix: &str,
        next_hops: &[&str],
        encapsulation: Encapsulation,
    ) -> Result<String, String> {
        let surroundings = Surroundings {
            protocol: 67,
            settings: &Settings::default(),
            world: &self.world,
            subnets: &self.world.own_subnets(&DevicePrefixes::default()),
            vteps: &self.vteps,
            unwritten_vteps: &HashSet::new(),
            without_ipip: &HashMap::new(),
            there: None,
            gateways: &self.gateways,
        };
        let route = Route::Remote {
            next_hops: next_hops.iter().map(|hop| hop.parse().unwrap()).collect(),
            encapsulation,
        };
        surroundings
            .route(&prefix.parse().unwrap(), &route)
            .map(|spec| spec.describe(|index| self.world.name(index)))
            .map_err(|waiting| waiting.to_string())
    }
}
