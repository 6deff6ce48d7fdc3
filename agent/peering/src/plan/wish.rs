//! BGPPeers as a plan reads them.

use std::net::IpAddr;

use caracal_datastore::resources::BGPPeer;

use crate::facts::{NodeFacts, Scope, text};
use crate::{PeerOptions, View};

/// A BGPPeer with its selectors parsed.
pub(super) struct Wish<'a> {
    pub(super) name: &'a str,
    pub(super) peer: &'a BGPPeer,
    pub(super) options: PeerOptions,
    /// Whose peer it is.
    pub(super) local: Scope<'a>,
    pub(super) remote: Remote<'a>,
}

pub(super) enum Remote<'a> {
    Nodes(Scope<'a>),
    Address {
        address: IpAddr,
        port: Option<u16>,
        asn: u32,
    },
}

impl Wish<'_> {
    /// The AS number of a node in the sessions of this BGPPeer.
    pub(super) fn local_asn(&self, node: &NodeFacts<'_>) -> u32 {
        self.peer.local_as_number.unwrap_or(node.asn)
    }
}

/// All BGPPeers that can be followed. What cannot is added to `faults`.
pub(super) fn wishes<'a>(view: &'a View, faults: &mut Vec<String>) -> Vec<Wish<'a>> {
    let mut wishes = Vec::new();
    for (name, stored) in &view.peers {
        let options = match view.options.get(name) {
            Some(options) => Ok(options.clone()),
            None => PeerOptions::of_annotation(&stored.metadata),
        };
        match options.and_then(|options| Ok((options, wish(name, &stored.spec)?))) {
            Ok((options, wish)) => wishes.push(Wish { options, ..wish }),
            Err(why) => faults.push(format!("BGPPeer {name}: {why}")),
        }
    }
    wishes
}

fn wish<'a>(name: &'a str, peer: &'a BGPPeer) -> Result<Wish<'a>, String> {
    let local = Scope::local(peer)?;
    let remote = match (text(&peer.peer_selector), &peer.peer_ip) {
        (Some(selector), _) => Remote::Nodes(Scope::selected("spec.peerSelector", selector)?),
        (None, Some(peer_ip)) => match peer.as_number {
            Some(asn) => Remote::Address {
                address: peer_ip.ip,
                port: peer_ip.port,
                asn,
            },
            None => {
                return Err(format!(
                    "spec.asNumber: missing, while spec.peerIP is {peer_ip}"
                ));
            }
        },
        (None, None) if text(&peer.local_workload_selector).is_some() => {
            let selector = text(&peer.local_workload_selector).unwrap_or_default();
            return Err(format!(
                "spec.localWorkloadSelector: `{selector}`: peers in workloads are not spoken with in this version"
            ));
        }
        (None, None) => {
            return Err(
                "it names no peer: neither spec.peerIP nor spec.peerSelector is set".to_owned(),
            );
        }
    };
    Ok(Wish {
        name,
        peer,
        options: PeerOptions::default(),
        local,
        remote,
    })
}
