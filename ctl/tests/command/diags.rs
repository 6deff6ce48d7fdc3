//! `diags`: what is in the archive, what is not, and that no secret is.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::agent::FakeAgent;
use super::{command, run};

/// Texts by name below the archive's folder.
fn unpack(octets: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(octets));
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let (folder, name) = path.split_once('/').unwrap();
            assert!(folder.starts_with("caracal-diags-"), "{path}");
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (name.to_owned(), text)
        })
        .collect()
}

fn answers(path: &str, body: &Value) -> (u16, Value) {
    match path {
        "/v1/metrics" => (200, json!("caracal_up 1")),
        _ => super::kind(path, body),
    }
}

/// A datastore, a configuration and a log, with a password wherever there may be one.
fn furnish(folder: &Path) {
    let store = folder.join("store");
    std::fs::create_dir_all(&store).unwrap();
    let manifests = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pods}
spec: {cidr: 10.233.0.0/16}
---
apiVersion: v1
kind: Secret
metadata: {name: bgp, namespace: kube-system}
type: Opaque
data: {rr: aHVudGVyMg==}
";
    std::fs::write(store.join("all.yaml"), manifests).unwrap();
    let configuration = "nodename: n1\ndatastore: {type: etcd, username: u, password: hunter2}\n";
    std::fs::write(folder.join("agent.yaml"), configuration).unwrap();
    std::fs::write(folder.join("agent.log"), "it was a dark night\n").unwrap();
}

#[test]
fn diags_has_all_that_there_is_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let _agent = FakeAgent::start(folder.path(), answers);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (file, log, config) = (path("d.tar.gz"), path("agent.log"), path("agent.yaml"));
    let arguments = ["diags", "-f", &file, "--log", &log, "--config", &config];
    let (exit, stdout, stderr) = run(folder.path(), &arguments);
    assert_eq!(exit, 0, "{stderr}");
    assert!(stdout.starts_with(&format!("Wrote {file}: ")), "{stdout}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let found = unpack(&std::fs::read(&file).unwrap());
    for (name, words) in [
        ("agent/status.json", "\"node\": \"n1\""),
        ("agent/status.txt", "Node n1 is ready"),
        ("agent/peers.json", "[]"),
        ("agent/routes.json", "10.233.1.0/26"),
        ("agent/fib.json", "[]"),
        ("agent/endpoints.json", "[]"),
        ("agent/metrics.txt", "caracal_up 1"),
        ("agent/config.yaml", "username: u"),
        ("agent/log.txt", "it was a dark night"),
        ("kernel/sysctls.txt", "net.ipv4.ip_forward = "),
        ("datastore/ippools.yaml", "10.233.0.0/16"),
        ("datastore/secrets.yaml", "rr: (blanked)"),
        ("versions.txt", "0.1.0 (node n1)"),
    ] {
        let text = found.get(name).map_or("", String::as_str);
        assert!(text.contains(words), "{name}: {text}");
        assert!(found["contents.txt"].contains(name), "{name}");
    }
    for (name, text) in &found {
        let told = text.contains("hunter2") || text.contains("aHVudGVyMg");
        assert!(!told, "{name}: {text}");
    }
    // Each of the kernel's files is there, or said to be missing.
    for name in ["links", "routes-ipv4", "nexthops", "filter"] {
        let name = format!("kernel/{name}.txt");
        let missing = stderr.contains(&format!("missing: {name}: "));
        assert_ne!(found.contains_key(&name), missing, "{name}: {stderr}");
    }
}

#[test]
fn diags_of_a_node_without_agent_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let file = folder.path().join("d.tar.gz").display().to_string();
    let (exit, _, stderr) = run(folder.path(), &["diags", "--file", &file]);
    assert_eq!(exit, 0, "{stderr}");
    assert!(
        stderr.contains("missing: agent/status.json: no agent on "),
        "{stderr}"
    );
    assert!(
        stderr.contains("missing: agent/config.yaml: /etc/caracal/agent.yaml: "),
        "{stderr}"
    );
    let found = unpack(&std::fs::read(&file).unwrap());
    assert!(found["contents.txt"].contains("agent/fib.json: no agent on "));
    assert!(found.contains_key("datastore/ippools.yaml"));
    assert!(!found.contains_key("agent/status.txt"));
}

#[test]
fn diags_goes_to_standard_output_and_does_without_the_datastore() {
    let folder = tempfile::tempdir().unwrap();
    furnish(folder.path());
    let mut command = command(folder.path());
    let arguments = ["node", "diags", "--file", "-", "--no-datastore"];
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success());
    let found = unpack(&output.stdout);
    assert!(found.contains_key("versions.txt"));
    assert!(
        !found.keys().any(|name| name.starts_with("datastore/")),
        "{found:?}"
    );
}

#[test]
fn diags_that_cannot_be_written_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none/d.tar.gz").display().to_string();
    let (exit, stdout, stderr) = run(folder.path(), &["diags", "--file", &file, "--no-datastore"]);
    assert_eq!((exit, stdout.as_str()), (1, ""));
    assert!(
        stderr.contains(&format!("cannot write {file}: ")),
        "{stderr}"
    );
}
