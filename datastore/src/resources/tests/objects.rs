//! Objects of every kind as Calico and `kubectl get -o yaml` show them, with odd fields and fields of the future, go
//! through each store that needs no server and come back with the same meaning.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use super::*;
use crate::file::FileDatastore;
use crate::memory::MemoryDatastore;
use crate::store::{Datastore, Key};

/// The folder's files by name.
fn texts() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/resources/tests/objects");
    let mut texts: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    texts.sort();
    texts
}

fn objects() -> Vec<Object> {
    let parsed = |(name, text): (String, String)| manifest::parse(&name, &text);
    let read = texts().into_iter().map(parsed).flat_map(|parsed| {
        assert_eq!(parsed.passed_over, []);
        parsed.into_objects().unwrap()
    });
    read.collect()
}

#[test]
fn every_kind_is_among_them() {
    let kinds: BTreeSet<Kind> = objects().iter().map(|object| object.key.kind).collect();
    let missing: Vec<&Kind> = Kind::all()
        .iter()
        .filter(|kind| !kinds.contains(kind))
        .collect();
    assert_eq!(missing, Vec::<&Kind>::new());
}

#[tokio::test]
async fn they_come_back_from_memory_and_from_files_as_they_went_in() {
    let folder = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn Datastore>; 2] = [
        Arc::new(MemoryDatastore::new()),
        Arc::new(FileDatastore::open(folder.path()).await.unwrap()),
    ];
    for store in stores {
        for object in objects() {
            let created = store.create(object.clone()).await.unwrap();
            let mut found = store.get(&object.key).await.unwrap().unwrap();
            assert_eq!(found, created);
            assert_eq!(meaning(&found), meaning(&object), "{}", object.key);
            // A read-modify-write of one thing changes that thing.
            let note = ("example.org/note".to_owned(), "read".to_owned());
            found.metadata.annotations.extend([note]);
            store.update(found).await.unwrap();
            let mut found = store.get(&object.key).await.unwrap().unwrap();
            found
                .metadata
                .annotations
                .remove("example.org/note")
                .unwrap();
            assert_eq!(meaning(&found), meaning(&object), "{}", object.key);
        }
    }
}

#[tokio::test]
async fn what_stands_beside_the_spec_in_somebodys_file_stays_there() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in texts() {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let store = FileDatastore::open(folder.path()).await.unwrap();
    let mut before = BTreeMap::new();
    for object in objects() {
        before.insert(object.key.clone(), documents(folder.path(), &object.key));
        let mut found = store.get(&object.key).await.unwrap().unwrap();
        let note = ("example.org/note".to_owned(), "read".to_owned());
        found.metadata.annotations.extend([note]);
        store.update(found).await.unwrap();
    }
    for (key, before) in before {
        let mut after = documents(folder.path(), &key);
        let annotations = after["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove("example.org/note").unwrap();
        let mut before = before;
        normal(&mut before);
        normal(&mut after);
        assert_eq!(after, before, "{key}");
    }
}

#[test]
fn a_typed_read_and_write_loses_nothing_that_says_something() {
    for object in objects() {
        assert_eq!(
            faults_of_written(&object),
            Vec::<String>::new(),
            "{}",
            object.key
        );
        let once = rewritten(&object);
        let again = Object {
            spec: once.clone(),
            ..object.clone()
        };
        assert_eq!(rewritten(&again), once, "{}", object.key);
        let lost: Vec<String> = paths(&object.spec)
            .into_iter()
            // The one default that is not written, as older clusters know no such field.
            .filter(|path| (object.key.kind, path.as_str()) != (Kind::BlockAffinity, "/type"))
            .filter(|path| once.pointer(path).is_none())
            .collect();
        assert_eq!(lost, Vec::<String>::new(), "{}: {once}", object.key);
    }
}

/// All but the revision.
fn meaning(object: &Object) -> Value {
    manifest::to_value(object)
}

/// The document of an object in some file of the folder, as a plain reader of YAML sees it.
fn documents(folder: &std::path::Path, key: &Key) -> Value {
    let all = files(folder).into_iter().flat_map(|path| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .flat_map(|value| match value.get("items") {
                Some(Value::Array(items)) => items.clone(),
                _ => vec![value],
            })
            .collect::<Vec<Value>>()
    });
    let mut found: Vec<Value> = all
        .filter(|value| {
            let kind = value["kind"].as_str().and_then(|kind| kind.parse().ok());
            kind == Some(key.kind) && value["metadata"]["name"] == json!(key.name)
        })
        .collect();
    assert_eq!(found.len(), 1, "{key}");
    found.remove(0)
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    let below = |path: PathBuf| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    };
    paths.flat_map(below).collect()
}

/// What a write may change without changing the meaning.
fn normal(value: &mut Value) {
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    fields.insert("apiVersion".to_owned(), json!(""));
    fields.insert("kind".to_owned(), json!(""));
    if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
        for field in ["labels", "annotations"] {
            if metadata
                .get(field)
                .and_then(Value::as_object)
                .is_some_and(serde_json::Map::is_empty)
            {
                metadata.remove(field);
            }
        }
        metadata.remove("namespace");
    }
    // `stringData` is moved into `data`.
    fields.remove("stringData");
    fields.remove("data");
}

/// Pointers to everything that says something.
fn paths(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![(String::new(), value)];
    while let Some((path, value)) = waiting.pop() {
        match value {
            Value::Null | Value::Bool(false) => {}
            Value::String(text) if text.is_empty() => {}
            Value::Array(items) => {
                let items = items.iter().enumerate();
                waiting.extend(items.map(|(index, item)| (format!("{path}/{index}"), item)));
            }
            Value::Object(fields) => {
                let escaped = |key: &String| key.replace('~', "~0").replace('/', "~1");
                let fields = fields.iter();
                waiting
                    .extend(fields.map(|(key, value)| (format!("{path}/{}", escaped(key)), value)));
            }
            _ => found.push(path),
        }
    }
    found
}
