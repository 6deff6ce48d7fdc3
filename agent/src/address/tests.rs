use super::*;

fn interface(name: &str, up: bool, addresses: &[&str]) -> Interface {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Interface {
        name: name.into(),
        addresses,
        up,
        mtu: 1500,
    }
}

fn host() -> Vec<Interface> {
    vec![
        interface("lo", true, &["127.0.0.1/8", "::1/128"]),
        interface("docker0", true, &["172.17.0.1/16"]),
        interface("eth9", false, &["10.9.9.9/24"]),
        interface(
            "eth0",
            true,
            &[
                "172.31.1.100/32",
                "172.31.1.1/24",
                "fe80::1/64",
                "fd00:31:1::1/64",
            ],
        ),
        interface("cali0123456789a", true, &[]),
    ]
}

#[test]
fn detects_the_first_usable_address_and_not_a_floating_one() {
    let (net, why) = choose(None, None, &host(), true).unwrap();
    assert_eq!(net, Some("172.31.1.1/24".parse().unwrap()));
    assert!(why.contains("eth0"), "{why}");
    let (net, _) = choose(Some(&NodeAddress::Autodetect), None, &host(), false).unwrap();
    assert_eq!(net, Some("fd00:31:1::1/64".parse().unwrap()));
}

#[test]
fn the_configuration_wins_over_the_record_and_the_record_over_detection() {
    let recorded = Some("172.31.1.7/24".parse().unwrap());
    let fixed = NodeAddress::Fixed("172.31.1.1/24".parse().unwrap());
    assert_eq!(
        choose(Some(&fixed), recorded, &host(), true).unwrap().0,
        Some("172.31.1.1/24".parse().unwrap())
    );
    assert_eq!(choose(None, recorded, &host(), true).unwrap().0, recorded);
    assert_eq!(
        choose(Some(&NodeAddress::None), recorded, &host(), true)
            .unwrap()
            .0,
        None
    );
}

#[test]
fn a_configured_address_that_no_device_has_is_named() {
    let fixed = NodeAddress::Fixed("192.0.2.9/24".parse().unwrap());
    let fault = choose(Some(&fixed), None, &host(), true).unwrap_err();
    assert!(fault.contains("192.0.2.9"), "{fault}");
}

#[test]
fn without_any_address_it_says_where_it_looked() {
    let fault = choose(None, None, &host()[..2], true).unwrap_err();
    assert!(
        fault.contains("docker0") && fault.contains("`ip`"),
        "{fault}"
    );
}

#[test]
fn ipv6_is_only_used_when_asked_for() {
    assert_eq!(choose(None, None, &host(), false).unwrap().0, None);
}
