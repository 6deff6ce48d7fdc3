//! One test a tie-break. Each says the candidates from best to worst with the reasons of the losers, and holds
//! for every order in which they may come.

use super::*;
use crate::wire::AsPath;

/// A path from an internal peer with this number as identifier and address.
fn internal(number: u8, attributes: Attributes) -> (Attributes, Verdict, Provenance) {
    let address = Ipv4Addr::new(10, 0, 0, number);
    let attributes = Attributes {
        next_hop: Some(address.into()),
        ..attributes
    };
    let from = Provenance::Peer {
        external: false,
        router_id: address,
        address: address.into(),
        path_id: 0,
    };
    (attributes, Verdict::Eligible, from)
}

fn external(number: u8, attributes: Attributes) -> (Attributes, Verdict, Provenance) {
    let (attributes, verdict, _) = internal(number, attributes);
    let address = Ipv4Addr::new(10, 0, 0, number);
    (
        attributes,
        verdict,
        Provenance::Peer {
            external: true,
            router_id: address,
            address: address.into(),
            path_id: 0,
        },
    )
}

fn with(change: impl FnOnce(&mut Attributes)) -> Attributes {
    let mut attributes = Attributes::default();
    change(&mut attributes);
    attributes
}

fn path(text: &str) -> Attributes {
    with(|a| a.as_path = text.parse::<AsPath>().unwrap())
}

/// For every order of the paths: `wanted` are the reasons in the order given here, and `equal` of the
/// paths, from the front, are chosen for multipath.
fn check(paths: &[(Attributes, Verdict, Provenance)], wanted: &[Option<&str>], equal: usize) {
    check_with(&EIGHT, paths, wanted, equal);
}

fn check_with(
    options: &Options,
    paths: &[(Attributes, Verdict, Provenance)],
    wanted: &[Option<&str>],
    equal: usize,
) {
    let mut orders = Vec::new();
    permutations(&mut (0..paths.len()).collect(), 0, &mut orders);
    for order in orders {
        let candidates: Vec<Candidate> = order
            .iter()
            .map(|&index| {
                let (attributes, verdict, provenance) = &paths[index];
                Candidate {
                    merits: attributes.into(),
                    verdict: *verdict,
                    provenance: *provenance,
                    long_lived_stale: false,
                }
            })
            .collect();
        let selection = select(&candidates, options);
        let ranked = rank(&candidates, options, 1);
        assert_eq!(ranked.first(), selection.chosen.first(), "{order:?}");
        let chosen: Vec<usize> = selection.chosen.iter().map(|&at| order[at]).collect();
        assert_eq!(chosen, (0..equal).collect::<Vec<_>>(), "{order:?}");
        for (at, &index) in order.iter().enumerate() {
            let reason = selection.lost[at].map(|reason| reason.to_string());
            assert_eq!(
                reason.as_deref(),
                wanted[index],
                "path {index} in {order:?}"
            );
        }
    }
}

fn permutations(order: &mut Vec<usize>, from: usize, all: &mut Vec<Vec<usize>>) {
    if from == order.len() {
        all.push(order.clone());
    }
    for next in from..order.len() {
        order.swap(from, next);
        permutations(order, from + 1, all);
        order.swap(from, next);
    }
}

#[test]
fn nothing_is_chosen_of_nothing() {
    check(&[], &[], 0);
}

#[test]
fn what_import_refused_is_not_chosen_even_alone() {
    let mut refused = internal(1, with(|a| a.local_pref = Some(900)));
    refused.1 = Verdict::AsLoop;
    check(&[refused.clone()], &[Some("loop: our AS is in AS_PATH")], 0);
    check(
        &[internal(2, path("")), refused],
        &[None, Some("loop: our AS is in AS_PATH")],
        1,
    );
}

#[test]
fn a_local_path_is_before_all_learned_ones() {
    let local = (Attributes::default(), Verdict::Eligible, Provenance::Local);
    let reason = Some("a local path is preferred");
    let learned = [
        internal(1, with(|a| a.local_pref = Some(900))),
        external(2, path("1")),
    ];
    check(
        &[local, learned[0].clone(), learned[1].clone()],
        &[None, reason, reason],
        1,
    );
}

#[test]
fn the_highest_local_pref_is_before_the_shortest_path_and_none_is_a_hundred() {
    check(
        &[
            internal(
                3,
                with(|a| (a.local_pref, a.as_path) = (Some(101), "1 2 3".parse().unwrap())),
            ),
            internal(2, path("")),
            internal(1, with(|a| a.local_pref = Some(99))),
        ],
        &[
            None,
            Some("lower LOCAL_PREF (100 against 101)"),
            Some("lower LOCAL_PREF (99 against 101)"),
        ],
        1,
    );
}

#[test]
fn a_the_shortest_as_path_wins_and_a_set_counts_as_one() {
    check(
        &[
            external(3, path("1 {2 3 4}")),
            external(2, path("1 2 3")),
            external(1, path("1 2 3 4")),
        ],
        &[
            None,
            Some("longer AS_PATH (3 against 2)"),
            Some("longer AS_PATH (4 against 2)"),
        ],
        1,
    );
}

#[test]
fn b_the_lowest_origin_wins() {
    check(
        &[
            external(3, path("1")),
            external(
                2,
                with(|a| (a.origin, a.as_path) = (Origin::Egp, "1".parse().unwrap())),
            ),
            external(
                1,
                with(|a| (a.origin, a.as_path) = (Origin::Incomplete, "1".parse().unwrap())),
            ),
        ],
        &[
            None,
            Some("higher ORIGIN (egp against igp)"),
            Some("higher ORIGIN (incomplete against igp)"),
        ],
        1,
    );
}

#[test]
fn c_the_lowest_med_wins_and_none_is_zero() {
    let med = |med| with(|a| (a.med, a.as_path) = (med, "7".parse().unwrap()));
    check(
        &[
            external(3, med(None)),
            external(2, med(Some(5))),
            external(1, med(Some(9))),
        ],
        &[
            None,
            Some("higher MULTI_EXIT_DISC (5 against 0)"),
            Some("higher MULTI_EXIT_DISC (9 against 0)"),
        ],
        1,
    );
}

#[test]
fn c_med_is_compared_only_with_the_same_neighbour_as() {
    // Pairwise comparison has no answer here: 1 beats 2 by identifier, 2 beats 3 by MED, 3 beats 1 by
    // identifier in any pairwise scheme that drops MED between ASes.
    let med = |asn: &str, med| with(|a| (a.med, a.as_path) = (Some(med), asn.parse().unwrap()));
    check(
        &[
            external(2, med("7", 0)),
            external(3, med("8", 100)),
            external(1, med("7", 10)),
        ],
        &[
            None,
            Some("higher BGP Identifier (10.0.0.3 against 10.0.0.2)"),
            Some("higher MULTI_EXIT_DISC (10 against 0)"),
        ],
        2,
    );
}

#[test]
fn c_paths_that_began_in_our_own_as_are_compared_with_one_another() {
    let med = |med| with(|a| a.med = Some(med));
    check(
        &[internal(2, med(1)), internal(1, med(2))],
        &[None, Some("higher MULTI_EXIT_DISC (2 against 1)")],
        1,
    );
}

#[test]
fn d_an_external_path_is_before_an_internal_one() {
    check(
        &[external(2, path("1")), internal(1, path("1"))],
        &[None, Some("an external path is preferred")],
        1,
    );
}

#[test]
fn f_the_lowest_identifier_wins_and_the_others_are_equal_for_multipath() {
    check(
        &[
            internal(1, path("")),
            internal(2, path("")),
            internal(10, path("")),
        ],
        &[
            None,
            Some("higher BGP Identifier (10.0.0.2 against 10.0.0.1)"),
            Some("higher BGP Identifier (10.0.0.10 against 10.0.0.1)"),
        ],
        3,
    );
}

#[test]
fn f_a_reflected_path_counts_with_its_originator() {
    let reflected = with(|a| {
        a.originator_id = Some(Ipv4Addr::new(10, 0, 0, 1));
        a.cluster_list = vec![Ipv4Addr::new(10, 0, 0, 9)];
    });
    check(
        &[internal(9, reflected), internal(2, path(""))],
        &[
            None,
            Some("higher BGP Identifier (10.0.0.2 against 10.0.0.1)"),
        ],
        2,
    );
}

#[test]
fn then_the_shortest_cluster_list_wins_and_what_has_the_same_next_hop_is_no_multipath() {
    let reflected = |clusters: usize| {
        with(|a| {
            a.originator_id = Some(Ipv4Addr::new(10, 0, 0, 1));
            a.cluster_list = vec![Ipv4Addr::new(10, 0, 0, 9); clusters];
        })
    };
    let mut paths = [internal(9, reflected(1)), internal(8, reflected(2))];
    for path in &mut paths {
        path.0.next_hop = Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
    }
    check(
        &paths,
        &[None, Some("longer CLUSTER_LIST (2 against 1)")],
        1,
    );
}

#[test]
fn g_the_lowest_peer_address_is_the_last_word() {
    let same_speaker = |number| {
        let (attributes, verdict, from) = internal(number, path(""));
        let Provenance::Peer {
            external, address, ..
        } = from
        else {
            unreachable!()
        };
        (
            attributes,
            verdict,
            Provenance::Peer {
                external,
                address,
                router_id: Ipv4Addr::LOCALHOST,
                path_id: 0,
            },
        )
    };
    check(
        &[same_speaker(2), same_speaker(10)],
        &[
            None,
            Some("higher peer address (10.0.0.10 against 10.0.0.2)"),
        ],
        2,
    );
}

#[test]
fn at_most_as_many_are_chosen_as_asked_for() {
    let paths: Vec<_> = (1..9).map(|number| internal(number, path(""))).collect();
    let candidate = |(attributes, verdict, provenance): &(Attributes, _, _)| Candidate {
        merits: attributes.into(),
        verdict: *verdict,
        provenance: *provenance,
        long_lived_stale: false,
    };
    let paths: &'static [(Attributes, Verdict, Provenance)] = paths.leak();
    let candidates: Vec<Candidate> = paths.iter().map(candidate).collect();
    for (max, count) in [(0, 1), (1, 1), (3, 3), (100, 8)] {
        let options = Options {
            multipath_internal: max,
            ..EIGHT
        };
        assert_eq!(select(&candidates, &options).chosen.len(), count);
    }
}

#[test]
fn c_med_of_different_neighbours_is_compared_where_the_operator_wants_it() {
    let med = |asn: &str, med| with(|a| (a.med, a.as_path) = (Some(med), asn.parse().unwrap()));
    let options = Options {
        always_compare_med: true,
        ..EIGHT
    };
    check_with(
        &options,
        &[external(3, med("8", 1)), external(1, med("7", 2))],
        &[None, Some("higher MULTI_EXIT_DISC (2 against 1)")],
        1,
    );
}

#[test]
fn a_long_lived_stale_path_is_worse_than_all_others_and_better_than_none() {
    let attributes = with(|a| a.local_pref = Some(900));
    let (_, verdict, provenance) = internal(1, path(""));
    let mut kept = Candidate {
        merits: (&attributes).into(),
        verdict,
        provenance,
        long_lived_stale: true,
    };
    let (longer, _, other) = internal(2, path("1 2 3"));
    let fresh = Candidate {
        merits: (&longer).into(),
        provenance: other,
        long_lived_stale: false,
        ..kept
    };
    let selection = select(&[kept, fresh], &EIGHT);
    assert_eq!(selection.chosen.as_slice(), [1]);
    assert_eq!(selection.lost[0], Some(Reason::LongLivedStale));
    assert_eq!(
        Reason::LongLivedStale.to_string(),
        "long-lived stale",
        "for people"
    );
    assert_eq!(select(&[kept], &EIGHT).chosen.as_slice(), [0]);
    kept.long_lived_stale = false;
    assert_eq!(select(&[kept, fresh], &EIGHT).chosen.as_slice(), [0]);
}

#[test]
fn paths_of_one_peer_differ_in_their_identifiers_at_last() {
    let numbered = |wanted: u32, hop: u8| {
        let mut path = internal(1, path(""));
        path.0.next_hop = Some(IpAddr::V4(Ipv4Addr::new(10, 9, 0, hop)));
        if let Provenance::Peer { path_id, .. } = &mut path.2 {
            *path_id = wanted;
        }
        path
    };
    check(
        &[numbered(3, 2), numbered(7, 1)],
        &[None, Some("higher path identifier (7 against 3)")],
        2,
    );
}

#[test]
fn multipath_has_a_maximum_each_for_external_and_internal_paths() {
    let options = Options {
        multipath_external: 2,
        multipath_internal: 1,
        ..EIGHT
    };
    let later = |best| {
        let text = format!("higher BGP Identifier (10.0.0.{best} against 10.0.0.1)");
        Some(String::leak(text) as &str)
    };
    let external: Vec<_> = (1..4).map(|number| external(number, path("1"))).collect();
    check_with(&options, &external, &[None, later(2), later(3)], 2);
    let internal: Vec<_> = (1..4).map(|number| internal(number, path("1"))).collect();
    check_with(&options, &internal, &[None, later(2), later(3)], 1);
}

#[test]
fn without_relax_multipath_wants_the_neighbour_as_of_the_best() {
    let paths = [
        external(1, path("7 9")),
        external(3, path("7 8")),
        external(2, path("8 9")),
    ];
    let reasons = [
        None,
        Some("higher BGP Identifier (10.0.0.3 against 10.0.0.1)"),
        Some("higher BGP Identifier (10.0.0.2 against 10.0.0.1)"),
    ];
    let strict = Options {
        multipath_relax: false,
        ..EIGHT
    };
    check_with(&strict, &paths, &reasons, 2);
    let by_identifier = [paths[0].clone(), paths[2].clone(), paths[1].clone()];
    check(&by_identifier, &[reasons[0], reasons[2], reasons[1]], 3);
}

#[test]
fn a_rank_is_the_choice_among_those_that_are_left() {
    // The path with the lowest identifier is hidden by the MED of another, and comes second for it.
    let med = |asn: &str, med| with(|a| (a.med, a.as_path) = (Some(med), asn.parse().unwrap()));
    let mut refused = internal(1, path(""));
    refused.1 = Verdict::Policy;
    let paths = [
        refused,
        external(3, med("8", 100)),
        external(1, med("7", 10)),
        external(2, med("7", 0)),
    ];
    let candidates: Vec<Candidate> = paths
        .iter()
        .map(|(attributes, verdict, provenance)| Candidate {
            merits: attributes.into(),
            verdict: *verdict,
            provenance: *provenance,
            long_lived_stale: false,
        })
        .collect();
    assert_eq!(rank(&candidates, &EIGHT, 9).as_slice(), [3, 2, 1]);
    assert_eq!(rank(&candidates, &EIGHT, 2).as_slice(), [3, 2]);
    assert!(rank(&candidates, &EIGHT, 0).is_empty());
}

/// Multipath of up to eight.
const EIGHT: Options = Options {
    always_compare_med: false,
    multipath_external: 8,
    multipath_internal: 8,
    multipath_relax: true,
};
