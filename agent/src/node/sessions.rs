//! Keys and distances of the sessions: set before the speaker has the peer, taken back after it has none.

use std::net::IpAddr;

use anyhow::Context;
use caracal_bgp_net::{OptionsError, Shell};

use crate::plan::{Plan, condition};

/// Gives the sessions of `plan` their options, where they differ from `last`. A peer whose options the kernel does
/// not take is taken out of the plan, with a condition.
pub(super) async fn secure(shell: &Shell, last: &Plan, plan: &mut Plan) -> anyhow::Result<()> {
    let changed: Vec<_> = plan
        .sessions
        .iter()
        .filter(|(address, options)| last.sessions.get(address) != Some(options))
        .map(|(address, options)| (*address, options.clone()))
        .collect();
    for (address, options) in changed {
        match shell.set_session_options(address, Some(options)).await {
            Ok(()) => {}
            Err(OptionsError::Stopped(stopped)) => return Err(stopped).context("BGP"),
            Err(refused @ OptionsError::Key { .. }) => {
                plan.sessions.remove(&address);
                plan.peers
                    .retain(|peer| peer.config.remote_address != address);
                let message = format!("peer {address}: {refused}; it is not connected");
                plan.conditions
                    .push(condition("PasswordUnusable", &message));
            }
        }
    }
    Ok(())
}

/// Takes back the options that sessions of `last` had and those of `plan` do not have.
pub(super) async fn release(shell: &Shell, last: &Plan, plan: &Plan) -> anyhow::Result<()> {
    let gone = |address: &&IpAddr| !plan.sessions.contains_key(*address);
    for address in last.sessions.keys().filter(gone) {
        shell
            .set_session_options(*address, None)
            .await
            .context("BGP")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
