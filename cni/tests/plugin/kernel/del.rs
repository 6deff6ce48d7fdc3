//! DEL and GC: what is removed, and what is left alone.

use super::*;

#[test]
fn del_removes_and_may_come_twice() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    lab.call("ADD").fine();
    assert_eq!(lab.call("DEL").fine().stdout, "");
    assert!(!lab.node.has(DEVICE) && !lab.pod.has("eth0"));
    lab.call("DEL").fine();
    lab.call_with("DEL", "", config(lab.folder())).fine();
    let asked = agent.asked();
    assert_eq!(
        asked.last().unwrap(),
        &(
            "/v1/cni/del".to_owned(),
            json!({"containerId": "c1", "ifname": "eth0", "network": "pods"})
        )
    );
    assert_eq!(asked.len(), 5);
}

#[test]
fn del_works_when_the_namespace_is_gone() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    lab.call("ADD").fine();
    // The path leads nowhere, but somebody still holds the namespace: the pair is found by its alias.
    lab.call_with("DEL", "/run/netns/gone", config(lab.folder()))
        .fine();
    assert!(!lab.node.has(DEVICE));
}

#[test]
fn del_never_takes_the_device_of_a_newer_container_of_the_same_pod() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    let result = lab.call("ADD").fine().json();
    let late = Call {
        node: Some(&lab.node),
        command: "DEL",
        container: "an-older-one",
        netns: "",
        config: {
            let mut config = config(lab.folder());
            config["prevResult"] = result;
            config
        },
    };
    late.run().fine();
    assert!(lab.node.has(DEVICE) && lab.pod.has("eth0"));
}

#[test]
fn del_removes_what_calico_made_by_the_name_in_its_result() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    lab.node
        .run(&format!("ip link add {DEVICE} type veth peer name left"));
    let mut config = config(lab.folder());
    config["cniVersion"] = "0.3.1".into();
    config["prevResult"] = json!({
        "cniVersion": "0.3.1", "interfaces": [{"name": DEVICE}],
        "ips": [{"version": "4", "address": "10.233.1.2/32"}], "dns": {},
    });
    lab.call_with("DEL", "", config).fine();
    assert!(!lab.node.has(DEVICE));
}

#[test]
fn del_removes_the_device_that_the_agent_names_unless_it_is_a_newer_containers() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = FakeAgent::start(lab.folder(), |_, _| (200, json!({"device": "pod-7"})));
    lab.node.run("ip link add pod-7 type veth peer name left");
    lab.node.run("ip link set pod-7 alias caracal:c2:eth0");
    lab.call_with("DEL", "", config(lab.folder())).fine();
    assert!(lab.node.has("pod-7"));
    lab.node.run("ip link set pod-7 alias ''");
    lab.call_with("DEL", "", config(lab.folder())).fine();
    assert!(!lab.node.has("pod-7"));
}

#[test]
fn del_without_an_agent_is_kept_for_it_and_done_before_the_next_add() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    lab.call("ADD").fine();
    drop(agent);
    lab.call("DEL").fine();
    assert!(!lab.node.has(DEVICE) && !lab.pod.has("eth0"));
    let body = json!({"containerId": "c1", "ifname": "eth0", "network": "pods"});
    assert_eq!(lab.spooled(), [("c1-eth0.json".to_owned(), body.clone())]);

    let agent = lab.agent();
    lab.call("ADD").fine();
    assert_eq!(
        paths(&agent),
        ["/v1/cni/del", "/v1/cni/add", "/v1/cni/attached"]
    );
    assert_eq!(agent.asked()[0].1, body);
    assert_eq!(lab.spooled(), []);
}

#[test]
fn del_that_the_agent_refuses_for_good_is_an_error_and_the_device_is_gone() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    lab.call("ADD").fine();
    drop(agent);
    let _agent = FakeAgent::start(lab.folder(), |_, _| {
        (400, json!({"error": "network pods is unknown"}))
    });
    assert_eq!(
        lab.call("DEL").error(),
        (
            100,
            "cannot delete container c1: network pods is unknown".to_owned()
        )
    );
    assert!(!lab.node.has(DEVICE));
}

#[test]
fn gc_removes_the_devices_of_what_was_released_and_nothing_newer() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    lab.call("ADD").fine();
    drop(agent);
    let released = |container: &'static str| {
        FakeAgent::start(lab.folder(), move |_, _| {
            (
                200,
                json!({"released": [container], "devices": [DEVICE, "cali-was-gone"]}),
            )
        })
    };
    let mut config = config(lab.folder());
    config["cni.dev/valid-attachments"] = json!([{"containerID": "c9", "ifname": "eth0"}]);

    let agent = released("an-older-one");
    lab.call_with("GC", "", config.clone()).fine();
    assert_eq!(
        agent.asked(),
        [(
            "/v1/cni/gc".to_owned(),
            json!({"network": "pods", "valid": [["c9", "eth0"]]})
        )]
    );
    assert!(lab.node.has(DEVICE));
    drop(agent);

    let _agent = released("c1");
    lab.call_with("GC", "", config).fine();
    assert!(!lab.node.has(DEVICE));
}
