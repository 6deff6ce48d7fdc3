//! Whatever happened before: once it is quiet, the kernel is what a fresh start on the same node, with the same wishes,
//! would have made of it (invariant 1). Wishes, foreign writers, links that flap, refusals and lost answers at random.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::kernel::fake::through;
use crate::kernel::{NeighbourValue, Spec};
use crate::model::{IpipDevice, Mode, Vtep};

#[derive(Debug, Clone)]
enum Step {
    Apply(Change),
    Turn,
    Settle,
    Wait(u64),
    Foreign(usize, Option<u8>),
    Link(&'static str, LinkStep),
    Address(bool),
    Gateway(Option<u8>),
    Refuse(u8),
    LoseAnswers,
    LoseEvents,
    FailReads,
}

#[derive(Debug, Clone, Copy)]
enum LinkStep {
    Add,
    Delete,
    Down,
    Up,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn when_quiet_the_kernel_is_what_a_fresh_start_would_make(
        steps in proptest::collection::vec(step(), 1..60)
    ) {
        let (kernel, wishes) = random_life(steps);
        let fresh = fresh_life(&kernel, wishes);
        prop_assert_eq!(kernel.routes(), fresh.routes());
        prop_assert_eq!(neighbours(&kernel), neighbours(&fresh));
    }
}

/// Everything at random, then peace: no more faults, foreign routes gone, the gate open, and time.
fn random_life(steps: Vec<Step>) -> (FakeKernel, Wishes) {
    let kernel = FakeKernel::default();
    kernel.with(|kernel| kernel.has_ipip = true);
    for name in ["eth0", "eth1", "cali1", "cali2"] {
        kernel.add_link(name, LinkKind::Ordinary);
    }
    kernel.add_address(1, "172.18.0.1/24");
    let wishes = Bench::run_on(kernel.clone(), async |bench| {
        for step in steps {
            play(bench, step).await;
        }
        bench.kernel.with(|kernel| {
            kernel.refuse = None;
            kernel.lose_answers = 0;
            kernel.fail_reads = 0;
            kernel.events.push(Event::Overrun);
        });
        // A start sets a workload's device up, later it is left as it is: the one thing that depends on the past.
        for name in ["cali1", "cali2"] {
            if let Some(index) = index_of(&bench.kernel, name) {
                bench.kernel.set_up(index, true);
            }
        }
        let foreign: Vec<Key> = bench
            .kernel
            .routes()
            .into_iter()
            .filter(|(_, spec)| spec.protocol != 67)
            .map(|(key, _)| key)
            .collect();
        for key in foreign {
            bench.kernel.foreign_delete(key);
        }
        // A tunnel that is not desired stays while routes that are desired use it: another exception, so it is not left so.
        bench.apply(vec![Change::SetGate(Gate::Open), tunnels(true, true)]);
        // No way is kept longer for far ends that do not say that they can receive another.
        bench.wait_out(Duration::from_secs(700)).await;
        let status = bench.status();
        assert_eq!(status.stale, 0, "{status:?}");
        assert_eq!(status.actual, bench.kernel.routes().len());
        assert_eq!(status.pending, status.failed, "{status:?}");
        std::mem::take(&mut bench.worker.wishes)
    });
    (kernel, wishes)
}

/// The same links and addresses, the same wishes, all at once.
fn fresh_life(kernel: &FakeKernel, wishes: Wishes) -> FakeKernel {
    let fresh = FakeKernel::default();
    kernel.with(|old| {
        fresh.with(|new| {
            new.has_ipip = true;
            new.links = old.links.clone();
            new.addresses = old.addresses.clone();
            new.gateways = old.gateways.clone();
        });
    });
    Bench::run_on(fresh.clone(), async |bench| {
        let mut changes = vec![Change::SetGate(wishes.gate)];
        changes.extend(wishes.tunnels.map(Box::new).map(Change::SetTunnels));
        let routes = wishes.routes.iter();
        changes.extend(routes.map(|(prefix, route)| Change::SetRoute(*prefix, route.clone())));
        let endpoints = wishes.endpoints.into_iter();
        changes.extend(endpoints.map(|(device, e)| Change::SetEndpoint(device, e)));
        let vteps = wishes.vteps.all_named();
        changes.extend(vteps.map(|(node, vtep)| Change::SetVtep(*node, vtep.clone())));
        bench.apply(changes);
        // No way is kept longer for far ends that do not say that they can receive another.
        bench.wait_out(Duration::from_secs(700)).await;
    });
    fresh
}

async fn play(bench: &mut Bench, step: Step) {
    let kernel = bench.kernel.clone();
    match step {
        Step::Apply(change) => bench.apply(vec![change]),
        Step::Turn => {
            bench.deliver();
            bench.worker.turn(bench.now).await;
        }
        Step::Settle => {
            bench.settle().await;
        }
        Step::Wait(milliseconds) => {
            bench.wait_out(Duration::from_millis(milliseconds)).await;
        }
        Step::Foreign(prefix, Some(protocol)) => {
            let key = Key::new(net(PREFIXES[prefix]), 0);
            let spec = Spec {
                protocol,
                ..Spec::blackhole(0)
            };
            kernel.foreign_set(key, spec);
        }
        Step::Foreign(prefix, None) => kernel.foreign_delete(Key::new(net(PREFIXES[prefix]), 0)),
        Step::Link(name, step) => {
            let index = index_of(&kernel, name);
            match (step, index) {
                (LinkStep::Add, None) => {
                    kernel.add_link(name, LinkKind::Ordinary);
                }
                (LinkStep::Delete, Some(index)) => kernel.delete_link(index),
                (LinkStep::Down, Some(index)) => kernel.set_up(index, false),
                (LinkStep::Up, Some(index)) => kernel.set_up(index, true),
                _ => {}
            }
        }
        Step::Address(true) => {
            let there = kernel.with(|state| state.links.contains_key(&2));
            if there && kernel.with(|state| state.addresses.len()) < 4 {
                kernel.add_address(2, "172.19.0.1/24");
            }
        }
        Step::Address(false) => kernel.with(|state| {
            let gone: (u32, IpNet) = (2, net("172.19.0.1/24"));
            state.addresses.retain(|have| *have != gone);
            state.events.push(Event::AddressGone(gone.0, gone.1));
        }),
        Step::Gateway(host) => kernel.with(|state| {
            state.gateways.clear();
            if let Some(host) = host {
                let way = through(&format!("172.18.0.{host}"), 1);
                state.gateways.insert([172, 19, 0, 9].into(), way);
            }
            // Some route of the host has changed.
            state.events.push(Event::RouteGone {
                key: Key::new(net("0.0.0.0/0"), 0),
                spec: through_spec(),
                by: 1,
            });
        }),
        Step::Refuse(every) => kernel.with(|state| {
            let mut count = 0u8;
            state.refuse = (every > 0).then_some(Box::new(move |_: &Write| {
                count = count.wrapping_add(1);
                count
                    .is_multiple_of(every)
                    .then(|| refusal(libc::ENOMEM, "Cannot allocate memory"))
            }) as _);
        }),
        Step::LoseAnswers => kernel.with(|state| state.lose_answers += 1),
        Step::LoseEvents => kernel.with(|state| state.events = vec![Event::Overrun]),
        Step::FailReads => kernel.with(|state| state.fail_reads += 1),
    }
}

fn step() -> impl Strategy<Value = Step> {
    let prefix = 0..PREFIXES.len();
    let link = select(vec!["eth0", "eth1", "cali1", "cali2", "tunl0"]);
    let link_step = select(vec![
        LinkStep::Add,
        LinkStep::Delete,
        LinkStep::Down,
        LinkStep::Up,
    ]);
    prop_oneof![
        12 => change().prop_map(Step::Apply),
        4 => Just(Step::Turn),
        3 => Just(Step::Settle),
        2 => (1..3000u64).prop_map(Step::Wait),
        3 => (prefix, proptest::option::of(select(vec![3u8, 4, 12, 67, 80])))
            .prop_map(|(prefix, protocol)| Step::Foreign(prefix, protocol)),
        3 => (link, link_step).prop_map(|(name, step)| Step::Link(name, step)),
        1 => any::<bool>().prop_map(Step::Address),
        1 => proptest::option::of(200..203u8).prop_map(Step::Gateway),
        1 => (0..4u8).prop_map(Step::Refuse),
        1 => Just(Step::LoseAnswers),
        1 => Just(Step::LoseEvents),
        1 => Just(Step::FailReads),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let prefix = select(PREFIXES.to_vec()).prop_map(net);
    let hop = select(vec!["172.18.0.2", "172.18.0.3", "172.19.0.9", "172.20.0.9"]);
    let hop = hop.prop_map(|text| text.parse::<IpAddr>().unwrap());
    let encapsulation = select(vec![
        Encapsulation::None,
        Encapsulation::Ipip(Mode::CrossSubnet),
        Encapsulation::Ipip(Mode::Always),
        Encapsulation::Vxlan(Mode::CrossSubnet),
    ]);
    let remote = (proptest::collection::vec(hop.clone(), 1..3), encapsulation).prop_map(
        |(next_hops, encapsulation)| Route::Remote {
            next_hops: next_hops.into(),
            encapsulation,
        },
    );
    let device = select(vec!["cali1", "cali2"]);
    let endpoint = (
        device.clone(),
        proptest::collection::btree_set(7..10u8, 1..3),
    )
        .prop_map(|(device, hosts)| {
            let endpoint = Endpoint {
                addresses: hosts.into_iter().map(|h| [10, 233, 1, h].into()).collect(),
                mac: [2, 0, 0, 0, 0, 7],
                ..Endpoint::default()
            };
            Change::SetEndpoint(device.into(), endpoint)
        });
    let tunnels = (any::<bool>(), any::<bool>()).prop_map(|(ipip, vxlan)| tunnels(ipip, vxlan));
    let gate = select(vec![Gate::Closed, Gate::LocalOnly, Gate::Open]);
    prop_oneof![
        4 => (prefix.clone(), remote).prop_map(|(prefix, route)| Change::SetRoute(prefix, route)),
        1 => prefix.clone().prop_map(|prefix| Change::SetRoute(prefix, Route::Blackhole)),
        2 => prefix.prop_map(Change::RemoveRoute),
        3 => endpoint,
        1 => device.prop_map(|device| Change::RemoveEndpoint(device.into())),
        2 => tunnels,
        1 => (hop.clone(), 1..3u8).prop_map(|(node, last)| Change::SetVtep(node, vtep(node, last))),
        1 => hop.prop_map(Change::RemoveVtep),
        1 => gate.prop_map(Change::SetGate),
    ]
}

fn tunnels(ipip: bool, vxlan: bool) -> Change {
    Change::SetTunnels(Box::new(Tunnels {
        ipip: ipip.then(|| IpipDevice {
            address: [10, 233, 1, 1].into(),
            mtu: None,
        }),
        vxlan: vxlan.then(|| crate::model::VxlanDevice {
            vni: 4096,
            port: 4789,
            address: [10, 233, 1, 2].into(),
            mac: [0x66; 6],
            local: [172, 18, 0, 1].into(),
            mtu: None,
        }),
        ..Tunnels::default()
    }))
}

/// No two nodes have the same tunnel address or MAC.
fn vtep(node: IpAddr, last: u8) -> Vtep {
    let IpAddr::V4(v4) = node else {
        panic!("{node} is not IPv4");
    };
    let [_, subnet, _, host] = v4.octets();
    Vtep {
        address: [10, subnet, host, last].into(),
        mac: [0x66, 0, 0, subnet, host, last],
    }
}

fn index_of(kernel: &FakeKernel, name: &str) -> Option<u32> {
    kernel.with(|state| {
        let found = state.links.values().find(|link| link.name == name);
        found.map(|link| link.index)
    })
}

fn through_spec() -> Spec {
    let way = through("172.18.0.254", 1);
    Spec::unicast(3, &"10.0.0.0/8".parse().unwrap(), way.hops)
}

fn neighbours(kernel: &FakeKernel) -> BTreeMap<NeighbourKey, String> {
    let show = |value: &NeighbourValue| format!("{value:?}");
    kernel.with(|state| {
        let all = state.neighbours.iter();
        all.map(|(key, value)| (*key, show(value))).collect()
    })
}

const PREFIXES: &[&str] = &[
    "10.233.1.0/26",
    "10.233.1.7/32",
    "10.233.1.8/32",
    "10.233.2.0/26",
    "10.233.3.0/26",
    "10.233.4.0/26",
];
