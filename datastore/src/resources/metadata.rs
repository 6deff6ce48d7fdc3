//! Labels and annotations as Kubernetes takes them. Only what is written is checked: what others have stored is read
//! all the same.

use crate::store::Metadata;

/// What is wrong with an object's labels and annotations.
pub(crate) fn faults(metadata: &Metadata) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, value) in &metadata.labels {
        if !is_qualified_name(key) {
            faults.push(format!("metadata.labels: {key:?} is not a label's name"));
        }
        if !(value.is_empty() || is_name(value)) {
            faults.push(format!(
                "metadata.labels.{key}: {value:?} is not a label's value (up to 63 letters, digits, '-', '_' and '.')"
            ));
        }
    }
    let mut size = 0;
    for (key, value) in &metadata.annotations {
        if !is_qualified_name(&key.to_ascii_lowercase()) {
            faults.push(format!(
                "metadata.annotations: {key:?} is not an annotation's name"
            ));
        }
        size += key.len() + value.len();
    }
    if size > ANNOTATIONS_OCTETS_MAX {
        faults.push(format!(
            "metadata.annotations: {size} octets, and {ANNOTATIONS_OCTETS_MAX} are the most"
        ));
    }
    faults
}

const ANNOTATIONS_OCTETS_MAX: usize = 256 * 1024;

/// A name, perhaps with a DNS name and a slash before it.
fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        None => is_name(text),
        Some((domain, name)) => super::fields::is_subdomain(domain) && is_name(name),
    }
}

fn is_name(text: &str) -> bool {
    let edge = |c: &u8| c.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && bytes
            .iter()
            .all(|c| edge(c) || matches!(c, b'-' | b'_' | b'.'))
        && bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
}
