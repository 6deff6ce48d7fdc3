//! Wrong input of every kind: one clear sentence that names the object and the value, and nothing else stops.

use std::net::TcpListener;
use std::process::ExitStatus;

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{add_pods, all_pairs_answer, snapshot};
use caracal_lab::daemon::Daemon;
use caracal_lab::{Binaries, Lab, Node, Options, Pod, lab_tests, manifests, private, wait};

fn started() -> Result<(Lab, Vec<Pod>)> {
    let mut lab = Lab::build(
        Options {
            nodes: 2,
            ..Options::default()
        },
        Binaries::find()?,
    )?;
    lab.start()?;
    let pods = add_pods(&lab, 1)?;
    Ok((lab, pods))
}

/// Waits for a condition in the status of `node` whose sentence has all these words.
fn wait_condition(node: &Node, words: &[&str]) -> Result<()> {
    wait::until(&format!("a condition with {words:?}"), || {
        let status = node.status().map_err(|error| error.to_string())?;
        let said = |message: &str| words.iter().all(|word| message.contains(word));
        let found = status
            .conditions
            .iter()
            .any(|condition| said(&condition.message));
        if found {
            Ok(())
        } else {
            Err(format!("conditions: {:?}", status.conditions))
        }
    })
}

fn wait_no_conditions(node: &Node) -> Result<()> {
    wait::until("all conditions to go", || {
        let conditions = node.status().map_err(|error| error.to_string())?.conditions;
        if conditions.is_empty() {
            Ok(())
        } else {
            Err(format!("{conditions:?}"))
        }
    })
}

/// What wrong input must leave as it is.
#[derive(Debug, PartialEq)]
struct Calm {
    /// Of the first node.
    routes: Vec<String>,
    /// Sessions lost so far, on each node. Two that call each other at the same moment may lose one at the start: the side that hears
    /// less of the collision is Established for an instant on the connection that the other gives up (RFC 4271 §6.8).
    flaps: Vec<u64>,
}

impl Calm {
    fn of(lab: &Lab) -> Result<Calm> {
        let flaps =
            |node: &Node| -> Result<u64> { Ok(node.peers()?.iter().map(|peer| peer.flaps).sum()) };
        Ok(Calm {
            routes: snapshot(&lab.nodes[0])?,
            flaps: lab.nodes.iter().map(flaps).collect::<Result<_>>()?,
        })
    }
}

/// No session was lost, routes are as they were, and pods answer; a new pod can be added.
fn nothing_else_stops(lab: &mut Lab, pods: &[Pod], before: &Calm) -> Result<()> {
    lab.wait_converged()?;
    let now = Calm::of(lab)?;
    ensure!(now == *before, "was {before:?}, is {now:?}");
    all_pairs_answer(lab, pods, false)?;
    let extra = lab.add_pod(0, "extra")?;
    lab.remove_pod(&extra)
}

/// The first node's agent with another configuration file, run to its end by `wrapper`; its status and what it said.
fn refused(node: &Node, configuration: &str, wrapper: &[&str]) -> Result<(ExitStatus, String)> {
    manifests::write(&node.folder, "other.yaml", configuration)?;
    let file = node.folder.join("other.yaml").display().to_string();
    let binary = Binaries::find()?.agent.display().to_string();
    let words: Vec<&str> = wrapper
        .iter()
        .copied()
        .chain([binary.as_str(), "--config", &file])
        .collect();
    let program = private::program(
        words[0].rsplit('/').next().unwrap_or_default(),
        "util-linux",
    );
    let program = if wrapper.is_empty() {
        Binaries::find()?.agent
    } else {
        program?
    };
    let log = node.folder.join("other.log");
    let _ = std::fs::remove_file(&log);
    let mut daemon = Daemon::new(&node.netns, &program, &words[1..], &log);
    daemon.start()?;
    let status = daemon.ended()?;
    Ok((status, daemon.log()))
}

/// It failed, and one line of what it said has all these words.
fn ensure_refused((status, said): (ExitStatus, String), words: &[&str]) -> Result<()> {
    ensure!(!status.success(), "it ended with {status}: {said}");
    ensure!(status.code().is_some(), "it was killed ({status}): {said}");
    let line = said
        .lines()
        .find(|line| words.iter().all(|word| line.contains(word)));
    ensure!(line.is_some(), "no line has {words:?}:\n{said}");
    ensure!(!said.contains("panicked"), "{said}");
    Ok(())
}

/// Each kind, with a field that has a wrong value, and the words that the sentence must have.
const WRONG_VALUES: [(&str, &str, &[&str]); 9] = [
    (
        "Node",
        "name: wrong}\nspec:\n  bgp: {ipv4Address: 172.31.1.300/24",
        &["ipv4Address", "172.31.1.300"],
    ),
    (
        "IPPool",
        "name: wrong}\nspec: {cidr: 10.1.0.0/33",
        &["cidr", "10.1.0.0/33"],
    ),
    (
        "BGPConfiguration",
        "name: node.wrong}\nspec: {listenPort: 70000",
        &["listenPort", "70000"],
    ),
    (
        "BGPPeer",
        "name: wrong}\nspec: {asNumber: 64512, peerIP: 172.31.1.999",
        &["peerIP", "172.31.1.999"],
    ),
    (
        "IPAMBlock",
        "name: wrong}\nspec: {cidr: 10.233.0.0/77, allocations: [], unallocated: [], attributes: []",
        &["cidr", "10.233.0.0/77"],
    ),
    (
        "BlockAffinity",
        "name: wrong}\nspec: {cidr: 10.233.9.0/26, node: node1, deleted: \"false\", state: perhaps",
        &["state", "perhaps"],
    ),
    (
        "IPAMHandle",
        "name: wrong}\nspec: {handleID: wrong, block: {10.233.0.0/26: many}",
        &["block", "many"],
    ),
    (
        "IPAMConfig",
        "name: wrong}\nspec: {maxBlocksPerHost: -1",
        &["maxBlocksPerHost", "-1"],
    ),
    (
        "WorkloadEndpoint",
        "name: wrong, namespace: default}\nspec: {node: node1, ipNetworks: [10.0.0.300/32]",
        &["ipNetworks", "10.0.0.300"],
    ),
];

lab_tests! {
    fn a_manifest_that_is_no_yaml_is_named_with_its_line_for_each_kind() {
        let (mut lab, pods) = started()?;
        let before = Calm::of(&lab)?;
        for (kind, _, _) in WRONG_VALUES {
            let name = format!("broken-{}.yaml", kind.to_lowercase());
            let head = format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: broken}}\n");
            manifests::write(&lab.store, &name, &format!("{head}spec:\n  field: [1, 2\n  other: \"text\n"))?;
            for node in &lab.nodes {
                wait_condition(node, &[&name]).with_context(|| kind)?;
            }
            let conditions = lab.nodes[0].status()?.conditions;
            let message = conditions.iter().map(|condition| &condition.message).find(|message| message.contains(&name));
            let message = message.with_context(|| format!("{conditions:?}"))?;
            let after = message.split_once(&name).map(|(_, rest)| rest).unwrap_or_default();
            ensure!(after.starts_with(':') && after[1..].starts_with(|c: char| c.is_ascii_digit()), "no line: {message}");
            std::fs::remove_file(lab.store.join(&name))?;
            wait_no_conditions(&lab.nodes[0])?;
        }
        nothing_else_stops(&mut lab, &pods, &before)
    }

    fn a_field_with_a_wrong_value_is_named_with_the_value_for_each_kind() {
        let (mut lab, pods) = started()?;
        let before = Calm::of(&lab)?;
        for (kind, rest, words) in WRONG_VALUES {
            let name = format!("wrong-{}.yaml", kind.to_lowercase());
            let text = format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{{rest}}}\n");
            manifests::write(&lab.store, &name, &text)?;
            wait_condition(&lab.nodes[0], words).with_context(|| kind)?;
            std::fs::remove_file(lab.store.join(&name))?;
            wait_no_conditions(&lab.nodes[0])?;
        }
        nothing_else_stops(&mut lab, &pods, &before)
    }

    fn a_file_broken_while_it_is_in_use_keeps_its_last_good_state() {
        let (mut lab, pods) = started()?;
        let before = Calm::of(&lab)?;
        let names = ["pods-ipv4.yaml", "bgp.yaml", "node1.yaml", "node2.yaml"];
        for name in names {
            let good = std::fs::read_to_string(lab.store.join(name))?;
            manifests::write(&lab.store, name, &good.replace("spec:", "spec: {"))?;
            wait_condition(&lab.nodes[0], &[name])?;
            nothing_else_stops(&mut lab, &pods, &before).with_context(|| name)?;
            manifests::write(&lab.store, name, &good)?;
            wait_no_conditions(&lab.nodes[0])?;
        }
        nothing_else_stops(&mut lab, &pods, &before)
    }

    fn a_pool_that_overlaps_the_nodes_network_is_named_with_both() {
        let (mut lab, pods) = started()?;
        let before = Calm::of(&lab)?;
        let pool = manifests::pool("overlapping", "172.31.0.0/16", 26, lab.options.encapsulation);
        manifests::write(&lab.store, "overlapping.yaml", &pool)?;
        wait_condition(&lab.nodes[0], &["overlapping", "172.31.0.0/16", "172.31.1."])?;
        nothing_else_stops(&mut lab, &pods, &before)?;
        std::fs::remove_file(lab.store.join("overlapping.yaml"))?;
        wait_no_conditions(&lab.nodes[0])
    }

    fn the_plugin_answers_bad_json_with_code_6() {
        let (lab, _) = started()?;
        let runtime = lab.nodes[0].runtime();
        let answer = runtime.call("ADD", "c", "/run/netns/pod-1-1", "pod", "{\"cniVersion\": \"1.1.0\", ")?;
        ensure!(!answer.succeeded && answer.code() == Some(6), "{answer:?}");
        ensure!(answer.message().contains("line 1"), "where is it wrong: {answer:?}");
        Ok(())
    }

    fn the_plugin_answers_an_unknown_version_with_code_1_and_names_it() {
        let (lab, _) = started()?;
        let runtime = lab.nodes[0].runtime();
        let mut configuration = runtime.configuration();
        configuration["cniVersion"] = "9.9.9".into();
        let answer = runtime.call("ADD", "c", "/run/netns/pod-1-1", "pod", &configuration.to_string())?;
        ensure!(!answer.succeeded && answer.code() == Some(1), "{answer:?}");
        ensure!(answer.message().contains("9.9.9"), "{answer:?}");
        Ok(())
    }

    fn the_plugin_names_a_namespace_that_is_missing_and_keeps_no_address() {
        let (lab, pods) = started()?;
        let runtime = lab.nodes[0].runtime();
        let configuration = runtime.configuration().to_string();
        let answer = runtime.call("ADD", "c", "/run/netns/nowhere", "pod", &configuration)?;
        ensure!(!answer.succeeded && answer.code().is_some(), "{answer:?}");
        ensure!(answer.message().contains("/run/netns/nowhere"), "{answer:?}");
        let pods: Vec<_> = pods.iter().collect();
        caracal_kernel_tests::addresses_equal_pods(&lab, &pods)?;
        let answer = runtime.call("DEL", "c", "/run/netns/nowhere", "pod", &configuration)?;
        ensure!(answer.succeeded, "DEL succeeds with the namespace gone: {answer:?}");
        Ok(())
    }

    fn the_plugin_names_a_variable_that_is_missing_or_wrong() {
        let (lab, _) = started()?;
        let runtime = lab.nodes[0].runtime();
        let configuration = runtime.configuration().to_string();
        let answer = runtime.call("ADD", "", "/run/netns/pod-1-1", "pod", &configuration)?;
        ensure!(answer.code() == Some(4) && answer.message().contains("CNI_CONTAINERID"), "{answer:?}");
        let answer = runtime.call("EAT", "c", "/run/netns/pod-1-1", "pod", &configuration)?;
        ensure!(answer.code() == Some(4) && answer.message().contains("EAT"), "{answer:?}");
        Ok(())
    }

    fn without_an_agent_add_says_try_again_and_del_is_finished_later() {
        let (mut lab, mut pods) = started()?;
        let runtime = lab.nodes[0].runtime();
        lab.nodes[0].agent.kill()?;
        let mut late = runtime.prepare(0, "late", "late-container")?;
        let answer = runtime.call_for(&late, "ADD")?;
        ensure!(answer.code() == Some(11), "{answer:?}");
        ensure!(answer.message().contains(&runtime.socket.display().to_string()), "{answer:?}");
        let answer = runtime.call_for(&late, "STATUS")?;
        ensure!(!answer.succeeded && answer.code() == Some(50), "{answer:?}");
        let gone = pods.remove(0);
        runtime.remove(&gone)?;
        lab.nodes[0].agent.start()?;
        lab.wait_converged()?;
        runtime.add(&mut late)?;
        pods.push(late);
        let pods: Vec<_> = pods.iter().collect();
        caracal_kernel_tests::addresses_equal_pods(&lab, &pods)?;
        caracal_kernel_tests::kernel_equals_state(&lab, &lab.nodes[0], &pods)
    }

    fn a_second_agent_on_the_same_socket_ends_and_names_the_socket() {
        let (mut lab, pods) = started()?;
        let before = Calm::of(&lab)?;
        let node = &lab.nodes[0];
        let same = std::fs::read_to_string(node.folder.join("agent.yaml"))?;
        let socket = node.socket().display().to_string();
        ensure_refused(refused(node, &same, &[])?, &["socket", &socket])?;
        nothing_else_stops(&mut lab, &pods, &before)
    }

    fn a_port_that_is_taken_is_named() {
        let (mut lab, _) = started()?;
        lab.nodes[0].agent.terminate()?;
        let node = &lab.nodes[0];
        let configuration = std::fs::read_to_string(node.folder.join("agent.yaml"))?;
        let taken = node.netns.enter(|| TcpListener::bind("127.0.0.1:9091"))??;
        ensure_refused(refused(node, &configuration, &[])?, &["127.0.0.1:9091"])?;
        drop(taken);
        let taken = node.netns.enter(|| TcpListener::bind("0.0.0.0:179"))??;
        // Without the port this agent can still call the others: it may live, if it says so.
        let log = node.folder.join("taken.log");
        let file = node.folder.join("agent.yaml").display().to_string();
        let mut daemon = Daemon::new(&node.netns, &Binaries::find()?.agent, &["--config", &file], &log);
        daemon.start()?;
        wait::until("port 179 to be named", || {
            if daemon.check_running().is_err() {
                let said = daemon.log();
                let named = said.lines().any(|line| line.contains("179") && line.contains("in use"));
                return if named { Ok(()) } else { Err(format!("it has ended: {said}")) };
            }
            let status = node.status().map_err(|error| error.to_string())?;
            let named = status.conditions.iter().any(|condition| condition.message.contains("179"));
            if named { Ok(()) } else { Err(format!("{:?}", status.conditions)) }
        })?;
        drop(daemon);
        drop(taken);
        lab.nodes[0].agent.start()?;
        lab.wait_converged()
    }

    fn an_agent_that_may_not_write_routes_says_so() {
        let (mut lab, _) = started()?;
        lab.nodes[0].agent.terminate()?;
        let node = &lab.nodes[0];
        // Without something to write there would be nothing to refuse.
        let block = lab.nodes[1].status()?.blocks[0].to_string();
        node.netns.ip(&["route", "delete", &block])?;
        let binary = Binaries::find()?.agent.display().to_string();
        let file = node.folder.join("agent.yaml").display().to_string();
        let words = ["--bounding-set=-net_admin", "--inh-caps=-all", &binary, "--config", &file];
        let setpriv = private::program("setpriv", "util-linux")?;
        let mut daemon = Daemon::new(&node.netns, &setpriv, &words, &node.folder.join("weak.log"));
        daemon.start()?;
        // It may end, or live and say what it cannot do.
        wait::until("the missing permission to be named", || {
            if daemon.check_running().is_err() {
                return if daemon.log().contains("CAP_NET_ADMIN") { Ok(()) } else { Err(daemon.log()) };
            }
            let status = node.status().map_err(|error| error.to_string())?;
            let named = status.conditions.iter().any(|condition| condition.message.contains("ermi"));
            if named { Ok(()) } else { Err(format!("{status:?}\n{}", daemon.log())) }
        })?;
        drop(daemon);
        lab.nodes[0].agent.start()?;
        lab.wait_converged()
    }

    fn an_agent_that_may_not_write_its_datastore_names_the_folder() {
        let (lab, _) = started()?;
        let node = &lab.nodes[1];
        let folder = lab.folder.join("locked");
        std::fs::create_dir_all(&folder)?;
        std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o555))?;
        let configuration = format!(
            "nodename: other\ndatastore: {{type: file, path: {}}}\nsocket: {}/other.sock\nhttp: {{listen: none}}\n",
            folder.display(),
            node.folder.display()
        );
        let wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"];
        let folder = folder.display().to_string();
        ensure_refused(refused(node, &configuration, &wrapper)?, &[&folder, "no permission"])
    }

    fn a_configuration_that_is_wrong_is_named_with_file_key_and_value() {
        let (lab, _) = started()?;
        let node = &lab.nodes[0];
        let good = std::fs::read_to_string(node.folder.join("agent.yaml"))?;
        let file = node.folder.join("other.yaml").display().to_string();
        let cases: [(String, &[&str]); 5] = [
            (good.replace("nodename:", "nodenam:"), &["other.yaml", "nodenam"]),
            (good.replace("127.0.0.1:9091", "somewhere"), &["other.yaml", "somewhere"]),
            (good.replace("type: file", "type: paper"), &["other.yaml", "paper"]),
            (format!("{good}\n  broken: ["), &["other.yaml"]),
            (format!("{good}\nip: 172.31.1.1/99\n"), &["other.yaml", "172.31.1.1/99"]),
        ];
        for (configuration, words) in &cases {
            ensure_refused(refused(node, configuration, &[])?, words).with_context(|| configuration.clone())?;
        }
        std::fs::remove_file(&file)?;
        let missing = Daemon::new(&node.netns, &Binaries::find()?.agent, &["--config", &file], &node.folder.join("m.log"));
        let mut missing = missing;
        missing.start()?;
        let status = missing.ended()?;
        ensure_refused((status, missing.log()), &[&file])
    }

    fn a_peer_that_does_not_exist_is_shown_as_down_and_stops_nothing() {
        let (mut lab, pods) = started()?;
        let before = Calm::of(&lab)?;
        let peer = manifests::global_peer("nobody", "172.31.1.77".parse()?, 64999);
        manifests::write(&lab.store, "nobody.yaml", &peer)?;
        wait::until("the peer to be shown", || {
            let peers = lab.nodes[0].peers().map_err(|error| error.to_string())?;
            let nobody = peers.iter().find(|peer| peer.address.to_string() == "172.31.1.77");
            match nobody {
                Some(peer) if peer.state != "Established" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        let status = lab.nodes[0].status()?;
        ensure!(status.ready, "an absent peer is no reason to be unready: {:?}", status.not_ready_because);
        std::fs::remove_file(lab.store.join("nobody.yaml"))?;
        wait::until("the peer to go", || {
            let peers = lab.nodes[0].peers().map_err(|error| error.to_string())?;
            if peers.len() == 1 { Ok(()) } else { Err(format!("{peers:?}")) }
        })?;
        nothing_else_stops(&mut lab, &pods, &before)
    }
}
