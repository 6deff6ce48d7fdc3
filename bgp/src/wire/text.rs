//! Texts that peers send one another for people to read: bounded, and printable once they are here.

use super::cursor::Cursor;

/// The front of `text` that takes at most `octets_max` octets, cut between characters.
pub(super) fn cut(text: &str, octets_max: usize) -> &str {
    let ends = text.char_indices().map(|(at, char)| at + char.len_utf8());
    let end = ends.take_while(|end| *end <= octets_max).last();
    &text[..end.unwrap_or(0)]
}

/// What a peer sent, fit for a terminal and a log: UTF-8, and `?` for all that is no letter, digit, blank
/// or ASCII punctuation. Never longer than it came, in characters.
pub(super) fn printable(octets: &[u8]) -> String {
    let printable = |char: char| char.is_alphanumeric() || matches!(char, ' '..='~');
    let text = String::from_utf8_lossy(octets);
    let chars = text.chars();
    chars
        .map(|char| if printable(char) { char } else { '?' })
        .collect()
}

/// A text with its length in one octet before it.
pub(super) fn decode_short(cursor: &mut Cursor<'_>) -> Option<String> {
    let length = cursor.u8()?;
    cursor.take(usize::from(length)).map(printable)
}

/// Appends a text with its length in one octet before it.
pub(super) fn encode_short(text: &str, out: &mut Vec<u8>) {
    let text = cut(text, usize::from(u8::MAX));
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests;
