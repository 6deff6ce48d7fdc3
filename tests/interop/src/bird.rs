//! BIRD 2, Debian's package `bird2`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::daemon::Daemon;
use caracal_lab::private::program;
use caracal_lab::topology::{ASN, Site};
use caracal_lab::{Lab, Netns, manifests, wait};

use crate::duel::Duel;
use crate::router::Learned;

/// A BIRD that peers with every node of a lab and announces one prefix a family.
#[derive(Debug)]
pub struct Bird {
    /// Its namespace.
    pub netns: Netns,
    /// Its process.
    pub daemon: Daemon,
    socket: PathBuf,
    birdc: PathBuf,
}

/// A path that BIRD knows, as `birdc show route all` prints it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BirdRoute {
    /// Prefix.
    pub prefix: String,
    /// The protocol (in our configuration: the node) that it came from.
    pub protocol: String,
    /// BGP.next_hop.
    pub next_hop: String,
    /// BGP.local_pref.
    pub local_pref: String,
    /// BGP.origin.
    pub origin: String,
    /// BGP.as_path.
    pub as_path: String,
    /// BGP.med.
    pub med: String,
    /// BGP.community, BGP.large_community and BGP.ext_community: `aa:bb`, `aa:bb:cc`, `rt:aa:bb`.
    pub communities: Vec<String>,
}

impl BirdRoute {
    /// In the words of all routers.
    pub(crate) fn learned(self, from: IpAddr, stale: bool) -> Learned {
        Learned {
            prefix: self.prefix,
            from: from.to_string(),
            next_hop: self.next_hop,
            local_pref: self.local_pref.parse().ok(),
            med: self.med.parse().ok(),
            origin: self.origin.to_lowercase(),
            as_path: self.as_path,
            communities: self.communities,
            stale,
            ..Learned::default()
        }
    }
}

impl Bird {
    /// Places BIRD on a rack and starts it. `announced` are its prefixes, one static protocol for each: `announced0` …
    pub fn start(lab: &Lab, site: &Site, asn: u32, announced: &[&str]) -> Result<Bird> {
        let netns = lab.connect(site)?;
        let folder = lab.folder.join(&site.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let text = configuration(lab, site, asn, announced);
        Bird::launch(netns, &folder, &text, &[])
    }

    /// Starts it with a configuration of the test's own.
    pub fn alone(duel: &Duel, configuration: &str) -> Result<Bird> {
        Bird::launch(duel.theirs.clone(), &duel.folder, configuration, &[])
    }

    pub(crate) fn launch(
        netns: Netns,
        folder: &Path,
        configuration: &str,
        more: &[&str],
    ) -> Result<Bird> {
        let (bird, birdc) = (program("bird", "bird2")?, program("birdc", "bird2")?);
        manifests::write(folder, "bird.conf", configuration)?;
        let (file, socket) = (folder.join("bird.conf"), folder.join("bird.ctl"));
        let args = [
            "-f",
            "-c",
            &file.display().to_string(),
            "-s",
            &socket.display().to_string(),
        ];
        let args = [&args[..], more].concat();
        let mut daemon = Daemon::new(&netns, &bird, &args, &folder.join("agent.log"));
        daemon.start()?;
        Ok(Bird {
            netns,
            daemon,
            socket,
            birdc,
        })
    }

    /// Asks its command line.
    pub fn ask(&self, words: &str) -> Result<String> {
        let mut command = Command::new(&self.birdc);
        command
            .arg("-s")
            .arg(&self.socket)
            .args(words.split_whitespace());
        let done = command.output().context("birdc")?;
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            bail!(
                "birdc {words}: {text}{}",
                String::from_utf8_lossy(&done.stderr)
            );
        }
        Ok(text)
    }

    /// Waits until all its BGP protocols are Established.
    pub fn wait_established(&mut self) -> Result<()> {
        wait::until_or("BIRD's sessions", || {
            self.daemon.check_running()?;
            let text = self.ask("show protocols").unwrap_or_default();
            let lines: Vec<_> = text.lines().filter(|line| line.contains(" BGP ")).collect();
            let all = !lines.is_empty() && lines.iter().all(|line| line.contains("Established"));
            Ok(if all { Ok(()) } else { Err(lines.join("; ")) })
        })
    }

    /// The paths that it has learned by BGP.
    pub fn learned(&self) -> Result<Vec<BirdRoute>> {
        Ok(routes_of(&self.ask("show route all")?))
    }
}

/// Reads what `show route all` prints; BIRD 1 and 2 differ in words that do not matter here.
pub(crate) fn routes_of(text: &str) -> Vec<BirdRoute> {
    let mut routes: Vec<BirdRoute> = Vec::new();
    let mut prefix = String::new();
    for line in text.lines() {
        let field = |name: &str| {
            line.trim()
                .strip_prefix(name)
                .map(|value| value.trim().to_owned())
        };
        if let Some((head, rest)) = line.split_once(" [") {
            let mut words = head.split_whitespace();
            // A further path of the same prefix has no prefix in front.
            if let Some(first) = words.next().filter(|first| first.contains('/')) {
                prefix = first.to_owned();
            }
            routes.push(BirdRoute {
                prefix: prefix.clone(),
                protocol: rest
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
                ..BirdRoute::default()
            });
        }
        let Some(route) = routes.last_mut() else {
            continue;
        };
        if let Some(value) = field("BGP.next_hop:") {
            // In IPv6 the link-local address follows.
            route.next_hop = value
                .split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned();
        } else if let Some(value) = field("BGP.local_pref:") {
            route.local_pref = value;
        } else if let Some(value) = field("BGP.origin:") {
            route.origin = value;
        } else if let Some(value) = field("BGP.as_path:") {
            route.as_path = value;
        } else if let Some(value) = field("BGP.med:") {
            route.med = value;
        } else if let Some(value) = [
            "BGP.community:",
            "BGP.large_community:",
            "BGP.ext_community:",
        ]
        .into_iter()
        .find_map(field)
        {
            let one = value.split(['(', ')']).map(str::trim);
            let one = one.filter(|one| !one.is_empty());
            let colons = one.map(|one| one.replace(' ', "").replace(',', ":"));
            route.communities.extend(colons);
        }
    }
    routes.retain(|route| !route.next_hop.is_empty());
    routes
}

fn configuration(lab: &Lab, site: &Site, asn: u32, announced: &[&str]) -> String {
    let (own4, own6) = (site.ipv4.addr(), site.ipv6.addr());
    let gateway = caracal_lab::topology::router(site.rack);
    let (gateway4, gateway6) = (gateway.ipv4.addr(), gateway.ipv6.addr());
    let mut text = format!(
        "router id {own4};
log stderr all;
protocol device {{ }}
protocol direct {{ ipv4; ipv6; }}
protocol static gateway4 {{ ipv4; route 0.0.0.0/0 via {gateway4}; }}
"
    );
    if lab.options.ipv6 {
        let _ = writeln!(
            text,
            "protocol static gateway6 {{ ipv6; route ::/0 via {gateway6}; }}"
        );
    }
    let prefixes: Vec<_> = announced
        .iter()
        .map(|prefix| format!("net = {prefix}"))
        .collect();
    let filter = format!("if {} then accept; reject;", prefixes.join(" || "));
    for (number, prefix) in announced.iter().enumerate() {
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        let line =
            format!("protocol static announced{number} {{ {family}; route {prefix} blackhole; }}");
        let _ = writeln!(text, "{line}");
    }
    for node in &lab.nodes {
        let mut peer = |name: &str, own: IpAddr, other: IpAddr, family: &str| {
            let multihop = if asn == ASN { "" } else { "multihop; " };
            let _ = writeln!(
                text,
                "protocol bgp {name} {{ local {own} as {asn}; neighbor {other} as {ASN}; {multihop}connect retry time 1; \
                 error wait time 1, 2; connect delay time 1; {family} {{ import all; next hop self; \
                 export filter {{ {filter} }}; }}; }}"
            );
        };
        peer(node.name(), own4, node.site.ipv4.addr(), "ipv4");
        if lab.options.ipv6 {
            peer(
                &format!("{}_6", node.name()),
                own6,
                node.site.ipv6.addr(),
                "ipv6",
            );
        }
    }
    text
}
