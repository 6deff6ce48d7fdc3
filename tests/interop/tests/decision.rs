//! ```text
//!   eight neighbours ──► our speaker ────► a winner for each of 2,000 prefixes
//!   (4 iBGP, 4 eBGP, ──► BIRD 2 or FRR ──► the same winner
//!    two of one AS)
//! ```
//! Random sets of paths (LOCAL_PREF, AS_PATH with sets, ORIGIN, MED, ORIGINATOR_ID, CLUSTER_LIST) for the same prefixes; who
//! chooses what is compared. The other router is told to choose as RFC 4271 §9.1.2.2 says: MED compared group by group, and
//! identifiers compared even where an older path is there.
//!
//! One difference has a reason. FRR compares the MEDs of two paths only when both begin with an AS_SEQUENCE or are empty; a path from
//! inside the AS that begins with an AS_SET counts as one from our own AS in RFC 4271 §9.1.2.2 c, for BIRD and for us.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, bail, ensure};
use caracal_bgp::wire::{Family, Segment};
use caracal_interop_tests::choices::{self, ASN, Choice, NEIGHBOURS, choices, router_id};
use caracal_interop_tests::duel::{Duel, THEIRS, v4};
use caracal_interop_tests::{Bird, Feeder, Frr};
use caracal_lab::{lab_tests, wait};
use ipnet::IpNet;

lab_tests! {
    without programs;

    fn bird_chooses_as_we_do() {
        let duel = Duel::new()?;
        let bird = Bird::alone(&duel, &bird_configuration())?;
        compare(&duel, |_| false, || {
            let said = bird.ask("show route primary")?;
            let mut chosen = BTreeMap::new();
            for line in said.lines() {
                // 10.100.0.0/24        unicast [n3 01:02:03.456] * (100) [AS65001i]
                let (prefix, protocol) = (line.split_whitespace().next(), line.split_once("[n"));
                if let (Some(Ok(prefix)), Some((_, protocol))) = (prefix.map(str::parse), protocol)
                    && let Some(Ok(number)) = protocol.split_whitespace().next().map(str::parse)
                {
                    chosen.insert(prefix, v4(number));
                }
            }
            Ok(chosen)
        })
    }

    fn frr_chooses_as_we_do() {
        let duel = Duel::new()?;
        let frr = Frr::alone(&duel, &frr_configuration())?;
        compare(&duel, begins_with_a_set, || {
            let table = frr.json("show bgp ipv4 unicast json")?;
            let mut chosen = BTreeMap::new();
            for (prefix, paths) in table["routes"].as_object().into_iter().flatten() {
                let mut paths = paths.as_array().into_iter().flatten();
                let best = paths.find(|path| path["bestpath"] == true);
                if let Some(Ok(peer)) = best.and_then(|path| path["peerId"].as_str()).map(str::parse) {
                    chosen.insert(prefix.parse()?, peer);
                }
            }
            Ok(chosen)
        })
    }
}

/// Some path that a neighbour of our AS sent begins with an AS_SET.
fn begins_with_a_set(choice: &Choice) -> bool {
    let mut paths = choice.paths.values();
    paths.any(|path| matches!(path.as_path.0.first(), Some(Segment::Set(_))))
}

/// Feeds the router, waits until it has all, and compares. Only a choice that is `excused` may be another.
fn compare(
    duel: &Duel,
    excused: impl Fn(&Choice) -> bool,
    mut theirs: impl FnMut() -> Result<BTreeMap<IpNet, IpAddr>>,
) -> Result<()> {
    let choices = choices(SEED, PREFIXES);
    let ours = choices::ours(&choices)?;
    let mut feeders = Vec::new();
    for (number, asn) in NEIGHBOURS {
        let router = SocketAddr::new(v4(THEIRS), 179);
        let mut feeder = Feeder::connect(duel, v4(number), asn, router_id(number), router)?;
        for choice in &choices {
            if let Some(attributes) = choice.paths.get(&number) {
                feeder.announce(choice.prefix, attributes)?;
            }
        }
        feeder.end_of_rib(Family::Ipv4Unicast)?;
        feeders.push(feeder);
    }
    wait::until_or("the router to choose as we do", || {
        let theirs = theirs()?;
        if theirs.len() < ours.len() {
            return Ok(Err(format!(
                "it has {} of {} prefixes",
                theirs.len(),
                ours.len()
            )));
        }
        let others: Vec<&Choice> = choices
            .iter()
            .filter(|one| theirs.get(&one.prefix) != ours.get(&one.prefix).map(|(peer, _)| peer))
            .filter(|one| !excused(one))
            .collect();
        Ok(match others.first() {
            None => Ok(()),
            Some(choice) => Err(format!(
                "{} of {} differ, first {}: it chose {:?}, we {:?} of {:#?}",
                others.len(),
                ours.len(),
                choice.prefix,
                theirs.get(&choice.prefix),
                ours.get(&choice.prefix),
                choice.paths
            )),
        })
    })?;
    let excused = choices.iter().filter(|one| excused(one)).count();
    ensure!(
        excused < usize::from(PREFIXES) / 4,
        "{excused} of {PREFIXES} excused"
    );
    ensure!(ours.len() > usize::from(PREFIXES) * 9 / 10);
    let winners: std::collections::BTreeSet<_> = ours.values().map(|(peer, _)| peer).collect();
    if winners.len() < NEIGHBOURS.len() {
        bail!("not everyone wins once: {winners:?}");
    }
    Ok(())
}

fn bird_configuration() -> String {
    let own = v4(THEIRS);
    let mut text = format!(
        "router id {own};\nlog stderr all;\nprotocol device {{ }}\nprotocol direct {{ ipv4; }}\n"
    );
    for (number, asn) in NEIGHBOURS {
        let neighbour = v4(number);
        text += &format!(
            "protocol bgp n{number} {{ local {own} as {ASN}; neighbor {neighbour} as {asn}; passive; direct; \
             deterministic med on; ipv4 {{ import all; export none; gateway direct; }}; }}\n"
        );
    }
    text
}

fn frr_configuration() -> String {
    let own = v4(THEIRS);
    let mut text = format!(
        "log stdout\nrouter bgp {ASN}\n bgp router-id {own}\n no bgp ebgp-requires-policy\n bgp deterministic-med\n \
         bgp bestpath compare-routerid\n"
    );
    for (number, asn) in NEIGHBOURS {
        let neighbour = v4(number);
        text += &format!(" neighbor {neighbour} remote-as {asn}\n neighbor {neighbour} passive\n");
    }
    text
}

const SEED: u64 = 4271;
const PREFIXES: u16 = 2_000;
