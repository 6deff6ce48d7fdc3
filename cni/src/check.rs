//! CHECK and STATUS: looking, without touching.

use caracal_agent_api::{ClientError, CniAddReply, CniDel};
use serde_json::Value;

use crate::agent;
use crate::config::Config;
use crate::env::Invocation;
use crate::error::{CniError, Code};
use crate::netns::Netns;
use crate::plumb::{Attachment, Site};
use crate::result::Success;

/// The agent, the earlier result and the kernel say the same about a container; the error says in what not.
pub(crate) async fn check(call: &Invocation, config: &Config) -> Result<(), CniError> {
    let Some(earlier) = config.earlier()? else {
        return Err(CniError::new(
            Code::InvalidConfig,
            format!(
                "network config: {} has no prevResult, which CHECK needs",
                config.name
            ),
        ));
    };
    let netns = Netns::open(&call.netns)?;
    let site = Site::open(&netns)?;
    let request = CniDel {
        container_id: call.container_id.clone(),
        ifname: call.ifname.clone(),
        network: config.name.clone(),
    };
    let reply: CniAddReply = agent::client(config)
        .post("/v1/cni/check", &request)
        .await
        .map_err(|error| {
            let what = format!("check container {}", call.container_id);
            match &error {
                ClientError::Refused(_) => CniError {
                    code: Code::UnknownContainer,
                    ..agent::told(&error, &what)
                },
                _ => agent::told(&error, &what),
            }
        })?;
    let want = Attachment::new(
        &call.container_id,
        &call.ifname,
        &reply,
        config.mtu,
        config.forwarding,
    );
    let mut wrong = disagreements(&want, &earlier);
    wrong.extend(site.differences(&want).await?);
    let Some(first) = wrong.first() else {
        return Ok(());
    };
    let more = match wrong.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Err(CniError::new(
        Code::Differs,
        format!("container {}: {first}{more}", call.container_id),
    )
    .details(wrong.join("; ")))
}

/// In what the result of the ADD differs from what the agent says now. Other plugins may have added to it.
fn disagreements(want: &Attachment, earlier: &Success) -> Vec<String> {
    want.addresses
        .iter()
        .filter(|address| !earlier.ips.iter().any(|ip| ip.address == address.address))
        .map(|address| format!("the agent says {}, prevResult does not", address.address))
        .collect()
}

/// Whether pods can be added now.
pub(crate) async fn status(config: &Config) -> Result<(), CniError> {
    agent::client(config)
        .get::<Value>("/v1/cni/status")
        .await
        .map(|_| ())
        .map_err(|error| {
            CniError::new(
                Code::PluginNotAvailable,
                format!("network {}: no pod can be added now: {error}", config.name),
            )
        })
}
