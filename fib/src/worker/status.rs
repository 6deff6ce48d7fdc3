//! What can be seen from outside.

use std::time::Instant;

use super::Worker;
use crate::counters::FibCounters;
use crate::delta::State;
use crate::kernel::Kernel;
use crate::model::{FibStatus, RouteStatus};

impl<K: Kernel> Worker<K> {
    /// Publishes the status, if it has changed.
    pub(super) fn publish(&mut self, now: Instant) {
        if !std::mem::take(&mut self.dirty.status) && self.timing.published.is_some() {
            return;
        }
        self.timing.published = Some(now);
        let status = self.current_status();
        self.status.send_if_modified(|published| {
            let changed = *published != status;
            *published = status;
            changed
        });
    }

    fn current_status(&mut self) -> FibStatus {
        let counts = self.routes.counts();
        // A route that waits for its way is pending and not stale, whatever the kernel still has of it.
        let held = self
            .waiting
            .keys()
            .filter(|prefix| self.routes.actual(&self.key(**prefix)).is_some())
            .count();
        let (kept, unconfirmed) = self.staging.counts();
        let neighbours = [self.neighbours.counts(), self.vtep_neighbours.counts()];
        FibStatus {
            in_sync: self.counters.in_sync,
            desired: counts.desired + self.waiting.len(),
            actual: counts.actual,
            pending: counts.pending
                + self.waiting.len()
                + self.dirty.unresolved()
                + self.sharing.pending()
                + neighbours.iter().map(|n| n.pending).sum::<usize>(),
            failed: counts.failed
                + self.waiting.len()
                + self.sharing.failed()
                + neighbours.iter().map(|n| n.failed).sum::<usize>(),
            stale: counts.stale.saturating_sub(held),
            writes: self.counters.writes,
            repairs: self.counters.repairs,
            nexthop_objects: self.sharing.is_on(),
            objects: self.sharing.objects.counts().actual,
            object_writes: self.sharing.writes,
            object_repairs: self.sharing.repairs,
            resyncs: self.counters.resyncs,
            overruns: self.counters.overruns,
            counters: FibCounters {
                refused: self.refusals.counted.clone(),
                lost_batches: self.counters.lost_batches,
                ..self.repairs.counters.clone()
            },
            contested: self.repairs.contested(),
            host_mtu: self
                .world
                .host_mtu(&self.config.device_prefixes, &self.settings.mtu_devices),
            conditions: self.conditions(),
            tunnels: self.tunnels.statuses().to_vec(),
            kept,
            unconfirmed,
        }
    }

    /// Named conditions with a sentence each.
    fn conditions(&mut self) -> Vec<(String, String)> {
        let mut conditions = Vec::new();
        if let Some(problem) = self.tunnels.ipip_problem() {
            let waiting = self.waiting_for(crate::resolve::IPIP_DEVICE);
            conditions.push((
                "NoIpip".into(),
                format!(
                    "there is no IPIP tunnel: {problem}; {waiting}, direct routes work. \
                     See `ip link show tunl0` and `modprobe ipip`"
                ),
            ));
        }
        if let Some((device, problem)) = self.tunnels.vxlan_problem() {
            let waiting = self.waiting_for(device);
            conditions.push((
                "NoVxlan".into(),
                format!(
                    "there is no VXLAN tunnel: {problem}; {waiting}, direct routes work. \
                     See `ip -d link show {device}`"
                ),
            ));
        }
        conditions.extend(self.staging.conditions());
        if let Some(sentence) = self.wishes.vteps.condition() {
            conditions.push(("VtepContested".into(), sentence));
        }
        if self.staging.counts() != (0, 0) || self.tunnels.any_retires() {
            let strict = self.strict_host_devices();
            if !strict.is_empty() {
                conditions.push((
                    "StrictReversePath".into(),
                    format!(
                        "the encapsulation of a pool changes, and packets that come by another way than they are answered \
                         are dropped by rp_filter of {}. Set it to 2 (or `all` and it to 0) for that time: \
                         `sysctl net.ipv4.conf.{}.rp_filter=2`",
                        strict.join(", "),
                        strict[0]
                    ),
                ));
            }
        }
        if let Some(problem) = &self.writer_problem {
            conditions.push((
                "WriterLost".into(),
                format!(
                    "the kernel takes no routes: {problem}. The socket is opened again until it does; the routes that it \
                     has stay. See `dmesg` and the limits of the process"
                ),
            ));
        }
        for (lane, reason) in &self.lost_sockets {
            conditions.push((
                "SocketLost".into(),
                format!(
                    "the netlink socket for {lane} has failed: {reason}. It is opened again until that succeeds, and then \
                     everything is read. See `dmesg` and the limits of the process"
                ),
            ));
        }
        if let Some(problem) = &self.read_problem {
            conditions.push((
                "KernelUnread".into(),
                format!(
                    "the kernel's routes cannot be read: {}. What is known of them is written on; what others change \
                     unheard is not found before a read succeeds. It is tried again; see `dmesg` and the limits of the \
                     process",
                    problem.reason
                ),
            ));
        }
        if let Some(sentence) = self.sysctls.condition() {
            conditions.push(("SysctlReadOnly".into(), sentence));
        }
        conditions.extend(self.refusal_conditions());
        if let Some(sentence) = self.repairs.condition() {
            conditions.push(("RouteContested".into(), sentence));
        }
        if let Some(sentence) = self.shadow_condition() {
            conditions.push(("RouteShadowed".into(), sentence));
        }
        conditions
    }

    /// How many routes wait for a device, in words.
    fn waiting_for(&self, device: &str) -> String {
        let waiting = self.waiting.values();
        match waiting.filter(|waiting| waiting.is_for(device)).count() {
            0 => "no route waits for it".to_owned(),
            1 => "1 route waits for it".to_owned(),
            many => format!("{many} routes wait for it"),
        }
    }

    /// All routes, in order of prefix.
    pub(super) fn route_statuses(&self) -> Vec<RouteStatus> {
        let name = |index| self.world.name(index);
        let mut all: Vec<RouteStatus> = self
            .routes
            .iter()
            .filter(|(key, ..)| !self.waiting.contains_key(&key.prefix))
            .map(|(key, state, spec, reason)| RouteStatus {
                prefix: key.prefix,
                way: self.sharing.expanded(spec).describe(name),
                metric: key.metric,
                nexthop_id: spec.object(),
                state: match state {
                    State::Installed => "installed",
                    State::Pending => "pending",
                    State::Failed => "failed",
                    State::Stale => "stale",
                }
                .into(),
                reason: reason
                    .map(Into::into)
                    .or_else(|| self.staging.reason(&key.prefix)),
            })
            .collect();
        all.extend(self.waiting.iter().map(|(prefix, waiting)| {
            let key = self.key(*prefix);
            let actual = self.routes.actual(&key);
            RouteStatus {
                prefix: *prefix,
                way: actual.map_or_else(
                    || "none".into(),
                    |spec| self.sharing.expanded(spec).describe(name),
                ),
                metric: key.metric,
                nexthop_id: actual.and_then(|spec| spec.object()),
                state: "pending".into(),
                reason: Some(waiting.to_string()),
            }
        }));
        all.sort_by_key(|status| status.prefix);
        all
    }
}
