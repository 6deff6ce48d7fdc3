//! Phase 2 (RFC 4271 §9.1.2): which candidate is the best, and why each other is not.
//!
//! The RFC's own form: from the set of candidates, each step removes from consideration, until one is
//! left. Removing from a set, instead of comparing pairs, is what makes MED come out right, and makes the
//! result independent of the order in which paths came.
//!
//! | step | | kept |
//! |---|---|---|
//! | | import (Phase 1) | what may be used at all |
//! | | | a path of our own, before any that we learned |
//! | §9.1.1 | degree of preference | highest LOCAL_PREF; 100 where there is none |
//! | §9.1.2.2 a | AS_PATH | shortest |
//! | b | ORIGIN | lowest |
//! | c | MULTI_EXIT_DISC | lowest *among those of the same neighbour AS* |
//! | d | eBGP | if any is, only those |
//! | e | interior cost | all are equal: we do not know an IGP's costs |
//! | | | *what is left here is equal for multipath* |
//! | f | BGP Identifier | lowest; ORIGINATOR_ID instead where there is one (RFC 4456 §9) |
//! | RFC 4456 §9 | CLUSTER_LIST | shortest |
//! | g | peer address | lowest |
//!
//! A stale path (RFC 4724 §4.2) is treated as any other, as that RFC wants it.

use std::cmp::Reverse;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use smallvec::{SmallVec, smallvec};

use crate::import::Verdict;
use crate::wire::{Attributes, Origin};

/// One path, with what the decision must know of where it comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate<'a> {
    pub(crate) attributes: &'a Attributes,
    pub(crate) verdict: Verdict,
    pub(crate) provenance: Provenance,
}

/// Where a candidate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provenance {
    Local,
    Peer {
        external: bool,
        router_id: Ipv4Addr,
        address: IpAddr,
    },
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
    Learned,
    LocalPref(u32, u32),
    AsPath(usize, usize),
    Origin(Origin, Origin),
    Med(u32, u32),
    Internal,
    RouterId(Ipv4Addr, Ipv4Addr),
    ClusterList(usize, usize),
    PeerAddress(IpAddr, IpAddr),
}

/// Selects among `candidates`; `multipath_max` is the most that may be chosen.
pub(crate) fn select(candidates: &[Candidate<'_>], multipath_max: usize) -> Selection {
    let mut left = Left {
        candidates,
        indices: (0..candidates.len()).collect(),
        lost: smallvec![None; candidates.len()],
    };

    // Phase 1 has its own reasons.
    left.keep(|c| match c.verdict {
        Verdict::Eligible => Ok(()),
        verdict => Err(Reason::Ineligible(verdict)),
    });

    // Ours before theirs, whatever they send.
    left.keep_lowest(|c| c.is_learned(), |_, _| Reason::Learned);

    // §9.1.1: the highest degree of preference.
    left.keep_lowest(
        |c| Reverse(local_pref(c.attributes)),
        |mine, best| Reason::LocalPref(mine.0, best.0),
    );

    // §9.1.2.2 a: the shortest AS_PATH. An AS_SET counts as one.
    left.keep_lowest(|c| c.attributes.as_path.hops(), Reason::AsPath);

    // b: the lowest ORIGIN.
    left.keep_lowest(|c| c.attributes.origin, Reason::Origin);

    // c: the lowest MULTI_EXIT_DISC, compared only between paths from the same neighbour AS. A path
    // without one has the lowest possible, zero.
    left.keep_lowest_med();

    // d: external before internal.
    left.keep_lowest(|c| c.is_internal(), |_, _| Reason::Internal);

    // e: the lowest interior cost to NEXT_HOP. All next hops cost the same to us.
    let equal = left.indices.clone();

    // f: the lowest BGP Identifier; a reflected path stands for its originator (RFC 4456 §9).
    left.keep_lowest(|c| c.originator(), Reason::RouterId);

    // RFC 4456 §9: the shortest CLUSTER_LIST.
    left.keep_lowest(|c| c.attributes.cluster_list.len(), Reason::ClusterList);

    // g: the lowest peer address.
    left.keep_lowest(|c| c.address(), Reason::PeerAddress);

    Selection {
        chosen: multipath(candidates, equal, multipath_max),
        lost: left.lost,
    }
}

/// LOCAL_PREF as the decision sees it.
pub(crate) fn local_pref(attributes: &Attributes) -> u32 {
    attributes.local_pref.unwrap_or(LOCAL_PREF_DEFAULT)
}

/// The degree of preference of a path that came without one, and what goes to internal peers then.
pub(crate) const LOCAL_PREF_DEFAULT: u32 = 100;

/// The paths that reached step f, in the order of steps f to g, so that the first is the best.
fn multipath(candidates: &[Candidate<'_>], mut equal: Indices, max: usize) -> SmallVec<[usize; 4]> {
    equal.sort_by_key(|&index| {
        let c = &candidates[index];
        (c.originator(), c.attributes.cluster_list.len(), c.address())
    });
    let mut chosen: SmallVec<[usize; 4]> = SmallVec::new();
    for index in equal {
        let next_hop = candidates[index].attributes.next_hop;
        let known = |&other: &usize| candidates[other].attributes.next_hop == next_hop;
        if !chosen.iter().any(known) && chosen.len() < max.max(1) {
            chosen.push(index);
        }
    }
    chosen
}

type Indices = SmallVec<[usize; 8]>;

/// What is left under consideration.
struct Left<'a> {
    candidates: &'a [Candidate<'a>],
    indices: Indices,
    lost: SmallVec<[Option<Reason>; 4]>,
}

impl Left<'_> {
    fn keep(&mut self, test: impl Fn(&Candidate<'_>) -> Result<(), Reason>) {
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
        key: impl Fn(&Candidate<'_>) -> K,
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
        let lowest = |c: &Candidate<'_>| {
            let same = considered.iter().map(|&other| &candidates[other]);
            same.filter(|other| other.neighbour_as() == c.neighbour_as())
                .map(Candidate::med)
                .min()
        };
        self.keep(|c| match lowest(c) {
            Some(best) if best < c.med() => Err(Reason::Med(c.med(), best)),
            _ => Ok(()),
        });
    }
}

impl Candidate<'_> {
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

    /// `None` for a path that began in our own AS.
    fn neighbour_as(&self) -> Option<u32> {
        self.attributes.as_path.first_as()
    }

    fn med(&self) -> u32 {
        self.attributes.med.unwrap_or(0)
    }

    fn originator(&self) -> Ipv4Addr {
        match self.provenance {
            Provenance::Local => Ipv4Addr::UNSPECIFIED,
            Provenance::Peer { router_id, .. } => {
                self.attributes.originator_id.unwrap_or(router_id)
            }
        }
    }

    fn address(&self) -> IpAddr {
        match self.provenance {
            Provenance::Local => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Provenance::Peer { address, .. } => address,
        }
    }
}

/// In the words of RFC 4271 §9.1.2.2.
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Ineligible(verdict) => verdict.fmt(f),
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
