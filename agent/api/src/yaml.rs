//! What is said of a configuration that cannot be read.

/// A fault in words, with the line that it is in. The lines around it may hold a password, and logs are read by many: where the file has
/// one, the line is shown alone, and only when neither it nor the line before it speaks of passwords.
pub fn fault(text: &str, fault: &serde_saphyr::Error) -> String {
    if !is_secret(text) {
        return fault.to_string();
    }
    let words = fault.without_snippet().to_string();
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

fn is_secret(text: &str) -> bool {
    text.contains("password")
}

#[cfg(test)]
mod tests;
