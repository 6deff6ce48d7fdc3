//! `datastore`: the whole of it, out of one and into another.
//!
//! ```text
//!   lock ──▶ export ──▶ text ──▶ import ──▶ read back, compare ──▶ unlock
//!            every kind, in the order in which it can be written
//! ```

mod calicos;
mod export;
mod import;
pub(crate) mod lock;
#[cfg(test)]
mod tests;

pub(crate) use export::write_file;

use caracal_datastore::{
    BlockAffinity, IPAMBlock, IPAMConfig, IPAMHandle, Kind, Object, Resource, Stored,
};

use crate::cli::{Places, Transfer};
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::store;

/// The command.
pub(crate) async fn run(places: &Places, transfer: &Transfer) -> Result<Outcome, Failure> {
    let (store, place) = store::open_named(places).await?;
    match transfer {
        Transfer::Export(args) => export::export(&store, &place, args).await,
        Transfer::Import(args) => import::import(&store, &place, args).await,
        Transfer::Lock => lock::set(&store, false).await.map(Outcome::text),
        Transfer::Unlock => lock::set(&store, true).await.map(Outcome::text),
    }
}

/// All kinds, each behind those that it refers to, and IPAM's so that a half of them breaks no rule: a handle counts before a
/// block has the address, and a confirmed affinity has its block.
pub(crate) fn kinds_in_order() -> Vec<Kind> {
    let mut kinds = Kind::all().to_vec();
    kinds.sort_by_key(|kind| rank(*kind));
    kinds
}

fn rank(kind: Kind) -> usize {
    let order = match kind {
        Kind::ClusterInformation => 0,
        Kind::Namespace => 1,
        Kind::Secret | Kind::BGPFilter => 2,
        Kind::IPPool | Kind::IPReservation | Kind::IPAMConfig => 3,
        Kind::BGPConfiguration | Kind::FelixConfiguration => 4,
        Kind::Node => 5,
        Kind::BGPPeer => 6,
        Kind::NetworkSet | Kind::GlobalNetworkSet => 7,
        Kind::NetworkPolicy | Kind::GlobalNetworkPolicy => 8,
        Kind::HostEndpoint => 9,
        Kind::IPAMHandle => 10,
        Kind::IPAMBlock => 11,
        Kind::BlockAffinity => 12,
        Kind::WorkloadEndpoint | Kind::LiveMigration => 13,
        Kind::Service => 14,
        Kind::EndpointSlice => 15,
        Kind::CalicoNodeStatus => 16,
    };
    let declared = Kind::all().iter().position(|known| *known == kind);
    order * 100 + declared.unwrap_or(0)
}

/// An object as it means the same in every datastore: without what one of them has written into its metadata, and IPAM's kinds
/// with all their fields, of which backends leave out different ones.
fn portable(object: &Object) -> Object {
    let mut object = match object.key.kind {
        Kind::IPAMBlock => rewritten::<IPAMBlock>(object),
        Kind::BlockAffinity => rewritten::<BlockAffinity>(object),
        Kind::IPAMHandle => rewritten::<IPAMHandle>(object),
        Kind::IPAMConfig => rewritten::<IPAMConfig>(object),
        _ => object.clone(),
    };
    object.revision = None;
    // Kubernetes knows no capital letters in names, a handle has them.
    if object.key.kind == Kind::IPAMHandle
        && let Some(handle) = object.spec["handleID"].as_str()
    {
        object.key.name = handle.to_owned();
        object.metadata.name = handle.to_owned();
    }
    let extra = &mut object.metadata.extra;
    extra.retain(|field, value| !value.is_null() && !OF_ONE_STORE.contains(&field.as_str()));
    object
}

/// Kinds that only IPAM writes, or whose fields differ from backend to backend.
fn is_of_addresses(kind: Kind) -> bool {
    use Kind::{BlockAffinity, IPAMBlock, IPAMConfig, IPAMHandle};
    matches!(kind, IPAMBlock | BlockAffinity | IPAMHandle | IPAMConfig)
}

fn rewritten<R: Resource>(object: &Object) -> Object {
    // What cannot be read stays as it is, to be named by who checks it.
    Stored::<R>::from_object(object).map_or_else(|_| object.clone(), Stored::into_object)
}

/// What a datastore gives an object by itself.
const OF_ONE_STORE: [&str; 8] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "managedFields",
    "selfLink",
];

/// `3 IPPool, 2 Node`.
fn counted(kinds: impl IntoIterator<Item = Kind>) -> String {
    let mut counts: Vec<(Kind, usize)> = Vec::new();
    for kind in kinds {
        match counts.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, count)) => *count += 1,
            None => counts.push((kind, 1)),
        }
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    words.join(", ")
}

/// The first line of an export, which says how much has to be in it.
const FIRST_LINE: &str = "# caracalctl datastore export: ";
