//! Orders about peers, and about the whole node.

use caracal_agent_api::{Client, GracefulShutdown, PeerOrder, PeerVerb};
use serde_json::Value;

use crate::cli::{PeersCommand, Switch};
use crate::failure::Failure;

/// Does what is asked of a peer, and says so.
pub(crate) async fn peer(agent: &Client, command: &PeersCommand) -> Result<String, Failure> {
    let (order, done) = order(command);
    let _: Value = agent.post("/v1/peers/order", &order).await?;
    Ok(format!("peer {}: {done}\n", order.peer))
}

/// Begins or ends a graceful shutdown of the node, and says so.
pub(crate) async fn graceful_shutdown(agent: &Client, switch: Switch) -> Result<String, Failure> {
    let (on, done) = match switch {
        Switch::On => (true, "on: paths over this node are everybody's last choice"),
        Switch::Off => (false, "off"),
    };
    let order = GracefulShutdown { on };
    let _: Value = agent.post("/v1/graceful-shutdown", &order).await?;
    Ok(format!("graceful shutdown is {done}\n"))
}

/// What to ask for, and what is done then.
fn order(command: &PeersCommand) -> (PeerOrder, &'static str) {
    let (peer, verb, words, done) = match command {
        PeersCommand::Reset {
            peer,
            graceful,
            soft,
            words,
        } => {
            let (verb, done) = match (graceful, soft) {
                (_, true) => (PeerVerb::ResetSoft, "all paths are judged once more"),
                (true, _) => (PeerVerb::ResetGraceful, "the session was reset, gracefully"),
                _ => (PeerVerb::ResetHard, "the session was reset"),
            };
            (peer, verb, words.clone(), done)
        }
        PeersCommand::Refresh { peer } => {
            let done = "it was asked to send everything once more";
            (peer, PeerVerb::Refresh, String::new(), done)
        }
        PeersCommand::ShutDown { peer, words } => {
            let done = "shut down, until `bring-up` or a restart";
            (peer, PeerVerb::ShutDown, words.clone(), done)
        }
        PeersCommand::BringUp { peer } => (
            peer,
            PeerVerb::BringUp,
            String::new(),
            "may have a session again",
        ),
    };
    let order = PeerOrder {
        peer: *peer,
        verb,
        words,
    };
    (order, done)
}

#[cfg(test)]
mod tests;
