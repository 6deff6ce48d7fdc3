//! What `cleanup` leaves: nothing, in whatever way the kernel shows its routes.

use caracal_fib::{Config, cleanup};

use super::harness::{
    add_cali, blackhole, in_namespace, ip, ours, remote, settle, start, try_ip, workload,
};

/// `ip route flush proto 67` fails in one of the two: it names routes by all that is shown of them.
#[test]
fn routes_and_their_objects_go_with_and_without_the_compatible_way_of_showing_them() {
    for compat in ["1", "0"] {
        in_namespace(move || async move {
            std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", compat).unwrap();
            add_cali("cali1");
            ip("route add 10.77.0.0/16 via 172.18.0.9 proto static");
            ip("-6 route add blackhole fd00:77::/64 proto 68");
            let fib = start().await;
            fib.apply(vec![
                remote("10.233.2.0/26", &["172.18.0.2"]),
                remote("10.233.3.0/26", &["172.18.0.2"]),
                remote("10.233.4.0/26", &["172.18.0.2", "172.18.0.3"]),
                remote("10.233.5.0/26", &["2001:db8:18::2"]),
                remote("fd00:10:233:2::/122", &["2001:db8:18::2"]),
                remote("fd00:10:233:3::/122", &["2001:db8:18::2", "2001:db8:18::3"]),
                blackhole("10.233.1.0/26"),
                blackhole("fd00:10:233:1::/122"),
                workload("cali1", &["10.233.1.7", "fd00:10:233:1::7"]),
            ]);
            let status = settle(&fib).await;
            assert_eq!((status.actual, status.failed), (10, 0));
            drop(fib);
            let cleaned = cleanup(&Config::default(), false).await.unwrap();
            assert_eq!(cleaned.failures, [] as [&str; 0]);
            assert_eq!((cleaned.routes_v4, cleaned.routes_v6), (6, 4));
            assert!(cleaned.nexthops >= 6, "{cleaned:?}");
            assert_eq!((ours("-4"), ours("-6")), (vec![], vec![]));
            assert_eq!(try_ip("nexthop show proto 67"), Ok(String::new()));
            assert!(ip("route show").contains("10.77.0.0/16"));
            assert!(ip("-6 route show").contains("fd00:77::/64"));
        });
    }
}
