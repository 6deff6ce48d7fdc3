//! What goes on, and until when.

use super::*;

type Links = BTreeMap<IpAddr, Link>;
type States = BTreeMap<IpAddr, LinkState>;

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

/// Internal sessions with nodes `n1`, `n2`, …
fn links(nodes: &[u8]) -> Links {
    let link = |&last: &u8| {
        let link = Link {
            internal: true,
            client: false,
            node: Some(format!("n{last}")),
        };
        (address(last), link)
    };
    nodes.iter().map(link).collect()
}

fn up(only_here: usize) -> LinkState {
    LinkState {
        established: true,
        ready: true,
        paths: 5,
        only_here,
    }
}

fn set(states: &mut States, nodes: &[u8], state: LinkState) {
    states.extend(nodes.iter().map(|last| (address(*last), state)));
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kept(addresses: &BTreeSet<IpAddr>) -> Vec<u8> {
    let last = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(_) => 0,
    };
    addresses.iter().map(last).collect()
}

/// From a mesh with 1, 2 and 3 to reflectors 8 and 9, at second 0, with the mesh up.
fn to_reflectors() -> (Transition, States) {
    let mut transition = Transition::default();
    let goes_on = transition.follow(seconds(0), &links(&[1, 2, 3]), &links(&[8, 9]), |_| true);
    assert_eq!(kept(&goes_on), [1, 2, 3]);
    let mut states = States::new();
    set(&mut states, &[1, 2, 3], up(2));
    (transition, states)
}

/// What goes on when the same configuration is looked at again.
fn again(transition: &mut Transition, now: u64) -> Vec<u8> {
    let last: Links = links(&kept(&transition.leaving()))
        .into_iter()
        .chain(links(&[8, 9]))
        .collect();
    kept(&transition.follow(seconds(now), &last, &links(&[8, 9]), |_| true))
}

#[test]
fn a_mesh_goes_on_until_its_prefixes_have_come_from_a_reflector() {
    let (mut transition, mut states) = to_reflectors();
    assert!(
        transition.look(seconds(1), &states),
        "there is something to say"
    );
    assert!(
        transition
            .words_now()
            .unwrap()
            .starts_with("sessions with 10.0.0.1, 10.0.0.2, 10.0.0.3 are no longer")
    );
    assert!(!transition.look(seconds(2), &states), "and nothing more");
    let opening = LinkState {
        established: true,
        ..LinkState::default()
    };
    set(&mut states, &[8], opening);
    set(&mut states, &[1, 2, 3], up(0));
    transition.look(seconds(3), &states);
    assert_eq!(
        again(&mut transition, 3),
        [1, 2, 3],
        "End-of-RIB has not come"
    );
    set(&mut states, &[8], up(0));
    set(&mut states, &[2], up(1));
    assert!(transition.look(seconds(4), &states));
    assert_eq!(again(&mut transition, 4), [2], "one prefix has not come");
    set(&mut states, &[2], up(0));
    assert!(transition.look(seconds(5), &states));
    assert_eq!(again(&mut transition, 5), [0; 0]);
    assert_eq!((transition.look_in(), transition.words_now()), (None, None));
}

#[test]
fn a_prefix_that_nobody_else_brings_is_waited_for_no_longer_than_patience_lasts() {
    let (mut transition, mut states) = to_reflectors();
    set(&mut states, &[8], up(0));
    transition.look(PATIENCE - seconds(1), &states);
    assert_eq!(again(&mut transition, 1), [1, 2, 3]);
    assert!(transition.look(PATIENCE, &states));
    assert_eq!(again(&mut transition, 2), [0; 0]);
}

#[test]
fn what_works_is_kept_for_as_long_as_nothing_of_the_new_is_up_and_this_is_said() {
    let (mut transition, mut states) = to_reflectors();
    assert!(transition.look(PATIENCE * 3, &states));
    assert_eq!(again(&mut transition, 0), [1, 2, 3]);
    let said = transition.words_now().unwrap();
    assert!(
        said.contains("because none of those in their place (10.0.0.8, 10.0.0.9) has been up"),
        "{said}"
    );
    set(&mut states, &[9], up(0));
    assert!(transition.look(PATIENCE * 4, &states));
    assert_eq!(again(&mut transition, 0), [0; 0]);
}

#[test]
fn an_operator_who_takes_the_change_back_has_what_there_was() {
    let (mut transition, states) = to_reflectors();
    transition.look(seconds(1), &states);
    let both: Links = links(&[1, 2, 3, 8, 9]);
    let goes_on = transition.follow(seconds(2), &both, &links(&[1, 2, 3]), |_| true);
    assert_eq!(kept(&goes_on), [8, 9], "and the way back is the same");
    set(&mut states.clone(), &[1], up(0));
    transition.look(seconds(2), &states);
    let last: Links = links(&[1, 2, 3, 8, 9]);
    let goes_on = transition.follow(seconds(3), &last, &links(&[1, 2, 3]), |_| true);
    assert_eq!(kept(&goes_on), [0; 0], "they never were up");
}

#[test]
fn a_node_that_is_gone_and_a_session_that_is_down_hold_nothing_up() {
    let mut transition = Transition::default();
    let goes_on = transition.follow(seconds(0), &links(&[1, 2]), &links(&[8]), |node| {
        node != "n1"
    });
    assert_eq!(kept(&goes_on), [2]);
    let mut states = States::new();
    set(
        &mut states,
        &[2],
        LinkState {
            paths: 1,
            ..LinkState::default()
        },
    );
    transition.look(seconds(0), &states);
    assert_eq!(
        kept(&transition.leaving()),
        [2],
        "its paths are kept over its restart"
    );
    assert!(transition.look(seconds(0), &States::new()));
    assert_eq!(again(&mut transition, 0), [0; 0]);
}

#[test]
fn external_peers_end_at_once_and_a_router_only_goes_on_where_another_takes_its_place() {
    let router = |internal| Link {
        internal,
        client: false,
        node: None,
    };
    let at = |last, internal| Links::from([(address(last), router(internal))]);
    let follow = |last: &Links, planned: &Links| {
        kept(&Transition::default().follow(seconds(0), last, planned, |_| true))
    };
    assert_eq!(follow(&at(1, false), &at(2, false)), [0; 0]);
    assert_eq!(follow(&at(1, true), &Links::new()), [0; 0]);
    assert_eq!(follow(&at(1, true), &at(2, true)), [1]);
}

#[test]
fn the_last_internal_session_waits_a_moment_for_the_next_manifest() {
    let mut transition = Transition::default();
    transition.follow(seconds(0), &links(&[1]), &Links::new(), |_| true);
    let mut states = States::new();
    set(&mut states, &[1], up(1));
    transition.look(SETTLE - seconds(1), &states);
    assert_eq!(again(&mut transition, 9), [1], "and here it is");
    transition.look(SETTLE * 2, &states);
    assert_eq!(
        again(&mut transition, 20),
        [1],
        "so that it waits for this one"
    );
    let mut nothing = Transition::default();
    nothing.follow(seconds(0), &links(&[1]), &Links::new(), |_| true);
    nothing.look(SETTLE, &states);
    let goes_on = nothing.follow(SETTLE, &links(&[1]), &Links::new(), |_| true);
    assert_eq!(kept(&goes_on), [0; 0]);
}

#[test]
fn a_client_leaves_by_itself() {
    let client = Links::from([(
        address(1),
        Link {
            internal: true,
            client: true,
            node: Some("n1".to_owned()),
        },
    )]);
    let mut transition = Transition::default();
    transition.follow(seconds(0), &client, &Links::new(), |_| true);
    let mut states = States::new();
    set(&mut states, &[1], up(0));
    transition.look(LINGER - seconds(1), &states);
    assert_eq!(
        kept(&transition.follow(seconds(1), &client, &Links::new(), |_| true)),
        [1]
    );
    states.clear();
    transition.look(LINGER - seconds(1), &states);
    assert!(
        transition
            .follow(seconds(1), &client, &Links::new(), |_| true)
            .is_empty()
    );
    transition.follow(seconds(0), &client, &Links::new(), |_| true);
    set(&mut states, &[1], up(0));
    transition.look(LINGER, &states);
    assert!(
        transition
            .follow(LINGER, &client, &Links::new(), |_| true)
            .is_empty()
    );
}

#[test]
fn families_are_looked_at_one_by_one() {
    let v6 = |last: u16| -> IpAddr { [0xfd00, 0, 0, 0, 0, 0, 0, last].into() };
    let link = links(&[1])[&address(1)].clone();
    let dual = |last: u8| {
        Links::from([
            (address(last), link.clone()),
            (v6(last.into()), link.clone()),
        ])
    };
    let mut transition = Transition::default();
    transition.follow(seconds(0), &dual(1), &dual(8), |_| true);
    let states = States::from([(address(1), up(0)), (v6(1), up(0)), (address(8), up(0))]);
    transition.look(seconds(1), &states);
    let last: Links = dual(1).into_iter().chain(dual(8)).collect();
    let goes_on = transition.follow(seconds(1), &last, &dual(8), |_| true);
    assert_eq!(goes_on, BTreeSet::from([v6(1)]));
}
