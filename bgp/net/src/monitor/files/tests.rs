use std::fs::{read_to_string, write};

use caracal_monitor::config::UpdatesConfig;

use super::*;

fn names(directory: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let names = read_dir(directory).unwrap().map(name);
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_start_completes_the_messages_that_a_killed_process_left() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "updates.100.mrt",
        "updates.100.mrt.part",
        "updates.200.mrt.part",
        "updates.300.mrt.part",
        "updates.mine.mrt.part",
        "rib.200.mrt.part",
    ] {
        write(directory.path().join(name), name).unwrap();
    }
    let config = MrtConfig {
        updates: Some(UpdatesConfig {
            directory: directory.path().to_owned(),
            rotate_seconds: 900,
            rotate_octets: 1 << 20,
            sent: false,
        }),
        rib: None,
    };
    Files::start(&config).unwrap().finish().await;
    assert_eq!(
        names(directory.path()),
        [
            "rib.200.mrt.part",
            "updates.100.mrt",
            "updates.100.mrt.part",
            "updates.200.mrt",
            "updates.300.mrt",
            "updates.mine.mrt.part",
        ]
    );
    let kept = |name| read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(kept("updates.100.mrt"), "updates.100.mrt");
    assert_eq!(kept("updates.200.mrt"), "updates.200.mrt.part");
}

#[tokio::test]
async fn a_directory_that_is_not_there_yet_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let config = MrtConfig {
        updates: Some(UpdatesConfig {
            directory: directory.path().join("mrt"),
            rotate_seconds: 900,
            rotate_octets: 1 << 20,
            sent: false,
        }),
        rib: None,
    };
    let writer = Writer::new(&config, Arc::default());
    writer.complete_left();
    assert_eq!(writer.counters.errors.load(Ordering::Relaxed), 0);
}
