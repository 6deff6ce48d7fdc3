//! Addresses for workloads: from IPAM, and never one that a living workload has.

use std::net::IpAddr;

use caracal_agent_api::CniAdd;
use caracal_datastore::ipam::{AssignRequest, Assigned, Purpose};
use tracing::warn;

use super::wishes::Wishes;
use super::{Refusal, Workload, Workloads, handle, record};

/// How often IPAM may give an address that is in use before an ADD is put off.
const ASSIGN_TRIES: usize = 8;

impl Workloads {
    /// Addresses for a container. IPAM's records may have been lost under our feet (a block that somebody deleted): an
    /// address that a living workload has is not given again, and the records of all workloads are mended.
    pub(super) async fn assign(
        &self,
        request: &CniAdd,
        wishes: &Wishes,
    ) -> Result<Vec<Assigned>, Refusal> {
        for _ in 0..ASSIGN_TRIES {
            let assigned = self.assign_once(request, wishes).await?;
            let Some((address, holder)) = self.in_use(&request.container_id, &assigned) else {
                return Ok(assigned);
            };
            let id = &request.container_id;
            warn!(
                "container {id}: IPAM gave {address}, which {holder} has; mending IPAM's records"
            );
            // What is given back is the last to be given again.
            self.give_back(request).await;
            self.reassert().await;
        }
        Err(Refusal::Later(format!(
            "IPAM gives addresses that are in use on node {}",
            self.node
        )))
    }

    async fn assign_once(
        &self,
        request: &CniAdd,
        wishes: &Wishes,
    ) -> Result<Vec<Assigned>, Refusal> {
        let pools = self.state().circumstances.pools.clone();
        let usable = |v4: bool| {
            pools
                .iter()
                .any(|pool| pool.may_assign() && pool.cidr.addr().is_ipv4() == v4)
        };
        let request = AssignRequest {
            handle: handle(&request.network, &request.container_id),
            attributes: record::attributes(&self.node, request),
            purpose: Purpose::Workload,
            ..AssignRequest::default()
        };
        let request = wishes.ask(request, usable(true), usable(false));
        let outcome = self.ipam.assign(request).await;
        outcome.map_err(|fault| wishes.refusal(&fault))
    }

    /// An address that another container's workload has, and that workload's name.
    fn in_use(&self, container_id: &str, assigned: &[Assigned]) -> Option<(IpAddr, String)> {
        let state = self.state();
        let given = |address: &IpAddr| assigned.iter().any(|assigned| assigned.address == *address);
        let mut tunnels = state.circumstances.tunnel_addresses.iter();
        if let Some(address) = tunnels.find(|address| given(address)) {
            return Some((*address, "a tunnel of this node".to_owned()));
        }
        let others = state
            .known
            .values()
            .filter(|known| known.container_id != container_id);
        let mut held =
            others.flat_map(|known| known.addresses.iter().map(move |address| (*address, known)));
        let (address, holder) = held.find(|(held, _)| given(held))?;
        Some((address, holder.name()))
    }

    async fn give_back(&self, request: &CniAdd) {
        let handle = handle(&request.network, &request.container_id);
        if let Err(fault) = self.ipam.release_handle(&handle).await {
            warn!("container {}: {fault}", request.container_id);
        }
    }

    /// Makes IPAM's records say again what the workloads of this node have.
    pub(crate) async fn reassert(&self) {
        let known: Vec<Workload> = self.state().known.values().cloned().collect();
        for workload in known {
            let Some(network) = &workload.network else {
                continue;
            };
            let wish = AssignRequest {
                handle: handle(network, &workload.container_id),
                attributes: record::attributes_of(
                    &self.node,
                    workload.namespace.as_deref(),
                    workload.pod.as_deref(),
                ),
                addresses: workload.addresses.clone(),
                ..AssignRequest::default()
            };
            if let Err(fault) = self.ipam.assign(wish).await {
                warn!("workload {}: {fault}", workload.name());
            }
        }
    }
}
