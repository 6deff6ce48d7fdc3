//! GoBGP, Debian's package `gobgpd`. It has no kernel of its own to write to.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::daemon::Daemon;
use caracal_lab::manifests;
use caracal_lab::private::program;
use serde_json::Value;

use crate::json::{items, number, text};
use crate::router::{Announced, Learned, Place, Router};

/// GoBGP.
#[derive(Debug)]
pub struct GoBgp {
    place: Place,
    daemon: Daemon,
    socket: String,
    gobgp: PathBuf,
}

impl Router for GoBgp {
    fn start(place: Place) -> Result<GoBgp> {
        manifests::write(&place.folder, "gobgpd.toml", &configuration(&place))?;
        Ok(GoBgp {
            daemon: daemon(&place, &[])?,
            socket: format!("unix://{}", place.folder.join(SOCKET).display()),
            gobgp: program("gobgp", "gobgpd")?,
            place,
        })
    }

    fn established(&mut self) -> Result<Vec<IpAddr>> {
        self.daemon.check_running()?;
        let Ok(neighbours) = self.json(&["neighbor"]) else {
            return Ok(Vec::new());
        };
        let up = items(&neighbours)
            .iter()
            .filter(|peer| peer["state"]["session_state"] == ESTABLISHED);
        Ok(up
            .filter_map(|peer| peer["conf"]["neighbor_address"].as_str()?.parse().ok())
            .collect())
    }

    fn learned(&mut self) -> Result<Vec<Learned>> {
        let mut learned = Vec::new();
        for family in ["ipv4", "ipv6"] {
            let table = self.json(&["global", "rib", "-a", family])?;
            for (prefix, paths) in table.as_object().into_iter().flatten() {
                // What is its own has no neighbour.
                let others = items(paths).iter();
                let others = others.filter(|path| path["neighbor-ip"].is_string());
                learned.extend(others.map(|path| one(prefix, path)));
            }
        }
        Ok(learned)
    }

    fn announce(&mut self, announced: &Announced) -> Result<()> {
        let (local_pref, med) = (announced.local_pref.to_string(), announced.med.to_string());
        let prepend = announced.prepend.to_string();
        let attributes = [
            "origin",
            "igp",
            "local-pref",
            &local_pref,
            "med",
            &med,
            "community",
            announced.community,
            "large-community",
            announced.large_community,
            "rt",
            announced.route_target,
            "aspath",
            &prepend,
        ];
        self.change("add", announced, &attributes)
    }

    fn withdraw(&mut self, announced: &Announced) -> Result<()> {
        self.change("del", announced, &[])
    }

    fn says(&mut self) -> Result<String> {
        let mut said = self.ask(&["neighbor", "-j"])?;
        for neighbour in &self.place.neighbours {
            said += &self.ask(&["neighbor", &neighbour.to_string()])?;
        }
        Ok(said + &self.daemon.log())
    }

    fn ask_for_refresh(&mut self, neighbour: IpAddr) -> Result<()> {
        let neighbour = neighbour.to_string();
        self.ask(&["neighbor", &neighbour, "softresetin"])
            .map(|_| ())
    }

    fn shut_down(&mut self, neighbour: IpAddr, words: &str) -> Result<()> {
        let neighbour = neighbour.to_string();
        self.ask(&["neighbor", &neighbour, "shutdown", "--reason", words])
            .map(|_| ())
    }

    fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    fn start_again(&mut self) -> Result<()> {
        std::fs::remove_file(self.place.folder.join(SOCKET)).context("its socket")?;
        // "graceful-restart": it says so in its OPEN.
        self.daemon = daemon(&self.place, &["-r"])?;
        Ok(())
    }
}

impl GoBgp {
    fn change(&self, verb: &str, announced: &Announced, attributes: &[&str]) -> Result<()> {
        let ipv6 = announced.prefix.contains(':');
        let family = if ipv6 { "ipv6" } else { "ipv4" };
        let words = ["global", "rib", verb, "-a", family, announced.prefix];
        self.ask(&[&words, attributes].concat()).map(|_| ())
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        let said = self.ask(&[words, &["-j"]].concat())?;
        serde_json::from_str(&said).with_context(|| format!("gobgp {}: {said}", words.join(" ")))
    }

    /// Asks its command line.
    fn ask(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.gobgp);
        command.args(["--target", &self.socket]).args(words);
        let done = command.output().context("gobgp")?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() {
            let errors = String::from_utf8_lossy(&done.stderr);
            bail!("gobgp {}: {said}{errors}", words.join(" "));
        }
        Ok(said)
    }
}

/// A path of its table: attributes are listed by their numbers of RFC 4271 and its successors.
fn one(prefix: &str, path: &Value) -> Learned {
    let mut learned = Learned {
        prefix: prefix.to_owned(),
        from: text(&path["neighbor-ip"]),
        stale: path["stale"] == true,
        ..Learned::default()
    };
    for attribute in items(&path["attrs"]) {
        match attribute["type"].as_u64() {
            Some(1) => {
                let name = match attribute["value"].as_u64() {
                    Some(1) => "egp",
                    Some(2) => "incomplete",
                    // A zero is left out.
                    _ => "igp",
                };
                learned.origin = name.to_owned();
            }
            Some(2) => {
                let segments = items(&attribute["as_paths"]).iter();
                let numbers = segments.flat_map(|segment| items(&segment["asns"]));
                let numbers: Vec<_> = numbers.map(Value::to_string).collect();
                learned.as_path = numbers.join(" ");
            }
            Some(3 | 14) => learned.next_hop = text(&attribute["nexthop"]),
            Some(4) => learned.med = number(&attribute["metric"]),
            Some(5) => learned.local_pref = number(&attribute["value"]),
            Some(8) => {
                let numbers = items(&attribute["communities"]).iter().filter_map(number);
                let short = numbers.map(|number| format!("{}:{}", number >> 16, number & 0xffff));
                learned.communities.extend(short);
            }
            Some(16) => {
                let targets = items(&attribute["value"]).iter();
                let targets = targets.filter(|one| one["subtype"] == ROUTE_TARGET);
                let targets = targets.map(|one| format!("rt:{}", text(&one["value"])));
                learned.communities.extend(targets);
            }
            Some(32) => {
                let large = items(&attribute["value"]).iter().map(|large| {
                    let part = |name: &str| large[name].as_u64().unwrap_or_default();
                    let (one, two) = (part("LocalData1"), part("LocalData2"));
                    format!("{}:{one}:{two}", part("ASN"))
                });
                learned.communities.extend(large);
            }
            _ => {}
        }
    }
    learned
}

fn daemon(place: &Place, more: &[&str]) -> Result<Daemon> {
    let file = place.folder.join("gobgpd.toml").display().to_string();
    let socket = format!("unix://{}", place.folder.join(SOCKET).display());
    let args = ["-f", &file, "--api-hosts", &socket, "--pprof-disable", "-p"];
    let args = [&args[..], more].concat();
    let gobgpd = program("gobgpd", "gobgpd")?;
    let mut daemon = Daemon::new(&place.netns, &gobgpd, &args, &place.log());
    daemon.start()?;
    Ok(daemon)
}

fn configuration(place: &Place) -> String {
    let (asn, id) = (place.asn, place.site.ipv4.addr());
    let mut text = format!("[global.config]\nas = {asn}\nrouter-id = \"{id}\"\n");
    for neighbour in &place.neighbours {
        text += &neighbour_words(place, neighbour);
    }
    text
}

fn neighbour_words(place: &Place, neighbour: &IpAddr) -> String {
    let (wish, own) = (&place.wish, place.own(neighbour));
    let mut text = format!(
        "[[neighbors]]
[neighbors.config]
neighbor-address = \"{neighbour}\"
peer-as = {}
",
        place.asn_of(neighbour)
    );
    if let Some(key) = wish.key {
        let _ = writeln!(text, "auth-password = \"{key}\"");
    }
    let _ = write!(
        text,
        "[neighbors.timers.config]
connect-retry = 1
idle-hold-time-after-reset = 1
[neighbors.transport.config]
local-address = \"{own}\"
passive-mode = {}
[neighbors.graceful-restart.config]
enabled = true
restart-time = {}
long-lived-enabled = {}
[neighbors.ttl-security.config]
enabled = {}
ttl-min = 255
",
        wish.passive,
        wish.restart_seconds,
        wish.long_lived_seconds.is_some(),
        wish.ttl_security
    );
    if place.may_be_far(neighbour) {
        text.push_str("[neighbors.ebgp-multihop.config]\nenabled = true\nmultihop-ttl = 64\n");
    }
    for family in place.families(neighbour) {
        let _ = write!(
            text,
            "[[neighbors.afi-safis]]
[neighbors.afi-safis.config]
afi-safi-name = \"{family}-unicast\"
[neighbors.afi-safis.mp-graceful-restart.config]
enabled = true
"
        );
        if let Some(seconds) = wish.long_lived_seconds {
            let part = "[neighbors.afi-safis.long-lived-graceful-restart.config]";
            let _ = writeln!(text, "{part}\nenabled = true\nrestart-time = {seconds}");
        }
        if wish.add_path {
            let part = "[neighbors.afi-safis.add-paths.config]";
            let _ = writeln!(text, "{part}\nreceive = true\nsend-max = 8");
        }
        if let Some(limit) = wish.prefix_limit {
            let part = "[neighbors.afi-safis.prefix-limit.config]";
            let _ = writeln!(text, "{part}\nmax-prefixes = {limit}");
        }
    }
    text
}

const SOCKET: &str = "gobgpd.sock";
const ESTABLISHED: u64 = 6;
/// RFC 4360 §4.
const ROUTE_TARGET: u64 = 2;
