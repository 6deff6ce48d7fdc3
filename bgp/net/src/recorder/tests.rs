use std::fs::{read_dir, read_to_string, write};

use caracal_bgp::SpeakerConfig;

use super::*;

#[test]
fn the_records_of_the_last_five_processes_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bgp.jsonl");
    for process in 1..=7 {
        let config = SpeakerConfig::new(64512, [192, 0, 2, 1].into());
        begin(&mut Speaker::new(config, Time::ZERO), Time::ZERO, &path).unwrap();
        write(&path, format!("process {process}")).unwrap();
    }
    for age in 1..=5 {
        let kept = read_to_string(earlier(&path, age)).unwrap();
        assert_eq!(kept, format!("process {}", 7 - age));
    }
    assert_eq!(read_to_string(&path).unwrap(), "process 7");
    assert_eq!(read_dir(directory.path()).unwrap().count(), 6);
}

#[test]
fn an_empty_record_pushes_none_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bgp.jsonl");
    write(earlier(&path, 1), "crashed").unwrap();
    write(&path, "").unwrap();
    keep_earlier(&path).unwrap();
    assert_eq!(read_to_string(earlier(&path, 1)).unwrap(), "crashed");
    assert!(!earlier(&path, 2).exists());
}

#[test]
fn a_device_is_not_renamed() {
    keep_earlier(Path::new("/dev/null")).unwrap();
    assert!(Path::new("/dev/null").exists());
}
