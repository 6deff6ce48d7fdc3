//! A machine moves from node to node and keeps its address: whoever made its device writes WorkloadEndpoints and a
//! LiveMigration, as OpenStack's driver for Calico does.

use std::fs;
use std::net::UdpSocket;

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::add_pods;
use caracal_lab::ping::Stream;
use caracal_lab::{Binaries, Encapsulation, Lab, Node, Options, Pod, lab_tests, manifests, wait};

const DEVICE: &str = "cali00000000007";
const MAC: &str = "02:00:00:00:00:07";

/// The route to an address as the kernel has it; empty: none but the block's.
fn until_route(node: &Node, address: &str, words: &str) -> Result<()> {
    wait::until(
        &format!("{words:?} to {address} on {}", node.name()),
        || {
            let routes = node
                .kernel_routes(false)
                .map_err(|error| error.to_string())?;
            let found = routes
                .iter()
                .find(|route| route.split(' ').next() == Some(address));
            match found {
                None if words.is_empty() => Ok(()),
                Some(route) if !words.is_empty() && route.contains(words) => Ok(()),
                _ => Err(format!("{routes:?}")),
            }
        },
    )
}

/// The machine's device on the other node, with the address that the machine has where it was.
fn prepare(lab: &Lab, moving: &Pod) -> Result<Pod> {
    let node = &lab.nodes[1];
    let mut arrived = node.runtime().prepare(1, "arrived", "vm-7")?;
    arrived.addresses = moving.addresses.clone();
    let address = moving.ipv4()?.to_string();
    node.netns.ip(&[
        "link",
        "add",
        DEVICE,
        "address",
        "ee:ee:ee:ee:ee:ee",
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "address",
        MAC,
        "netns",
        "arrived",
    ])?;
    node.netns.ip(&["link", "set", DEVICE, "up"])?;
    let inside = &arrived.netns;
    inside.ip(&["link", "set", "eth0", "up"])?;
    inside.ip(&["addr", "add", &address, "dev", "eth0"])?;
    inside.ip(&["route", "add", "169.254.1.1", "dev", "eth0"])?;
    inside.ip(&["route", "add", "default", "via", "169.254.1.1"])?;
    Ok(arrived)
}

lab_tests! {
    fn a_machine_that_moves_is_reached_where_it_announces_itself() {
        let mut lab = Lab::build(Options { encapsulation: Encapsulation::None, ..Options::default() }, Binaries::find()?)?;
        lab.start()?;
        let pods = add_pods(&lab, 1)?;
        let (moving, asker) = (&pods[0], &pods[2]);
        let address = moving.ipv4()?.to_string();
        let head = |kind: &str, name: &str| format!("apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{name: {name}, namespace: default}}\nspec:\n");
        let migration = head("LiveMigration", "vm-7") + "  target: {workloadEndpoint: {hostname: node2, orchestratorID: openstack, workloadID: vm-7, endpointID: eth0}}\n";
        manifests::write(&lab.store, "migration.yaml", &migration)?;
        let felix = "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {name: default}\nspec: {liveMigrationRouteConvergenceTime: 100ms}\n";
        manifests::write(&lab.store, "felix.yaml", felix)?;
        let arrived = prepare(&lab, moving)?;
        let endpoint = head("WorkloadEndpoint", "node2-openstack-vm--7-eth0")
            + &format!("  orchestrator: openstack\n  node: node2\n  workload: vm-7\n  endpoint: eth0\n  ipNetworks: [{address}/32]\n  interfaceName: {DEVICE}\n  mac: {MAC}\n");
        manifests::write(&lab.store, "endpoint.yaml", &endpoint)?;
        wait::until("node2 to prepare the device", || {
            let proxy = format!("/proc/sys/net/ipv4/conf/{DEVICE}/proxy_arp");
            let value = lab.nodes[1].netns.enter(|| fs::read_to_string(&proxy)).map_err(|error| error.to_string())?;
            if value.is_ok_and(|value| value.trim() == "1") { Ok(()) } else { Err(proxy) }
        })?;
        // Prepared, but it runs where it was.
        until_route(&lab.nodes[1], &address, "")?;
        ensure!(lab.pinger(asker, moving, false)?.ask(wait::patience()).is_some(), "not reached where it is");

        // Another pod there says that it is the machine, on its own device: nobody believes it.
        let forger = &pods[1].netns;
        let shown = forger.ip(&["-o", "link", "show", "dev", "eth0"])?;
        let own_mac = shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next()).context("no MAC")?;
        forger.ip(&["link", "set", "eth0", "address", MAC])?;
        forger.ip(&["addr", "add", &format!("{address}/32"), "dev", "eth0"])?;
        forger.ip(&["neigh", "flush", "all"])?;
        forger.enter(|| UdpSocket::bind((moving.ipv4()?, 0)).and_then(|socket| socket.send_to(b"here I am", "192.0.2.1:9")).context("forged"))??;
        wait::until("the forged announcement to be heard", || {
            let log = lab.nodes[1].agent.log_tail(100);
            if log.contains("not believed") { Ok(()) } else { Err(log) }
        })?;
        until_route(&lab.nodes[1], &address, "")?;
        forger.ip(&["addr", "del", &format!("{address}/32"), "dev", "eth0"])?;
        forger.ip(&["link", "set", "eth0", "address", own_mac])?;

        // It asks for its gateway: the way leads here, also from the node where it was.
        arrived.netns.ip(&["neigh", "flush", "all"])?;
        let _ = lab.pinger(&arrived, asker, false)?.ask(wait::patience());
        until_route(&lab.nodes[1], &address, &format!("dev {DEVICE} proto 67 scope link metric 512"))?;
        until_route(&lab.nodes[0], &address, "via 172.31.1.2 dev eth0")?;
        moving.netns.ip(&["link", "set", "eth0", "down"])?;
        ensure!(lab.pinger(asker, &arrived, false)?.ask(wait::patience()).is_some(), "not reached where it came");
        ensure!(lab.pinger(&pods[1], &arrived, false)?.ask(wait::patience()).is_some(), "not reached on the node to which it came");

        // The agent of its new node starts anew. The machine says nothing of its own: it knows where its gateway is.
        let (gateway, mac) = ("169.254.1.1", "ee:ee:ee:ee:ee:ee");
        arrived.netns.ip(&["neigh", "replace", gateway, "lladdr", mac, "dev", "eth0", "nud", "permanent"])?;
        let stream = Stream::start(lab.pinger(asker, &arrived, false)?, 50);
        lab.nodes[1].agent.kill()?;
        lab.nodes[1].agent.start()?;
        lab.wait_converged()?;
        // For longer than it is asked whether it is there: two seconds.
        let restarted = stream.sent();
        wait::until("some pings more", || if stream.sent() > restarted + 150 { Ok(()) } else { Err(format!("{} sent", stream.sent())) })?;
        let tally = stream.finish()?;
        ensure!(tally.lost.is_empty(), "while its agent started anew: {tally:?}");
        until_route(&lab.nodes[1], &address, &format!("dev {DEVICE} proto 67 scope link metric 512"))?;

        // Over: an ordinary workload.
        fs::remove_file(lab.store.join("migration.yaml")).context("migration.yaml")?;
        until_route(&lab.nodes[1], &address, &format!("dev {DEVICE} proto 67 scope link metric 1024"))
    }
}
