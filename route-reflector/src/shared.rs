//! What the loop knows and the two faces show.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use caracal_agent_api::{self as api, Condition, Peer, Route, Status, graceful_shutdown_condition};
use caracal_bgp::Speaker;
use caracal_bgp_net::bfd_net::BfdView;
use caracal_bgp_net::monitor::{MonitorView, Monitoring};
use caracal_bgp_net::{PathWatch, Shell};

use crate::desired::Own;
use crate::dynamic::Roster;
use crate::metrics::Metrics;

/// Shared by the loop (which writes) and the servers (which read).
#[derive(Debug)]
pub(crate) struct Shared {
    /// Also while it is not known who else we are.
    name: String,
    started: Instant,
    state: Mutex<State>,
    pub(crate) metrics: Metrics,
}

/// The loop's newest word.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    /// The speaker, once there is one.
    pub(crate) running: Option<Running>,
    pub(crate) datastore_in_sync: bool,
    /// Why there is no speaker yet, or what is not as it should be.
    pub(crate) waiting_for: Option<String>,
    pub(crate) conditions: Vec<Condition>,
}

/// A speaker at work.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) own: Own,
    pub(crate) shell: Shell,
    pub(crate) monitoring: Monitoring,
    pub(crate) watch: PathWatch,
    pub(crate) roster: Arc<Mutex<Roster>>,
}

impl Shared {
    pub(crate) fn new(name: String, metrics: Metrics) -> Shared {
        Shared {
            name,
            started: Instant::now(),
            state: Mutex::default(),
            metrics,
        }
    }

    /// Since the start.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// A copy of the newest word.
    pub(crate) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// Changes it.
    pub(crate) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state));
    }

    /// Why this process is not ready; nothing: it is. A peer that is away is no reason.
    pub(crate) fn not_ready_because(&self) -> Vec<String> {
        let state = self.state();
        let mut reasons: Vec<String> = state.waiting_for.into_iter().collect();
        if !state.datastore_in_sync {
            reasons.push("the datastore has not delivered a complete set yet".to_owned());
        }
        if state.running.is_none() && reasons.is_empty() {
            reasons.push("the speaker has not started yet".to_owned());
        }
        reasons
    }

    pub(crate) async fn peers(&self) -> Vec<Peer> {
        let Some(running) = self.state().running else {
            return Vec::new();
        };
        let views = running
            .shell
            .with(|speaker, now| speaker.peers(now))
            .await
            .unwrap_or_default();
        let roster = lock(&running.roster);
        views
            .into_iter()
            .map(|view| {
                let kind = roster.kind(view.address);
                Peer::of(view, kind)
            })
            .collect()
    }

    pub(crate) async fn routes(&self) -> Vec<Route> {
        let Some(running) = self.state().running else {
            return Vec::new();
        };
        let views = running
            .shell
            .with(|speaker, _| speaker.routes())
            .await
            .unwrap_or_default();
        views.into_iter().map(Route::from).collect()
    }

    pub(crate) async fn status(&self) -> Status {
        self.status_with(&self.peers().await).await
    }

    /// The status, given the peers.
    pub(crate) async fn status_with(&self, peers: &[Peer]) -> Status {
        let state = self.state();
        let unwatched = match &state.running {
            Some(running) => running.watch.problems().await,
            None => Vec::new(),
        };
        let in_shutdown = match &state.running {
            Some(running) => {
                let asked = |speaker: &mut Speaker, _| graceful_shutdown_condition(speaker);
                running.shell.with(asked).await.ok().flatten()
            }
            None => None,
        };
        // It changes under the sessions; without one it is the router id (RFC 4456 §7).
        let cluster_id = state.running.as_ref().and_then(|running| {
            let roster = lock(&running.roster);
            let own = &roster.desired().own;
            own.cluster_id.or(Some(own.router_id))
        });
        let own = state.running.map(|running| running.own);
        let not_ready_because = self.not_ready_because();
        let established = peers
            .iter()
            .filter(|peer| peer.state == "Established")
            .count();
        let mut conditions = state.conditions;
        conditions.extend(in_shutdown);
        let away =
            |peer: &&Peer| peer.state != "Established" && !peer.peer_type.starts_with("dynamic");
        conditions.extend(
            peers
                .iter()
                .filter(away)
                .take(DOWN_NAMED_MAX)
                .map(peer_down),
        );
        conditions.extend(router_id_twice(peers));
        conditions.extend(unwatched.into_iter().take(DOWN_NAMED_MAX).map(|message| {
            let name = "BfdUnavailable".to_owned();
            Condition { name, message }
        }));
        Status {
            node: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: self.started.elapsed().as_secs(),
            ipv4: None,
            ipv6: None,
            asn: own.as_ref().map_or(0, |own| own.asn),
            router_id: own.map(|own| own.router_id),
            cluster_id,
            ready: not_ready_because.is_empty(),
            not_ready_because,
            datastore_in_sync: state.datastore_in_sync,
            peers_established: established,
            peers_configured: peers.len(),
            blocks: Vec::new(),
            endpoints: 0,
            fib: None,
            filter: None,
            conditions,
            monitoring: api::Monitoring::of(self.monitoring()),
        }
    }

    /// BFD as it is now.
    pub(crate) async fn bfd(&self) -> BfdView {
        match self.state().running {
            Some(running) => running.watch.view().await,
            None => BfdView::default(),
        }
    }

    /// Who watches the speaker, as it is now.
    pub(crate) fn monitoring(&self) -> MonitorView {
        let running = self.state().running;
        running.map_or_else(MonitorView::default, |running| running.monitoring.view())
    }

    /// UPDATEs encoded so far.
    pub(crate) async fn updates_encoded(&self) -> u64 {
        let Some(running) = self.state().running else {
            return 0;
        };
        let asked = |speaker: &mut Speaker, _| speaker.updates_encoded();
        running.shell.with(asked).await.unwrap_or_default()
    }

    /// Connections refused so far.
    pub(crate) fn refused_connections(&self) -> u64 {
        self.state()
            .running
            .map_or(0, |running| running.shell.refused_connections())
    }
}

/// A holder that panicked leaves data that is still whole: each change is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn peer_down(peer: &Peer) -> Condition {
    let why = peer
        .last_error
        .as_deref()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    let message = format!(
        "peer {} is {} for {} s{why}",
        peer.name, peer.state, peer.state_seconds
    );
    Condition {
        name: "PeerDown".to_owned(),
        message,
    }
}

/// Two nodes were cloned, or a router id was copied. Sessions of one node over both families are none of that.
fn router_id_twice(peers: &[Peer]) -> Option<Condition> {
    let mut seen = BTreeMap::new();
    let up = peers
        .iter()
        .filter(|peer| peer.state == "Established" && peer.remote_asn == peer.local_asn);
    let (router_id, one, other) = up.into_iter().find_map(|peer| {
        let router_id = peer.router_id?;
        let before = seen.insert((router_id, peer.address.is_ipv4()), peer)?;
        Some((router_id, &before.name, &peer.name))
    })?;
    Some(Condition {
        name: "RouterIdTwice".to_owned(),
        message: format!(
            "peers {one} and {other} have the same router id {router_id}: each takes the routes of the other for its own and ignores \
             them (RFC 4456 §8)"
        ),
    })
}

/// A partition is one story, not a thousand conditions.
const DOWN_NAMED_MAX: usize = 20;
