//! Sessions that the cluster's resources no longer have, and that go on until others take their place.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use anyhow::Context;
use caracal_peering::{Link, LinkState, PlannedPeer};

use super::Node;
use crate::plan::{Plan, condition};

impl Node {
    /// Puts what goes on of the present plan into the new one.
    pub(super) fn keep_leaving(&mut self, plan: &mut Plan) {
        let refused = &plan.refused;
        let last = self.plan.peers.iter();
        let last = links(last.filter(|peer| !refused.contains(&peer.config.remote_address)));
        let (planned, nodes) = (links(&plan.peers), &self.cluster.view.nodes);
        let now = self.shared.started.elapsed();
        let is_there = |node: &str| nodes.contains_key(node);
        let kept = self.transition.follow(now, &last, &planned, is_there);
        for address in &kept {
            let Some(peer) = self.plan.peer(*address) else {
                continue;
            };
            plan.peers.push(PlannedPeer {
                leaving: true,
                ..peer.clone()
            });
            if let Some(options) = self.plan.sessions.get(address) {
                plan.sessions.insert(*address, options.clone());
            }
        }
        plan.peers.sort_by_key(|peer| peer.config.remote_address);
        if let Some(words) = self.transition.words_now() {
            plan.conditions.push(condition("SessionsKept", words));
        }
        self.look_again();
    }

    /// Looks how far the others are.
    pub(super) async fn look_at_leaving(&mut self) -> anyhow::Result<()> {
        let leaving = self.transition.leaving();
        let states = self
            .shared
            .shell
            .with(move |speaker, now| LinkState::all(speaker, now, &leaving))
            .await
            .context("BGP has stopped")?;
        let now = self.shared.started.elapsed();
        self.plan_dirty |= self.transition.look(now, &states);
        self.look_at = None;
        self.look_again();
        Ok(())
    }

    fn look_again(&mut self) {
        self.look_at = match (self.transition.look_in(), self.look_at) {
            (None, _) => None,
            (Some(_), Some(at)) => Some(at),
            (Some(pause), None) => Some(Instant::now() + pause),
        };
    }
}

fn links<'a>(peers: impl IntoIterator<Item = &'a PlannedPeer>) -> BTreeMap<IpAddr, Link> {
    let peers = peers.into_iter();
    peers
        .map(|peer| (peer.config.remote_address, peer.link()))
        .collect()
}
