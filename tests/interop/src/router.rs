//! What every router can be asked and told, whoever made it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::private::program;
use caracal_lab::topology::{ASN, Site};
use caracal_lab::{Lab, Netns, manifests};

use crate::duel::{self, Duel};

/// A router beside the lab's nodes, with one session a node and family.
pub trait Router: Sized {
    /// Whether it can put another AS than its own in front of a path.
    const PREPENDS: bool = true;

    /// Starts it. It announces nothing yet.
    fn start(place: Place) -> Result<Self>;

    /// The neighbours with whom its session is Established. An error when it has ended.
    fn established(&mut self) -> Result<Vec<IpAddr>>;

    /// The paths that it has from its neighbours, whether it uses them or not.
    fn learned(&mut self) -> Result<Vec<Learned>>;

    /// Announces a prefix to all its neighbours.
    fn announce(&mut self, announced: &Announced) -> Result<()>;

    /// Withdraws it.
    fn withdraw(&mut self, announced: &Announced) -> Result<()>;

    /// All that it says of its neighbours, NOTIFICATIONs included: for people, and in its own words.
    fn says(&mut self) -> Result<String>;

    /// Whether it has a path of the prefix with so many communities.
    fn has_communities(&mut self, prefix: &str, count: usize) -> Result<bool> {
        let paths = self.learned()?;
        let mut paths = paths.iter().filter(|path| path.prefix == prefix);
        Ok(paths.any(|path| path.communities.len() == count))
    }

    /// Has it ask a neighbour for all routes once more (RFC 2918).
    fn ask_for_refresh(&mut self, _neighbour: IpAddr) -> Result<()> {
        bail!("it cannot be told to ask for a refresh")
    }

    /// Has it end the session with a neighbour, with words for that one's operator (RFC 9003).
    fn shut_down(&mut self, _neighbour: IpAddr, _words: &str) -> Result<()> {
        bail!("it has no words for a shutdown")
    }

    /// Has it give up what it has begun with a neighbour, where it would wait for minutes for a connection whose end it has not heard.
    fn start_over(&mut self, _neighbour: IpAddr) -> Result<()> {
        Ok(())
    }

    /// Ends it with no chance to say anything.
    fn kill(&mut self) -> Result<()>;

    /// Starts it once more after `kill`, as its operator would start it after a crash. It announces nothing.
    fn start_again(&mut self) -> Result<()>;
}

/// Where a router stands, and with whom it shall speak.
#[derive(Debug, Clone)]
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
    /// The AS numbers of those neighbours that are not in the AS that the others are in.
    pub strangers: BTreeMap<IpAddr, u32>,
    /// What its sessions shall have.
    pub wish: Wish,
}

/// What the sessions of a router shall have, where it can.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The AS of its neighbours.
    pub asn: u32,
    /// TCP MD5 (RFC 2385).
    pub key: Option<&'static str>,
    /// Only from one hop away (RFC 5082).
    pub ttl_security: bool,
    /// Several paths of a prefix, both ways (RFC 7911). What it learns it passes on.
    pub add_path: bool,
    /// IPv4 routes over sessions over IPv6 (RFC 8950).
    pub extended_next_hop: bool,
    /// So many prefixes of a family are still good (RFC 4486 §4).
    pub prefix_limit: Option<u32>,
    /// What it is to its neighbours, in the words of RFC 9234: `provider`, `customer`, `peer`.
    pub role: Option<&'static str>,
    /// It does not know AS numbers of four octets (RFC 6793).
    pub two_octets: bool,
    /// It only listens.
    pub passive: bool,
    /// It restarts gracefully (RFC 4724), with this Restart Time in seconds.
    pub restart_seconds: u16,
    /// The Long-lived Stale Time in seconds (RFC 9494).
    pub long_lived_seconds: Option<u32>,
}

impl Default for Wish {
    fn default() -> Wish {
        Wish {
            asn: ASN,
            key: None,
            ttl_security: false,
            add_path: false,
            extended_next_hop: false,
            prefix_limit: None,
            role: None,
            two_octets: false,
            passive: false,
            restart_seconds: 120,
            long_lived_seconds: None,
        }
    }
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
            strangers: BTreeMap::new(),
            wish: Wish::default(),
        })
    }

    /// The other side of a duel. The first neighbour is our speaker.
    pub fn in_duel(duel: &Duel, asn: u32, wish: Wish, neighbours: &[IpAddr]) -> Place {
        Place {
            netns: duel.theirs.clone(),
            site: Site {
                name: "theirs".to_owned(),
                rack: 1,
                ipv4: duel::v4(duel::THEIRS).into(),
                ipv6: duel::v6(duel::THEIRS).into(),
            },
            folder: duel.folder.clone(),
            asn,
            neighbours: neighbours.to_vec(),
            strangers: BTreeMap::new(),
            wish,
        }
    }

    /// The AS of a neighbour.
    pub fn asn_of(&self, neighbour: &IpAddr) -> u32 {
        let stranger = self.strangers.get(neighbour).copied();
        stranger.unwrap_or(self.wish.asn)
    }

    /// Whether a neighbour is in the same AS.
    pub fn is_internal(&self, neighbour: &IpAddr) -> bool {
        self.asn == self.asn_of(neighbour)
    }

    /// Whether a neighbour may be behind other routers: not where it has to be one hop away.
    pub fn may_be_far(&self, neighbour: &IpAddr) -> bool {
        !self.is_internal(neighbour) && !self.wish.ttl_security
    }

    /// The families of the session with a neighbour: that of its address, and with an IPv6 next hop IPv4 too.
    pub fn families(&self, neighbour: &IpAddr) -> &'static [&'static str] {
        match (neighbour, self.wish.extended_next_hop) {
            (IpAddr::V4(_), _) => &["ipv4"],
            (IpAddr::V6(_), false) => &["ipv6"],
            (IpAddr::V6(_), true) => &["ipv4", "ipv6"],
        }
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
    /// The Path Identifier (RFC 7911) of routers that are told two paths of a neighbour by nothing else; else empty.
    pub path_id: String,
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
    /// `64512:100` …, large ones `64512:1:2` …, route targets `rt:64512:100` …
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
    /// A route target (RFC 4360).
    pub route_target: &'static str,
    /// An AS number behind the router's own, of routers that can.
    pub prepend: u32,
}
