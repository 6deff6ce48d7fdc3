//! BGP in the whole cluster: what a change does, and what suits so many nodes. From the datastore, without an agent.

mod plan;
mod topology;

use std::collections::BTreeMap;
use std::sync::Arc;

use caracal_datastore::{Datastore, Key, Kind, Object};
use caracal_peering::View;

use crate::cli::{BgpCommand, Places};
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::store;

/// What decides about sessions. No Secret: which password a session has is no matter here.
const KINDS: [Kind; 5] = [
    Kind::Node,
    Kind::IPPool,
    Kind::BGPConfiguration,
    Kind::BGPPeer,
    Kind::BGPFilter,
];

/// Objects by key.
type Objects = BTreeMap<Key, Object>;

/// The command.
pub(crate) async fn run(places: &Places, command: &BgpCommand) -> Result<Outcome, Failure> {
    match command {
        BgpCommand::Plan(args) => {
            let (objects, notes) = read(&store::open(places).await?).await?;
            plan::run(&objects, args, notes)
        }
        BgpCommand::Topology(args) => match args.nodes {
            Some(count) => topology::of_number(count, args),
            None => {
                let (objects, notes) = read(&store::open(places).await?).await?;
                topology::of_nodes(&objects, args, notes)
            }
        },
    }
}

/// All that decides, and what of it cannot be read.
async fn read(store: &Arc<dyn Datastore>) -> Result<(Objects, Vec<String>), Failure> {
    let mut objects = Objects::new();
    for kind in KINDS {
        let listed = store.list(kind).await?.into_iter();
        objects.extend(listed.map(|object| (object.key.clone(), object)));
    }
    let (_, faults) = View::of(objects.values());
    Ok((objects, faults))
}

#[cfg(test)]
mod tests;
