//! Golden reports of a node.

use caracal_agent_api::{Condition, FilterSummary, PeerErrors};

use super::*;

fn peer(address: &str, peer_type: &str, state: &str, error: Option<&str>) -> Peer {
    Peer {
        name: format!("Mesh_{}", address.replace(['.', ':'], "_")),
        peer_type: peer_type.to_owned(),
        address: address.parse().unwrap(),
        remote_asn: 64512,
        local_asn: 64512,
        state: state.to_owned(),
        state_seconds: 3_725,
        router_id: Some("172.31.0.2".parse().unwrap()),
        hold_time_seconds: Some(90),
        families: vec!["ipv4-unicast".to_owned(), "ipv6-unicast".to_owned()],
        prefixes_received: 12,
        prefixes_accepted: 11,
        prefixes_stale: 0,
        prefixes_sent: 3,
        bfd: Some("Up".into()),
        paths_refused: 0,
        by_family: Vec::new(),
        flaps: 1,
        capabilities: Vec::new(),
        hostname: None,
        software: None,
        messages_received: 400,
        messages_sent: 401,
        held: None,
        last_error: error.map(str::to_owned),
        last_error_seconds: error.map(|_| 240),
        errors: PeerErrors {
            connections_failed: 2,
            notifications_sent: [("Hold Timer Expired".to_owned(), 1)].into(),
            ..PeerErrors::default()
        },
    }
}

fn healthy() -> Status {
    Status {
        node: "n1".to_owned(),
        version: "0.1.0".to_owned(),
        uptime_seconds: 7_380,
        ipv4: Some("172.31.0.1/24".parse().unwrap()),
        ipv6: None,
        asn: 64512,
        router_id: Some("172.31.0.1".parse().unwrap()),
        cluster_id: None,
        ready: true,
        not_ready_because: Vec::new(),
        datastore_in_sync: true,
        peers_established: 1,
        peers_configured: 2,
        blocks: vec!["10.233.1.0/26".parse().unwrap()],
        endpoints: 2,
        fib: Some(FibSummary {
            desired: 5,
            actual: 5,
            ..FibSummary::default()
        }),
        filter: Some(FilterSummary {
            settled: true,
            masqueraded: 12,
            spoofed: 1,
            ..FilterSummary::default()
        }),
        conditions: Vec::new(),
        monitoring: None,
    }
}

fn report() -> NodeStatus {
    NodeStatus {
        status: healthy(),
        peers: vec![
            peer(
                "172.31.0.2",
                "node-to-node mesh",
                "Established",
                Some("hold timer expired"),
            ),
            peer(
                "172.31.9.9",
                "global",
                "Connect",
                Some("connection refused"),
            ),
        ],
    }
}

#[test]
fn a_reflector_is_told_as_one() {
    let mut report = report();
    report.status = Status {
        ipv4: None,
        cluster_id: Some("1.0.0.1".parse().unwrap()),
        blocks: Vec::new(),
        endpoints: 0,
        fib: None,
        filter: None,
        ..report.status
    };
    let words = status(&report, false);
    let first: Vec<&str> = words.lines().take(4).collect();
    assert_eq!(
        first,
        [
            "Route reflector n1 is ready; version 0.1.0 has been up for 2h3m.",
            "AS 64512, router ID 172.31.0.1, cluster ID 1.0.0.1",
            "1 of 2 peers established",
            "",
        ]
    );
    report.status.datastore_in_sync = false;
    let words = status(&report, false);
    assert!(
        words.contains("\nDatastore not in sync; 1 of 2 peers established\n"),
        "{words}"
    );
}

#[test]
fn a_node_that_reflects_says_its_cluster_id() {
    let mut report = report();
    report.status.cluster_id = Some("1.0.0.1".parse().unwrap());
    let words = status(&report, false);
    let expected = "AS 64512, router ID 172.31.0.1, cluster ID 1.0.0.1, address 172.31.0.1/24";
    assert_eq!(words.lines().nth(1), Some(expected));
}

#[test]
fn a_healthy_node_is_told_as_calicoctl_tells_it() {
    assert_eq!(
        status(&report(), false),
        "\
Node n1 is ready; agent 0.1.0 has been up for 2h3m.
AS 64512, router ID 172.31.0.1, address 172.31.0.1/24
Datastore in sync; 1 of 2 peers established; 2 endpoints, 1 block
Kernel: 5 of 5 routes; 0 pending, 0 failed, 0 stale
Filter: in force; 12 connections masqueraded, 1 packet spoofed and 0 looping dropped

IPv4 BGP status
+--------------+-------------------+-------+-------+-----------------------------+
| PEER ADDRESS | PEER TYPE         | STATE | SINCE | INFO                        |
+--------------+-------------------+-------+-------+-----------------------------+
| 172.31.0.2   | node-to-node mesh | up    | 1h2m  | Established                 |
| 172.31.9.9   | global            | start | 1h2m  | Connect: connection refused |
+--------------+-------------------+-------+-------+-----------------------------+

IPv6 BGP status
No IPv6 peers found.
"
    );
}

#[test]
fn tunnels_are_one_line_with_what_waits_for_them() {
    let tunnel = |device: &str, state: &str, reason: Option<&str>| Tunnel {
        device: device.to_owned(),
        state: state.to_owned(),
        address: Some("10.233.29.0".parse().unwrap()),
        reason: reason.map(str::to_owned),
    };
    let mut report = report();
    let fib = report.status.fib.as_mut().unwrap();
    fib.tunnels = vec![
        tunnel("tunl0", "retiring", None),
        tunnel("vxlan.calico", "failed", Some("no module")),
    ];
    fib.kept = 3;
    fib.objects = 2;
    fib.unconfirmed = 1;
    let text = status(&report, false);
    assert!(
        text.contains("\nKernel: 5 of 5 routes and 2 nexthop objects; 0 pending"),
        "{text}"
    );
    assert!(
        text.contains(
            "\nTunnels: tunl0 retiring (10.233.29.0), vxlan.calico failed (no module); 3 routes on another way than is \
             wanted; 1 route to nodes that name no address\n"
        ),
        "{text}"
    );
}

#[test]
fn a_node_in_trouble_says_why_before_anything_else() {
    let mut report = report();
    report.status.ready = false;
    report.status.not_ready_because = vec!["2 routes are pending".to_owned()];
    report.status.conditions = vec![Condition {
        name: "NoIpip".to_owned(),
        message: "the kernel has no ipip: 3 routes of pool default wait for tunl0".to_owned(),
    }];
    let text = status(&report, false);
    assert!(
        text.starts_with(
            "Node n1 is not ready; agent 0.1.0 has been up for 2h3m.\n  not ready: 2 routes are pending\n"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "\nCondition NoIpip: the kernel has no ipip: 3 routes of pool default wait for tunl0\n"
        ),
        "{text}"
    );
}

#[test]
fn a_reflector_has_no_kernel_to_tell_of() {
    let mut report = report();
    report.status.fib = None;
    assert!(!status(&report, false).contains("Kernel"));
}

#[test]
fn a_peer_that_is_held_says_why_and_for_how_long() {
    let mut report = report();
    report.peers[1].held = Some("administratively down: maintenance".to_owned());
    report.peers[1].state = "Idle".to_owned();
    let text = status(&report, false);
    assert!(
        text.contains("| Idle: administratively down: maintenance |"),
        "{text}"
    );
}

#[test]
fn ipv6_peers_have_a_table_of_their_own() {
    let mut report = report();
    report.peers = vec![peer("fd00::2", "global", "Idle", None)];
    let text = status(&report, true);
    assert!(
        text.contains("IPv4 BGP status\nNo IPv4 peers found.\n"),
        "{text}"
    );
    assert!(
        text.contains("| fd00::2      | Mesh_fd00__2 | 64512 | global    | down  | 1h2m  | Idle |"),
        "{text}"
    );
}

#[test]
fn peers_have_counters() {
    assert_eq!(
        peers(&report().peers, false),
        "\
NAME              ADDRESS      AS      STATE         SINCE   BFD   RECEIVED   ACCEPTED   SENT   FLAPS   LAST ERROR
Mesh_172_31_0_2   172.31.0.2   64512   Established   1h2m    Up    12         11         3      1       hold timer expired (4m0s ago)
Mesh_172_31_9_9   172.31.9.9   64512   Connect       1h2m    Up    12         11         3      1       connection refused (4m0s ago)
"
    );
    let wide = peers(&report().peers, true);
    assert!(wide.contains("ipv4-unicast,ipv6-unicast"), "{wide}");
    let errors = "connection_failed 2, notification_sent 1";
    assert!(wide.contains(errors), "{wide}");
    assert_eq!(peers(&Vec::new(), false), "No peers found.\n");
}

#[test]
fn who_watches_the_speaker_is_told_and_why_a_peer_is_held() {
    let mut report = report();
    let station = |last: u8, up, synchronized| caracal_agent_api::Station {
        address: ([192, 0, 2, last], 11019).into(),
        up,
        synchronized,
        connects: 1,
        overruns: u64::from(last) - 1,
        octets: 4096,
        last_error: Some("connection refused".to_owned()).filter(|_| !up),
    };
    report.status.monitoring = Some(Monitoring {
        stations: vec![
            station(1, true, true),
            station(2, true, false),
            station(3, false, false),
        ],
        mrt_octets: 512,
        mrt_errors: 0,
        overruns: 0,
    });
    report.peers[1].held = Some("administratively down: a new card".to_owned());
    let text = status(&report, false);
    for line in [
        "BMP 192.0.2.1:11019: up; 4096 octets\n",
        "BMP 192.0.2.2:11019: up, and is being told what there is; 4096 octets; let go 1 times, because it did not keep up\n",
        "BMP 192.0.2.3:11019: down: connection refused; 4096 octets; let go 2 times, because it did not keep up\n",
        "MRT: 512 octets written, 0 failures\n",
        "Connect: administratively down: a new card",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
