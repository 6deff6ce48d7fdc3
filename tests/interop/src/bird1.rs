//! BIRD 1.6, Debian's package `bird`: a daemon a family.
//!
//! The package cannot be installed beside `bird2`, so its programs are also looked for in a folder that is named by
//! [`FOLDER_VARIABLE`]: `apt-get download bird && dpkg -x bird_*.deb FOLDER`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::daemon::Daemon;
use caracal_lab::topology::{self, ASN};
use caracal_lab::{manifests, private};

use crate::bird::routes_of;
use crate::router::{Announced, Learned, Place, Router};

/// Where the package was unpacked.
const FOLDER_VARIABLE: &str = "CARACAL_BIRD1";

/// BIRD 1.6, with no kernel protocol.
#[derive(Debug)]
pub struct Bird1 {
    asn: u32,
    daemons: Vec<Family>,
}

/// One of its two programs.
#[derive(Debug)]
struct Family {
    ipv6: bool,
    daemon: Daemon,
    birdc: PathBuf,
    folder: PathBuf,
    /// All but the announced prefix.
    configuration: String,
    neighbours: Vec<IpAddr>,
}

impl Router for Bird1 {
    fn start(place: &Place) -> Result<Bird1> {
        let families: &[bool] = if place.ipv6() {
            &[false, true]
        } else {
            &[false]
        };
        let daemons = families.iter().map(|&ipv6| Family::start(place, ipv6));
        Ok(Bird1 {
            asn: place.asn,
            daemons: daemons.collect::<Result<_>>()?,
        })
    }

    fn established(&mut self) -> Result<Vec<IpAddr>> {
        let mut up = Vec::new();
        for family in &mut self.daemons {
            family.daemon.check_running()?;
            let text = family.ask("show protocols").unwrap_or_default();
            let lines = text.lines().filter(|line| line.contains("Established"));
            up.extend(lines.filter_map(|line| family.neighbour(line.split_whitespace().next()?)));
        }
        Ok(up)
    }

    fn learned(&mut self) -> Result<Vec<Learned>> {
        let mut learned = Vec::new();
        for family in &self.daemons {
            let restarting = family.restarting()?;
            for route in routes_of(&family.ask("show route all")?) {
                let from = family.neighbour(&route.protocol);
                let from = from.with_context(|| format!("{route:?} is of no neighbour"))?;
                learned.push(Learned {
                    prefix: route.prefix,
                    from: from.to_string(),
                    next_hop: route.next_hop,
                    local_pref: route.local_pref.parse().ok(),
                    med: route.med.parse().ok(),
                    origin: route.origin.to_lowercase(),
                    as_path: route.as_path,
                    communities: route.communities,
                    // It does not say so of single routes.
                    stale: restarting.contains(&from),
                });
            }
        }
        Ok(learned)
    }

    fn announce(&mut self, announced: &Announced) -> Result<()> {
        let prefix = announced.prefix;
        self.configure(
            announced,
            &format!("protocol static announced {{ route {prefix} blackhole; }}\n"),
        )
    }

    fn withdraw(&mut self, announced: &Announced) -> Result<()> {
        self.configure(announced, "")
    }
}

impl Bird1 {
    fn configure(&self, announced: &Announced, more: &str) -> Result<()> {
        let ipv6 = announced.prefix.contains(':');
        let family = self.daemons.iter().find(|family| family.ipv6 == ipv6);
        let family = family.context("BIRD does not speak this family here")?;
        let (high, low) = announced.community.split_once(':').unwrap_or_default();
        // It puts its own AS in front before it asks the filter.
        let path = match self.asn {
            ASN => String::new(),
            asn => format!("bgp_path.prepend({asn}); "),
        };
        let filter = format!(
            "filter export_all {{ if proto != \"announced\" then reject; bgp_origin = ORIGIN_IGP; \
             bgp_local_pref = {}; bgp_med = {}; bgp_path.empty; bgp_path.prepend({}); {path}bgp_community.add(({high},{low})); \
             bgp_large_community.add(({})); accept; }}\n",
            announced.local_pref,
            announced.med,
            announced.prepend,
            announced.large_community.replace(':', ","),
        );
        family.write(&filter, more)?;
        let answer = family.ask("configure")?;
        if !answer.contains("Reconfigur") {
            bail!("BIRD did not take its configuration: {answer}");
        }
        Ok(())
    }
}

impl Family {
    fn start(place: &Place, ipv6: bool) -> Result<Family> {
        let suffix = if ipv6 { "6" } else { "" };
        let bird = program(&format!("bird{suffix}"))?;
        let folder = place.folder.join(if ipv6 { "ipv6" } else { "ipv4" });
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let file = |name: &str| folder.join(name).display().to_string();
        let (configuration, socket) = (file("bird.conf"), file("bird.ctl"));
        let args = ["-f", "-c", &configuration, "-s", &socket];
        let neighbours = place.neighbours.iter().copied();
        let mut family = Family {
            ipv6,
            daemon: Daemon::new(&place.netns, &bird, &args, &place.log()),
            birdc: program(&format!("birdc{suffix}"))?,
            folder: folder.clone(),
            configuration: text(place, ipv6),
            neighbours: neighbours.filter(|one| one.is_ipv6() == ipv6).collect(),
        };
        family.write("filter export_all { reject; }\n", "")?;
        family.daemon.start()?;
        Ok(family)
    }

    fn write(&self, filter: &str, more: &str) -> Result<()> {
        let text = format!("{filter}{}{more}", self.configuration);
        manifests::write(&self.folder, "bird.conf", &text)
    }

    /// Its protocols are named by the neighbours' numbers.
    fn neighbour(&self, protocol: &str) -> Option<IpAddr> {
        let number: usize = protocol.strip_prefix("peer")?.parse().ok()?;
        self.neighbours.get(number).copied()
    }

    /// The neighbours whose routes it keeps over a restart.
    fn restarting(&self) -> Result<Vec<IpAddr>> {
        let (mut restarting, mut current) = (Vec::new(), None);
        for line in self.ask("show protocols all")?.lines() {
            if !line.starts_with(' ') {
                current = line
                    .split_whitespace()
                    .next()
                    .and_then(|name| self.neighbour(name));
            } else if line.contains("Neighbor graceful restart active") {
                restarting.extend(current);
            }
        }
        Ok(restarting)
    }

    /// Asks its command line.
    fn ask(&self, words: &str) -> Result<String> {
        let mut command = Command::new(&self.birdc);
        command.arg("-s").arg(self.folder.join("bird.ctl"));
        let done = command.args(words.split_whitespace()).output();
        let done = done.context("birdc")?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            let errors = String::from_utf8_lossy(&done.stderr);
            bail!("birdc {words}: {said}{errors}");
        }
        Ok(said)
    }
}

/// `bird6` is of BIRD 1 only, so where it is installed its neighbours are too.
fn program(name: &str) -> Result<PathBuf> {
    let folder = match std::env::var_os(FOLDER_VARIABLE) {
        Some(folder) => Path::new(&folder).join("usr/sbin"),
        None => {
            let bird6 = private::program("bird6", "bird")?;
            bird6.parent().unwrap_or(Path::new("/")).to_owned()
        }
    };
    let file = folder.join(name);
    if !file.is_file() {
        bail!("the program {} is missing", file.display());
    }
    Ok(file)
}

fn text(place: &Place, ipv6: bool) -> String {
    let gateway = topology::router(place.site.rack);
    let (all, gateway) = match ipv6 {
        true => ("::/0", gateway.ipv6.addr()),
        false => ("0.0.0.0/0", gateway.ipv4.addr()),
    };
    let id = place.site.ipv4.addr();
    let mut text = format!(
        "router id {id};
log stderr all;
protocol device {{ }}
protocol direct {{ }}
protocol static way_out {{ route {all} via {gateway}; }}
"
    );
    let neighbours = place.neighbours.iter().filter(|one| one.is_ipv6() == ipv6);
    for (number, neighbour) in neighbours.enumerate() {
        let (own, asn) = (place.own(neighbour), place.asn);
        let multihop = if place.is_internal() {
            ""
        } else {
            "multihop; "
        };
        let _ = writeln!(
            text,
            "protocol bgp peer{number} {{ local {own} as {asn}; neighbor {neighbour} as {ASN}; {multihop}next hop self; \
             connect retry time 1; error wait time 1, 2; connect delay time 1; graceful restart on; import all; \
             export filter export_all; }}"
        );
    }
    text
}
