//! OpenBGPD, Debian's package `openbgpd`, without a kernel table.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::daemon::Daemon;
use caracal_lab::private::program;
use caracal_lab::{manifests, wait};
use serde_json::Value;

use crate::json::{items, number, text};
use crate::router::{Announced, Learned, Place, Router, cover};

/// OpenBGPD.
#[derive(Debug)]
pub struct OpenBgpd {
    daemon: Daemon,
    bgpctl: PathBuf,
}

impl Router for OpenBgpd {
    /// It puts nobody in front but itself.
    const PREPENDS: bool = false;

    fn start(place: Place) -> Result<OpenBgpd> {
        let (bgpd, bgpctl) = (program("bgpd", "openbgpd")?, program("bgpctl", "openbgpd")?);
        become_somebody(&place.folder)?;
        manifests::write(&place.folder, "bgpd.conf", &configuration(&place))?;
        let file = place.folder.join("bgpd.conf");
        // It insists that nobody else reads its file, for passwords may be in it.
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let file = file.display().to_string();
        let mut daemon = Daemon::new(&place.netns, &bgpd, &["-d", "-f", &file], &place.log());
        daemon.start()?;
        Ok(OpenBgpd { daemon, bgpctl })
    }

    fn established(&mut self) -> Result<Vec<IpAddr>> {
        self.daemon.check_running()?;
        let Ok(said) = self.json(&["show", "neighbor"]) else {
            return Ok(Vec::new());
        };
        let peers = items(&said["neighbors"]).iter();
        let up = peers.filter(|peer| peer["state"] == "Established");
        Ok(up
            .filter_map(|peer| peer["remote_addr"].as_str()?.parse().ok())
            .collect())
    }

    fn learned(&mut self) -> Result<Vec<Learned>> {
        let said = self.json(&["show", "rib", "detail"])?;
        let paths = items(&said["rib"]).iter();
        // What is its own is marked so.
        let others = paths.filter(|path| path["announced"] != true);
        Ok(others.map(one).collect())
    }

    fn announce(&mut self, announced: &Announced) -> Result<()> {
        let (local_pref, med) = (announced.local_pref.to_string(), announced.med.to_string());
        let words = [
            "network",
            "add",
            announced.prefix,
            "community",
            announced.community,
            "large-community",
            announced.large_community,
            "ext-community",
            "rt",
            announced.route_target,
            "localpref",
            &local_pref,
            "med",
            &med,
        ];
        self.ask(&words).map(|_| ())
    }

    fn withdraw(&mut self, announced: &Announced) -> Result<()> {
        self.ask(&["network", "delete", announced.prefix])
            .map(|_| ())
    }

    fn says(&mut self) -> Result<String> {
        Ok(self.ask(&["-j", "show", "neighbor"])? + &self.daemon.log())
    }

    fn ask_for_refresh(&mut self, neighbour: IpAddr) -> Result<()> {
        self.ask(&["neighbor", &neighbour.to_string(), "refresh"])
            .map(|_| ())
    }

    fn shut_down(&mut self, neighbour: IpAddr, words: &str) -> Result<()> {
        self.ask(&["neighbor", &neighbour.to_string(), "down", words])
            .map(|_| ())
    }

    /// In OpenSent it refuses new connections.
    fn start_over(&mut self, neighbour: IpAddr) -> Result<()> {
        let neighbour = neighbour.to_string();
        // It may have been started this moment.
        wait::until("OpenBGPD's command line", || {
            let said = self.ask(&["neighbor", &neighbour, "clear"]);
            said.map(drop).map_err(|error| format!("{error:#}"))
        })
    }

    fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    fn start_again(&mut self) -> Result<()> {
        self.daemon.start()
    }
}

impl OpenBgpd {
    fn json(&self, words: &[&str]) -> Result<Value> {
        let said = self.ask(&[&["-j"], words].concat())?;
        serde_json::from_str(&said).with_context(|| format!("bgpctl {}: {said}", words.join(" ")))
    }

    /// Asks its command line.
    fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.bgpctl);
        let done = command.args(words).output().context("bgpctl")?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            let errors = String::from_utf8_lossy(&done.stderr);
            bail!("bgpctl {}: {said}{errors}", words.join(" "));
        }
        Ok(said)
    }
}

/// It wants to become a user of its own, in an empty folder. Inside a user namespace there is only root: here the user's name
/// is one more of root's.
pub fn become_somebody(folder: &Path) -> Result<()> {
    let home = Path::new("/run/openbgpd");
    fs::create_dir_all(home).with_context(|| format!("{}", home.display()))?;
    let lines = [
        (
            "/etc/passwd",
            "_openbgpd:x:0:0::/run/openbgpd:/usr/sbin/nologin",
        ),
        ("/etc/group", "_openbgpd:x:0:"),
    ];
    for (file, line) in lines {
        let old = fs::read_to_string(file).context(file)?;
        let others = old.lines().filter(|line| !line.starts_with("_openbgpd:"));
        let mut new = format!("{line}\n");
        for other in others {
            let _ = writeln!(new, "{other}");
        }
        cover(folder, Path::new(file), &new)?;
    }
    Ok(())
}

fn one(path: &Value) -> Learned {
    Learned {
        prefix: text(&path["prefix"]),
        from: text(&path["neighbor"]["remote_addr"]),
        next_hop: text(&path["exit_nexthop"]),
        local_pref: number(&path["localpref"]),
        med: number(&path["metric"]).filter(|&metric| metric != 0),
        origin: text(&path["origin"]).to_lowercase(),
        as_path: text(&path["aspath"]),
        communities: [&path["communities"], &path["large_communities"]]
            .into_iter()
            .flat_map(|list| items(list).iter().map(text))
            .chain(
                items(&path["extended_communities"])
                    .iter()
                    .map(route_target),
            )
            .collect(),
        stale: path["stale"] == true,
        ..Learned::default()
    }
}

/// `rt 64512:1`.
fn route_target(one: &Value) -> String {
    text(one).replace("rt ", "rt:")
}

fn configuration(place: &Place) -> String {
    let (asn, id) = (place.asn, place.site.ipv4.addr());
    let mut text = format!(
        "AS {asn}
router-id {id}
fib-update no
nexthop qualify via default
listen on {id}
"
    );
    if place.ipv6() {
        let _ = writeln!(text, "listen on {}", place.site.ipv6.addr());
    }
    for neighbour in &place.neighbours {
        let words = session_words(place, neighbour);
        let _ = writeln!(text, "neighbor {neighbour} {{\n{}\n}}", words.join("\n"));
    }
    text.push_str("allow from any\nallow to any\n");
    text
}

/// What it is told of a neighbour.
fn session_words(place: &Place, neighbour: &IpAddr) -> Vec<String> {
    let wish = &place.wish;
    let (yes, no) = match neighbour {
        IpAddr::V4(_) => ("IPv4", "IPv6"),
        IpAddr::V6(_) => ("IPv6", "IPv4"),
    };
    let mut words = vec![
        format!("remote-as {}", place.asn_of(neighbour)),
        format!("local-address {}", place.own(neighbour)),
        format!("announce {yes} unicast"),
        format!("announce {no} none"),
        "announce enhanced refresh yes".to_owned(),
    ];
    if place.may_be_far(neighbour) {
        words.push("multihop 64".to_owned());
    }
    words.extend(wish.key.map(|key| format!("tcp md5sig password {key}")));
    words.extend(wish.prefix_limit.map(|limit| format!("max-prefix {limit}")));
    words.extend(wish.role.map(|role| format!("announce policy {role}")));
    let flags = [
        (wish.ttl_security, "ttl-security yes"),
        (wish.two_octets, "announce as-4byte no"),
        (wish.passive, "passive"),
        (wish.add_path, "announce add-path recv yes"),
        (wish.add_path, "announce add-path send all"),
    ];
    let flags = flags.into_iter().filter(|(is_wanted, _)| *is_wanted);
    words.extend(flags.map(|(_, flag)| flag.to_owned()));
    words
}
