//! Who gets what, and how it looks.

use std::net::IpAddr;

use super::*;
use crate::policy::Policy;

#[test]
fn the_table_of_who_gets_what_is_the_one_above() {
    use SessionKind::{Client, External, Internal};
    let kinds = [External, Internal, Client];
    let table = [
        (None, [true, true, true]),
        (Some(External), [true, true, true]),
        (Some(Internal), [true, false, true]),
        (Some(Client), [true, true, true]),
    ];
    for (from, permitted) in table {
        let sender = from.map(facts);
        for (to, permitted) in kinds.into_iter().zip(permitted) {
            let is = permits(&terms(to), &v4(), &learned(), sender.as_ref());
            assert_eq!(is, permitted, "from {from:?} to {to:?}");
        }
    }
}

#[test]
fn reflection_notes_originator_and_cluster() {
    let sender = facts(SessionKind::Client);
    let out = outgoing(&terms(SessionKind::Client), &learned(), Some(&sender)).unwrap();
    assert_eq!(out.originator_id, Some(sender.router_id));
    assert_eq!(out.cluster_list, [CLUSTER]);
    assert_eq!(out.next_hop, learned().next_hop, "unchanged");
    let to = terms(SessionKind::Client);
    let onward = to.pass_on(
        Family::Ipv4Unicast,
        &to.signature(&v4()),
        &learned(),
        Some(&sender),
    );
    assert_eq!(onward, Ok(Onward::AsItCame(sender.router_id)), "kept once");
    let again = outgoing(
        &terms(SessionKind::Internal),
        &out,
        Some(&facts(SessionKind::Client)),
    );
    let again = again.unwrap();
    assert_eq!(
        again.originator_id,
        Some(sender.router_id),
        "the first one stays"
    );
    assert_eq!(again.cluster_list, [CLUSTER, CLUSTER]);
}

#[test]
fn what_an_external_peer_sent_goes_to_internal_ones_without_reflection_marks() {
    let sender = facts(SessionKind::External);
    let out = outgoing(&terms(SessionKind::Internal), &learned(), Some(&sender)).unwrap();
    assert_eq!((out.originator_id, out.cluster_list.len()), (None, 0));
    assert_eq!(
        (out.local_pref, out.med, out.next_hop),
        (Some(100), Some(5), learned().next_hop)
    );
}

#[test]
fn external_peers_get_our_as_in_front_and_nothing_that_is_internal() {
    let sender = facts(SessionKind::Client);
    let path = Attributes {
        local_pref: Some(200),
        originator_id: Some(CLUSTER),
        cluster_list: vec![CLUSTER],
        as_path: "(65001) 7".parse().unwrap(),
        ..learned()
    };
    let out = outgoing(&terms(SessionKind::External), &path, Some(&sender)).unwrap();
    assert_eq!(out.as_path.to_string(), "64512 7");
    assert_eq!(
        (out.local_pref, out.originator_id, out.cluster_list.len()),
        (None, None, 0)
    );
    assert_eq!(
        out.med, None,
        "a neighbour's MED is not for the neighbours beyond"
    );
    assert_eq!(out.next_hop, Some(IpAddr::V4(OWN)));
}

#[test]
fn our_own_med_goes_to_external_peers() {
    let out = outgoing(&terms(SessionKind::External), &local(), None).unwrap();
    assert_eq!((out.med, out.next_hop), (Some(5), Some(IpAddr::V4(OWN))));
}

#[test]
fn well_known_communities_are_obeyed_for_what_we_learned() {
    let with = |community| Attributes {
        communities: vec![7, community],
        ..learned()
    };
    let sender = facts(SessionKind::External);
    for (community, external, internal) in [
        (NO_EXPORT, false, true),
        (NO_EXPORT_SUBCONFED, false, true),
        (NO_ADVERTISE, false, false),
        (0xffff_0000, true, true),
    ] {
        let permit = |kind| permits(&terms(kind), &v4(), &with(community), Some(&sender));
        assert_eq!(
            (permit(SessionKind::External), permit(SessionKind::Internal)),
            (external, internal),
            "{community:x}"
        );
        let own = Attributes {
            communities: vec![community],
            ..local()
        };
        assert!(
            permits(&terms(SessionKind::External), &v4(), &own, None),
            "ours are for our peers"
        );
    }
}

#[test]
fn next_hops_are_as_the_mode_says() {
    let sender = facts(SessionKind::External);
    let theirs = learned().next_hop;
    let own = Some(IpAddr::V4(OWN));
    for (mode, external, internal) in [
        (NextHopMode::Auto, own, theirs),
        (NextHopMode::OwnAddress, own, own),
        (NextHopMode::Keep, theirs, theirs),
    ] {
        for (kind, wanted) in [
            (SessionKind::External, external),
            (SessionKind::Internal, internal),
        ] {
            let terms = Terms {
                next_hop: mode,
                ..terms(kind)
            };
            let out = outgoing(&terms, &learned(), Some(&sender)).unwrap();
            assert_eq!(out.next_hop, wanted, "{mode:?} {kind:?}");
            let out = outgoing(&terms, &local(), None).unwrap();
            assert_eq!(out.next_hop, own, "{mode:?} {kind:?}, a local path");
        }
    }
}

#[test]
fn without_a_next_hop_of_its_family_a_path_is_not_sent() {
    let mut terms = terms(SessionKind::External);
    terms.codec.families.push(Family::Ipv6Unicast);
    let v6 = "fd00:1::/64".parse().unwrap();
    assert_eq!(send(&terms, &v6, &local(), None), Err(Withheld::NextHop));
    terms.self_v6 = Some("fd00::1".parse().unwrap());
    assert!(permits(&terms, &v6, &local(), None));
}

#[test]
fn a_family_that_was_not_agreed_on_is_not_sent() {
    let v6 = "fd00::/64".parse().unwrap();
    assert!(!permits(&terms(SessionKind::Internal), &v6, &local(), None));
}

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLUSTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);

fn v4() -> IpNet {
    "10.1.0.0/26".parse().unwrap()
}

fn outgoing(terms: &Terms, attributes: &Attributes, sender: Sender<'_>) -> Option<Attributes> {
    send(terms, &v4(), attributes, sender).ok()
}

fn permits(terms: &Terms, prefix: &IpNet, path: &Attributes, sender: Sender<'_>) -> bool {
    send(terms, prefix, path, sender).is_ok()
}

fn send<'t>(
    terms: &'t Terms,
    prefix: &IpNet,
    path: &Attributes,
    sender: Sender<'_>,
) -> Result<Attributes, Withheld<'t>> {
    let (family, signature) = (Family::of(prefix), terms.signature(prefix));
    let sent = terms.disseminate(family, &signature, path, sender);
    let sent = sent.map(|outgoing| outgoing.attributes);
    // What the tables pass on comes to the same when it is written.
    let written = match terms.pass_on(family, &signature, path, sender) {
        Ok(Onward::AsItCame(sender)) => {
            let mut written = path.clone();
            terms.reflection(sender).apply(&mut written);
            Ok(written)
        }
        Ok(Onward::Changed(changed)) => Ok(changed),
        Err(withheld) => Err(withheld),
    };
    assert_eq!(written, sent);
    sent
}

fn facts(kind: SessionKind) -> PeerFacts {
    PeerFacts {
        long_lived: false,
        address: [10, 0, 0, 7].into(),
        router_id: Ipv4Addr::new(10, 0, 0, 7),
        kind,
    }
}

fn learned() -> Attributes {
    Attributes {
        med: Some(5),
        next_hop: Some([192, 0, 2, 7].into()),
        ..Attributes::default()
    }
}

fn local() -> Attributes {
    Attributes {
        med: Some(5),
        ..Attributes::default()
    }
}

fn terms(kind: SessionKind) -> Terms {
    Terms {
        behind_local_asn: None,
        role: None,
        long_lived_stale: LongLivedStale::Sent,
        kind,
        local_asn: 64512,
        cluster_id: CLUSTER,
        client_to_client: true,
        change_reflected: false,
        next_hop: NextHopMode::Auto,
        self_v4: Some(OWN),
        self_v6: None,
        self_link_local: None,
        policy: Policy::accept_all().in_no_session(),
        graceful_shutdown: false,
        paths_sent: PathsSent::Best,
        codec: Codec {
            families: vec![Family::Ipv4Unicast],
            ..Codec::initial()
        },
    }
}

#[test]
fn what_a_client_sent_goes_to_other_clients_unless_they_are_meshed() {
    let client = facts(SessionKind::Client);
    let meshed = Terms {
        client_to_client: false,
        ..terms(SessionKind::Client)
    };
    let why = send(&meshed, &v4(), &learned(), Some(&client));
    assert_eq!(why.unwrap_err(), Withheld::Meshed);
    for other in [SessionKind::Internal, SessionKind::External] {
        assert!(permits(&meshed, &v4(), &learned(), Some(&facts(other))));
    }
    assert!(permits(&meshed, &v4(), &learned(), None));
}
