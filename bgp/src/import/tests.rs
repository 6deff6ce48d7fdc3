//! Each verdict, and that the first one counts.

use super::*;
use crate::policy::Policy;

fn importer(external_asn: Option<u32>) -> Importer {
    Importer {
        allow_own_as: 0,
        prepend: None,
        role: None,
        extended_next_hop: false,
        external_asn,
        own_asns: [64512, 64513],
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        cluster_id: Ipv4Addr::new(10, 0, 0, 2),
        own_addresses: [
            Some([10, 0, 0, 3].into()),
            None,
            Some("fd00::3".parse().unwrap()),
        ],
        policy: Policy::accept_all().in_no_session(),
        source: PathSource::Local,
        graceful_shutdown: false,
        honour_graceful_shutdown: true,
    }
}

fn good(path: &str) -> Attributes {
    Attributes {
        as_path: path.parse().unwrap(),
        next_hop: Some([192, 0, 2, 1].into()),
        ..Attributes::default()
    }
}

fn verdict(importer: &Importer, attributes: &Attributes) -> Verdict {
    let prefix = "10.1.0.0/24".parse().unwrap();
    let signature = importer.signature(&prefix);
    importer
        .judge(Family::Ipv4Unicast, &signature, attributes)
        .verdict
}

#[test]
fn a_good_path_is_eligible() {
    assert_eq!(verdict(&importer(None), &good("")), Verdict::Eligible);
    assert_eq!(verdict(&importer(Some(7)), &good("7 8")), Verdict::Eligible);
}

#[test]
fn an_external_path_must_begin_with_the_peers_as() {
    assert_eq!(verdict(&importer(Some(7)), &good("8 7")), Verdict::FirstAs);
    assert_eq!(verdict(&importer(Some(7)), &good("")), Verdict::FirstAs);
    assert_eq!(verdict(&importer(None), &good("8 7")), Verdict::Eligible);
}

#[test]
fn loops_are_seen() {
    assert_eq!(
        verdict(&importer(Some(7)), &good("7 64513 9")),
        Verdict::AsLoop
    );
    assert_eq!(
        verdict(&importer(None), &good("7 {64512}")),
        Verdict::AsLoop
    );
    let originator = Attributes {
        originator_id: Some(Ipv4Addr::new(10, 0, 0, 1)),
        ..good("")
    };
    assert_eq!(
        verdict(&importer(None), &originator),
        Verdict::OriginatorLoop
    );
    let cluster = Attributes {
        cluster_list: vec![Ipv4Addr::new(10, 0, 0, 2)],
        ..good("")
    };
    assert_eq!(verdict(&importer(None), &cluster), Verdict::ClusterLoop);
}

#[test]
fn we_are_not_our_own_next_hop() {
    let own = Attributes {
        next_hop: Some([10, 0, 0, 3].into()),
        ..good("")
    };
    assert_eq!(verdict(&importer(None), &own), Verdict::OwnNextHop);
}

#[test]
fn a_next_hop_must_be_of_the_prefixs_family() {
    let other = Attributes {
        next_hop: Some("fd00::9".parse().unwrap()),
        ..good("")
    };
    assert_eq!(verdict(&importer(None), &other), Verdict::NextHopFamily);
    let none = Attributes {
        next_hop: None,
        ..good("")
    };
    assert_eq!(verdict(&importer(None), &none), Verdict::NextHopFamily);
}

#[test]
fn policy_has_the_last_word_and_only_that() {
    let importer = Importer {
        policy: Policy::reject_all().in_no_session(),
        ..importer(None)
    };
    assert_eq!(verdict(&importer, &good("")), Verdict::Policy);
    assert_eq!(verdict(&importer, &good("64512")), Verdict::AsLoop);
}
