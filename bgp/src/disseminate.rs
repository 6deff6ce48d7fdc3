//! Phase 3 (RFC 4271 §9.1.3): what of a chosen path a group of peers gets, if anything.
//!
//! Reflection (RFC 4456 §6) is the exception to iBGP's split horizon and nothing more:
//!
//! ```text
//!   from \ to    external   internal   client
//!   local          yes        yes       yes
//!   external       yes        yes       yes
//!   internal       yes        no        reflected
//!   client         yes        reflected reflected
//! ```
//!
//! That a path never goes back to the peer that sent it is not decided here, since it is different for each
//! peer of a group: the [log](crate::rib::log) is tagged with the source.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::{NextHopMode, Policy};
use crate::decision::local_pref;
use crate::rib::{PeerFacts, SessionKind};
use crate::wire::{Attributes, Codec, Family};

/// Everything that decides what a peer gets and how it is encoded. Peers with equal terms are a group and
/// share one Adj-RIB-Out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) kind: SessionKind,
    pub(crate) local_asn: u32,
    pub(crate) cluster_id: Ipv4Addr,
    pub(crate) next_hop: NextHopMode,
    pub(crate) self_v4: Option<Ipv4Addr>,
    pub(crate) self_v6: Option<Ipv6Addr>,
    pub(crate) policy: Policy,
    pub(crate) codec: Codec,
}

/// Who brought the path: `None` for our own.
pub(crate) type Sender<'a> = Option<&'a PeerFacts>;

impl Terms {
    /// Whether a path of `prefix` may go to the group at all.
    pub(crate) fn permit(
        &self,
        prefix: &IpNet,
        attributes: &Attributes,
        sender: Sender<'_>,
    ) -> bool {
        self.codec.families.contains(&Family::of(prefix))
            && self.horizon_permits(sender)
            && (sender.is_none() || self.communities_permit(&attributes.communities))
            && self.policy.accepts(prefix, sender.is_none())
    }

    /// The attributes that the group gets; `None`: there is no next hop that it could use. The same for
    /// all prefixes of a family.
    pub(crate) fn outgoing(
        &self,
        family: Family,
        attributes: &Attributes,
        sender: Sender<'_>,
    ) -> Option<Attributes> {
        let next_hop = self.outgoing_next_hop(family, attributes, sender)?;
        let mut out = Attributes {
            next_hop: Some(next_hop),
            // RFC 2545 §3: of use on its own link only.
            next_hop_link_local: None,
            ..attributes.clone()
        };
        match self.kind {
            SessionKind::External => {
                out.as_path.0.retain(|segment| !segment.is_confed());
                out.as_path.prepend(self.local_asn, 1);
                out.local_pref = None;
                out.originator_id = None;
                out.cluster_list = Vec::new();
                if sender.is_some() {
                    // RFC 4271 §5.1.4: a neighbour's MED is not for the neighbours beyond.
                    out.med = None;
                }
            }
            SessionKind::Internal | SessionKind::Client => {
                out.local_pref = Some(local_pref(attributes));
                if let Some(sender) = sender.filter(|sender| sender.kind.is_internal()) {
                    // RFC 4456 §8.
                    out.originator_id = Some(attributes.originator_id.unwrap_or(sender.router_id));
                    out.cluster_list.insert(0, self.cluster_id);
                }
            }
        }
        Some(out)
    }

    /// RFC 4271 §9.2 with RFC 4456 §6.
    fn horizon_permits(&self, sender: Sender<'_>) -> bool {
        match (sender.map(|sender| sender.kind), self.kind) {
            (None | Some(SessionKind::External), _) | (_, SessionKind::External) => true,
            (Some(SessionKind::Internal), SessionKind::Internal) => false,
            (Some(SessionKind::Internal), SessionKind::Client) | (Some(SessionKind::Client), _) => {
                true
            }
        }
    }

    /// RFC 1997, for what we learned. What we attach to our own prefixes is meant for our peers.
    fn communities_permit(&self, communities: &[u32]) -> bool {
        let external = self.kind == SessionKind::External;
        communities.iter().all(|&community| match community {
            NO_ADVERTISE => false,
            // We are in no confederation, so its border is that of the AS.
            NO_EXPORT | NO_EXPORT_SUBCONFED => !external,
            _ => true,
        })
    }

    /// RFC 4271 §5.1.3.
    fn outgoing_next_hop(
        &self,
        family: Family,
        attributes: &Attributes,
        sender: Sender<'_>,
    ) -> Option<IpAddr> {
        let learned = attributes.next_hop.filter(|_| sender.is_some());
        let keep = match self.next_hop {
            NextHopMode::OwnAddress => None,
            NextHopMode::Keep => learned,
            NextHopMode::Auto => learned.filter(|_| self.kind.is_internal()),
        };
        match family {
            Family::Ipv4Unicast => keep
                .or(self.self_v4.map(IpAddr::V4))
                .filter(IpAddr::is_ipv4),
            Family::Ipv6Unicast => keep
                .or(self.self_v6.map(IpAddr::V6))
                .filter(IpAddr::is_ipv6),
        }
    }
}

const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

#[cfg(test)]
mod tests;
