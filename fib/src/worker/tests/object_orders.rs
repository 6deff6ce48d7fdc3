//! News of what others did to a nexthop object arrive late, as those about routes ([`super::orders`]).

use super::orders::orders;
use super::*;
use crate::kernel::{Object, ObjectId, Spec};

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Wish(u8),
    Remove,
    /// The worker writes what is pending, and hears nothing.
    Turn,
    /// One event arrives.
    Hear,
    /// Someone else deletes the object.
    Delete,
    /// Or makes or replaces it, by one that looks like ours.
    Intrude(u8),
    /// Or by one of another protocol.
    Replace,
}

const ACTS: [Act; 7] = [
    Act::Wish(3),
    Act::Remove,
    Act::Turn,
    Act::Hear,
    Act::Delete,
    Act::Intrude(3),
    Act::Replace,
];

#[test]
fn news_of_objects_that_come_late_leave_nothing_and_lose_nothing() {
    for gate in [Gate::Closed, Gate::Open] {
        for (_, acts) in orders(&ACTS, Act::Turn) {
            play(&acts, gate.clone());
        }
    }
}

fn play(acts: &[Act], gate: Gate) {
    Bench::run(async |bench| {
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
                Act::Delete => bench.kernel.foreign_delete_object(ID),
                Act::Intrude(host) => bench.kernel.foreign_set_object(ID, object(67, host)),
                Act::Replace => bench.kernel.foreign_set_object(ID, object(3, 9)),
            }
        }
        bench.wait_out(Duration::from_secs(15)).await;
        let there = bench.kernel.routes().get(&key).cloned();
        let wanted = wished.map(|host| {
            let hops = [hop(host)].into_iter().collect();
            Spec::unicast(67, &key.prefix, hops)
        });
        assert_eq!(there, wanted, "{acts:?}");
        let status = bench.status();
        assert_eq!((status.pending, status.failed), (0, 0), "{acts:?}");
        let objects = bench.kernel.with(|kernel| kernel.objects.clone());
        let ours = objects.values().filter(|object| object.protocol == 67);
        let ours = ours.count();
        assert_eq!(status.objects, ours, "{acts:?}: {objects:?}");
        if open {
            let needed = usize::from(wished.is_some());
            assert_eq!(ours, needed, "{acts:?}: {objects:?}");
        }
    });
}

fn object(protocol: u8, host: u8) -> Object {
    Object::single(protocol, hop(host))
}

fn hop(host: u8) -> crate::kernel::Hop {
    crate::kernel::Hop {
        via: Some([172, 18, 0, host].into()),
        device: 1,
        onlink: false,
        weight: 0,
    }
}

const ID: ObjectId = 670_000_001;
