//! Phase 3 (RFC 4271 §9.1.3): what of a chosen path a group of peers gets, if anything.
//!
//! Reflection (RFC 4456 §6) is the exception to iBGP's split horizon and nothing more:
//!
//! ```text
//!   from \ to    external   internal   client
//!   local          yes        yes       yes
//!   external       yes        yes       yes
//!   internal       yes        no        reflected
//!   client         yes        reflected reflected (unless clients are fully meshed)
//! ```
//!
//! What is reflected goes out as it came (§10), with ORIGINATOR_ID and our CLUSTER_ID (§8): export policy may keep it back or
//! add communities, but not change what other routers decide by, unless the operator asks for it.
//!
//! That a path never goes back to the peer that sent it is not decided here, since it is different for each
//! peer of a group: the [log](crate::rib::log) is tagged with the source.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::{NextHopMode, PathsSent};
use crate::decision::{LOCAL_PREF_DEFAULT, local_pref};
use crate::policy::{
    Decision, Draft, GRACEFUL_SHUTDOWN, NextHopChange, PathSource, Program, RuleName, Signature,
    StandardCommunity, Subject,
};
use crate::rib::{PeerFacts, SessionKind};
use crate::roles;
use crate::stale::{LLGR_STALE, says_long_lived_stale};
use crate::wire::{Attributes, Codec, Family, Reflection, Role};

/// Everything that decides what a peer gets and how it is encoded. Peers with equal terms are a group and
/// share one Adj-RIB-Out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) kind: SessionKind,
    pub(crate) local_asn: u32,
    /// Our own AS number, where AS_PATH shall name it behind `local_asn` (RFC 7705).
    pub(crate) behind_local_asn: Option<u32>,
    /// What we are to the peers, external ones (RFC 9234).
    pub(crate) role: Option<Role>,
    pub(crate) cluster_id: Ipv4Addr,
    /// What a client has sent goes to the group, of clients (RFC 4456 §5).
    pub(crate) client_to_client: bool,
    /// Policy and `next_hop` hold for what is reflected as well (RFC 4456 §10).
    pub(crate) change_reflected: bool,
    pub(crate) next_hop: NextHopMode,
    pub(crate) self_v4: Option<Ipv4Addr>,
    pub(crate) self_v6: Option<Ipv6Addr>,
    /// Our end of a session on a link, which goes beside `self_v6` (RFC 2545 §3).
    pub(crate) self_link_local: Option<Ipv6Addr>,
    pub(crate) long_lived_stale: LongLivedStale,
    pub(crate) policy: Program,
    /// The session is about to be shut down (RFC 8326 §4.2).
    pub(crate) graceful_shutdown: bool,
    pub(crate) paths_sent: PathsSent,
    pub(crate) codec: Codec,
}

/// What becomes of long-lived stale paths (RFC 9494 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LongLivedStale {
    /// The peer understands the community.
    Sent,
    /// It does not.
    Withheld,
    /// It does not, and gets them all the same, made worse than any other (§4.6).
    LastResort,
}

/// Who brought the path: `None` for our own.
pub(crate) type Sender<'a> = Option<&'a PeerFacts>;

/// What a group gets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outgoing<'p> {
    pub(crate) attributes: Attributes,
    /// The rule of the export policy that has accepted it; `None`: its default.
    pub(crate) by: Option<RuleName<'p>>,
}

/// What a group gets, in the words of the tables.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is made, and never kept"
)]
pub(crate) enum Onward {
    /// What was received from this router: [`Terms::reflection`] is added when it is written, and nothing else happens
    /// to it.
    AsItCame(Ipv4Addr),
    Changed(Attributes),
}

/// Why a group does not get a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withheld<'p> {
    Family,
    /// RFC 4271 §9.2, RFC 4456 §6.
    Horizon,
    /// RFC 4456 §5.
    Meshed,
    /// RFC 1997.
    Community(u32),
    /// RFC 9494 §4.3.
    LongLivedStale,
    /// RFC 9234 §5: its OTC is of this AS.
    OnlyToCustomer(u32),
    /// The rule of the export policy; `None`: its default.
    Policy(Option<RuleName<'p>>),
    NextHop,
}

impl Terms {
    /// Each path of a prefix of the family goes out on its own, under an identifier (RFC 7911).
    pub(crate) fn sends_paths(&self, family: Family) -> bool {
        self.codec.add_path_send.contains(&family)
    }

    /// Of any family.
    pub(crate) fn sends_any_paths(&self) -> bool {
        !self.codec.add_path_send.is_empty()
    }

    /// All that the answer depends on of a prefix, besides its family.
    pub(crate) fn signature(&self, prefix: &IpNet) -> Signature {
        self.policy.signature(prefix)
    }

    /// What the group gets of a path: the same for all prefixes of a family with equal signature.
    pub(crate) fn disseminate(
        &self,
        family: Family,
        signature: &Signature,
        attributes: &Attributes,
        sender: Sender<'_>,
    ) -> Result<Outgoing<'_>, Withheld<'_>> {
        let judged = self.judge(family, signature, attributes, sender)?;
        let by = judged.by;
        let attributes = self.finish(family, judged, sender)?;
        Ok(Outgoing { attributes, by })
    }

    /// The same for the tables.
    pub(crate) fn pass_on(
        &self,
        family: Family,
        signature: &Signature,
        attributes: &Attributes,
        sender: Sender<'_>,
    ) -> Result<Onward, Withheld<'_>> {
        let judged = self.judge(family, signature, attributes, sender)?;
        if let Some(sender) = sender.filter(|_| self.leaves_alone(family, &judged, sender)) {
            return Ok(Onward::AsItCame(sender.router_id));
        }
        self.finish(family, judged, sender).map(Onward::Changed)
    }

    /// What is added to a path of this sender that is passed on as it came (RFC 4456 §8).
    pub(crate) fn reflection(&self, sender: Ipv4Addr) -> Reflection {
        Reflection {
            originator_id: sender,
            cluster_id: self.cluster_id,
            local_pref: LOCAL_PREF_DEFAULT,
        }
    }

    /// Nothing but [`Terms::reflection`] happens to it.
    fn leaves_alone(&self, family: Family, judged: &Judged<'_, '_>, sender: Sender<'_>) -> bool {
        let draft = &judged.draft;
        let Cow::Borrowed(attributes) = draft.attributes else {
            return false;
        };
        let next_hop = self.outgoing_next_hop(family, draft, sender);
        self.reflects(sender)
            && !judged.is_long_lived_stale
            && !self.graceful_shutdown
            && next_hop.is_some()
            && next_hop == attributes.next_hop
            && attributes.next_hop_link_local.is_none()
            && self.link_local_beside(next_hop).is_none()
    }

    /// Whether the group gets it at all, and what policy makes of it.
    fn judge<'p, 'a>(
        &'p self,
        family: Family,
        signature: &Signature,
        attributes: &'a Attributes,
        sender: Sender<'_>,
    ) -> Result<Judged<'p, 'a>, Withheld<'p>> {
        if !self.codec.families.contains(&family) {
            return Err(Withheld::Family);
        }
        self.horizon(sender)?;
        if sender.is_some()
            && let Some(community) = self.forbidding_community(&attributes.communities)
        {
            return Err(Withheld::Community(community));
        }
        let is_long_lived_stale = says_long_lived_stale(attributes, sender);
        if is_long_lived_stale && self.long_lived_stale == LongLivedStale::Withheld {
            return Err(Withheld::LongLivedStale);
        }
        if let Some(asn) = attributes.otc
            && self.role.is_some_and(roles::is_only_for_customers)
        {
            return Err(Withheld::OnlyToCustomer(asn));
        }
        let subject = Subject {
            family,
            source: PathSource::of(sender),
            attributes,
            prepend_asn: Some(self.local_asn),
        };
        let mut judged = self.policy.evaluate(signature, subject);
        if judged.decision == Decision::Reject {
            return Err(Withheld::Policy(judged.by));
        }
        if self.reflects(sender) && !self.change_reflected {
            judged.draft.restore_what_decides();
        }
        Ok(Judged {
            draft: judged.draft,
            by: judged.by,
            is_long_lived_stale,
        })
    }

    fn finish(
        &self,
        family: Family,
        judged: Judged<'_, '_>,
        sender: Sender<'_>,
    ) -> Result<Attributes, Withheld<'static>> {
        let attributes = self.outgoing(family, judged.draft, sender);
        let mut attributes = attributes.ok_or(Withheld::NextHop)?;
        if judged.is_long_lived_stale {
            self.say_long_lived_stale(&mut attributes);
        }
        Ok(attributes)
    }

    /// RFC 2545 §3: of use on its own link only, which is that of the session when the next hop is ours.
    fn link_local_beside(&self, next_hop: Option<IpAddr>) -> Option<Ipv6Addr> {
        let is_self = self.self_v6.is_some_and(|own| next_hop == Some(own.into()));
        self.self_link_local
            .filter(|&own| is_self && next_hop != Some(own.into()))
    }

    /// The attributes as they go out; `None`: there is no next hop that the group could use.
    fn outgoing(&self, family: Family, draft: Draft<'_>, sender: Sender<'_>) -> Option<Attributes> {
        let next_hop = self.outgoing_next_hop(family, &draft, sender)?;
        let med_is_set = draft.med_is_set;
        let mut out = Attributes {
            next_hop: Some(next_hop),
            next_hop_link_local: self.link_local_beside(Some(next_hop)),
            ..draft.attributes.into_owned()
        };
        if self.graceful_shutdown {
            out.local_pref = Some(0);
            if !out.communities.contains(&GRACEFUL_SHUTDOWN.0) {
                out.communities.push(GRACEFUL_SHUTDOWN.0);
            }
        }
        match self.kind {
            SessionKind::External => {
                out.as_path.0.retain(|segment| !segment.is_confed());
                if let Some(asn) = self.behind_local_asn {
                    out.as_path.prepend(asn, 1);
                }
                out.as_path.prepend(self.local_asn, 1);
                if let Some(role) = self.role {
                    out.otc = roles::sent(role, self.local_asn, out.otc);
                }
                out.local_pref = None;
                out.originator_id = None;
                out.cluster_list = Vec::new();
                if sender.is_some() && !med_is_set {
                    // RFC 4271 §5.1.4: a neighbour's MED is not for the neighbours beyond.
                    out.med = None;
                }
            }
            SessionKind::Internal | SessionKind::Client => {
                out.local_pref = Some(local_pref(&out));
                if let Some(sender) = sender.filter(|sender| sender.kind.is_internal()) {
                    // RFC 4456 §8.
                    out.originator_id = Some(out.originator_id.unwrap_or(sender.router_id));
                    out.cluster_list.insert(0, self.cluster_id);
                }
            }
        }
        Some(out)
    }

    /// RFC 4271 §9.2 with RFC 4456 §6.
    fn horizon(&self, sender: Sender<'_>) -> Result<(), Withheld<'static>> {
        match (sender.map(|sender| sender.kind), self.kind) {
            (Some(SessionKind::Internal), SessionKind::Internal) => Err(Withheld::Horizon),
            (Some(SessionKind::Client), SessionKind::Client) if !self.client_to_client => {
                Err(Withheld::Meshed)
            }
            _ => Ok(()),
        }
    }

    /// It is passed on from an internal peer to an internal one.
    fn reflects(&self, sender: Sender<'_>) -> bool {
        self.kind.is_internal() && sender.is_some_and(|sender| sender.kind.is_internal())
    }

    /// RFC 1997, for what we learned. What we attach to our own prefixes is meant for our peers.
    fn forbidding_community(&self, communities: &[u32]) -> Option<u32> {
        let external = self.kind == SessionKind::External;
        let forbids = |community: &u32| match *community {
            NO_ADVERTISE => true,
            // We are in no confederation, so its border is that of the AS.
            NO_EXPORT | NO_EXPORT_SUBCONFED => external,
            _ => false,
        };
        communities.iter().copied().find(forbids)
    }

    /// RFC 4271 §5.1.3.
    fn outgoing_next_hop(
        &self,
        family: Family,
        draft: &Draft<'_>,
        sender: Sender<'_>,
    ) -> Option<IpAddr> {
        let learned = draft.attributes.next_hop.filter(|_| sender.is_some());
        let keep = match draft.next_hop {
            Some(NextHopChange::Address(address)) => {
                return Some(address).filter(|&address| self.understands(family, address));
            }
            Some(NextHopChange::Own) => None,
            Some(NextHopChange::Keep) => learned,
            None if self.reflects(sender) && !self.change_reflected => learned,
            None => match self.next_hop {
                NextHopMode::OwnAddress => None,
                NextHopMode::Keep => learned,
                NextHopMode::Auto => learned.filter(|_| self.kind.is_internal()),
            },
        };
        let (own_v4, own_v6) = (self.self_v4.map(IpAddr::V4), self.self_v6.map(IpAddr::V6));
        let own = match family {
            // RFC 8950: an IPv6 one where we have no other.
            Family::Ipv4Unicast => own_v4.or(own_v6),
            Family::Ipv6Unicast => own_v6,
        };
        keep.or(own)
            .filter(|&address| self.understands(family, address))
    }

    /// The address may be a next hop of the family.
    fn understands(&self, family: Family, next_hop: IpAddr) -> bool {
        match family {
            Family::Ipv4Unicast => next_hop.is_ipv4() || self.codec.extended_next_hop,
            Family::Ipv6Unicast => next_hop.is_ipv6(),
        }
    }

    /// RFC 9494 §4.3: the community stays, whatever the policy has done. §4.6: for a peer that does not understand it,
    /// in words that it does.
    fn say_long_lived_stale(&self, attributes: &mut Attributes) {
        let mut say = |community| {
            if !attributes.communities.contains(&community) {
                attributes.communities.push(community);
            }
        };
        say(LLGR_STALE);
        if self.long_lived_stale == LongLivedStale::LastResort {
            say(NO_EXPORT);
            attributes.local_pref = Some(0);
        }
    }
}

/// What may go out, before its next hop and what the kind of session asks for.
struct Judged<'p, 'a> {
    draft: Draft<'a>,
    by: Option<RuleName<'p>>,
    is_long_lived_stale: bool,
}

impl fmt::Display for Withheld<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Withheld::Family => f.write_str("the session does not carry its family"),
            Withheld::Horizon => f.write_str("from an internal peer, and we do not reflect it"),
            Withheld::Meshed => {
                f.write_str("from a client, and clients hear of one another without us")
            }
            Withheld::Community(community) => {
                write!(f, "well-known community {}", StandardCommunity(*community))
            }
            Withheld::LongLivedStale => {
                f.write_str("long-lived stale, which the peer does not know")
            }
            Withheld::OnlyToCustomer(asn) => {
                write!(f, "Only to Customer (OTC {asn}), which the peer is not")
            }
            Withheld::Policy(Some(rule)) => write!(f, "export policy, {rule}"),
            Withheld::Policy(None) => f.write_str("export policy, default"),
            Withheld::NextHop => f.write_str("there is no next hop of its family"),
        }
    }
}

const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

#[cfg(test)]
mod tests;
