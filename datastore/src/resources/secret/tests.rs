//! Secrets as manifests.

use super::*;
use crate::manifest;
use crate::store::{Object, Stored};

fn read(body: &str) -> Result<Object, String> {
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: bgp, namespace: kube-system}}\n{body}"
    );
    match manifest::parse("bgp.yaml", &text).into_objects() {
        Ok(mut objects) => Ok(objects.remove(0)),
        Err(faults) => Err(faults[0].to_string()),
    }
}

fn secret(body: &str) -> Secret {
    Stored::<Secret>::from_object(&read(body).unwrap())
        .unwrap()
        .spec
}

#[test]
fn a_value_is_base64_in_data_and_plain_in_string_data_which_wins() {
    let secret = secret("type: Opaque\ndata: {a: aHVzaA==, b: b2xk}\nstringData: {b: new}\n");
    assert_eq!(secret.value("a"), Some(b"hush".as_slice()));
    assert_eq!(secret.value("b"), Some(b"new".as_slice()));
    assert_eq!(secret.value("c"), None);
    assert_eq!(secret.secret_type, "Opaque");
}

#[test]
fn it_is_written_as_kubernetes_writes_it() {
    let object = read("immutable: true\nstringData: {tor: hush}\n").unwrap();
    let text = manifest::to_yaml(&object).unwrap();
    let value: Value = serde_yaml::from_str(&text).unwrap();
    let wanted = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "bgp", "namespace": "kube-system"},
        "immutable": true,
        "data": {"tor": "aHVzaA=="},
    });
    assert_eq!(value, wanted);
    assert!(!text.contains("hush"));
}

#[test]
fn no_value_is_printed_or_stands_in_a_fault() {
    let object = read("stringData: {tor: hush}\n").unwrap();
    let typed = Stored::<Secret>::from_object(&object).unwrap();
    let text = format!("{object:?} {typed:?} {:?}", typed.spec.data);
    assert!(!text.contains("hush") && !text.contains("aHVzaA"), "{text}");
    for (body, fault) in [
        (
            "data: {tor: hush!}\n",
            "data.tor: is not base64 (in stringData it need not be)",
        ),
        ("data: {tor: 12345}\n", "data.tor: is not a text"),
        (
            "stringData: {tor: 12345}\n",
            "stringData.tor: is not a text",
        ),
        ("data: hush\n", "data: is not a map"),
        ("stringData: hush\n", "stringData: is not a map"),
        (
            "data: [hush]\nstringData: {tor: hush}\n",
            "data: is not a map",
        ),
        (
            "data: {\"no key\": aHVzaA==}\n",
            "data: \"no key\" is not a key (letters, digits, '-', '_' and '.')",
        ),
    ] {
        let said = read(body).unwrap_err();
        assert!(said.ends_with(fault), "{said}");
        assert!(said.starts_with("bgp.yaml:4"), "{said}");
    }
}

#[test]
fn its_version_is_that_of_the_core_group() {
    let text = "apiVersion: projectcalico.org/v3\nkind: Secret\nmetadata: {name: bgp}\n";
    let faults = manifest::parse("x", text).into_objects().unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "x:1: apiVersion: \"projectcalico.org/v3\" is not v1, which Secret has"
    );
}
