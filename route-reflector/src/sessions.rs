//! Keys and distances of the sessions, held in front of the speaker: set before it has the peer, taken back after.

use std::collections::BTreeMap;

use caracal_bgp_net::{OptionsError, SessionOptions, Shell};
use ipnet::IpNet;

use crate::desired::Desired;

/// By the address of a peer, or the prefix of dynamic ones.
pub(crate) type Sessions = BTreeMap<IpNet, SessionOptions>;

/// Gives the sessions their options, where they differ from `actual`. Peers whose options the kernel does not
/// take are left out.
pub(crate) async fn secure(
    shell: &Shell,
    actual: &Sessions,
    desired: &mut Desired,
) -> Result<(), OptionsError> {
    for (peers, options) in desired.sessions.clone() {
        if actual.get(&peers) == Some(&options) {
            continue;
        }
        match shell.set_session_options(peers, Some(options)).await {
            Err(refused @ OptionsError::Key { .. }) => desired.leave_out(peers, &refused),
            other => other?,
        }
    }
    Ok(())
}

/// Takes back what is no longer desired.
pub(crate) async fn release(
    shell: &Shell,
    actual: &Sessions,
    desired: &Sessions,
) -> Result<(), OptionsError> {
    for peers in actual.keys().filter(|peers| !desired.contains_key(*peers)) {
        shell.set_session_options(*peers, None).await?;
    }
    Ok(())
}
