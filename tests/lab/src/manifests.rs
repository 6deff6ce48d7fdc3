//! The manifests and configuration files of a lab, as a person would write them.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result};

use crate::topology::{ASN, Encapsulation, Mode, Options, POOL_IPV4, POOL_IPV6, Site};

/// Writes a file in one step, as an editor does.
pub fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let draft = folder.join(format!(".{name}.draft"));
    fs::write(&draft, text).with_context(|| format!("{}", draft.display()))?;
    fs::rename(&draft, folder.join(name)).with_context(|| format!("{name} in {}", folder.display()))
}

/// A Node.
pub fn node(site: &Site, ipv6: bool) -> String {
    let ipv6 = if ipv6 {
        format!("\n    ipv6Address: {}", site.ipv6)
    } else {
        String::new()
    };
    format!(
        "apiVersion: projectcalico.org/v3
kind: Node
metadata:
  name: {name}
  labels: {{rack: \"{rack}\"}}
spec:
  bgp:
    ipv4Address: {ipv4}{ipv6}
",
        name = site.name,
        rack = site.rack,
        ipv4 = site.ipv4,
    )
}

/// An IPPool of these modes.
pub fn pool(name: &str, cidr: &str, block_size: u8, encapsulation: Encapsulation) -> String {
    let mode = |wanted| {
        if encapsulation == wanted {
            "CrossSubnet"
        } else {
            "Never"
        }
    };
    let (ipip, vxlan) = (mode(Encapsulation::Ipip), mode(Encapsulation::Vxlan));
    format!(
        "apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  name: {name}
spec:
  cidr: {cidr}
  blockSize: {block_size}
  ipipMode: {ipip}
  vxlanMode: {vxlan}
  natOutgoing: false
  nodeSelector: all()
"
    )
}

/// The pools of a lab. IPIP carries IPv4 only, so the IPv6 pool then has VXLAN.
pub fn pools(options: &Options) -> Vec<(&'static str, String)> {
    let mut pools = vec![(
        "pods-ipv4.yaml",
        pool("pods-ipv4", POOL_IPV4, 26, options.encapsulation),
    )];
    if options.ipv6 {
        let way = if options.encapsulation == Encapsulation::None {
            Encapsulation::None
        } else {
            Encapsulation::Vxlan
        };
        pools.push(("pods-ipv6.yaml", pool("pods-ipv6", POOL_IPV6, 122, way)));
    }
    pools
}

/// The cluster's BGPConfiguration.
pub fn bgp_configuration(mode: Mode) -> String {
    let mesh = mode == Mode::Mesh;
    format!(
        "apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata:
  name: default
spec:
  asNumber: {ASN}
  nodeToNodeMeshEnabled: {mesh}
"
    )
}

/// A BGPPeer of all nodes.
pub fn global_peer(name: &str, address: IpAddr, asn: u32) -> String {
    format!(
        "apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata:
  name: {name}
spec:
  peerIP: \"{address}\"
  asNumber: {asn}
"
    )
}

/// The file of `caracal-agent`.
pub fn agent(node: &str, folder: &Path, store: &Path) -> String {
    format!(
        "nodename: {node}
datastore: {{type: file, path: {store}}}
socket: {folder}/agent.sock
http: {{listen: \"127.0.0.1:9091\"}}
cni: {{spool: {folder}/cni, mtuFile: {folder}/mtu}}
log: {{level: info, format: text}}
",
        store = store.display(),
        folder = folder.display(),
    )
}

/// The file of `caracal-route-reflector`: every node is a client, whoever it is.
pub fn reflector(site: &Site, folder: &Path, ipv6: bool) -> String {
    let (address, address6) = (site.ipv4.addr(), site.ipv6.addr());
    let (listen6, clients6) = match ipv6 {
        true => (
            format!(", \"[{address6}]:179\""),
            format!("\n  - {{prefix: \"fd00:31::/32\", asn: {ASN}, client: true}}"),
        ),
        false => (String::new(), String::new()),
    };
    format!(
        "asn: {ASN}
routerId: {address}
listen: [\"{address}:179\"{listen6}]
clusterId: 1.0.0.1
families: [ipv4-unicast, ipv6-unicast]
dynamicPeers:
  - {{prefix: 172.31.0.0/16, asn: {ASN}, client: true}}{clients6}
http: {{listen: \"127.0.0.1:9092\"}}
socket: {folder}/agent.sock
",
        folder = folder.display(),
    )
}
