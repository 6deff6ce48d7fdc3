//! Texts from strangers.

use super::*;

#[test]
fn a_text_is_cut_between_characters() {
    for (text, octets_max, cut_text) in [
        ("node", 10, "node"),
        ("node", 2, "no"),
        ("aé", 2, "a"),
        ("é", 0, ""),
    ] {
        assert_eq!(cut(text, octets_max), cut_text, "{text} {octets_max}");
    }
}

#[test]
fn what_no_terminal_should_see_becomes_a_question_mark() {
    for (octets, text) in [
        (&b"node-1.example"[..], "node-1.example"),
        ("knödel 7".as_bytes(), "knödel 7"),
        (b"\x1b[2J\n\0", "?[2J??"),
        (b"a\xff", "a?"),
        ("\u{202e}txt".as_bytes(), "?txt"),
    ] {
        assert_eq!(printable(octets), text);
    }
}

#[test]
fn a_short_text_survives_and_a_long_one_is_cut() {
    let mut out = Vec::new();
    encode_short("node", &mut out);
    encode_short(&"x".repeat(300), &mut out);
    let mut cursor = Cursor::new(&out);
    assert_eq!(decode_short(&mut cursor).as_deref(), Some("node"));
    assert_eq!(decode_short(&mut cursor), Some("x".repeat(255)));
    assert_eq!(decode_short(&mut cursor), None);
    assert_eq!(decode_short(&mut Cursor::new(&[3, b'a'])), None);
}
