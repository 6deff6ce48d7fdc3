//! What follows from two OPENs.

use super::*;

fn offer(families: &[Family]) -> Offer {
    Offer {
        local_asn: 64512,
        remote_asn: 64513.into(),
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        hold_time: Duration::from_secs(90),
        families: families.to_vec(),
        role: None,
        role_strict: false,
        add_path: AddPath::default(),
        graceful_restart: Some(Duration::from_secs(120)),
        restarting: false,
        long_lived: Vec::new(),
        extended_messages: true,
        extended_next_hop: false,
        hostname: None,
        software: None,
    }
}

/// The same thing seen from the other side.
fn mirror(families: &[Family]) -> Open {
    let router_id = Ipv4Addr::new(10, 0, 0, 2);
    Offer {
        local_asn: 64513,
        remote_asn: 64512.into(),
        router_id,
        ..offer(families)
    }
    .open()
}

/// Families of which paths are kept when the session is lost, whatever for how long.
fn kept(agreed: &Negotiated) -> Vec<Family> {
    let is_kept = |family: &Family| {
        let times = agreed.times_of_grace(*family);
        times.is_some_and(|(restart, stale)| !(restart + stale).is_zero())
    };
    agreed.families().iter().copied().filter(is_kept).collect()
}

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;

#[test]
fn families_are_those_of_both_in_our_order() {
    let families = |ours: &[Family], theirs: &[Family]| {
        offer(ours)
            .negotiate(&mirror(theirs))
            .unwrap()
            .codec
            .families
    };
    assert_eq!(families(&[V4, V6], &[V6, V4]), [V4, V6]);
    assert_eq!(families(&[V4, V6], &[V6]), [V6]);
}

#[test]
fn ipv4_is_implied_only_where_no_family_is_named() {
    let mut open = mirror(&[]);
    assert_eq!(
        offer(&[V4, V6]).negotiate(&open).unwrap().codec.families,
        [V4]
    );
    open.capabilities.push(Capability::Unknown {
        code: 1,
        value: vec![0, 25, 0, 65],
    });
    let refusal = offer(&[V4, V6]).negotiate(&open).unwrap_err();
    assert_eq!(
        refusal.reason,
        "no family in common: we offer ipv4-unicast and ipv6-unicast, the peer none that we know"
    );
    assert_eq!(
        (refusal.notification.code, refusal.notification.subcode),
        (2, 7)
    );
    assert_eq!(
        refusal.notification.data,
        [1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]
    );
}

#[test]
fn another_as_than_configured_is_bad_peer_as() {
    let refusal = offer(&[V4])
        .negotiate(&Open {
            asn: 7,
            ..mirror(&[V4])
        })
        .unwrap_err();
    assert_eq!(
        (refusal.notification.code, refusal.notification.subcode),
        (2, 2)
    );
    assert_eq!(refusal.reason, "the peer's AS is 7, configured is 64513");
}

#[test]
fn our_own_identifier_is_refused_within_our_as_only() {
    let ours = |open| Open {
        router_id: Ipv4Addr::new(10, 0, 0, 1),
        ..open
    };
    assert!(
        offer(&[V4]).negotiate(&ours(mirror(&[V4]))).is_ok(),
        "RFC 6286"
    );
    let internal = Offer {
        remote_asn: 64512.into(),
        ..offer(&[V4])
    };
    let refusal = internal.negotiate(&ours(internal.open())).unwrap_err();
    assert_eq!(
        (refusal.notification.code, refusal.notification.subcode),
        (2, 3)
    );
}

#[test]
fn the_smaller_hold_time_counts_and_zero_is_the_smallest() {
    for (theirs, agreed) in [(240, 90), (30, 30), (0, 0)] {
        let open = Open {
            hold_time_seconds: theirs,
            ..mirror(&[V4])
        };
        let negotiated = offer(&[V4]).negotiate(&open).unwrap();
        assert_eq!(negotiated.hold_time, Duration::from_secs(agreed));
        assert_eq!(negotiated.keepalive_time(), Duration::from_secs(agreed / 3));
    }
}

#[test]
fn graceful_restart_needs_both_and_is_for_negotiated_families() {
    let agreed = offer(&[V4]).negotiate(&mirror(&[V4, V6])).unwrap();
    assert_eq!(kept(&agreed), [V4]);
    assert!(agreed.notifications_are_graceful());
    let without = Offer {
        graceful_restart: None,
        ..offer(&[V4])
    };
    assert_eq!(
        without.negotiate(&mirror(&[V4])).unwrap().graceful_restart,
        None
    );
    let mut open = mirror(&[V4]);
    open.capabilities
        .retain(|c| !matches!(c, Capability::GracefulRestart { .. }));
    assert_eq!(kept(&offer(&[V4]).negotiate(&open).unwrap()), []);
}

#[test]
fn a_restart_time_of_zero_keeps_nothing() {
    let other = Offer {
        graceful_restart: Some(Duration::ZERO),
        ..offer(&[V4])
    };
    let open = Open {
        asn: 64513,
        router_id: Ipv4Addr::new(10, 0, 0, 2),
        ..other.open()
    };
    assert_eq!(kept(&offer(&[V4]).negotiate(&open).unwrap()), []);
}

#[test]
fn a_peer_with_two_octet_as_numbers_gets_them() {
    let mut open = mirror(&[V4]);
    assert!(offer(&[V4]).negotiate(&open).unwrap().codec.four_octet_as);
    open.capabilities
        .retain(|c| !matches!(c, Capability::FourOctetAs(_)));
    assert!(!offer(&[V4]).negotiate(&open).unwrap().codec.four_octet_as);
}

#[test]
fn our_open_says_that_forwarding_is_kept_and_whether_we_have_restarted() {
    for restarting in [false, true] {
        let open = Offer {
            restarting,
            ..offer(&[V4, V6])
        }
        .open();
        let wanted = Capability::GracefulRestart {
            restarted: restarting,
            notification: true,
            time_seconds: 120,
            families: vec![(V4, true), (V6, true)],
        };
        assert!(open.capabilities.contains(&wanted), "{open:?}");
    }
}

#[test]
fn add_path_is_agreed_where_one_side_sends_and_the_other_receives() {
    use crate::config::PathsSent;
    let both = [Family::Ipv4Unicast, Family::Ipv6Unicast];
    let with = |add_path| Offer {
        add_path,
        ..offer(&both)
    };
    let agreed = |ours: &Offer, theirs: &[(Family, AddPathMode)]| {
        let mut open = offer(&both).open();
        open.asn = ours.remote_asn.number(ours.local_asn).unwrap();
        open.router_id = Ipv4Addr::new(10, 0, 0, 2);
        open.capabilities.push(Capability::AddPath(theirs.to_vec()));
        let codec = ours.negotiate(&open).unwrap().codec;
        (codec.add_path_receive, codec.add_path_send)
    };
    let [v4, v6] = both;
    let theirs = [
        (v4, AddPathMode::Send),
        (v6, AddPathMode::Both),
        // Said before (RFC 7911 §4).
        (v4, AddPathMode::Both),
    ];
    let (receive, send) = (true, PathsSent::BestOf(2));
    let all = with(AddPath {
        receive,
        send,
        ..AddPath::default()
    });
    assert_eq!(agreed(&all, &theirs), (vec![v4, v6], vec![v6]));
    let receiver = with(AddPath {
        receive,
        ..AddPath::default()
    });
    assert_eq!(agreed(&receiver, &theirs), (vec![v4, v6], vec![]));
    assert!(
        receiver
            .open()
            .capabilities
            .contains(&Capability::AddPath(vec![
                (v4, AddPathMode::Receive),
                (v6, AddPathMode::Receive)
            ]))
    );
    let sender = with(AddPath {
        send,
        ..AddPath::default()
    });
    assert_eq!(agreed(&sender, &theirs), (vec![], vec![v6]));
    let nothing = with(AddPath::default());
    assert_eq!(agreed(&nothing, &theirs), (vec![], vec![]));
    assert!(
        !nothing
            .open()
            .capabilities
            .iter()
            .any(|one| matches!(one, Capability::AddPath(_)))
    );
}
