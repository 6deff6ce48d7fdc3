//! The steps of a tunnel address, in the order in which a tunnel comes and goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use caracal_datastore::memory::Fault;
use caracal_datastore::{IPPool, MemoryDatastore};
use caracal_fib::Mode;
use serde_json::{Value, json};

use super::*;

fn device(state: &str, address: Option<&str>, used: bool) -> TunnelStatus {
    TunnelStatus {
        device: "tunl0".into(),
        state: state.into(),
        address: address.map(|text| text.parse().unwrap()),
        used,
        reason: None,
    }
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn an_address_is_named_only_when_the_kernel_can_receive_on_it() {
    let given = address("10.233.1.1");
    let named = |device: Option<TunnelStatus>| step(true, given, None, device.as_ref());
    assert_eq!(named(None), Step::Rest);
    assert_eq!(named(Some(device("making", None, true))), Step::Rest);
    assert_eq!(
        named(Some(device("failed", Some("10.233.1.1"), true))),
        Step::Rest
    );
    assert_eq!(
        named(Some(device("ready", Some("10.233.9.9"), true))),
        Step::Rest
    );
    let ready = device("ready", Some("10.233.1.1"), true);
    assert_eq!(
        named(Some(ready.clone())),
        Step::Name("10.233.1.1".parse().unwrap())
    );
    assert_eq!(step(true, given, given, Some(&ready)), Step::Rest);
}

#[test]
fn an_address_is_withdrawn_when_no_route_uses_it_and_released_when_the_device_is_gone() {
    let named = address("10.233.1.1");
    let leaving = |used| device("leaving", Some("10.233.1.1"), used);
    assert_eq!(step(false, None, named, Some(&leaving(true))), Step::Rest);
    assert_eq!(
        step(false, None, named, Some(&leaving(false))),
        Step::Withdraw
    );
    // The FIB has not said yet.
    assert_eq!(step(false, None, named, None), Step::Rest);
    let retiring = device("retiring", Some("10.233.1.1"), false);
    assert_eq!(step(false, None, None, Some(&retiring)), Step::Rest);
    assert_eq!(step(false, None, None, None), Step::Release);
}

#[test]
fn what_lives_on_in_disabled_pools_keeps_its_address() {
    let ready = device("ready", Some("10.233.1.1"), true);
    assert_eq!(
        step(true, None, address("10.233.1.1"), Some(&ready)),
        Step::Rest
    );
}

#[test]
fn an_address_is_withdrawn_from_a_broken_device_and_named_again_when_it_works() {
    let given = address("10.233.1.1");
    let broken = device("broken", None, true);
    assert_eq!(step(true, given, given, Some(&broken)), Step::Withdraw);
    assert_eq!(step(true, given, None, Some(&broken)), Step::Rest);
    let ready = device("ready", Some("10.233.1.1"), true);
    assert_eq!(
        step(true, given, None, Some(&ready)),
        Step::Name("10.233.1.1".parse().unwrap())
    );
    // Nobody could give it back to the node.
    assert_eq!(step(true, None, given, Some(&broken)), Step::Rest);
}

#[tokio::test]
async fn a_pool_that_gives_no_tunnel_address_is_named_and_holds_no_other_tunnel_back() {
    let scene = scene().await;
    scene
        .pool(
            "ipip",
            json!({"cidr": "10.65.0.0/16", "ipipMode": "Always", "allowedUses": ["Workload"]}),
        )
        .await;
    scene
        .pool(
            "vxlan",
            json!({"cidr": "10.66.0.0/16", "vxlanMode": "Always"}),
        )
        .await;
    let pools = [
        pool("ipip", "10.65.0.0/16", Encapsulation::Ipip(Mode::Always)),
        pool("vxlan", "10.66.0.0/16", Encapsulation::Vxlan(Mode::Always)),
    ];
    let mut tending = Tending::default();
    let tended = scene.tend(&mut tending, &pools).await;
    assert!(tended.assigned.of(Tunnel::Vxlan).is_some());
    assert_eq!(tended.assigned.of(Tunnel::Ipip), None);
    let [condition] = &tended.conditions[..] else {
        panic!("{:?}", tended.conditions);
    };
    assert_eq!(condition.name, "NoTunnelAddress");
    assert!(
        condition.message.starts_with("tunl0 gets no address: ")
            && condition.message.contains("IPPool ipip asked for it"),
        "{}",
        condition.message
    );
}

#[tokio::test]
async fn a_tunnel_that_no_pool_needs_costs_one_release_and_then_one_read_a_round() {
    let scene = scene().await;
    let mut tending = Tending::default();
    scene.tend(&mut tending, &[]).await;
    scene.operations.store(0, Ordering::Relaxed);
    let writes = scene.store.writes();
    for _ in 0..5 {
        scene.tend(&mut tending, &[]).await;
    }
    // That of the Node resource.
    assert_eq!(scene.operations.load(Ordering::Relaxed), 5);
    assert_eq!(scene.store.writes(), writes);
}

#[tokio::test]
async fn what_a_pod_has_is_given_back_though_ipam_has_forgotten_it() {
    let scene = scene().await;
    let cidr = "10.9.0.0/26";
    scene
        .pool("v", json!({"cidr": cidr, "vxlanMode": "Always"}))
        .await;
    let pools = [pool("v", cidr, Encapsulation::Vxlan(Mode::Always))];
    let held: [IpAddr; 2] = ["10.9.0.0".parse().unwrap(), "10.9.0.1".parse().unwrap()];
    let mut tending = Tending::default();
    let tended = scene.tend_beside(&mut tending, &pools, &held).await;
    assert_eq!(tended.assigned.of(Tunnel::Vxlan), None);
    assert!(
        tended.conditions[0].message.contains("10.9.0.0"),
        "{tended:?}"
    );
    assert!(tending.met_a_pod());
    // The records are mended.
    for (index, address) in held.into_iter().enumerate() {
        let wish = AssignRequest {
            handle: format!("pod-{index}"),
            addresses: vec![address],
            ..AssignRequest::default()
        };
        scene.ipam.assign(wish).await.unwrap();
    }
    let tended = scene.tend_beside(&mut tending, &pools, &held).await;
    assert_eq!(tended.conditions, []);
    let given = tended.assigned.of(Tunnel::Vxlan).unwrap();
    assert!(!held.contains(&given), "{given}");
    assert!(!tending.met_a_pod());
}

struct Scene {
    store: Arc<MemoryDatastore>,
    /// Of the client that the tunnels use.
    operations: Arc<AtomicUsize>,
    ipam: Ipam,
}

async fn scene() -> Scene {
    let store = Arc::new(MemoryDatastore::new());
    let node: Node =
        serde_json::from_value(json!({"bgp": {"ipv4Address": "192.0.2.1/24"}})).unwrap();
    let typed = TypedStore(Arc::new(store.client()));
    typed.create(Stored::new("node1", node)).await.unwrap();
    let operations = Arc::new(AtomicUsize::new(0));
    let counted = operations.clone();
    store.set_plan(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Fault::None
    });
    Scene {
        ipam: Ipam::new(store.clone(), "node1".to_owned()),
        store,
        operations,
    }
}

impl Scene {
    async fn pool(&self, name: &str, spec: Value) {
        let spec: IPPool = serde_json::from_value(spec).unwrap();
        let typed = TypedStore(Arc::new(self.store.client()));
        typed.create(Stored::new(name, spec)).await.unwrap();
    }

    async fn tend<'a>(&self, tending: &'a mut Tending, pools: &[Pool]) -> &'a Tended {
        self.tend_beside(tending, pools, &[]).await
    }

    /// Beside pods with these addresses.
    async fn tend_beside<'a>(
        &self,
        tending: &'a mut Tending,
        pools: &[Pool],
        held: &[IpAddr],
    ) -> &'a Tended {
        let place = Place {
            node: "node1",
            pools,
            ipam: &self.ipam,
            store: &TypedStore(self.store.clone()),
            records_lost: false,
            held,
            devices: &[],
        };
        tending.tend(place).await.unwrap()
    }
}

fn pool(name: &str, cidr: &str, encapsulation: Encapsulation) -> Pool {
    Pool {
        name: name.to_owned(),
        cidr: cidr.parse().unwrap(),
        encapsulation,
        disable_bgp_export: false,
        disabled: false,
        unusable: None,
    }
}
