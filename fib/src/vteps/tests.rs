//! Who claims which entry, in whatever order the news come.

use std::time::Duration;

use super::*;

#[test]
fn a_node_that_names_an_entry_goes_before_one_that_named_it() {
    let mut all = Scene::new();
    all.set("172.18.0.2", "10.233.2.0", 2);
    all.remove("172.18.0.2");
    assert_eq!(
        all.remote(2),
        remote("172.18.0.2"),
        "while routes lead there"
    );
    all.set("172.18.0.9", "10.233.2.0", 2);
    assert_eq!(all.remote(2), remote("172.18.0.9"));
    all.forget("172.18.0.2", "10.233.2.0", 2);
    assert_eq!(all.remote(2), remote("172.18.0.9"));
    assert_eq!(all.mac("10.233.2.0"), Some(NeighbourValue::Mac(mac(2))));
    all.remove("172.18.0.9");
    all.forget("172.18.0.9", "10.233.2.0", 2);
    assert_eq!((all.remote(2), all.mac("10.233.2.0")), (None, None));
    assert_eq!(all.vteps.entries().count(), 0);
}

#[test]
fn of_several_that_name_an_entry_the_first_has_it_and_all_are_named() {
    let named = [("172.18.0.7", 2), ("172.18.0.3", 3)];
    for order in [[0, 1], [1, 0]] {
        let mut all = Scene::new();
        for (node, last) in order.map(|at| named[at]) {
            all.set(node, "10.233.2.0", last);
        }
        assert_eq!(all.mac("10.233.2.0"), Some(NeighbourValue::Mac(mac(3))));
        let sentence = all.vteps.condition().unwrap();
        assert!(
            sentence.starts_with(
                "nodes 172.18.0.3 and 172.18.0.7 name the same VXLAN tunnel address 10.233.2.0; packets go to 172.18.0.3."
            ),
            "{sentence}"
        );
        all.remove("172.18.0.3");
        assert_eq!(all.mac("10.233.2.0"), Some(NeighbourValue::Mac(mac(2))));
        assert_eq!(all.vteps.condition(), None);
    }
}

#[test]
fn two_former_ones_of_a_node_may_have_their_mac_in_common() {
    let mut all = Scene::new();
    for address in ["10.233.2.0", "10.233.2.1", "10.233.2.2"] {
        all.set("172.18.0.2", address, 2);
    }
    all.remove("172.18.0.2");
    for address in ["10.233.2.1", "10.233.2.0"] {
        all.forget("172.18.0.2", address, 2);
        assert_eq!(all.remote(2), remote("172.18.0.2"));
    }
    all.forget("172.18.0.2", "10.233.2.2", 2);
    assert_eq!(all.remote(2), None);
}

#[test]
fn what_is_named_again_is_no_former_one_and_its_time_begins_anew() {
    let mut all = Scene::new();
    all.set("172.18.0.2", "10.233.2.0", 2);
    all.remove("172.18.0.2");
    all.set("172.18.0.2", "10.233.2.0", 2);
    assert_eq!(all.vteps.all_former().count(), 0);
    all.now += LONG / 2;
    all.remove("172.18.0.2");
    all.now += LONG / 2;
    assert_eq!(all.vteps.pop_over(all.now), None);
    all.now += LONG / 2;
    let over = all.vteps.pop_over(all.now).map(|(node, _)| node);
    assert_eq!(over, Some("172.18.0.2".parse().unwrap()));
}

struct Scene {
    vteps: Vteps,
    now: Instant,
}

impl Scene {
    fn new() -> Scene {
        Scene {
            vteps: Vteps::default(),
            now: Instant::now(),
        }
    }

    fn set(&mut self, node: &str, address: &str, last: u8) {
        let until = self.now + LONG;
        self.vteps
            .set(node.parse().unwrap(), vtep(address, last), until);
    }

    fn remove(&mut self, node: &str) {
        self.vteps.remove(node.parse().unwrap(), self.now + LONG);
    }

    fn forget(&mut self, node: &str, address: &str, last: u8) {
        let vtep = vtep(address, last);
        self.vteps.forget(node.parse().unwrap(), &vtep);
    }

    fn remote(&self, last: u8) -> Option<NeighbourValue> {
        let mac = mac(last);
        self.vteps.value(&Entry::Mac { mac, v6: false })
    }

    fn mac(&self, address: &str) -> Option<NeighbourValue> {
        self.vteps.value(&Entry::Address(address.parse().unwrap()))
    }
}

fn vtep(address: &str, last: u8) -> Vtep {
    Vtep {
        address: address.parse().unwrap(),
        mac: mac(last),
    }
}

fn mac(last: u8) -> [u8; 6] {
    [0x66, 0, 0, 0, 0, last]
}

fn remote(node: &str) -> Option<NeighbourValue> {
    Some(NeighbourValue::Remote(node.parse().unwrap()))
}

const LONG: Duration = Duration::from_secs(300);
