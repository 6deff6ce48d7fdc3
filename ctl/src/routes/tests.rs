//! Golden tables of routes.

use super::*;

fn path(peer: Option<&str>, next_hop: Option<&str>) -> Path {
    Path {
        peer: peer.map(|peer| peer.parse().unwrap()),
        next_hop: next_hop.map(|hop| hop.parse().unwrap()),
        best: false,
        multipath: false,
        stale: false,
        long_lived_stale: false,
        path_id: None,
        lost_because: None,
        local_pref: 100,
        as_path: String::new(),
        origin: "IGP".to_owned(),
        med: None,
        communities: vec!["64512:7".to_owned()],
        originator_id: None,
        cluster_list: vec!["1.1.1.1".parse().unwrap(), "2.2.2.2".parse().unwrap()],
    }
}

fn table() -> Vec<Route> {
    let best = Path {
        best: true,
        multipath: true,
        ..path(Some("172.31.0.2"), Some("172.31.0.2"))
    };
    let equal = Path {
        multipath: true,
        ..path(Some("172.31.0.3"), Some("172.31.0.3"))
    };
    let lost = Path {
        stale: true,
        as_path: "64999 65000".to_owned(),
        med: Some(5),
        lost_because: Some("longer AS_PATH (2 > 0)".to_owned()),
        ..path(Some("172.31.0.9"), Some("172.31.0.9"))
    };
    let local = Path {
        best: true,
        ..path(None, None)
    };
    vec![
        Route {
            prefix: "10.233.1.0/26".parse().unwrap(),
            paths: vec![local],
        },
        Route {
            prefix: "10.233.2.0/26".parse().unwrap(),
            paths: vec![best, equal, lost],
        },
        Route {
            prefix: "10.233.2.5/32".parse().unwrap(),
            paths: vec![path(Some("172.31.0.3"), Some("172.31.0.3"))],
        },
    ]
}

#[test]
fn every_path_has_a_mark_and_a_loser_its_reason() {
    assert_eq!(
        routes(&table(), false),
        "     PREFIX          NEXT HOP     FROM         PREF   MED   AS PATH       ORIGIN   LOST BECAUSE
*>   10.233.1.0/26   -            local        100    -                   IGP
*>   10.233.2.0/26   172.31.0.2   172.31.0.2   100    -                   IGP
*=                   172.31.0.3   172.31.0.3   100    -                   IGP
S                    172.31.0.9   172.31.0.9   100    5     64999 65000   IGP      longer AS_PATH (2 > 0)
*    10.233.2.5/32   172.31.0.3   172.31.0.3   100    -                   IGP
"
    );
    assert!(routes(&table(), true).contains("1.1.1.1 2.2.2.2"));
    assert_eq!(routes(&Vec::new(), false), "No routes.\n");
}

#[test]
fn a_prefix_is_itself_and_an_address_what_contains_it() {
    let prefixes = |wanted: &str| -> Vec<String> {
        select(table(), wanted)
            .unwrap()
            .iter()
            .map(|route| route.prefix.to_string())
            .collect()
    };
    assert_eq!(prefixes("10.233.2.0/26"), ["10.233.2.0/26"]);
    assert_eq!(prefixes("10.233.2.5/26"), ["10.233.2.0/26"]);
    assert_eq!(prefixes("10.233.2.5"), ["10.233.2.5/32", "10.233.2.0/26"]);

    let absent = select(table(), "192.0.2.1").unwrap_err();
    assert_eq!(absent.sort, Sort::NotFound);
    assert_eq!(absent.words, ["no route to 192.0.2.1"]);
    let wrong = select(table(), "n1").unwrap_err();
    assert_eq!(wrong.sort, Sort::Usage);
    assert_eq!(wrong.words, ["n1 is neither a prefix nor an address"]);
}

#[test]
fn the_fib_reads_as_ip_route_does() {
    let route = |prefix: &str, way: &str, state: &str, reason: Option<&str>| FibRoute {
        prefix: prefix.parse().unwrap(),
        way: way.to_owned(),
        metric: Some(1024),
        nexthop_id: way.starts_with("via").then_some(7),
        state: state.to_owned(),
        reason: reason.map(str::to_owned),
    };
    let table = vec![
        route("10.233.1.0/26", "blackhole proto 67", "installed", None),
        route(
            "10.233.1.2/32",
            "dev cali0123456789a scope link proto 67",
            "installed",
            None,
        ),
        route(
            "10.233.2.0/26",
            "via 172.31.0.2 dev eth0 proto 67",
            "installed",
            None,
        ),
        route(
            "10.233.3.0/26",
            "via 172.32.0.3 dev tunl0 onlink proto 67",
            "failed",
            Some("there is no device tunl0"),
        ),
    ];
    assert_eq!(
        fib(&table, false),
        "\
ROUTE                                                    STATE       REASON
blackhole 10.233.1.0/26 proto 67                         installed
10.233.1.2 dev cali0123456789a scope link proto 67       installed
10.233.2.0/26 via 172.31.0.2 dev eth0 proto 67           installed
10.233.3.0/26 via 172.32.0.3 dev tunl0 onlink proto 67   failed      there is no device tunl0
"
    );
    let wide = fib(&table, true);
    let lines: Vec<Vec<&str>> = wide
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["ROUTE", "METRIC", "NHID", "STATE", "REASON"]);
    assert_eq!(lines[1][4..], ["1024", "-", "installed"]);
    assert_eq!(lines[3][7..], ["1024", "7", "installed"]);
}

#[test]
fn containers_are_shortened_unless_there_is_room() {
    let table = vec![EndpointView {
        workload: "default/web-1".to_owned(),
        container_id: "0123456789abcdef".to_owned(),
        device: "cali0123456789a".to_owned(),
        addresses: vec!["10.233.1.2".parse().unwrap(), "fd00::2".parse().unwrap()],
    }];
    assert_eq!(
        endpoints(&table, false),
        "\
WORKLOAD        ADDRESSES            DEVICE            CONTAINER
default/web-1   10.233.1.2,fd00::2   cali0123456789a   0123456789ab
"
    );
    assert!(endpoints(&table, true).contains("0123456789abcdef"));
}
