//! What is shown of several objects, in each format.

use caracal_datastore::MemoryDatastore;

use super::*;

const OBJECTS: &str = "
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n2, labels: {rack: b}}
spec: {bgp: {asNumber: 64512}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1, labels: {rack: a, zone: eu}}
spec: {}
---
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: p}
spec: {cidr: 10.1.0.0/16}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: one}
---
apiVersion: v1
kind: Secret
metadata: {name: s, namespace: two}
---
apiVersion: v1
kind: Secret
metadata: {name: t, namespace: default}
";

async fn store() -> Arc<dyn Datastore> {
    let store = MemoryDatastore::new();
    for object in manifest::parse("test", OBJECTS).into_objects().unwrap() {
        store.create(object).await.unwrap();
    }
    Arc::new(store)
}

fn args(kind: &str, names: &[&str], output: &str) -> GetArgs {
    GetArgs {
        kind: Some(kind.to_owned()),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        filename: Vec::new(),
        recursive: false,
        namespace: None,
        all_namespaces: false,
        selector: None,
        output: output.parse().unwrap(),
        no_headers: false,
    }
}

async fn said(args: &GetArgs) -> String {
    let outcome = get(&store().await, args).await.unwrap();
    assert!(outcome.failure.is_none(), "{outcome:?}");
    outcome.text
}

#[tokio::test]
async fn each_format_shows_the_same_objects() {
    let names = "jsonpath={range .items[*]}{.metadata.name} {end}";
    assert_eq!(said(&args("nodes", &[], names)).await, "n1 n2 ");
    // One that is asked for by name is itself.
    let name = "jsonpath={.metadata.name}";
    assert_eq!(said(&args("node", &["n2"], name)).await, "n2");
    let columns = "custom-columns=NODE:.metadata.name,AS:.spec.bgp.asNumber";
    assert_eq!(
        said(&args("nodes", &[], columns)).await,
        "NODE   AS\nn1     <none>\nn2     64512\n"
    );
    let mut bare = args("nodes", &[], columns);
    bare.no_headers = true;
    assert_eq!(said(&bare).await, "n1     <none>\nn2     64512\n");
    assert_eq!(
        said(&args("nodes,pools", &[], "name")).await,
        "Node/n1\nNode/n2\nIPPool/p\n"
    );
    let both = said(&args("pools,bgppeers", &[], "table")).await;
    assert_eq!(
        both,
        "NAME   CIDR          SELECTOR\np      10.1.0.0/16   all()\n\nNo BGPPeer found.\n"
    );
    let json = said(&args("nodes,pools", &[], "json")).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["kind"], &json["apiVersion"]),
        (&json!("List"), &json!("v1"))
    );
}

#[tokio::test]
async fn labels_select_in_calicos_language_and_in_kubectls() {
    for (selector, names) in [
        ("rack == 'a'", "Node/n1\n"),
        ("rack in {'a', 'b'} && !has(zone)", "Node/n2\n"),
        ("rack=a", "Node/n1\n"),
        ("rack!=a", "Node/n2\n"),
        ("zone,rack=a", "Node/n1\n"),
        ("!zone", "Node/n2\n"),
        ("", "Node/n1\nNode/n2\n"),
    ] {
        let mut args = args("nodes", &[], "name");
        args.selector = Some(selector.to_owned());
        assert_eq!(said(&args).await, names, "{selector}");
    }
    let mut bad = args("nodes", &[], "name");
    bad.selector = Some("rack ==".to_owned());
    let failure = get(&store().await, &bad).await.unwrap_err();
    assert_eq!(failure.sort, Sort::Usage);
    assert!(
        failure.words[0].starts_with("selector \"rack ==\": at character"),
        "{failure}"
    );
}

#[tokio::test]
async fn namespaces_are_all_one_or_the_default() {
    let all = "Secret/default/t\nSecret/one/s\nSecret/two/s\n";
    assert_eq!(said(&args("secrets", &[], "name")).await, all);
    let mut one = args("secrets", &[], "name");
    one.namespace = Some("one".to_owned());
    assert_eq!(said(&one).await, "Secret/one/s\n");
    assert_eq!(
        said(&args("secret", &["t"], "name")).await,
        "Secret/default/t\n"
    );
    let mut everywhere = args("secret", &["s"], "name");
    everywhere.all_namespaces = true;
    assert_eq!(said(&everywhere).await, "Secret/one/s\nSecret/two/s\n");
    everywhere.names = vec!["zz".to_owned()];
    let outcome = get(&store().await, &everywhere).await.unwrap();
    assert_eq!(
        outcome.failure.unwrap().words,
        ["Secret zz does not exist in any namespace"]
    );
}
