//! When it is quiet: what every speaker says of itself against what the [`model`](crate::model) says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::Settled;
use crate::speakers::{index_of, next_hop};
use crate::world::World;

/// Compares everything that a speaker says of itself with what must be. `Err` names the first difference.
pub fn check(world: &World) -> Result<(), String> {
    let truth = Truth::of(world)?;
    for speaker in 0..world.topology().speakers() {
        check_sessions(world, &truth, speaker)?;
        check_routes(world, &truth, speaker)?;
    }
    Ok(())
}

/// Every prefix that somebody originates, settled.
struct Truth<'a>(BTreeMap<IpNet, Settled<'a>>);

impl<'a> Truth<'a> {
    fn of(world: &'a World) -> Result<Truth<'a>, String> {
        let topology = world.topology();
        let speakers = 0..topology.speakers();
        let peers: Vec<Vec<usize>> = speakers.clone().map(|one| topology.peers(one)).collect();
        let prefixes: BTreeSet<IpNet> = speakers
            .flat_map(|one| world.originated(one).keys().copied())
            .collect();
        let settle = |prefix| Ok((prefix, Settled::new(world, prefix, &peers)?));
        Ok(Truth(
            prefixes
                .into_iter()
                .map(settle)
                .collect::<Result<_, String>>()?,
        ))
    }

    fn sent(&self, from: usize, to: usize) -> Vec<IpNet> {
        let sent = self.0.iter().filter(|(_, one)| one.is_sent(from, to));
        sent.map(|(prefix, _)| *prefix).collect()
    }

    fn known(&self, speaker: usize) -> Vec<IpNet> {
        let known = self.0.iter().filter(|(_, one)| one.is_known(speaker));
        known.map(|(prefix, _)| *prefix).collect()
    }
}

fn check_sessions(world: &World, truth: &Truth<'_>, speaker: usize) -> Result<(), String> {
    for view in world.speaker(speaker).peers(world.now()) {
        let wrong = |what: &str| {
            Err(format!(
                "speaker {speaker}, peer {}: {what}: {view:?}",
                view.address
            ))
        };
        if view.state != "Established" {
            return wrong("not Established");
        }
        if view.prefixes_stale != 0 {
            return wrong("stale paths");
        }
        if !view.end_of_rib {
            return wrong("no End-of-RIB");
        }
        if view.deferral_pending {
            return wrong("deferral pending");
        }
        let Some(peer) = index_of(view.address) else {
            return wrong("nobody has this address");
        };
        let (sent, received) = (truth.sent(speaker, peer), truth.sent(peer, speaker));
        let advertised = world.speaker(speaker).advertised(view.address);
        let advertised = advertised.into_iter().map(|nlri| nlri.prefix);
        if advertised.collect::<Vec<_>>() != sent || view.prefixes_sent != sent.len() {
            return wrong("advertised is not what the model sends");
        }
        if view.prefixes_received != received.len() {
            return wrong("received is not what the model's peer sends");
        }
    }
    Ok(())
}

fn check_routes(world: &World, truth: &Truth<'_>, speaker: usize) -> Result<(), String> {
    let known = truth.known(speaker);
    let chosen = world.speaker(speaker).routes().into_iter();
    let chosen = chosen.filter(|route| route.paths.iter().any(|path| path.best));
    let chosen: Vec<IpNet> = chosen.map(|route| route.prefix).collect();
    if chosen != known {
        let without = |all: &[IpNet], others: &[IpNet]| -> Vec<IpNet> {
            let left = all.iter().filter(|prefix| !others.contains(prefix));
            left.copied().collect()
        };
        return Err(format!(
            "speaker {speaker}: prefixes missing {:?}, too many {:?}",
            without(&known, &chosen),
            without(&chosen, &known)
        ));
    }
    for (prefix, settled) in &truth.0 {
        let is = world.speaker(speaker).next_hops(prefix);
        let must = settled.next_hops(speaker).into_iter();
        let must: Vec<IpAddr> = must.map(|who| next_hop(who, prefix)).collect();
        let followed = world.followed(speaker, prefix);
        if is != must || followed != must {
            let route = world.speaker(speaker).route(prefix);
            return Err(format!(
                "speaker {speaker}, {prefix}: next hops {is:?}, must be {must:?}, told {followed:?}: {route:?}"
            ));
        }
    }
    let all = world.all_followed(speaker).iter();
    let mut left_over =
        all.filter(|(prefix, hops)| !hops.is_empty() && !truth.0.contains_key(prefix));
    match left_over.next() {
        Some((prefix, hops)) => Err(format!(
            "speaker {speaker}: told of {prefix} via {hops:?}, which nobody originates"
        )),
        None => Ok(()),
    }
}
