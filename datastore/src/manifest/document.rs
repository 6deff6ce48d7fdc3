//! One text into its documents, and one document into a value.

use std::ops::Range;

use serde_json::Value;

/// A document's place in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Its bytes, without the marker line.
    pub(crate) range: Range<usize>,
    /// The line on which it begins, counted from 1.
    pub(crate) line: usize,
}

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Within the document, counted from 1.
    pub(crate) line: usize,
    pub(crate) why: String,
}

/// The documents of a text. `---` and `...` at the start of a line are markers wherever they stand: YAML
/// allows no content to look like them.
pub(crate) fn split(text: &str) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut start_line = 1;
    let mut offset = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if is_marker(line) {
            chunks.push(Chunk {
                range: start..offset,
                line: start_line,
            });
            let rest = line[3..].trim();
            let inline = !rest.is_empty() && !rest.starts_with('#');
            start = if inline {
                offset + 3
            } else {
                offset + line.len()
            };
            start_line = if inline { index + 1 } else { index + 2 };
        }
        offset += line.len();
    }
    chunks.push(Chunk {
        range: start..text.len(),
        line: start_line,
    });
    chunks.retain(|chunk| !is_blank(&text[chunk.range.clone()]));
    chunks
}

fn is_marker(line: &str) -> bool {
    (line.starts_with("---") || line.starts_with("..."))
        && line[3..].chars().next().is_none_or(char::is_whitespace)
}

/// Comments, directives and empty lines only.
fn is_blank(body: &str) -> bool {
    body.trim_start_matches('\u{feff}').lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line.starts_with('%')
    })
}

/// Where the marker line of the document that begins at `start` begins; `start` itself when there is none.
pub(crate) fn marker_before(text: &str, start: usize) -> usize {
    let before = &text[..start];
    let line_start = |end: usize| before[..end].rfind('\n').map_or(0, |at| at + 1);
    let candidate = match before.strip_suffix('\n') {
        Some(previous) => line_start(previous.len()),
        None => line_start(before.len()),
    };
    if before[candidate..].starts_with("---") {
        candidate
    } else {
        start
    }
}

/// The comment lines above the first line of content.
pub(crate) fn leading_comments(body: &str) -> &str {
    let mut end = 0;
    for line in body.split_inclusive('\n') {
        let bare = line.trim();
        if !(bare.is_empty() || bare.starts_with('#')) {
            break;
        }
        end += line.len();
    }
    &body[..end]
}

/// Reads one document: JSON when it is JSON, YAML otherwise.
pub(crate) fn read(body: &str) -> Result<Value, Fault> {
    if body.trim_start().starts_with('{')
        && let Ok(value) = serde_json::from_str(body)
    {
        return Ok(value);
    }
    serde_saphyr::from_str_with_options(body, options()).map_err(|error| Fault {
        line: error.location().map_or(1, |location| {
            usize::try_from(location.line()).unwrap_or(1).max(1)
        }),
        why: plain(&error),
    })
}

/// Room for a list of some ten thousand objects, and still an end.
pub(crate) fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: 4_000_000,
            max_events: 16_000_000,
        },
    }
}

/// The error in one line. Its own "at line …" counts within the document and would contradict ours.
fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.lines().next().unwrap_or_default().trim();
    let text = text.split(" at line ").next().unwrap_or(text);
    format!(
        "not YAML: {}",
        text.replace(", set DuplicateKeyPolicy in Options if acceptable", "")
    )
}
