//! From the Loc-RIB to the FIB, in portions.

use std::net::IpAddr;

use anyhow::Context;
use caracal_bgp::Speaker;
use ipnet::IpNet;

use super::{Node, moves};
use crate::ways;

/// Prefixes that one round takes out of the Loc-RIB at most, so that nobody waits long for the speaker.
pub(super) const PREFIXES_A_ROUND: usize = 4096;

/// Next hops, with their network devices where their addresses need them.
type NextHops = Vec<(IpAddr, Option<String>)>;

impl Node {
    /// Takes a portion of Loc-RIB changes to the FIB; returns how many.
    pub(super) async fn apply_routes(&mut self) -> anyhow::Result<usize> {
        let changed = self
            .shared
            .shell
            .with(|speaker, _| {
                let prefixes = std::iter::from_fn(|| speaker.poll_route_change())
                    .take(PREFIXES_A_ROUND)
                    .collect();
                with_next_hops(speaker, prefixes)
            })
            .await
            .context("BGP has stopped")?;
        let count = changed.len();
        let hosts = changed.iter().filter_map(|(prefix, _)| moves::host(prefix));
        let own = self.shared.workloads.addresses();
        let hosts = hosts.filter(|host| own.contains(host)).collect();
        self.route(changed);
        self.look_for_outranking(hosts).await?;
        Ok(count)
    }

    pub(super) async fn reroute_everything(&mut self) -> anyhow::Result<()> {
        let all = self
            .shared
            .shell
            .with(|speaker, _| {
                let routes = speaker.routes().into_iter();
                with_next_hops(speaker, routes.map(|route| route.prefix).collect())
            })
            .await
            .context("BGP has stopped")?;
        self.route(all);
        Ok(())
    }

    fn route(&self, changed: Vec<(IpNet, NextHops)>) {
        if changed.is_empty() {
            return;
        }
        let own: Vec<IpAddr> = self
            .shared
            .addresses
            .networks()
            .map(|net| net.addr())
            .collect();
        let ours = |prefix: &IpNet| self.plan.blackholes.contains(prefix);
        let changes = changed
            .into_iter()
            .filter(|(prefix, _)| !ours(prefix))
            .map(|(prefix, next_hops)| ways::change(prefix, next_hops, &self.plan.pools, &own))
            .collect();
        self.shared.fib.apply(changes);
    }
}

fn with_next_hops(speaker: &Speaker, prefixes: Vec<IpNet>) -> Vec<(IpNet, NextHops)> {
    let ways = prefixes.into_iter();
    ways.map(|prefix| (prefix, speaker.next_hops_on_devices(&prefix)))
        .collect()
}
