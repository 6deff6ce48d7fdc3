//! Where a password is looked for.

use caracal_datastore::Stored;
use caracal_datastore::resources::{Secret, SecretValue};

use super::*;

fn view(secrets: &[(&str, &str, &str)]) -> View {
    let mut view = View::default();
    for (namespace, name, value) in secrets {
        let mut secret = Secret::default();
        let value = SecretValue(value.as_bytes().to_vec());
        secret.data.insert("tor".to_owned(), value);
        view.secrets.insert(
            (namespace.to_string(), name.to_string()),
            Stored::new_in(*namespace, *name, secret),
        );
    }
    view
}

fn ask(view: &View, key: &str) -> Result<String, String> {
    let reference = SecretRef {
        name: "bgp".to_owned(),
        key: key.to_owned(),
    };
    let octets = password_of(view, &reference).map_err(|why| why.to_string())?;
    Ok(String::from_utf8_lossy(octets).into_owned())
}

#[test]
fn a_secret_may_be_in_any_namespace_when_it_is_the_only_one() {
    let view = view(&[
        ("calico-system", "bgp", "hush"),
        ("kube-system", "other", "no"),
    ]);
    assert_eq!(ask(&view, "tor").as_deref(), Ok("hush"));
}

#[test]
fn of_several_the_one_in_kube_system_decides() {
    let view = view(&[
        ("a", "bgp", "no"),
        ("kube-system", "bgp", "hush"),
        ("z", "bgp", "no"),
    ]);
    assert_eq!(ask(&view, "tor").as_deref(), Ok("hush"));
}

#[test]
fn what_is_missing_is_named() {
    assert_eq!(
        ask(&view(&[]), "tor").unwrap_err(),
        "there is no Secret bgp"
    );
    assert_eq!(
        ask(&view(&[("kube-system", "bgp", "hush")]), "mesh").unwrap_err(),
        "Secret kube-system/bgp has no key mesh"
    );
    assert_eq!(
        ask(&view(&[("a", "bgp", "x"), ("b", "bgp", "x")]), "tor").unwrap_err(),
        "there is a Secret bgp in each of a, b, and none in kube-system, which would decide"
    );
}
