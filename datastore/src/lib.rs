//! The cluster's resources, where they are kept, and address management (IPAM).
//!
//! [`Datastore`] is the trait that every backend implements, [`resources`] the kinds, [`ipam::Ipam`] the
//! arithmetic on blocks with compare-and-swap at the rim.

pub mod file;
pub mod ipam;
pub mod resources;
mod store;

pub use store::{Datastore, Key, Kind, Metadata, Object, Revision, StoreError, TypedStore, WatchEvent, Watcher};
