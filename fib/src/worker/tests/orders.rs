//! News of what others did arrive late: our own writes may have been made before, between or after. In whatever order, nothing
//! is lost, nothing is left, and what is believed is what is there.

use super::*;
use crate::kernel::{Hop, Spec};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Wish(u8),
    Remove,
    /// The worker writes what is pending, and hears nothing.
    Turn,
    /// One event arrives.
    Hear,
    /// Someone else deletes the route, whatever it is.
    Delete,
    /// Or has it replaced by one that looks like ours.
    Intrude(u8),
    /// Or by one of another protocol.
    Replace,
}

const ACTS: [Act; 8] = [
    Act::Wish(2),
    Act::Wish(3),
    Act::Remove,
    Act::Turn,
    Act::Hear,
    Act::Delete,
    Act::Intrude(2),
    Act::Replace,
];

#[test]
fn news_that_come_late_leave_nothing_and_lose_nothing() {
    for gate in [Gate::Closed, Gate::Open] {
        for (number, acts) in orders(&ACTS, Act::Turn) {
            play(&acts, gate.clone(), number % 3 == 0);
        }
    }
}

/// All orders of so many of these acts (`CARACAL_FIB_ORDERS`, or four), numbered. One of them makes no difference when it is
/// done twice in a row.
pub(super) fn orders<A: Copy + PartialEq>(
    acts: &[A],
    once: A,
) -> impl Iterator<Item = (usize, Vec<A>)> {
    let length = std::env::var("CARACAL_FIB_ORDERS").map_or(4, |text| text.parse().unwrap());
    let all = (0..acts.len().pow(length)).map(move |number| {
        let place = |i: u32| number / acts.len().pow(i) % acts.len();
        (number, (0..length).map(|i| acts[place(i)]).collect())
    });
    all.filter(move |(_, order): &(usize, Vec<A>)| !order.windows(2).any(|two| two == [once; 2]))
}

impl Bench {
    /// One event arrives.
    pub(super) fn hear(&mut self) {
        let event = self.kernel.with(|kernel| {
            let any = !kernel.events.is_empty();
            any.then(|| kernel.events.remove(0))
        });
        if let Some(event) = event {
            self.worker.handle_event(event, self.now);
        }
    }
}

/// Found by trying all of six.
#[test]
fn nor_do_these() {
    use Act::{Hear, Intrude, Remove, Turn, Wish};
    let acts = [Remove, Intrude(2), Turn, Wish(2), Hear, Remove];
    play(&acts, Gate::Closed, false);
}

/// Where routes are on nexthop objects, a route of others is never the same as ours.
fn play(acts: &[Act], gate: Gate, objects: bool) {
    let kernel = FakeKernel::default();
    let eth0 = kernel.add_link("eth0", LinkKind::Ordinary);
    kernel.add_address(eth0, "172.18.0.1/16");
    kernel.with(|kernel| kernel.no_objects = !objects);
    Bench::run_on(kernel, async |bench| {
        let key = key("10.64.1.0/26");
        let open = gate == Gate::Open;
        bench.apply(vec![remote(1, 2), Change::SetGate(gate)]);
        bench.settle().await;
        let mut wished = Some(2);
        for act in acts {
            match *act {
                Act::Wish(host) => {
                    bench.apply(vec![remote(1, host)]);
                    wished = Some(host);
                }
                Act::Remove => {
                    bench.apply(vec![Change::RemoveRoute(key.prefix)]);
                    wished = None;
                }
                Act::Turn => {
                    bench.worker.turn(bench.now).await;
                }
                Act::Hear => bench.hear(),
                Act::Delete => bench.kernel.foreign_delete(key),
                Act::Intrude(host) => bench.kernel.foreign_set(key, way(67, host)),
                Act::Replace => bench.kernel.foreign_set(key, way(4, 9)),
            }
        }
        bench.wait_out(Duration::from_secs(15)).await;
        let there = bench.kernel.routes().get(&key).cloned();
        let status = bench.status();
        if let Some(host) = wished {
            let holder = there.as_ref().is_some_and(|spec| spec.protocol == 4);
            let refused = holder && status.failed == 1;
            let right = there.as_ref() == Some(&way(67, host));
            assert!(right || refused, "{acts:?}: {there:?}, {status:?}");
        } else if open {
            let ours = there.as_ref().is_some_and(|spec| spec.protocol == 67);
            assert!(!ours, "{acts:?}: {there:?} is left, {status:?}");
        }
        let ours = there.iter().filter(|spec| spec.protocol == 67).count();
        assert_eq!(status.actual, ours, "{acts:?}: {there:?}, {status:?}");
        assert_eq!(status.pending, status.failed, "{acts:?}: {status:?}");
    });
}

fn way(protocol: u8, host: u8) -> Spec {
    let hop = Hop {
        via: Some([172, 18, 0, host].into()),
        device: 1,
        onlink: false,
        weight: 0,
    };
    Spec::unicast(protocol, &net("10.64.1.0/26"), [hop].into_iter().collect())
}
