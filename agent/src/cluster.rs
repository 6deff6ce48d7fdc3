//! The cluster as the datastore's watch tells it: typed, whole, and without memory of the order of the news.

use std::collections::BTreeMap;

use caracal_datastore::resources::{
    BlockAffinity, FelixConfiguration, IPAMBlock, LiveMigration, Resource,
};
use caracal_datastore::{Key, Kind, Object, StoreError, Stored, WatchEvent};
use caracal_peering::{PeerOptions, View};

/// What the agent watches. WorkloadEndpoints are kept by [`crate::workloads`], handles by IPAM.
pub(crate) const WATCHED: [Kind; 11] = [
    Kind::Node,
    Kind::IPPool,
    Kind::BGPConfiguration,
    Kind::BGPPeer,
    Kind::BGPFilter,
    Kind::IPAMBlock,
    Kind::BlockAffinity,
    Kind::WorkloadEndpoint,
    Kind::FelixConfiguration,
    Kind::LiveMigration,
    Kind::Secret,
];

/// Everything that concerns this node and that the plan is made from.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) in_sync: bool,
    /// What decides about BGP.
    pub(crate) view: View,
    pub(crate) affinities: BTreeMap<String, Stored<BlockAffinity>>,
    pub(crate) blocks: BTreeMap<String, Stored<IPAMBlock>>,
    /// `default` and `node.<node>` of all nodes.
    pub(crate) felix: BTreeMap<String, Stored<FelixConfiguration>>,
    /// By namespace and name.
    pub(crate) migrations: BTreeMap<(String, String), Stored<LiveMigration>>,
    /// Objects whose newest state makes no sense; their last good state stands.
    invalid: BTreeMap<Key, String>,
    /// What the datastore itself cannot read.
    faults: Vec<String>,
}

/// What an event touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touched {
    /// The plan must be made again.
    Plan,
    /// A WorkloadEndpoint, of the node named if there still is one: look at the store.
    Workload(Key, Option<String>),
    /// Nothing that matters to us.
    Nothing,
}

impl Cluster {
    /// Takes one event in.
    pub(crate) fn handle(&mut self, event: WatchEvent) -> Touched {
        match event {
            WatchEvent::Set(object) => self.set(&object),
            WatchEvent::Deleted(key) => self.delete(&key),
            WatchEvent::InSync => {
                self.in_sync = true;
                Touched::Plan
            }
            WatchEvent::Faults(faults) => {
                self.faults = faults.iter().map(StoreError::to_string).collect();
                Touched::Plan
            }
        }
    }

    /// Everything that cannot be read, one sentence each.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults
            .iter()
            .chain(self.invalid.values())
            .map(String::as_str)
    }

    fn set(&mut self, object: &Object) -> Touched {
        let name = &object.key.name;
        let outcome = match object.key.kind {
            Kind::Node => take(&mut self.view.nodes, name, object),
            Kind::IPPool => take(&mut self.view.pools, name, object),
            Kind::BGPConfiguration => take(&mut self.view.configurations, name, object),
            Kind::BGPPeer => {
                check_options(object).and_then(|()| take(&mut self.view.peers, name, object))
            }
            Kind::BGPFilter => take(&mut self.view.filters, name, object),
            Kind::BlockAffinity => take(&mut self.affinities, name, object),
            Kind::IPAMBlock => take(&mut self.blocks, name, object),
            Kind::FelixConfiguration => take(&mut self.felix, name, object),
            Kind::LiveMigration => Stored::from_object(object)
                .map(|stored| drop(self.migrations.insert(place(&object.key), stored)))
                .map_err(|fault| fault.to_string()),
            Kind::Secret => Stored::from_object(object)
                .map(|stored| drop(self.view.secrets.insert(place(&object.key), stored)))
                .map_err(|fault| fault.to_string()),
            Kind::WorkloadEndpoint => {
                let node = object.spec.get("node").and_then(|node| node.as_str());
                return Touched::Workload(object.key.clone(), node.map(str::to_owned));
            }
            Kind::IPAMHandle | Kind::IPAMConfig => return Touched::Nothing,
        };
        match outcome {
            Ok(()) => self.invalid.remove(&object.key),
            Err(fault) => self.invalid.insert(object.key.clone(), fault),
        };
        Touched::Plan
    }

    fn delete(&mut self, key: &Key) -> Touched {
        self.invalid.remove(key);
        match key.kind {
            Kind::Node => drop(self.view.nodes.remove(&key.name)),
            Kind::IPPool => drop(self.view.pools.remove(&key.name)),
            Kind::BGPConfiguration => drop(self.view.configurations.remove(&key.name)),
            Kind::BGPPeer => drop(self.view.peers.remove(&key.name)),
            Kind::BGPFilter => drop(self.view.filters.remove(&key.name)),
            Kind::BlockAffinity => drop(self.affinities.remove(&key.name)),
            Kind::IPAMBlock => drop(self.blocks.remove(&key.name)),
            Kind::FelixConfiguration => drop(self.felix.remove(&key.name)),
            Kind::LiveMigration => drop(self.migrations.remove(&place(key))),
            Kind::Secret => drop(self.view.secrets.remove(&place(key))),
            Kind::WorkloadEndpoint => return Touched::Workload(key.clone(), None),
            Kind::IPAMHandle | Kind::IPAMConfig => return Touched::Nothing,
        }
        Touched::Plan
    }
}

/// A BGPPeer whose options cannot be followed stays what it was.
fn check_options(object: &Object) -> Result<(), String> {
    PeerOptions::check_annotation(&object.metadata)
        .map_err(|why| format!("BGPPeer {}: {why}", object.key.name))
}

/// Namespace and name.
fn place(key: &Key) -> (String, String) {
    (key.namespace.clone().unwrap_or_default(), key.name.clone())
}

fn take<R: Resource>(
    map: &mut BTreeMap<String, Stored<R>>,
    name: &str,
    object: &Object,
) -> Result<(), String> {
    let stored = Stored::from_object(object).map_err(|fault| fault.to_string())?;
    map.insert(name.to_owned(), stored);
    Ok(())
}

#[cfg(test)]
mod tests;
