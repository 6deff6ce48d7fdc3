//! In folders of our own.

use super::*;

const LIST: &str = r#"{"name": "k8s-pod-network", "cniVersion": "1.0.0", "plugins": [{"type": "caracal-cni"}, {"type": "portmap"}]}"#;

/// A node's folders, an image's files, and what a call of `install` says.
struct Node {
    root: tempfile::TempDir,
    places: Places,
}

impl Node {
    fn new(conflist: &str) -> Node {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::write(path("05-caracal.conflist"), conflist).unwrap();
        fs::write(path("program"), "the program").unwrap();
        fs::create_dir(path("bin")).unwrap();
        fs::write(path("bin/portmap"), "").unwrap();
        let places = Places {
            conflist: path("05-caracal.conflist"),
            bin_dir: path("bin"),
            conf_dir: path("net.d"),
        };
        Node { root, places }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn install(&self) -> Result<Report, String> {
        install(&self.places, &self.path("program"))
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// All files of a folder.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn plugin_and_configuration_are_put_in_place_and_nothing_else() {
    let node = Node::new(LIST);
    let report = node.install().unwrap();
    assert_eq!(report.done.len(), 2);
    assert!(report.done.iter().all(|line| line.ends_with(": written")));
    assert_eq!(report.warnings, Vec::<String>::new());
    assert_eq!(
        fs::read(node.path("bin/caracal-cni")).unwrap(),
        b"the program"
    );
    assert_eq!(node.mode("bin/caracal-cni"), 0o755);
    let written = fs::read_to_string(node.path("net.d/05-caracal.conflist")).unwrap();
    assert_eq!(written, LIST);
    assert_eq!(node.mode("net.d/05-caracal.conflist"), 0o644);
    assert_eq!(node.names("bin"), ["caracal-cni", "portmap"]);
    assert_eq!(node.names("net.d"), ["05-caracal.conflist"]);
}

#[test]
fn what_is_as_it_should_be_is_not_touched() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::new(LIST);
    node.install().unwrap();
    let inode = |name: &str| fs::metadata(node.path(name)).unwrap().ino();
    let files = ["bin/caracal-cni", "net.d/05-caracal.conflist"];
    let before = files.map(inode);
    let report = node.install().unwrap();
    assert!(
        report
            .done
            .iter()
            .all(|line| line.ends_with("is as it should be"))
    );
    assert_eq!(files.map(inode), before);
}

#[test]
fn a_plugin_that_runs_is_replaced_beside_it() {
    let node = Node::new(LIST);
    node.install().unwrap();
    // Who has it open reads on in the old one.
    let mut running = File::open(node.path("bin/caracal-cni")).unwrap();
    fs::write(node.path("program"), "a newer program").unwrap();
    // As left by a crash.
    fs::write(node.path("bin/.caracal-cni.new"), "half").unwrap();
    node.install().unwrap();
    let mut text = String::new();
    running.read_to_string(&mut text).unwrap();
    assert_eq!(text, "the program");
    assert_eq!(
        fs::read(node.path("bin/caracal-cni")).unwrap(),
        b"a newer program"
    );
    assert_eq!(node.names("bin"), ["caracal-cni", "portmap"]);
}

#[test]
fn without_a_plugin_that_it_names_there_is_no_configuration() {
    let node = Node::new(LIST);
    fs::remove_file(node.path("bin/portmap")).unwrap();
    let fault = node.install().unwrap_err();
    assert!(fault.contains("portmap"), "{fault}");
    assert_eq!(node.names("net.d"), Vec::<String>::new());
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_before_anything_is_written() {
    for (text, words) in [
        ("{", "is not JSON"),
        (
            r#"{"name": "a", "cniVersion": "1.0.0"}"#,
            "no list of plugins",
        ),
        (
            r#"{"name": "a", "cniVersion": "1.0.0", "plugins": [{"type": "calico"}]}"#,
            "no plugin of type caracal-cni",
        ),
        (
            r#"{"name": "a", "cniVersion": "1.0.0", "plugins": [{"type": "../sh"}]}"#,
            "plugins[0].type",
        ),
        (
            r#"{"name": "a", "cniVersion": "9", "plugins": [{"type": "caracal-cni"}]}"#,
            "cniVersion 9",
        ),
        (
            r#"{"name": "a", "cniVersion": "1.0.0", "plugins": [{"type": "caracal-cni", "mtu": "big"}]}"#,
            "mtu",
        ),
    ] {
        let node = Node::new(text);
        let fault = node.install().unwrap_err();
        assert!(fault.contains(words), "{fault}");
        assert_eq!(node.names("bin"), ["portmap"]);
        assert!(!node.path("net.d").exists());
    }
}

#[test]
fn a_configuration_that_wins_over_ours_is_named() {
    let node = Node::new(LIST);
    fs::create_dir(node.path("net.d")).unwrap();
    for name in ["10-calico.conflist", "00-notes.txt"] {
        fs::write(node.path("net.d").join(name), "").unwrap();
    }
    assert_eq!(node.install().unwrap().warnings, Vec::<String>::new());
    fs::write(node.path("net.d/00-other.conf"), "").unwrap();
    let warnings = node.install().unwrap().warnings;
    assert!(warnings[0].contains("00-other.conf"), "{warnings:?}");
}

#[test]
fn uninstall_leaves_what_others_have_put_there() {
    let node = Node::new(LIST);
    node.install().unwrap();
    fs::write(node.path("net.d/10-calico.conflist"), "").unwrap();
    uninstall(&node.places).unwrap();
    assert_eq!(node.names("bin"), ["portmap"]);
    assert_eq!(node.names("net.d"), ["10-calico.conflist"]);
    // A second time is as good.
    let again = uninstall(&node.places).unwrap();
    assert!(again.done.iter().all(|line| line.ends_with("is not there")));
}

#[test]
fn the_command_line_names_the_places() {
    let read = |words: &[&str]| Places::read(words.iter().map(|&word| word.to_owned()));
    let places = read(&["--bin-dir", "/b", "--conf-dir=/c"]).unwrap();
    assert_eq!(places.plugin(), Path::new("/b/caracal-cni"));
    assert_eq!(
        places.network().unwrap(),
        Path::new("/c/05-caracal.conflist")
    );
    for (words, fault) in [
        (&["--bin-dir"] as &[&str], "--bin-dir: the path is missing"),
        (&["--conf-dir="], "--conf-dir: the path is missing"),
        (&["here"], "here: there is no such option"),
    ] {
        assert_eq!(read(words).unwrap_err(), fault);
    }
    let odd = read(&["--conflist", "/x/caracal.json"]).unwrap();
    assert!(odd.network().unwrap_err().contains(".conflist"));
}
