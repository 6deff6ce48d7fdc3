use caracal_datastore::{Key, Kind, Metadata, Object};
use serde_json::json;

use super::*;

#[test]
fn what_is_secret_is_blanked_and_what_says_where_it_is_stays() {
    let mut value = json!({
        "datastore": {"type": "etcd", "username": "u", "password": "hunter2", "keyFile": "/etc/key.pem"},
        "bgp": {"meshOptions": {"password": "hunter2"}, "peers": [{"md5_password": "hunter2", "asn": 7}]},
        "spec": {"password": {"secretKeyRef": {"name": "bgp", "key": "rr"}}},
        "token": 7,
    });
    blank::blank(&mut value);
    let expected = json!({
        "datastore": {"type": "etcd", "username": "u", "password": "(blanked)", "keyFile": "/etc/key.pem"},
        "bgp": {"meshOptions": {"password": "(blanked)"}, "peers": [{"md5_password": "(blanked)", "asn": 7}]},
        "spec": {"password": {"secretKeyRef": {"name": "bgp", "key": "rr"}}},
        "token": "(blanked)",
    });
    assert_eq!(value, expected);
}

#[test]
fn of_a_secret_the_names_of_its_values_are_left() {
    let annotations = [("note", "the token is abc"), ("team", "red")];
    let mut object = Object {
        key: Key::in_namespace(Kind::Secret, "kube-system", "bgp"),
        metadata: Metadata {
            annotations: annotations
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..Metadata::default()
        },
        spec: json!({"type": "Opaque", "data": {"rr": "aHVudGVyMg=="}}),
        revision: None,
    };
    let mut other = object.clone();
    blank::blank_object(&mut object);
    assert_eq!(
        object.spec,
        json!({"type": "Opaque", "data": {"rr": "(blanked)"}})
    );
    assert!(object.metadata.annotations.is_empty());
    other.key.kind = Kind::BGPPeer;
    blank::blank_object(&mut other);
    assert_eq!(other.metadata.annotations["note"], "(blanked)");
    assert_eq!(other.metadata.annotations["team"], "red");
}

#[test]
fn a_long_log_begins_with_a_whole_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.log");
    let line = "0123456789abcde\n";
    std::fs::write(&file, line.repeat(300_000)).unwrap();
    let end = end_of(&file).unwrap();
    assert!(end.len() as u64 <= LOG_OCTETS_MAX);
    assert!(end.len() as u64 > LOG_OCTETS_MAX - 20);
    assert!(end.starts_with("0123") && end.ends_with(line));
    std::fs::write(&file, "one\ntwo\n").unwrap();
    assert_eq!(end_of(&file).unwrap(), "one\ntwo\n");
    let fault = end_of(&folder.path().join("none")).unwrap_err();
    assert!(fault.contains("none: "), "{fault}");
}

#[tokio::test]
async fn a_program_that_fails_is_quoted_with_its_first_line() {
    let script = "echo 'Error: No such table' >&2; echo 'list table' >&2; exit 1";
    let said = kernel::said_by(&["sh", "-c", script]).await;
    assert_eq!(
        said.unwrap_err(),
        format!("sh -c {script}: Error: No such table")
    );
    let silent = kernel::said_by(&["false"]).await;
    assert_eq!(silent.unwrap_err(), "false: it says nothing");
}
