//! From the Loc-RIB to the FIB, where the speaker is: a change is on its way to the kernel in the turn that brought it, and waits
//! for nothing that the loop does.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use caracal_bgp::Speaker;
use caracal_fib::{Change, Fib};
use ipnet::IpNet;
use tokio::sync::Notify;

use super::{Node, moves};
use crate::plan::Plan;
use crate::shared::Shared;
use crate::ways::{self, Pool};

/// What follows the Loc-RIB.
#[derive(Debug)]
pub(super) struct Routing {
    fib: Fib,
    /// Addresses of this node.
    own: Vec<IpAddr>,
    state: Mutex<State>,
    /// There are `moved`.
    moves: Notify,
}

/// What a route depends on but the Loc-RIB.
#[derive(Debug, Default)]
struct State {
    pools: Vec<Pool>,
    blackholes: BTreeSet<IpNet>,
    /// Of local workloads.
    workloads: HashSet<IpAddr>,
    /// Those of them whose routes have changed since the loop looked at them.
    moved: BTreeSet<IpAddr>,
}

/// What the speaker's turn is told of a plan, when it has told the speaker.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) pools: Vec<Pool>,
    pub(super) blackholes: BTreeSet<IpNet>,
    /// From the last plan to this one.
    pub(super) difference: Vec<Change>,
}

impl Routing {
    pub(super) fn new(shared: &Shared) -> Routing {
        Routing {
            fib: shared.fib.clone(),
            own: shared.addresses.networks().map(|net| net.addr()).collect(),
            state: Mutex::default(),
            moves: Notify::new(),
        }
    }

    /// Takes a portion of Loc-RIB changes to the FIB; returns how many.
    pub(super) fn follow(&self, speaker: &mut Speaker) -> usize {
        let prefixes: Vec<IpNet> = std::iter::from_fn(|| speaker.poll_route_change())
            .take(PREFIXES_A_ROUND)
            .collect();
        let mut state = self.state();
        if !state.workloads.is_empty() {
            let hosts = prefixes.iter().filter_map(moves::host);
            let moved: Vec<IpAddr> = hosts
                .filter(|host| state.workloads.contains(host))
                .collect();
            if !moved.is_empty() {
                state.moved.extend(moved);
                self.moves.notify_one();
            }
        }
        let changes = self.routed(&state, speaker, &prefixes);
        if !changes.is_empty() {
            self.fib.apply(changes);
        }
        prefixes.len()
    }

    /// In the turn in which the speaker is told the plan, so that no change of the Loc-RIB is routed by one plan and meets
    /// what the FIB was told by another. When pools change the FIB hears of tunnels and routes at once: by the new tunnels and the old
    /// routes it would close what others still send through.
    pub(super) fn obey(&self, speaker: &Speaker, orders: Orders) {
        let mut state = self.state();
        let everything = state.pools != orders.pools;
        state.pools = orders.pools;
        state.blackholes = orders.blackholes;
        let mut changes = orders.difference;
        if everything {
            let routes = speaker.routes().into_iter();
            let prefixes: Vec<IpNet> = routes.map(|route| route.prefix).collect();
            changes.extend(self.routed(&state, speaker, &prefixes));
        }
        self.fib.apply(changes);
    }

    /// From now on changes of these are told to [`Routing::moved`].
    pub(super) fn set_workloads(&self, workloads: &[IpAddr]) {
        self.state().workloads = workloads.iter().copied().collect();
    }

    /// Addresses of local workloads that peers have announced or taken back, as soon as there are any.
    pub(super) async fn moved(&self) -> Vec<IpAddr> {
        loop {
            let moved = std::mem::take(&mut self.state().moved);
            if !moved.is_empty() {
                return moved.into_iter().collect();
            }
            self.moves.notified().await;
        }
    }

    fn routed(&self, state: &State, speaker: &Speaker, prefixes: &[IpNet]) -> Vec<Change> {
        let learned = prefixes
            .iter()
            .filter(|prefix| !state.blackholes.contains(prefix));
        learned
            .map(|prefix| {
                let next_hops = speaker.next_hops_on_devices(prefix);
                ways::change(*prefix, next_hops, &state.pools, &self.own)
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// From now on.
    pub(super) async fn follow_routes(&self) -> anyhow::Result<()> {
        let routing = self.routing.clone();
        let follower = move |speaker: &mut Speaker| {
            routing.follow(speaker);
        };
        let told = self.shared.shell.follow_routes(follower).await;
        told.context("BGP has stopped")
    }

    /// What has come until now is desired when this returns.
    pub(super) async fn apply_routes(&self) -> anyhow::Result<()> {
        loop {
            let routing = self.routing.clone();
            let follow = move |speaker: &mut Speaker, _| routing.follow(speaker);
            let taken = self.shared.shell.with(follow).await;
            if taken.context("BGP has stopped")? < PREFIXES_A_ROUND {
                return Ok(());
            }
        }
    }

    pub(super) fn orders(&self, last: &Plan) -> Orders {
        Orders {
            pools: self.plan.pools.clone(),
            blackholes: self.plan.blackholes.clone(),
            difference: super::difference::of(last, &self.plan),
        }
    }
}

/// Prefixes that one turn takes out of the Loc-RIB at most, so that no peer waits long for the speaker.
const PREFIXES_A_ROUND: usize = 4096;
