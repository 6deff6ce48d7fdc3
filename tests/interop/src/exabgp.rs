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
use serde_json::Value;

use crate::json::{items, number, text};
use crate::router::{Announced, Learned, Place, Router};

/// ExaBGP, and a process between it and two files.
#[derive(Debug)]
pub struct ExaBgp {
    daemon: Daemon,
    heard: PathBuf,
    commands: PathBuf,
    place: Place,
}

impl Router for ExaBgp {
    fn start(place: Place) -> Result<ExaBgp> {
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
        manifests::write(&place.folder, "exabgp.conf", &configuration(&place))?;
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
            place,
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
                    learned.retain(|path| path.from != peer || !is_of(one, path));
                }
            }
            for (_, next_hops) in update["announce"].as_object().into_iter().flatten() {
                for (next_hop, prefixes) in next_hops.as_object().into_iter().flatten() {
                    for one in items(prefixes) {
                        learned.retain(|path| path.from != peer || !is_of(one, path));
                        learned.push(path(&peer, one, next_hop, &update["attribute"]));
                    }
                }
            }
        }
        Ok(learned)
    }

    fn announce(&mut self, announced: &Announced) -> Result<()> {
        // It sends the path that it is given, whoever it speaks to.
        let mut neighbours = self.place.neighbours.iter();
        let internal = neighbours.all(|one| self.place.is_internal(one));
        let own = match internal {
            true => String::new(),
            false => format!("{} ", self.place.asn),
        };
        let attributes = format!(
            "origin igp local-preference {} med {} as-path [ {own}{} ] community [ {} ] large-community [ {} ] \
             extended-community [ target:{} ]",
            announced.local_pref,
            announced.med,
            announced.prepend,
            announced.community,
            announced.large_community,
            announced.route_target
        );
        self.say("announce", announced, &attributes)
    }

    fn withdraw(&mut self, announced: &Announced) -> Result<()> {
        self.say("withdraw", announced, "")
    }

    fn says(&mut self) -> Result<String> {
        let heard = fs::read_to_string(&self.heard).context("what ExaBGP has heard")?;
        Ok(heard + &self.daemon.log())
    }

    fn ask_for_refresh(&mut self, neighbour: IpAddr) -> Result<()> {
        for family in self.place.families(&neighbour) {
            self.command(
                neighbour,
                &format!("announce route-refresh {family} unicast"),
            )?;
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.daemon.kill()
    }

    fn start_again(&mut self) -> Result<()> {
        // Its process between would say all again.
        for file in [&self.heard, &self.commands] {
            fs::write(file, "").with_context(|| format!("{}", file.display()))?;
        }
        self.daemon.start()
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
        let family = match announced.prefix.contains(':') {
            true => "ipv6",
            false => "ipv4",
        };
        let neighbours = self.place.neighbours.iter();
        for neighbour in neighbours.filter(|one| self.place.families(one).contains(&family)) {
            let prefix = announced.prefix;
            let own = self.place.own(neighbour);
            let words = format!("{verb} route {prefix} next-hop {own} {attributes}");
            self.command(*neighbour, &words)?;
        }
        Ok(())
    }

    /// Has it do something with a neighbour, in the words of its API.
    pub fn command(&self, neighbour: IpAddr, words: &str) -> Result<()> {
        let mut commands = OpenOptions::new().append(true).open(&self.commands)?;
        writeln!(commands, "neighbor {neighbour} {words}").context("a command for ExaBGP")
    }
}

fn peer(said: &Value) -> Option<IpAddr> {
    said["neighbor"]["address"]["peer"].as_str()?.parse().ok()
}

/// With the same Path Identifier, if there is one (RFC 7911).
fn is_of(announced: &Value, path: &Learned) -> bool {
    announced["nlri"] == *path.prefix && text(&announced["path-information"]) == path.path_id
}

fn path(peer: &str, announced: &Value, next_hop: &str, attributes: &Value) -> Learned {
    let join = |list: &Value, between: &str| {
        let numbers: Vec<_> = items(list).iter().map(Value::to_string).collect();
        numbers.join(between)
    };
    let sequence = join(&attributes["as-path"], " ");
    let set = match join(&attributes["as-set"], " ").as_str() {
        "" => String::new(),
        set => format!(" {{{set}}}"),
    };
    let targets = items(&attributes["extended-community"]).iter();
    let targets = targets.map(|one| text(&one["string"]).replace("target:", "rt:"));
    Learned {
        prefix: text(&announced["nlri"]),
        path_id: text(&announced["path-information"]),
        from: peer.to_owned(),
        next_hop: next_hop.to_owned(),
        local_pref: number(&attributes["local-preference"]),
        med: number(&attributes["med"]),
        origin: text(&attributes["origin"]),
        as_path: format!("{sequence}{set}"),
        communities: [&attributes["community"], &attributes["large-community"]]
            .into_iter()
            .flat_map(|list| items(list).iter().map(|one| join(one, ":")))
            .chain(targets)
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
        let (own, peer_asn) = (place.own(neighbour), place.asn_of(neighbour));
        let _ = writeln!(
            text,
            "neighbor {neighbour} {{
  router-id {id};
  local-address {own};
  local-as {asn};
  peer-as {peer_asn};
  {}
  api {{ processes [ between ]; neighbor-changes; receive {{ parsed; update; }} }}
}}",
            session_words(place, neighbour)
        );
    }
    text
}

/// What it is told of a neighbour.
fn session_words(place: &Place, neighbour: &IpAddr) -> String {
    let wish = &place.wish;
    let mut text = String::new();
    if let Some(key) = wish.key {
        let _ = write!(text, "md5-password \"{key}\"; md5-base64 false; ");
    }
    if wish.ttl_security {
        text += "outgoing-ttl 255; incoming-ttl 255; ";
    }
    if wish.passive {
        text += "passive true; listen 179; ";
    }
    let families = place.families(neighbour).iter();
    let families: Vec<_> = families
        .map(|family| format!("{family} unicast;"))
        .collect();
    let _ = write!(text, "family {{ {} }} ", families.join(" "));
    let restart = wish.restart_seconds;
    let _ = write!(
        text,
        "capability {{ route-refresh enable; graceful-restart {restart}; extended-message enable; "
    );
    if wish.two_octets {
        text += "asn4 disable; ";
    }
    if wish.add_path {
        text += "add-path send/receive; ";
    }
    if wish.extended_next_hop {
        text += "nexthop enable; ";
    }
    text += "} ";
    if wish.extended_next_hop {
        text += "nexthop { ipv4 unicast ipv6; } ";
    }
    text
}
