use super::*;

fn noted(path: &str, value: &str) -> [(String, String); 1] {
    [(path.into(), value.into())]
}

#[test]
fn the_first_value_of_a_boot_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run/kernel.json");
    let open = |boot: &str| Before::open(Some(file.clone()), boot.into());
    let mut before = open("a");
    before.note_sysctls(noted("net/ipv4/ip_forward", "0"));
    before.note_sysctls(noted("net/ipv4/ip_forward", "1"));
    let mut before = open("a");
    assert_eq!(before.former().sysctls["net/ipv4/ip_forward"], "0");
    before.note_sysctls(noted("net/ipv4/ip_forward", "1"));
    assert_eq!(open("a").former().sysctls["net/ipv4/ip_forward"], "0");
    assert_eq!(open("b").former().sysctls.len(), 0);
    open("a").forget().unwrap();
    assert!(!file.exists());
    open("a").forget().unwrap();
}

#[test]
fn a_tunnel_device_is_noted_once_with_its_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernel.json");
    let ipip = |mtu| FormerIpip {
        mtu,
        up: false,
        addresses: vec!["10.9.9.9/32".parse().unwrap()],
    };
    let mut before = Before::open(Some(file.clone()), "a".into());
    before.note_ipip(|| ipip(1480));
    before.note_ipip(|| ipip(1430));
    let again = Before::open(Some(file), "a".into());
    assert_eq!(again.former().ipip, Some(ipip(1480)));
}

#[test]
fn a_file_that_is_none_is_noted_anew() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kernel.json");
    fs::write(&file, "{\"sysctls\": 7").unwrap();
    let mut before = Before::open(Some(file.clone()), "a".into());
    before.note_sysctls(noted("net/ipv4/ip_forward", "0"));
    let again = Before::open(Some(file), "a".into());
    assert_eq!(again.former().sysctls.len(), 1);
}

#[test]
fn without_a_place_for_the_file_work_goes_on() {
    let mut before = Before::open(Some("/proc/nowhere/kernel.json".into()), "a".into());
    before.note_sysctls(noted("net/ipv4/ip_forward", "0"));
    assert!(before.lost);
    let mut before = Before::open(None, "a".into());
    before.note_sysctls(noted("net/ipv4/ip_forward", "0"));
    assert!(!before.lost);
}
