//! Clusters as objects, and what is printed of them.

use serde_json::{Value, json};

use super::*;
use crate::cli::{Format, PlanArgs, TopologyArgs, View as Shown};
use crate::failure::Sort;

fn object(kind: Kind, name: &str, labels: &[(&str, &str)], spec: Value) -> Object {
    let metadata = caracal_datastore::Metadata {
        name: name.to_owned(),
        labels: labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..Default::default()
    };
    Object {
        key: Key::new(kind, name),
        metadata,
        spec,
        revision: None,
    }
}

/// `n1`, `n2`, … in zones `x` and `y` by turns.
fn nodes(count: u8) -> Objects {
    let node = |number: u8| {
        let zone = if number.is_multiple_of(2) { "y" } else { "x" };
        let spec = json!({"bgp": {"ipv4Address": format!("10.0.0.{number}/24")}});
        object(Kind::Node, &format!("n{number}"), &[("zone", zone)], spec)
    };
    (1..=count)
        .map(node)
        .map(|node| (node.key.clone(), node))
        .collect()
}

fn plan_args(file: Option<&std::path::Path>, output: Format) -> PlanArgs {
    PlanArgs {
        filename: file.map(std::path::Path::to_owned).into_iter().collect(),
        recursive: false,
        delete: Vec::new(),
        view: Shown { output },
    }
}

fn topology_args(output: Format) -> TopologyArgs {
    TopologyArgs {
        nodes: None,
        zones: None,
        among: None,
        reflectors: None,
        per_zone: None,
        step: None,
        view: Shown { output },
    }
}

/// What there is after `apply`.
fn applied(objects: &Objects, text: &str) -> Objects {
    let mut read = crate::manifests::Manifests::default();
    crate::manifests::take("test", text, &mut read);
    assert_eq!(read.faults, Vec::<String>::new(), "{text}");
    let mut after = objects.clone();
    for found in read.objects {
        let key = found.object.key.clone();
        let merged = match after.get(&key) {
            Some(current) => crate::resources::merged(current, &found.object),
            None => found.object,
        };
        after.insert(key, merged);
    }
    after
}

fn plan_of(objects: &Objects, text: &str, output: Format) -> Outcome {
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    std::fs::write(file.path(), text).unwrap();
    plan::run(objects, &plan_args(Some(file.path()), output), Vec::new()).unwrap()
}

#[test]
fn the_manifests_of_a_proposal_are_a_migration_that_the_plan_finds_nothing_wrong_with() {
    for (zones, per_zone) in [
        (None, None),
        (Some("zone"), Some(true)),
        (Some("zone"), Some(false)),
    ] {
        let mut objects = nodes(8);
        let mut args = topology_args(Format::Yaml);
        args.zones = zones.map(str::to_owned);
        args.per_zone = per_zone;
        args.reflectors = Some(2);
        let start = objects.clone();
        let mut replaced = 0;
        for step in 1..=3 {
            args.step = Some(step);
            let text = topology::of_nodes(&start, &args, Vec::new()).unwrap().text;
            let outcome = plan_of(&objects, &text, Format::Json);
            let said: Value = serde_json::from_str(&outcome.text).unwrap();
            assert_eq!(
                said["warnings"],
                json!([]),
                "step {step}: {text}\n{}",
                outcome.text
            );
            assert!(outcome.failure.is_none());
            let count = |fate: &str| said["counts"][fate].as_u64().unwrap_or(0);
            assert_eq!(
                (count("ended"), count("restarted")),
                (0, 0),
                "step {step}: {}",
                outcome.text
            );
            assert_eq!(
                step == 1,
                said["sessions"] == json!([]),
                "step {step}: {}",
                outcome.text
            );
            replaced += count("replaced");
            objects = applied(&objects, &text);
        }
        assert!(replaced > 0, "the mesh has ended");
        let outcome = plan::run(&objects, &plan_args(None, Format::Table), Vec::new()).unwrap();
        assert!(outcome.text.starts_with("Sessions: "), "{}", outcome.text);
        assert!(outcome.failure.is_none());
    }
}

#[test]
fn a_plan_says_session_by_session_what_will_be_and_warns_by_its_exit_code() {
    let text = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\nspec: {nodeToNodeMeshEnabled: false}\n";
    let outcome = plan_of(&nodes(2), text, Format::Table);
    assert_eq!(
        outcome.text,
        "\
SESSION   NODE   PEER   ADDRESS    TYPE                WHY
ended     n1     n2     10.0.0.2   node-to-node mesh   nodeToNodeMeshEnabled: false

Sessions: 1 ended.
Warning: 2 nodes are without any session: n1, n2
"
    );
    assert_eq!(outcome.failure.unwrap().sort, Sort::Worrying);
}

#[test]
fn what_would_be_deleted_is_named_and_has_to_be_there() {
    let mut objects = nodes(1);
    let tor = object(
        Kind::BGPPeer,
        "tor",
        &[],
        json!({"peerIP": "192.0.2.1", "asNumber": 65001}),
    );
    objects.insert(tor.key.clone(), tor);
    let mut args = plan_args(None, Format::Table);
    args.delete = vec!["bgppeer/tor".to_owned()];
    let outcome = plan::run(&objects, &args, Vec::new()).unwrap();
    assert!(
        outcome.text.contains("ended     n1     192.0.2.1"),
        "{}",
        outcome.text
    );
    for (named, sort) in [
        ("bgppeer/other", Sort::NotFound),
        ("tor", Sort::Usage),
        ("secret/x", Sort::Usage),
    ] {
        args.delete = vec![named.to_owned()];
        assert_eq!(
            plan::run(&objects, &args, Vec::new()).unwrap_err().sort,
            sort,
            "{named}"
        );
    }
}

#[test]
fn a_number_of_nodes_is_enough_for_a_proposal() {
    let args = topology_args(Format::Table);
    let mesh = topology::of_number(50, &args).unwrap();
    assert_eq!(
        mesh.text,
        "50 nodes: up to 100 a mesh is simplest, and no reflector can fail.\nMesh: 1225 sessions, 49 a node.\n"
    );
    let flat = topology::of_number(500, &args).unwrap();
    assert_eq!(
        flat.text,
        "\
500 nodes: one cluster of reflectors, with all of which every node has a session.
CLUSTER ID   ZONE   CLIENTS   REFLECTORS
244.0.0.1    all    498       node001, node002
Sessions: 997 instead of 124750; 2 a node, 499 a reflector at most.
`-o yaml` prints the manifests, step by step.
"
    );
    let mut zones = topology_args(Format::Json);
    zones.zones = Some("3".to_owned());
    let zonal = topology::of_number(3000, &zones).unwrap();
    let said: Value = serde_json::from_str(&zonal.text).unwrap();
    assert_eq!(said["clusters"].as_array().unwrap().len(), 3);
    zones.zones = Some("rack".to_owned());
    assert_eq!(
        topology::of_number(3000, &zones).unwrap_err().sort,
        Sort::Usage
    );
}
