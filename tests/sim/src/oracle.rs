//! What every speaker must know when it is quiet: a function of who originates what, and of nothing else.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use caracal_bgp::LocalPath;
use ipnet::IpNet;

use crate::plan::Topology;
use crate::world::{MULTIPATH_MAX, World, address, next_hop};

/// Compares everything that a speaker says of itself with what must be. `Err` names the first difference.
pub fn check(world: &World) -> Result<(), String> {
    let truth = Truth::of(world);
    for speaker in 0..world.topology().speakers() {
        check_sessions(world, &truth, speaker)?;
        check_routes(world, &truth, speaker)?;
    }
    Ok(())
}

/// Who originates each prefix, with what.
struct Truth<'a> {
    topology: Topology,
    originators: BTreeMap<IpNet, Vec<(usize, &'a LocalPath)>>,
}

impl<'a> Truth<'a> {
    fn of(world: &'a World) -> Truth<'a> {
        let mut originators: BTreeMap<IpNet, Vec<(usize, &LocalPath)>> = BTreeMap::new();
        for speaker in 0..world.topology().speakers() {
            for (prefix, path) in world.originated(speaker) {
                originators
                    .entry(*prefix)
                    .or_default()
                    .push((speaker, path));
            }
        }
        Truth {
            topology: world.topology(),
            originators,
        }
    }

    /// Those of `among` that are left after LOCAL_PREF and MED, the lowest identifier first. All paths
    /// begin in our own AS, so that MEDs are compared with one another.
    fn best(&self, prefix: &IpNet, among: impl Fn(usize) -> bool) -> Vec<usize> {
        let Some(all) = self.originators.get(prefix) else {
            return Vec::new();
        };
        let all: Vec<_> = all.iter().filter(|(speaker, _)| among(*speaker)).collect();
        let key = |path: &LocalPath| {
            (
                Reverse(path.local_pref.unwrap_or(100)),
                path.med.unwrap_or(0),
            )
        };
        let Some(best) = all.iter().map(|(_, path)| key(path)).min() else {
            return Vec::new();
        };
        all.iter()
            .filter(|(_, path)| key(path) == best)
            .map(|(speaker, _)| *speaker)
            .collect()
    }

    fn originates(&self, speaker: usize, prefix: &IpNet) -> bool {
        self.originators
            .get(prefix)
            .is_some_and(|all| all.iter().any(|(who, _)| *who == speaker))
    }

    /// The next hops that a speaker must have; none where it is at home.
    fn next_hops(&self, speaker: usize, prefix: &IpNet) -> Vec<IpAddr> {
        if self.originates(speaker, prefix) {
            return Vec::new();
        }
        let best = match self.topology {
            // A client hears of what each reflector has chosen: its own before all others.
            Topology::Reflectors { reflectors, .. } if speaker >= reflectors => {
                let chosen = |reflector| match self.originates(reflector, prefix) {
                    true => Some(reflector),
                    false => self.best(prefix, |_| true).first().copied(),
                };
                let heard: Vec<usize> = (0..reflectors).filter_map(chosen).collect();
                self.best(prefix, |speaker| heard.contains(&speaker))
            }
            _ => self.best(prefix, |_| true),
        };
        best.iter()
            .take(MULTIPATH_MAX)
            .map(|&who| next_hop(who, prefix))
            .collect()
    }

    /// What goes from `from` to `to` in a mesh: what `from` originates and chooses, which is all of it.
    fn sent_in_mesh(&self, from: usize) -> Vec<IpNet> {
        let own = self
            .originators
            .keys()
            .filter(|prefix| self.originates(from, prefix));
        own.copied().collect()
    }
}

fn check_sessions(world: &World, truth: &Truth<'_>, speaker: usize) -> Result<(), String> {
    let is_mesh = matches!(truth.topology, Topology::Mesh { .. });
    let own = truth.sent_in_mesh(speaker);
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
        if !is_mesh {
            continue;
        }
        if world.speaker(speaker).advertised(view.address) != own || view.prefixes_sent != own.len()
        {
            return wrong("advertised is not what it originates");
        }
        let theirs = (0..truth.topology.speakers()).find(|&other| address(other) == view.address);
        let theirs = theirs.map(|other| truth.sent_in_mesh(other).len());
        if Some(view.prefixes_received) != theirs
            || view.prefixes_accepted != view.prefixes_received
        {
            return wrong("received is not what the peer originates");
        }
    }
    Ok(())
}

fn check_routes(world: &World, truth: &Truth<'_>, speaker: usize) -> Result<(), String> {
    let known: Vec<IpNet> = world
        .speaker(speaker)
        .routes()
        .iter()
        .map(|route| route.prefix)
        .collect();
    let wanted: Vec<IpNet> = truth.originators.keys().copied().collect();
    if known != wanted {
        let missing: Vec<&IpNet> = wanted
            .iter()
            .filter(|prefix| !known.contains(prefix))
            .collect();
        let extra: Vec<&IpNet> = known
            .iter()
            .filter(|prefix| !wanted.contains(prefix))
            .collect();
        return Err(format!(
            "speaker {speaker}: prefixes missing {missing:?}, too many {extra:?}"
        ));
    }
    for prefix in &wanted {
        let is = world.speaker(speaker).next_hops(prefix);
        let must = truth.next_hops(speaker, prefix);
        let followed = world.followed(speaker, prefix);
        if is != must || followed != must {
            let route = world.speaker(speaker).route(prefix);
            return Err(format!(
                "speaker {speaker}, {prefix}: next hops {is:?}, must be {must:?}, told {followed:?}: {route:?}"
            ));
        }
    }
    Ok(())
}
