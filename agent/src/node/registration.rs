//! This node's entry in the cluster: read, made when missing, corrected when the configuration says otherwise.

use anyhow::Context;
use caracal_datastore::resources::{BGPConfiguration, Node, NodeBgp};
use caracal_datastore::{Metadata, StoreError, Stored, TypedStore};
use caracal_peering::{Defaults, Identity, View, identity_of};
use ipnet::IpNet;
use tracing::warn;

use crate::address::{self, NodeAddresses};
use crate::config::Config;

/// What is fixed for the life of this process.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) addresses: NodeAddresses,
    /// What the speaker begins with.
    pub(crate) identity: Identity,
    /// Where the address comes from, for the log.
    pub(crate) explanation: String,
}

/// Finds out who we are and makes the Node resource say so.
pub(crate) async fn register(config: &Config, store: &TypedStore) -> anyhow::Result<Registered> {
    let interfaces = caracal_fib::interfaces()
        .await
        .context("cannot read this node's devices")?;
    let node = &config.nodename;
    loop {
        let stored = store.get::<Node>(node).await?;
        let recorded = stored
            .as_ref()
            .and_then(|stored| stored.spec.bgp.clone())
            .unwrap_or_default();
        let (ipv4, why4) = address::choose(
            config.ip.as_ref(),
            recorded.ipv4_address.map(IpNet::from),
            &interfaces,
            true,
        )
        .map_err(|fault| anyhow::anyhow!("node {node}: {fault}"))?;
        let (ipv6, why6) = address::choose(
            config.ip6.as_ref(),
            recorded.ipv6_address.map(IpNet::from),
            &interfaces,
            false,
        )
        .map_err(|fault| anyhow::anyhow!("node {node}: {fault}"))?;
        anyhow::ensure!(
            ipv4.is_some() || ipv6.is_some(),
            "node {node}: has neither an IPv4 nor an IPv6 address; set `ip` or `ip6`"
        );
        let addresses = NodeAddresses { ipv4, ipv6 };
        let existed = stored.is_some();
        match record(node, stored, addresses, store).await {
            Err(StoreError::Conflict(_) | StoreError::Exists(_)) => continue,
            // It is right enough for what goes on while nobody may write; who was never here waits.
            Err(fault @ StoreError::Locked(_)) if existed => warn!("{fault}"),
            outcome => outcome?,
        }
        let identity = identity(config, store).await?;
        return Ok(Registered {
            addresses,
            identity,
            explanation: format!(
                "IPv4 {} ({why4}), IPv6 {} ({why6})",
                or_none(ipv4),
                or_none(ipv6)
            ),
        });
    }
}

/// Who the datastore, as it is now, says that this node is in BGP.
async fn identity(config: &Config, store: &TypedStore) -> anyhow::Result<Identity> {
    let node = &config.nodename;
    let mut view = View::default();
    view.nodes.extend(
        store
            .get::<Node>(node)
            .await?
            .map(|stored| (node.clone(), stored)),
    );
    for name in ["default".to_owned(), format!("node.{node}")] {
        view.configurations.extend(
            store
                .get::<BGPConfiguration>(&name)
                .await?
                .map(|stored| (name, stored)),
        );
    }
    identity_of(
        node,
        &view,
        &Defaults::default(),
        config.router_id.as_deref(),
    )
    .map_err(|fault| anyhow::anyhow!("{fault}"))
}

async fn record(
    node: &str,
    stored: Option<Stored<Node>>,
    addresses: NodeAddresses,
    store: &TypedStore,
) -> Result<(), StoreError> {
    let existed = stored.is_some();
    let before = stored.clone();
    let mut wanted = stored.unwrap_or_else(|| Stored {
        metadata: Metadata {
            name: node.to_owned(),
            ..Metadata::default()
        },
        spec: Node::default(),
        revision: None,
    });
    let bgp = wanted.spec.bgp.get_or_insert_with(NodeBgp::default);
    bgp.ipv4_address = match addresses.ipv4 {
        Some(IpNet::V4(net)) => Some(net),
        _ => None,
    };
    bgp.ipv6_address = match addresses.ipv6 {
        Some(IpNet::V6(net)) => Some(net),
        _ => None,
    };
    if before.as_ref() == Some(&wanted) {
        return Ok(());
    }
    if existed {
        store.update(wanted).await
    } else {
        store.create(wanted).await
    }
    .map(drop)
}

fn or_none(net: Option<IpNet>) -> String {
    net.map_or_else(|| "none".to_owned(), |net| net.to_string())
}
