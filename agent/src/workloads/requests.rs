//! What the CNI plugin asks for, from the address to the kernel's acknowledgement.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use caracal_agent_api::{
    CniAdd, CniAddReply, CniAddress, CniAttached, CniDel, CniDelReply, CniGc, CniGcReply,
};
use caracal_datastore::Key;
use ipnet::IpNet;
use sha1::{Digest, Sha1};
use tracing::{info, warn};

use super::{Workload, Workloads, mac_text, parse_mac, record};
use crate::ways::Pool;

/// How long ADD waits for the kernel.
const KERNEL_PATIENCE: Duration = Duration::from_secs(10);
/// The interface that every pod has; those of other networks have other names.
pub(super) const FIRST_INTERFACE: &str = "eth0";
/// The gateway of every pod (IPv4); the host side answers for it by proxy ARP.
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));
/// The gateway of every pod (IPv6): link-local of the host side's MAC ee:ee:ee:ee:ee:ee.
pub(super) const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(
    0xfe80, 0, 0, 0, 0xecee, 0xeeff, 0xfeee, 0xeeee,
));

/// Why a request of the plugin is not done.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Refusal {
    /// It is wrong and will stay wrong.
    #[error("{0}")]
    Wrong(String),
    /// It may work later.
    #[error("{0}")]
    Later(String),
}

impl Workloads {
    /// STATUS: an error while no pod can be added.
    pub(crate) fn status(&self) -> Result<(), Refusal> {
        let state = self.state();
        let circumstances = &state.circumstances;
        if !circumstances.datastore_in_sync {
            return Err(Refusal::Later(format!(
                "node {}: the datastore has not been read yet",
                self.node
            )));
        }
        if !circumstances.pools.iter().any(Pool::may_assign) {
            return Err(Refusal::Later(format!(
                "node {}: there is no usable enabled IPPool",
                self.node
            )));
        }
        Ok(())
    }

    /// First half of ADD.
    pub(crate) async fn add(&self, request: &CniAdd) -> Result<CniAddReply, Refusal> {
        self.status()?;
        let _turn = self.turn(&request.container_id).await;
        let pod = request.namespace.as_deref().zip(request.pod.as_deref());
        let device = device_name(pod, &request.container_id, &request.ifname);
        if let Some(known) = self.known_container(&request.container_id, &request.ifname) {
            return Ok(self.reply(&known, true));
        }
        let (container, network) = (&request.container_id, &request.network);
        // Its addresses have one handle, so a second interface would get the addresses of the first.
        if let Some(other) = self.interface_on(container, network)
            && other != request.ifname
        {
            return Err(Refusal::Wrong(format!(
                "container {container}: interface {}: {other} is on network {network} already",
                request.ifname
            )));
        }
        let workload_key = record::key(&self.node, request);
        let wishes = self.wishes(request).await?;
        let assigned = self.assign(request, &wishes).await?;
        let workload = Workload {
            key: workload_key,
            network: Some(request.network.clone()),
            container_id: request.container_id.clone(),
            ifname: request.ifname.clone(),
            namespace: request.namespace.clone(),
            pod: request.pod.clone(),
            device,
            addresses: assigned.iter().map(|assigned| assigned.address).collect(),
            mac: wishes.mac.unwrap_or_default(),
            allowed_sources: Vec::new(),
            identity: record::identity_of(request),
            recorded: false,
        };
        let reply = self.reply(&workload, false);
        self.state().promised.insert(
            (request.container_id.clone(), request.ifname.clone()),
            workload,
        );
        Ok(reply)
    }

    /// Second half of ADD: returns when the kernel has the endpoint and the datastore its record.
    pub(crate) async fn attached(&self, request: &CniAttached) -> Result<(), Refusal> {
        let _turn = self.turn(&request.container_id).await;
        let mac = parse_mac(&request.mac).ok_or_else(|| {
            Refusal::Wrong(format!(
                "container {}: {:?} is no MAC address",
                request.container_id, request.mac
            ))
        })?;
        let place = (request.container_id.clone(), request.ifname.clone());
        let promised = self.state().promised.get(&place).cloned();
        let workload = match promised.or_else(|| self.known_container(&place.0, &place.1)) {
            Some(workload) => Workload { mac, ..workload },
            None => {
                let id = &request.container_id;
                return Err(Refusal::Later(format!(
                    "container {id}: no address was asked for since the agent started; add it again"
                )));
            }
        };
        self.insert(workload.clone());
        let (in_kernel, recorded) = tokio::join!(
            self.dataplane.settled(&workload.device, KERNEL_PATIENCE),
            record::write(&*self.store, &self.node, &workload),
        );
        let outcome = match (in_kernel, recorded) {
            (Ok(()), Ok(())) => Ok(()),
            (Err(fault), _) => Err(Refusal::Later(format!(
                "container {}: {fault}",
                request.container_id
            ))),
            (_, Err(fault)) => Err(Refusal::Later(format!(
                "container {}: {fault}",
                request.container_id
            ))),
        };
        match &outcome {
            Ok(()) => {
                let mut state = self.state();
                state.promised.remove(&place);
                if let Some(known) = state.known.get_mut(&workload.device) {
                    known.recorded = true;
                }
                info!(
                    "workload {}: attached {} with {:?}",
                    workload.name(),
                    workload.device,
                    workload.addresses
                );
            }
            // The plugin will undo the ADD with a DEL, which finds the workload here.
            Err(fault) => warn!("{fault}"),
        }
        outcome
    }

    /// DEL: idempotent. The endpoint leaves the FIB first, then the address is free again.
    pub(crate) async fn del(&self, request: &CniDel) -> Result<CniDelReply, Refusal> {
        self.del_if(request, || true).await
    }

    /// DEL, if it is still wanted when it is this container's turn: the plugin may have delivered a recorded DEL itself,
    /// and the same container been added anew, since somebody read the record.
    pub(crate) async fn del_if(
        &self,
        request: &CniDel,
        still_wanted: impl FnOnce() -> bool + Send,
    ) -> Result<CniDelReply, Refusal> {
        let _turn = self.turn(&request.container_id).await;
        if !still_wanted() {
            return Ok(CniDelReply::default());
        }
        let later = |fault: &dyn std::fmt::Display| {
            Refusal::Later(format!("container {}: {fault}", request.container_id))
        };
        let known = self.forget(&request.container_id, &request.ifname);
        let place = (request.container_id.clone(), request.ifname.clone());
        let finished = known.is_none() && self.state().finished.contains(&place);
        let recorded = match finished {
            true => record::Removed::default(),
            false => record::remove(
                &*self.store,
                &self.node,
                &request.container_id,
                &request.ifname,
                &request.network,
                self.records_of(known.as_ref()),
            )
            .await
            .map_err(|fault| later(&fault))?,
        };
        let workload = known.or(recorded.removed);
        // A second interface on a network is refused, and the runtime deletes it all the same: the handle is the first's.
        let held = recorded.has_sibling
            || self
                .interface_on(&request.container_id, &request.network)
                .is_some();
        let handle = handle(&request.network, &request.container_id);
        // Memory does not know what was attached before this run and not read yet, or lost when a DEL failed half way.
        let mut addresses = match held {
            true => Vec::new(),
            false => {
                let given = self.ipam.addresses_of(&handle).await;
                given.map_err(|fault| later(&fault))?
            }
        };
        addresses.extend(workload.iter().flat_map(|w| w.addresses.iter().copied()));
        self.retain_unused(&mut addresses);
        if !addresses.is_empty() {
            let whose = format!("container {}", request.container_id);
            self.dataplane.forget(&whose, &addresses).await;
        }
        let released = match held {
            true => Vec::new(),
            false => {
                let released = self.ipam.release_handle(&handle).await;
                released.map_err(|fault| later(&fault))?
            }
        };
        self.state().leaving.remove(&place);
        if !held {
            self.state().finished.insert(place);
        }
        match &workload {
            Some(workload) => info!(
                "workload {}: detached {}, released {released:?}",
                workload.name(),
                workload.device
            ),
            None if released.is_empty() => {}
            None => info!(
                "container {}: nothing is known of it; released {released:?}",
                request.container_id
            ),
        }
        Ok(CniDelReply {
            device: workload.map(|workload| workload.device),
        })
    }

    /// CHECK: what ADD said, if it still stands.
    pub(crate) async fn check(&self, request: &CniDel) -> Result<CniAddReply, Refusal> {
        let id = &request.container_id;
        let known = self.known_container(id, &request.ifname).ok_or_else(|| {
            Refusal::Wrong(format!(
                "container {id}: interface {} is not attached",
                request.ifname
            ))
        })?;
        let patience = Duration::from_secs(2);
        self.dataplane
            .settled(&known.device, patience)
            .await
            .map_err(|fault| Refusal::Wrong(format!("container {id}: {fault}")))?;
        Ok(self.reply(&known, true))
    }

    /// GC: everything of this network on this node that the runtime no longer knows is released.
    pub(crate) async fn gc(&self, request: &CniGc) -> Result<CniGcReply, Refusal> {
        let valid: HashSet<(&str, &str)> = request
            .valid
            .iter()
            .map(|(container, ifname)| (container.as_str(), ifname.as_str()))
            .collect();
        let handles = self
            .ipam
            .handles_of_this_node()
            .await
            .map_err(|fault| Refusal::Later(format!("node {}: {fault}", self.node)))?;
        let known: Vec<Workload> = self.state().known.values().cloned().collect();
        // A handle alone does not say where the network's name ends, so it is taken apart only where nothing is known of
        // the container; IDs of containers have no dots.
        let prefix = format!("{}.", request.network);
        let in_handles = handles
            .keys()
            .filter_map(|handle| handle.strip_prefix(&prefix))
            .filter(|id| {
                !id.contains('.')
                    && !valid.iter().any(|(valid, _)| valid == id)
                    && !known.iter().any(|known| known.container_id == **id)
            })
            .map(|id| (id.to_owned(), FIRST_INTERFACE.to_owned()));
        let in_memory = known
            .iter()
            .filter(|known| known.network.as_deref() == Some(&request.network))
            .filter(|known| !valid.contains(&(known.container_id.as_str(), known.ifname.as_str())))
            .map(|known| (known.container_id.clone(), known.ifname.clone()));
        let doomed: BTreeSet<(String, String)> = in_handles.chain(in_memory).collect();
        let mut reply = CniGcReply {
            released: Vec::new(),
            devices: Vec::new(),
        };
        for (container_id, ifname) in doomed {
            let request = CniDel {
                container_id: container_id.clone(),
                ifname,
                network: request.network.clone(),
            };
            reply.devices.extend(self.del(&request).await?.device);
            reply.released.push(container_id);
        }
        Ok(reply)
    }

    fn forget(&self, container_id: &str, ifname: &str) -> Option<Workload> {
        let mut state = self.state();
        let place = (container_id.to_owned(), ifname.to_owned());
        let promised = state.promised.remove(&place);
        let device = state
            .known
            .values()
            .find(|known| known.container_id == container_id && known.ifname == ifname)
            .map(|known| known.device.clone());
        let known = device.and_then(|device| self.remove(&mut state, &device, Instant::now()));
        state.gone.insert(place.clone());
        if let Some(workload) = known.or(promised) {
            state.leaving.insert(place.clone(), workload);
        }
        state.leaving.get(&place).cloned()
    }

    /// Where the record of a workload can be: at its key; of one that is not known, where the watch has reported something
    /// that is not in force. `None`: not everything was read yet, so it can be anywhere.
    fn records_of(&self, known: Option<&Workload>) -> Option<Vec<Key>> {
        let state = self.state();
        match known {
            Some(workload) => Some(vec![workload.key.clone()]),
            None if state.circumstances.datastore_in_sync => state.unclear.put_aside(),
            None => None,
        }
    }

    fn known_container(&self, container_id: &str, ifname: &str) -> Option<Workload> {
        let state = self.state();
        state
            .known
            .values()
            .find(|known| known.container_id == container_id && known.ifname == ifname)
            .cloned()
    }

    /// The interface by which a container has, or is promised, this network's addresses.
    fn interface_on(&self, container_id: &str, network: &str) -> Option<String> {
        let state = self.state();
        let mut all = state.known.values().chain(state.promised.values());
        let found = all.find(|workload| {
            workload.container_id == container_id && workload.network.as_deref() == Some(network)
        });
        found.map(|workload| workload.ifname.clone())
    }

    /// Leaves those that no workload has.
    fn retain_unused(&self, addresses: &mut Vec<IpAddr>) {
        let state = self.state();
        let used: BTreeSet<&IpAddr> = state.known.values().flat_map(|w| &w.addresses).collect();
        addresses.retain(|address| !used.contains(address));
        addresses.sort();
        addresses.dedup();
    }

    fn reply(&self, workload: &Workload, attached: bool) -> CniAddReply {
        let address = |address: &IpAddr| CniAddress {
            address: IpNet::from(*address),
            gateway: if address.is_ipv4() {
                GATEWAY_V4
            } else {
                GATEWAY_V6
            },
        };
        CniAddReply {
            device: workload.device.clone(),
            mtu: self.state().circumstances.mtu,
            addresses: workload.addresses.iter().map(address).collect(),
            attached,
            mac: (workload.mac != [0; 6]).then(|| mac_text(&workload.mac)),
        }
    }

    async fn turn(&self, container_id: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = {
            let mut state = self.state();
            // Locks that nobody holds or waits for are of no use any more.
            state.locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            state
                .locks
                .entry(container_id.to_owned())
                .or_default()
                .clone()
        };
        lock.lock_owned().await
    }
}

/// `cali` and the first 11 hex digits of SHA-1 of `namespace.pod`, as Calico names them; of a pod's further interfaces, which
/// Calico has none of, of `namespace.pod/interface`; without Kubernetes of the
/// container and its interface.
pub(super) fn device_name(pod: Option<(&str, &str)>, container_id: &str, ifname: &str) -> String {
    let text = match pod {
        Some((namespace, pod)) if ifname == FIRST_INTERFACE => format!("{namespace}.{pod}"),
        // No name of a pod has a slash.
        Some((namespace, pod)) => format!("{namespace}.{pod}/{ifname}"),
        None => format!("{container_id}.{ifname}"),
    };
    let digest: String = Sha1::digest(text.as_bytes())
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    format!("cali{}", &digest[..11])
}

pub(super) fn handle(network: &str, container_id: &str) -> String {
    format!("{network}.{container_id}")
}
