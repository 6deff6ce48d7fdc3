//! Each version's shape, whole.

use super::*;

fn dual_stack() -> Success {
    Success {
        interfaces: vec![
            Interface {
                name: "cali0123456789a".into(),
                mac: Some("ee:ee:ee:ee:ee:ee".into()),
                mtu: Some(1480),
                sandbox: None,
            },
            Interface {
                name: "eth0".into(),
                mac: Some("02:00:00:00:00:01".into()),
                mtu: Some(1480),
                sandbox: Some("/run/netns/p1".into()),
            },
        ],
        ips: vec![
            Ip {
                address: "10.1.0.2/32".parse().unwrap(),
                gateway: Some("169.254.1.1".parse().unwrap()),
                interface: Some(1),
            },
            Ip {
                address: "fd00::2/128".parse().unwrap(),
                gateway: Some("fe80::ecee:eeff:feee:eeee".parse().unwrap()),
                interface: Some(1),
            },
        ],
        routes: vec![
            Route {
                dst: "0.0.0.0/0".parse().unwrap(),
                gw: Some("169.254.1.1".parse().unwrap()),
            },
            Route {
                dst: "::/0".parse().unwrap(),
                gw: Some("fe80::ecee:eeff:feee:eeee".parse().unwrap()),
            },
        ],
        dns: None,
    }
}

/// What must come out, with the keys that differ put in.
fn golden(version: &str, family: bool, mtu: bool) -> Value {
    let mut golden = json!({
        "cniVersion": version,
        "interfaces": [
            {"name": "cali0123456789a", "mac": "ee:ee:ee:ee:ee:ee"},
            {"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": "/run/netns/p1"},
        ],
        "ips": [
            {"interface": 1, "address": "10.1.0.2/32", "gateway": "169.254.1.1"},
            {"interface": 1, "address": "fd00::2/128", "gateway": "fe80::ecee:eeff:feee:eeee"},
        ],
        "routes": [
            {"dst": "0.0.0.0/0", "gw": "169.254.1.1"},
            {"dst": "::/0", "gw": "fe80::ecee:eeff:feee:eeee"},
        ],
        "dns": {},
    });
    if family {
        golden["ips"][0]["version"] = "4".into();
        golden["ips"][1]["version"] = "6".into();
    }
    if mtu {
        golden["interfaces"][0]["mtu"] = 1480.into();
        golden["interfaces"][1]["mtu"] = 1480.into();
    }
    golden
}

#[test]
fn each_version_has_its_own_shape() {
    let made = dual_stack();
    for version in ["0.3.0", "0.3.1", "0.4.0"] {
        assert_eq!(
            made.render(Version::parse(version).unwrap()),
            golden(version, true, false)
        );
    }
    assert_eq!(made.render(Version::V1_0_0), golden("1.0.0", false, false));
    assert_eq!(made.render(Version::V1_1_0), golden("1.1.0", false, true));
}

#[test]
fn a_result_read_back_is_the_same() {
    let made = Success {
        dns: Some(json!({"nameservers": ["10.96.0.10"]})),
        ..dual_stack()
    };
    assert_eq!(Success::parse(&made.render(Version::V1_1_0)), Ok(made));
}

#[test]
fn what_earlier_plugins_made_stays_in_front() {
    let earlier = Success {
        interfaces: vec![Interface {
            name: "br0".into(),
            mac: None,
            mtu: None,
            sandbox: None,
        }],
        dns: Some(json!({"domain": "a"})),
        ..Success::default()
    };
    let all = dual_stack().after(earlier);
    assert_eq!(all.interfaces[0].name, "br0");
    assert_eq!(all.ips[0].interface, Some(2));
    assert_eq!(all.dns, Some(json!({"domain": "a"})));
}

#[test]
fn a_wrong_earlier_result_is_named_by_field() {
    let parse = |value: Value| Success::parse(&value).unwrap_err();
    assert_eq!(parse(json!({"ips": 3})), "ips is not a list: 3");
    assert_eq!(
        parse(json!({"interfaces": [{}]})),
        "interfaces[0] has no name"
    );
    assert_eq!(
        parse(json!({"routes": [{"dst": "x"}]})),
        "routes[0].dst x is not a prefix"
    );
    assert_eq!(
        parse(json!({"ips": [{"address": "10.0.0.1/32", "gateway": "y"}]})),
        "ips[0].gateway y is not an address"
    );
}
