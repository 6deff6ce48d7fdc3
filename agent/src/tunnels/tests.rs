//! The steps of a tunnel address, in the order in which a tunnel comes and goes.

use super::*;

fn device(state: &str, address: Option<&str>, used: bool) -> TunnelStatus {
    TunnelStatus {
        device: "tunl0".into(),
        state: state.into(),
        address: address.map(|text| text.parse().unwrap()),
        used,
        reason: None,
    }
}

fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn an_address_is_named_only_when_the_kernel_can_receive_on_it() {
    let given = address("10.233.1.1");
    let named = |device: Option<TunnelStatus>| step(true, given, None, device.as_ref());
    assert_eq!(named(None), Step::Rest);
    assert_eq!(named(Some(device("making", None, true))), Step::Rest);
    assert_eq!(
        named(Some(device("failed", Some("10.233.1.1"), true))),
        Step::Rest
    );
    assert_eq!(
        named(Some(device("ready", Some("10.233.9.9"), true))),
        Step::Rest
    );
    let ready = device("ready", Some("10.233.1.1"), true);
    assert_eq!(
        named(Some(ready.clone())),
        Step::Name("10.233.1.1".parse().unwrap())
    );
    assert_eq!(step(true, given, given, Some(&ready)), Step::Rest);
}

#[test]
fn an_address_is_withdrawn_when_no_route_uses_it_and_released_when_the_device_is_gone() {
    let named = address("10.233.1.1");
    let leaving = |used| device("leaving", Some("10.233.1.1"), used);
    assert_eq!(step(false, None, named, Some(&leaving(true))), Step::Rest);
    assert_eq!(
        step(false, None, named, Some(&leaving(false))),
        Step::Withdraw
    );
    // The FIB has not said yet.
    assert_eq!(step(false, None, named, None), Step::Rest);
    let retiring = device("retiring", Some("10.233.1.1"), false);
    assert_eq!(step(false, None, None, Some(&retiring)), Step::Rest);
    assert_eq!(step(false, None, None, None), Step::Release);
}

#[test]
fn what_lives_on_in_disabled_pools_keeps_its_address() {
    let ready = device("ready", Some("10.233.1.1"), true);
    assert_eq!(
        step(true, None, address("10.233.1.1"), Some(&ready)),
        Step::Rest
    );
}
