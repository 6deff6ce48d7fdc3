//! What `ipam check` finds, as programs read it. The fields that `calicoctl` has too are called the same, so that a
//! report of either can be given to `ipam release --from-report` of either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use caracal_datastore::ipam::audit::{Finding, audit};
use caracal_datastore::ipam::block;
use caracal_datastore::ipam::collect::{Snapshot, Verdict, judge, siblings};
use caracal_datastore::resources::ClusterInformation;
use caracal_datastore::{BlockAffinity, Datastore, IPAMBlock, IPAMHandle, Stored, TypedStore};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// A report.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Report {
    pub(crate) version: String,
    #[serde(rename = "clusterGUID")]
    pub(crate) cluster_guid: String,
    pub(crate) datastore_locked: bool,
    pub(crate) cluster_information_revision: String,
    pub(crate) cluster_type: String,
    /// By address; more than one when blocks overlap.
    pub(crate) allocations: BTreeMap<String, Vec<Allocation>>,
    /// Handles of which no block holds anything.
    pub(crate) leaked_handles: Vec<String>,
    /// One sentence each, of everything but leaked addresses and handles.
    pub(crate) problems: Vec<String>,
    #[serde(skip)]
    pub(crate) counted: Counted,
}

/// An address that IPAM has given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Allocation {
    pub(crate) ip: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) handle: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sequence_number: Option<u64>,
    /// Not known to be leaked.
    pub(crate) in_use: bool,
    /// Who uses it, why nobody does, or that it is not judged.
    pub(crate) because: String,
    pub(crate) attributes: BTreeMap<String, String>,
}

/// Figures for people.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Blocks with their owners.
    pub(crate) blocks: BTreeMap<IpNet, Option<String>>,
    pub(crate) pools: Vec<IpNet>,
    pub(crate) tunnels: usize,
    pub(crate) load_balancers: usize,
    pub(crate) workloads: usize,
    pub(crate) handles: usize,
    /// Allocations by node.
    pub(crate) nodes: BTreeMap<String, usize>,
    /// Addresses that are used and not given, or in no pool, or used twice.
    pub(crate) unallocated: BTreeMap<IpAddr, String>,
    pub(crate) outside: BTreeMap<IpAddr, String>,
    pub(crate) contested: BTreeMap<IpAddr, String>,
    /// Why nothing is said to be leaked.
    pub(crate) incomplete: Option<String>,
}

impl Report {
    /// Reads everything.
    pub(crate) async fn make(store: &Arc<dyn Datastore>) -> Result<Report, Failure> {
        let snapshot = Snapshot::load(&**store).await?;
        let store = TypedStore(Arc::clone(store));
        let information = store.get::<ClusterInformation>("default").await?;
        let (affinities, _) = store.list::<BlockAffinity>().await?;
        let (handles, _) = store.list::<IPAMHandle>().await?;
        let blocks: Vec<Stored<IPAMBlock>> = snapshot.blocks().cloned().collect();
        let mut report = Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..Report::default()
        };
        if let Some(stored) = information {
            report.datastore_locked = stored.spec.datastore_ready == Some(false);
            report.cluster_guid = stored.spec.cluster_guid.unwrap_or_default();
            report.cluster_type = stored.spec.cluster_type.unwrap_or_default();
            let revision = stored.revision.map(|revision| revision.0);
            report.cluster_information_revision = revision.unwrap_or_default();
        }
        report.count_what_is_given(&snapshot);
        report.count_what_is_used(&snapshot);
        report.add_handles(&snapshot);
        for finding in audit(&blocks, &affinities, &handles) {
            // These are listed by themselves.
            if !matches!(&finding, Finding::HandleCount { handle, .. } if report.leaked_handles.contains(handle))
            {
                report.problems.push(finding.to_string());
            }
        }
        let unreadable = snapshot.unreadable().map(str::to_owned);
        report.problems.extend(unreadable);
        Ok(report)
    }

    fn count_what_is_given(&mut self, snapshot: &Snapshot) {
        let users = snapshot.users();
        self.counted.incomplete = snapshot.incomplete();
        let siblings = siblings(snapshot.blocks());
        for stored in snapshot.blocks() {
            let spec = &stored.spec;
            let owner = spec.affinity.clone();
            self.counted.blocks.insert(spec.cidr, owner);
            for (address, said) in block::allocated(spec) {
                // One that cools down is nobody's.
                let cooling = said.handle_id.is_none() && said.released_at.is_some();
                if cooling {
                    continue;
                }
                if let Some(node) = said.secondary.get("node") {
                    *self.counted.nodes.entry(node.clone()).or_default() += 1;
                }
                let handle = said.handle_id.as_deref().unwrap_or_default();
                if handle.starts_with("lb-") {
                    self.counted.load_balancers += 1;
                }
                let others = siblings.get(handle).map_or(&[][..], Vec::as_slice);
                let verdict = judge(address, said, others, &users);
                let unclear = self.counted.incomplete.is_some();
                let (in_use, because) = match verdict {
                    Verdict::InUse(user) => (true, user),
                    Verdict::Unknown => (true, "of a kind that is not judged".to_owned()),
                    Verdict::Leaked(_) if unclear => {
                        (true, "not everything can be read".to_owned())
                    }
                    Verdict::Leaked(why) => (false, why),
                };
                let ordinal = block::ordinal(&spec.cidr, address).unwrap_or_default();
                let numbers = &spec.sequence_number_for_allocation;
                let allocation = Allocation {
                    ip: address.to_string(),
                    handle: said.handle_id.clone(),
                    sequence_number: numbers.get(&ordinal.to_string()).copied(),
                    in_use,
                    because,
                    attributes: said.secondary.clone(),
                };
                let at = self.allocations.entry(address.to_string());
                at.or_default().push(allocation);
            }
        }
    }

    fn count_what_is_used(&mut self, snapshot: &Snapshot) {
        self.counted.pools = snapshot.pools().map(|(_, cidr)| cidr).collect();
        let tunnels: Vec<(IpAddr, String)> = snapshot.tunnel_addresses().collect();
        let workloads: Vec<(IpAddr, String)> = snapshot.workload_addresses().collect();
        self.counted.tunnels = tunnels.len();
        self.counted.workloads = workloads.len();
        let mut used: BTreeMap<IpAddr, BTreeSet<String>> = BTreeMap::new();
        for (address, user) in tunnels.into_iter().chain(workloads) {
            used.entry(address).or_default().insert(user);
        }
        for (address, users) in used {
            let names: Vec<String> = users.into_iter().collect();
            let user = names.join(", ");
            if names.len() > 1 {
                self.counted.contested.insert(address, user.clone());
            }
            let in_pool = self
                .counted
                .pools
                .iter()
                .any(|pool| pool.contains(&address));
            let given = self.allocations.contains_key(&address.to_string());
            match (in_pool, given) {
                (false, _) => drop(self.counted.outside.insert(address, user)),
                (true, false) => drop(self.counted.unallocated.insert(address, user)),
                (true, true) => {}
            }
        }
        for (what, of) in [
            (
                "is used, but IPAM has not given it",
                &self.counted.unallocated,
            ),
            ("is used, but in no pool", &self.counted.outside),
            ("has several users", &self.counted.contested),
        ] {
            for (address, user) in of {
                self.problems
                    .push(format!("address {address}: {what}: {user}"));
            }
        }
    }

    fn add_handles(&mut self, snapshot: &Snapshot) {
        let plain = |handle: &str| handle.split('\r').next().unwrap_or_default().to_owned();
        let mentioned: BTreeSet<String> = snapshot
            .blocks()
            .flat_map(|stored| block::allocated(&stored.spec))
            .filter_map(|(_, said)| said.handle_id.as_deref().map(plain))
            .collect();
        for (handle, _) in snapshot.handles() {
            self.counted.handles += 1;
            if !mentioned.contains(&plain(handle)) {
                self.leaked_handles.push(handle.to_owned());
            }
        }
        self.leaked_handles.sort();
    }

    /// Addresses that nobody uses.
    pub(crate) fn leaked(&self) -> impl Iterator<Item = &Allocation> {
        let all = self.allocations.values().flatten();
        all.filter(|allocation| !allocation.in_use)
    }

    /// How much is wrong.
    pub(crate) fn problem_count(&self) -> usize {
        self.leaked().count() + self.leaked_handles.len() + self.problems.len()
    }
}
