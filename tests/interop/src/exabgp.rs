//! ExaBGP, Debian's package `exabgp`. It keeps no table: what it hears it tells a process of ours in JSON, what that process
//! says it announces.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use caracal_lab::daemon::Daemon;
use caracal_lab::manifests;
use caracal_lab::private::program;
use caracal_lab::topology::ASN;
use serde_json::Value;

use crate::json::{items, number, text};
use crate::router::{Announced, Learned, Place, Router};

/// ExaBGP, and a process between it and two files.
#[derive(Debug)]
pub struct ExaBgp {
    daemon: Daemon,
    heard: PathBuf,
    commands: PathBuf,
    neighbours: Vec<IpAddr>,
    asn: u32,
}

impl Router for ExaBgp {
    fn start(place: &Place) -> Result<ExaBgp> {
        let exabgp = program("exabgp", "exabgp")?.display().to_string();
        let file = |name: &str| place.folder.join(name);
        let (heard, commands) = (file("heard.json"), file("commands"));
        for file in [&heard, &commands] {
            fs::write(file, "").with_context(|| format!("{}", file.display()))?;
        }
        // What is added to the one file goes to ExaBGP, what ExaBGP says to the other.
        let (from, to) = (commands.display(), heard.display());
        let script = format!("tail -n +1 -f {from} &\nexec cat >> {to}\n");
        manifests::write(&place.folder, "between.sh", &script)?;
        manifests::write(&place.folder, "exabgp.conf", &configuration(place))?;
        let configuration = file("exabgp.conf").display().to_string();
        let args = [
            "exabgp.daemon.user=root",
            "exabgp.api.cli=false",
            "exabgp.api.ack=false",
            "exabgp.log.destination=stdout",
            &exabgp,
            &configuration,
        ];
        let mut daemon = Daemon::new(&place.netns, Path::new("/usr/bin/env"), &args, &place.log());
        daemon.start()?;
        Ok(ExaBgp {
            daemon,
            heard,
            commands,
            neighbours: place.neighbours.clone(),
            asn: place.asn,
        })
    }

    fn established(&mut self) -> Result<Vec<IpAddr>> {
        self.daemon.check_running()?;
        let mut up = Vec::new();
        for said in self.heard()? {
            let Some(peer) = peer(&said) else { continue };
            match said["neighbor"]["state"].as_str() {
                Some("up") => up.push(peer),
                Some("down") => up.retain(|other| *other != peer),
                _ => {}
            }
        }
        Ok(up)
    }

    fn learned(&mut self) -> Result<Vec<Learned>> {
        let mut learned: Vec<Learned> = Vec::new();
        for said in self.heard()? {
            let Some(peer) = peer(&said).map(|peer| peer.to_string()) else {
                continue;
            };
            if said["neighbor"]["state"] == "down" {
                learned.retain(|path| path.from != peer);
            }
            let update = &said["neighbor"]["message"]["update"];
            for (_, prefixes) in update["withdraw"].as_object().into_iter().flatten() {
                for one in items(prefixes) {
                    learned.retain(|path| path.from != peer || one["nlri"] != *path.prefix);
                }
            }
            for (_, next_hops) in update["announce"].as_object().into_iter().flatten() {
                for (next_hop, prefixes) in next_hops.as_object().into_iter().flatten() {
                    for one in items(prefixes) {
                        learned.retain(|path| path.from != peer || one["nlri"] != *path.prefix);
                        let attributes = &update["attribute"];
                        learned.push(path(&peer, &text(&one["nlri"]), next_hop, attributes));
                    }
                }
            }
        }
        Ok(learned)
    }

    fn announce(&mut self, announced: &Announced) -> Result<()> {
        // It sends the path that it is given, whoever it speaks to.
        let own = match self.asn {
            ASN => String::new(),
            asn => format!("{asn} "),
        };
        let attributes = format!(
            "origin igp local-preference {} med {} as-path [ {own}{} ] community [ {} ] large-community [ {} ]",
            announced.local_pref,
            announced.med,
            announced.prepend,
            announced.community,
            announced.large_community
        );
        self.say("announce", announced, &attributes)
    }

    fn withdraw(&mut self, announced: &Announced) -> Result<()> {
        self.say("withdraw", announced, "")
    }
}

impl ExaBgp {
    /// Everything that it has said. The last line may be in the making.
    fn heard(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.heard).context("what ExaBGP has heard")?;
        let lines = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        lines
            .map(|line| {
                serde_json::from_str(line).with_context(|| format!("ExaBGP has said {line:?}"))
            })
            .collect()
    }

    fn say(&self, verb: &str, announced: &Announced, attributes: &str) -> Result<()> {
        let ipv6 = announced.prefix.contains(':');
        let mut commands = OpenOptions::new().append(true).open(&self.commands)?;
        for neighbour in self.neighbours.iter().filter(|one| one.is_ipv6() == ipv6) {
            let prefix = announced.prefix;
            writeln!(
                commands,
                "neighbor {neighbour} {verb} route {prefix} next-hop self {attributes}"
            )?;
        }
        Ok(())
    }
}

fn peer(said: &Value) -> Option<IpAddr> {
    said["neighbor"]["address"]["peer"].as_str()?.parse().ok()
}

fn path(peer: &str, prefix: &str, next_hop: &str, attributes: &Value) -> Learned {
    let join = |list: &Value, between: &str| {
        let numbers: Vec<_> = items(list).iter().map(Value::to_string).collect();
        numbers.join(between)
    };
    Learned {
        prefix: prefix.to_owned(),
        from: peer.to_owned(),
        next_hop: next_hop.to_owned(),
        local_pref: number(&attributes["local-preference"]),
        med: number(&attributes["med"]),
        origin: text(&attributes["origin"]),
        as_path: join(&attributes["as-path"], " "),
        communities: [&attributes["community"], &attributes["large-community"]]
            .into_iter()
            .flat_map(|list| items(list).iter().map(|one| join(one, ":")))
            .collect(),
        stale: false,
    }
}

fn configuration(place: &Place) -> String {
    let (asn, id) = (place.asn, place.site.ipv4.addr());
    let script = place.folder.join("between.sh");
    let mut text = format!(
        "process between {{ run /bin/sh {}; encoder json; }}\n",
        script.display()
    );
    for neighbour in &place.neighbours {
        let (own, family) = match neighbour {
            IpAddr::V4(_) => (place.site.ipv4.addr(), "ipv4"),
            IpAddr::V6(_) => (place.site.ipv6.addr(), "ipv6"),
        };
        let _ = writeln!(
            text,
            "neighbor {neighbour} {{
  router-id {id};
  local-address {own};
  local-as {asn};
  peer-as {ASN};
  family {{ {family} unicast; }}
  api {{ processes [ between ]; neighbor-changes; receive {{ parsed; update; }} }}
}}"
        );
    }
    text
}
