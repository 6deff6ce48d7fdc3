//! Changes of a cluster, and what is said of them. A session is one line: fate, ends, why.

use serde_json::json;

use super::*;
use crate::testing::Cluster;

fn lines(forecast: &Forecast) -> Vec<String> {
    let line = |session: &SessionForecast| {
        let SessionForecast {
            node,
            peer,
            fate,
            why,
            ..
        } = session;
        format!("{fate} {node} {peer}: {why}")
    };
    forecast.sessions.iter().map(line).collect()
}

fn between(before: &Cluster, after: &Cluster) -> Forecast {
    forecast(&before.0, &after.0, &Defaults::default(), usize::MAX)
}

/// Nodes a, b and c, and r.
fn plain() -> Cluster {
    Cluster::of(&["a", "b", "c", "r"])
}

fn reflector(cluster: Cluster, name: &str, address: u8, id: &str) -> Cluster {
    let bgp = json!({"ipv4Address": format!("10.0.0.{address}/24"), "routeReflectorClusterID": id});
    cluster.node(name, bgp, &[("rr", "true")])
}

fn to_reflectors(cluster: Cluster) -> Cluster {
    cluster.peer(
        "to-reflectors",
        json!({"nodeSelector": "!has(rr)", "peerSelector": "has(rr)"}),
    )
}

fn no_mesh(cluster: Cluster) -> Cluster {
    cluster.configuration("default", json!({"nodeToNodeMeshEnabled": false}))
}

#[test]
fn nothing_changes_where_nothing_is_changed() {
    let forecast = between(&plain(), &plain());
    assert!(forecast.is_empty(), "{forecast:?}");
    assert_eq!(forecast.counts, BTreeMap::from([(Fate::Kept, 6)]));
}

#[test]
fn from_mesh_to_reflectors_in_the_three_steps_of_a_safe_migration() {
    let asked = to_reflectors(plain());
    assert!(
        between(&plain(), &asked).is_empty(),
        "nobody is selected yet"
    );
    let reflecting = reflector(to_reflectors(plain()), "r", 4, "1.0.0.1");
    let step = between(&asked, &reflecting);
    assert_eq!(step.warnings, [""; 0]);
    assert_eq!(
        lines(&step),
        ["a", "b", "c"].map(|node| format!("changed {node} r: now from BGPPeer to-reflectors"))
    );
    assert_eq!(
        step.counts,
        BTreeMap::from([(Fate::Kept, 3), (Fate::Changed, 3)])
    );
    let end = no_mesh(reflector(to_reflectors(plain()), "r", 4, "1.0.0.1"));
    let step = between(&reflecting, &end);
    let why = "nodeToNodeMeshEnabled: false; it goes on until others bring what it brings";
    assert_eq!(
        lines(&step),
        [
            format!("replaced a b: {why}"),
            format!("replaced a c: {why}"),
            format!("replaced b c: {why}"),
        ]
    );
    assert_eq!(step.warnings, [""; 0]);
}

#[test]
fn back_to_the_mesh_in_one_step_leaves_nobody_who_reflects_until_the_mesh_is_up() {
    let reflected = || no_mesh(reflector(to_reflectors(plain()), "r", 4, "1.0.0.1"));
    let meshed = || {
        let cluster = to_reflectors(plain());
        cluster.node(
            "r",
            json!({"ipv4Address": "10.0.0.4/24"}),
            &[("rr", "true")],
        )
    };
    let step = between(&reflected(), &meshed());
    assert_eq!(step.warnings.len(), 1, "{:?}", step.warnings);
    assert!(
        step.warnings[0].starts_with("nobody reflects any more as soon as this is applied (r), "),
        "{:?}",
        step.warnings
    );

    // One after the other is as it should be.
    let both = || reflector(to_reflectors(plain()), "r", 4, "1.0.0.1");
    assert_eq!(between(&reflected(), &both()).warnings, [""; 0]);
    assert_eq!(between(&both(), &meshed()).warnings, [""; 0]);

    // And so is one of two reflectors that goes on.
    let two = reflector(reflected(), "c", 3, "1.0.0.1");
    let one = reflector(meshed(), "c", 3, "1.0.0.1");
    let warnings = between(&two, &one).warnings;
    assert!(
        !warnings.iter().any(|words| words.starts_with("nobody")),
        "{warnings:?}"
    );
}

#[test]
fn without_reflectors_the_end_of_the_mesh_is_the_end_of_everything() {
    let step = between(&plain(), &no_mesh(plain()));
    assert_eq!(lines(&step)[0], "ended a b: nodeToNodeMeshEnabled: false");
    assert_eq!(
        step.warnings,
        ["4 nodes are without any session: a, b, c, r"]
    );
    assert!(step.is_worrying());
}

#[test]
fn a_reflector_that_nobody_asks_for_and_nodes_that_it_leaves_alone_are_named() {
    let step = between(&plain(), &reflector(plain(), "r", 4, "1.0.0.1"));
    let why = "r is a route reflector, which has no part in the mesh";
    assert_eq!(
        lines(&step),
        ["a", "b", "c"].map(|node| format!("ended r {node}: {why}")),
        "r has nothing else, and its end is the worse"
    );
    assert_eq!(
        step.warnings,
        [
            "1 node is without any session: r",
            "route reflector r (cluster id 1.0.0.1) is nobody's: no session of it is with a client",
        ]
    );
}

#[test]
fn reflectors_with_one_cluster_id_and_different_clients_are_named() {
    let cluster = |id: &str| {
        let mut cluster = Cluster::of(&["a", "b"]);
        cluster = reflector(cluster, "r1", 11, "1.0.0.1");
        cluster = reflector(cluster, "r2", 12, id);
        cluster = no_mesh(cluster);
        cluster = cluster.peer(
            "a",
            json!({"node": "a", "peerIP": "10.0.0.11", "asNumber": 64512}),
        );
        cluster = cluster.peer(
            "b",
            json!({"node": "b", "peerIP": "10.0.0.12", "asNumber": 64512}),
        );
        cluster.peer(
            "rr",
            json!({"nodeSelector": "has(rr)", "peerSelector": "has(rr)"}),
        )
    };
    let nothing = Cluster::default();
    let one = between(&nothing, &cluster("1.0.0.1")).warnings;
    assert!(one[0].starts_with(
        "route reflectors r1 and r2 have one cluster id, 1.0.0.1, and not the same clients"
    ));
    assert_eq!(
        one[1],
        "routes of nodes do not get to other nodes, by no way of reflection: a → b, a → r2, b → a, b → r1"
    );
    let two = between(&nothing, &cluster("1.0.0.2")).warnings;
    assert_eq!(two.len(), 1, "{two:?}");
    assert!(two[0].starts_with("route reflectors r1 and r2 take each other for clients"));
}

#[test]
fn what_is_asked_for_at_one_end_and_what_does_not_agree_is_named() {
    let one_sided = no_mesh(plain()).peer(
        "one",
        json!({"nodeSelector": "all()", "peerIP": "10.0.0.2", "asNumber": 64512, "reversePeering": "Manual"}),
    );
    let warnings = between(&plain(), &one_sided).warnings;
    assert!(
        warnings[0].starts_with("1 node is without any session: b"),
        "{warnings:?}"
    );
    assert!(warnings[1].starts_with(
        "3 sessions are asked for at one end only, which will not come up: a → b, c → b, r → b"
    ));
    let other_as = no_mesh(plain())
        .node(
            "b",
            json!({"ipv4Address": "10.0.0.2/24", "asNumber": 65001}),
            &[],
        )
        .peer(
            "ab",
            json!({"node": "a", "peerIP": "10.0.0.2", "asNumber": 64512}),
        )
        .peer(
            "ba",
            json!({"node": "b", "peerIP": "10.0.0.1", "asNumber": 64512}),
        );
    let warnings = between(&plain(), &other_as).warnings;
    let wanted = "a and b do not agree on their AS numbers, and will have no session: a says 64512 and expects 64512, b says 65001 and expects 64512";
    assert!(
        warnings.iter().any(|warning| warning == wanted),
        "{warnings:?}"
    );
}

#[test]
fn what_is_said_in_open_restarts_a_session_and_policies_do_not() {
    let tor = |more: serde_json::Value| {
        let mut spec = json!({"peerIP": "192.0.2.1", "asNumber": 65001});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        Cluster::of(&["a"]).peer("tor", spec)
    };
    let before = tor(json!({}));
    let restarted = between(&before, &tor(json!({"keepaliveTime": "10s"})));
    assert_eq!(
        lines(&restarted),
        ["restarted a 192.0.2.1: holdTime changes"]
    );
    let changed = between(&before, &tor(json!({"numAllowedLocalASNumbers": 1})));
    assert_eq!(
        lines(&changed),
        ["changed a 192.0.2.1: allowOwnAs changes, under the session"]
    );
    let ended = between(&before, &Cluster::of(&["a"]));
    assert_eq!(
        lines(&ended),
        ["ended a 192.0.2.1: BGPPeer tor no longer asks for it"]
    );
}

#[test]
fn what_only_the_start_of_an_agent_brings_is_said() {
    let after = plain().configuration("default", json!({"asNumber": 64999}));
    let step = between(&plain(), &after);
    assert_eq!(
        step.restarts[0],
        "node a: its AS number becomes 64999 (64512 now), with the next start of its agent"
    );
    assert_eq!(step.counts, BTreeMap::from([(Fate::Restarted, 6)]));
}

#[test]
fn a_node_that_is_gone_ends_its_sessions_at_once() {
    let step = between(&plain(), &Cluster::of(&["a", "b"]));
    assert!(lines(&step).contains(&"ended a c: node c is gone".to_owned()));
}

#[test]
fn of_a_reason_as_many_sessions_are_listed_as_are_asked_for_and_all_are_counted() {
    let end = no_mesh(reflector(to_reflectors(plain()), "r", 4, "1.0.0.1"));
    let whole = between(&plain(), &end);
    assert_eq!((whole.sessions.len(), whole.more.len()), (6, 0));
    let short = forecast(&plain().0, &end.0, &Defaults::default(), 2);
    assert_eq!(short.counts, whole.counts);
    assert_eq!(short.warnings, whole.warnings);
    let first = |fate| {
        let mut of = whole
            .sessions
            .iter()
            .filter(|one| one.fate == fate)
            .cloned();
        [of.next(), of.next()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    let mut expected = [first(Fate::Changed), first(Fate::Replaced)].concat();
    expected.sort_by(|a, b| (&a.node, a.address).cmp(&(&b.node, b.address)));
    assert_eq!(short.sessions, expected);
    let more: Vec<_> = short
        .more
        .iter()
        .map(|more| (more.fate, more.count))
        .collect();
    assert_eq!(more, [(Fate::Changed, 1), (Fate::Replaced, 1)]);
}
