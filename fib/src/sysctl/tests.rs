//! Against a folder that looks like /proc/sys.

use std::fs;

use super::*;

#[test]
fn a_value_is_written_only_when_it_differs() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("net/ipv4/ip_forward");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "0\n").unwrap();
    let mut sysctls = Sysctls::new(root.path().into(), None, DevicePrefixes::default());
    assert!(sysctls.set("net/ipv4/ip_forward", "1"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "1");

    fs::write(&file, "1\n").unwrap();
    assert!(sysctls.set("net/ipv4/ip_forward", "1"));
    assert_eq!(fs::read_to_string(&file).unwrap(), "1\n", "untouched");
    assert_eq!(sysctls.condition(), None);
}

#[test]
fn what_cannot_be_written_is_named_until_it_can_or_its_device_is_gone() {
    let root = tempfile::tempdir().unwrap();
    let mut sysctls = Sysctls::new(root.path().into(), None, DevicePrefixes::default());
    let path = "net/ipv4/conf/cali1/proxy_arp";
    assert!(!sysctls.set(path, "1"));
    assert!(!sysctls.set("net/ipv4/conf/cali2/proxy_arp", "1"));
    let sentence = sysctls.condition().unwrap();
    assert!(sentence.contains(&format!("{path} = 1: ")), "{sentence}");
    assert!(sentence.contains("(and 1 more)"), "{sentence}");

    sysctls.forget_device("cali2");
    let file = root.path().join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    assert!(sysctls.set(path, "1"));
    assert_eq!(sysctls.condition(), None);
}

#[test]
fn what_was_before_us_is_noted_before_the_change_and_can_be_put_back() {
    let root = tempfile::tempdir().unwrap();
    let file = |path: &str| root.path().join(path);
    for (path, value) in [
        ("net/ipv4/ip_forward", "0"),
        ("net/ipv4/conf/all/forwarding", "0"),
        ("net/ipv4/conf/eth0/forwarding", "1"),
        ("net/ipv4/conf/eth1/forwarding", "0"),
        ("net/ipv4/conf/cali1/forwarding", "0"),
        ("net/ipv4/conf/tunl0/rp_filter", "1"),
    ] {
        fs::create_dir_all(file(path).parent().unwrap()).unwrap();
        fs::write(file(path), format!("{value}\n")).unwrap();
    }
    let memory = file("kernel.json");
    let mut sysctls = Sysctls::new(
        root.path().into(),
        Some(memory.clone()),
        DevicePrefixes::default(),
    );
    assert!(sysctls.set("net/ipv4/conf/cali1/forwarding", "1"));
    assert!(!memory.exists(), "goes with its device");
    assert!(sysctls.set("net/ipv4/ip_forward", "1"));
    assert!(sysctls.set("net/ipv4/conf/tunl0/rp_filter", "2"));
    // The kernel does this.
    fs::write(file("net/ipv4/conf/eth1/forwarding"), "1").unwrap();

    let after = Sysctls::new(root.path().into(), Some(memory), DevicePrefixes::default());
    let changed = after.changed();
    assert_eq!(
        changed,
        [
            ("net/ipv4/ip_forward".to_owned(), "0".to_owned()),
            ("net/ipv4/conf/eth1/forwarding".into(), "0".into()),
            ("net/ipv4/conf/tunl0/rp_filter".into(), "1".into()),
        ]
    );
    fs::remove_dir_all(file("net/ipv4/conf/tunl0")).unwrap();
    for (path, value) in changed {
        after.put_back(&path, &value).unwrap();
    }
    assert_eq!(after.changed(), []);
}
