//! Patches and labels, and what is refused.

use caracal_datastore::memory::{Fault, Verb};
use caracal_datastore::{Kind, MemoryDatastore};

use super::*;

const POOL: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: p, labels: {a: b}}
spec: {cidr: 10.1.0.0/16, natOutgoing: true, unknown: {kept: 1}}
";

async fn store() -> MemoryDatastore {
    let store = MemoryDatastore::new();
    for object in manifest::parse("test", POOL).into_objects().unwrap() {
        store.create(object).await.unwrap();
    }
    store
}

fn args(patch: &str, patch_type: PatchType) -> PatchArgs {
    PatchArgs {
        kind: "pool".to_owned(),
        name: "p".to_owned(),
        patch: patch.to_owned(),
        patch_type,
        namespace: None,
        dry_run: false,
    }
}

async fn patched(patch_text: &str, patch_type: PatchType) -> Result<(String, Value), Failure> {
    let store: Arc<dyn Datastore> = Arc::new(store().await);
    let outcome = patch(&store, &args(patch_text, patch_type)).await?;
    let object = store.get(&Key::new(Kind::IPPool, "p")).await.unwrap();
    Ok((outcome.text, manifest::to_value(&object.unwrap())))
}

#[tokio::test]
async fn a_patch_changes_what_it_speaks_of() {
    let merge = r#"{"spec": {"natOutgoing": null, "ipipMode": "Always"}, "metadata": {"labels": {"c": "d"}}}"#;
    let (said, object) = patched(merge, PatchType::Merge).await.unwrap();
    assert_eq!(said, "IPPool p patched\n");
    assert_eq!(object["spec"].get("natOutgoing"), None);
    assert_eq!(object["spec"]["ipipMode"], "Always");
    assert_eq!(object["spec"]["unknown"]["kept"], 1);
    assert_eq!(object["metadata"]["labels"]["a"], "b");
    assert_eq!(object["metadata"]["labels"]["c"], "d");
    let json = r#"[{"op": "test", "path": "/spec/natOutgoing", "value": true}, {"op": "replace", "path": "/spec/natOutgoing", "value": false}]"#;
    let (_, object) = patched(json, PatchType::Json).await.unwrap();
    assert_eq!(object["spec"]["natOutgoing"], false);
    let yaml = "spec:\n  disabled: true\n";
    let (_, object) = patched(yaml, PatchType::Merge).await.unwrap();
    assert_eq!(object["spec"]["disabled"], true);
    let (said, _) = patched("{}", PatchType::Merge).await.unwrap();
    assert_eq!(said, "IPPool p unchanged\n");
}

#[tokio::test]
async fn a_patch_that_would_spoil_the_object_is_refused() {
    use PatchType::{Json, Merge, Strategic};
    for (patch, patch_type, words) in [
        (
            r#"{"spec": {"ipipMode": "Sometimes"}}"#,
            Merge,
            "IPPool p: spec.ipipMode: ",
        ),
        (
            r#"{"metadata": {"name": "q"}}"#,
            Merge,
            "an object keeps its name",
        ),
        (r#"{"kind": "Node"}"#, Merge, "kind: cannot be changed"),
        (r#"{"status": {}}"#, Merge, "status: cannot be patched"),
        (
            r#"{"spec": {"cidr": "10.2.0.0/16"}}"#,
            Merge,
            "make another pool",
        ),
        (
            r#"[{"op": "remove", "path": "/spec/no"}]"#,
            Json,
            "the patch does not fit",
        ),
        (r#"{"spec": {}}"#, Json, "no list of operations"),
        ("[]", Merge, "--type json"),
        ("{", Merge, "--patch is not JSON"),
        ("{}", Strategic, "have no merge keys"),
    ] {
        let failure = patched(patch, patch_type).await.unwrap_err();
        assert!(failure.words[0].contains(words), "{patch}: {failure}");
    }
}

#[tokio::test]
async fn a_dry_run_prints_the_object_and_writes_nothing() {
    let memory = store().await;
    let before = memory.writes();
    let store: Arc<dyn Datastore> = Arc::new(memory.client());
    let args = PatchArgs {
        dry_run: true,
        ..args(r#"{"spec": {"disabled": true}}"#, PatchType::Merge)
    };
    let text = patch(&store, &args).await.unwrap().text;
    assert!(text.contains("  disabled: true\n"), "{text}");
    assert_eq!(memory.writes(), before);
}

fn labels(labels: &[&str], overwrite: bool, remove: bool) -> LabelArgs {
    LabelArgs {
        kind: "ippool".to_owned(),
        name: "p".to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        overwrite,
        remove,
        namespace: None,
    }
}

#[tokio::test]
async fn labels_are_set_changed_and_removed() {
    let store: Arc<dyn Datastore> = Arc::new(store().await);
    let after = async |args: LabelArgs| {
        let text = label(&store, &args).await?.text;
        let object = store.get(&Key::new(Kind::IPPool, "p")).await?;
        let labels = object.unwrap().metadata.labels;
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        Ok::<_, Failure>(format!("{text}{}", labels.join(",")))
    };
    let said = after(labels(&["example.org/x=1", "empty="], false, false))
        .await
        .unwrap();
    assert_eq!(said, "IPPool p labeled\na=b,empty=,example.org/x=1");
    let refused = after(labels(&["a=c"], false, false)).await.unwrap_err();
    assert_eq!(
        refused.words,
        ["IPPool p: label a is \"b\" already; --overwrite makes it \"c\""]
    );
    let said = after(labels(&["a=c", "empty-"], true, false))
        .await
        .unwrap();
    assert_eq!(said, "IPPool p labeled\na=c,example.org/x=1");
    let said = after(labels(&["example.org/x"], false, true))
        .await
        .unwrap();
    assert_eq!(said, "IPPool p labeled\na=c");
    let said = after(labels(&["no-"], false, false)).await.unwrap();
    assert_eq!(said, "IPPool p unchanged\na=c");
    for bad in ["a", "=b", "a=b c", "a/b/c=d", "A!=b", "-", "x=-"] {
        let failure = after(labels(&[bad], false, false)).await.unwrap_err();
        assert_eq!(failure.sort, Sort::Usage, "{bad}: {failure}");
    }
}

#[tokio::test]
async fn a_faster_writer_is_not_overwritten_and_one_that_always_is_faster_is_named() {
    let memory = store().await;
    let client = memory.client();
    let other = memory.client();
    let mut left = 2;
    client.set_plan(move |operation| {
        if operation.verb != Verb::Update || left == 0 {
            return Fault::None;
        }
        left -= 1;
        Fault::Before(StoreError::Conflict(Key::new(Kind::IPPool, "p")))
    });
    let store: Arc<dyn Datastore> = Arc::new(client);
    let text = r#"{"spec": {"disabled": true}}"#;
    let said = patch(&store, &args(text, PatchType::Merge)).await.unwrap();
    assert_eq!(said.text, "IPPool p patched\n");
    // Now each time.
    let client = memory.client();
    client.set_plan(move |operation| {
        if operation.verb != Verb::Update {
            return Fault::None;
        }
        let key = Key::new(Kind::IPPool, "p");
        let object = of_another(&key);
        other.put_unchecked(object);
        Fault::Before(StoreError::Conflict(key))
    });
    let store: Arc<dyn Datastore> = Arc::new(client);
    let text = r#"{"spec": {"disabled": false}}"#;
    let failure = patch(&store, &args(text, PatchType::Merge))
        .await
        .unwrap_err();
    assert!(
        failure.words[0].contains("spec.vxlanMode is \"Always\" and was null"),
        "{failure}"
    );
}

/// The object as another writer leaves it.
fn of_another(key: &Key) -> Object {
    let text = POOL.replace(
        "natOutgoing: true",
        "natOutgoing: true, vxlanMode: Always, disabled: true",
    );
    let object = manifest::parse("test", &text)
        .into_objects()
        .unwrap()
        .remove(0);
    assert_eq!(object.key, *key);
    object
}
