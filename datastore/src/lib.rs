//! The cluster's resources, where they are kept, and address management (IPAM).
//!
//! ```text
//!   agent, ctl, route-reflector
//!        │ TypedStore: Stored<Node>, Stored<IPPool>, …       Ipam: assign, release, tend
//!        ▼                                                     │ every write a compare-and-swap
//!   Datastore: get, list, watch, create, update, delete  ◄─────┘
//!        ├── FileDatastore     a folder of YAML manifests that people edit
//!        ├── EtcdDatastore     etcd v3 in Calico's layout
//!        ├── KubernetesDatastore  Calico's custom resources, annotations of Nodes and Pods
//!        └── MemoryDatastore   tests and simulations, with faults on demand
//! ```
//!
//! [`Datastore`] is the trait that every backend implements, [`resources`] the kinds, [`manifest`] their
//! text, [`ipam::Ipam`] the arithmetic on blocks with compare-and-swap at the rim.
//!
//! *Invariant:* no text in a store, whoever wrote it, makes this crate panic or lose what was good: it
//! becomes a [`WatchEvent::Faults`] that names the file, the line and the field.

mod config;
pub mod etcd;
pub mod file;
mod hub;
pub mod ipam;
mod kind;
pub mod kubernetes;
pub mod lead;
pub mod manifest;
pub mod memory;
mod pause;
pub mod ready;
pub mod resources;
pub mod selector;
mod store;
mod uuid;

#[cfg(test)]
mod conformance;

pub use config::{DatastoreConfig, DatastoreKind, PATH_DEFAULT};
pub use etcd::{EtcdConfig, EtcdDatastore};
pub use file::FileDatastore;
pub use kubernetes::{CalicoGroup, KubernetesConfig, KubernetesDatastore};
pub use memory::MemoryDatastore;
pub use ready::LockableDatastore;
pub use resources::{
    BGPConfiguration, BGPPeer, BlockAffinity, FelixConfiguration, IPAMBlock, IPAMConfig,
    IPAMHandle, IPPool, Node, Resource, Timestamp, WorkloadEndpoint,
};
pub use selector::Selector;
pub use store::{
    Datastore, Key, Kind, Metadata, Object, Revision, StoreError, Stored, TypedStore, Visit,
    WatchEvent, Watcher,
};
