//! What the BGP speaker is told of a plan, and what it is asked.

use std::net::IpAddr;

use anyhow::Context;
use caracal_bgp::{Speaker, Time};
use caracal_bgp_net::{Unnumbered, UnnumberedConfig};
use caracal_peering::{change_words, export_policy};
use ipnet::IpNet;
use tracing::info;

use super::Node;
use crate::plan::Plan;

impl Node {
    pub(super) async fn tell_speaker(&mut self, last: &Plan) -> anyhow::Result<()> {
        let gone: Vec<(IpAddr, bool)> = last
            .peers
            .iter()
            .map(|peer| (peer.config.remote_address, peer.leaving))
            .filter(|(address, _)| self.plan.peer(*address).is_none())
            .collect();
        for peer in &self.plan.peers {
            let before = last.peer(peer.config.remote_address);
            if let Some(words) = before.and_then(|old| change_words(&old.config, &peer.config)) {
                info!("{words}");
            }
        }
        let reflection = self.plan.reflection;
        let peers: Vec<_> = self
            .plan
            .peers
            .iter()
            .filter(|peer| last.peer(peer.config.remote_address) != Some(peer))
            .map(|peer| peer.config.clone())
            .collect();
        let withdrawn: Vec<IpNet> = last
            .originated
            .keys()
            .filter(|prefix| !self.plan.originated.contains_key(prefix))
            .copied()
            .collect();
        let originated: Vec<_> = self
            .plan
            .originated
            .iter()
            .filter(|(prefix, path)| last.originated.get(prefix) != Some(path))
            .map(|(prefix, path)| (*prefix, path.clone()))
            .collect();
        let first = !std::mem::replace(&mut self.restart_finished, true);
        let (routing, orders) = (self.routing.clone(), self.orders(last));
        self.awaited = self
            .shared
            .shell
            .with(move |speaker, now| {
                speaker.set_reflection(now, reflection.cluster_id, reflection.client_to_client);
                for (address, leaving) in gone {
                    match leaving {
                        true => speaker.release_peer(now, address),
                        false => speaker.remove_peer(now, address),
                    }
                }
                originated
                    .into_iter()
                    .for_each(|(prefix, path)| speaker.originate(now, prefix, path));
                withdrawn
                    .into_iter()
                    .for_each(|prefix| speaker.withdraw(now, prefix));
                for config in peers {
                    speaker.set_peer(now, config);
                }
                if first {
                    // Every local path of this restart is there.
                    speaker.finish_restart(now);
                }
                routing.obey(speaker, orders);
                awaited(speaker, now)
            })
            .await
            .context("BGP has stopped")?;
        Ok(())
    }

    /// Peers on links are like those of the plan: they get what may leave the node.
    pub(super) async fn tell_links(&mut self) -> anyhow::Result<()> {
        let shared = &self.shared;
        // The plan names its faults.
        let export = export_policy(&shared.config.nodename, &self.cluster.view, &mut Vec::new());
        for entry in &shared.config.bgp.unnumbered {
            let mut config = UnnumberedConfig::new(&entry.interface, entry.asn, self.plan.asn);
            config.template.export = export.clone();
            let mut links = shared.links.lock().await;
            match links.get(&entry.interface) {
                Some(link) => link.set_template(config.template).await?,
                None => {
                    let link = Unnumbered::start(&shared.shell, config);
                    links.insert(entry.interface.clone(), link);
                }
            }
        }
        Ok(())
    }

    /// Whoever is waited for is asked of the speaker, not summed up from events, of which a slow reader loses some.
    pub(super) async fn ask_who_is_awaited(&mut self) -> anyhow::Result<()> {
        self.awaited = self
            .shared
            .shell
            .with(|speaker, now| awaited(speaker, now))
            .await
            .context("BGP has stopped")?;
        Ok(())
    }
}

/// Peers whose paths from before the restart are still expected.
fn awaited(speaker: &Speaker, now: Time) -> Vec<IpAddr> {
    let pending = speaker
        .peers(now)
        .into_iter()
        .filter(|peer| peer.deferral_pending);
    pending.map(|peer| peer.address).collect()
}
