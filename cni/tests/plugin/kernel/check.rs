//! CHECK: what it is silent about, and what it names.

use super::*;

#[test]
fn check_is_silent_while_all_agree_and_names_the_difference_otherwise() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    let result = lab.call("ADD").fine().json();
    let mut config = config(lab.folder());
    assert_eq!(
        lab.call_with("CHECK", &lab.pod.path(), config.clone())
            .error()
            .0,
        7
    );
    config["prevResult"] = result;
    let check = || lab.call_with("CHECK", &lab.pod.path(), config.clone());
    assert_eq!(check().fine().stdout, "");

    lab.pod.run("ip route del default");
    assert_eq!(
        check().error(),
        (
            102,
            "container c1: eth0 has no default route via 169.254.1.1".to_owned()
        )
    );
    lab.pod.run("ip route add default via 169.254.1.1 dev eth0");
    lab.pod.run("ip -6 address del fd00:1::2/128 dev eth0");
    assert_eq!(
        check().error(),
        (
            102,
            "container c1: eth0 has no address fd00:1::2/128".to_owned()
        )
    );
    lab.node.run(&format!("ip link set {DEVICE} mtu 1300"));
    assert_eq!(
        check().error(),
        (
            102,
            format!("container c1: {DEVICE} has mtu 1300 instead of 1480 (and 1 more)")
        )
    );
    lab.node.run(&format!("ip link del {DEVICE}"));
    let (code, msg) = check().error();
    assert_eq!(code, 102);
    assert_eq!(
        msg,
        format!("container c1: eth0 is missing in netns {}", lab.pod.path())
    );
}

#[test]
fn check_of_a_container_that_the_agent_does_not_know_is_code_3() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = FakeAgent::start(lab.folder(), |_, _| {
        (404, json!({"error": "container c1 is unknown"}))
    });
    let mut config = config(lab.folder());
    config["prevResult"] = json!({"cniVersion": "1.1.0"});
    assert_eq!(
        lab.call_with("CHECK", &lab.pod.path(), config).error(),
        (
            3,
            "cannot check container c1: container c1 is unknown".to_owned()
        )
    );
}
