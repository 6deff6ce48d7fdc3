//! Sessions and the paths that go over them.

use super::*;

#[test]
fn two_speakers_tell_each_other_their_prefixes() {
    let mut net = Net::mesh(2);
    net.originate(0, "10.233.0.0/26");
    net.originate(0, "fd00:10:233::/122");
    net.originate(1, "10.233.0.64/26");
    net.settle();
    let all = ["10.233.0.0/26", "10.233.0.64/26", "fd00:10:233::/122"];
    assert_eq!(net.prefixes(0), all);
    assert_eq!(net.prefixes(1), all);
    assert_eq!(
        net.nodes[1].speaker.next_hops(&prefix("10.233.0.0/26")),
        [address(0)]
    );
    assert_eq!(
        net.nodes[0].speaker.next_hops(&prefix("10.233.0.0/26")),
        [] as [std::net::IpAddr; 0]
    );
    net.withdraw(0, "10.233.0.0/26");
    net.settle();
    assert_eq!(net.prefixes(1), all[1..]);
}

#[test]
fn a_mesh_of_ten_settles_with_one_session_a_pair() {
    let mut net = Net::mesh(10);
    for node in 0..10 {
        net.originate(node, &format!("10.233.{node}.0/26"));
    }
    net.run_for(600);
    for node in 0..10 {
        assert_eq!(net.prefixes(node).len(), 10);
        for other in (0..10).filter(|&other| other != node) {
            let view = net.view(node, other);
            assert_eq!(
                (view.flaps, view.prefixes_received, view.prefixes_sent),
                (0, 1, 1),
                "{view:?}"
            );
        }
    }
}
