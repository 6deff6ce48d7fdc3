//! ADD: steps in order, each undone if a later one fails. Routes on the node are the agent's.

use caracal_agent_api::{Client, CniAdd, CniAddReply, CniAttached, CniDel};
use serde_json::Value;

use crate::agent;
use crate::config::Config;
use crate::env::Invocation;
use crate::error::{CniError, Code};
use crate::netns::Netns;
use crate::plumb::{Attachment, Site, belongs_to};
use crate::spool;

/// Attaches a container. Repeated for one that is attached already, it changes nothing and says the same.
pub(crate) async fn add(call: &Invocation, config: &Config) -> Result<Value, CniError> {
    let earlier = config.earlier()?;
    // Before anything is asked for: a wrong namespace must not cost an address.
    let netns = Netns::open(&call.netns)?;
    let site = Site::open(&netns)?;
    let client = agent::client(config);
    let del = CniDel {
        container_id: call.container_id.clone(),
        ifname: call.ifname.clone(),
        network: config.name.clone(),
    };
    let what = format!("add container {}", call.container_id);
    if spool::waits(&config.spool, &del) {
        release(&client, &del)
            .await
            .map_err(|error| agent::told(&error, &what))?;
        spool::forget(&config.spool, &del)?;
    }
    let reply: CniAddReply = client
        .post("/v1/cni/add", &wish(call, config))
        .await
        .map_err(|error| agent::told(&error, &what))?;
    let want = Attachment::new(
        &call.container_id,
        &call.ifname,
        &reply,
        config.mtu,
        config.forwarding,
    );
    match attach(&site, &client, &want).await {
        Ok(mac) => {
            let mut result = want.result(&mac, &call.netns);
            result.dns.clone_from(&config.dns);
            Ok(result
                .after(earlier.unwrap_or_default())
                .render(config.version))
        }
        Err(error) => {
            // An attachment that was complete before this call is not ours to undo.
            if !reply.attached && release(&client, &del).await.is_err() {
                spool::keep(&config.spool, &del)?;
            }
            Err(error)
        }
    }
}

/// Builds what is not there yet, and tells the agent; returns the pod's MAC.
async fn attach(site: &Site<'_>, client: &Client, want: &Attachment) -> Result<String, CniError> {
    let (mac, built) = match standing(site, want).await? {
        Some(mac) => (mac, false),
        None => (site.build(want).await?, true),
    };
    let attached = CniAttached {
        container_id: want.container_id.clone(),
        ifname: want.ifname.clone(),
        mac: mac.clone(),
    };
    let told = client
        .post::<Value>("/v1/cni/attached", &attached)
        .await
        .map_err(|error| {
            agent::told(
                &error,
                &format!(
                    "have {} routed for container {}",
                    want.device, want.container_id
                ),
            )
        });
    if told.is_err()
        && built
        && let Ok(Some(link)) = site.host.link(&want.device).await
    {
        // The first error is the one to tell; a device that stays is found by the next ADD or DEL.
        let _ = site.host.delete(&link).await;
    }
    told.map(|_| mac)
}

/// The pod's MAC if everything stands already; clears away what a dead attempt left otherwise.
async fn standing(site: &Site<'_>, want: &Attachment) -> Result<Option<String>, CniError> {
    let outside = site.host.link(&want.device).await?;
    if let Some(inside) = site.pod.link(&want.ifname).await? {
        let ours = inside.veth
            && match site.host.link_at(inside.peer).await? {
                Some(peer) => {
                    peer.peer == inside.index && belongs_to(&peer, &want.container_id, &want.ifname)
                }
                None => false,
            };
        if !ours {
            return Err(CniError::new(
                Code::InterfaceExists,
                format!(
                    "{} exists already in netns {} and is not container {}'s",
                    want.ifname,
                    site.netns.path(),
                    want.container_id
                ),
            ));
        }
        if site.differences(want).await?.is_empty() {
            return Ok(Some(inside.mac));
        }
        site.pod.delete(&inside).await?;
    }
    // The device is named after the pod: what has the name and was not recognised above belongs to an
    // earlier sandbox of the same pod, whose end is gone or will be.
    match outside {
        Some(link) if link.veth => site.host.delete(&link).await?,
        Some(link) => {
            return Err(CniError::new(
                Code::InterfaceExists,
                format!(
                    "device {} exists already on the node and is no veth",
                    link.name
                ),
            ));
        }
        None => {}
    }
    Ok(None)
}

async fn release(client: &Client, del: &CniDel) -> Result<Value, caracal_agent_api::ClientError> {
    client.post("/v1/cni/del", del).await
}

fn wish(call: &Invocation, config: &Config) -> CniAdd {
    let mut addresses = call.args.addresses.clone();
    for address in &config.addresses {
        if !addresses.contains(address) {
            addresses.push(*address);
        }
    }
    CniAdd {
        container_id: call.container_id.clone(),
        ifname: call.ifname.clone(),
        netns: call.netns.clone(),
        network: config.name.clone(),
        namespace: call.args.namespace.clone(),
        pod: call.args.pod.clone(),
        ipv4_pools: config.ipv4_pools.clone(),
        ipv6_pools: config.ipv6_pools.clone(),
        addresses,
    }
}
