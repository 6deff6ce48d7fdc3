//! What is said of a configuration that cannot be read.

/// A fault in words, with the line that it is in. The lines around it may hold a password, and logs are read by many: where the file has
/// one, the line is shown alone, and only when neither it nor the line before it speaks of passwords.
pub fn fault(text: &str, fault: &serde_saphyr::Error) -> String {
    if !is_secret(text) {
        return for_people(&fault.to_string());
    }
    let words = for_people(&fault.without_snippet().to_string());
    let line = fault
        .location()
        .and_then(|at| usize::try_from(at.line()).ok());
    let lines: Vec<&str> = text.lines().take(line.unwrap_or(0)).collect();
    match lines[..] {
        [.., before, line] if is_secret(before) || is_secret(line) => words,
        [.., line] if !is_secret(line) => format!("{words}: `{}`", line.trim()),
        _ => words,
    }
}

/// The library speaks to programmers, of its own options and of their types.
fn for_people(words: &str) -> String {
    WORDS
        .iter()
        .fold(words.to_owned(), |words, (theirs, ours)| {
            words.replace(theirs, ours)
        })
}

const WORDS: [(&str, &str); 6] = [
    (", set DuplicateKeyPolicy in Options if acceptable", ""),
    ("invalid u32", "not a whole number from 0 to 4294967295"),
    ("invalid u16", "not a whole number from 0 to 65535"),
    ("invalid u8", "not a whole number from 0 to 255"),
    ("expected sequence start", "expected a list"),
    ("expected mapping start", "expected keys with values"),
];

fn is_secret(text: &str) -> bool {
    text.contains("password")
}

#[cfg(test)]
mod tests;
