//! Phase 2 (RFC 4271 §9.1.2): which candidate is the best, and why each other is not.
//!
//! The RFC's own form: from the set of candidates, each step removes from consideration, until one is
//! left. Removing from a set, instead of comparing pairs, is what makes MED come out right, and makes the
//! result independent of the order in which paths came.
//!
//! | step | | kept |
//! |---|---|---|
//! | | import (Phase 1) | what may be used at all |
//! | RFC 9494 §4.3 | long-lived stale | those that are not, where there is one: we keep it, or its sender says so |
//! | | | a path of our own, before any that we learned |
//! | §9.1.1 | degree of preference | highest LOCAL_PREF; 100 where there is none |
//! | §9.1.2.2 a | AS_PATH | shortest |
//! | b | ORIGIN | lowest |
//! | c | MULTI_EXIT_DISC | lowest *among those of the same neighbour AS*, or of all: `always_compare_med` |
//! | d | eBGP | if any is, only those |
//! | e | interior cost | all are equal: we do not know an IGP's costs |
//! | | | *what is left here is equal for multipath*, see below |
//! | f | BGP Identifier | lowest; ORIGINATOR_ID instead where there is one (RFC 4456 §9) |
//! | RFC 4456 §9 | CLUSTER_LIST | shortest |
//! | g | peer address | lowest |
//! | RFC 7911 | Path Identifier | lowest: several paths of one peer may have got here |
//!
//! A stale path (RFC 4724 §4.2) is treated as any other, as that RFC wants it. An external path that is
//! chosen gives way to a better one at step f as well: RFC 5004 would keep it, and the choice would then
//! depend on who came first.
//!
//! *Multipath* takes what is equal after step e, up to a maximum that may be another for external and for
//! internal paths (after step d there are only the one or the other), with a next hop each that no earlier
//! one has. With `multipath_relax`, which is the default, an AS_PATH of equal *length* is enough, as in BIRD
//! and so in Calico; without it the neighbour AS must be that of the best.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use smallvec::{SmallVec, smallvec};

use crate::config::SpeakerConfig;
use crate::import::Verdict;
use crate::wire::{Attributes, Origin};

/// One path, with what the decision must know of where it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) merits: Merits,
    pub(crate) verdict: Verdict,
    pub(crate) provenance: Provenance,
    /// Kept beyond its peer's Restart Time (RFC 9494 §4.2), by us or by somebody before us (§4.3).
    pub(crate) long_lived_stale: bool,
}

/// What the steps look at of a path's attributes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Merits {
    local_pref: u32,
    hops: usize,
    origin: Origin,
    med: u32,
    /// `None` for a path that began in our own AS.
    neighbour_as: Option<u32>,
    originator_id: Option<Ipv4Addr>,
    clusters: usize,
    next_hop: Option<IpAddr>,
}

impl From<&Attributes> for Merits {
    fn from(attributes: &Attributes) -> Merits {
        Merits {
            local_pref: local_pref(attributes),
            hops: attributes.as_path.hops(),
            origin: attributes.origin,
            med: attributes.med.unwrap_or(0),
            neighbour_as: attributes.as_path.first_as(),
            originator_id: attributes.originator_id,
            clusters: attributes.cluster_list.len(),
            next_hop: attributes.next_hop,
        }
    }
}

/// Where a candidate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    Local,
    Peer {
        external: bool,
        router_id: Ipv4Addr,
        address: IpAddr,
        /// As received; zero where ADD-PATH was not agreed on.
        path_id: u32,
    },
}

/// What an operator decides about the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) always_compare_med: bool,
    /// Most paths that may be chosen where the best is external.
    pub(crate) multipath_external: usize,
    /// Most paths that may be chosen where it is not.
    pub(crate) multipath_internal: usize,
    pub(crate) multipath_relax: bool,
}

impl From<&SpeakerConfig> for Options {
    fn from(config: &SpeakerConfig) -> Options {
        let or_both = |max: Option<usize>| max.unwrap_or(config.multipath_max);
        Options {
            always_compare_med: config.always_compare_med,
            multipath_external: or_both(config.multipath_external_max),
            multipath_internal: or_both(config.multipath_internal_max),
            multipath_relax: config.multipath_relax,
        }
    }
}

/// The answer, by index of candidate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The best, then its equals for multipath, at most as many as asked for and with a next hop each
    /// that no earlier one has. Empty: no candidate may be used.
    pub(crate) chosen: SmallVec<[usize; 4]>,
    /// Why each is not the best; `None` for the best.
    pub(crate) lost: SmallVec<[Option<Reason>; 4]>,
}

/// Why a path lost, with its value and the winning one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Ineligible(Verdict),
    LongLivedStale,
    Learned,
    LocalPref(u32, u32),
    AsPath(usize, usize),
    Origin(Origin, Origin),
    Med(u32, u32),
    Internal,
    RouterId(Ipv4Addr, Ipv4Addr),
    ClusterList(usize, usize),
    PeerAddress(IpAddr, IpAddr),
    PathId(u32, u32),
}

/// Selects among `candidates`.
pub(crate) fn select(candidates: &[Candidate], options: &Options) -> Selection {
    let mut left = Left {
        candidates,
        indices: (0..candidates.len()).collect(),
        lost: smallvec![None; candidates.len()],
    };
    let equal = left.run(options);
    Selection {
        chosen: multipath(candidates, equal, options),
        lost: left.lost,
    }
}

/// The `max` best of `candidates` by index, the best first: each is the one that would be chosen if those
/// before it were not there.
pub(crate) fn rank(candidates: &[Candidate], options: &Options, max: usize) -> Indices {
    let mut ranked = Indices::new();
    while ranked.len() < max {
        let indices = (0..candidates.len()).filter(|index| !ranked.contains(index));
        let mut left = Left {
            candidates,
            indices: indices.collect(),
            lost: smallvec![None; candidates.len()],
        };
        left.run(options);
        let Some(&best) = left.indices.first() else {
            break;
        };
        ranked.push(best);
    }
    ranked
}

/// LOCAL_PREF as the decision sees it.
pub(crate) fn local_pref(attributes: &Attributes) -> u32 {
    attributes.local_pref.unwrap_or(LOCAL_PREF_DEFAULT)
}

/// The degree of preference of a path that came without one, and what goes to internal peers then.
pub(crate) const LOCAL_PREF_DEFAULT: u32 = 100;

/// The paths that reached step f, in the order of the steps from there on, so that the first is the best.
fn multipath(
    candidates: &[Candidate],
    mut equal: Indices,
    options: &Options,
) -> SmallVec<[usize; 4]> {
    let rank = |c: &Candidate| {
        let clusters = c.merits.clusters;
        (c.originator(), clusters, c.address(), c.path_id())
    };
    equal.sort_by_key(|&index| rank(&candidates[index]));
    let mut chosen: SmallVec<[usize; 4]> = SmallVec::new();
    let Some(best) = equal.first().map(|&index| &candidates[index]) else {
        return chosen;
    };
    let max = if best.is_internal() {
        options.multipath_internal
    } else {
        options.multipath_external
    };
    for index in equal {
        let candidate = &candidates[index];
        let next_hop = candidate.merits.next_hop;
        let known = |&other: &usize| candidates[other].merits.next_hop == next_hop;
        let fits =
            options.multipath_relax || candidate.merits.neighbour_as == best.merits.neighbour_as;
        if fits && !chosen.iter().any(known) && chosen.len() < max.max(1) {
            chosen.push(index);
        }
    }
    chosen
}

pub(crate) type Indices = SmallVec<[usize; 8]>;

/// What is left under consideration.
struct Left<'a> {
    candidates: &'a [Candidate],
    indices: Indices,
    lost: SmallVec<[Option<Reason>; 4]>,
}

impl Left<'_> {
    /// All steps; what is equal for multipath.
    fn run(&mut self, options: &Options) -> Indices {
        // Phase 1 has its own reasons.
        self.keep(|c| match c.verdict {
            Verdict::Eligible => Ok(()),
            verdict => Err(Reason::Ineligible(verdict)),
        });

        // RFC 9494 §4.3: before any tie-break.
        self.keep_lowest(|c| c.long_lived_stale, |_, _| Reason::LongLivedStale);

        // Ours before theirs, whatever they send.
        self.keep_lowest(|c| c.is_learned(), |_, _| Reason::Learned);

        // §9.1.1: the highest degree of preference.
        self.keep_lowest(
            |c| Reverse(c.merits.local_pref),
            |mine, best| Reason::LocalPref(mine.0, best.0),
        );

        // §9.1.2.2 a: the shortest AS_PATH. An AS_SET counts as one.
        self.keep_lowest(|c| c.merits.hops, Reason::AsPath);

        // b: the lowest ORIGIN.
        self.keep_lowest(|c| c.merits.origin, Reason::Origin);

        // c: the lowest MULTI_EXIT_DISC, compared only between paths from the same neighbour AS if nobody
        // wants it otherwise. A path without one has the lowest possible, zero.
        if options.always_compare_med {
            self.keep_lowest(|c| c.merits.med, Reason::Med);
        } else {
            self.keep_lowest_med();
        }

        // d: external before internal.
        self.keep_lowest(|c| c.is_internal(), |_, _| Reason::Internal);

        // e: the lowest interior cost to NEXT_HOP. All next hops cost the same to us.
        let equal = self.indices.clone();

        // f: the lowest BGP Identifier; a reflected path stands for its originator (RFC 4456 §9).
        self.keep_lowest(|c| c.originator(), Reason::RouterId);

        // RFC 4456 §9: the shortest CLUSTER_LIST.
        self.keep_lowest(|c| c.merits.clusters, Reason::ClusterList);

        // g: the lowest peer address.
        self.keep_lowest(|c| c.address(), Reason::PeerAddress);

        // RFC 7911: paths of one peer differ in their identifiers, if in nothing else.
        self.keep_lowest(|c| c.path_id(), Reason::PathId);

        equal
    }

    fn keep(&mut self, test: impl Fn(&Candidate) -> Result<(), Reason>) {
        let (candidates, lost) = (self.candidates, &mut self.lost);
        self.indices
            .retain(|&mut index| match test(&candidates[index]) {
                Ok(()) => true,
                Err(reason) => {
                    lost[index] = Some(reason);
                    false
                }
            });
    }

    /// Removes all whose key is not the lowest. The reason is made of a loser's key and the lowest.
    fn keep_lowest<K: Ord + Copy>(
        &mut self,
        key: impl Fn(&Candidate) -> K,
        reason: impl Fn(K, K) -> Reason,
    ) {
        let candidates = self.candidates;
        let keys = self.indices.iter().map(|&index| key(&candidates[index]));
        let Some(lowest) = keys.min() else { return };
        self.keep(|c| match key(c) {
            mine if mine == lowest => Ok(()),
            mine => Err(reason(mine, lowest)),
        });
    }

    fn keep_lowest_med(&mut self) {
        let (candidates, considered) = (self.candidates, self.indices.clone());
        let lowest = |c: &Candidate| {
            let same = considered.iter().map(|&other| &candidates[other]);
            same.filter(|other| other.merits.neighbour_as == c.merits.neighbour_as)
                .map(|other| other.merits.med)
                .min()
        };
        self.keep(|c| match lowest(c) {
            Some(best) if best < c.merits.med => Err(Reason::Med(c.merits.med, best)),
            _ => Ok(()),
        });
    }
}

impl Candidate {
    fn is_learned(&self) -> bool {
        self.provenance != Provenance::Local
    }

    fn is_internal(&self) -> bool {
        matches!(
            self.provenance,
            Provenance::Peer {
                external: false,
                ..
            }
        )
    }

    fn originator(&self) -> Ipv4Addr {
        match self.provenance {
            Provenance::Local => Ipv4Addr::UNSPECIFIED,
            Provenance::Peer { router_id, .. } => self.merits.originator_id.unwrap_or(router_id),
        }
    }

    fn address(&self) -> IpAddr {
        match self.provenance {
            Provenance::Local => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Provenance::Peer { address, .. } => address,
        }
    }

    fn path_id(&self) -> u32 {
        match self.provenance {
            Provenance::Local => 0,
            Provenance::Peer { path_id, .. } => path_id,
        }
    }
}

/// In the words of RFC 4271 §9.1.2.2.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Ineligible(verdict) => verdict.fmt(f),
            Reason::LongLivedStale => f.write_str("long-lived stale"),
            Reason::Learned => f.write_str("a local path is preferred"),
            Reason::LocalPref(mine, best) => write!(f, "lower LOCAL_PREF ({mine} against {best})"),
            Reason::AsPath(mine, best) => write!(f, "longer AS_PATH ({mine} against {best})"),
            Reason::Origin(mine, best) => {
                write!(
                    f,
                    "higher ORIGIN ({} against {})",
                    origin_name(*mine),
                    origin_name(*best)
                )
            }
            Reason::Med(mine, best) => write!(f, "higher MULTI_EXIT_DISC ({mine} against {best})"),
            Reason::Internal => f.write_str("an external path is preferred"),
            Reason::RouterId(mine, best) => {
                write!(f, "higher BGP Identifier ({mine} against {best})")
            }
            Reason::ClusterList(mine, best) => {
                write!(f, "longer CLUSTER_LIST ({mine} against {best})")
            }
            Reason::PeerAddress(mine, best) => {
                write!(f, "higher peer address ({mine} against {best})")
            }
            Reason::PathId(mine, best) => {
                write!(f, "higher path identifier ({mine} against {best})")
            }
        }
    }
}

/// ORIGIN as text.
pub(crate) fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Igp => "igp",
        Origin::Egp => "egp",
        Origin::Incomplete => "incomplete",
    }
}

#[cfg(test)]
mod tests;
