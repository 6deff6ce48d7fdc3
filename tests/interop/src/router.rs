//! What every router can be asked and told, whoever made it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::private::program;
use caracal_lab::topology::{ASN, Site};
use caracal_lab::{Lab, Netns, manifests};

/// A router beside the lab's nodes, with one session a node and family.
pub trait Router: Sized {
    /// Whether it can put another AS than its own in front of a path.
    const PREPENDS: bool = true;

    /// Starts it. It announces nothing yet.
    fn start(place: &Place) -> Result<Self>;

    /// The neighbours with whom its session is Established. An error when it has ended.
    fn established(&mut self) -> Result<Vec<IpAddr>>;

    /// The paths that it has from its neighbours, whether it uses them or not.
    fn learned(&mut self) -> Result<Vec<Learned>>;

    /// Announces a prefix to all its neighbours.
    fn announce(&mut self, announced: &Announced) -> Result<()>;

    /// Withdraws it.
    fn withdraw(&mut self, announced: &Announced) -> Result<()>;
}

/// Where a router stands, and with whom it shall speak.
#[derive(Debug)]
pub struct Place {
    /// Its namespace.
    pub netns: Netns,
    /// Its addresses.
    pub site: Site,
    /// Its files; what it says goes to `agent.log`, which is shown when a test fails.
    pub folder: PathBuf,
    /// Its AS.
    pub asn: u32,
    /// The nodes' addresses, of both families where the lab has both.
    pub neighbours: Vec<IpAddr>,
}

impl Place {
    /// A new namespace on a rack of the lab.
    pub fn new(lab: &Lab, site: Site, asn: u32) -> Result<Place> {
        let netns = lab.connect(&site)?;
        let folder = lab.folder.join(&site.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let mut neighbours = Vec::new();
        for node in &lab.nodes {
            neighbours.push(node.site.ipv4.addr());
            if lab.options.ipv6 {
                neighbours.push(node.site.ipv6.addr());
            }
        }
        Ok(Place {
            netns,
            site,
            folder,
            asn,
            neighbours,
        })
    }

    /// Whether the nodes are in the same AS.
    pub fn is_internal(&self) -> bool {
        self.asn == ASN
    }

    /// Whether the lab has IPv6.
    pub fn ipv6(&self) -> bool {
        self.neighbours.iter().any(IpAddr::is_ipv6)
    }

    /// Its own address in the family of another one.
    pub fn own(&self, other: &IpAddr) -> IpAddr {
        if other.is_ipv6() {
            self.site.ipv6.addr()
        } else {
            self.site.ipv4.addr()
        }
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("agent.log")
    }
}

/// Lays a file of our own over one of the system's. Nobody outside of this private world sees it.
pub(crate) fn cover(folder: &Path, file: &Path, text: &str) -> Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    manifests::write(folder, &name, text)?;
    let mut command = Command::new(program("mount", "mount")?);
    command.arg("--bind").arg(folder.join(&*name));
    let done = command.arg(file).output().context("mount")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("a {} of our own: {}", file.display(), said.trim());
    }
    Ok(())
}

/// A path that a router has learned, in the words of our own `GET /v1/routes`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Learned {
    /// Prefix.
    pub prefix: String,
    /// The neighbour that it came from, by address or (where the router says no more) by router ID.
    pub from: String,
    /// The global one where there are two.
    pub next_hop: String,
    /// LOCAL_PREF, as it came or as the router has set it.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC. Some routers do not tell 0 from absent: then `None`.
    pub med: Option<u32>,
    /// `igp`, `egp` or `incomplete`.
    pub origin: String,
    /// AS numbers with blanks between.
    pub as_path: String,
    /// `64512:100` …
    pub communities: Vec<String>,
    /// Kept over a restart of the neighbour (RFC 4724).
    pub stale: bool,
}

/// A prefix that a router shall announce, and the attributes that its neighbours shall see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// Prefix.
    pub prefix: &'static str,
    /// LOCAL_PREF, inside the AS.
    pub local_pref: u32,
    /// MULTI_EXIT_DISC.
    pub med: u32,
    /// A community.
    pub community: &'static str,
    /// A large community (RFC 8092).
    pub large_community: &'static str,
    /// An AS number behind the router's own, of routers that can.
    pub prepend: u32,
}
