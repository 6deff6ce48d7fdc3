//! BIRD 2 as a [`Router`], with no kernel protocol.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Context, Result, bail};
use caracal_lab::manifests;

use crate::bird::{Bird, routes_of};
use crate::router::{Announced, Learned, Place, Router};

/// BIRD 2, one protocol a neighbour.
#[derive(Debug)]
pub struct Bird2 {
    bird: Bird,
    place: Place,
    announced: Vec<Announced>,
}

impl Router for Bird2 {
    fn start(place: Place) -> Result<Bird2> {
        let text = configuration(&place, &[]);
        let bird = Bird::launch(place.netns.clone(), &place.folder, &text, &[])?;
        Ok(Bird2 {
            bird,
            place,
            announced: Vec::new(),
        })
    }

    fn established(&mut self) -> Result<Vec<IpAddr>> {
        self.bird.daemon.check_running()?;
        let text = self.bird.ask("show protocols").unwrap_or_default();
        let lines = text.lines().filter(|line| line.contains("Established"));
        Ok(lines
            .filter_map(|line| neighbour(&self.place, line.split_whitespace().next()?))
            .collect())
    }

    fn learned(&mut self) -> Result<Vec<Learned>> {
        let restarting = restarting(&self.bird.ask("show protocols all")?, |name| {
            neighbour(&self.place, name)
        });
        let routes = routes_of(&self.bird.ask("show route all")?).into_iter();
        routes
            .map(|route| {
                let from = neighbour(&self.place, &route.protocol);
                let from = from.with_context(|| format!("{route:?} is of no neighbour"))?;
                Ok(route.learned(from, restarting.contains(&from)))
            })
            .collect()
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
        Ok(self.bird.ask("show protocols all")? + &self.bird.daemon.log())
    }

    /// It prints the first of many only, so it has to count.
    fn has_communities(&mut self, prefix: &str, count: usize) -> Result<bool> {
        let words = format!("show route {prefix} where bgp_community.len = {count}");
        Ok(self.bird.ask(&words)?.contains(prefix))
    }

    fn ask_for_refresh(&mut self, neighbour: IpAddr) -> Result<()> {
        let name = self.protocol(neighbour)?;
        self.bird.ask(&format!("reload in {name}")).map(|_| ())
    }

    fn shut_down(&mut self, neighbour: IpAddr, words: &str) -> Result<()> {
        let name = self.protocol(neighbour)?;
        let words = format!("disable {name} \"{words}\"");
        self.bird.ask(&words).map(|_| ())
    }

    fn kill(&mut self) -> Result<()> {
        self.bird.daemon.kill()
    }

    fn start_again(&mut self) -> Result<()> {
        self.announced.clear();
        let text = configuration(&self.place, &[]);
        // "Apply graceful restart recovery".
        self.bird = Bird::launch(self.place.netns.clone(), &self.place.folder, &text, &["-R"])?;
        Ok(())
    }
}

impl Bird2 {
    fn configure(&self) -> Result<()> {
        let text = configuration(&self.place, &self.announced);
        manifests::write(&self.place.folder, "bird.conf", &text)?;
        let answer = self.bird.ask("configure")?;
        if !answer.contains("Reconfigur") {
            bail!("BIRD did not take its configuration: {answer}");
        }
        Ok(())
    }

    fn protocol(&self, neighbour: IpAddr) -> Result<String> {
        let mut neighbours = self.place.neighbours.iter();
        let number = neighbours.position(|one| *one == neighbour);
        let number = number.with_context(|| format!("{neighbour} is no neighbour"))?;
        Ok(format!("peer{number}"))
    }
}

/// The protocols are named by the neighbours' numbers.
fn neighbour(place: &Place, protocol: &str) -> Option<IpAddr> {
    let number: usize = protocol.strip_prefix("peer")?.parse().ok()?;
    place.neighbours.get(number).copied()
}

/// The neighbours whose routes it keeps over a restart, in what `show protocols all` prints.
pub(crate) fn restarting(text: &str, neighbour: impl Fn(&str) -> Option<IpAddr>) -> Vec<IpAddr> {
    let (mut restarting, mut current) = (Vec::new(), None);
    for line in text.lines() {
        if !line.starts_with(' ') {
            current = line.split_whitespace().next().and_then(&neighbour);
        } else if line.contains("Neighbor graceful restart active") {
            restarting.extend(current);
        }
    }
    restarting
}

/// What its filter sets for an announced prefix. BIRD 1 puts its own AS in front before it asks the filter, so there
/// the path begins with `own`.
pub(crate) fn attributes(announced: &Announced, own: Option<u32>) -> String {
    let (high, low) = announced.community.split_once(':').unwrap_or_default();
    let own = own.map_or(String::new(), |asn| format!("bgp_path.prepend({asn}); "));
    format!(
        "bgp_origin = ORIGIN_IGP; bgp_local_pref = {}; bgp_med = {}; bgp_path.empty; bgp_path.prepend({}); {own}\
         bgp_community.add(({high},{low})); bgp_large_community.add(({})); bgp_ext_community.add((rt,{})); accept;",
        announced.local_pref,
        announced.med,
        announced.prepend,
        announced.large_community.replace(':', ","),
        announced.route_target.replace(':', ","),
    )
}

/// What both BIRDs write alike in a protocol.
pub(crate) fn session_words(place: &Place, neighbour: &IpAddr) -> String {
    let wish = &place.wish;
    let mut text = format!(
        "local {} as {}; neighbor {neighbour} as {}; connect retry time 1; error wait time 1, 2; connect delay time 1; \
         graceful restart on; graceful restart time {}; enable extended messages on; ",
        place.own(neighbour),
        place.asn,
        place.asn_of(neighbour),
        wish.restart_seconds
    );
    if place.may_be_far(neighbour) {
        text += "multihop; ";
    }
    if let Some(key) = wish.key {
        let _ = write!(text, "password \"{key}\"; ");
    }
    if wish.ttl_security {
        text += "direct; ttl security on; ";
    }
    if wish.two_octets {
        text += "enable as4 off; ";
    }
    if wish.passive {
        text += "passive; ";
    }
    text
}

/// What both BIRDs write alike about the routes of a protocol.
pub(crate) fn channel_words(place: &Place) -> String {
    let mut text = "import all; export filter export_all; ".to_owned();
    if place.wish.add_path {
        text += "add paths on; ";
    }
    if let Some(limit) = place.wish.prefix_limit {
        let _ = write!(text, "receive limit {limit} action disable; ");
    }
    text
}

fn configuration(place: &Place, announced: &[Announced]) -> String {
    let id = place.site.ipv4.addr();
    let mut text = format!(
        "router id {id};\nlog stderr all;\nprotocol device {{ }}\nprotocol direct {{ ipv4; ipv6; }}\nfilter export_all {{\n"
    );
    for one in announced {
        let set = attributes(one, None);
        let _ = writeln!(text, "if net = {} then {{ {set} }}", one.prefix);
    }
    if place.wish.add_path {
        text += "if source = RTS_BGP then accept;\n";
    }
    text += "reject; }\n";
    for (number, one) in announced.iter().enumerate() {
        let family = if one.prefix.contains(':') {
            "ipv6"
        } else {
            "ipv4"
        };
        let prefix = one.prefix;
        let line =
            format!("protocol static announced{number} {{ {family}; route {prefix} blackhole; }}");
        let _ = writeln!(text, "{line}");
    }
    for (number, neighbour) in place.neighbours.iter().enumerate() {
        let mut session = session_words(place, neighbour);
        if let Some(role) = place.wish.role {
            let _ = write!(session, "local role {role}; ");
        }
        if let Some(seconds) = place.wish.long_lived_seconds {
            let time = format!("long lived stale time {seconds}");
            let _ = write!(session, "long lived graceful restart on; {time}; ");
        }
        let mut channel = channel_words(place);
        if place.wish.extended_next_hop {
            channel += "extended next hop on; ";
        }
        for family in place.families(neighbour) {
            let _ = write!(session, "{family} {{ {channel}}}; ");
        }
        let _ = writeln!(text, "protocol bgp peer{number} {{ {session}}}");
    }
    text
}
