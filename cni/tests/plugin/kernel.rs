//! The plugin in real network namespaces, against an agent that a test plays.
//!
//! ```text
//!   node namespace: the plugin runs here          pod namespace: CNI_NETNS
//!   cali0123456789a ───────────────────────────── eth0
//!   agent.sock: the fake agent (a folder of its own)
//! ```

mod check;
mod del;

use std::path::Path;

use crate::agent::FakeAgent;
use crate::support::{Call, Namespace, Outcome, config, may_make_namespaces, may_ping, spool};
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
                "namespace": "default", "pod": "web-1", "ipv4Pools": [],
                "ipv6Pools": [], "addresses": [],
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
    if !may_make_namespaces() || !may_ping() {
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
    assert_eq!(body["ipv4Pools"], json!(["blue"]));
    assert_eq!(body["ipv6Pools"], json!(["fd00::/64"]));
    assert_eq!(body["addresses"], json!(["10.233.1.2"]));
    assert!(lab.pod.run("ip link show eth0").contains("mtu 1400"));
}

#[test]
fn the_pod_has_the_mac_that_the_agent_says() {
    if !may_make_namespaces() {
        return;
    }
    let lab = Lab::new();
    let agent = FakeAgent::start(lab.folder(), |path, _| match path {
        "/v1/cni/add" => {
            let mut reply = wish(false);
            reply["mac"] = json!("1c:0c:0a:c0:ff:ee");
            (200, reply)
        }
        _ => (200, json!({})),
    });
    let result = lab.call("ADD").fine().json();
    assert_eq!(lab.mac(), "1c:0c:0a:c0:ff:ee");
    assert_eq!(result["interfaces"][1]["mac"], "1c:0c:0a:c0:ff:ee");
    assert_eq!(agent.asked()[1].1["mac"], "1c:0c:0a:c0:ff:ee");
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
