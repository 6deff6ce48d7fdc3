//! How often the kernel is asked for the way to next hops that are not on our links, and of which it need not be.

use super::*;
use crate::kernel::Spec;

#[test]
fn a_change_asks_again_only_for_the_next_hops_that_it_may_concern() {
    Bench::run(async |bench| {
        let eth1 = bench.kernel.add_link("eth1", LinkKind::Ordinary);
        bench.kernel.add_address(eth1, "172.30.0.1/24");
        let cali1 = bench.kernel.add_link("cali1", LinkKind::Ordinary);
        routed(bench, "192.168.0.0/24", "172.18.0.254", 1);
        routed(bench, "192.168.1.0/24", "172.30.0.254", eth1);
        bench.apply((0..200).map(|i| behind(i, 0)).collect());
        bench.apply((200..300).map(|i| behind(i, 1)).collect());
        assert_eq!(lookups(bench).await, 300);
        assert_eq!(bench.status().actual, 300);

        routed(bench, "192.0.2.0/24", "172.18.0.254", 1);
        bench.kernel.add_address(eth1, "172.31.0.1/24");
        bench.kernel.set_up(cali1, false);
        bench.kernel.set_up(cali1, true);
        let mtu = DeviceChange::SetMtu(1, 1400);
        bench.kernel.clone().change(&mtu).await.unwrap();
        assert_eq!(lookups(bench).await, 100, "those by eth1");

        routed(bench, "192.168.0.0/25", "172.18.0.253", 1);
        assert_eq!(lookups(bench).await, 127, "hosts 1 to 127");
        bench.kernel.set_up(eth1, false);
        assert_eq!(lookups(bench).await, 100);
        bench.kernel.set_up(eth1, true);
        assert_eq!(
            lookups(bench).await,
            300,
            "any of them may be reached better"
        );
    });
}

#[test]
fn a_default_route_that_never_rests_is_followed_once_a_second() {
    Bench::run(async |bench| {
        routed(bench, "0.0.0.0/0", "172.18.0.254", 1);
        bench.apply((0..100).map(|i| behind(i, 0)).collect());
        assert_eq!(lookups(bench).await, 100);
        for i in 0..100 {
            routed(
                bench,
                "0.0.0.0/0",
                ["172.18.0.253", "172.18.0.254"][i % 2],
                1,
            );
            bench.wait_out(Duration::from_millis(100)).await;
        }
        let asked = lookups(bench).await;
        assert!((1000..=1200).contains(&asked), "{asked}");
        assert_eq!(bench.status().pending, 0);
    });
}

#[test]
fn next_hops_that_are_still_to_be_asked_for_are_not_forgotten_when_all_others_are_asked_again() {
    Bench::run(async |bench| {
        routed(bench, "0.0.0.0/0", "172.18.0.254", 1);
        bench.apply(vec![behind(0, 0)]);
        bench.settle().await;
        routed(bench, "0.0.0.0/0", "172.18.0.253", 1);
        bench.settle().await;
        bench.apply((1..200).map(|i| behind(i, 0)).collect());
        // Meanwhile all that were known are to be asked again.
        bench.worker.turn(bench.now).await;
        bench.now += Duration::from_secs(1);
        lookups(bench).await;
        let status = bench.status();
        assert_eq!((status.actual, status.pending), (200, 0));
    });
}

/// Routes over a device by name are found without looking at all the others.
#[test]
fn wishes_over_a_device_are_known_by_its_name() {
    Bench::run(async |bench| {
        let prefix = |i: u32| net(&format!("10.64.{i}.0/26"));
        let over = |i: u32, devices: &[&str]| {
            let hops = devices
                .iter()
                .map(|d| ("fe80::1".parse().unwrap(), (*d).into()));
            let next_hops = hops.collect();
            Change::SetRoute(prefix(i), Route::Links { next_hops })
        };
        bench.apply(vec![
            over(1, &["eth0"]),
            over(2, &["eth0", "eth1"]),
            remote(3, 2),
        ]);
        let known = |bench: &Bench| -> Vec<(String, Vec<IpNet>)> {
            let over = bench.worker.wishes.over_links.iter();
            let mut known: Vec<_> = over
                .map(|(device, prefixes)| (device.clone(), prefixes.iter().copied().collect()))
                .collect();
            known.sort();
            known
        };
        let both = vec![prefix(1), prefix(2)];
        let expected = [("eth0".into(), both), ("eth1".into(), vec![prefix(2)])];
        assert_eq!(known(bench), expected);
        bench.apply(vec![over(2, &["eth1"]), Change::RemoveRoute(prefix(1))]);
        assert_eq!(known(bench), [("eth1".into(), vec![prefix(2)])]);
        bench.apply(vec![remote(2, 2)]);
        assert_eq!(known(bench), []);
    });
}

/// How often the kernel was asked since the last time, when it is quiet.
async fn lookups(bench: &mut Bench) -> usize {
    bench.wait_out(Duration::from_secs(2)).await;
    bench
        .kernel
        .with(|kernel| std::mem::take(&mut kernel.lookups))
}

/// A route to a node of its own, in the subnet of this number.
fn behind(i: u32, subnet: u8) -> Change {
    let next_hop = [192, 168, subnet, (i + 1) as u8].into();
    Change::SetRoute(
        net(&format!("10.{}.{}.0/26", 64 + i / 256, i % 256)),
        Route::Remote {
            next_hops: smallvec![next_hop],
            encapsulation: Encapsulation::None,
        },
    )
}

/// A route of the host.
fn routed(bench: &Bench, prefix: &str, via: &str, device: u32) {
    let spec = Spec::unicast(3, &net(prefix), through(via, device).hops);
    bench.kernel.foreign_set(Key::new(net(prefix), 0), spec);
}
