//! The plugin in real network namespaces, against an agent that a test plays.
//!
//! ```text
//!   node namespace: the plugin runs here          pod namespace: CNI_NETNS
//!   cali0123456789a ───────────────────────────── eth0
//!   agent.sock: the fake agent (a folder of its own)
//! ```

use std::path::Path;

use crate::agent::FakeAgent;
use crate::support::{Call, Namespace, Outcome, config, may_make_namespaces, spool};
use serde_json::{Value, json};

const DEVICE: &str = "cali0123456789a";
const GATEWAY6: &str = "fe80::ecee:eeff:feee:eeee";

/// A node with a pod and a folder for sockets.
struct Lab {
    node: Namespace,
    pod: Namespace,
    folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Lab {
        Lab {
            node: Namespace::new(),
            pod: Namespace::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn agent(&self) -> FakeAgent {
        FakeAgent::start(self.folder(), kind)
    }

    fn call(&self, command: &str) -> Outcome {
        self.call_with(command, &self.pod.path(), config(self.folder()))
    }

    fn call_with(&self, command: &str, netns: &str, config: Value) -> Outcome {
        Call {
            node: Some(&self.node),
            command,
            container: "c1",
            netns,
            config,
        }
        .run()
    }

    /// MAC of the pod's end.
    fn mac(&self) -> String {
        self.pod
            .run("ip -o link show eth0")
            .split("link/ether ")
            .nth(1)
            .unwrap()[..17]
            .to_owned()
    }

    fn spooled(&self) -> Vec<(String, Value)> {
        let Ok(entries) = std::fs::read_dir(spool(self.folder())) else {
            return Vec::new();
        };
        entries
            .map(|entry| {
                let entry = entry.unwrap();
                let text = std::fs::read(entry.path()).unwrap();
                (
                    entry.file_name().into_string().unwrap(),
                    serde_json::from_slice(&text).unwrap(),
                )
            })
            .collect()
    }
}

/// What the agent would hand out.
fn wish(attached: bool) -> Value {
    json!({
        "device": DEVICE,
        "mtu": 1480,
        "addresses": [
            {"address": "10.233.1.2/32", "gateway": "169.254.1.1"},
            {"address": "fd00:1::2/128", "gateway": GATEWAY6},
        ],
        "attached": attached,
    })
}

/// An agent with which all is well.
fn kind(path: &str, _body: &Value) -> (u16, Value) {
    match path {
        "/v1/cni/add" => (200, wish(false)),
        "/v1/cni/check" => (200, wish(true)),
        _ => (200, json!({})),
    }
}

fn paths(agent: &FakeAgent) -> Vec<String> {
    agent.asked().into_iter().map(|(path, _)| path).collect()
}

#[test]
fn add_builds_what_it_says() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    let result = lab.call("ADD").fine().json();
    let mac = lab.mac();

    assert_eq!(
        result,
        json!({
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": DEVICE, "mac": "ee:ee:ee:ee:ee:ee", "mtu": 1480},
                {"name": "eth0", "mac": mac, "mtu": 1480, "sandbox": lab.pod.path()},
            ],
            "ips": [
                {"interface": 1, "address": "10.233.1.2/32", "gateway": "169.254.1.1"},
                {"interface": 1, "address": "fd00:1::2/128", "gateway": GATEWAY6},
            ],
            "routes": [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, {"dst": "::/0", "gw": GATEWAY6}],
            "dns": {},
        })
    );
    let asked = agent.asked();
    assert_eq!(
        asked[0],
        (
            "/v1/cni/add".to_owned(),
            json!({
                "containerId": "c1", "ifname": "eth0", "netns": lab.pod.path(), "network": "pods",
                "namespace": "default", "pod": "web-1", "pools": [], "addresses": [],
            })
        )
    );
    assert_eq!(
        asked[1],
        (
            "/v1/cni/attached".to_owned(),
            json!({"containerId": "c1", "ifname": "eth0", "mac": mac})
        )
    );
    assert_eq!(asked.len(), 2);

    let outside = lab.node.run(&format!("ip -d link show {DEVICE}"));
    assert!(outside.contains("mtu 1480"), "{outside}");
    assert!(outside.contains("ee:ee:ee:ee:ee:ee"), "{outside}");
    assert!(outside.contains(",UP"), "{outside}");
    assert!(outside.contains("alias caracal:c1:eth0"), "{outside}");
    let gateway = lab.node.run(&format!("ip -6 address show dev {DEVICE}"));
    assert!(
        gateway.contains(GATEWAY6) && !gateway.contains("tentative"),
        "{gateway}"
    );

    let inside = lab.pod.run("ip address show");
    assert!(inside.contains("inet 10.233.1.2/32"), "{inside}");
    assert!(inside.contains("inet6 fd00:1::2/128"), "{inside}");
    assert!(!inside.contains("tentative"), "{inside}");
    assert!(inside.contains("mtu 1480"), "{inside}");
    assert!(inside.contains("LOOPBACK,UP"), "{inside}");
    let routes = lab.pod.run("ip route; ip -6 route show default");
    assert!(
        routes.contains("default via 169.254.1.1 dev eth0"),
        "{routes}"
    );
    assert!(routes.contains("169.254.1.1 dev eth0"), "{routes}");
    assert!(
        routes.contains(&format!("default via {GATEWAY6} dev eth0")),
        "{routes}"
    );
    let neighbours = lab.pod.run("ip neigh");
    for gateway in ["169.254.1.1", GATEWAY6] {
        let line = format!("{gateway} dev eth0 lladdr ee:ee:ee:ee:ee:ee PERMANENT");
        assert!(neighbours.contains(&line), "{neighbours}");
    }
    let forwarding = lab
        .pod
        .run("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding");
    assert_eq!(forwarding, "0\n0\n");
}

#[test]
fn the_pod_reaches_the_node_at_once_without_proxy_arp() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    lab.call("ADD").fine();
    // What the agent does in its half; proxy_arp stays off.
    lab.node.run(&format!(
        "ip address add 10.0.0.1/32 dev lo; ip address add fd00:9::1/128 dev lo nodad;
         ip route add 10.233.1.2 dev {DEVICE} scope link; ip -6 route add fd00:1::2 dev {DEVICE}"
    ));
    lab.pod.run("ping -n -c 1 -W 5 10.0.0.1");
    lab.pod.run("ping -n -c 1 -W 5 fd00:9::1");
}

#[test]
fn a_repeated_add_changes_nothing_and_says_the_same() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    let first = lab.call("ADD").fine().json();
    let link = lab.pod.run("ip -o link show eth0");
    assert_eq!(lab.call("ADD").fine().json(), first);
    assert_eq!(lab.pod.run("ip -o link show eth0"), link);
}

#[test]
fn an_attachment_that_was_damaged_is_made_anew() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    lab.call("ADD").fine();
    lab.pod.run("ip address flush dev eth0 scope global");
    lab.call("ADD").fine();
    assert!(
        lab.pod
            .run("ip address show eth0")
            .contains("10.233.1.2/32")
    );
}

#[test]
fn a_device_that_a_dead_attempt_left_is_replaced() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = lab.agent();
    lab.node
        .run(&format!("ip link add {DEVICE} type veth peer name left"));
    lab.call("ADD").fine();
    assert!(lab.pod.has("eth0"));
    assert!(!lab.node.has("left"));
}

#[test]
fn an_interface_that_is_not_ours_is_left_alone() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    lab.pod.run("ip link add eth0 type veth peer name other");
    let (code, msg) = lab.call("ADD").error();
    assert_eq!(code, 101);
    assert_eq!(
        msg,
        format!(
            "eth0 exists already in netns {} and is not container c1's",
            lab.pod.path()
        )
    );
    assert_eq!(paths(&agent), ["/v1/cni/add", "/v1/cni/del"]);
    lab.call("DEL").fine();
    assert!(lab.pod.has("eth0"));
}

#[test]
fn a_failing_second_half_is_undone() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = FakeAgent::start(lab.folder(), |path, body| match path {
        "/v1/cni/attached" => (503, json!({"error": "route 10.233.1.2/32: no such device"})),
        _ => kind(path, body),
    });
    let (code, msg) = lab.call("ADD").error();
    assert_eq!(code, 11);
    assert_eq!(
        msg,
        format!(
            "cannot have {DEVICE} routed for container c1: route 10.233.1.2/32: no such device"
        )
    );
    assert_eq!(
        paths(&agent),
        ["/v1/cni/add", "/v1/cni/attached", "/v1/cni/del"]
    );
    assert!(!lab.node.has(DEVICE) && !lab.pod.has("eth0"));
}

#[test]
fn a_step_that_the_kernel_refuses_is_undone() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = FakeAgent::start(lab.folder(), |path, body| {
        let (status, mut reply) = kind(path, body);
        if path == "/v1/cni/add" {
            // Twice the same address: the kernel takes it once.
            reply["addresses"][1] = reply["addresses"][0].clone();
        }
        (status, reply)
    });
    let (code, msg) = lab.call("ADD").error();
    assert_eq!(code, 103);
    assert_eq!(
        msg,
        format!(
            "cannot add address 10.233.1.2/32 to eth0 in netns {}: file exists",
            lab.pod.path()
        )
    );
    assert_eq!(paths(&agent), ["/v1/cni/add", "/v1/cni/del"]);
    assert!(!lab.node.has(DEVICE) && !lab.pod.has("eth0"));
}

#[test]
fn a_failed_repetition_leaves_the_running_pod_alone() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    lab.call("ADD").fine();
    drop(agent);
    let agent = FakeAgent::start(lab.folder(), |path, _| match path {
        "/v1/cni/add" => (200, wish(true)),
        _ => (503, json!({"error": "busy"})),
    });
    assert_eq!(lab.call("ADD").error().0, 11);
    assert_eq!(paths(&agent), ["/v1/cni/add", "/v1/cni/attached"]);
    assert!(lab.node.has(DEVICE) && lab.pod.has("eth0"));
}

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
fn add_without_an_agent_says_try_again_later_and_leaves_nothing() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let (code, msg) = lab.call("ADD").error();
    assert_eq!(code, 11);
    assert_eq!(
        msg,
        format!(
            "cannot add container c1: no agent on {}: no such file or directory",
            lab.folder().join("agent.sock").display()
        )
    );
    assert!(!lab.pod.has("eth0"));
    assert_eq!(lab.spooled(), []);
}

#[test]
fn add_in_something_that_is_no_namespace_is_code_4() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let (code, msg) = lab
        .call_with("ADD", "/etc/passwd", config(lab.folder()))
        .error();
    assert_eq!(code, 4);
    assert_eq!(
        msg,
        "CNI_NETNS /etc/passwd cannot be entered: it is not a network namespace"
    );
}

#[test]
fn the_configuration_decides_the_mtu_and_asks_for_addresses_and_pools() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = lab.agent();
    let mut config = config(lab.folder());
    config["cniVersion"] = "0.3.1".into();
    config["mtu"] = 1400.into();
    config["ipam"] =
        json!({"type": "calico-ipam", "ipv4_pools": ["blue"], "ipv6_pools": ["fd00::/64"]});
    config["runtimeConfig"] = json!({"ips": ["10.233.1.2/24"]});
    let result = lab.call_with("ADD", &lab.pod.path(), config).fine().json();
    assert_eq!(result["cniVersion"], "0.3.1");
    assert_eq!(result["ips"][0]["version"], "4");
    assert_eq!(result["interfaces"][1]["mtu"], Value::Null);
    let body = &agent.asked()[0].1;
    assert_eq!(body["pools"], json!(["blue", "fd00::/64"]));
    assert_eq!(body["addresses"], json!(["10.233.1.2"]));
    assert!(lab.pod.run("ip link show eth0").contains("mtu 1400"));
}

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

#[test]
fn many_adds_at_once_do_not_disturb_one_another() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let _agent = FakeAgent::start(lab.folder(), |path, body| match path {
        "/v1/cni/add" => {
            let number = body["containerId"].as_str().unwrap();
            let reply = json!({
                "device": format!("cali{number}"), "mtu": 1500, "attached": false,
                "addresses": [{"address": format!("10.233.2.{number}/32"), "gateway": "169.254.1.1"}],
            });
            (200, reply)
        }
        _ => (200, json!({})),
    });
    let pods: Vec<Namespace> = (0..12).map(|_| Namespace::new()).collect();
    std::thread::scope(|scope| {
        for (number, pod) in pods.iter().enumerate() {
            let lab = &lab;
            scope.spawn(move || {
                Call {
                    node: Some(&lab.node),
                    command: "ADD",
                    container: &number.to_string(),
                    netns: &pod.path(),
                    config: config(lab.folder()),
                }
                .run()
                .fine();
            });
        }
    });
    for (number, pod) in pods.iter().enumerate() {
        let addresses = pod.run("ip address show eth0");
        assert!(
            addresses.contains(&format!("10.233.2.{number}/32")),
            "{addresses}"
        );
        assert!(lab.node.has(&format!("cali{number}")));
    }
}
