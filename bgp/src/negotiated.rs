//! What two OPENs agree on: after OPEN there is a [`Negotiated`], and no question left.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::config::{AddPath, RemoteAs};
use crate::roles;
use crate::wire::iana::{capability_code, error_code, open_error};
use crate::wire::{
    AddPathMode, Capability, Codec, Family, LongLivedFamily, NextHopAfi, Notification, Open, Role,
};

/// What we offer on a connection, and whom we expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) local_asn: u32,
    pub(crate) remote_asn: RemoteAs,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) hold_time: Duration,
    pub(crate) families: Vec<Family>,
    /// What we are to the peer (RFC 9234 §3), and whether it must say what it is.
    pub(crate) role: Option<Role>,
    pub(crate) role_strict: bool,
    pub(crate) add_path: AddPath,
    /// Restart Time, when graceful restart is offered.
    pub(crate) graceful_restart: Option<Duration>,
    /// Restart State: we have just come back (RFC 4724 §3).
    pub(crate) restarting: bool,
    /// Long-lived Stale Times, when graceful restart is offered too (RFC 9494 §4.1).
    pub(crate) long_lived: Vec<(Family, Duration)>,
    /// RFC 8654.
    pub(crate) extended_messages: bool,
    /// IPv4 prefixes may have an IPv6 next hop (RFC 8950).
    pub(crate) extended_next_hop: bool,
    /// Host and domain, for people.
    pub(crate) hostname: Option<(String, String)>,
    /// For people.
    pub(crate) software: Option<String>,
}

/// What a session goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) remote_router_id: Ipv4Addr,
    pub(crate) remote_asn: u32,
    /// The smaller of both; zero: neither KEEPALIVEs nor a hold timer (RFC 4271 §4.2).
    pub(crate) hold_time: Duration,
    /// How we write to the peer.
    pub(crate) codec: Codec,
    /// Longest message from the peer: it may be longer than what we may send (RFC 8654 §4).
    pub(crate) receive_octets_max: usize,
    /// Both sides sent the capability (RFC 4724).
    pub(crate) graceful_restart: Option<GracefulRestart>,
    /// The peer sent the capability (RFC 9494), whether or not we did.
    pub(crate) understands_long_lived: bool,
    /// The peer may be asked to send a family once more (RFC 2918).
    pub(crate) route_refresh: bool,
    /// Names of the capabilities that both sides sent.
    pub(crate) capabilities: Vec<&'static str>,
    /// The name of the peer's host, with its domain.
    pub(crate) hostname: Option<String>,
    pub(crate) software: Option<String>,
}

/// The peer's graceful restart capability (RFC 4724 §3), where we sent ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GracefulRestart {
    /// R: it has restarted.
    pub(crate) restarted: bool,
    /// Both sides set N: NOTIFICATIONs are graceful too (RFC 8538).
    pub(crate) notification: bool,
    pub(crate) time: Duration,
    /// Those of its families that are negotiated, with F: forwarding state preserved.
    pub(crate) families: Vec<(Family, bool)>,
    /// The same for long-lived graceful restart, where we offered it (RFC 9494 §4.1).
    pub(crate) long_lived: Vec<LongLivedFamily>,
}

/// Why there is no agreement: for the wire and, more exactly, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) notification: Notification,
    pub(crate) reason: String,
}

impl Offer {
    pub(crate) fn is_external(&self) -> bool {
        self.remote_asn.is_external(self.local_asn)
    }

    /// Roles are between external peers.
    fn external_role(&self) -> Option<Role> {
        self.role.filter(|_| self.is_external())
    }

    /// Our OPEN.
    pub(crate) fn open(&self) -> Open {
        let mut capabilities = multiprotocol(&self.families);
        capabilities.push(Capability::RouteRefresh);
        capabilities.push(Capability::EnhancedRouteRefresh);
        if self.extended_messages {
            capabilities.push(Capability::ExtendedMessage);
        }
        if self.extended_next_hop && self.families.contains(&Family::Ipv4Unicast) {
            capabilities.push(Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]));
        }
        capabilities.push(Capability::FourOctetAs(self.local_asn));
        if let Some(role) = self.external_role() {
            capabilities.push(Capability::Role(role));
        }
        if let Some(mode) = self.add_path_mode() {
            let families = self.families.iter().map(|&family| (family, mode));
            capabilities.push(Capability::AddPath(families.collect()));
        }
        if let Some(time) = self.graceful_restart {
            let time_seconds = u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
            capabilities.push(Capability::GracefulRestart {
                restarted: self.restarting,
                notification: true,
                time_seconds: time_seconds.min(RESTART_TIME_MAX),
                // F always: whoever runs this speaker leaves the kernel's routes in place.
                families: self.families.iter().map(|&family| (family, true)).collect(),
            });
            // RFC 9494 §4.5: never without the other.
            if !self.long_lived.is_empty() {
                let of_family = |&(family, time): &(Family, Duration)| {
                    let seconds = u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
                    LongLivedFamily {
                        family,
                        forwarding: true,
                        stale_time_seconds: seconds.min(STALE_TIME_SECONDS_MAX),
                    }
                };
                let families = self.long_lived.iter().map(of_family);
                capabilities.push(Capability::LongLivedGracefulRestart(families.collect()));
            }
        }
        if let Some((host, domain)) = self.hostname.clone() {
            capabilities.push(Capability::Hostname { host, domain });
        }
        capabilities.extend(self.software.clone().map(Capability::SoftwareVersion));
        Open {
            asn: self.local_asn,
            hold_time_seconds: u16::try_from(self.hold_time.as_secs()).unwrap_or(u16::MAX),
            router_id: self.router_id,
            capabilities,
        }
    }

    /// What follows from the peer's OPEN (RFC 4271 §6.2). The decoder has checked all that can be checked
    /// without an offer.
    pub(crate) fn negotiate(&self, open: &Open) -> Result<Negotiated, Refusal> {
        if !self.remote_asn.admits(open.asn, self.local_asn) {
            return Err(refuse(open_error::BAD_PEER_AS, &[], || {
                format!(
                    "the peer's AS is {}, configured is {}",
                    open.asn, self.remote_asn
                )
            }));
        }
        // RFC 6286 §2.2: an identifier is unique within an AS only.
        if open.router_id == self.router_id && !self.is_external() {
            return Err(refuse(open_error::BAD_BGP_IDENTIFIER, &[], || {
                format!(
                    "the peer's BGP Identifier is {}, which is ours",
                    open.router_id
                )
            }));
        }
        if let Some(role) = self.external_role()
            && let Err(reason) = roles::agree(role, self.role_strict, open)
        {
            return Err(Refusal {
                notification: roles::mismatch(),
                reason,
            });
        }
        let theirs = offered_families(open);
        let families: Vec<Family> = self
            .families
            .iter()
            .copied()
            .filter(|family| theirs.contains(family))
            .collect();
        if families.is_empty() {
            // RFC 5492 §3: the data are the capabilities that we miss.
            return Err(refuse(
                open_error::UNSUPPORTED_CAPABILITY,
                &missing(&self.families),
                || {
                    let (ours, theirs) = (list(&self.families), list(&theirs));
                    format!("no family in common: we offer {ours}, the peer {theirs}")
                },
            ));
        }
        let hold_time = self
            .hold_time
            .min(Duration::from_secs(open.hold_time_seconds.into()));
        let theirs = |code: u8| open.capabilities.iter().any(|theirs| theirs.code() == code);
        let ours = self.open().capabilities;
        let mut both: Vec<u8> = ours.iter().map(Capability::code).collect();
        both.retain(|&code| theirs(code));
        both.dedup();
        let extended_next_hop = |capability: &Capability| matches!(capability, Capability::ExtendedNextHop(pairs) if pairs.contains(&IPV4_OVER_IPV6));
        Ok(Negotiated {
            remote_router_id: open.router_id,
            remote_asn: open.asn,
            hold_time,
            receive_octets_max: message_octets_max(self.extended_messages),
            graceful_restart: self
                .graceful_restart
                .and_then(|_| graceful_restart(open, &families, !self.long_lived.is_empty())),
            understands_long_lived: theirs(capability_code::GRACEFUL_RESTART)
                && theirs(capability_code::LONG_LIVED_GRACEFUL_RESTART),
            route_refresh: theirs(capability_code::ROUTE_REFRESH),
            capabilities: both.into_iter().filter_map(capability_name).collect(),
            hostname: open.capabilities.iter().find_map(hostname),
            software: open
                .capabilities
                .iter()
                .find_map(|capability| match capability {
                    Capability::SoftwareVersion(software) => Some(software.clone()),
                    _ => None,
                }),
            codec: Codec {
                four_octet_as: theirs(capability_code::FOUR_OCTET_AS),
                // RFC 8654 §4: what they offer is what we may send, what we offer is what they may.
                message_octets_max: message_octets_max(theirs(capability_code::EXTENDED_MESSAGE)),
                extended_next_hop: ours.iter().any(extended_next_hop)
                    && open.capabilities.iter().any(extended_next_hop)
                    && families.contains(&Family::Ipv4Unicast),
                enhanced_route_refresh: theirs(capability_code::ENHANCED_ROUTE_REFRESH),
                // RFC 7911 §4: where one side would send and the other receive.
                add_path_receive: self.add_path_agreed(open, &families, AddPathMode::receives),
                add_path_send: self.add_path_agreed(open, &families, AddPathMode::sends),
                families,
                peer_is_external: self.is_external(),
                // RFC 7311 §3.1: by default only where one administration is on both sides.
                aigp: !self.is_external(),
                ..Codec::initial()
            },
        })
    }
}

impl Offer {
    /// What we say of ADD-PATH; `None`: nothing.
    fn add_path_mode(&self) -> Option<AddPathMode> {
        match (self.add_path.receive, self.add_path.sends()) {
            (true, true) => Some(AddPathMode::Both),
            (true, false) => Some(AddPathMode::Receive),
            (false, true) => Some(AddPathMode::Send),
            (false, false) => None,
        }
    }

    /// Of the agreed families, those where we do `what` (send or receive) and the peer the opposite.
    fn add_path_agreed(
        &self,
        open: &Open,
        families: &[Family],
        what: fn(AddPathMode) -> bool,
    ) -> Vec<Family> {
        if !self.add_path_mode().is_some_and(what) {
            return Vec::new();
        }
        let is_opposite = |theirs: AddPathMode| match theirs {
            AddPathMode::Both => true,
            one_way => !what(one_way),
        };
        let said = open
            .capabilities
            .iter()
            .filter_map(|capability| match capability {
                Capability::AddPath(said) => Some(said),
                _ => None,
            });
        let said: Vec<(Family, AddPathMode)> = said.flatten().copied().collect();
        let of_family = |family: Family| said.iter().find(|(said, _)| *said == family);
        let agreed = families.iter().copied();
        agreed
            .filter(|&family| of_family(family).is_some_and(|(_, mode)| is_opposite(*mode)))
            .collect()
    }
}

impl Negotiated {
    /// RFC 4271 §4.4: a third of the hold time.
    pub(crate) fn keepalive_time(&self) -> Duration {
        self.hold_time / 3
    }

    pub(crate) fn families(&self) -> &[Family] {
        &self.codec.families
    }

    /// How long we keep the peer's paths of the family when it goes away (RFC 4724 §4.2), and then as long-lived
    /// stale ones; `None`: not at all.
    pub(crate) fn times_of_grace(&self, family: Family) -> Option<(Duration, Duration)> {
        let graceful = self.graceful_restart.as_ref()?;
        let is_kept = graceful.families.iter().any(|(kept, _)| *kept == family);
        // RFC 9494 §4.2: a family that only the long-lived capability names has no Restart Time.
        let restart_time = if is_kept {
            graceful.time
        } else {
            Duration::ZERO
        };
        let stale_time_seconds = graceful
            .long_lived_of(family)
            .map_or(0, |long_lived| long_lived.stale_time_seconds);
        Some((restart_time, Duration::from_secs(stale_time_seconds.into())))
    }

    /// The peer has kept forwarding for the family while it was away; for `long_lived` stale paths, the word of the
    /// long-lived capability counts (RFC 9494 §4.2).
    pub(crate) fn forwarding_kept(&self, family: Family, long_lived: bool) -> bool {
        let Some(graceful) = &self.graceful_restart else {
            return false;
        };
        if long_lived {
            let said = graceful.long_lived_of(family);
            said.is_some_and(|long_lived| long_lived.forwarding)
        } else {
            graceful.families.contains(&(family, true))
        }
    }

    /// NOTIFICATIONs keep paths as well (RFC 8538 §4).
    pub(crate) fn notifications_are_graceful(&self) -> bool {
        self.graceful_restart
            .as_ref()
            .is_some_and(|graceful| graceful.notification)
    }
}

impl GracefulRestart {
    fn long_lived_of(&self, family: Family) -> Option<&LongLivedFamily> {
        let mut long_lived = self.long_lived.iter();
        long_lived.find(|long_lived| long_lived.family == family)
    }
}

/// RFC 4760 §8. IPv4 unicast is implied only where nothing at all is said about families.
fn offered_families(open: &Open) -> Vec<Family> {
    let said = |capability: &Capability| match capability {
        Capability::Multiprotocol(family) => Some(Some(*family)),
        Capability::Unknown {
            code: capability_code::MULTIPROTOCOL,
            ..
        } => Some(None),
        _ => None,
    };
    let said: Vec<Option<Family>> = open.capabilities.iter().filter_map(said).collect();
    if said.is_empty() {
        return vec![Family::Ipv4Unicast];
    }
    said.into_iter().flatten().collect()
}

fn graceful_restart(
    open: &Open,
    negotiated: &[Family],
    offers_long_lived: bool,
) -> Option<GracefulRestart> {
    let long_lived = open
        .capabilities
        .iter()
        .find_map(|capability| match capability {
            Capability::LongLivedGracefulRestart(families) if offers_long_lived => {
                let families = families.iter().copied();
                Some(
                    families
                        .filter(|long_lived| negotiated.contains(&long_lived.family))
                        .collect(),
                )
            }
            _ => None,
        });
    let long_lived: Vec<LongLivedFamily> = long_lived.unwrap_or_default();
    open.capabilities
        .iter()
        .find_map(|capability| match capability {
            Capability::GracefulRestart {
                restarted,
                notification,
                time_seconds,
                families,
            } => {
                let families = families.iter().copied();
                Some(GracefulRestart {
                    restarted: *restarted,
                    notification: *notification,
                    time: Duration::from_secs(u64::from(*time_seconds)),
                    families: families
                        .filter(|(family, _)| negotiated.contains(family))
                        .collect(),
                    long_lived: long_lived.clone(),
                })
            }
            _ => None,
        })
}

fn hostname(capability: &Capability) -> Option<String> {
    match capability {
        Capability::Hostname { host, domain } if domain.is_empty() => Some(host.clone()),
        Capability::Hostname { host, domain } => Some(format!("{host}.{domain}")),
        _ => None,
    }
}

/// For people. Families are shown on their own.
fn capability_name(code: u8) -> Option<&'static str> {
    Some(match code {
        capability_code::ROUTE_REFRESH => "route-refresh",
        capability_code::EXTENDED_NEXT_HOP => "extended-next-hop",
        capability_code::EXTENDED_MESSAGE => "extended-message",
        capability_code::ROLE => "role",
        capability_code::GRACEFUL_RESTART => "graceful-restart",
        capability_code::FOUR_OCTET_AS => "four-octet-as",
        capability_code::ADD_PATH => "add-path",
        capability_code::ENHANCED_ROUTE_REFRESH => "enhanced-route-refresh",
        capability_code::LONG_LIVED_GRACEFUL_RESTART => "long-lived-graceful-restart",
        capability_code::HOSTNAME => "hostname",
        capability_code::SOFTWARE_VERSION => "software-version",
        _ => return None,
    })
}

fn message_octets_max(extended: bool) -> usize {
    if extended {
        EXTENDED_MESSAGE_OCTETS_MAX
    } else {
        Codec::initial().message_octets_max
    }
}

fn multiprotocol(families: &[Family]) -> Vec<Capability> {
    families
        .iter()
        .map(|&family| Capability::Multiprotocol(family))
        .collect()
}

fn missing(families: &[Family]) -> Vec<u8> {
    let capability = |family: &Family| {
        let (afi, safi) = family.numbers();
        let [high, low] = afi.to_be_bytes();
        [capability_code::MULTIPROTOCOL, 4, high, low, 0, safi]
    };
    families.iter().flat_map(capability).collect()
}

fn list(families: &[Family]) -> String {
    if families.is_empty() {
        return "none that we know".to_owned();
    }
    let names: Vec<String> = families.iter().map(Family::to_string).collect();
    names.join(" and ")
}

fn refuse(subcode: u8, data: &[u8], reason: impl FnOnce() -> String) -> Refusal {
    let notification = Notification::new(error_code::OPEN, subcode, data);
    Refusal {
        reason: reason(),
        notification,
    }
}

/// RFC 8950 §4, for the one pair that we know.
const IPV4_OVER_IPV6: (Family, NextHopAfi) = (Family::Ipv4Unicast, NextHopAfi::Ipv6);
/// RFC 8654 §2.
const EXTENDED_MESSAGE_OCTETS_MAX: usize = 65_535;
/// RFC 9494 §4.1: 24 bits.
const STALE_TIME_SECONDS_MAX: u32 = 0x00ff_ffff;
/// RFC 4724 §3: twelve bits.
const RESTART_TIME_MAX: u16 = 4095;

#[cfg(test)]
mod tests;
