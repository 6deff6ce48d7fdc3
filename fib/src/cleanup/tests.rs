use std::fs;

use super::*;
use crate::device_prefixes::DevicePrefixes;
use crate::kernel::NeighbourKey;
use crate::kernel::fake::FakeKernel;
use crate::kernel::{Hop, Member, NeighbourValue, Object, VxlanLink};

const STATIC: u8 = 4;

/// A kernel with something of ours and something of others of each kind.
fn used() -> FakeKernel {
    let kernel = FakeKernel::default();
    let eth0 = kernel.add_link("eth0", LinkKind::Ordinary);
    let cali1 = kernel.add_link("cali1", LinkKind::Ordinary);
    let tunl0 = kernel.add_link("tunl0", LinkKind::Tunnel);
    kernel.add_address(tunl0, "10.233.1.0/32");
    let vxlan = kernel.add_link(
        "vxlan.calico",
        LinkKind::Vxlan(VxlanLink {
            vni: 4096,
            port: 4789,
            local: None,
            learning: false,
        }),
    );
    for (prefix, protocol) in [
        ("10.233.1.0/26", 67),
        ("fd00:1::/122", 67),
        ("10.77.0.0/16", STATIC),
    ] {
        let key = Key::new(prefix.parse().unwrap(), 0);
        kernel.foreign_set(key, Spec::blackhole(protocol));
    }
    for (id, protocol) in [(1, 67), (2, STATIC)] {
        let hop = Hop {
            via: Some("172.18.0.2".parse().unwrap()),
            device: eth0,
            onlink: false,
            weight: 0,
        };
        let object = Object::single(protocol, hop);
        kernel.with(|state| state.objects.insert(id, object));
    }
    let group = Object::group(67, [Member { id: 1, weight: 0 }]);
    kernel.with(|state| state.objects.insert(3, group));
    for device in [eth0, cali1, vxlan] {
        let key = NeighbourKey::Address(device, "10.233.1.7".parse().unwrap());
        let value = NeighbourValue::Mac([2, 0, 0, 0, 0, 7]);
        kernel.with(|state| state.neighbours.insert(key, value));
    }
    kernel
}

/// With a `/proc/sys` and a file of former values.
fn config(folder: &std::path::Path) -> Config {
    let sysctl = folder.join("net/ipv4/ip_forward");
    fs::create_dir_all(sysctl.parent().unwrap()).unwrap();
    fs::write(&sysctl, "0").unwrap();
    let config = Config {
        sysctl_root: folder.into(),
        before_file: Some(folder.join("kernel.json")),
        ..Config::default()
    };
    let mut sysctls = Sysctls::new(
        folder.into(),
        config.before_file.clone(),
        DevicePrefixes::default(),
    );
    assert!(sysctls.set("net/ipv4/ip_forward", "1"));
    sysctls.before.note_ipip(|| FormerIpip {
        mtu: 1480,
        up: false,
        addresses: vec!["192.0.2.9/32".parse().unwrap()],
    });
    config
}

#[tokio::test]
async fn an_object_that_others_use_stays_with_its_members_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    for (theirs, left) in [(1, vec![1, 2]), (3, vec![1, 2, 3])] {
        let mut kernel = used();
        let key = Key::new("192.0.2.0/24".parse().unwrap(), 0);
        kernel.foreign_set(key, Spec::by_object(STATIC, theirs));
        let cleaned = clean(&mut kernel, &config, false).await.unwrap();
        kernel.with(|state| {
            assert!(state.routes.contains_key(&key));
            assert_eq!(state.objects.keys().copied().collect::<Vec<_>>(), left);
        });
        assert_eq!(cleaned.nexthops, 3 - left.len(), "object 2 is not ours");
        let named = format!(
            "nexthop object {theirs} stays: the route to 192.0.2.0/24 of protocol static uses it; \
             `ip nexthop del id {theirs}` removes both"
        );
        assert!(cleaned.failures.contains(&named), "{:?}", cleaned.failures);
    }
}

#[tokio::test]
async fn what_is_ours_goes_what_is_not_stays_and_what_was_changed_is_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let (config, mut kernel) = (config(folder.path()), used());
    let dry = clean(&mut kernel, &config, true).await.unwrap();
    assert_eq!(kernel.routes().len(), 3, "a dry run changes nothing");
    assert!(kernel.with(|state| state.changes.is_empty()));

    let cleaned = clean(&mut kernel, &config, false).await.unwrap();
    assert_eq!(cleaned, dry);
    let expected = Cleaned {
        routes_v4: 1,
        routes_v6: 1,
        nexthops: 2,
        neighbours: 1,
        devices: vec![("vxlan.calico".into(), 1)],
        ipip: Some("mtu 1480, down, 192.0.2.9/32".into()),
        sysctls: vec![("net/ipv4/ip_forward".into(), "0".into())],
        failures: vec![],
    };
    assert_eq!(cleaned, expected);
    let left: Vec<Key> = kernel.routes().into_keys().collect();
    assert_eq!(left, [Key::new("10.77.0.0/16".parse().unwrap(), 0)]);
    kernel.with(|state| {
        assert_eq!(state.objects.keys().collect::<Vec<_>>(), [&2]);
        let names: Vec<_> = state.links.values().map(|link| &link.name).collect();
        assert_eq!(names, ["eth0", "cali1", "tunl0"]);
        let tunl0 = state.links.values().find(|link| link.name == "tunl0");
        assert!(tunl0.is_some_and(|link| !link.up && link.mtu == 1480));
        let addresses: Vec<_> = state.addresses.iter().map(|(_, a)| a.to_string()).collect();
        assert_eq!(addresses, ["192.0.2.9/32"]);
    });
    let forward = fs::read_to_string(folder.path().join("net/ipv4/ip_forward")).unwrap();
    assert_eq!(forward, "0");
    assert!(!folder.path().join("kernel.json").exists());
    let again = clean(&mut kernel, &config, false).await.unwrap();
    assert_eq!(again, Cleaned::default());
}

#[tokio::test]
async fn what_cannot_be_removed_is_named_and_the_former_values_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (config, mut kernel) = (config(folder.path()), used());
    kernel.with(|state| {
        state.refuse = Some(Box::new(|write| match write {
            Write::Delete { key, .. } if key.prefix.addr().is_ipv4() => Some(Refusal {
                errno: libc::EPERM,
                reason: "Operation not permitted".into(),
            }),
            _ => None,
        }));
    });
    let cleaned = clean(&mut kernel, &config, false).await.unwrap();
    assert_eq!(
        cleaned.failures,
        ["1 routes cannot be deleted, or somebody makes them again: 10.233.1.0/26 and others"]
    );
    assert_eq!(kernel.routes().len(), 2);
    assert!(folder.path().join("kernel.json").exists());
}

#[tokio::test]
async fn a_tunl0_that_was_never_changed_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut kernel = used();
    let config = Config {
        sysctl_root: folder.path().into(),
        ..Config::default()
    };
    let cleaned = clean(&mut kernel, &config, false).await.unwrap();
    assert_eq!(cleaned.ipip, None);
    assert!(kernel.with(|state| state.addresses.len() == 1));
}
