//! What `caracal-replay` says, and its exit code.

#![allow(clippy::unwrap_used, reason = "how a test fails")]

use std::path::Path;
use std::process::Command;

use caracal_bgp::{PeerConfig, Speaker, SpeakerConfig, Time};
use caracal_monitor::record;

/// Lines of a speaker that got two peers.
fn lines() -> Vec<u8> {
    let mut speaker = Speaker::new(SpeakerConfig::new(64512, [192, 0, 2, 1].into()), Time::ZERO);
    speaker.set_recording(Time::ZERO, true);
    for host in [2, 3] {
        let config = PeerConfig::new([192, 0, 2, host].into(), 64512, 64512);
        speaker.set_peer(Time::ZERO, config);
    }
    let mut lines = Vec::new();
    while let Some(step) = speaker.poll_record() {
        record::write(&step, &mut lines).unwrap();
    }
    lines
}

/// Exit code, standard output and standard error.
fn run(argument: &Path) -> (Option<i32>, String, String) {
    let program = env!("CARGO_BIN_EXE_caracal-replay");
    let output = Command::new(program).arg(argument).output().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn replayed(lines: &[u8], name: &str) -> (Option<i32>, String, String) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, lines).unwrap();
    run(&path)
}

#[test]
fn a_whole_record_matches() {
    let (code, out, err) = replayed(&lines(), "whole.jsonl");
    assert_eq!(code, Some(0), "{err}");
    assert!(
        out.contains("3 records") && out.contains("2 peers"),
        "{out}"
    );
}

#[test]
fn of_a_record_cut_in_its_last_line_the_lines_before_are_said_to_match() {
    let lines = lines();
    let (code, _, err) = replayed(&lines[..lines.len() - 9], "cut.jsonl");
    assert_eq!(code, Some(1));
    assert!(
        err.contains("line 3 is cut off; the 2 before it matched"),
        "{err}"
    );
}

#[test]
fn a_record_cut_inside_a_character_is_cut_like_any_other() {
    let (code, _, err) = replayed(b"{\"at\": \"\xc3", "character.jsonl");
    assert_eq!(code, Some(1));
    assert!(err.contains("line 1 is cut off"), "{err}");
}

#[test]
fn a_faulty_line_in_the_middle_is_not_taken_for_a_cut() {
    let mut lines = lines();
    lines.splice(0..0, *b"{\"at\":\n");
    let (code, _, err) = replayed(&lines, "middle.jsonl");
    assert_eq!(code, Some(1));
    assert!(err.contains("line 1: ") && !err.contains("cut"), "{err}");
}

#[test]
fn an_empty_file_is_an_error() {
    let (code, _, err) = replayed(b"", "empty.jsonl");
    assert_eq!(code, Some(1));
    assert!(err.contains("empty: no record"), "{err}");
}

#[test]
fn help_is_the_usage_and_no_file() {
    let (code, out, err) = run(Path::new("--help"));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("usage: caracal-replay FILE"), "{out}");
}
