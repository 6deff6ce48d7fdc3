//! What people see, and what is asked.

use clap::Parser;
use serde_json::json;

use super::*;
use crate::cli::{Cli, Command};

fn args(words: &[&str]) -> RoutesArgs {
    let line = ["caracalctl", "routes"].iter().chain(words);
    match Cli::try_parse_from(line).unwrap().command {
        Command::Routes(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_question_carries_peer_prefix_and_policy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("new.yaml");
    std::fs::write(
        &file,
        "default: reject\nrules:\n  - set: {med: add 10}\n    action: accept\n",
    )
    .unwrap();
    let asked = args(&[
        "--to",
        "192.0.2.7",
        "10.1.0.1/24",
        "--policy",
        file.to_str().unwrap(),
    ]);
    let (path, question) = question(&asked).unwrap();
    assert_eq!(path, "/v1/explain/export");
    assert_eq!(
        serde_json::to_value(question).unwrap(),
        json!({
            "peer": "192.0.2.7",
            "prefix": "10.1.0.0/24",
            "policy": {"default": "reject", "rules": [{"set": {"med": "add 10"}, "action": "accept"}]},
        })
    );
    let asked = args(&["--from", "192.0.2.7"]);
    assert_eq!(super::question(&asked).unwrap().0, "/v1/explain/import");
}

#[test]
fn a_policy_that_cannot_be_read_is_named() {
    let asked = args(&["--to", "192.0.2.7", "--policy", "/nowhere/new.yaml"]);
    let failure = question(&asked).unwrap_err();
    assert!(
        failure.words[0].starts_with("/nowhere/new.yaml: "),
        "{failure:?}"
    );
}

#[test]
fn each_path_has_its_reason() {
    let answer: Vec<Explained> = serde_json::from_value(json!([
        {
            "prefix": "10.1.0.0/24", "from": null, "accepted": true, "reason": "export policy, rule 1 \"local\"",
            "before": {"nextHop": null, "localPref": null, "med": null, "asPath": "", "origin": "igp",
                "communities": [], "originatorId": null, "clusterList": []},
            "after": {"nextHop": "192.0.2.1", "localPref": 100, "med": 5, "asPath": "", "origin": "igp",
                "communities": ["64512:1"], "originatorId": null, "clusterList": []},
        },
        {
            "prefix": "10.2.0.0/24", "from": "192.0.2.9", "accepted": false, "reason": "export policy, default",
            "before": {"nextHop": "192.0.2.9", "localPref": 100, "med": null, "asPath": "65001", "origin": "igp",
                "communities": [], "originatorId": null, "clusterList": []},
            "after": null,
        },
    ]))
    .unwrap();
    assert_eq!(
        table(&answer, false),
        "\
\x20   PREFIX        FROM        NEXT HOP    PREF   MED   AS PATH   WHY
+   10.1.0.0/24   local       192.0.2.1   100    5               export policy, rule 1 \"local\"
-   10.2.0.0/24   192.0.2.9   192.0.2.9   100    -     65001     export policy, default
"
    );
    assert!(table(&answer, true).contains("64512:1"));
}
