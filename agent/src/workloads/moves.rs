//! Workloads that move: their phases go on with time, with migrations, and with what is heard.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use caracal_fib::{Change, Standing};
use tracing::{info, warn};

use super::{State, Workload, Workloads};
use crate::announcements::Announcement;
use crate::migration::question::Question;
use crate::migration::{self, Facts, Phase, Routed};

impl Workloads {
    /// Looks at every workload again, because time has passed or something around them has changed.
    pub(crate) fn move_on(&self, now: Instant) {
        let mut state = self.state();
        let devices: Vec<String> = state.known.keys().cloned().collect();
        let mut moved = false;
        let mut changes = Vec::new();
        for device in devices {
            let before = state.phases.get(&device).copied();
            changes.extend(state.tell(&self.node, &device, now));
            moved |= before != state.phases.get(&device).copied();
        }
        // Told while nobody else can tell the FIB what was true before.
        if !changes.is_empty() {
            self.dataplane.apply(changes);
        }
        drop(state);
        if moved {
            self.tell_changed();
        }
    }

    /// When time alone changes something.
    pub(crate) fn next_move(&self) -> Option<Instant> {
        let state = self.state();
        let ends = state.phases.values().filter_map(|phase| phase.until());
        ends.min()
    }

    /// Those who are to be asked now whether they run here, each once.
    pub(crate) fn take_questions(&self, now: Instant) -> Vec<Question> {
        let mut state = self.state();
        let questions = std::mem::take(&mut state.questions);
        for question in &questions {
            if let Some(phase) = state.phases.get_mut(&question.device) {
                *phase = phase.asked_at(now);
            }
        }
        questions
    }

    /// Somebody is to come here.
    pub(crate) fn awaits_any(&self) -> bool {
        let state = self.state();
        state.phases.values().any(|phase| phase.is_expected())
    }

    /// Somebody speaks on a device of this node.
    pub(crate) fn heard(&self, announcement: Announcement, now: Instant) {
        let mut state = self.state();
        let State {
            known,
            phases,
            doubted,
            ..
        } = &mut *state;
        let mut arrived = false;
        for (device, phase) in phases.iter_mut().filter(|(_, p)| p.is_expected()) {
            let Some(workload) = known.get(device) else {
                continue;
            };
            match announcement.is_of(device, workload.mac, &workload.addresses) {
                Some(Ok(())) => {
                    info!("workload {}: is heard on {device}", workload.name());
                    *phase = phase.heard();
                    arrived = true;
                }
                // Once each: whoever forges frames could fill the log.
                Some(Err(elsewhere)) if doubted.insert((device.clone(), elsewhere.to_owned())) => {
                    warn!(
                        "workload {}: is announced on {elsewhere}, but its device is {device}; not believed",
                        workload.name()
                    );
                }
                Some(Err(_)) | None => {}
            }
        }
        drop(state);
        if arrived {
            self.tell_changed();
            self.move_on(now);
        }
    }

    /// Of these addresses, `outranked` are announced by other nodes as those of workloads that have just come there; the
    /// others are not.
    pub(crate) fn set_outranked(&self, of: &[IpAddr], outranked: &BTreeSet<IpAddr>, now: Instant) {
        let mut state = self.state();
        let before = state.outranked.clone();
        state.outranked.retain(|address| !of.contains(address));
        state.outranked.extend(outranked);
        let changed = state.outranked != before;
        drop(state);
        if changed {
            self.move_on(now);
        }
    }

    /// Addresses of workloads that have just come here.
    pub(crate) fn elevated(&self) -> BTreeSet<IpAddr> {
        let state = self.state();
        let just_come = state
            .known
            .values()
            .filter(|known| state.phase(known).is_elevated());
        just_come
            .flat_map(|known| known.addresses.iter().copied())
            .collect()
    }
}

impl State {
    pub(super) fn phase(&self, workload: &Workload) -> Phase {
        let phase = self.phases.get(&workload.device).copied();
        phase.unwrap_or_default()
    }

    /// Takes a workload's phase further; what the FIB has to be told of it, if it does not know it yet.
    pub(super) fn tell(&mut self, node: &str, device: &str, now: Instant) -> Option<Change> {
        // Whatever the kernel has stays until enough is known to say better.
        let surroundings = self.surroundings.as_ref()?;
        let workload = self.known.get(device)?;
        let namespace = workload.key.namespace.as_deref().unwrap_or_default();
        let migrations = surroundings.migrations.iter();
        let role = migration::role(
            migrations,
            node,
            namespace,
            &workload.ifname,
            &workload.identity,
        );
        let had = |address: &IpAddr| self.routed_before.contains(&(device.to_owned(), *address));
        let route = match self.told.get(device) {
            Some(told) if told.standing == Standing::Awaited => Routed::No,
            Some(_) => Routed::Yes,
            None if workload.addresses.iter().any(had) => Routed::Before,
            None => Routed::No,
        };
        let v4 = workload.addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let facts = Facts {
            role,
            route,
            can_answer: surroundings.hears && v4.is_some(),
        };
        let mut before = self.phase(workload);
        // Nobody's patience ends before he was asked.
        if self.questions.iter().any(|asked| asked.device == device) {
            before = before.asked_at(now);
        }
        let phase = before.next(facts, now, surroundings.convergence);
        let was_asked = |phase: Phase| matches!(phase, Phase::Asked { until: Some(_), .. });
        if was_asked(phase) && !was_asked(before) {
            self.questions.extend(v4.map(|address| Question {
                device: device.to_owned(),
                mac: workload.mac,
                address,
            }));
        }
        let outranked = workload
            .addresses
            .iter()
            .any(|a| self.outranked.contains(a));
        let mut endpoint = workload.endpoint(surroundings.may_spoof);
        endpoint.standing = phase.standing(outranked);
        match phase {
            Phase::Settled => drop(self.phases.remove(device)),
            phase => drop(self.phases.insert(device.to_owned(), phase)),
        }
        if self.told.get(device) == Some(&endpoint) {
            return None;
        }
        self.routed_before.retain(|(known, _)| known != device);
        self.told.insert(device.to_owned(), endpoint.clone());
        Some(Change::SetEndpoint(device.to_owned(), endpoint))
    }

    /// Its device is another workload's now, or it has other addresses.
    pub(super) fn replaced(&mut self, before: &Workload) {
        let now = self.known.get(&before.device);
        let has = |address: &IpAddr| now.is_some_and(|now| now.addresses.contains(address));
        let gone: Vec<IpAddr> = before
            .addresses
            .iter()
            .copied()
            .filter(|a| !has(a))
            .collect();
        self.outranked.retain(|address| !gone.contains(address));
    }

    /// It is not here any more.
    pub(super) fn untell(&mut self, workload: &Workload) {
        self.phases.remove(&workload.device);
        self.doubted
            .retain(|(device, _)| *device != workload.device);
        self.told.remove(&workload.device);
        self.routed_before
            .retain(|(device, _)| *device != workload.device);
        self.outranked
            .retain(|address| !workload.addresses.contains(address));
    }
}
