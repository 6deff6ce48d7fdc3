//! The verbs, against a store in memory.

use std::path::Path;

use caracal_datastore::MemoryDatastore;
use caracal_datastore::memory::Fault;

use super::*;
use crate::cli::{GetArgs, GetFormat};
use crate::get::get;

fn store() -> Arc<dyn Datastore> {
    Arc::new(MemoryDatastore::new())
}

/// A file that lives as long as the value.
fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn pool(name: &str, cidr: &str, more: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: '{name}'}}\nspec: {{cidr: {cidr}{more}}}\n"
    )
}

async fn run(store: &Arc<dyn Datastore>, verb: Verb, text: &str) -> Result<Outcome, Failure> {
    let file = file(text);
    let sources = sources(file.path());
    write(store, &order(verb, &sources)).await
}

fn sources(path: &Path) -> Sources {
    Sources {
        filename: vec![path.to_owned()],
        recursive: false,
        skip_empty: false,
        namespace: None,
    }
}

fn order(verb: Verb, sources: &Sources) -> Writing<'_> {
    Writing {
        sources,
        how: How {
            verb,
            dry_run: false,
            lenient: false,
        },
    }
}

/// Words that begin with a file that the test has made.
fn behind_place(words: &str) -> &str {
    words.split_once(".yaml:1: ").unwrap().1
}

async fn said(store: &Arc<dyn Datastore>, verb: Verb, text: &str) -> String {
    let outcome = run(store, verb, text).await.unwrap();
    assert!(outcome.failure.is_none(), "{outcome:?}");
    outcome.text
}

#[tokio::test]
async fn apply_says_what_became_of_each_object() {
    let store = store();
    let two = format!(
        "{}---\n{}",
        pool("a", "10.1.0.0/16", ""),
        pool("b", "10.2.0.0/16", "")
    );
    assert_eq!(
        said(&store, Verb::Apply, &two).await,
        "IPPool a created\nIPPool b created\n"
    );
    assert_eq!(
        said(&store, Verb::Apply, &two).await,
        "IPPool a unchanged\nIPPool b unchanged\n"
    );
    let changed = pool("a", "10.1.0.0/16", ", ipipMode: Always");
    assert_eq!(
        said(&store, Verb::Apply, &changed).await,
        "IPPool a configured\n"
    );
    let stored = store
        .get(&Key::new(Kind::IPPool, "a"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(stored.spec["ipipMode"], "Always");
}

#[tokio::test]
async fn nothing_is_written_when_anything_is_wrong() {
    let store = store();
    let text = format!(
        "{}---\n{}",
        pool("good", "10.1.0.0/16", ""),
        pool("bad", "10.2.0.1/16", "")
    );
    let failure = run(&store, Verb::Apply, &text).await.unwrap_err();
    assert_eq!(failure.sort, Sort::Failed);
    assert_eq!(failure.words.len(), 1);
    assert!(
        failure.words[0].contains("IPPool bad") && failure.words[0].contains("spec.cidr"),
        "{failure}"
    );
    assert!(store.list(Kind::IPPool).await.unwrap().is_empty());
}

#[tokio::test]
async fn pools_that_overlap_or_change_their_shape_are_refused() {
    let store = store();
    said(&store, Verb::Apply, &pool("a", "10.1.0.0/16", "")).await;
    let refused = |text: String| {
        let store = Arc::clone(&store);
        async move {
            let words = run(&store, Verb::Apply, &text).await.unwrap_err().words;
            assert_eq!(words.len(), 1);
            match words[0].split_once(".yaml:1: ") {
                Some((_, words)) => words.to_owned(),
                None => words[0].clone(),
            }
        }
    };
    assert_eq!(
        refused(pool("b", "10.1.2.0/24", "")).await,
        "IPPool b: spec.cidr: 10.1.2.0/24 overlaps 10.1.0.0/16 of IPPool a"
    );
    assert_eq!(
        refused(pool("a", "10.7.0.0/16", "")).await,
        "IPPool a: spec.cidr: 10.1.0.0/16 cannot become 10.7.0.0/16: make another pool"
    );
    assert_eq!(
        refused(pool("a", "10.1.0.0/16", ", blockSize: 28")).await,
        "IPPool a: spec.blockSize: 26 cannot become 28: make another pool"
    );
    // The default said aloud is no change of shape.
    said(
        &store,
        Verb::Apply,
        &pool("a", "10.1.0.0/16", ", blockSize: 26"),
    )
    .await;
}

#[tokio::test]
async fn create_and_replace_insist_on_what_is_there() {
    let store = store();
    let text = pool("a", "10.1.0.0/16", "");
    let missing = run(&store, Verb::Replace, &text)
        .await
        .unwrap()
        .failure
        .unwrap();
    assert_eq!(missing.sort, Sort::NotFound);
    assert_eq!(behind_place(&missing.words[0]), "IPPool a does not exist");
    assert_eq!(
        said(&store, Verb::Create, &text).await,
        "IPPool a created\n"
    );
    let exists = run(&store, Verb::Create, &text)
        .await
        .unwrap()
        .failure
        .unwrap();
    assert_eq!(exists.sort, Sort::Failed);
    assert_eq!(behind_place(&exists.words[0]), "IPPool a exists already");
    assert_eq!(
        said(
            &store,
            Verb::Replace,
            &pool("a", "10.1.0.0/16", ", disabled: true")
        )
        .await,
        "IPPool a configured\n"
    );
}

#[tokio::test]
async fn what_get_prints_apply_takes_back_unchanged() {
    let store = store();
    let text = format!(
        "{}---\n{}",
        pool("no", "10.1.0.0/16", ""),
        pool("b", "10.2.0.0/16", "")
    );
    said(&store, Verb::Apply, &text).await;
    let args = |output| asked("pools", &[], output);
    for format in [GetFormat::Yaml, GetFormat::Json] {
        let printed = get(&store, &args(format)).await.unwrap().text;
        assert_eq!(
            said(&store, Verb::Apply, &printed).await,
            "IPPool b unchanged\nIPPool no unchanged\n"
        );
    }
    assert_eq!(
        get(&store, &args(GetFormat::Name)).await.unwrap().text,
        "IPPool/b\nIPPool/no\n"
    );
}

#[tokio::test]
async fn kinds_that_are_not_used_here_are_passed_over_aloud() {
    let store = store();
    let outcome = run(
        &store,
        Verb::Apply,
        "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: default}\nspec: {}\n",
    )
    .await
    .unwrap();
    assert_eq!(outcome.text, "");
    assert!(
        outcome.notes[0].ends_with(":1: Tier is passed over: not used here"),
        "{:?}",
        outcome.notes
    );
}

#[tokio::test]
async fn what_is_missing_is_named_and_the_rest_is_done() {
    let store = store();
    said(&store, Verb::Apply, &pool("a", "10.1.0.0/16", "")).await;
    let got = get(&store, &asked("IPPool", &["a", "zz"], GetFormat::Name))
        .await
        .unwrap();
    assert_eq!(got.text, "IPPool/a\n");
    assert_eq!(got.failure.unwrap().sort, Sort::NotFound);

    let args = |skip_not_exists| DeleteArgs {
        kind: Some("ippool".to_owned()),
        names: vec!["zz".to_owned(), "a".to_owned()],
        filename: Vec::new(),
        recursive: false,
        skip_empty: false,
        namespace: None,
        skip_not_exists,
        dry_run: false,
    };
    let deleted = delete(&store, &args(false)).await.unwrap();
    assert_eq!(deleted.text, "IPPool a deleted\n");
    assert_eq!(deleted.failure.unwrap().words, ["IPPool zz does not exist"]);
    assert!(delete(&store, &args(true)).await.unwrap().failure.is_none());
}

#[tokio::test]
async fn a_manifest_without_namespace_is_in_the_one_that_is_said() {
    let store = store();
    let set = |name: &str, metadata: &str| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: NetworkSet\nmetadata: {{name: {name}{metadata}}}\nspec: {{nets: [10.0.0.0/8]}}\n---\n"
        )
    };
    let file = file(&(set("a", "") + &set("b", ", namespace: own")));
    let mut sources = sources(file.path());
    sources.namespace = Some("said".to_owned());
    let written = write(&store, &order(Verb::Create, &sources)).await.unwrap();
    assert_eq!(
        written.text,
        "NetworkSet said/a created\nNetworkSet own/b created\n"
    );
    let args = DeleteArgs {
        kind: None,
        names: Vec::new(),
        filename: vec![file.path().to_owned()],
        recursive: false,
        skip_empty: false,
        namespace: Some("said".to_owned()),
        skip_not_exists: false,
        dry_run: false,
    };
    let deleted = delete(&store, &args).await.unwrap();
    assert_eq!(
        deleted.text,
        "NetworkSet said/a deleted\nNetworkSet own/b deleted\n"
    );
}

#[tokio::test]
async fn a_folder_is_read_in_order_and_an_empty_one_is_an_error() {
    let store = store();
    let folder = tempfile::tempdir().unwrap();
    let mut sources = sources(folder.path());
    let empty = write(&store, &order(Verb::Apply, &sources)).await;
    let empty = empty.unwrap_err();
    assert!(empty.words[0].starts_with("no objects in /"), "{empty}");
    sources.skip_empty = true;
    let outcome = write(&store, &order(Verb::Apply, &sources)).await.unwrap();
    assert_eq!(outcome.text, "");
    std::fs::write(folder.path().join("2.yml"), pool("b", "10.2.0.0/16", "")).unwrap();
    std::fs::write(folder.path().join("1.yaml"), pool("a", "10.1.0.0/16", "")).unwrap();
    std::fs::write(folder.path().join("README.md"), "not this").unwrap();
    std::fs::create_dir(folder.path().join("below")).unwrap();
    let below = folder.path().join("below/3.json");
    let json = r#"{"apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "c"}, "spec": {"cidr": "10.3.0.0/16"}}"#;
    std::fs::write(below, json).unwrap();
    let outcome = write(&store, &order(Verb::Apply, &sources)).await.unwrap();
    assert_eq!(outcome.text, "IPPool a created\nIPPool b created\n");
    sources.recursive = true;
    let outcome = write(&store, &order(Verb::Apply, &sources)).await.unwrap();
    assert_eq!(
        outcome.text,
        "IPPool a unchanged\nIPPool b unchanged\nIPPool c created\n"
    );
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen() {
    let store = store();
    said(&store, Verb::Apply, &pool("a", "10.1.0.0/16", "")).await;
    let two = format!(
        "{}---\n{}",
        pool("a", "10.1.0.0/16", ", disabled: true"),
        pool("b", "10.2.0.0/16", "")
    );
    let file = file(&two);
    let sources = sources(file.path());
    let mut dry = order(Verb::Apply, &sources);
    dry.how.dry_run = true;
    let outcome = write(&store, &dry).await.unwrap();
    assert_eq!(
        outcome.text,
        "IPPool a configured (dry run)\nIPPool b created (dry run)\n"
    );
    assert_eq!(store.list(Kind::IPPool).await.unwrap().len(), 1);
    let mut lenient = order(Verb::Create, &sources);
    lenient.how.lenient = true;
    let outcome = write(&store, &lenient).await.unwrap();
    assert_eq!(outcome.text, "IPPool a skipped\nIPPool b created\n");
}

#[tokio::test]
async fn a_datastore_that_goes_away_is_not_asked_a_thousand_times() {
    let memory = MemoryDatastore::new();
    let faulty = memory.client();
    faulty.set_plan(|operation| match operation.name.as_str() {
        "b" => Fault::Before(MemoryDatastore::down()),
        _ => Fault::None,
    });
    let store: Arc<dyn Datastore> = Arc::new(faulty);
    let three =
        ["a", "b", "c"].map(|name| pool(name, &format!("10.{}.0.0/16", name.as_bytes()[0]), ""));
    let outcome = run(&store, Verb::Apply, &three.join("---\n"))
        .await
        .unwrap();
    assert_eq!(outcome.text, "IPPool a created\n");
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.sort, Sort::Unavailable);
    assert_eq!(
        failure.words[1],
        "2 objects were not reached, from IPPool b on"
    );
}

fn asked(kind: &str, names: &[&str], output: GetFormat) -> GetArgs {
    GetArgs {
        kind: Some(kind.to_owned()),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        filename: Vec::new(),
        recursive: false,
        namespace: None,
        all_namespaces: false,
        selector: None,
        output,
        no_headers: false,
    }
}

#[tokio::test]
async fn a_question_that_is_applied_again_keeps_the_nodes_answer() {
    let store = store();
    let question = |seconds| {
        format!(
            "apiVersion: projectcalico.org/v3\nkind: CalicoNodeStatus\nmetadata: {{name: q}}\nspec: {{node: node-1, classes: [BGP], updatePeriodSeconds: {seconds}}}\n"
        )
    };
    assert_eq!(
        said(&store, Verb::Apply, &question(10)).await,
        "CalicoNodeStatus q created\n"
    );
    let key = caracal_datastore::Key::new(Kind::CalicoNodeStatus, "q");
    let mut answered = store.get(&key).await.unwrap().unwrap();
    answered.spec["status"] = serde_json::json!({"lastUpdated": "2026-08-01T12:00:00Z"});
    store.update(answered).await.unwrap();
    assert_eq!(
        said(&store, Verb::Apply, &question(10)).await,
        "CalicoNodeStatus q unchanged\n"
    );
    assert_eq!(
        said(&store, Verb::Apply, &question(20)).await,
        "CalicoNodeStatus q configured\n"
    );
    let now = store.get(&key).await.unwrap().unwrap();
    assert_eq!(now.spec["status"]["lastUpdated"], "2026-08-01T12:00:00Z");
    assert_eq!(now.spec["spec"]["updatePeriodSeconds"], 20);
}
