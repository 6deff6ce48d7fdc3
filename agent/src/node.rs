//! The one loop: take what is new, mark what it touches, apply once a round.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use caracal_bgp::Event;
use caracal_datastore::{LockableDatastore, TypedStore, WatchEvent, Watcher};
use caracal_fib::{Change, Gate};
use caracal_filter::Rules;
use caracal_peering::Transition;
use ipnet::IpNet;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::cluster::{Cluster, Touched};
use crate::plan::{self, Own, Plan, condition};
use crate::shared::Shared;
use crate::tunnels::{Tended, Tunnel};
use crate::workloads::{Circumstances, Surroundings};
use crate::{filtering, mtu_file, settings};

mod difference;
mod gate;
mod leaving;
mod moves;
mod registration;
mod routing;
mod sessions;
mod showing;
mod speaking;
mod start;
mod tender;
mod watching;

pub(crate) use start::run;

use routing::Routing;
use watching::{News, Watching};

/// The loop's own state.
struct Node {
    shared: Arc<Shared>,
    /// Refuses writes while it is locked, which the loop tells it.
    store: Arc<LockableDatastore>,
    watching: Watching,
    /// No watch is in sync any more.
    away: bool,
    cluster: Cluster,
    plan: Plan,
    /// There was a first one.
    planned: bool,
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
    routing: Arc<Routing>,
    leaving: filtering::Leaving,
    /// Sessions that go on until others take their place.
    transition: Transition,
    /// When to look how far those are.
    look_at: Option<Instant>,
}

impl Node {
    fn new(shared: Arc<Shared>, store: Arc<LockableDatastore>, watcher: Watcher) -> Node {
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
            routing: Arc::new(Routing::new(&shared)),
            shared,
            watching: Watching::new(store.clone(), watcher),
            store,
            away: false,
            cluster,
            plan: Plan::default(),
            planned: false,
            awaited: Vec::new(),
            wishes,
            assigned: assigned_receiver,
            restart_finished: false,
            plan_dirty: false,
            gate: Gate::Closed,
            listener: moves::Hearing::default(),
            leaving: filtering::Leaving::default(),
            transition: Transition::default(),
            look_at: None,
        }
    }

    async fn run(mut self) -> anyhow::Result<()> {
        self.follow_routes().await?;
        let routing = self.routing.clone();
        let shell = self.shared.shell.clone();
        let mut bgp_events = shell.subscribe();
        let mut fib_status = self.shared.fib.status();
        let mut workload_changes = self.shared.workloads.changes();
        let mut host_mtu = None;
        let mut tunnels_there = BTreeSet::new();
        loop {
            tokio::select! {
                news = self.watching.next() => match news {
                    News::Event(event) => self.take_in(event),
                    News::Ended => {
                        self.away = true;
                        self.plan_dirty = true;
                    }
                    News::Again => self.cluster.begin_again(),
                },
                moved = routing.moved() => self.look_for_outranking(moved).await?,
                () = shell.stopped() => anyhow::bail!("BGP has stopped"),
                event = bgp_events.recv() => {
                    if matches!(event, Ok(Event::DeferralOver { .. }) | Err(RecvError::Lagged(_))) {
                        self.ask_who_is_awaited().await?;
                    }
                }
                changed = fib_status.changed() => {
                    changed.context("the FIB has stopped")?;
                    let (mtu, there) = {
                        let status = fib_status.borrow_and_update();
                        (status.host_mtu, Tunnel::there(&status.tunnels))
                    };
                    self.plan_dirty |= host_mtu != mtu || tunnels_there != there;
                    (host_mtu, tunnels_there) = (mtu, there);
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
                () = moves::until(self.look_at) => self.look_at_leaving().await?,
                () = moves::until(self.shared.workloads.next_move()) => {
                    self.hear_what_came();
                    self.shared.workloads.move_on(Instant::now());
                }
                () = moves::until(self.shared.workloads.next_read()) => {
                    self.shared.workloads.read_again(Instant::now());
                }
                () = self.shared.workloads.read_through() => {}
            }
            // After a restart the first waits for the workloads: what peers are not told with it, they take for gone.
            let may_plan = self.planned || self.shared.workloads.all_read();
            if self.cluster.in_sync && may_plan && std::mem::take(&mut self.plan_dirty) {
                self.planned = true;
                self.apply_plan(host_mtu, &tunnels_there).await?;
            }
            self.apply_gate().await?;
        }
    }

    /// One event and whatever has queued up behind it.
    fn take_in(&mut self, first: WatchEvent) {
        let mut next = Some(first);
        while let Some(event) = next {
            match self.cluster.handle(event) {
                Touched::Plan => self.plan_dirty = true,
                Touched::Block(cidr) => self.plan_dirty |= self.has_address_in(&cidr),
                Touched::Workload(key, node) => {
                    self.shared.workloads.handle_report(&key, node.as_deref());
                }
                Touched::WorkloadGone(key) => self.shared.workloads.handle_deletion(&key),
                Touched::Everything => {
                    self.away = false;
                    self.plan_dirty = true;
                    self.shared.workloads.read_everything();
                }
                Touched::Nothing => {}
            }
            next = self.watching.waiting();
        }
        // What it was found to be at the start stands until a watch has told everything.
        if self.cluster.in_sync {
            self.store.set_locked(self.cluster.locked);
        }
    }

    /// Of a workload or a tunnel.
    fn has_address_in(&self, cidr: &IpNet) -> bool {
        let tunnels = self.plan.tunnel_addresses();
        tunnels.iter().any(|address| cidr.contains(address))
            || self.shared.workloads.has_address_in(cidr)
    }

    /// Makes the plan anew and carries out how it differs from the last.
    async fn apply_plan(
        &mut self,
        host_mtu: Option<u32>,
        tunnels_there: &BTreeSet<Tunnel>,
    ) -> anyhow::Result<()> {
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
        self.hear_what_came();
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
            tunnels_there,
            mesh_options: &self.shared.config.bgp.mesh_options,
            felix: &self.shared.config.felix,
            allowed_sources: &allowed_sources,
            elevated: &elevated,
        };
        let mut plan = plan::make(&self.cluster, own);
        self.leaving.join(&mut plan.rules, Instant::now());
        plan.conditions.extend(tended.conditions);
        self.keep_leaving(&mut plan);
        let last = std::mem::replace(&mut self.plan, plan);
        let shell = &self.shared.shell;
        sessions::secure(shell, &last, &mut self.plan).await?;
        self.tell_speaker(&last).await?;
        sessions::release(&self.shared.shell, &last, &self.plan).await?;
        self.tell_links().await?;
        let filter = &self.shared.filter;
        match self.shared.config.filter.enabled {
            false => filter.set(Rules::default()),
            true if self.cluster.complete_for_filter() => filter.set(self.plan.rules.clone()),
            true => filter.set_and_keep(self.plan.rules.clone()),
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
        self.routing.set_workloads(&workloads);
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

    /// Opens the gate for deletions as far as is known enough.
    async fn apply_gate(&mut self) -> anyhow::Result<()> {
        let known =
            self.cluster.complete() && self.shared.workloads.complete() && self.restart_finished;
        let gate = gate::now(known, &self.awaited, &self.plan);
        if gate != self.gate {
            // What came before an End-of-RIB is desired before its absence means anything.
            self.apply_routes().await?;
            self.shared.fib.apply(vec![Change::SetGate(gate.clone())]);
            self.gate = gate;
        }
        Ok(())
    }
}
