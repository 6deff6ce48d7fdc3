//! The cluster as the datastore's watch tells it: typed, whole, and without memory of the order of the news.

use std::collections::{BTreeMap, HashSet};

use caracal_datastore::resources::{
    BlockAffinity, FelixConfiguration, IPAMBlock, LiveMigration, Resource,
};
use caracal_datastore::{Key, Kind, Object, StoreError, Stored, WatchEvent, ready};
use caracal_peering::{PeerOptions, View};
use ipnet::IpNet;

/// What the agent watches. WorkloadEndpoints are kept by [`crate::workloads`], handles by IPAM.
pub(crate) const WATCHED: [Kind; 12] = [
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
    Kind::ClusterInformation,
];

pub(crate) mod blocks;

use blocks::{Blocks, News};

/// Everything that concerns this node and that the plan is made from.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    node: String,
    /// All that there was when the first watch began has been told.
    pub(crate) in_sync: bool,
    /// What decides about BGP.
    pub(crate) view: View,
    /// Of this node.
    pub(crate) affinities: BTreeMap<String, Stored<BlockAffinity>>,
    /// Of all nodes.
    pub(crate) blocks: Blocks,
    /// `default` and `node.<node>` of all nodes.
    pub(crate) felix: BTreeMap<String, Stored<FelixConfiguration>>,
    /// By namespace and name.
    pub(crate) migrations: BTreeMap<(String, String), Stored<LiveMigration>>,
    /// Nobody may write the datastore.
    pub(crate) locked: bool,
    /// Objects whose newest state makes no sense; their last good state stands.
    invalid: BTreeMap<Key, Invalid>,
    /// What the datastore itself cannot read.
    faults: Vec<String>,
    /// Why it, or some of its kinds, cannot be followed now.
    unread: Vec<String>,
    /// It could not read some of it from the beginning, so that there is no last good state.
    blind: bool,
    /// While a later watch tells everything again: what it has told.
    told_again: Option<HashSet<Key>>,
}

/// Why an object makes no sense, and whether it did before.
#[derive(Debug)]
struct Invalid {
    why: String,
    has_good_state: bool,
}

/// What an event touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touched {
    /// The plan must be made again.
    Plan,
    /// A block of addresses that is not this node's: the plan must be made again if an address of ours lies in it.
    Block(IpNet),
    /// A WorkloadEndpoint, of the node named if it names one: look at the store.
    Workload(Key, Option<String>),
    /// A WorkloadEndpoint was deleted.
    WorkloadGone(Key),
    /// The plan must be made again, and every WorkloadEndpoint that is known be looked up: deletions were missed.
    Everything,
    /// Nothing that matters to us.
    Nothing,
}

impl Cluster {
    /// As a node sees it that has been told nothing yet.
    pub(crate) fn new(node: &str) -> Cluster {
        Cluster {
            node: node.to_owned(),
            ..Cluster::default()
        }
    }

    /// Takes one event in.
    pub(crate) fn handle(&mut self, event: WatchEvent) -> Touched {
        match event {
            WatchEvent::Set(object) => {
                if let Some(told) = &mut self.told_again {
                    told.insert(object.key.clone());
                }
                self.set(&object)
            }
            WatchEvent::Deleted(key) => self.delete(&key),
            WatchEvent::InSync => {
                let unknown = !self.faults.is_empty() || !self.unread.is_empty();
                self.blind |= !self.in_sync && unknown;
                self.in_sync = true;
                match self.told_again.take() {
                    Some(told) => {
                        self.drop_all_but(&told);
                        Touched::Everything
                    }
                    None => Touched::Plan,
                }
            }
            WatchEvent::Faults(faults) => {
                (self.unread, self.faults) = StoreError::unread_and_unreadable(&faults);
                self.blind &= !faults.is_empty();
                Touched::Plan
            }
        }
    }

    /// The watch has ended, and another begins. What is known stands until that one is in sync; what it has not told by
    /// then is gone.
    pub(crate) fn begin_again(&mut self) {
        self.told_again = Some(HashSet::new());
    }

    /// Whether nothing is unknown of which the cluster may wish that a route be there. An object that makes no sense does no
    /// harm as long as its last good state stands.
    pub(crate) fn complete(&self) -> bool {
        let known = |invalid: &Invalid| invalid.has_good_state;
        self.in_sync && !self.blind && self.invalid.values().all(known)
    }

    /// Whether nothing is unknown of what the packet filter is made from.
    pub(crate) fn complete_for_filter(&self) -> bool {
        use Kind::{BGPConfiguration, FelixConfiguration, IPPool, Node};
        let matters = |kind| matches!(kind, Node | IPPool | FelixConfiguration | BGPConfiguration);
        let mut invalid = self.invalid.iter();
        let unknown =
            |(key, invalid): (&Key, &Invalid)| matters(key.kind) && !invalid.has_good_state;
        self.in_sync && !self.blind && !invalid.any(unknown)
    }

    /// Why the datastore, or some of its kinds, cannot be followed now: it is away, a right or a definition is missing.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str)
    }

    /// Everything that is there and makes no sense, one sentence each.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &str> {
        self.faults
            .iter()
            .map(String::as_str)
            .chain(self.invalid.values().map(|invalid| invalid.why.as_str()))
    }

    fn set(&mut self, object: &Object) -> Touched {
        let name = &object.key.name;
        let mut touched = Touched::Plan;
        let outcome = match object.key.kind {
            Kind::Node => take(&mut self.view.nodes, name, object),
            Kind::IPPool => take(&mut self.view.pools, name, object),
            Kind::BGPConfiguration => take(&mut self.view.configurations, name, object),
            Kind::BGPPeer => match options(object) {
                Ok(options) => {
                    self.view.options.insert(name.clone(), options);
                    take(&mut self.view.peers, name, object)
                }
                Err(why) => Err(Invalid {
                    why,
                    has_good_state: self.view.peers.contains_key(name),
                }),
            },
            Kind::BGPFilter => take(&mut self.view.filters, name, object),
            Kind::BlockAffinity => {
                let affinity = read::<BlockAffinity>(object, self.affinities.contains_key(name));
                affinity.map(|affinity| {
                    let ours = affinity.spec.is_of(&self.node);
                    let before = match ours {
                        true => self.affinities.insert(name.clone(), affinity),
                        false => self.affinities.remove(name),
                    };
                    if !ours && before.is_none() {
                        touched = Touched::Nothing;
                    }
                })
            }
            Kind::IPAMBlock => {
                let block = read::<IPAMBlock>(object, self.blocks.has(name));
                block.map(|block| {
                    let was_own = self.blocks.own().contains(&block.spec.cidr);
                    let news = self.blocks.set(name, &block.spec, &self.node);
                    if !was_own || news == News::None {
                        touched = self.touched_by(news);
                    }
                })
            }
            Kind::FelixConfiguration => take(&mut self.felix, name, object),
            Kind::LiveMigration => take(&mut self.migrations, &place(&object.key), object),
            Kind::Secret => take(&mut self.view.secrets, &place(&object.key), object),
            Kind::ClusterInformation => {
                self.locked = ready::is_locked(object);
                Ok(())
            }
            Kind::WorkloadEndpoint => {
                let node = object.spec.get("node").and_then(|node| node.as_str());
                return Touched::Workload(object.key.clone(), node.map(str::to_owned));
            }
            _ => return Touched::Nothing,
        };
        match outcome {
            Ok(()) if self.invalid.remove(&object.key).is_none() => touched,
            Ok(()) => Touched::Plan,
            Err(invalid) => {
                self.invalid.insert(object.key.clone(), invalid);
                Touched::Plan
            }
        }
    }

    /// What the news of a block touch: pods of other nodes come and go all the time.
    fn touched_by(&self, news: News) -> Touched {
        match news {
            News::None => Touched::Nothing,
            News::Addresses(cidr) if self.blocks.own().contains(&cidr) => Touched::Plan,
            News::Addresses(cidr) => Touched::Block(cidr),
            News::Owner(cidr) => {
                let mut claims = self.affinities.values();
                let ours = self.blocks.own().contains(&cidr)
                    || claims.any(|affinity| affinity.spec.cidr == cidr);
                match ours {
                    true => Touched::Plan,
                    false => Touched::Block(cidr),
                }
            }
        }
    }

    fn delete(&mut self, key: &Key) -> Touched {
        let was_invalid = self.invalid.remove(key).is_some();
        match key.kind {
            Kind::Node => drop(self.view.nodes.remove(&key.name)),
            Kind::IPPool => drop(self.view.pools.remove(&key.name)),
            Kind::BGPConfiguration => drop(self.view.configurations.remove(&key.name)),
            Kind::BGPPeer => {
                self.view.options.remove(&key.name);
                self.view.peers.remove(&key.name);
            }
            Kind::BGPFilter => drop(self.view.filters.remove(&key.name)),
            Kind::BlockAffinity => {
                if self.affinities.remove(&key.name).is_none() && !was_invalid {
                    return Touched::Nothing;
                }
            }
            Kind::IPAMBlock => {
                let was_own = self.blocks.own().len();
                let news = self.blocks.remove(&key.name);
                if self.blocks.own().len() == was_own && !was_invalid {
                    return self.touched_by(news);
                }
            }
            Kind::FelixConfiguration => drop(self.felix.remove(&key.name)),
            Kind::LiveMigration => drop(self.migrations.remove(&place(key))),
            Kind::Secret => drop(self.view.secrets.remove(&place(key))),
            Kind::ClusterInformation => self.locked &= *key != ready::lock_key(),
            Kind::WorkloadEndpoint => return Touched::WorkloadGone(key.clone()),
            _ => return Touched::Nothing,
        }
        Touched::Plan
    }

    /// Everything that a watch has not told is gone.
    fn drop_all_but(&mut self, told: &HashSet<Key>) {
        self.locked &= told.contains(&ready::lock_key());
        keep(&mut self.view.nodes, told);
        keep(&mut self.view.pools, told);
        keep(&mut self.view.configurations, told);
        keep(&mut self.view.peers, told);
        let peers = &self.view.peers;
        self.view.options.retain(|name, _| peers.contains_key(name));
        keep(&mut self.view.filters, told);
        keep(&mut self.view.secrets, told);
        keep(&mut self.affinities, told);
        let blocks = self.blocks.names().cloned();
        let blocks = blocks.map(|name| Key::new(Kind::IPAMBlock, name));
        let gone: Vec<Key> = blocks.filter(|key| !told.contains(key)).collect();
        for key in gone {
            self.blocks.remove(&key.name);
        }
        keep(&mut self.felix, told);
        keep(&mut self.migrations, told);
        self.invalid.retain(|key, _| told.contains(key));
    }
}

/// A BGPPeer whose options cannot be followed stays what it was.
fn options(object: &Object) -> Result<PeerOptions, String> {
    PeerOptions::of_annotation(&object.metadata)
        .map_err(|why| format!("BGPPeer {}: {why}", object.key.name))
}

/// Namespace and name.
fn place(key: &Key) -> (String, String) {
    (key.namespace.clone().unwrap_or_default(), key.name.clone())
}

fn take<At: Ord + Clone, R: Resource>(
    map: &mut BTreeMap<At, Stored<R>>,
    at: &At,
    object: &Object,
) -> Result<(), Invalid> {
    let stored = read(object, map.contains_key(at))?;
    map.insert(at.clone(), stored);
    Ok(())
}

fn read<R: Resource>(object: &Object, has_good_state: bool) -> Result<Stored<R>, Invalid> {
    Stored::from_object(object).map_err(|fault| Invalid {
        why: fault.to_string(),
        has_good_state,
    })
}

fn keep<At: Ord, R: Resource>(map: &mut BTreeMap<At, Stored<R>>, told: &HashSet<Key>) {
    map.retain(|_, stored| told.contains(&stored.key()));
}

#[cfg(test)]
mod tests;
