//! What two OPENs agree on: after OPEN there is a [`Negotiated`], and no question left.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::wire::iana::{capability_code, error_code, open_error};
use crate::wire::{Capability, Codec, Family, Notification, Open};

/// What we offer on a connection, and whom we expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) local_asn: u32,
    pub(crate) remote_asn: u32,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) hold_time: Duration,
    pub(crate) families: Vec<Family>,
    /// Restart Time, when graceful restart is offered.
    pub(crate) graceful_restart: Option<Duration>,
    /// Restart State: we have just come back (RFC 4724 §3).
    pub(crate) restarting: bool,
}

/// What a session goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Negotiated {
    pub(crate) remote_router_id: Ipv4Addr,
    /// The smaller of both; zero: neither KEEPALIVEs nor a hold timer (RFC 4271 §4.2).
    pub(crate) hold_time: Duration,
    pub(crate) codec: Codec,
    /// Both sides sent the capability (RFC 4724).
    pub(crate) graceful_restart: Option<GracefulRestart>,
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
}

/// Why there is no agreement: for the wire and, more exactly, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) notification: Notification,
    pub(crate) reason: String,
}

impl Offer {
    pub(crate) fn is_external(&self) -> bool {
        self.local_asn != self.remote_asn
    }

    /// Our OPEN.
    pub(crate) fn open(&self) -> Open {
        let mut capabilities = multiprotocol(&self.families);
        capabilities.push(Capability::RouteRefresh);
        capabilities.push(Capability::FourOctetAs(self.local_asn));
        if let Some(time) = self.graceful_restart {
            let time_seconds = u16::try_from(time.as_secs()).unwrap_or(u16::MAX);
            capabilities.push(Capability::GracefulRestart {
                restarted: self.restarting,
                notification: true,
                time_seconds: time_seconds.min(RESTART_TIME_MAX),
                // F always: whoever runs this speaker leaves the kernel's routes in place.
                families: self.families.iter().map(|&family| (family, true)).collect(),
            });
        }
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
        if open.asn != self.remote_asn {
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
        let has_four_octet_as = open
            .capabilities
            .iter()
            .any(|capability| matches!(capability, Capability::FourOctetAs(_)));
        Ok(Negotiated {
            remote_router_id: open.router_id,
            hold_time,
            graceful_restart: self
                .graceful_restart
                .and_then(|_| graceful_restart(open, &families)),
            codec: Codec {
                four_octet_as: has_four_octet_as,
                families,
                peer_is_external: self.is_external(),
                // RFC 7311 §3.1: by default only where one administration is on both sides.
                aigp: !self.is_external(),
                ..Codec::initial()
            },
        })
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
        is_kept.then_some((graceful.time, Duration::ZERO))
    }

    /// The peer has kept forwarding for the family while it was away.
    pub(crate) fn forwarding_kept(&self, family: Family) -> bool {
        let graceful = self.graceful_restart.as_ref();
        graceful.is_some_and(|graceful| graceful.families.contains(&(family, true)))
    }

    /// NOTIFICATIONs keep paths as well (RFC 8538 §4).
    pub(crate) fn notifications_are_graceful(&self) -> bool {
        self.graceful_restart
            .as_ref()
            .is_some_and(|graceful| graceful.notification)
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

fn graceful_restart(open: &Open, negotiated: &[Family]) -> Option<GracefulRestart> {
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
                })
            }
            _ => None,
        })
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

/// RFC 4724 §3: twelve bits.
const RESTART_TIME_MAX: u16 = 4095;

#[cfg(test)]
mod tests;
