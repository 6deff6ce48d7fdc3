//! The one loop: take what is new, mark what it touches, apply once a round.

use std::net::IpAddr;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use caracal_bgp::{Event, Speaker, SpeakerConfig, Time};
use caracal_bgp_net::{PathWatch, Shell, Unnumbered, UnnumberedConfig, monitor, recorder};
use caracal_datastore::ipam::Ipam;
use caracal_datastore::{Datastore, TypedStore, WatchEvent, Watcher};
use caracal_fib::{Change, Fib, Gate};
use caracal_filter::{Filter, Rules};
use caracal_peering::export_policy;
use ipnet::IpNet;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cluster::{Cluster, Touched, WATCHED};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::plan::{self, Own, Plan, condition};
use crate::shared::{Shared, Snapshot};
use crate::tunnels::Tended;
use crate::workloads::dataplane::Kernel;
use crate::workloads::{Circumstances, Surroundings, Workloads};
use crate::{filtering, mtu_file, server, settings, ways};

mod difference;
mod gate;
mod moves;
mod registration;
mod sessions;
mod tender;
mod watching;

use watching::{News, Watching};

/// Prefixes that one round takes out of the Loc-RIB at most, so that nobody waits long for the speaker.
const PREFIXES_A_ROUND: usize = 4096;
/// RFC 4724 §4.1 Selection_Deferral_Timer, for each peer by itself.
const SELECTION_DEFERRAL: Duration = Duration::from_secs(120);
/// Paths of one multipath route.
const MULTIPATH_MAX: usize = 8;

/// Starts everything, runs until a signal, and leaves forwarding in place.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let mut stop = Signals::new()?;
    let (socket, _socket_file) = server::claim(&config.socket).await?;
    let http = match config.http.listen.0 {
        Some(address) => Some(server::listen(address).await?),
        None => None,
    };
    let store = config.datastore.open().await?;
    let registered = registration::register(&config, &TypedStore(store.clone())).await?;
    let fib = Fib::start(config.fib())
        .await
        .context("cannot work on the kernel's routes")?;
    let felix =
        settings::at_start(&TypedStore(store.clone()), &config.nodename, &config.felix).await;
    fib.apply(vec![Change::SetSettings(settings::of_fib(&felix))]);
    let filter = Filter::start().context("cannot work on the kernel's packet filter")?;
    // Routes with our signature from before mean that this is a restart, which peers help with (RFC 4724).
    let restarting = fib.status().borrow().actual > 0;
    let mut speaker = Speaker::new(
        SpeakerConfig {
            cluster_id: registered.identity.cluster_id,
            hostname: Some(config.nodename.clone()),
            software: Some(concat!("Caracal ", env!("CARGO_PKG_VERSION")).to_owned()),
            seed: seed(&config.nodename),
            restarting,
            selection_deferral: SELECTION_DEFERRAL,
            multipath_max: MULTIPATH_MAX,
            ..SpeakerConfig::new(registered.identity.asn, registered.identity.router_id)
        },
        Time::ZERO,
    );
    let listen = if config.bgp.listen.is_empty() {
        &registered.identity.listen
    } else {
        &config.bgp.listen
    };
    let recording = match &config.bgp.record {
        Some(path) => Some(
            recorder::begin(&mut speaker, Time::ZERO, path)
                .with_context(|| format!("bgp.record: {}", path.display()))?,
        ),
        None => None,
    };
    let shell = Shell::start(speaker, listen)?;
    if let Some(recording) = recording {
        shell.record(recording).await?;
    }
    let identity = monitor::Identity {
        name: config.nodename.clone(),
        description: concat!("Caracal ", env!("CARGO_PKG_VERSION")).to_owned(),
        asn: registered.identity.asn,
        router_id: registered.identity.router_id,
    };
    let monitoring = shell.monitor(config.bgp.monitor(), identity).await?;
    let watch = PathWatch::start(&shell, seed(&config.nodename)).context("cannot start BFD")?;
    let ipam = Arc::new(Ipam::new(store.clone(), config.nodename.clone()));
    let workloads = Workloads::new(
        config.nodename.clone(),
        store.clone(),
        ipam.clone(),
        Arc::new(Kernel {
            fib: fib.clone(),
            filter: filter.clone(),
        }),
    );
    let routes = fib.routes().await?;
    workloads.begin_with(routes.iter().filter_map(moves::workload));
    let watcher = store
        .watch(&WATCHED)
        .await
        .context("cannot watch the datastore")?;
    info!(
        node = config.nodename,
        router_id = %registered.identity.router_id,
        restarting,
        "started; {}",
        registered.explanation
    );
    let shared = Arc::new(Shared {
        started: Instant::now(),
        addresses: registered.addresses,
        router_id: registered.identity.router_id,
        shell,
        monitoring,
        watch,
        links: tokio::sync::Mutex::default(),
        fib,
        filter,
        ipam,
        workloads,
        metrics: Metrics::new()?,
        snapshot: RwLock::new(Snapshot {
            asn: registered.identity.asn,
            ..Snapshot::default()
        }),
        config,
    });
    tokio::spawn(server::serve_socket(socket, shared.clone()));
    if let Some(http) = http {
        tokio::spawn(server::serve_http(http, shared.clone()));
    }
    let mut node = Node::new(shared.clone(), store, watcher);
    node.plan.felix = felix;
    let ended = tokio::select! {
        ended = node.run() => ended,
        signal = stop.next() => {
            info!("{signal}: ending; forwarding stays as it is");
            Ok(())
        }
    };
    // First, so that nobody takes our silence for a failure.
    shared.watch.stop().await;
    shared.shell.stop(true).await;
    shared.monitoring.ended().await;
    ended
}

/// Next hops, with their network devices where their addresses need them.
type NextHops = Vec<(IpAddr, Option<String>)>;

/// The loop's own state.
struct Node {
    shared: Arc<Shared>,
    watching: Watching,
    /// No watch is in sync any more.
    away: bool,
    cluster: Cluster,
    plan: Plan,
    /// Peers whose routes from before the restart are still expected.
    awaited: Vec<IpAddr>,
    /// What the tender works with.
    wishes: watch::Sender<tender::Wishes>,
    /// Tunnel addresses that it has got.
    assigned: watch::Receiver<Tended>,
    restart_finished: bool,
    plan_dirty: bool,
    gate: Gate,
    /// While some workload is to come here.
    listener: moves::Hearing,
    leaving: filtering::Leaving,
}

impl Node {
    fn new(shared: Arc<Shared>, store: Arc<dyn Datastore>, watcher: Watcher) -> Node {
        let wishes = watch::Sender::new(tender::Wishes::default());
        let (assigned, assigned_receiver) = watch::channel(Tended::default());
        tokio::spawn(tender::run(
            shared.clone(),
            TypedStore(store.clone()),
            wishes.subscribe(),
            assigned,
        ));
        let cluster = Cluster::new(&shared.config.nodename);
        Node {
            shared,
            watching: Watching::new(store, watcher),
            away: false,
            cluster,
            plan: Plan::default(),
            awaited: Vec::new(),
            wishes,
            assigned: assigned_receiver,
            restart_finished: false,
            plan_dirty: false,
            gate: Gate::Closed,
            listener: moves::Hearing::default(),
            leaving: filtering::Leaving::default(),
        }
    }

    async fn run(mut self) -> anyhow::Result<()> {
        let mut route_changes = self.shared.shell.route_changes();
        let mut bgp_events = self.shared.shell.subscribe();
        let mut fib_status = self.shared.fib.status();
        let mut workload_changes = self.shared.workloads.changes();
        let mut host_mtu = None;
        loop {
            tokio::select! {
                news = self.watching.next() => match news {
                    News::Event(event) => self.take_in(event).await,
                    News::Ended => {
                        self.away = true;
                        self.plan_dirty = true;
                    }
                    News::Again => self.cluster.begin_again(),
                },
                changed = route_changes.changed() => {
                    changed.context("BGP has stopped")?;
                    while self.apply_routes().await? == PREFIXES_A_ROUND {}
                }
                event = bgp_events.recv() => {
                    if matches!(event, Ok(Event::DeferralOver { .. }) | Err(RecvError::Lagged(_))) {
                        self.ask_who_is_awaited().await?;
                    }
                }
                changed = fib_status.changed() => {
                    changed.context("the FIB has stopped")?;
                    let now = fib_status.borrow_and_update().host_mtu;
                    self.plan_dirty |= host_mtu != now;
                    host_mtu = now;
                }
                changed = self.assigned.changed() => {
                    changed.context("the tender has stopped")?;
                    self.plan_dirty = true;
                }
                changed = workload_changes.changed() => {
                    changed.context("the workloads have stopped")?;
                    self.plan_dirty = true;
                }
                heard = self.listener.next() => self.hear(heard),
                () = moves::until(self.leaving.next()) => self.plan_dirty = true,
                () = moves::until(self.shared.workloads.next_move()) => {
                    self.shared.workloads.move_on(Instant::now());
                }
                () = moves::until(self.shared.workloads.next_read()) => {
                    self.shared.workloads.read_again(Instant::now()).await;
                }
            }
            if self.cluster.in_sync && std::mem::take(&mut self.plan_dirty) {
                self.apply_plan(host_mtu).await?;
            }
            self.apply_gate().await?;
        }
    }

    /// One event and whatever has queued up behind it.
    async fn take_in(&mut self, first: WatchEvent) {
        let mut next = Some(first);
        while let Some(event) = next {
            match self.cluster.handle(event) {
                Touched::Plan => self.plan_dirty = true,
                Touched::Block(cidr) => self.plan_dirty |= self.has_address_in(&cidr),
                Touched::Workload(key, node) => {
                    self.shared
                        .workloads
                        .handle_report(&key, node.as_deref(), Instant::now())
                        .await;
                }
                Touched::Everything => {
                    self.away = false;
                    self.plan_dirty = true;
                    self.shared.workloads.read_everything(Instant::now()).await;
                }
                Touched::Nothing => {}
            }
            next = self.watching.waiting();
        }
    }

    /// Of a workload or a tunnel.
    fn has_address_in(&self, cidr: &IpNet) -> bool {
        let tunnels = self.plan.tunnel_addresses();
        tunnels.iter().any(|address| cidr.contains(address))
            || self.shared.workloads.has_address_in(cidr)
    }

    /// Whoever is waited for is asked of the speaker, not summed up from events, of which a slow reader loses some.
    async fn ask_who_is_awaited(&mut self) -> anyhow::Result<()> {
        self.awaited = self
            .shared
            .shell
            .with(|speaker, now| awaited(speaker, now))
            .await
            .context("BGP has stopped")?;
        Ok(())
    }

    /// Makes the plan anew and carries out how it differs from the last.
    async fn apply_plan(&mut self, host_mtu: Option<u32>) -> anyhow::Result<()> {
        let felix = settings::effective(
            &self.cluster.felix,
            &self.shared.config.nodename,
            &self.shared.config.felix,
        );
        let surroundings = Surroundings {
            may_spoof: filtering::may_spoof(&felix),
            migrations: self.cluster.migrations.values().cloned().collect(),
            convergence: moves::convergence(&felix),
            hears: self.listener.hears(),
        };
        let now = Instant::now();
        self.shared.workloads.set_surroundings(surroundings, now);
        let workloads = self.shared.workloads.addresses();
        let allowed_sources = self.shared.workloads.allowed_sources();
        let elevated = self.shared.workloads.elevated();
        let tended = self.assigned.borrow_and_update().clone();
        let own = Own {
            node: &self.shared.config.nodename,
            addresses: self.shared.addresses,
            workloads: &workloads,
            assigned: tended.assigned,
            mesh_options: &self.shared.config.bgp.mesh_options,
            felix: &self.shared.config.felix,
            allowed_sources: &allowed_sources,
            elevated: &elevated,
        };
        let mut plan = plan::make(&self.cluster, own);
        self.leaving.join(&mut plan.rules, Instant::now());
        plan.conditions.extend(tended.conditions);
        let last = std::mem::replace(&mut self.plan, plan);
        let shell = &self.shared.shell;
        sessions::secure(shell, &last, &mut self.plan).await?;
        self.tell_speaker(&last).await?;
        sessions::release(&self.shared.shell, &last, &self.plan).await?;
        self.tell_links().await?;
        self.shared.fib.apply(difference::of(&last, &self.plan));
        self.shared
            .filter
            .set(match self.shared.config.filter.enabled {
                true => self.plan.rules.clone(),
                false => Rules::default(),
            });
        if last.pools != self.plan.pools {
            self.reroute_everything().await?;
        }
        let mtu = match (self.shared.config.cni.mtu, host_mtu) {
            (0, Some(host_mtu)) => self.plan.pod_mtu(host_mtu),
            (0, None) => self.plan.pod_mtu(1460),
            (configured, _) => configured,
        };
        let too_large = host_mtu.map(|host_mtu| self.plan.too_large_mtus(host_mtu));
        for message in too_large.into_iter().flatten() {
            let condition = condition("TunnelMtuTooLarge", &message);
            self.plan.conditions.push(condition);
        }
        let circumstances = Circumstances {
            datastore_in_sync: true,
            pools: self.plan.pools.clone(),
            tunnel_addresses: self.plan.tunnel_addresses(),
            mtu,
        };
        self.shared.workloads.set_circumstances(circumstances);
        let unclear = self.shared.workloads.conditions();
        self.plan.conditions.extend(unclear);
        self.name_what_is_unknown();
        self.look_for_outranking(workloads).await?;
        self.listen();
        self.write_mtu(mtu);
        let wishes = tender::Wishes::of(&self.plan);
        self.wishes.send_if_modified(|known| {
            let changed = *known != wishes;
            *known = wishes;
            changed
        });
        self.log_changes(&last);
        self.publish();
        Ok(())
    }

    fn name_what_is_unknown(&mut self) {
        let conditions = &mut self.plan.conditions;
        if self.away {
            let message = "the datastore's watch has ended, and the next is not in sync; what is known stays in force";
            conditions.push(condition("DatastoreAway", message));
        }
        if !(self.cluster.complete() && self.shared.workloads.complete()) {
            let message = "routes from before the agent's start that nobody asks for stay until all of the datastore can be read (InvalidResource, WorkloadUnread)";
            conditions.push(condition("DeletionsHeld", message));
        }
    }

    fn write_mtu(&mut self, mtu: u32) {
        let required = self.plan.felix.require_mtu_file == Some(true);
        let config = &self.shared.config;
        let outcome = match &config.cni.mtu_file.0 {
            Some(file) => mtu_file::write(file, mtu, required, &config.mtu_note()),
            None if required => Err("requireMTUFile, but cni.mtuFile is `none`".to_owned()),
            None => Ok(()),
        };
        if let Err(why) = outcome {
            self.plan.conditions.push(condition("MtuFile", &why));
        }
    }

    /// Peers on links are like those of the plan: they get what may leave the node.
    async fn tell_links(&mut self) -> anyhow::Result<()> {
        let shared = &self.shared;
        // The plan names its faults.
        let export = export_policy(&shared.config.nodename, &self.cluster.view, &mut Vec::new());
        for entry in &shared.config.bgp.unnumbered {
            let mut config = UnnumberedConfig::new(&entry.interface, entry.asn, self.plan.asn);
            config.template.export = export.clone();
            let mut links = shared.links.lock().await;
            match links.get(&entry.interface) {
                Some(link) => link.set_template(config.template).await?,
                None => {
                    let link = Unnumbered::start(&shared.shell, config);
                    links.insert(entry.interface.clone(), link);
                }
            }
        }
        Ok(())
    }

    async fn tell_speaker(&mut self, last: &Plan) -> anyhow::Result<()> {
        let gone: Vec<IpAddr> = last
            .peers
            .iter()
            .map(|peer| peer.config.remote_address)
            .filter(|address| self.plan.peer(*address).is_none())
            .collect();
        let peers: Vec<_> = self
            .plan
            .peers
            .iter()
            .filter(|peer| last.peer(peer.config.remote_address) != Some(peer))
            .map(|peer| peer.config.clone())
            .collect();
        let withdrawn: Vec<IpNet> = last
            .originated
            .keys()
            .filter(|prefix| !self.plan.originated.contains_key(prefix))
            .copied()
            .collect();
        let originated: Vec<_> = self
            .plan
            .originated
            .iter()
            .filter(|(prefix, path)| last.originated.get(prefix) != Some(path))
            .map(|(prefix, path)| (*prefix, path.clone()))
            .collect();
        let first = !std::mem::replace(&mut self.restart_finished, true);
        self.awaited = self
            .shared
            .shell
            .with(move |speaker, now| {
                gone.into_iter()
                    .for_each(|address| speaker.remove_peer(now, address));
                originated
                    .into_iter()
                    .for_each(|(prefix, path)| speaker.originate(now, prefix, path));
                withdrawn
                    .into_iter()
                    .for_each(|prefix| speaker.withdraw(now, prefix));
                for config in peers {
                    speaker.set_peer(now, config);
                }
                if first {
                    // Every local path of this restart is there.
                    speaker.finish_restart(now);
                }
                awaited(speaker, now)
            })
            .await
            .context("BGP has stopped")?;
        Ok(())
    }

    /// Takes a portion of Loc-RIB changes to the FIB; returns how many.
    async fn apply_routes(&mut self) -> anyhow::Result<usize> {
        let changed = self
            .shared
            .shell
            .with(|speaker, _| {
                let prefixes = std::iter::from_fn(|| speaker.poll_route_change())
                    .take(PREFIXES_A_ROUND)
                    .collect::<Vec<_>>();
                prefixes
                    .into_iter()
                    .map(|prefix| (prefix, speaker.next_hops_on_devices(&prefix)))
                    .collect::<Vec<_>>()
            })
            .await
            .context("BGP has stopped")?;
        let count = changed.len();
        let hosts = changed.iter().filter_map(|(prefix, _)| moves::host(prefix));
        let own = self.shared.workloads.addresses();
        let hosts = hosts.filter(|host| own.contains(host)).collect();
        self.route(changed);
        self.look_for_outranking(hosts).await?;
        Ok(count)
    }

    async fn reroute_everything(&mut self) -> anyhow::Result<()> {
        let all = self
            .shared
            .shell
            .with(|speaker, _| {
                let prefixes: Vec<IpNet> = speaker
                    .routes()
                    .into_iter()
                    .map(|route| route.prefix)
                    .collect();
                prefixes
                    .into_iter()
                    .map(|prefix| (prefix, speaker.next_hops_on_devices(&prefix)))
                    .collect::<Vec<_>>()
            })
            .await
            .context("BGP has stopped")?;
        self.route(all);
        Ok(())
    }

    fn route(&self, changed: Vec<(IpNet, NextHops)>) {
        if changed.is_empty() {
            return;
        }
        let own: Vec<IpAddr> = self
            .shared
            .addresses
            .networks()
            .map(|net| net.addr())
            .collect();
        let ours = |prefix: &IpNet| self.plan.blackholes.contains(prefix);
        let changes = changed
            .into_iter()
            .filter(|(prefix, _)| !ours(prefix))
            .map(|(prefix, next_hops)| ways::change(prefix, next_hops, &self.plan.pools, &own))
            .collect();
        self.shared.fib.apply(changes);
    }

    /// Opens the gate for deletions as far as is known enough.
    async fn apply_gate(&mut self) -> anyhow::Result<()> {
        let known =
            self.cluster.complete() && self.shared.workloads.complete() && self.restart_finished;
        let gate = gate::now(known, &self.awaited, &self.plan);
        if gate != self.gate {
            // What came before an End-of-RIB is desired before its absence means anything.
            while self.apply_routes().await? == PREFIXES_A_ROUND {}
            self.shared.fib.apply(vec![Change::SetGate(gate.clone())]);
            self.gate = gate;
        }
        Ok(())
    }

    /// One line for each change that an operator may have to explain later.
    fn log_changes(&self, last: &Plan) {
        for prefix in self
            .plan
            .originated
            .keys()
            .filter(|prefix| !last.originated.contains_key(prefix))
        {
            info!("{prefix}: announced");
        }
        for prefix in last
            .originated
            .keys()
            .filter(|prefix| !self.plan.originated.contains_key(prefix))
        {
            info!("{prefix}: no longer announced");
        }
        for condition in self
            .plan
            .conditions
            .iter()
            .filter(|condition| !last.conditions.contains(condition))
        {
            warn!("{}: {}", condition.name, condition.message);
        }
        for condition in last
            .conditions
            .iter()
            .filter(|condition| !self.plan.conditions.contains(condition))
        {
            info!("no longer {}: {}", condition.name, condition.message);
        }
    }

    fn publish(&self) {
        let snapshot = Snapshot {
            asn: self.plan.asn,
            datastore_in_sync: self.cluster.in_sync,
            peer_types: self
                .plan
                .peers
                .iter()
                .map(|peer| (peer.config.remote_address, peer.kind.to_string()))
                .collect(),
            blocks: self.plan.blocks.iter().copied().collect(),
            conditions: self.plan.conditions.clone(),
        };
        *self
            .shared
            .snapshot
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = snapshot;
    }
}

/// Peers whose paths from before the restart are still expected.
fn awaited(speaker: &Speaker, now: Time) -> Vec<IpAddr> {
    let pending = speaker
        .peers(now)
        .into_iter()
        .filter(|peer| peer.deferral_pending);
    pending.map(|peer| peer.address).collect()
}

/// Jitter need not be secret, only different on every node.
fn seed(node: &str) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(node)
}

/// TERM and INT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
