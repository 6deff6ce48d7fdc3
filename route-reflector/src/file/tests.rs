use std::fs;
use std::io::Write;

use super::*;

#[test]
fn a_file_that_is_written_in_two_halves_is_taken_once_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rr.yaml");
    fs::write(&path, "old").unwrap();
    let mut file = ConfigFile::new(path.clone());
    assert!(file.look().is_none());
    let mut writer = fs::File::create(&path).unwrap();
    assert!(file.look().is_none(), "emptied");
    writer.write_all(b"new: ").unwrap();
    assert!(file.look().is_none(), "half");
    writer.write_all(b"text").unwrap();
    assert!(file.look().is_none(), "whole, but who knows");
    assert_eq!(file.look().unwrap().unwrap(), "new: text");
    assert!(file.look().is_none(), "no news");
}

#[test]
fn a_file_that_is_as_before_after_a_moment_is_no_news() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rr.yaml");
    fs::write(&path, "old").unwrap();
    let mut file = ConfigFile::new(path.clone());
    fs::write(&path, "").unwrap();
    assert!(file.look().is_none());
    fs::write(&path, "old").unwrap();
    assert!(file.look().is_none());
    fs::write(&path, "").unwrap();
    assert!(file.look().is_none(), "the first look at this one");
}

#[test]
fn a_file_that_stays_away_is_news() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rr.yaml");
    fs::write(&path, "old").unwrap();
    let mut file = ConfigFile::new(path.clone());
    fs::remove_file(&path).unwrap();
    assert!(file.look().is_none());
    assert!(file.look().unwrap().is_err());
    fs::write(&path, "old").unwrap();
    assert!(file.look().is_none());
    assert_eq!(file.look().unwrap().unwrap(), "old");
}

#[test]
fn what_was_taken_by_order_is_no_news_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rr.yaml");
    fs::write(&path, "old").unwrap();
    let mut file = ConfigFile::new(path.clone());
    fs::write(&path, "new").unwrap();
    assert!(file.look().is_none());
    assert_eq!(file.take().unwrap(), "new");
    assert!(file.look().is_none());
    assert!(file.look().is_none());
}
