//! Local workloads.

use std::time::Duration;

use caracal_fib::{Change, FibError};

use crate::harness::*;

#[test]
fn a_workload_gets_its_routes_neighbours_and_sysctls() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7", "fd00:233::7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();

        assert_eq!(ours("-4"), ["10.233.1.7 dev cali1 scope link"]);
        assert_eq!(
            ours("-6"),
            ["fd00:233::7 dev cali1 metric 1024 pref medium"]
        );
        let neighbours = ip("neigh show dev cali1 nud permanent");
        assert!(neighbours.contains("10.233.1.7 lladdr 02:00:00:00:00:07 PERMANENT"));
        assert!(neighbours.contains("fd00:233::7 lladdr 02:00:00:00:00:07 PERMANENT"));
        for (path, value) in [
            ("ipv4/ip_forward", "1"),
            ("ipv4/conf/cali1/route_localnet", "1"),
            ("ipv4/neigh/cali1/proxy_delay", "0"),
            ("ipv4/conf/cali1/proxy_arp", "1"),
            ("ipv4/conf/cali1/forwarding", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            ("ipv6/conf/cali1/proxy_ndp", "1"),
            ("ipv6/conf/cali1/forwarding", "1"),
            ("ipv6/conf/cali1/accept_ra", "0"),
        ] {
            assert_eq!(sysctl(path), value, "{path}");
        }
        assert!(ip("-6 addr show dev cali1").contains("fe80::ecee:eeff:feee:eeee/64"));
        assert_eq!(fib.status().borrow().conditions, []);

        fib.apply(vec![Change::RemoveEndpoint("cali1".into())]);
        settle(&fib).await;
        assert_eq!(ours("-4"), [""; 0]);
        assert_eq!(ours("-6"), [""; 0]);
        assert_eq!(ip("neigh show dev cali1 nud permanent"), "");
    });
}

#[test]
fn a_workload_waits_for_its_device_and_is_served_when_it_comes() {
    in_namespace(|| async {
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7"]), open()]);
        let status = until(&fib, "waits", |s| s.failed == 1).await;
        assert_eq!((status.desired, status.pending, status.actual), (1, 1, 0));
        let error = fib
            .endpoint_settled("cali1", Duration::from_millis(10))
            .await
            .unwrap_err();
        assert!(matches!(error, FibError::Unsettled { .. }));
        assert!(
            error.to_string().contains("there is no device cali1"),
            "{error}"
        );

        let waiting = fib.clone();
        let settled =
            tokio::spawn(async move { waiting.endpoint_settled("cali1", PATIENCE).await });
        add_cali("cali1");
        settled.await.unwrap().unwrap();
        assert_eq!(ours("-4"), ["10.233.1.7 dev cali1 scope link"]);
    });
}

#[test]
fn a_workload_without_ipv6_cannot_advertise_itself_as_a_router() {
    in_namespace(|| async {
        add_cali("cali1");
        assert_eq!(sysctl("ipv6/conf/cali1/accept_ra"), "1");
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        assert_eq!(sysctl("ipv6/conf/cali1/accept_ra"), "0");
    });
}

#[test]
fn a_device_that_is_down_is_set_up_once() {
    in_namespace(|| async {
        add_cali("cali1");
        ip("link set cali1 down");
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();

        ip("link set cali1 down");
        until(&fib, "the route waits", |s| s.failed == 1).await;
        let routes = fib.routes().await.unwrap();
        assert_eq!(routes[0].reason.as_deref(), Some("device cali1 is down"));
        ip("link set cali1 up");
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        assert_eq!(ours("-4"), ["10.233.1.7 dev cali1 scope link"]);
        let neighbours = ip("neigh show dev cali1 nud permanent");
        assert!(neighbours.contains("10.233.1.7"), "{neighbours}");
    });
}

#[test]
fn a_device_made_anew_under_the_same_name_is_served_again() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        ip("link del cali1");
        add_cali("cali1");
        until_kernel("the route is back", || {
            ours("-4") == ["10.233.1.7 dev cali1 scope link"]
        })
        .await;
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        assert_eq!(sysctl("ipv4/conf/cali1/proxy_arp"), "1");
    });
}

#[test]
fn an_address_that_moves_between_devices_is_replaced() {
    in_namespace(|| async {
        add_cali("cali1");
        add_cali("cali2");
        let fib = start().await;
        fib.apply(vec![workload("cali1", &["10.233.1.7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        fib.apply(vec![
            workload("cali2", &["10.233.1.7"]),
            Change::RemoveEndpoint("cali1".into()),
        ]);
        fib.endpoint_settled("cali2", PATIENCE).await.unwrap();
        assert_eq!(ours("-4"), ["10.233.1.7 dev cali2 scope link"]);
        let status = settle(&fib).await;
        assert_eq!(status.writes, 2, "a replacement is one write");
    });
}

#[test]
fn sysctls_that_cannot_be_written_are_a_condition_and_not_a_failure() {
    in_namespace(|| async {
        add_cali("cali1");
        let fib = caracal_fib::Fib::start(caracal_fib::Config {
            sysctl_root: "/dev/null/sys".into(),
            ..Default::default()
        })
        .await
        .unwrap();
        fib.apply(vec![workload("cali1", &["10.233.1.7"])]);
        fib.endpoint_settled("cali1", PATIENCE).await.unwrap();
        let status = until(&fib, "condition", |s| !s.conditions.is_empty()).await;
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "SysctlReadOnly");
        assert!(sentence.contains("/dev/null/sys/net/ipv4/"), "{sentence}");
    });
}

fn sysctl(path: &str) -> String {
    let path = format!("/proc/sys/net/{path}");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .trim()
        .into()
}
