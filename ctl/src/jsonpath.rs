//! `-o jsonpath=…`: kubectl's templates. The paths are those of RFC 9535 (the crate jsonpath-rust) once they are
//! written as it wants them; text, literals and `range` around them are read here.
//!
//! ```text
//!   pool {.metadata.name}: {range .spec.allowedUses[*]}{@}{"\n"}{end}
//!   text ─┘  path ──┘        range ──┘                   literal ┘
//! ```

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

/// A template, parsed once and printed for one root.
#[derive(Debug)]
pub(crate) struct Template(Vec<Part>);

/// A path in an object.
#[derive(Debug)]
pub(crate) struct Path {
    query: JpQuery,
    /// Begins at the root, even within a `range`.
    from_root: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Path(Path),
    Range(Path, Vec<Part>),
}

impl Template {
    /// Parses; the fault names the piece that is not understood.
    pub(crate) fn parse(text: &str) -> Result<Template, String> {
        if !text.contains('{') {
            return Err(format!(
                "{text:?} has no path: a path stands in braces, as in {{.metadata.name}}"
            ));
        }
        let mut rest = text;
        let parts = parts(&mut rest, 0)?;
        Ok(Template(parts))
    }

    /// The text for this root.
    pub(crate) fn print(&self, root: &Value) -> Result<String, String> {
        let mut out = String::new();
        print(&self.0, root, root, &mut out)?;
        Ok(out)
    }
}

impl Path {
    /// Parses `.a.b[0]`; a leading `.` may be left out, and braces may stand around it.
    pub(crate) fn parse_relaxed(text: &str) -> Result<Path, String> {
        let bare = text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'));
        let bare = bare.unwrap_or(text);
        match bare.chars().next() {
            Some('.' | '[' | '$' | '@') => Path::parse(bare),
            _ => Path::parse(&format!(".{bare}")),
        }
    }

    fn parse(text: &str) -> Result<Path, String> {
        let unknown = |why: &str| {
            format!(
                "path {text:?}: {why}; known are .field, ['field'], .a\\.b, [0], [-1], [0:2], [*], ..field, [?(@.a==\"b\")]"
            )
        };
        let written = rewritten(text).map_err(|why| unknown(&why))?;
        let query = parse_json_path(&written).map_err(|_| unknown("is not understood"))?;
        Ok(Path {
            query,
            from_root: text.starts_with('$'),
        })
    }

    /// All that it leads to.
    pub(crate) fn values<'v>(&self, value: &'v Value) -> Result<Vec<&'v Value>, String> {
        let found = js_path_process(&self.query, value).map_err(|error| error.to_string())?;
        Ok(found.into_iter().map(|found| found.val()).collect())
    }
}

/// As kubectl prints a value: words bare, structures as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Reads parts up to the end, or to the `{end}` of a range.
fn parts(rest: &mut &str, depth: usize) -> Result<Vec<Part>, String> {
    if depth > DEPTH_MAX {
        return Err(format!("ranges are nested deeper than {DEPTH_MAX}"));
    }
    let mut parts = Vec::new();
    loop {
        let Some((text, behind)) = rest.split_once('{') else {
            if depth > 0 {
                return Err("{range ...} has no {end}".to_owned());
            }
            push_text(&mut parts, rest);
            *rest = "";
            return Ok(parts);
        };
        push_text(&mut parts, text);
        let (inside, behind) = braced(behind)?;
        *rest = behind;
        let inside = inside.trim();
        if inside == "end" {
            return match depth {
                0 => Err("{end} has no {range ...}".to_owned()),
                _ => Ok(parts),
            };
        }
        if let Some(path) = inside.strip_prefix("range ") {
            let path = Path::parse(path.trim())?;
            let body = self::parts(rest, depth + 1)?;
            parts.push(Part::Range(path, body));
        } else if inside.starts_with(['"', '\'']) {
            parts.push(Part::Text(literal(inside)?));
        } else {
            parts.push(Part::Path(Path::parse(inside)?));
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// What stands before the closing brace, and what behind it. A brace within quotes closes nothing.
fn braced(text: &str) -> Result<(&str, &str), String> {
    let mut quotes = Quotes::default();
    for (at, letter) in text.char_indices() {
        if quotes.outside(letter) && letter == '}' {
            return Ok((&text[..at], &text[at + 1..]));
        }
    }
    Err(format!("{{{text} has no closing brace"))
}

/// `"\n"`: text with C's escapes.
fn literal(quoted: &str) -> Result<String, String> {
    let bad = || format!("{quoted} is not a text in quotes");
    let quote = quoted.chars().next().ok_or_else(bad)?;
    let body = quoted[1..].strip_suffix(quote).ok_or_else(bad)?;
    let mut out = String::new();
    let mut letters = body.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some(other @ ('\\' | '"' | '\'' | '{' | '}')) => out.push(other),
            _ => return Err(bad()),
        }
    }
    Ok(out)
}

fn print(parts: &[Part], root: &Value, here: &Value, out: &mut String) -> Result<(), String> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Path(path) => {
                let found = path.values(if path.from_root { root } else { here })?;
                let words: Vec<String> = found.into_iter().map(plain).collect();
                out.push_str(&words.join(" "));
            }
            Part::Range(path, body) => {
                for value in path.values(if path.from_root { root } else { here })? {
                    print(body, root, value, out)?;
                }
            }
        }
    }
    Ok(())
}

/// kubectl's path as RFC 9535 writes it: `.a\.b/c` is `['a.b/c']`.
fn rewritten(path: &str) -> Result<String, String> {
    let mut out = "$".to_owned();
    let mut rest = path.strip_prefix(['$', '@']).unwrap_or(path);
    while let Some(letter) = rest.chars().next() {
        match letter {
            '[' => {
                let inside = bracketed(&rest[1..])?;
                out.push_str(&format!("[{}]", quoted_as_rfc(inside)));
                rest = &rest[inside.len() + 2..];
            }
            '.' => {
                rest = &rest[1..];
                if let Some(below) = rest.strip_prefix('.') {
                    out.push_str("..");
                    rest = below;
                    if rest.is_empty() {
                        return Err("ends in ..".to_owned());
                    }
                }
                // `.` alone is the value itself; `.[0]` is `[0]`.
                if rest.is_empty() || rest.starts_with('[') {
                    continue;
                }
                let (name, behind) = name(rest)?;
                match name.as_str() {
                    "*" => out.push_str("[*]"),
                    name => {
                        let name = name.replace('\\', "\\\\").replace('\'', "\\'");
                        out.push_str(&format!("['{name}']"));
                    }
                }
                rest = behind;
            }
            other => return Err(format!("{other:?} does not begin a step")),
        }
    }
    Ok(out)
}

/// A field's name up to the next step; a backslash takes the meaning from what follows.
fn name(text: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, letter)) => name.push(letter),
                None => return Err("ends in a backslash".to_owned()),
            },
            '.' | '[' if name.is_empty() => return Err("a field has no name".to_owned()),
            '.' | '[' => return Ok((name, &text[at..])),
            letter if letter.is_whitespace() => {
                return Err("a blank stands in it, and one path stands in a brace".to_owned());
            }
            letter => name.push(letter),
        }
    }
    Ok((name, ""))
}

/// What stands before the bracket that closes.
fn bracketed(text: &str) -> Result<&str, String> {
    let mut quotes = Quotes::default();
    let mut open = 1_usize;
    for (at, letter) in text.char_indices() {
        if !quotes.outside(letter) {
            continue;
        }
        match letter {
            '[' => open += 1,
            ']' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Ok(&text[..at]);
        }
    }
    Err("a bracket is not closed".to_owned())
}

/// `?(@.a\.b == "c")`: escaped names within filters, too.
fn quoted_as_rfc(inside: &str) -> String {
    let inside = inside.trim();
    if !inside.starts_with('?') || !inside.contains('\\') && !inside.contains('-') {
        return inside.to_owned();
    }
    let mut out = String::new();
    let mut quotes = Quotes::default();
    let mut rest = inside;
    while let Some(letter) = rest.chars().next() {
        let outside = quotes.outside(letter);
        let behind = &rest[letter.len_utf8()..];
        out.push(letter);
        rest = behind;
        if !outside || letter != '@' {
            continue;
        }
        let end = path_end(behind);
        match rewritten(&behind[..end]) {
            Ok(path) => out.push_str(&path[1..]),
            Err(_) => out.push_str(&behind[..end]),
        }
        rest = &behind[end..];
    }
    out
}

/// Where a path within a filter ends: at a blank, a comparison, a bracket that closes.
fn path_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match letter {
            '\\' => escaped = true,
            ' ' | '=' | '!' | '<' | '>' | ')' | '&' | '|' | '[' => return at,
            _ => {}
        }
    }
    text.len()
}

/// Whether a text is within quotes.
#[derive(Default)]
struct Quotes {
    open: Option<char>,
    escaped: bool,
}

impl Quotes {
    /// Takes the next letter; whether it stands outside.
    fn outside(&mut self, letter: char) -> bool {
        if std::mem::take(&mut self.escaped) {
            return false;
        }
        match (self.open, letter) {
            (_, '\\') => {
                self.escaped = true;
                false
            }
            (None, '"' | '\'') => {
                self.open = Some(letter);
                false
            }
            (None, _) => true,
            (Some(open), letter) => {
                if letter == open {
                    self.open = None;
                }
                false
            }
        }
    }
}

/// More nobody writes by hand.
const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests;
