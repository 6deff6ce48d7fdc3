//! Builds the cluster and keeps it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::binaries::Binaries;
use crate::manifests;
use crate::netns::{Netns, kernel_has};
use crate::node::Node;
use crate::ping::Pinger;
use crate::pod::Pod;
use crate::private;
use crate::topology::{self, Encapsulation, Mode, Options, REFLECTOR, Site};
use crate::wait;
use crate::wire::Watcher;

/// A cluster. Everything in it ends with this process.
#[derive(Debug)]
pub struct Lab {
    /// As asked for.
    pub options: Options,
    /// Its files.
    pub folder: PathBuf,
    /// The manifests.
    pub store: PathBuf,
    /// The namespace that holds racks and router.
    pub fabric: Netns,
    /// The nodes with pods.
    pub nodes: Vec<Node>,
    /// The router between the racks, where it has to know the pods' routes.
    pub router: Option<Node>,
    /// The route reflectors.
    pub reflectors: Vec<Node>,
    /// What crosses the wires.
    pub watcher: Watcher,
    /// The programs.
    pub binaries: Binaries,
}

impl Lab {
    /// Makes racks, router, nodes and manifests. No agent runs yet.
    pub fn build(options: Options, binaries: Binaries) -> Result<Lab> {
        options.check()?;
        if !private::inside() {
            bail!("a lab is built inside its private world only (private::Entrance)");
        }
        for (wanted, kind) in [
            (Encapsulation::Ipip, "ipip"),
            (Encapsulation::Vxlan, "vxlan"),
        ] {
            if options.encapsulation == wanted && !kernel_has(kind) {
                bail!("this kernel has no {kind}");
            }
        }
        let folder = PathBuf::from(private::FOLDER);
        let store = folder.join("store");
        std::fs::create_dir_all(&store).with_context(|| format!("{}", store.display()))?;
        let fabric = build_fabric(&options)?;
        let watcher = Watcher::start(&fabric)?;
        let mut lab = Lab {
            options,
            folder,
            store,
            fabric,
            nodes: Vec::new(),
            router: None,
            reflectors: Vec::new(),
            watcher,
            binaries,
        };
        lab.write_cluster()?;
        for site in lab.options.sites() {
            let netns = lab.connect(&site)?;
            manifests::write(
                &lab.store,
                &format!("{}.yaml", site.name),
                &manifests::node(&site, lab.options.ipv6),
            )?;
            lab.nodes
                .push(Node::prepare(site, netns, &lab.folder, &lab.binaries)?);
        }
        lab.router = lab.prepare_router()?;
        lab.reflectors = lab.prepare_reflectors()?;
        Ok(lab)
    }

    /// Starts reflector, router and agents, and waits until everyone has what everyone has announced.
    pub fn start(&mut self) -> Result<()> {
        for node in self.everyone() {
            node.agent.start()?;
        }
        self.wait_converged()
    }

    /// As `start`, but so many at a time: the next begin when these are ready.
    pub fn start_by(&mut self, at_once: usize) -> Result<()> {
        let mut everyone: Vec<&mut Node> = self.everyone().collect();
        for some in everyone.chunks_mut(at_once.max(1)) {
            for node in some.iter_mut() {
                node.agent.start()?;
            }
            for node in some {
                node.wait_ready()?;
            }
        }
        self.wait_converged()
    }

    /// Everyone is ready, all sessions are up, and each kernel has a route to each block of another node.
    pub fn wait_converged(&mut self) -> Result<()> {
        let sessions = self.sessions_of_a_node();
        let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in self.everyone() {
            let name = node.name().to_owned();
            if name.starts_with(REFLECTOR) {
                continue;
            }
            node.wait_ready()?;
            node.wait_established(sessions)?;
            let status = node.status()?;
            blocks.insert(
                name,
                status.blocks.iter().map(ToString::to_string).collect(),
            );
        }
        for node in self.nodes.iter().chain(&self.router) {
            let others = blocks
                .iter()
                .filter(|(name, _)| *name != node.name())
                .flat_map(|(_, blocks)| blocks);
            let others: Vec<_> = others.cloned().collect();
            wait::until(
                &format!("routes to all blocks in the kernel of {}", node.name()),
                || {
                    let have = node.kernel_prefixes().map_err(|error| error.to_string())?;
                    let missing: Vec<_> = others
                        .iter()
                        .filter(|block| !have.contains(*block))
                        .cloned()
                        .collect();
                    if missing.is_empty() {
                        Ok(())
                    } else {
                        Err(format!("missing: {}", missing.join(", ")))
                    }
                },
            )?;
        }
        Ok(())
    }

    /// Adds a pod by the plugin, as a runtime does.
    pub fn add_pod(&self, node: usize, name: &str) -> Result<Pod> {
        let runtime = self
            .nodes
            .get(node)
            .with_context(|| format!("there is no node of index {node}"))?
            .runtime();
        let mut pod = runtime.prepare(node, name, &format!("{name}-container"))?;
        runtime.add(&mut pod)?;
        Ok(pod)
    }

    /// Removes a pod by the plugin.
    pub fn remove_pod(&self, pod: &Pod) -> Result<()> {
        self.nodes[pod.node].runtime().remove(pod)
    }

    /// Connects a new namespace to a rack: `eth0`, the address, a default route through the router.
    pub fn connect(&self, site: &Site) -> Result<Netns> {
        let netns = Netns::create(&site.name)?;
        let (rack, router) = (site.rack, topology::router(site.rack));
        let port = format!("p-{}", site.name);
        self.fabric.ip_batch(&[
            format!(
                "link add {port} type veth peer name eth0 netns {}",
                site.name
            ),
            format!("link set {port} master rack{rack} up"),
        ])?;
        let mut lines = vec![
            format!("addr add {} dev eth0", site.ipv4),
            "link set eth0 up".to_owned(),
            format!("route add default via {}", router.ipv4.addr()),
        ];
        if self.options.ipv6 {
            lines.push(format!("addr add {} dev eth0 nodad", site.ipv6));
            lines.push(format!("route add default via {}", router.ipv6.addr()));
        }
        netns.ip_batch(&lines)?;
        for key in [
            "ipv4/conf/all/rp_filter",
            "ipv4/conf/default/rp_filter",
            "ipv4/conf/eth0/rp_filter",
        ] {
            netns.sysctl(key, "0")?;
        }
        Ok(netns)
    }

    /// Sessions that each node (and the router) shall have.
    pub fn sessions_of_a_node(&self) -> usize {
        let families = if self.options.ipv6 { 2 } else { 1 };
        match self.options.mode {
            Mode::Mesh => (self.nodes.len() + usize::from(self.router.is_some()) - 1) * families,
            Mode::Reflector => usize::from(self.options.reflectors) * families,
        }
    }

    /// A pinger from one pod to another.
    pub fn pinger(&self, from: &Pod, to: &Pod, ipv6: bool) -> Result<Pinger> {
        Pinger::open(&from.netns, if ipv6 { to.ipv6()? } else { to.ipv4()? })
    }

    /// Whether two nodes are in the same rack.
    pub fn same_rack(&self, one: usize, other: usize) -> bool {
        self.nodes[one].site.rack == self.nodes[other].site.rack
    }

    /// The reflectors first, so that they listen when the others call.
    fn everyone(&mut self) -> impl Iterator<Item = &mut Node> {
        self.reflectors
            .iter_mut()
            .chain(&mut self.router)
            .chain(&mut self.nodes)
    }

    fn write_cluster(&self) -> Result<()> {
        for (name, text) in manifests::pools(&self.options) {
            manifests::write(&self.store, name, &text)?;
        }
        let configuration = manifests::bgp_configuration(self.options.mode);
        manifests::write(&self.store, "bgp.yaml", &configuration)?;
        if self.options.mode == Mode::Mesh {
            return Ok(());
        }
        for site in self.options.reflector_sites() {
            let (file, peer) = (format!("{}.yaml", site.name), &site.name);
            let peer = manifests::global_peer(peer, site.ipv4.addr(), topology::ASN);
            manifests::write(&self.store, &file, &peer)?;
            if self.options.ipv6 {
                let (file, peer) = (
                    format!("{}-ipv6.yaml", site.name),
                    format!("{}-ipv6", site.name),
                );
                let peer = manifests::global_peer(&peer, site.ipv6.addr(), topology::ASN);
                manifests::write(&self.store, &file, &peer)?;
            }
        }
        Ok(())
    }

    /// Without encapsulation the router between racks has to know the pods' routes: it is one more node, without pods.
    fn prepare_router(&self) -> Result<Option<Node>> {
        if self.options.encapsulation != Encapsulation::None || self.options.racks == 1 {
            return Ok(None);
        }
        let site = topology::router(1);
        manifests::write(
            &self.store,
            "router.yaml",
            &manifests::node(&site, self.options.ipv6),
        )?;
        Node::prepare(site, self.fabric.clone(), &self.folder, &self.binaries).map(Some)
    }

    fn prepare_reflectors(&self) -> Result<Vec<Node>> {
        let mut reflectors = Vec::new();
        for site in self.options.reflector_sites() {
            let netns = self.connect(&site)?;
            let folder = self.folder.join(&site.name);
            let configuration = manifests::reflector(&site, &folder, self.options.ipv6);
            let program = self.binaries.reflector.clone();
            let reflector =
                Node::with_program(site, netns, folder, configuration, &self.binaries, &program)?;
            reflectors.push(reflector);
        }
        Ok(reflectors)
    }
}

/// One bridge a rack, and the router's address on each.
fn build_fabric(options: &Options) -> Result<Netns> {
    let fabric = Netns::create("fabric")?;
    for key in ["ipv6/conf/all/accept_dad", "ipv6/conf/default/accept_dad"] {
        // Where the kernel has no IPv6 there is nothing to wait for.
        if options.ipv6 || Path::new("/proc/sys/net").join(key).exists() {
            fabric.sysctl(key, "0")?;
        }
    }
    let mut lines = Vec::new();
    for rack in options.rack_numbers() {
        let router = topology::router(rack);
        // An address of its own: else a bridge takes the lowest of its ports', and with a port that comes later the router
        // changes under the neighbour caches of all nodes.
        lines.push(format!(
            "link add rack{rack} address 02:00:00:00:{rack:02x}:fe type bridge"
        ));
        lines.push(format!("addr add {} dev rack{rack}", router.ipv4));
        if options.ipv6 {
            lines.push(format!("addr add {} dev rack{rack} nodad", router.ipv6));
        }
        lines.push(format!("link set rack{rack} up"));
    }
    fabric.ip_batch(&lines)?;
    fabric.sysctl("ipv4/ip_forward", "1")?;
    if options.ipv6 {
        fabric.sysctl("ipv6/conf/all/forwarding", "1")?;
    }
    for key in ["ipv4/conf/all/rp_filter", "ipv4/conf/default/rp_filter"] {
        fabric.sysctl(key, "0")?;
    }
    Ok(fabric)
}
