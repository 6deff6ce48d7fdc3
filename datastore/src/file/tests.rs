//! The file backend as people, editors and other processes meet it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::conformance::{self, a_watch_survives, many_objects, next, pool, suite};
use crate::store::WatchEvent;

struct Folder {
    dir: TempDir,
}

impl Folder {
    fn new() -> Folder {
        Folder {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    async fn open(&self) -> FileDatastore {
        let options = FileOptions {
            durable: false,
            ..FileOptions::default()
        };
        FileDatastore::open_with(self.dir.path(), options)
            .await
            .unwrap()
    }
}

fn manifest(name: &str, cidr: &str) -> String {
    format!(
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: {name}\nspec:\n  cidr: {cidr}\n"
    )
}

fn key(name: &str) -> Key {
    Key::new(Kind::IPPool, name)
}

async fn cidr(store: &FileDatastore, name: &str) -> Option<String> {
    let object = store.get(&key(name)).await.unwrap()?;
    Some(object.spec["cidr"].as_str().unwrap().to_owned())
}

/// Waits for a report of faults that satisfies the condition.
async fn faults_until(watcher: &mut Watcher, good: impl Fn(&[String]) -> bool) -> Vec<String> {
    conformance::faults_until(watcher, &mut BTreeMap::new(), good).await
}

/// Waits until the pool has that CIDR in the watch; `None`: until it is deleted.
async fn set_until(watcher: &mut Watcher, name: &str, cidr: Option<&str>) {
    loop {
        match (next(watcher).await, cidr) {
            (WatchEvent::Set(object), Some(cidr))
                if object.key.name == name && object.spec["cidr"] == json!(cidr) =>
            {
                return;
            }
            (WatchEvent::Deleted(key), None) if key.name == name => return,
            _ => {}
        }
    }
}

#[tokio::test]
async fn it_conforms() {
    let folder = Folder::new();
    suite(Arc::new(folder.open().await), Arc::new(folder.open().await)).await;
}

#[tokio::test]
async fn it_conforms_without_inotify_and_with_the_disk_waited_for() {
    let folder = Folder::new();
    let options = FileOptions {
        inotify: false,
        poll_interval: Duration::from_millis(20),
        ..FileOptions::default()
    };
    let one = FileDatastore::open_with(folder.dir.path(), options.clone()).await;
    let other = FileDatastore::open_with(folder.dir.path(), options).await;
    suite(Arc::new(one.unwrap()), Arc::new(other.unwrap())).await;
}

#[tokio::test]
async fn it_holds_twenty_thousand_objects() {
    let folder = Folder::new();
    let one = Arc::new(folder.open().await);
    many_objects(one, Arc::new(folder.open().await)).await;
}

#[tokio::test]
async fn a_watch_survives_that_the_folder_is_away_for_a_while() {
    let folder = Folder::new();
    let one = folder.open().await;
    a_watch_survives(
        &one,
        &folder.open().await,
        async || {
            let away = folder.dir.path().with_extension("away");
            fs::rename(folder.dir.path(), &away).unwrap();
            one.list(Kind::IPPool).await.unwrap_err();
            fs::rename(&away, folder.dir.path()).unwrap();
        },
        async || {},
    )
    .await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named_with_the_reason() {
    let folder = Folder::new();
    let missing = FileDatastore::open(&folder.path("missing"))
        .await
        .unwrap_err();
    let text = missing.to_string();
    assert!(
        text.starts_with("datastore /") && text.ends_with("/missing: it does not exist"),
        "{text}"
    );
    folder.write("file", "");
    let text = FileDatastore::open(&folder.path("file"))
        .await
        .unwrap_err()
        .to_string();
    assert!(text.ends_with("/file: it is not a folder"), "{text}");
}

#[tokio::test]
async fn a_folder_that_vanishes_is_unavailable_and_loses_nothing_from_memory() {
    let folder = Folder::new();
    folder.write("a.yaml", &manifest("a", "10.0.0.0/16"));
    let store = folder.open().await;
    let away = folder.dir.path().with_extension("away");
    fs::rename(folder.dir.path(), &away).unwrap();
    let fault = store.get(&key("a")).await.unwrap_err();
    assert!(fault.to_string().ends_with("it does not exist"), "{fault}");
    assert!(store.inner.index().object(&key("a")).is_some());
    fs::rename(&away, folder.dir.path()).unwrap();
    assert_eq!(cidr(&store, "a").await.as_deref(), Some("10.0.0.0/16"));
}

#[tokio::test]
async fn a_broken_file_is_named_with_its_line_and_its_last_good_state_stays() {
    let folder = Folder::new();
    folder.write(
        "pools.yaml",
        &format!(
            "{}---\n{}",
            manifest("a", "10.0.0.0/16"),
            manifest("b", "10.1.0.0/16")
        ),
    );
    folder.write("other.yaml", &manifest("c", "10.2.0.0/16"));
    let store = folder.open().await;
    let mut watcher = store.watch(&[Kind::IPPool]).await.unwrap();

    folder.write(
        "pools.yaml",
        &format!(
            "{}---\nkind: IPPool\n  metadata: no\n",
            manifest("a", "10.9.0.0/16")
        ),
    );
    let faults = faults_until(&mut watcher, |faults| !faults.is_empty()).await;
    assert_eq!(
        faults,
        ["pools.yaml:9: not YAML: mapping values are not allowed in this context"]
    );
    assert_eq!(cidr(&store, "a").await.as_deref(), Some("10.0.0.0/16"));
    assert_eq!(cidr(&store, "b").await.as_deref(), Some("10.1.0.0/16"));

    // Others are not affected, and what is broken is not written over.
    folder.write("other.yaml", &manifest("c", "10.3.0.0/16"));
    set_until(&mut watcher, "c", Some("10.3.0.0/16")).await;
    let a = store.get(&key("a")).await.unwrap().unwrap();
    let refused = store
        .update(Object {
            spec: json!({"cidr": "10.5.0.0/16"}),
            ..a
        })
        .await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("pools.yaml:9: not YAML"), "{text}");

    folder.write("pools.yaml", &manifest("a", "10.9.0.0/16"));
    faults_until(&mut watcher, <[String]>::is_empty).await;
    assert_eq!(cidr(&store, "a").await.as_deref(), Some("10.9.0.0/16"));
    assert_eq!(cidr(&store, "b").await, None);
}

#[tokio::test]
async fn a_fault_in_one_object_keeps_its_last_good_state_and_takes_the_others() {
    let folder = Folder::new();
    let two = |a: &str, b: &str| format!("{}---\n{}", manifest("a", a), manifest("b", b));
    folder.write("pools.yaml", &two("10.0.0.0/16", "10.1.0.0/16"));
    let store = folder.open().await;
    let mut watcher = store.watch(&[Kind::IPPool]).await.unwrap();
    folder.write("pools.yaml", &two("10.0.0.1/16", "10.2.0.0/16"));
    let faults = faults_until(&mut watcher, |faults| !faults.is_empty()).await;
    assert_eq!(
        faults,
        ["pools.yaml:6: IPPool a: spec.cidr: 10.0.0.1/16 has host bits set"]
    );
    assert_eq!(cidr(&store, "a").await.as_deref(), Some("10.0.0.0/16"));
    assert_eq!(cidr(&store, "b").await.as_deref(), Some("10.2.0.0/16"));
}

#[tokio::test]
async fn one_key_in_two_files_is_a_fault_and_the_first_counts() {
    let folder = Folder::new();
    folder.write("1.yaml", &manifest("a", "10.0.0.0/16"));
    folder.write("2.yaml", &manifest("a", "10.1.0.0/16"));
    let store = folder.open().await;
    let mut watcher = store.watch(&[Kind::IPPool]).await.unwrap();
    let faults = faults_until(&mut watcher, |_| true).await;
    assert_eq!(
        faults,
        ["2.yaml:1: IPPool a: stands in 1.yaml too, which counts"]
    );
    assert_eq!(cidr(&store, "a").await.as_deref(), Some("10.0.0.0/16"));
    fs::remove_file(folder.path("1.yaml")).unwrap();
    faults_until(&mut watcher, <[String]>::is_empty).await;
    assert_eq!(cidr(&store, "a").await.as_deref(), Some("10.1.0.0/16"));
}

#[tokio::test]
async fn an_editor_that_renames_is_followed_also_in_new_folders() {
    let folder = Folder::new();
    folder.write("a.yaml", &manifest("a", "10.0.0.0/16"));
    let store = folder.open().await;
    let mut watcher = store.watch(&[Kind::IPPool]).await.unwrap();

    folder.write(".a.yaml.swp", "not for us");
    folder.write("a.yaml.new", &manifest("a", "10.1.0.0/16"));
    fs::rename(folder.path("a.yaml.new"), folder.path("a.yaml")).unwrap();
    set_until(&mut watcher, "a", Some("10.1.0.0/16")).await;

    folder.write("deep/er/b.yml", &manifest("b", "10.2.0.0/16"));
    set_until(&mut watcher, "b", Some("10.2.0.0/16")).await;
    folder.write("deep/er/b.yml", &manifest("b", "10.3.0.0/16"));
    set_until(&mut watcher, "b", Some("10.3.0.0/16")).await;
    fs::remove_dir_all(folder.path("deep")).unwrap();
    set_until(&mut watcher, "b", None).await;
}

#[tokio::test]
async fn a_file_moved_away_and_written_anew_is_never_deleted_for_the_watch() {
    let folder = Folder::new();
    folder.write("a.yaml", &manifest("a", "10.0.0.0/16"));
    let store = folder.open().await;
    let mut watcher = store.watch(&[Kind::IPPool]).await.unwrap();
    fs::rename(folder.path("a.yaml"), folder.path("a.yaml~")).unwrap();
    folder.write("a.yaml", &manifest("a", "10.1.0.0/16"));
    loop {
        match next(&mut watcher).await {
            WatchEvent::Deleted(key) => panic!("{key} was reported deleted"),
            WatchEvent::Set(object) if object.spec["cidr"] == json!("10.1.0.0/16") => break,
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_written_in_place_is_never_read_half() {
    let folder = Folder::new();
    folder.write("pools.yaml", &manifest("a", "10.0.0.0/16"));
    let store = Arc::new(folder.open().await);
    for round in 1..=8 {
        let began = Instant::now();
        let mut file = fs::File::create(folder.path("pools.yaml")).unwrap();
        let reading = {
            let store = store.clone();
            tokio::spawn(async move { cidr(&store, "a").await })
        };
        tokio::task::yield_now().await;
        let text = manifest("a", &format!("10.{round}.0.0/16")) + "---\n" + &manifest("b", "");
        let (first, second) = text.split_at(text.len() / 2);
        for half in [first, second] {
            std::io::Write::write_all(&mut file, half.as_bytes()).unwrap();
        }
        drop(file);
        let wrote_for = began.elapsed();
        let read = reading.await.unwrap();
        // A writer that pauses for longer is not waited for: on a busy machine that may be this one.
        if wrote_for < WAITED_FOR {
            assert_eq!(read, Some(format!("10.{round}.0.0/16")));
        }
    }
}

/// The news that one has closed the file is told while the next one writes it.
#[test]
fn nor_is_one_whose_last_writer_was_followed_by_another() {
    let folder = Folder::new();
    let path = folder.path("pools.yaml");
    let both = |cidr: &str| manifest("a", cidr) + "---\n" + &manifest("b", "10.9.0.0/16");
    folder.write("pools.yaml", &both("10.0.0.0/16"));
    let mut index = Index::new(folder.path(""));
    index.rescan();
    for round in 1..=8 {
        let began = Instant::now();
        let mut file = fs::File::create(&path).unwrap();
        let (wrote_for, known) = std::thread::scope(|scope| {
            let index = &mut index;
            let closed = std::slice::from_ref(&path);
            let reading = scope.spawn(move || {
                index.refresh_closed(closed);
                index.objects(Kind::IPPool).len()
            });
            std::thread::yield_now();
            let text = both(&format!("10.{round}.0.0/16"));
            std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
            (began.elapsed(), reading.join().unwrap())
        });
        if wrote_for < WAITED_FOR {
            assert_eq!(known, 2, "round {round}");
        }
        index.refresh(std::slice::from_ref(&path));
    }
}

#[tokio::test]
async fn a_change_of_form_only_is_no_change() {
    let folder = Folder::new();
    folder.write("a.yaml", &manifest("a", "10.0.0.0/16"));
    let store = folder.open().await;
    let before = store.get(&key("a")).await.unwrap().unwrap();
    folder.write(
        "a.yaml",
        &format!("# note\n{}\n", manifest("a", "\"10.0.0.0/16\"")),
    );
    assert_eq!(store.get(&key("a")).await.unwrap().unwrap(), before);
}

#[tokio::test]
async fn only_the_own_document_of_a_persons_file_is_rewritten() {
    let folder = Folder::new();
    let head = "# pools of rack a\n";
    let first = manifest("a", "10.0.0.0/16");
    let second = "---   # second\n# about b\napiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: b}\nspec: {cidr: 10.1.0.0/16}\nstatus: {kept: yes}\n";
    let third = "---\n\n# odd    spacing\napiVersion:   projectcalico.org/v3\nkind: IPPool\nmetadata: {  name: c }\nspec: { cidr: 10.2.0.0/16 }\n";
    folder.write("pools.yaml", &format!("{head}{first}{second}{third}"));
    let store = folder.open().await;

    let b = store.get(&key("b")).await.unwrap().unwrap();
    store
        .update(Object {
            spec: json!({"cidr": "10.7.0.0/16"}),
            ..b
        })
        .await
        .unwrap();
    let text = folder.read("pools.yaml");
    assert!(
        text.starts_with(&format!("{head}{first}---   # second\n# about b\n")),
        "{text}"
    );
    assert!(text.ends_with(third), "{text}");
    assert!(
        text.contains("10.7.0.0/16") && text.contains("kept: true"),
        "{text}"
    );

    store.delete(&key("b"), None).await.unwrap();
    assert_eq!(folder.read("pools.yaml"), format!("{head}{first}{third}"));
    store.delete(&key("a"), None).await.unwrap();
    store.delete(&key("c"), None).await.unwrap();
    assert!(!folder.path("pools.yaml").exists());
}

#[tokio::test]
async fn an_item_of_a_json_list_is_rewritten_in_json() {
    let folder = Folder::new();
    let item = |name: &str, cidr: &str| json!({"apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name}, "spec": {"cidr": cidr}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [item("a", "10.0.0.0/16"), item("b", "10.1.0.0/16")]});
    folder.write("pools.json", &serde_json::to_string_pretty(&list).unwrap());
    let store = folder.open().await;
    store.delete(&key("a"), None).await.unwrap();
    let b = store.get(&key("b")).await.unwrap().unwrap();
    store
        .update(Object {
            spec: json!({"cidr": "10.7.0.0/16"}),
            ..b
        })
        .await
        .unwrap();
    let list: serde_json::Value = serde_json::from_str(&folder.read("pools.json")).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["spec"]["cidr"], json!("10.7.0.0/16"));
}

#[tokio::test]
async fn a_stopped_writer_does_not_hang_the_others() {
    let folder = Folder::new();
    let options = FileOptions {
        lock_timeout: Duration::from_millis(50),
        ..FileOptions::default()
    };
    let store = FileDatastore::open_with(folder.dir.path(), options)
        .await
        .unwrap();
    let other = FolderLock::open(folder.dir.path(), Duration::from_secs(1)).unwrap();
    let turn = other.take().unwrap();
    let fault = store.create(pool("a", "10.0.0.0/16")).await.unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("another process has held the lock"),
        "{fault}"
    );
    drop(turn);
    store.create(pool("a", "10.0.0.0/16")).await.unwrap();
}

#[tokio::test]
async fn any_bytes_are_a_fault_with_a_name() {
    let folder = Folder::new();
    fs::write(folder.path("binary.yaml"), b"a: 1\nb: \xff\xfe").unwrap();
    folder.write("list.yaml", "- 1\n");
    folder.write(
        "pod.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n",
    );
    folder.write(
        "typo.yaml",
        "apiVersion: projectcalico.org/v3\nkind: IPPol\nmetadata: {name: x}\n",
    );
    folder.write(
        "tier.yaml",
        "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: default}\nspec: {}\n",
    );
    folder.write("empty.yaml", "\n# nothing\n---\n...\n");
    folder.write(
        "nameless.yaml",
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {}\nspec: {cidr: 10.0.0.0/16}\n",
    );
    fs::create_dir(folder.path("folder.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path("dangling.yaml")).unwrap();
    let store = folder.open().await;
    let mut watcher = store.watch(Kind::all()).await.unwrap();
    let faults = faults_until(&mut watcher, |_| true).await;
    assert_eq!(
        faults,
        [
            "binary.yaml:2: not YAML: the text is not UTF-8",
            "list.yaml:1: this is not an object with apiVersion, kind, metadata and spec",
            "nameless.yaml:3: metadata.name: is missing",
            "pod.yaml:1: apiVersion: \"v1\" is not projectcalico.org/v3",
            "typo.yaml:2: kind: there is no kind \"IPPol\"",
        ]
    );
}

#[tokio::test]
async fn leftovers_of_a_crashed_writer_are_removed() {
    let folder = Folder::new();
    folder.write("ippool/.caracal-1-a.yaml", "half a manif");
    let store = folder.open().await;
    assert!(!folder.path("ippool/.caracal-1-a.yaml").exists());
    assert!(store.list(Kind::IPPool).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_file_that_holds_something_else_gets_a_second_document() {
    let folder = Folder::new();
    folder.write("ippool/a.yaml", &manifest("z", "10.0.0.0/16"));
    let store = folder.open().await;
    store.create(pool("a", "10.1.0.0/16")).await.unwrap();
    assert!(
        folder
            .read("ippool/a.yaml")
            .starts_with(&manifest("z", "10.0.0.0/16"))
    );
    assert_eq!(store.list(Kind::IPPool).await.unwrap().len(), 2);
}

/// Two processes of one folder: what one writes is read by the other when it is asked for, or watched.
#[tokio::test]
async fn what_nobody_watches_is_read_when_it_is_asked_for() {
    let folder = Folder::new();
    let (one, other) = (folder.open().await, folder.open().await);
    let all = async |store: &FileDatastore| -> Vec<String> {
        let found = store.list(Kind::IPPool).await.unwrap();
        found.into_iter().map(|object| object.key.name).collect()
    };
    one.create(pool("a", "10.1.0.0/16")).await.unwrap();
    assert_eq!(cidr(&other, "a").await.as_deref(), Some("10.1.0.0/16"));
    let mut changed = one.get(&key("a")).await.unwrap().unwrap();
    changed.spec["cidr"] = "10.2.0.0/16".into();
    one.update(changed).await.unwrap();
    one.create(pool("b", "10.3.0.0/16")).await.unwrap();
    assert_eq!(all(&other).await, ["a", "b"]);
    assert_eq!(cidr(&other, "a").await.as_deref(), Some("10.2.0.0/16"));
    // A watch begins with what was never asked for, and is told from then on.
    one.create(pool("c", "10.4.0.0/16")).await.unwrap();
    let mut watcher = other.watch(&[Kind::IPPool]).await.unwrap();
    set_until(&mut watcher, "c", Some("10.4.0.0/16")).await;
    one.create(pool("d", "10.5.0.0/16")).await.unwrap();
    set_until(&mut watcher, "d", Some("10.5.0.0/16")).await;
    drop(watcher);
    one.delete(&key("a"), None).await.unwrap();
    assert_eq!(cidr(&other, "a").await, None);
    assert_eq!(all(&other).await, ["b", "c", "d"]);
    // A person's file may hold anything, and is read at once.
    folder.write("ippool/e.yaml", &manifest("other-name", "10.6.0.0/16"));
    let third = folder.open().await;
    let found = cidr(&third, "other-name").await;
    assert_eq!(found.as_deref(), Some("10.6.0.0/16"));
}

/// Less than a file that is written in place is left alone for.
const WAITED_FOR: Duration = Duration::from_millis(50);
