//! DEL and GC: taking away, whatever is left of it.
//!
//! DEL succeeds for a container that nobody knows, with the namespace gone, twice, and while the agent is away
//! ([`crate::spool`]). The device goes first, so that nothing is sent from an address that is free already.

use caracal_agent_api::{CniDel, CniDelReply, CniGc, CniGcReply};

use crate::agent;
use crate::config::Config;
use crate::env::Invocation;
use crate::error::{CniError, Code};
use crate::netns::Netns;
use crate::plumb::{alias, belongs_to};
use crate::spool;
use crate::veth::{Kernel, Link};

/// Detaches a container.
pub(crate) async fn del(call: &Invocation, config: &Config) -> Result<(), CniError> {
    let host = Kernel::here()?;
    let mut removed = remove(&host, call, config).await;
    let del = CniDel {
        container_id: call.container_id.clone(),
        ifname: call.ifname.clone(),
        network: config.name.clone(),
    };
    match agent::client_in_a_hurry(config)
        .post::<CniDelReply>("/v1/cni/del", &del)
        .await
    {
        Ok(reply) => {
            spool::forget(&config.spool, &del)?;
            if let Some(device) = reply.device {
                removed = removed.and(remove_named(&host, call, &device).await);
            }
        }
        Err(error) if agent::may_pass(&error) => spool::keep(&config.spool, &del)?,
        Err(error) => {
            return Err(agent::told(
                &error,
                &format!("delete container {}", call.container_id),
            ));
        }
    }
    removed
}

/// The agent knows the container's device: it need not be called `cali…`.
async fn remove_named(host: &Kernel, call: &Invocation, device: &str) -> Result<(), CniError> {
    match host.link(device).await? {
        Some(link)
            if link.veth
                && (link.alias.is_empty()
                    || link.alias == alias(&call.container_id, &call.ifname)) =>
        {
            host.delete(&link).await
        }
        _ => Ok(()),
    }
}

/// Removes the pair, found from the pod's side, by an earlier result, or by its alias.
async fn remove(host: &Kernel, call: &Invocation, config: &Config) -> Result<(), CniError> {
    let ours = |link: &Link| belongs_to(link, &call.container_id, &call.ifname);
    // Whatever is wrong with the namespace, it cannot keep the rest from going.
    if let Ok(netns) = Netns::open(&call.netns)
        && let Ok(pod) = Kernel::inside(&netns)
        && let Some(inside) = pod.link(&call.ifname).await?
        && let Some(outside) = host.link_at(inside.peer).await?
        && outside.peer == inside.index
        && ours(&outside)
    {
        return host.delete(&outside).await;
    }
    let earlier = config.earlier().ok().flatten().unwrap_or_default();
    for interface in earlier.interfaces.iter().filter(|i| i.sandbox.is_none()) {
        if let Some(link) = host.link(&interface.name).await?
            && ours(&link)
        {
            return host.delete(&link).await;
        }
    }
    let alias = alias(&call.container_id, &call.ifname);
    for link in host.links().await? {
        if link.veth && link.alias == alias {
            host.delete(&link).await?;
        }
    }
    Ok(())
}

/// Releases everything of this network that the runtime does not know any more.
pub(crate) async fn gc(config: &Config) -> Result<(), CniError> {
    // No list is not an empty list: taking it for one would cut off every pod of the node.
    let Some(valid) = config.valid_attachments.clone() else {
        return Err(CniError::new(
            Code::InvalidConfig,
            format!(
                "network config: {} has no cni.dev/valid-attachments",
                config.name
            ),
        ));
    };
    let request = CniGc {
        network: config.name.clone(),
        valid: valid.clone(),
    };
    let reply: CniGcReply = agent::client(config)
        .post("/v1/cni/gc", &request)
        .await
        .map_err(|error| agent::told(&error, &format!("collect the garbage of {}", config.name)))?;
    let host = Kernel::here()?;
    for device in &reply.devices {
        // A container that came meanwhile may have the name already.
        if let Some(link) = host.link(device).await?
            && link.veth
            && (link.alias.is_empty() || is_of(&link, &reply.released))
        {
            host.delete(&link).await?;
        }
    }
    Ok(())
}

fn is_of(link: &Link, containers: &[String]) -> bool {
    containers.iter().any(|container| {
        link.alias
            .strip_prefix(&alias(container, ""))
            .is_some_and(|ifname| !ifname.is_empty())
    })
}
