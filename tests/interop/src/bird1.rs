//! BIRD 1.6, Debian's package `bird`: a daemon a family.
//!
//! The package cannot be installed beside `bird2`, so its programs are also looked for in a folder that is named by
//! `CARACAL_BIRD1`: `apt-get download bird && dpkg -x bird_*.deb FOLDER`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use caracal_lab::daemon::Daemon;
use caracal_lab::topology;
use caracal_lab::{manifests, private};

use crate::bird::routes_of;
use crate::bird2::{attributes, channel_words, restarting, session_words};
use crate::router::{Announced, Learned, Place, Router};

/// Where the package was unpacked.
const FOLDER_VARIABLE: &str = "CARACAL_BIRD1";

/// BIRD 1.6, with no kernel protocol.
#[derive(Debug)]
pub struct Bird1 {
    place: Place,
    daemons: Vec<Family>,
    announced: Vec<Announced>,
}

/// One of its two programs.
#[derive(Debug)]
struct Family {
    ipv6: bool,
    daemon: Daemon,
    bird: PathBuf,
    birdc: PathBuf,
    folder: PathBuf,
    /// All but the announced prefixes.
    configuration: String,
    neighbours: Vec<IpAddr>,
}

impl Router for Bird1 {
    fn start(place: Place) -> Result<Bird1> {
        let families: &[bool] = if place.ipv6() {
            &[false, true]
        } else {
            &[false]
        };
        let daemons = families.iter().map(|&ipv6| Family::start(&place, ipv6));
        Ok(Bird1 {
            daemons: daemons.collect::<Result<_>>()?,
            place,
            announced: Vec::new(),
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
                // It does not say so of single routes.
                learned.push(route.learned(from, restarting.contains(&from)));
            }
        }
        Ok(learned)
    }

    fn announce(&mut self, announced: &Announced) -> Result<()> {
        self.announced
            .retain(|other| other.prefix != announced.prefix);
        self.announced.push(announced.clone());
        self.configure()
    }

    fn withdraw(&mut self, announced: &Announced) -> Result<()> {
        self.announced
            .retain(|other| other.prefix != announced.prefix);
        self.configure()
    }

    fn says(&mut self) -> Result<String> {
        let mut said = String::new();
        for family in &self.daemons {
            said += &family.ask("show protocols all")?;
        }
        Ok(said
            + &self
                .daemons
                .first()
                .map_or(String::new(), |one| one.daemon.log()))
    }

    /// It prints the first of many only, so it has to count.
    fn has_communities(&mut self, prefix: &str, count: usize) -> Result<bool> {
        let words = format!("show route {prefix} where bgp_community.len = {count}");
        let mut has = false;
        for family in &self.daemons {
            has |= family.ipv6 == prefix.contains(':') && family.ask(&words)?.contains(prefix);
        }
        Ok(has)
    }

    fn ask_for_refresh(&mut self, neighbour: IpAddr) -> Result<()> {
        let (family, name) = self.protocol(neighbour)?;
        family.ask(&format!("reload in {name}")).map(|_| ())
    }

    fn shut_down(&mut self, neighbour: IpAddr, words: &str) -> Result<()> {
        let (family, name) = self.protocol(neighbour)?;
        let words = format!("disable {name} \"{words}\"");
        family.ask(&words).map(|_| ())
    }

    fn kill(&mut self) -> Result<()> {
        let mut daemons = self.daemons.iter_mut();
        daemons.try_for_each(|family| family.daemon.kill())
    }

    fn start_again(&mut self) -> Result<()> {
        self.announced.clear();
        for family in &mut self.daemons {
            family.write(&filter(&self.place, &[]), "")?;
            family.launch(&self.place, &["-R"])?;
        }
        Ok(())
    }
}

impl Bird1 {
    fn configure(&self) -> Result<()> {
        for family in &self.daemons {
            let announced = self.announced.iter();
            let announced = announced.filter(|one| one.prefix.contains(':') == family.ipv6);
            let announced: Vec<_> = announced.cloned().collect();
            let mut statics = String::new();
            for (number, one) in announced.iter().enumerate() {
                let prefix = one.prefix;
                let line =
                    format!("protocol static announced{number} {{ route {prefix} blackhole; }}");
                let _ = writeln!(statics, "{line}");
            }
            family.write(&filter(&self.place, &announced), &statics)?;
            let answer = family.ask("configure")?;
            if !answer.contains("Reconfigur") {
                bail!("BIRD did not take its configuration: {answer}");
            }
        }
        Ok(())
    }

    fn protocol(&self, neighbour: IpAddr) -> Result<(&Family, String)> {
        let found = self.daemons.iter().find_map(|family| {
            let number = family.neighbours.iter().position(|one| *one == neighbour)?;
            Some((family, format!("peer{number}")))
        });
        found.with_context(|| format!("{neighbour} is no neighbour"))
    }
}

fn filter(place: &Place, announced: &[Announced]) -> String {
    let internal = place.neighbours.iter().all(|one| place.is_internal(one));
    let mut text = "filter export_all {\n".to_owned();
    for one in announced {
        let set = attributes(one, (!internal).then_some(place.asn));
        let _ = writeln!(text, "if net = {} then {{ {set} }}", one.prefix);
    }
    if place.wish.add_path {
        text += "if source = RTS_BGP then accept;\n";
    }
    text + "reject; }\n"
}

impl Family {
    fn start(place: &Place, ipv6: bool) -> Result<Family> {
        let suffix = if ipv6 { "6" } else { "" };
        let bird = program(&format!("bird{suffix}"))?;
        let folder = place.folder.join(if ipv6 { "ipv6" } else { "ipv4" });
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let neighbours = place.neighbours.iter().copied();
        let mut family = Family {
            ipv6,
            daemon: Daemon::new(&place.netns, &bird, &[], &place.log()),
            bird,
            birdc: program(&format!("birdc{suffix}"))?,
            folder: folder.clone(),
            configuration: text(place, ipv6),
            neighbours: neighbours.filter(|one| one.is_ipv6() == ipv6).collect(),
        };
        family.write(&filter(place, &[]), "")?;
        family.launch(place, &[])?;
        Ok(family)
    }

    fn launch(&mut self, place: &Place, more: &[&str]) -> Result<()> {
        let file = |name: &str| self.folder.join(name).display().to_string();
        let (configuration, socket) = (file("bird.conf"), file("bird.ctl"));
        let args = ["-f", "-c", &configuration, "-s", &socket];
        let args = [&args[..], more].concat();
        self.daemon = Daemon::new(&place.netns, &self.bird, &args, &place.log());
        self.daemon.start()
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
        let text = self.ask("show protocols all")?;
        Ok(restarting(&text, |name| self.neighbour(name)))
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

/// One of its programs. `bird6` is of BIRD 1 only, so where it is installed its neighbours are too.
pub fn program(name: &str) -> Result<PathBuf> {
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
        let (session, channel) = (session_words(place, neighbour), channel_words(place));
        let _ = writeln!(text, "protocol bgp peer{number} {{ {session}{channel}}}");
    }
    text
}
