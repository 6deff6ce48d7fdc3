//! caracalctl as a person or a script sees it: a process, its output and its exit code.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

mod addresses;
#[path = "../../../cni/tests/plugin/agent.rs"]
mod agent;
mod diags;
mod with_etcd;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use agent::FakeAgent;
use serde_json::{Value, json};

/// Exit code, standard output, standard error.
fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    run_with(folder, args, "")
}

fn run_with(folder: &Path, args: &[&str], input: &str) -> (i32, String, String) {
    let mut child = command(folder)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end without reading.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caracalctl"));
    command
        .env_clear()
        .env("CARACAL_SOCKET", folder.join("agent.sock"))
        .env("CARACAL_DATASTORE", folder.join("store"));
    command
}

/// An agent that answers with a small node.
fn kind(path: &str, _body: &Value) -> (u16, Value) {
    let reply = match path {
        "/v1/status" => json!({
            "node": "n1", "version": "0.1.0", "uptimeSeconds": 5, "ipv4": "172.31.0.1/24", "ipv6": null,
            "asn": 64512, "routerId": "172.31.0.1", "ready": true, "notReadyBecause": [],
            "datastoreInSync": true, "peersEstablished": 0, "peersConfigured": 0, "blocks": [],
            "endpoints": 0, "fib": null, "conditions": [],
        }),
        "/v1/routes" => json!([{"prefix": "10.233.1.0/26", "paths": []}]),
        "/v1/peers" | "/v1/fib" | "/v1/endpoints" => json!([]),
        other => return (404, json!({"error": format!("{other}: no such request")})),
    };
    (200, reply)
}

#[test]
fn commands_about_the_node_ask_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let agent = FakeAgent::start(folder.path(), kind);
    for (args, line) in [
        (
            vec!["node", "status"],
            "Node n1 is ready; agent 0.1.0 has been up for 5s.",
        ),
        (vec!["peers"], "No peers found."),
        (vec!["fib"], "No routes."),
        (vec!["endpoints"], "No endpoints."),
        (vec!["version"], "Client version: 0.1.0"),
    ] {
        let (exit, stdout, stderr) = run(folder.path(), &args);
        assert_eq!((exit, stderr.as_str()), (0, ""), "{args:?}");
        assert_eq!(stdout.lines().next(), Some(line), "{args:?}");
    }
    let asked: Vec<String> = agent.asked().into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        asked,
        [
            "/v1/status",
            "/v1/peers",
            "/v1/peers",
            "/v1/fib",
            "/v1/endpoints",
            "/v1/status"
        ]
    );
    let (_, stdout, _) = run(folder.path(), &["node", "status", "-o", "json"]);
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["status"]["node"], "n1");
    let (_, stdout, _) = run(folder.path(), &["version", "-o", "yaml"]);
    assert_eq!(stdout, "client: \"0.1.0\"\nagent: \"0.1.0\"\nnode: n1\n");
}

#[test]
fn exit_codes_mean_something() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock").display().to_string();
    // 4: nobody there, and which socket.
    let (exit, stdout, stderr) = run(folder.path(), &["peers"]);
    assert_eq!((exit, stdout.as_str()), (4, ""));
    assert_eq!(
        stderr,
        format!("caracalctl: no agent on {socket}: no such file or directory\n")
    );
    let (exit, stdout, _) = run(folder.path(), &["version"]);
    assert_eq!((exit, stdout.as_str()), (4, "Client version: 0.1.0\n"));
    assert_eq!(run(folder.path(), &["version", "--client"]).0, 0);
    let (exit, _, stderr) = run(folder.path(), &["get", "nodes"]);
    assert_eq!(exit, 4);
    assert!(
        stderr.starts_with("caracalctl: datastore ") && stderr.contains("/store: "),
        "{stderr}"
    );
    // 2: usage.
    assert_eq!(run(folder.path(), &["frobnicate"]).0, 2);
    assert_eq!(run(folder.path(), &[]).0, 2);
    // 3: not found; 1: refused.
    let _agent = FakeAgent::start(folder.path(), kind);
    let (exit, _, stderr) = run(folder.path(), &["routes", "10.9.9.9"]);
    assert_eq!(
        (exit, stderr.as_str()),
        (3, "caracalctl: no route to 10.9.9.9\n")
    );
    assert_eq!(run(folder.path(), &["routes", "n1"]).0, 2);
}

#[test]
fn an_agent_that_cannot_now_is_unavailable_and_one_that_refuses_is_a_failure() {
    for (status, code) in [(503, 4), (400, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let _agent = FakeAgent::start(folder.path(), move |_, _| {
            (status, json!({"error": "not now"}))
        });
        let (exit, _, stderr) = run(folder.path(), &["fib"]);
        assert_eq!((exit, stderr.as_str()), (code, "caracalctl: not now\n"));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let _agent = FakeAgent::start(folder.path(), kind);
    for args in [vec!["node", "status"], vec!["--help"]] {
        let mut child = command(folder.path())
            .args(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn help_teaches_by_examples() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        vec!["--help"],
        vec!["apply", "--help"],
        vec!["ipam", "show", "--help"],
        vec!["get", "--help"],
        vec!["create", "--help"],
        vec!["replace", "--help"],
        vec!["patch", "--help"],
        vec!["delete", "--help"],
        vec!["label", "--help"],
        vec!["validate", "--help"],
        vec!["ipam", "split", "--help"],
        vec!["datastore", "export", "--help"],
        vec!["datastore", "import", "--help"],
        vec!["completion", "--help"],
    ] {
        let (exit, stdout, _) = run(folder.path(), &args);
        assert_eq!(exit, 0);
        assert!(stdout.contains("Examples:\n  caracalctl "), "{stdout}");
    }
}

const POOL: &str = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: default-ipv4-ippool
spec:
  cidr: 10.233.0.0/16
  ipipMode: CrossSubnet
  natOutgoing: true
";

#[test]
fn resources_live_in_a_folder_and_need_no_agent() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("store")).unwrap();
    let run = |args: &[&str], input: &str| run_with(folder.path(), args, input);

    let (exit, stdout, stderr) = run(&["apply", "-f", "-"], POOL);
    assert_eq!(
        (exit, stdout.as_str(), stderr.as_str()),
        (0, "IPPool default-ipv4-ippool created\n", "")
    );
    let (_, stdout, _) = run(&["apply", "-f", "-"], POOL);
    assert_eq!(stdout, "IPPool default-ipv4-ippool unchanged\n");
    let (_, stdout, _) = run(
        &["apply", "-f", "-"],
        &POOL.replace("CrossSubnet", "Always"),
    );
    assert_eq!(stdout, "IPPool default-ipv4-ippool configured\n");

    let (_, stdout, _) = run(&["get", "pools"], "");
    assert_eq!(
        stdout,
        "NAME                  CIDR            SELECTOR\ndefault-ipv4-ippool   10.233.0.0/16   all()\n"
    );
    let (_, stdout, _) = run(&["get", "ippool", "default-ipv4-ippool", "-o", "json"], "");
    let object: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(object["spec"]["ipipMode"], "Always");
    let (_, stdout, _) = run(&["ipam", "show"], "");
    assert!(
        stdout.contains("| IP Pool  | 10.233.0.0/16 | 65536     | 0 (0%)     | 65536 (100%) |"),
        "{stdout}"
    );

    let (exit, stdout, stderr) = run(&["get", "ippool", "other"], "");
    assert_eq!(
        (exit, stdout.as_str(), stderr.as_str()),
        (3, "", "caracalctl: IPPool other does not exist\n")
    );
    let (exit, stdout, _) = run(&["delete", "ippool", "default-ipv4-ippool"], "");
    assert_eq!(
        (exit, stdout.as_str()),
        (0, "IPPool default-ipv4-ippool deleted\n")
    );
    let (exit, _, _) = run(&["delete", "ippool", "default-ipv4-ippool"], "");
    assert_eq!(exit, 3);
    let (exit, _, _) = run(&["delete", "-f", "-", "--skip-not-exists"], POOL);
    assert_eq!(exit, 0);
    let (_, stdout, _) = run(&["get", "pools"], "");
    assert_eq!(stdout, "No IPPool found.\n");
}

#[test]
fn a_wrong_manifest_is_named_with_its_line_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("store")).unwrap();
    let text = format!(
        "{POOL}---\n{}",
        POOL.replace("10.233.0.0/16", "10.0.0.1/16")
    );
    let (exit, stdout, stderr) = run_with(folder.path(), &["apply", "-f", "-"], &text);
    assert_eq!((exit, stdout.as_str()), (1, ""));
    assert!(
        stderr
            .starts_with("caracalctl: standard input:15: IPPool default-ipv4-ippool: spec.cidr: "),
        "{stderr}"
    );
    let (_, stdout, _) = run(folder.path(), &["get", "pools", "-o", "name"]);
    assert_eq!(stdout, "");
    let (exit, _, stderr) = run(folder.path(), &["get", "poles"]);
    assert_eq!(exit, 2);
    assert!(
        stderr.starts_with("caracalctl: there is no kind \"poles\"; known are Node, "),
        "{stderr}"
    );
}

#[test]
fn validate_tells_all_faults_with_file_and_line_and_needs_no_datastore() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.yaml");
    std::fs::write(&good, POOL).unwrap();
    let good = good.to_str().unwrap();
    let (exit, stdout, stderr) = run(folder.path(), &["validate", "-f", good]);
    assert_eq!(
        (exit, stdout.as_str(), stderr.as_str()),
        (0, "1 valid object in 1 text: no faults\n", "")
    );
    for (content, words) in [
        ("spec:\n\tcidr: a", ":2: not YAML: "),
        ("a: 1\na: 2\n", "duplicate mapping key"),
        ("", "no objects in "),
        ("--- \n# nothing\n", "no objects in "),
        ("just text", "this is not an object with apiVersion"),
        ("kind: IPPool\n", "apiVersion: is missing"),
        (
            "apiVersion: projectcalico.org/v3\nkind: Pool\nmetadata: {name: a}\n",
            ":2: kind: there is no kind \"Pool\"",
        ),
        ("\u{0}\u{1}", "not YAML"),
    ] {
        let bad = folder.path().join("bad.yaml");
        std::fs::write(&bad, content).unwrap();
        let bad = bad.to_str().unwrap();
        let (exit, stdout, stderr) = run(folder.path(), &["validate", "-f", bad, "-f", good]);
        assert_eq!(exit, 1, "{content:?}: {stdout}{stderr}");
        assert!(stderr.contains(words), "{content:?}: {stderr}");
        assert!(stdout.contains("1 fault\n"), "{content:?}: {stdout}");
    }
    let bytes = folder.path().join("bytes.yaml");
    std::fs::write(&bytes, b"\xff\xfe").unwrap();
    let absent = folder.path().join("absent.yaml");
    let (bytes, absent) = (bytes.to_str().unwrap(), absent.to_str().unwrap());
    let (exit, stdout, stderr) = run(
        folder.path(),
        &[
            "validate", "-f", bytes, "-f", absent, "-f", good, "-f", good,
        ],
    );
    assert_eq!(
        (exit, stdout.as_str()),
        (1, "2 valid objects in 2 texts: 3 faults\n")
    );
    let lines: Vec<&str> = stderr.lines().collect();
    assert!(
        lines[0].contains(bytes) && lines[1].contains(absent),
        "{stderr}"
    );
    assert!(
        lines[2].contains("good.yaml:1: IPPool default-ipv4-ippool stands in "),
        "{stderr}"
    );
}

#[test]
fn ten_thousand_objects_are_applied_and_listed_and_a_reader_may_stop_at_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let mut text = String::new();
    for n in 0..10_000 {
        text.push_str(&format!(
            "---\napiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: n{n:05}}}\nspec: {{}}\n"
        ));
    }
    let (exit, stdout, _) = run_with(folder.path(), &["validate", "-f", "-"], &text);
    assert_eq!(
        (exit, stdout.as_str()),
        (0, "10000 valid objects in 1 text: no faults\n")
    );
    // One file, as a person may leave it.
    std::fs::write(store.join("nodes.yaml"), &text).unwrap();
    let (exit, stdout, stderr) = run(folder.path(), &["get", "nodes", "-o", "name"]);
    assert_eq!((exit, stdout.lines().count()), (0, 10_000), "{stderr}");
    assert_eq!(stdout.lines().next(), Some("Node/n00000"));
    let mut child = command(folder.path())
        .args(["get", "nodes", "-o", "yaml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).as_ref()
        ),
        (Some(0), "")
    );
}

#[test]
fn shells_learn_our_words() {
    let folder = tempfile::tempdir().unwrap();
    for (shell, word) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef caracalctl"),
        ("fish", "complete -c caracalctl"),
    ] {
        let (exit, stdout, stderr) = run(folder.path(), &["completion", shell]);
        assert_eq!((exit, stderr.as_str()), (0, ""));
        assert!(
            stdout.contains(word) && stdout.contains("validate"),
            "{shell}"
        );
    }
    assert_eq!(run(folder.path(), &["completion", "cmd"]).0, 2);
}

#[test]
fn what_cannot_be_understood_is_usage() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("store")).unwrap();
    for (args, words) in [
        (
            vec!["get", "frobs"],
            "there is no kind \"frobs\"; known are Node, IPPool",
        ),
        (
            vec!["get", "pools", "-o", "go-template={{.}}"],
            "Go templates are not known here",
        ),
        (
            vec!["get", "pools", "-o", "jsonpath={.a"],
            "has no closing brace",
        ),
        (
            vec!["get", "pools", "-o", "custom-columns=a"],
            "is not HEADING:PATH",
        ),
        (
            vec!["patch", "pool", "a", "-p", "{}", "--type", "strategic"],
            "have no merge keys",
        ),
        (vec!["label", "pool", "a", "b"], "is neither KEY=VALUE"),
        (vec!["get", "pools", "-A", "-n", "x"], "cannot be used with"),
    ] {
        let (exit, stdout, stderr) = run(folder.path(), &args);
        assert_eq!((exit, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    }
}
