//! Manifests: YAML or JSON text with one or several documents, or a `List`, each object with its line.
//!
//! Text is split at its document markers first, so that a fault in one document names its own line and the
//! others can be rewritten byte for byte.

mod document;
mod locate;

use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::resources;
use crate::store::{Key, Kind, Metadata, Object, StoreError};

use document::leading_comments;

/// The group and version that is written, but of the kinds of Kubernetes.
pub const API_VERSION: &str = "projectcalico.org/v3";

/// The group and version of Calico's CRDs, read as the same.
const CRD_API_VERSION: &str = "crd.projectcalico.org/v1";

/// Kinds of Calico that nothing here needs. They may stand in a file and are passed over.
const OTHER_KINDS: [&str; 7] = [
    "ExternalNetwork",
    "KubeControllersConfiguration",
    "Profile",
    "StagedGlobalNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
    "StagedNetworkPolicy",
    "Tier",
];

/// The longest document, or list, that is read. etcd and Kubernetes take objects of a fifth of it; the largest block, of 4096
/// addresses all in use, has about 2 MiB.
const DOCUMENT_OCTETS_MAX: usize = 8 << 20;

/// What a text holds.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// Objects that are well-formed and valid, in order.
    pub manifests: Vec<Manifest>,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Objects of Calico's kinds that are not used here: line and kind.
    pub passed_over: Vec<(usize, String)>,
}

/// An object and where it stands.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The object; its revision is `None`.
    pub object: Object,
    /// The line on which its document begins, counted from 1.
    pub line: usize,
    /// Where in the text its document is.
    pub(crate) document: Range<usize>,
    /// Its position when the document is a list.
    pub(crate) item: Option<usize>,
    /// Whether nothing but this object's own fields stands in the document: no comment, no `status`.
    pub(crate) plain: bool,
}

/// Something wrong in a text.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Which object, when that much could be read.
    pub key: Option<Key>,
    /// File with line, and the fault with its field.
    pub error: StoreError,
}

impl Parsed {
    /// The objects, or what is wrong with them.
    pub fn into_objects(self) -> Result<Vec<Object>, Vec<StoreError>> {
        if self.faults.is_empty() {
            let manifests = self.manifests.into_iter();
            Ok(manifests.map(|manifest| manifest.object).collect())
        } else {
            Err(self.faults.into_iter().map(|fault| fault.error).collect())
        }
    }
}

/// Reads a text; `origin` is the file's name, for errors. What has a namespace and names none is in `default`.
pub fn parse(origin: &str, text: &str) -> Parsed {
    parse_in("default", origin, text)
}

/// The same, with another namespace for what names none.
pub fn parse_in(namespace: &str, origin: &str, text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for chunk in document::split(text) {
        let body = &text[chunk.range.clone()];
        if body.len() > DOCUMENT_OCTETS_MAX {
            parsed.faults.push(Fault {
                key: None,
                error: StoreError::Invalid {
                    what: format!("{origin}:{}", chunk.line),
                    why: format!(
                        "this document has {} octets, and {DOCUMENT_OCTETS_MAX} are read",
                        body.len()
                    ),
                },
            });
            continue;
        }
        let value = match document::read(body) {
            Ok(Value::Null) => continue,
            Ok(value) => value,
            Err(fault) => {
                let line = chunk.line + fault.line.saturating_sub(1);
                parsed.faults.push(Fault {
                    key: None,
                    error: StoreError::Invalid {
                        what: format!("{origin}:{line}"),
                        why: fault.why,
                    },
                });
                continue;
            }
        };
        let source = Source {
            namespace,
            origin,
            body,
            line: chunk.line,
            range: &chunk.range,
        };
        match list_items(&value) {
            None => source.object(value, None, &mut parsed),
            Some(Ok(items)) => {
                for (index, item) in items.iter().enumerate() {
                    source.object(item.clone(), Some(index), &mut parsed);
                }
            }
            Some(Err(why)) => source.fault(None, None, &why, &mut parsed),
        }
    }
    parsed
}

/// The items of a `List`, of Kubernetes or of one of our kinds.
fn list_items(value: &Value) -> Option<Result<&[Value], String>> {
    let kind = value.get("kind")?.as_str()?;
    if !kind.ends_with("List") {
        return None;
    }
    Some(match value.get("items") {
        Some(Value::Array(items)) => Ok(items),
        // As Go writes a list of none.
        Some(Value::Null) => Ok(&[]),
        Some(_) => Err("items: is not a list".to_owned()),
        None => Err("items: is missing".to_owned()),
    })
}

struct Source<'a> {
    namespace: &'a str,
    origin: &'a str,
    body: &'a str,
    line: usize,
    range: &'a Range<usize>,
}

impl Source<'_> {
    fn object(&self, value: Value, item: Option<usize>, parsed: &mut Parsed) {
        let kind = match kind_of(&value) {
            Ok(Some(kind)) => kind,
            Ok(None) => {
                let kind = value["kind"].as_str().unwrap_or_default().to_owned();
                parsed.passed_over.push((self.line, kind));
                return;
            }
            Err(why) => return self.fault(None, item, &why, parsed),
        };
        let (object, plain) = match object_of(kind, value, self.namespace) {
            Ok(read) => read,
            Err(why) => return self.fault(None, item, &why, parsed),
        };
        let faults = resources::faults_of(&object);
        for why in &faults {
            self.fault(Some(&object.key), item, why, parsed);
        }
        if faults.is_empty() {
            parsed.manifests.push(Manifest {
                object,
                line: self.line,
                document: self.range.clone(),
                item,
                plain: plain && item.is_none() && leading_comments(self.body).is_empty(),
            });
        }
    }

    /// Records a fault; its text begins with the field's path, whose line is looked up.
    fn fault(&self, key: Option<&Key>, item: Option<usize>, why: &str, parsed: &mut Parsed) {
        let path = why.split(": ").next().unwrap_or_default();
        let path = match item {
            Some(index) => format!("items[{index}].{path}"),
            None => path.to_owned(),
        };
        let line = self.line
            + locate::line(self.body, &path)
                .unwrap_or(1)
                .saturating_sub(1);
        let what = match key {
            Some(key) => format!("{}:{line}: {key}", self.origin),
            None => format!("{}:{line}", self.origin),
        };
        parsed.faults.push(Fault {
            key: key.cloned(),
            error: StoreError::Invalid {
                what,
                why: why.to_owned(),
            },
        });
    }
}

/// The kind; `None` for one that is passed over.
fn kind_of(value: &Value) -> Result<Option<Kind>, String> {
    let Value::Object(fields) = value else {
        return Err("this is not an object with apiVersion, kind, metadata and spec".to_owned());
    };
    let word = |field: &str| match fields.get(field) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => Err(format!("{field}: {other} is not a word")),
        None => Err(format!("{field}: is missing")),
    };
    let (version, kind) = (word("apiVersion")?, word("kind")?);
    let known = Kind::all().iter().find(|known| known.as_str() == kind);
    if let Some(known) = known.filter(|known| known.is_of_kubernetes()) {
        let wanted = known.api_version();
        return if version == wanted {
            Ok(Some(*known))
        } else {
            Err(format!(
                "apiVersion: {version:?} is not {wanted}, which {known} has"
            ))
        };
    }
    if version != API_VERSION && version != CRD_API_VERSION {
        return Err(format!("apiVersion: {version:?} is not {API_VERSION}"));
    }
    match known {
        Some(known) => Ok(Some(*known)),
        None if OTHER_KINDS.contains(&kind) => Ok(None),
        None if kind == "IPAMConfiguration" => Ok(Some(Kind::IPAMConfig)),
        None => Err(format!("kind: there is no kind {kind:?}")),
    }
}

/// The object, and whether nothing but its own fields stands in the manifest.
pub(crate) fn object_of(
    kind: Kind,
    value: Value,
    namespace: &str,
) -> Result<(Object, bool), String> {
    let Value::Object(mut fields) = value else {
        return Err("this is not an object".to_owned());
    };
    let metadata = fields.remove("metadata").unwrap_or_else(|| json!({}));
    let mut metadata: Metadata = serde_path_to_error::deserialize(metadata).map_err(|error| {
        let path = error.path().to_string();
        let why = error.into_inner();
        match path.as_str() {
            "." => format!("metadata: {why}"),
            path => format!("metadata.{path}: {why}"),
        }
    })?;
    if metadata.name.is_empty() {
        return Err("metadata.name: is missing".to_owned());
    }
    if kind.namespaced() && metadata.namespace.is_none() {
        metadata.namespace = Some(namespace.to_owned());
    }
    let (spec, plain) = if kind.is_whole() {
        fields.remove("apiVersion");
        fields.remove("kind");
        if kind == Kind::Secret {
            resources::fold_string_data(&mut fields)?;
        }
        (Value::Object(fields), true)
    } else {
        let spec = fields.remove("spec").unwrap_or(Value::Null);
        (spec, fields.len() == 2)
    };
    let key = Key {
        kind,
        namespace: metadata.namespace.clone(),
        name: metadata.name.clone(),
    };
    let object = Object {
        key,
        metadata,
        spec,
        revision: None,
    };
    Ok((object, plain))
}

/// The manifest of an object.
pub fn to_value(object: &Object) -> Value {
    let kind = object.key.kind;
    if kind.is_whole() {
        let mut value = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.as_str(),
            "metadata": metadata_value(object),
        });
        if let (Value::Object(value), Value::Object(fields)) = (&mut value, &object.spec) {
            value.extend(fields.clone());
        }
        return value;
    }
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": metadata_value(object),
        "spec": object.spec,
    })
}

/// Metadata with the key's name and namespace, whatever the metadata itself says.
fn metadata_value(object: &Object) -> Value {
    let metadata = Metadata {
        name: object.key.name.clone(),
        namespace: object.key.namespace.clone(),
        ..object.metadata.clone()
    };
    serde_json::to_value(metadata).unwrap_or_else(|_| json!({ "name": object.key.name }))
}

/// The manifest of an object as YAML, every word quoted that a reader of YAML 1.1 would take for something else.
pub fn to_yaml(object: &Object) -> Result<String, StoreError> {
    value_to_yaml(&to_value(object)).map_err(|why| StoreError::Invalid {
        what: object.key.to_string(),
        why,
    })
}

/// Any value as YAML.
pub(crate) fn value_to_yaml(value: &Value) -> Result<String, String> {
    serde_saphyr::to_string(value).map_err(|error| error.to_string())
}

/// The text in which one object is replaced, or taken out when `object` is `None`. Other documents stay
/// byte for byte; so do the comments above the object and fields beside `spec`, such as `status`.
pub(crate) fn splice(
    text: &str,
    manifest: &Manifest,
    object: Option<&Object>,
) -> Result<String, String> {
    let range = manifest.document.clone();
    let old = &text[range.clone()];
    let value = document::read(old).map_err(|fault| fault.why)?;
    let new = match (manifest.item, object) {
        (None, None) => {
            let start = document::marker_before(text, range.start);
            return Ok(format!("{}{}", &text[..start], &text[range.end..]));
        }
        (None, Some(object)) => merged(value, object),
        (Some(index), object) => {
            let mut list = value;
            let items = list.get_mut("items").and_then(Value::as_array_mut);
            let items = items.filter(|items| index < items.len());
            let items = items.ok_or("the list has changed")?;
            match object {
                None => {
                    items.remove(index);
                }
                Some(object) => items[index] = merged(items[index].take(), object),
            }
            list
        }
    };
    let body = if old.trim_start().starts_with('{') {
        serde_json::to_string_pretty(&new).map_err(|error| error.to_string())? + "\n"
    } else {
        let own_line = text[..range.start].is_empty() || text[..range.start].ends_with('\n');
        let comments = leading_comments(old);
        let gap = if own_line { "" } else { "\n" };
        format!("{gap}{comments}{}", value_to_yaml(&new)?)
    };
    Ok(format!(
        "{}{body}{}",
        &text[..range.start],
        &text[range.end..]
    ))
}

/// Whether a text holds no document.
pub(crate) fn is_empty(text: &str) -> bool {
    document::split(text).is_empty()
}

/// The old manifest with the new object's metadata and spec; other fields stay.
fn merged(old: Value, object: &Object) -> Value {
    let mut fields = match old {
        // Of a kind that is whole all fields are the object's own.
        Value::Object(fields) if !object.key.kind.is_whole() => fields,
        _ => Map::new(),
    };
    if let Value::Object(new) = to_value(object) {
        fields.extend(new);
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests;
