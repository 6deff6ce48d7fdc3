//! RFC 9234 as tables.

use super::*;
use Role::{Customer, Peer, Provider, RouteServer, RouteServerClient};

const ALL: [Role; 5] = [Provider, Customer, RouteServer, RouteServerClient, Peer];

fn open(capabilities: Vec<Capability>) -> Open {
    Open {
        asn: 64512,
        hold_time_seconds: 90,
        router_id: [10, 0, 0, 2].into(),
        capabilities,
    }
}

#[test]
fn only_the_pairs_of_table_2_agree() {
    let pairs = [
        (Provider, Customer),
        (Customer, Provider),
        (RouteServer, RouteServerClient),
        (RouteServerClient, RouteServer),
        (Peer, Peer),
    ];
    for ours in ALL {
        for theirs in ALL {
            let open = open(vec![Capability::Role(theirs)]);
            let agreed = agree(ours, false, &open).is_ok();
            assert_eq!(agreed, pairs.contains(&(ours, theirs)), "{ours}, {theirs}");
        }
    }
}

#[test]
fn a_peer_that_says_nothing_is_refused_in_strict_mode_only() {
    let silent = open(Vec::new());
    assert_eq!(agree(Provider, false, &silent), Ok(()));
    assert_eq!(
        agree(Provider, true, &silent).unwrap_err(),
        "we are provider, and the peer does not say what it is"
    );
    let clear = open(vec![Capability::Role(Customer)]);
    assert_eq!(agree(Provider, true, &clear), Ok(()));
}

#[test]
fn a_peer_with_two_roles_or_an_unknown_one_is_refused() {
    let same = open(vec![Capability::Role(Customer), Capability::Role(Customer)]);
    assert_eq!(agree(Provider, true, &same), Ok(()));
    let two = open(vec![Capability::Role(Customer), Capability::Role(Peer)]);
    assert_eq!(
        agree(Provider, false, &two).unwrap_err(),
        "we are provider, so the peer must be customer, and it is peer"
    );
    let unknown = Capability::Unknown {
        code: capability_code::ROLE,
        value: vec![9],
    };
    assert!(agree(Provider, false, &open(vec![unknown])).is_err());
}

#[test]
fn otc_is_added_kept_and_judged_as_the_drawing_says() {
    const THEIRS: u32 = 65001;
    const OURS: u32 = 65002;
    const OTHER: u32 = 65003;
    // Our role; leaks without OTC, with the peer's AS, with another; what is taken without; sent with; sent without.
    let table = [
        (Provider, [false, true, true], None, true, Some(OURS)),
        (RouteServer, [false, true, true], None, true, Some(OURS)),
        (Customer, [false, false, false], Some(THEIRS), false, None),
        (
            RouteServerClient,
            [false, false, false],
            Some(THEIRS),
            false,
            None,
        ),
        (Peer, [false, false, true], Some(THEIRS), false, Some(OURS)),
    ];
    for (role, leaks, taken_without, goes_with, sent_without) in table {
        let is = [None, Some(THEIRS), Some(OTHER)].map(|otc| has_leaked(role, THEIRS, otc));
        assert_eq!(is, leaks, "{role}");
        assert_eq!(taken(role, THEIRS, None), taken_without, "{role}");
        assert_eq!(taken(role, THEIRS, Some(OTHER)), Some(OTHER), "{role}");
        assert_eq!(!is_only_for_customers(role), goes_with, "{role}");
        assert_eq!(sent(role, OURS, None), sent_without, "{role}");
        assert_eq!(sent(role, OURS, Some(OTHER)), Some(OTHER), "{role}");
    }
}
