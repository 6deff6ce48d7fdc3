//! FRRouting: `zebra` and `bgpd` of Debian's package `frr`, started by hand.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::daemon::Daemon;
use caracal_lab::private::program;
use caracal_lab::{Netns, manifests, wait};
use serde_json::Value;

use crate::duel::Duel;
use crate::json::{items, number, text};
use crate::router::{Announced, Learned, Place, Router, cover};

const DAEMONS: &str = "/usr/lib/frr";

/// FRR, with its routes in the kernel of its namespace.
#[derive(Debug)]
pub struct Frr {
    /// Its namespace.
    pub netns: Netns,
    zebra: Daemon,
    bgpd: Daemon,
    sockets: PathBuf,
    vtysh: PathBuf,
    asn: u32,
}

impl Router for Frr {
    fn start(place: Place) -> Result<Frr> {
        // Nodes of the other rack are behind the default route, which FRR does not trust for next hops unless told.
        let resolve = "ip nht resolve-via-default\nipv6 nht resolve-via-default\n";
        Frr::launch(
            &place.netns,
            &place.folder,
            place.asn,
            resolve,
            &configuration(&place),
            &[],
        )
    }

    fn established(&mut self) -> Result<Vec<IpAddr>> {
        self.zebra.check_running()?;
        self.bgpd.check_running()?;
        let Ok(neighbours) = self.json("show bgp neighbors json") else {
            return Ok(Vec::new());
        };
        let members = neighbours.as_object().into_iter().flatten();
        let up = members.filter(|(_, peer)| peer["bgpState"] == "Established");
        Ok(up.filter_map(|(address, _)| address.parse().ok()).collect())
    }

    fn learned(&mut self) -> Result<Vec<Learned>> {
        let mut learned = Vec::new();
        for family in ["ipv4", "ipv6"] {
            // The table has no communities; the page of one prefix has all.
            let table = self.json(&format!("show bgp {family} unicast json"))?;
            let prefixes = table["routes"].as_object().into_iter().flatten();
            let words: Vec<_> = prefixes
                .map(|(prefix, _)| format!("show bgp {family} unicast {prefix} json"))
                .collect();
            if words.is_empty() {
                continue;
            }
            let said = self.ask(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
            for page in serde_json::Deserializer::from_str(&said).into_iter::<Value>() {
                let page = page.with_context(|| format!("vtysh, {words:?}: {said}"))?;
                let paths = items(&page["paths"]).iter();
                // What is its own comes from nobody.
                let others = paths.filter(|path| {
                    path["peer"]["peerId"]
                        .as_str()
                        .is_some_and(|id| !["0.0.0.0", "::"].contains(&id))
                });
                learned.extend(others.map(|path| one(&text(&page["prefix"]), path)));
            }
        }
        Ok(learned)
    }

    fn announce(&mut self, announced: &Announced) -> Result<()> {
        self.network("", announced)
    }

    fn withdraw(&mut self, announced: &Announced) -> Result<()> {
        self.network("no ", announced)
    }

    fn says(&mut self) -> Result<String> {
        let said = self.ask(&["show bgp neighbors json", "show bgp neighbors"])?;
        Ok(said + &self.bgpd.log())
    }

    fn ask_for_refresh(&mut self, neighbour: IpAddr) -> Result<()> {
        let family = if neighbour.is_ipv6() { "ipv6" } else { "ipv4" };
        let words = format!("clear bgp {family} {neighbour} soft in");
        self.ask(&[&words]).map(|_| ())
    }

    fn shut_down(&mut self, neighbour: IpAddr, words: &str) -> Result<()> {
        self.ask(&[
            "configure terminal",
            &format!("router bgp {}", self.asn),
            &format!("neighbor {neighbour} shutdown message {words}"),
        ])
        .map(|_| ())
    }

    fn kill(&mut self) -> Result<()> {
        self.bgpd.kill()
    }

    fn start_again(&mut self) -> Result<()> {
        self.bgpd.start()
    }
}

impl Frr {
    /// Starts it with a configuration of bgpd that is the test's own.
    pub fn alone(duel: &Duel, bgpd_conf: &str) -> Result<Frr> {
        Frr::launch(&duel.theirs, &duel.folder, 0, "", bgpd_conf, &[])
    }

    /// Starts `zebra` and then `bgpd` with these files; `more` are arguments for `bgpd`.
    pub fn launch(
        netns: &Netns,
        folder: &Path,
        asn: u32,
        zebra_conf: &str,
        bgpd_conf: &str,
        more: &[&str],
    ) -> Result<Frr> {
        let vtysh = program("vtysh", "frr")?;
        let sockets = folder.join("sockets");
        fs::create_dir_all(&sockets).with_context(|| format!("{}", sockets.display()))?;
        join_group(folder)?;
        manifests::write(folder, "zebra.conf", &format!("log stdout\n{zebra_conf}"))?;
        manifests::write(folder, "bgpd.conf", bgpd_conf)?;
        let mut zebra = daemon(netns, folder, "zebra", &[])?;
        wait::until_or("zebra to listen", || {
            zebra.check_running()?;
            Ok(match folder.join("zserv.api").exists() {
                true => Ok(()),
                false => Err("no socket yet".to_owned()),
            })
        })?;
        let bgpd = daemon(netns, folder, "bgpd", &[&["-P", "0"], more].concat())?;
        Ok(Frr {
            netns: netns.clone(),
            zebra,
            bgpd,
            sockets,
            vtysh,
            asn,
        })
    }

    /// The numbers of its processes.
    pub fn processes(&self) -> Vec<u32> {
        [&self.zebra, &self.bgpd]
            .into_iter()
            .filter_map(Daemon::id)
            .collect()
    }

    /// An error with the end of the log if one of them has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.zebra.check_running()?;
        self.bgpd.check_running()
    }

    fn network(&self, no: &str, announced: &Announced) -> Result<()> {
        let map = format!("route-map announced-{} permit 10", self.asn);
        let prefix = announced.prefix;
        let family = if prefix.contains(':') { "ipv6" } else { "ipv4" };
        self.ask(&[
            "configure terminal",
            &map,
            &format!("set local-preference {}", announced.local_pref),
            &format!("set metric {}", announced.med),
            &format!("set community {}", announced.community),
            &format!("set large-community {}", announced.large_community),
            &format!("set extcommunity rt {}", announced.route_target),
            &format!("set as-path prepend {}", announced.prepend),
            "exit",
            &format!("router bgp {}", self.asn),
            &format!("address-family {family} unicast"),
            &format!("{no}network {prefix} route-map announced-{}", self.asn),
        ])
        .map(|_| ())
    }

    /// Writes what `bgpd` is configured to do now into its file, so that it is so after `start_again` too. Route maps come
    /// first: one that a network names before it is there holds the network back for the 5 s of their delay timer.
    pub fn save(&self) -> Result<()> {
        let said = self.ask(&["show running-config bgpd"])?;
        let lines = said.lines().filter(|line| !line.starts_with("service "));
        let lines: Vec<_> = lines.skip_while(|line| *line != "!").collect();
        let (maps, others): (Vec<_>, Vec<_>) = lines
            .split(|line| *line == "!")
            .partition(|block| block.iter().any(|line| line.starts_with("route-map ")));
        let text: String = maps
            .into_iter()
            .chain(others)
            .flat_map(|block| block.iter().chain(&["!"]))
            .map(|line| format!("{line}\n"))
            .collect();
        let folder = self.sockets.parent().context("its folder")?;
        manifests::write(folder, "bgpd.conf", &text)
    }

    /// Starts its BFD daemon with these lines of configuration.
    pub fn start_bfd(&self, place: &Place, lines: &str) -> Result<Daemon> {
        manifests::write(&place.folder, "bfdd.conf", &format!("log stdout\n{lines}"))?;
        let control = place.folder.join("bfdd.sock").display().to_string();
        let more = ["-P", "0", "--bfdctl", &control];
        daemon(&place.netns, &place.folder, "bfdd", &more)
    }

    /// Asks its command line something that it answers in JSON.
    pub fn json(&self, words: &str) -> Result<Value> {
        let said = self.ask(&[words])?;
        serde_json::from_str(&said).with_context(|| format!("vtysh, {words}: {said}"))
    }

    /// Asks its command line.
    pub fn ask(&self, lines: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.vtysh);
        command.arg("--vty_socket").arg(&self.sockets);
        for line in lines {
            command.args(["-c", line]);
        }
        let done = command.output().context("vtysh")?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.status.success() || said.contains("% ") {
            let errors = String::from_utf8_lossy(&done.stderr);
            bail!("vtysh, {}: {said}{errors}", lines.join("; "));
        }
        Ok(said)
    }
}

/// Starts one of its daemons.
fn daemon(netns: &Netns, folder: &Path, name: &str, more: &[&str]) -> Result<Daemon> {
    let program = Path::new(DAEMONS).join(name);
    if !program.is_file() {
        bail!("the program {name} is missing; on Debian: apt-get install frr");
    }
    let file = |name: &str| folder.join(name).display().to_string();
    let (configuration, pid) = (file(&format!("{name}.conf")), file(&format!("{name}.pid")));
    let (sockets, api) = (file("sockets"), file("zserv.api"));
    let common = [
        "-f",
        &configuration,
        "-i",
        &pid,
        "--vty_socket",
        &sockets,
        "-z",
        &api,
        // Inside a user namespace there is nobody else to become.
        "-u",
        "root",
        "-g",
        "root",
    ];
    let args = [&common, more].concat();
    let mut daemon = Daemon::new(netns, &program, &args, &folder.join("agent.log"));
    daemon.start()?;
    Ok(daemon)
}

/// FRR wants whom it runs as to be in its group, and inside a user namespace there is only root. So, in this private world,
/// the file of groups says that root is.
fn join_group(folder: &Path) -> Result<()> {
    let groups = fs::read_to_string("/etc/group").context("/etc/group")?;
    let mut own = String::new();
    for line in groups.lines() {
        let comma = if line.ends_with(':') { "" } else { "," };
        let more = if line.starts_with("frrvty:") {
            format!("{comma}root")
        } else {
            String::new()
        };
        let _ = writeln!(own, "{line}{more}");
    }
    cover(folder, Path::new("/etc/group"), &own)
}

fn one(prefix: &str, path: &Value) -> Learned {
    let hops = items(&path["nexthops"]);
    let hop = hops.iter().find(|hop| hop["scope"] != "link-local");
    Learned {
        prefix: prefix.to_owned(),
        from: text(&path["peer"]["peerId"]),
        next_hop: hop.map(|hop| text(&hop["ip"])).unwrap_or_default(),
        local_pref: number(&path["locPrf"]),
        med: number(&path["metric"]).filter(|&metric| metric != 0),
        origin: text(&path["origin"]).to_lowercase(),
        as_path: text(&path["aspath"]["string"]).replace("Local", ""),
        communities: [&path["community"], &path["largeCommunity"]]
            .into_iter()
            .flat_map(|list| items(&list["list"]).iter().map(text))
            .chain(route_targets(&path["extendedCommunity"]["string"]))
            .collect(),
        stale: path["stale"] == true,
        ..Learned::default()
    }
}

/// `RT:64512:1 SoO:…`.
fn route_targets(list: &Value) -> Vec<String> {
    let words = text(list);
    let words = words.split_whitespace();
    words.map(|word| word.replace("RT:", "rt:")).collect()
}

fn configuration(place: &Place) -> String {
    let (asn, id, wish) = (place.asn, place.site.ipv4.addr(), &place.wish);
    let mut lines = format!(
        "log stdout
router bgp {asn}
 bgp router-id {id}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 bgp graceful-restart restart-time {}
",
        wish.restart_seconds
    );
    if let Some(seconds) = wish.long_lived_seconds {
        let _ = writeln!(
            lines,
            " bgp long-lived-graceful-restart stale-time {seconds}"
        );
    }
    for neighbour in &place.neighbours {
        for words in session_words(place, neighbour) {
            let _ = writeln!(lines, " neighbor {neighbour} {words}");
        }
    }
    for family in ["ipv4", "ipv6"] {
        let _ = writeln!(lines, " address-family {family} unicast");
        let neighbours = place.neighbours.iter();
        for neighbour in neighbours.filter(|one| place.families(one).contains(&family)) {
            let _ = writeln!(lines, "  neighbor {neighbour} activate");
            if wish.add_path {
                let _ = writeln!(lines, "  neighbor {neighbour} addpath-tx-all-paths");
            }
            if let Some(limit) = wish.prefix_limit {
                let _ = writeln!(lines, "  neighbor {neighbour} maximum-prefix {limit}");
            }
        }
        lines.push_str(" exit-address-family\n");
    }
    lines
}

/// What it is told of a neighbour.
fn session_words(place: &Place, neighbour: &IpAddr) -> Vec<String> {
    let wish = &place.wish;
    let mut words = vec![
        format!("remote-as {}", place.asn_of(neighbour)),
        "timers connect 1".to_owned(),
        "advertisement-interval 0".to_owned(),
    ];
    if place.may_be_far(neighbour) {
        words.push("ebgp-multihop".to_owned());
    }
    words.extend(wish.key.map(|key| format!("password {key}")));
    words.extend(wish.role.map(|role| format!("local-role {role}")));
    let flags = [
        (wish.ttl_security, "ttl-security hops 1"),
        (wish.extended_next_hop, "capability extended-nexthop"),
        (wish.two_octets, "dont-capability-negotiate"),
        (wish.passive, "passive"),
    ];
    let flags = flags.into_iter().filter(|(is_wanted, _)| *is_wanted);
    words.extend(flags.map(|(_, flag)| flag.to_owned()));
    words
}
