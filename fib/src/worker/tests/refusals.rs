//! Routes that the kernel refuses.

use super::*;

#[test]
fn one_refused_among_ten_thousand_costs_only_its_own_repetitions() {
    Bench::run(async |bench| {
        let bad = key("10.64.7.0/26");
        bench.kernel.with(|kernel| {
            kernel.refuse = Some(Box::new(move |write| {
                let is_bad = matches!(write, Write::Set { key, .. } if *key == bad);
                is_bad.then(|| refusal(libc::EINVAL, "Nexthop has invalid gateway"))
            }));
        });
        bench.apply((0..10_000).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 9_999);
        assert_eq!(bench.status().writes, 10_000);
        bench.wait_out(Duration::from_secs(10)).await;
        let repeated = bench.status().writes - 10_000;
        // After 0.1, 0.3, 0.7, 1.5, 3.1 and 6.3 seconds.
        assert!((1..=6).contains(&repeated), "{repeated}");
    });
}

#[test]
fn a_refused_route_holds_nobody_back_and_is_tried_again() {
    Bench::run(async |bench| {
        let bad = key("10.64.7.0/26");
        let mut left = 3;
        bench.kernel.with(|kernel| {
            kernel.refuse = Some(Box::new(move |write| {
                let Write::Set { key, .. } = write else {
                    return None;
                };
                (*key == bad && left > 0).then(|| {
                    left -= 1;
                    refusal(libc::EINVAL, "Nexthop has invalid gateway")
                })
            }));
        });
        bench.apply((0..20).map(|i| remote(i, 2)).collect());
        bench.settle().await;
        assert_eq!(bench.kernel.routes().len(), 19);
        let status = bench.status();
        assert_eq!((status.pending, status.failed, status.actual), (1, 1, 19));
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "RouteRefused");
        assert!(
            sentence.contains("10.64.7.0/26: Nexthop has invalid gateway"),
            "{sentence}"
        );
        bench.wait_out(Duration::from_secs(5)).await;
        assert_eq!(bench.kernel.routes().len(), 20);
        assert_eq!(bench.status().conditions, []);
        assert_eq!(bench.status().writes, 23);
    });
}
