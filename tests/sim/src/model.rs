//! What every speaker must know, computed without messages, sessions and time.
//!
//! For one prefix: everybody's choice is made again from what his peers have chosen, until nobody changes
//! his mind. It is slow, keeps nothing, and shares no line with the speaker, which is what makes it worth
//! comparing with.

use std::cmp::Reverse;

use caracal_bgp::LocalPath;
use ipnet::IpNet;

use crate::speakers::MULTIPATH_MAX;
use crate::topology::Topology;
use crate::world::World;

/// A path as a speaker has it after import.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path {
    /// The peer that sent it; `None`: its own.
    from: Option<usize>,
    /// ORIGINATOR_ID, or the speaker that brought it into our AS or is a peer's identifier.
    originator: usize,
    has_originator_id: bool,
    /// As one reflector a cluster: who has reflected it.
    clusters: Vec<usize>,
    as_path: Vec<u32>,
    local_pref: u32,
    med: u32,
    /// The speaker that it leads to.
    next_hop: usize,
}

/// The end of one prefix's story.
#[derive(Debug)]
pub struct Settled<'a> {
    world: &'a World,
    prefix: IpNet,
    /// By speaker: the best and its equals.
    chosen: Vec<Vec<Path>>,
}

impl<'a> Settled<'a> {
    /// Lets the prefix settle. `Err`: it does not.
    pub fn new(
        world: &'a World,
        prefix: IpNet,
        peers: &[Vec<usize>],
    ) -> Result<Settled<'a>, String> {
        let mut settled = Settled {
            world,
            prefix,
            chosen: vec![Vec::new(); peers.len()],
        };
        for _ in 0..ROUNDS_MAX {
            let mut changed = false;
            for (speaker, peers) in peers.iter().enumerate() {
                let chosen = settled.choose(speaker, peers);
                if chosen != settled.chosen[speaker] {
                    settled.chosen[speaker] = chosen;
                    changed = true;
                }
            }
            if !changed {
                return Ok(settled);
            }
        }
        Err(format!("the model of {prefix} does not settle"))
    }

    /// The speaker has it at all.
    pub fn is_known(&self, speaker: usize) -> bool {
        !self.chosen[speaker].is_empty()
    }

    /// The speakers that it leads to from here; none where it is at home.
    pub fn next_hops(&self, speaker: usize) -> Vec<usize> {
        let chosen = self.chosen[speaker].iter();
        chosen
            .filter(|path| path.from.is_some())
            .map(|path| path.next_hop)
            .collect()
    }

    /// `from` announces it to `to`.
    pub fn is_sent(&self, from: usize, to: usize) -> bool {
        self.sent(from, to).is_some()
    }

    fn choose(&self, speaker: usize, peers: &[usize]) -> Vec<Path> {
        let own = self.world.originated(speaker).get(&self.prefix);
        let own = own.map(|path| local(speaker, path));
        let received = peers
            .iter()
            .filter_map(|&peer| self.received(peer, speaker));
        select(
            self.topology(),
            speaker,
            own.into_iter().chain(received).collect(),
        )
    }

    /// Import.
    fn received(&self, from: usize, to: usize) -> Option<Path> {
        let mut path = self.sent(from, to)?;
        let topology = self.topology();
        let loops = path.as_path.contains(&topology.asn(to))
            || (path.has_originator_id && path.originator == to)
            || path.clusters.contains(&to);
        if loops {
            return None;
        }
        if topology.is_external(from, to) {
            let manners = self.world.manners(to);
            if !manners.lets_in(&self.prefix) {
                return None;
            }
            path.local_pref = manners.local_pref(&self.prefix).unwrap_or(path.local_pref);
        }
        path.from = Some(from);
        Some(path)
    }

    /// Export.
    fn sent(&self, from: usize, to: usize) -> Option<Path> {
        let best = self.chosen[from].first()?;
        let topology = self.topology();
        if best.from == Some(to) {
            return None;
        }
        if topology.is_external(from, to) {
            if !self.world.manners(from).lets_out(&self.prefix) {
                return None;
            }
            let mut as_path = vec![topology.asn(from)];
            as_path.extend(&best.as_path);
            return Some(Path {
                from: None,
                originator: from,
                has_originator_id: false,
                clusters: Vec::new(),
                as_path,
                local_pref: LOCAL_PREF,
                med: if best.from.is_none() { best.med } else { 0 },
                next_hop: from,
            });
        }
        let mut path = best.clone();
        match best.from {
            None => path.next_hop = from,
            Some(sender) if topology.is_external(sender, from) => {
                // Borders put themselves in.
                path.next_hop = from;
                path.originator = from;
            }
            Some(sender) => {
                if !topology.is_client(from, sender) && !topology.is_client(from, to) {
                    return None;
                }
                path.has_originator_id = true;
                path.clusters.insert(0, from);
            }
        }
        Some(path)
    }

    fn topology(&self) -> Topology {
        self.world.topology()
    }
}

fn local(speaker: usize, path: &LocalPath) -> Path {
    Path {
        from: None,
        originator: speaker,
        has_originator_id: false,
        clusters: Vec::new(),
        as_path: Vec::new(),
        local_pref: path.local_pref.unwrap_or(LOCAL_PREF),
        med: path.med.unwrap_or(0),
        next_hop: speaker,
    }
}

/// RFC 4271 §9.1.2.2 and RFC 4456 §9: the best, and its equals with other next hops.
fn select(topology: Topology, speaker: usize, mut paths: Vec<Path>) -> Vec<Path> {
    if let Some(own) = paths.iter().find(|path| path.from.is_none()) {
        return vec![own.clone()];
    }
    keep_lowest(&mut paths, |path| Reverse(path.local_pref));
    keep_lowest(&mut paths, |path| path.as_path.len());
    let all = paths.clone();
    paths.retain(|path| {
        let same = all
            .iter()
            .filter(|other| other.as_path.first() == path.as_path.first());
        same.map(|other| other.med).min() == Some(path.med)
    });
    let is_internal = |path: &Path| {
        path.from
            .is_some_and(|from| !topology.is_external(from, speaker))
    };
    keep_lowest(&mut paths, is_internal);
    paths.sort_by_key(|path| (path.originator, path.clusters.len(), path.from));
    let mut chosen: Vec<Path> = Vec::new();
    for path in paths {
        let is_new = chosen.iter().all(|other| other.next_hop != path.next_hop);
        if is_new && chosen.len() < MULTIPATH_MAX {
            chosen.push(path);
        }
    }
    chosen
}

fn keep_lowest<K: Ord>(paths: &mut Vec<Path>, key: impl Fn(&Path) -> K) {
    let Some(lowest) = paths.iter().map(&key).min() else {
        return;
    };
    paths.retain(|path| key(path) == lowest);
}

const LOCAL_PREF: u32 = 100;
/// A path crosses no more than this many speakers.
const ROUNDS_MAX: usize = 20;
