//! Against a folder that looks like /proc/sys.

use std::fs;

use super::*;

#[test]
fn a_value_is_written_only_when_it_differs() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("net/ipv4/ip_forward");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "0\n").unwrap();
    let mut sysctls = Sysctls::new(root.path().into());
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
    let mut sysctls = Sysctls::new(root.path().into());
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
