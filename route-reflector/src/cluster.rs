//! The cluster's resources as the datastore's watch tells them. Nothing where the file alone decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use caracal_datastore::resources::Resource;
use caracal_datastore::{
    Datastore, DatastoreConfig, Key, Kind, Object, StoreError, Stored, WatchEvent, Watcher,
};
use caracal_peering::{PeerOptions, View};

/// What a reflector has to know: five cluster-wide kinds and secrets, and nothing that grows with the pods.
const WATCHED: [Kind; 6] = [
    Kind::Node,
    Kind::IPPool,
    Kind::BGPConfiguration,
    Kind::BGPPeer,
    Kind::BGPFilter,
    Kind::Secret,
];

/// A watch and what it has told so far.
#[derive(Debug)]
pub(crate) struct Cluster {
    watcher: Watcher,
    /// The watch lives as long as its datastore.
    _datastore: Arc<dyn Datastore>,
    pub(crate) in_sync: bool,
    pub(crate) view: View,
    /// Objects whose newest state makes no sense; their last good state stands.
    invalid: BTreeMap<Key, String>,
    unreadable: Vec<String>,
    unread: Vec<String>,
}

impl Cluster {
    /// Opens the datastore and watches it.
    pub(crate) async fn open(config: &DatastoreConfig) -> Result<Cluster, StoreError> {
        let datastore = config.open().await?;
        let watcher = datastore.watch(&WATCHED).await?;
        Ok(Cluster {
            watcher,
            _datastore: datastore,
            in_sync: false,
            view: View::default(),
            invalid: BTreeMap::new(),
            unreadable: Vec::new(),
            unread: Vec::new(),
        })
    }

    /// Takes in the next event and all that wait behind it. False: the datastore is closed.
    pub(crate) async fn follow(&mut self) -> bool {
        let Some(event) = self.watcher.events.recv().await else {
            return false;
        };
        self.handle(event);
        for _ in 0..PORTION {
            let Ok(event) = self.watcher.events.try_recv() else {
                break;
            };
            self.handle(event);
        }
        true
    }

    /// Why the datastore, or some of its kinds, cannot be followed now, one sentence each.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &String> {
        self.unread.iter()
    }

    /// What is there and makes no sense, one sentence each.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &String> {
        self.unreadable.iter().chain(self.invalid.values())
    }

    fn handle(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Set(object) => self.set(&object),
            WatchEvent::Deleted(key) => self.delete(&key),
            WatchEvent::InSync => self.in_sync = true,
            WatchEvent::Faults(faults) => {
                (self.unread, self.unreadable) = StoreError::unread_and_unreadable(&faults);
            }
        }
    }

    fn set(&mut self, object: &Object) {
        let outcome = match object.key.kind {
            Kind::Node => take(&mut self.view.nodes, object),
            Kind::IPPool => take(&mut self.view.pools, object),
            Kind::BGPConfiguration => take(&mut self.view.configurations, object),
            Kind::BGPPeer => {
                check_options(object).and_then(|()| take(&mut self.view.peers, object))
            }
            Kind::BGPFilter => take(&mut self.view.filters, object),
            Kind::Secret => Stored::from_object(object)
                .map(|stored| drop(self.view.secrets.insert(place(&object.key), stored)))
                .map_err(|fault| fault.to_string()),
            _ => Ok(()),
        };
        match outcome {
            Ok(()) => self.invalid.remove(&object.key),
            Err(fault) => self.invalid.insert(object.key.clone(), fault),
        };
    }

    fn delete(&mut self, key: &Key) {
        self.invalid.remove(key);
        match key.kind {
            Kind::Node => drop(self.view.nodes.remove(&key.name)),
            Kind::IPPool => drop(self.view.pools.remove(&key.name)),
            Kind::BGPConfiguration => drop(self.view.configurations.remove(&key.name)),
            Kind::BGPPeer => drop(self.view.peers.remove(&key.name)),
            Kind::BGPFilter => drop(self.view.filters.remove(&key.name)),
            Kind::Secret => drop(self.view.secrets.remove(&place(key))),
            _ => {}
        }
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

fn take<R: Resource>(map: &mut BTreeMap<String, Stored<R>>, object: &Object) -> Result<(), String> {
    let stored = Stored::from_object(object).map_err(|fault| fault.to_string())?;
    map.insert(object.key.name.clone(), stored);
    Ok(())
}

/// So many events at most before the peers are looked at again.
const PORTION: usize = 10_000;
