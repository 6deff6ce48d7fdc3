//! What the plugin says without touching the kernel: versions, errors, exit codes.

use crate::agent::FakeAgent;
use crate::support::{Call, Outcome, config};
use serde_json::{Value, json};

fn call(command: &str, config: Value) -> Outcome {
    Call {
        node: None,
        command,
        container: "c1",
        netns: "/run/netns/does-not-exist",
        config,
    }
    .run()
}

#[test]
fn version_lists_what_it_speaks_in_the_callers_version() {
    let outcome = call("VERSION", json!({"cniVersion": "0.4.0"}));
    assert_eq!(
        outcome.fine().json(),
        json!({"cniVersion": "0.4.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]})
    );
}

#[test]
fn an_unknown_version_is_code_1() {
    let (code, msg) = call("ADD", json!({"cniVersion": "9.9.9", "name": "pods"})).error();
    assert_eq!(code, 1);
    assert!(msg.contains("cniVersion 9.9.9 is not supported"), "{msg}");
}

#[test]
fn bad_json_is_code_6_and_a_bad_command_code_4() {
    assert_eq!(call("ADD", json!("text")).error().0, 6);
    let (code, msg) = call("ATTACH", json!({})).error();
    assert_eq!(code, 4);
    assert!(msg.contains("CNI_COMMAND ATTACH"), "{msg}");
}

#[test]
fn commands_do_not_exist_before_their_version() {
    for (command, version, ok) in [
        ("CHECK", "0.3.1", "0.4.0"),
        ("GC", "1.0.0", "1.1.0"),
        ("STATUS", "1.0.0", "1.1.0"),
    ] {
        let (code, msg) = call(command, json!({"cniVersion": version, "name": "pods"})).error();
        assert_eq!(code, 1);
        assert_eq!(
            msg,
            format!("{command} does not exist in cniVersion {version}, only from {ok} on")
        );
    }
}

#[test]
fn a_missing_namespace_is_code_4_and_costs_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let agent = FakeAgent::start(folder.path(), |_, _| (200, json!({})));
    let (code, msg) = call("ADD", config(folder.path())).error();
    assert_eq!(code, 4);
    assert_eq!(
        msg,
        "CNI_NETNS /run/netns/does-not-exist cannot be opened: no such file or directory"
    );
    assert_eq!(agent.asked(), []);
}

#[test]
fn the_nodes_own_namespace_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = Call {
        node: None,
        command: "ADD",
        container: "c1",
        netns: "/proc/self/ns/net",
        config: config(folder.path()),
    }
    .run();
    assert_eq!(
        outcome.error(),
        (
            4,
            "CNI_NETNS /proc/self/ns/net is the node's own network namespace".to_owned()
        )
    );
}

#[test]
fn status_is_code_50_while_no_pod_can_be_added() {
    let folder = tempfile::tempdir().unwrap();
    let (code, msg) = call("STATUS", config(folder.path())).error();
    assert_eq!(code, 50);
    assert!(
        msg.starts_with("network pods: no pod can be added now: no agent on ")
            && msg.contains("agent.sock"),
        "{msg}"
    );

    let agent = FakeAgent::start(folder.path(), |_, _| {
        (503, json!({"error": "datastore not in sync"}))
    });
    assert_eq!(
        call("STATUS", config(folder.path())).error(),
        (
            50,
            "network pods: no pod can be added now: datastore not in sync".to_owned()
        )
    );
    drop(agent);

    let _agent = FakeAgent::start(folder.path(), |_, _| (200, json!({})));
    assert_eq!(call("STATUS", config(folder.path())).fine().stdout, "");
}

#[test]
fn gc_without_a_list_of_attachments_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let agent = FakeAgent::start(folder.path(), |_, _| (200, json!({})));
    let (code, msg) = call("GC", config(folder.path())).error();
    assert_eq!(code, 7);
    assert_eq!(msg, "network config: pods has no cni.dev/valid-attachments");
    assert_eq!(agent.asked(), []);
}

#[test]
fn an_agent_that_dies_in_the_middle_is_away_not_nonsense() {
    let folder = tempfile::tempdir().unwrap();
    let listener =
        std::os::unix::net::UnixListener::bind(folder.path().join("agent.sock")).unwrap();
    let dying = std::thread::spawn(move || drop(listener.accept()));
    let (code, msg) = call("STATUS", config(folder.path())).error();
    dying.join().unwrap();
    assert_eq!(code, 50);
    assert!(msg.contains("no agent on"), "{msg}");
}

#[test]
fn help_is_there_behind_a_command_too() {
    for words in [
        &["--help"] as &[&str],
        &["install", "--help"],
        &["uninstall", "-h"],
    ] {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_caracal-cni"))
            .args(words)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{words:?}: {text}");
        assert!(
            text.contains("\n  caracal-cni install ["),
            "{words:?}: {text}"
        );
    }
}
