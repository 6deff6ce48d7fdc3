//! Files of ours whose kind nobody watches are not read before somebody asks for it: a cluster has tens of thousands of
//! handles, and every process of the folder would read each change of each.
//!
//! What such a file holds is known from its first lines, which only say kind and name as we write them. Anything else,
//! in a person's hand or with several documents, is read at once, because its objects may be asked for by any name.

use std::path::Path;

use crate::file::layout;
use crate::store::{Key, Kind};

/// The kind of a file that holds one object in our own form, at the place where it is looked for by its name.
pub(super) fn kind_of(path: &Path, folder: &Path, bytes: &[u8]) -> Option<Kind> {
    let key = only_key(std::str::from_utf8(bytes).ok()?)?;
    (layout::path_of(folder, &key) == path).then_some(key.kind)
}

/// The key of a text with the lines that we write, and none that might begin something else.
fn only_key(text: &str) -> Option<Key> {
    let (mut version, mut kind, mut name, mut namespace) = (None, None, None, None);
    let mut above = "";
    for line in text.lines().filter(|line| !line.starts_with(' ')) {
        let (field, value) = line.split_once(':')?;
        let place = match field {
            "apiVersion" => &mut version,
            "kind" => &mut kind,
            "metadata" | "spec" => continue,
            _ => return None,
        };
        let twice = place.replace(plain(value)?).is_some();
        if twice {
            return None;
        }
    }
    for line in text.lines() {
        if !line.starts_with(' ') {
            above = line;
        } else if above == "metadata:"
            && let Some((field, value)) = line.strip_prefix("  ")?.split_once(':')
        {
            match field {
                "name" => name = Some(plain(value)?),
                "namespace" => namespace = Some(plain(value)?),
                _ => {}
            }
        }
    }
    let kind = Kind::all()
        .iter()
        .find(|known| Some(known.as_str()) == kind && Some(known.api_version()) == version)?;
    match namespace {
        None => Some(Key::new(*kind, name?)),
        Some(namespace) => Some(Key::in_namespace(*kind, namespace, name?)),
    }
}

/// A value without quotes, comments or anything else that must be understood.
fn plain(value: &str) -> Option<&str> {
    let value = value.strip_prefix(' ')?;
    let simple = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    (!value.is_empty() && value.bytes().all(simple)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::to_yaml;
    use crate::store::{Metadata, Object};

    fn object(key: Key) -> Object {
        Object {
            metadata: Metadata {
                name: key.name.clone(),
                namespace: key.namespace.clone(),
                ..Metadata::default()
            },
            key,
            revision: None,
            spec: serde_json::json!({"handleID": "x", "list": [1, {"name": "y"}]}),
        }
    }

    #[test]
    fn what_we_write_ourselves_is_known_by_its_first_lines() {
        let folder = Path::new("/store");
        for key in [
            Key::new(Kind::IPAMHandle, "k8s-pod-network.0a1b"),
            Key::in_namespace(Kind::WorkloadEndpoint, "default", "n-k8s-p-eth0"),
        ] {
            let path = layout::path_of(folder, &key);
            let text = to_yaml(&object(key.clone())).unwrap();
            assert_eq!(
                kind_of(&path, folder, text.as_bytes()),
                Some(key.kind),
                "{text}"
            );
            // Under another name it may be asked for by any.
            let other = path.with_file_name("other.yaml");
            assert_eq!(kind_of(&other, folder, text.as_bytes()), None);
        }
    }

    #[test]
    fn what_may_hold_something_else_is_not() {
        let folder = Path::new("/store");
        let key = Key::new(Kind::IPAMHandle, "a");
        let path = layout::path_of(folder, &key);
        let text = to_yaml(&object(key)).unwrap();
        assert!(kind_of(&path, folder, text.as_bytes()).is_some());
        for other in [
            format!("{text}---\n{text}"),
            format!("# mine\n{text}"),
            format!("{text}status: {{}}\n"),
            format!("{text}kind: IPPool\n"),
            text.replace("name: a", "name: b"),
            text.replace("name: a", "name: \"a\""),
            text.replace("IPAMHandle", "IPAMHandle # no"),
            text.replace("projectcalico.org/v3", "v1"),
            text.replace("metadata:\n  name: a", "metadata: {name: a}"),
            "{}".to_owned(),
            String::new(),
        ] {
            assert_eq!(kind_of(&path, folder, other.as_bytes()), None, "{other}");
        }
        assert_eq!(kind_of(&path, folder, b"\xff"), None);
    }
}
