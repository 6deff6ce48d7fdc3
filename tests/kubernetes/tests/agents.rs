//! Agents on a real API server, with the files and the rights of deploy/.
//!
//! ```text
//!   fabric: rack1 ── router ── rack2          kube-apiserver and etcd on the router, 172.31.1.254
//!             │                  │
//!           node1              node2          caracal-agent --config deploy/agent/agent.yaml, ServiceAccount caracal-agent
//!             │                  │
//!          pod-1-1            pod-2-1         Pod objects, made as by a scheduler; devices by caracal-cni
//! ```

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{all_pairs_answer, snapshot};
use caracal_kubernetes_tests::{ApiServer, deploy};
use caracal_lab::daemon::Daemon;
use caracal_lab::ping::Stream;
use caracal_lab::{Binaries, Lab, Node, Options, Pod, lab_tests, topology, wait};
use serde_json::{Value, json};

const AGENT: &str = "caracal-agent";
const REFLECTOR: &str = "caracal-route-reflector";

/// What a cluster has before its first pod: kinds, rights, Nodes and a pool. Agents run.
fn started() -> Result<(Lab, ApiServer)> {
    let options = Options {
        nodes: 2,
        ..Options::default()
    };
    let mut lab = Lab::build(options, Binaries::find()?)?;
    let api = ApiServer::start(&lab.fabric, topology::router(1).ipv4.addr())?;
    api.define_kinds()?;
    api.kubectl(&["apply", "--server-side", "-k", &deploy("")])?;
    api.apply(
        &json!({
            "apiVersion": "crd.projectcalico.org/v1",
            "kind": "IPPool",
            "metadata": {"name": "default-ipv4-ippool"},
            "spec": {
                "cidr": topology::POOL_IPV4, "blockSize": 26, "natOutgoing": true, "nodeSelector": "all()",
                "ipipMode": "Never", "vxlanMode": "CrossSubnet",
            },
        })
        .to_string(),
    )?;
    let account = api.put_service_account(AGENT)?;
    for index in 0..lab.nodes.len() {
        let node = &mut lab.nodes[index];
        join(&api, node)?;
        node.agent = agent_of_deploy(node, &lab.binaries, &account);
    }
    lab.start()?;
    Ok((lab, api))
}

/// The Node object as a kubelet makes it.
fn join(api: &ApiServer, node: &Node) -> Result<()> {
    let name = node.name();
    let labels = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"});
    let object =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    api.apply(&object.to_string())?;
    let mut object = api.get(&["node", name])?;
    object["status"]["addresses"] = json!([
        {"type": "InternalIP", "address": node.site.ipv4.addr()},
        {"type": "Hostname", "address": name},
    ]);
    let path = format!("/api/v1/nodes/{name}/status");
    api.kubectl_with(&["replace", "--raw", &path, "-f", "-"], &object.to_string())
        .map(drop)
}

/// As the DaemonSet starts it; only the folders are the lab's.
fn agent_of_deploy(node: &Node, binaries: &Binaries, account: &[(String, String)]) -> Daemon {
    let file = deploy("agent/agent.yaml");
    let path = |name: &str| node.folder.join(name).display().to_string();
    let mut environment = account.to_vec();
    for (key, value) in [
        ("NODENAME", node.name().to_owned()),
        ("CARACAL_SOCKET", path("agent.sock")),
        ("CARACAL_CNI_SPOOL", path("cni")),
        ("CARACAL_CNI_MTU_FILE", path("mtu")),
    ] {
        environment.push((key.to_owned(), value));
    }
    let log = node.folder.join("agent.log");
    Daemon::new(&node.netns, &binaries.agent, &["--config", &file], &log)
        .with_environment(environment)
}

/// A reflector on a node of its own, as people set it up: an identifier, an address and a label on its Node.
fn reflector(lab: &Lab, api: &ApiServer) -> Result<Node> {
    let site = topology::site("rr1", 1, 9);
    let netns = lab.connect(&site)?;
    let folder = lab.folder.join(&site.name);
    let configuration = std::fs::read_to_string(deploy("reflector/rr.yaml"))?;
    let program = lab.binaries.reflector.clone();
    let mut node = Node::with_program(site, netns, folder, configuration, &lab.binaries, &program)?;
    node.agent = Daemon::new(
        &node.netns,
        &program,
        &["--config", &deploy("reflector/rr.yaml")],
        &node.folder.join("agent.log"),
    )
    .with_environment(vec![
        ("NODENAME".to_owned(), node.name().to_owned()),
        ("KUBECONFIG".to_owned(), api.kubeconfig_of(REFLECTOR)?),
    ]);
    join(api, &node)?;
    let (name, address) = (node.name(), node.site.ipv4.to_string());
    for (key, value) in [
        ("RouteReflectorClusterID", "1.0.0.1"),
        ("IPv4Address", &address),
    ] {
        let pair = format!("projectcalico.org/{key}={value}");
        api.kubectl(&["annotate", "node", name, &pair])?;
    }
    api.kubectl(&["label", "node", name, "route-reflector="])?;
    Ok(node)
}

/// The Pod object as a scheduler leaves it.
fn schedule(api: &ApiServer, node: &Node, name: &str) -> Result<()> {
    schedule_with(api, node, name, &json!({}))
}

fn schedule_with(api: &ApiServer, node: &Node, name: &str, annotations: &Value) -> Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "test"}, "annotations": annotations},
        "spec": {"nodeName": node.name(), "containers": [{"name": "main", "image": "none"}]},
    });
    api.apply(&object.to_string())
}

fn add_pod(lab: &Lab, api: &ApiServer, node: usize, name: &str) -> Result<Pod> {
    schedule(api, &lab.nodes[node], name)?;
    lab.add_pod(node, name)
}

fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"]["annotations"][key]
        .as_str()
        .unwrap_or_default()
}

/// What stands in the cluster equals what the runtime and the racks know.
fn records_equal(lab: &Lab, api: &ApiServer, pods: &[Pod]) -> Result<()> {
    for node in &lab.nodes {
        let object = api.get(&["node", node.name()])?;
        let recorded = annotation(&object, "projectcalico.org/IPv4Address");
        ensure!(
            recorded == node.site.ipv4.to_string(),
            "{}: {recorded}",
            node.name()
        );
        let tunnel = annotation(&object, "projectcalico.org/IPv4VXLANTunnelAddr");
        ensure!(!tunnel.is_empty(), "{} has no tunnel address", node.name());
        // The kubelet's own fields are the kubelet's.
        ensure!(
            object["status"]["addresses"][1]["address"] == node.name(),
            "{object}"
        );
    }
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    for block in api.list(&["ipamblocks.crd.projectcalico.org"])? {
        let spec = &block["spec"];
        let network: std::net::Ipv4Addr = spec["cidr"]
            .as_str()
            .and_then(|cidr| cidr.split('/').next()?.parse().ok())
            .with_context(|| format!("{block}"))?;
        for (ordinal, entry) in (0..).zip(spec["allocations"].as_array().into_iter().flatten()) {
            if let Some(index) = entry.as_u64() {
                let attribute = &spec["attributes"][usize::try_from(index)?];
                let address = std::net::Ipv4Addr::from(u32::from(network) + ordinal);
                let handle = attribute["handle_id"].as_str().unwrap_or_default();
                owners.insert(address.to_string(), handle.to_owned());
            }
        }
    }
    for pod in pods {
        let object = api.get(&["pod", &pod.name, "-n", "default"])?;
        let address = pod.ipv4()?.to_string();
        for (key, value) in [
            ("cni.projectcalico.org/podIP", format!("{address}/32")),
            ("cni.projectcalico.org/podIPs", format!("{address}/32")),
            ("cni.projectcalico.org/containerID", pod.container.clone()),
        ] {
            let found = annotation(&object, key);
            ensure!(found == value, "{} has {key}: {found:?}", pod.name);
        }
        let handle = format!("k8s-pod-network.{}", pod.container);
        ensure!(
            owners.remove(&address) == Some(handle),
            "{address} is not {}'s",
            pod.name
        );
    }
    let of_nobody: Vec<_> = owners
        .iter()
        .filter(|(_, handle)| !handle.contains("tunnel"))
        .collect();
    ensure!(of_nobody.is_empty(), "{of_nobody:?}");
    Ok(())
}

/// No agent has asked for what it may not do since its log was this long.
fn nothing_was_forbidden(lab: &Lab, since: &[usize]) -> Result<()> {
    for (node, since) in lab.nodes.iter().zip(since) {
        let log = node.agent.log();
        let mut lines = log.get(*since..).unwrap_or_default().lines();
        let line = lines.find(|line| line.to_lowercase().contains("forbidden"));
        ensure!(
            line.is_none(),
            "{}: {}",
            node.name(),
            line.unwrap_or_default()
        );
    }
    Ok(())
}

fn logs(lab: &Lab) -> Vec<usize> {
    lab.nodes
        .iter()
        .map(|node| node.agent.log().len())
        .collect()
}

fn datastore_is_away(node: &Node) -> Result<(), String> {
    let status = node.status().map_err(|error| error.to_string())?;
    let named = |message: &str| message.contains("kubernetes") || message.contains("datastore");
    match status.conditions.iter().any(|one| named(&one.message)) {
        true => Ok(()),
        false => Err(format!("conditions: {:?}", status.conditions)),
    }
}

fn nothing_is_wrong(node: &Node) -> Result<(), String> {
    let status = node.status().map_err(|error| error.to_string())?;
    match status.conditions.is_empty() && status.ready {
        true => Ok(()),
        false => Err(format!(
            "{:?} {:?}",
            status.not_ready_because, status.conditions
        )),
    }
}

lab_tests! {
    #[ignore = "needs a kube-apiserver: ./tests/run kubernetes"]
    fn two_nodes_work_on_an_api_server_with_the_rights_of_deploy_and_outlive_its_absence() {
        let (mut lab, api) = started()?;
        let mut pods = Vec::new();
        for (node, name) in [(0, "pod-1-1"), (0, "pod-1-2"), (1, "pod-2-1"), (1, "pod-2-2")] {
            pods.push(add_pod(&lab, &api, node, name).with_context(|| name.to_owned())?);
        }
        all_pairs_answer(&lab, &pods, false)?;
        records_equal(&lab, &api, &pods)?;

        nothing_was_forbidden(&lab, &[0, 0])?;

        // The API server goes. Routes and sessions stay as they are, and packets do not notice.
        let before: Vec<_> = lab.nodes.iter().map(snapshot).collect::<Result<_>>()?;
        let streams = [
            Stream::start(lab.pinger(&pods[0], &pods[2], false)?, 50),
            Stream::start(lab.pinger(&pods[3], &pods[1], false)?, 50),
        ];
        schedule(&api, &lab.nodes[0], "pod-1-late")?;
        api.stop()?;
        for node in &lab.nodes {
            wait::until(&format!("{} to miss the API server", node.name()), || datastore_is_away(node))?;
        }
        let runtime = lab.nodes[0].runtime();
        let mut late = runtime.prepare(0, "pod-1-late", "pod-1-late-container")?;
        let refused = runtime.call_for(&late, "ADD")?;
        ensure!(refused.code() == Some(11), "an ADD that nobody can record: {refused:?}");
        wait::until("a second of packets", || match streams.iter().all(|stream| stream.sent() > 100) {
            true => Ok(()),
            false => Err("too few yet".to_owned()),
        })?;
        for node in &mut lab.nodes {
            node.wait_established(1)?;
        }
        for (node, before) in lab.nodes.iter().zip(&before) {
            ensure!(snapshot(node)? == *before, "the routes of {} are others now", node.name());
        }

        // It comes back, and so does everything that needs it.
        api.resume()?;
        for node in &lab.nodes {
            wait::until(&format!("{} to be at peace", node.name()), || nothing_is_wrong(node))?;
        }
        // An API server that has just started and has not read all roles forbids what it will allow.
        let since = logs(&lab);
        runtime.add(&mut late).context("the pod that had to wait")?;
        pods.push(late);
        pods.push(add_pod(&lab, &api, 1, "pod-2-late")?);
        all_pairs_answer(&lab, &pods, false)?;
        records_equal(&lab, &api, &pods)?;
        for stream in streams {
            let tally = stream.finish()?;
            ensure!(tally.lost.is_empty(), "{tally:?}");
        }

        // A pod goes: its address is free, and its Pod says so before it is gone.
        let gone = pods.remove(0);
        lab.remove_pod(&gone)?;
        let object = api.get(&["pod", &gone.name, "-n", "default"])?;
        ensure!(annotation(&object, "cni.projectcalico.org/podIP").is_empty(), "{object}");
        records_equal(&lab, &api, &pods)?;

        // An agent starts anew and finds everything as it should be.
        let before = snapshot(&lab.nodes[0])?;
        lab.nodes[0].agent.kill()?;
        lab.nodes[0].agent.start()?;
        lab.wait_converged()?;
        ensure!(snapshot(&lab.nodes[0])? == before, "the routes are others now");
        let fib = lab.nodes[0].status()?.fib.context("no FIB")?;
        ensure!(fib.writes == 0, "{} routes were written", fib.writes);
        all_pairs_answer(&lab, &pods, false)?;

        // The Node loses its address, as when a kubelet makes it anew: the agent writes it again.
        api.kubectl(&["annotate", "node", "node1", "projectcalico.org/IPv4Address-"])?;
        wait::until("node1 to have its address again", || {
            let found = api.get(&["node", "node1"]).map_err(|error| error.to_string())?;
            match annotation(&found, "projectcalico.org/IPv4Address") {
                "" => Err("no address".to_owned()),
                _ => Ok(()),
            }
        })?;
        lab.wait_converged()?;
        records_equal(&lab, &api, &pods)?;
        all_pairs_answer(&lab, &pods, false)?;
        nothing_was_forbidden(&lab, &since)
    }

    #[ignore = "needs a kube-apiserver: ./tests/run kubernetes"]
    fn pods_get_what_their_annotations_and_their_namespace_ask_for() {
        let (lab, api) = started()?;
        let pool = |name: &str, cidr: &str, namespaces: &str| json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "IPPool", "metadata": {"name": name},
            "spec": {"cidr": cidr, "blockSize": 26, "nodeSelector": "all()", "namespaceSelector": namespaces, "vxlanMode": "CrossSubnet"},
        });
        for pool in [pool("blue", "10.66.0.0/24", "team == 'blue'"), pool("red", "10.67.0.0/24", "team == 'red'")] {
            api.apply(&pool.to_string())?;
        }
        let runtime = lab.nodes[0].runtime();
        let address_of = |name: &str, annotations: Value| -> Result<Pod> {
            schedule_with(&api, &lab.nodes[0], name, &annotations)?;
            lab.add_pod(0, name).with_context(|| format!("{name}: {annotations}"))
        };
        let in_pool = |pod: &Pod, begin: &str| -> Result<()> {
            let address = pod.ipv4()?.to_string();
            ensure!(address.starts_with(begin), "{} has {address}", pod.name);
            Ok(())
        };
        // Adds and removes one pod until it is as it should be: news of pools come by a watch.
        let becomes = |name: &str, annotations: Value, begin: &str| -> Result<()> {
            schedule_with(&api, &lab.nodes[0], name, &annotations)?;
            let mut pod = runtime.prepare(0, name, &format!("{name}-container"))?;
            wait::until(&format!("{name} to get an address {begin}"), || {
                let added = runtime.add(&mut pod).map(drop).and_then(|()| in_pool(&pod, begin));
                let gone = runtime.call_for(&pod, "DEL").map(drop);
                added.and(gone).map_err(|error| error.to_string())
            })
        };
        becomes("probe", json!({"cni.projectcalico.org/ipv4pools": "[\"red\"]"}), "10.67.0.")?;
        // By the pod's name for it, past the pool's selector; and by no wish.
        in_pool(&address_of("by-name", json!({"cni.projectcalico.org/ipv4pools": "[\"10.67.0.0/24\"]"}))?, "10.67.0.")?;
        in_pool(&address_of("any", json!({}))?, topology::POOL_IPV4.trim_end_matches("0.0/16"))?;
        // By the Namespace, which the pod overrules.
        api.kubectl(&["annotate", "namespace", "default", "cni.projectcalico.org/ipv4pools=[\"blue\"]"])?;
        in_pool(&address_of("by-namespace", json!({}))?, "10.66.0.")?;
        in_pool(&address_of("overruled", json!({"cni.projectcalico.org/ipv4pools": "[\"red\"]"}))?, "10.67.0.")?;
        let fixed = address_of("fixed", json!({
            "cni.projectcalico.org/ipAddrs": "[\"10.66.0.200\"]", "cni.projectcalico.org/hwAddr": "1c:0c:0a:c0:ff:ee",
        }))?;
        ensure!(fixed.ipv4()?.to_string() == "10.66.0.200", "{:?}", fixed.ipv4()?);
        let link = fixed.netns.ip(&["link", "show", "eth0"])?;
        ensure!(link.contains("1c:0c:0a:c0:ff:ee"), "{link}");
        let object = api.get(&["pod", "fixed", "-n", "default"])?;
        ensure!(annotation(&object, "caracal.network/mac") == "1c:0c:0a:c0:ff:ee", "{object}");
        // A namespace's labels choose among pools that nobody names.
        api.kubectl(&["annotate", "namespace", "default", "cni.projectcalico.org/ipv4pools-"])?;
        api.kubectl(&["patch", "ippools.crd.projectcalico.org", "default-ipv4-ippool", "--type=merge", "-p", "{\"spec\":{\"disabled\":true}}"])?;
        api.kubectl(&["label", "namespace", "default", "team=blue"])?;
        becomes("by-label", json!({}), "10.66.0.")?;
        // What cannot be had is refused, for good and with all names.
        for (name, annotation, value, why) in [
            ("no-pool", "ipv4pools", "[\"green\"]", "no IP pool for IPv4: there is no pool green"),
            ("no-list", "ipAddrs", "10.66.0.7", "is no JSON list of addresses"),
            ("taken", "ipAddrs", "[\"10.66.0.200\"]", "address 10.66.0.200: "),
        ] {
            let key = format!("cni.projectcalico.org/{annotation}");
            schedule_with(&api, &lab.nodes[0], name, &json!({&key: value}))?;
            let pod = runtime.prepare(0, name, &format!("{name}-container"))?;
            let refused = runtime.call_for(&pod, "ADD")?;
            let said = refused.message();
            ensure!(refused.code() == Some(100), "{refused:?}");
            ensure!(said.contains(&format!("pod default/{name}: annotation {key}: {value}: {why}")), "{said}");
            runtime.remove(&pod)?;
        }
        nothing_was_forbidden(&lab, &[0, 0])
    }

    #[ignore = "needs a kube-apiserver: ./tests/run kubernetes"]
    fn a_reflector_works_with_its_own_rights_and_nodes_change_over_to_it() {
        let (mut lab, api) = started()?;
        let mut pods = Vec::new();
        for (node, name) in [(0, "pod-1-1"), (1, "pod-2-1")] {
            pods.push(add_pod(&lab, &api, node, name).with_context(|| name.to_owned())?);
        }
        all_pairs_answer(&lab, &pods, false)?;
        api.kubectl(&["apply", "--server-side", "-k", &deploy("reflector")])?;
        let mut reflector = reflector(&lab, &api)?;
        reflector.agent.start()?;
        let resource = |kind: &str, name: &str, spec: Value| {
            let metadata = json!({"name": name});
            json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": metadata, "spec": spec}).to_string()
        };
        let peers = json!({"nodeSelector": "!has(route-reflector)", "peerSelector": "has(route-reflector)"});
        api.apply(&resource("BGPPeer", "nodes-to-reflectors", peers))?;
        for node in &mut lab.nodes {
            node.wait_established(2)?;
        }
        api.apply(&resource("BGPConfiguration", "default", json!({"nodeToNodeMeshEnabled": false})))?;
        for node in &mut lab.nodes {
            node.wait_established(1)?;
            let peer = node.peers()?.remove(0);
            ensure!(peer.address == reflector.site.ipv4.addr(), "{peer:?}");
        }
        pods.push(add_pod(&lab, &api, 0, "pod-1-2")?);
        all_pairs_answer(&lab, &pods, false)?;
        reflector.agent.check_running()?;
        let log = reflector.agent.log();
        ensure!(!log.to_lowercase().contains("forbidden"), "{log}");
        nothing_was_forbidden(&lab, &[0, 0])
    }
}
