//! ```text
//!        rack 1                                  rack 2
//!   node1    node2    router    other            node3
//!     │ .1     │ .2     │ .100    │ .101           │ .1
//!   ──┴────────┴────────┴─────────┴─── router ─────┴──
//! ```
//! BFD (RFC 5880) beside BGP sessions with a hold time of 90 s, over IPv4 and IPv6, with BIRD 2 and FRR 8.4. It is one hop
//! to the nodes of the rack (RFC 5881), and more to node3 (RFC 5883). No wait here is as long as the hold time, so what ends
//! a session is BFD. Expectations:
//!  1. Both sides show all sessions Up.
//!  2. When the other side's BFD falls silent, each node's session goes down, and BFD is its last error.
//!  3. When it speaks again, BFD is Up and the sessions are Established.
//!  4. Two routers announce a prefix. The wire of one is cut, and no link goes down: each kernel's route leads over the
//!     other one, and BFD is the reason; then the wire is mended, and it is over both.
//!  5. Nodes of a mesh watch each other. One is cut off: its block is gone from the kernels of the others, for that reason.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use caracal_agent_api::Peer;
use caracal_interop_tests::{Bird, Frr, Place, Router};
use caracal_lab::daemon::Daemon;
use caracal_lab::topology::{self, Site};
use caracal_lab::{Binaries, Lab, Node, Options, lab_tests, manifests, wait};
use rustix::process::Signal;

const ASN: u32 = 64999;
const PREFIX: &str = "198.51.100.0/24";

fn lab() -> Result<Lab> {
    let options = Options {
        ipv6: true,
        ..Options::default()
    };
    let mut lab = Lab::build(options, Binaries::find()?)?;
    lab.start()?;
    Ok(lab)
}

/// The BGPPeers of a router, one a family, with the annotation.
fn peer(lab: &Lab, site: &Site) -> Result<()> {
    for (address, family) in [(site.ipv4.addr(), 4), (site.ipv6.addr(), 6)] {
        let name = format!("{}-{family}", site.name);
        let text = manifests::global_peer(&name, address, ASN);
        let annotated = format!(
            "  name: {name}\n  annotations: {{bgp.caracal.network/session: '{{bfd: {{minIntervalMilliseconds: 100}}}}'}}\n"
        );
        let text = text.replace(&format!("  name: {name}\n"), &annotated);
        manifests::write(&lab.store, &format!("{name}.yaml"), &text)?;
    }
    Ok(())
}

fn addresses(site: &Site) -> [IpAddr; 2] {
    [site.ipv4.addr(), site.ipv6.addr()]
}

fn watches(node: &Node, remote: IpAddr, what: &str, test: impl Fn(&Peer) -> bool) -> Result<()> {
    wait::until(&format!("{}: {what} with {remote}", node.name()), || {
        let peers = node.peers().map_err(|error| error.to_string())?;
        let peer = peers.iter().find(|peer| peer.address == remote);
        let peer = peer.ok_or("no such peer")?;
        if test(peer) {
            Ok(())
        } else {
            Err(format!("{peer:?}"))
        }
    })
}

/// Expectations 1 and 3, our side.
fn all_up(lab: &Lab, site: &Site) -> Result<()> {
    for node in &lab.nodes {
        for remote in addresses(site) {
            watches(node, remote, "BFD and BGP", |peer| {
                peer.bfd.as_deref() == Some("Up") && peer.state == "Established"
            })?;
        }
    }
    Ok(())
}

/// Expectation 2. BGP may be back by the time that we look, and BFD is not.
fn all_down_because_of_bfd(lab: &Lab, site: &Site) -> Result<()> {
    for node in &lab.nodes {
        for remote in addresses(site) {
            watches(node, remote, "BFD down", |peer| {
                peer.bfd.as_deref() == Some("Down") && peer.flaps == 1
            })?;
            log_names_bfd(node, remote)?;
        }
    }
    Ok(())
}

/// The reason as the log has it: what comes after may be the last error by now.
fn log_names_bfd(node: &Node, remote: IpAddr) -> Result<()> {
    let address = format!("address={remote} ");
    let words = ["peer is down", &address, "BFD: the path has failed"];
    wait::until(&format!("{}'s log to say {words:?}", node.name()), || {
        let log = node.agent.log();
        if log
            .lines()
            .any(|line| words.iter().all(|word| line.contains(word)))
        {
            Ok(())
        } else {
            Err(node.agent.log_tail(5))
        }
    })
}

/// `protocol bfd` with one hop to the nodes of the rack and more to the others.
fn bird_with_bfd(lab: &Lab, site: &Site) -> Result<Bird> {
    let bird = Bird::start(lab, site, ASN, &[PREFIX])?;
    let mut neighbours = String::new();
    for node in &lab.nodes {
        for (own, other) in addresses(site).into_iter().zip(addresses(&node.site)) {
            neighbours += &match node.site.rack == site.rack {
                true => format!("neighbor {other} dev \"eth0\" local {own};\n"),
                false => format!("neighbor {other} local {own} multihop on;\n"),
            };
        }
    }
    let interval = "min rx interval 100 ms; min tx interval 100 ms; multiplier 3;";
    let protocol = format!(
        "protocol device {{ }}\nprotocol bfd {{ interface \"eth0\" {{ {interval} }}; multihop {{ {interval} }};\n{neighbours}}}"
    );
    let folder = lab.folder.join(&site.name);
    let file = folder.join("bird.conf");
    let old = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    let new = old.replace("protocol device { }", &protocol);
    ensure!(old != new, "no place for BFD in {old}");
    manifests::write(&folder, "bird.conf", &new)?;
    wait::until("BIRD to read it again", || match bird.ask("configure") {
        Ok(answer) if answer.contains("Reconfigur") => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    })?;
    peer(lab, site)?;
    Ok(bird)
}

fn bird_shows_all_up(lab: &Lab, bird: &Bird) -> Result<()> {
    wait::until("BIRD's BFD sessions", || {
        let text = bird
            .ask("show bfd sessions")
            .map_err(|error| error.to_string())?;
        let all = lab.nodes.iter().all(|node| {
            addresses(&node.site).iter().all(|address| {
                let address = address.to_string();
                let mut lines = text
                    .lines()
                    .map(|line| line.split_whitespace().collect::<Vec<_>>());
                lines.any(|words| words.first() == Some(&&*address) && words.contains(&"Up"))
            })
        });
        if all { Ok(()) } else { Err(text) }
    })
}

fn frr_with_bfd(lab: &Lab, place: &Place) -> Result<(Frr, Daemon)> {
    let frr = Frr::start(place.clone())?;
    let mut lines = "bfd\n".to_owned();
    for node in &lab.nodes {
        for (own, other) in addresses(&place.site)
            .into_iter()
            .zip(addresses(&node.site))
        {
            let how = match node.site.rack == place.site.rack {
                true => format!("local-address {own} interface eth0"),
                false => format!("multihop local-address {own}"),
            };
            lines += &format!(
                " peer {other} {how}\n  receive-interval 100\n  transmit-interval 100\n  detect-multiplier 3\n  no shutdown\n !\n"
            );
        }
    }
    let bfdd = frr.start_bfd(place, &lines)?;
    peer(lab, &place.site)?;
    Ok((frr, bfdd))
}

fn frr_shows_all_up(lab: &Lab, frr: &Frr, bfdd: &mut Daemon) -> Result<()> {
    wait::until_or("FRR's BFD sessions", || {
        bfdd.check_running()?;
        let Ok(peers) = frr.json("show bfd peers json") else {
            return Ok(Err("no answer".to_owned()));
        };
        let peers = peers.as_array().cloned().unwrap_or_default();
        let up: Vec<_> = peers.iter().filter(|peer| peer["status"] == "up").collect();
        let all = lab.nodes.iter().all(|node| {
            let mut all = addresses(&node.site)
                .into_iter()
                .map(|address| address.to_string());
            all.all(|address| up.iter().any(|peer| peer["peer"] == address.as_str()))
        });
        Ok(if all {
            Ok(())
        } else {
            Err(format!("{peers:?}"))
        })
    })
}

/// The far end of a wire leaves the rack's bridge: the guest's own link stays up.
fn cut(lab: &Lab, site: &Site) -> Result<()> {
    let port = format!("p-{}", site.name);
    lab.fabric
        .ip(&["link", "set", &port, "nomaster"])
        .map(|_| ())
}

fn mend(lab: &Lab, site: &Site) -> Result<()> {
    let (port, rack) = (format!("p-{}", site.name), format!("rack{}", site.rack));
    lab.fabric
        .ip(&["link", "set", &port, "master", &rack])
        .map(|_| ())
}

/// The next hops of a prefix in a kernel are these, in any order.
fn leads_over(node: &Node, prefix: &str, wanted: &[IpAddr]) -> Result<()> {
    wait::until(
        &format!("{}: {prefix} over {wanted:?}", node.name()),
        || {
            let said = node.netns.ip(&["-4", "route", "show", prefix]);
            let said = said.map_err(|error| error.to_string())?;
            let words: Vec<_> = said.split_whitespace().collect();
            let vias = words.windows(2).filter(|pair| pair[0] == "via");
            let mut vias: Vec<_> = vias.map(|pair| pair[1].to_owned()).collect();
            vias.sort();
            let mut wanted: Vec<_> = wanted.iter().map(ToString::to_string).collect();
            wanted.sort();
            if vias == wanted { Ok(()) } else { Err(said) }
        },
    )
}

lab_tests! {
    fn bird_and_we_watch_each_other_over_one_hop_and_over_several() {
        let lab = lab()?;
        let site = topology::site("bird", 1, 100);
        let mut bird = bird_with_bfd(&lab, &site)?;
        all_up(&lab, &site)?;
        bird_shows_all_up(&lab, &bird)?;
        bird.daemon.signal(Signal::STOP)?;
        all_down_because_of_bfd(&lab, &site)?;
        bird.daemon.signal(Signal::CONT)?;
        all_up(&lab, &site)?;
        bird_shows_all_up(&lab, &bird)
    }

    fn frr_and_we_watch_each_other_over_one_hop_and_over_several() {
        let lab = lab()?;
        let place = Place::new(&lab, topology::site("frr", 1, 100), ASN)?;
        let (frr, mut bfdd) = frr_with_bfd(&lab, &place)?;
        all_up(&lab, &place.site)?;
        frr_shows_all_up(&lab, &frr, &mut bfdd)?;
        bfdd.signal(Signal::STOP)?;
        all_down_because_of_bfd(&lab, &place.site)?;
        bfdd.signal(Signal::CONT)?;
        all_up(&lab, &place.site)?;
        frr_shows_all_up(&lab, &frr, &mut bfdd)
    }

    fn a_wire_that_is_cut_without_a_word_costs_its_routes_at_once() {
        let lab = lab()?;
        let sites = [topology::site("bird", 1, 100), topology::site("other", 1, 101)];
        let mut birds = Vec::new();
        for site in &sites {
            birds.push(bird_with_bfd(&lab, site)?);
        }
        for site in &sites {
            all_up(&lab, site)?;
        }
        let [one, other] = [&sites[0], &sites[1]].map(|site| site.ipv4.addr());
        let near = &lab.nodes[..2];
        for node in near {
            leads_over(node, PREFIX, &[one, other])?;
        }
        cut(&lab, &sites[0])?;
        for node in near {
            leads_over(node, PREFIX, &[other])?;
            log_names_bfd(node, one)?;
        }
        mend(&lab, &sites[0])?;
        all_up(&lab, &sites[0])?;
        for node in near {
            leads_over(node, PREFIX, &[one, other])?;
        }
        Ok(())
    }

    fn nodes_of_a_mesh_notice_that_one_is_cut_off() {
        let mut lab = Lab::build(Options::default(), Binaries::find()?)?;
        for node in &lab.nodes {
            let text = manifests::agent(node.name(), &node.folder, &lab.store);
            manifests::write(&node.folder, "agent.yaml", &format!("{text}bgp: {{meshOptions: {{bfd: true}}}}\n"))?;
        }
        lab.start()?;
        let lost = lab.nodes[1].site.clone();
        for node in [&lab.nodes[0], &lab.nodes[2]] {
            watches(node, lost.ipv4.addr(), "BFD", |peer| peer.bfd.as_deref() == Some("Up"))?;
        }
        let block = lab.nodes[1].status()?.blocks[0].to_string();
        cut(&lab, &lost)?;
        for node in [&lab.nodes[0], &lab.nodes[2]] {
            wait::until(&format!("{} to lose {block}", node.name()), || {
                let have = node.kernel_prefixes().map_err(|error| error.to_string())?;
                if have.contains(&block) { Err(format!("{have:?}")) } else { Ok(()) }
            })?;
            log_names_bfd(node, lost.ipv4.addr())?;
        }
        mend(&lab, &lost)?;
        lab.wait_converged()
    }
}
