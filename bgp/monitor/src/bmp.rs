//! The messages of BMP (RFC 7854 §4, RFC 9069 §4) as octets.
//!
//! ```text
//! +---------+----------------+------+   +------+-------+---------------+---------+
//! | version | message length | type |   | peer | flags | distinguisher | address | ...  for a peer
//! |  1      |  4             |  1   |   |  1   |  1    |  8            |  16     |
//! +---------+----------------+------+   +------+-------+---------------+---------+
//!                                       ... | AS 4 | BGP ID 4 | seconds 4 | microseconds 4 |
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use caracal_bgp::tap::{DownReason, Session};
use caracal_bgp::wire::{Capability, Codec, Family, Message, NextHopAfi, Open};

/// What stands before every message about a peer (RFC 7854 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerHeader {
    /// Whose table.
    pub kind: PeerKind,
    /// Peer Address; `None` for the Loc-RIB.
    pub address: Option<IpAddr>,
    /// Peer AS.
    pub asn: u32,
    /// Peer BGP ID.
    pub router_id: Ipv4Addr,
    /// Seconds and microseconds since 1970.
    pub at: (u32, u32),
}

/// Peer Type, and what its flags say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerKind {
    /// A Global Instance Peer's Adj-RIB-In, or its L flag: after policy.
    AdjRibIn {
        /// L.
        post_policy: bool,
    },
    /// The Loc-RIB Instance Peer (RFC 9069 §4.1).
    LocRib,
}

/// A statistic (RFC 7854 §4.8): 64-bit gauges, of all families or of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauge {
    /// Stat Type.
    pub kind: u16,
    /// What it is.
    pub value: u64,
}

/// Routes in Adj-RIBs-In (RFC 7854 §4.8).
pub const ADJ_RIB_IN_ROUTES: u16 = 7;
/// Routes in the Loc-RIB (RFC 7854 §4.8).
pub const LOC_RIB_ROUTES: u16 = 8;
/// Routes in post-policy Adj-RIB-Out (RFC 8671 §6.2).
pub const ADJ_RIB_OUT_POST_POLICY_ROUTES: u16 = 15;

/// Initiation (RFC 7854 §4.3): who we are.
pub fn initiation(description: &str, name: &str, out: &mut Vec<u8>) {
    message(INITIATION, out, |out| {
        tlv(SYS_DESCR, description.as_bytes(), out);
        tlv(SYS_NAME, name.as_bytes(), out);
    });
}

/// Termination (RFC 7854 §4.5): administratively closed.
pub fn termination(reason: &str, out: &mut Vec<u8>) {
    message(TERMINATION, out, |out| {
        tlv(TERMINATION_STRING, reason.as_bytes(), out);
        tlv(TERMINATION_REASON, &ADMINISTRATIVELY_CLOSED, out);
    });
}

/// Peer Up (RFC 7854 §4.10).
pub fn peer_up(header: &PeerHeader, session: &Session, out: &mut Vec<u8>) {
    message(PEER_UP, out, |out| {
        header.encode(out);
        ends(session.local, session.remote.port(), out);
        out.extend_from_slice(&session.sent_open);
        out.extend_from_slice(&session.received_open);
    });
}

/// Peer Up of the Loc-RIB (RFC 9069 §4.4, §4.5): OPENs that say what its messages may have.
pub fn loc_rib_up(header: &PeerHeader, out: &mut Vec<u8>) {
    let open = loc_rib_open(header.asn, header.router_id);
    message(PEER_UP, out, |out| {
        header.encode(out);
        ends(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0), 0, out);
        out.extend_from_slice(&open);
        out.extend_from_slice(&open);
        tlv(TABLE_NAME, b"global", out);
    });
}

/// Peer Down (RFC 7854 §4.9).
pub fn peer_down(header: &PeerHeader, reason: &DownReason, out: &mut Vec<u8>) {
    message(PEER_DOWN, out, |out| {
        header.encode(out);
        match reason {
            DownReason::NotificationSent(octets) => {
                out.push(1);
                out.extend_from_slice(octets);
            }
            DownReason::Closed => {
                out.push(2);
                out.extend_from_slice(&MANUAL_STOP.to_be_bytes());
            }
            DownReason::NotificationReceived(octets) => {
                out.push(3);
                out.extend_from_slice(octets);
            }
            DownReason::Lost => out.push(4),
        }
    });
}

/// Route Monitoring (RFC 7854 §4.6), one message for each of these UPDATEs.
pub fn route_monitoring(header: &PeerHeader, mut updates: &[u8], out: &mut Vec<u8>) {
    while let Some(octets) = length(updates) {
        let (update, rest) = updates.split_at(octets);
        message(ROUTE_MONITORING, out, |out| {
            header.encode(out);
            out.extend_from_slice(update);
        });
        updates = rest;
    }
}

/// All that there was of the family has been told (RFC 7854 §5).
pub fn end_of_rib(header: &PeerHeader, family: Family, out: &mut Vec<u8>) {
    let mut update = Vec::new();
    Codec::initial().encode_end_of_rib(family, &mut update);
    route_monitoring(header, &update, out);
}

/// Statistics Report (RFC 7854 §4.8).
pub fn statistics(header: &PeerHeader, gauges: &[Gauge], out: &mut Vec<u8>) {
    message(STATISTICS_REPORT, out, |out| {
        header.encode(out);
        out.extend_from_slice(&u32::try_from(gauges.len()).unwrap_or(0).to_be_bytes());
        for gauge in gauges {
            tlv(gauge.kind, &gauge.value.to_be_bytes(), out);
        }
    });
}

impl PeerHeader {
    fn encode(&self, out: &mut Vec<u8>) {
        let is_v6 = matches!(self.address, Some(IpAddr::V6(_)));
        let (kind, flags) = match self.kind {
            PeerKind::AdjRibIn { post_policy } => (
                GLOBAL_INSTANCE,
                (u8::from(is_v6) * FLAG_V) | (u8::from(post_policy) * FLAG_L),
            ),
            PeerKind::LocRib => (LOC_RIB_INSTANCE, 0),
        };
        out.extend_from_slice(&[kind, flags]);
        out.extend_from_slice(&[0; 8]); // Peer Distinguisher
        address(self.address, out);
        out.extend_from_slice(&self.asn.to_be_bytes());
        out.extend_from_slice(&self.router_id.octets());
        out.extend_from_slice(&self.at.0.to_be_bytes());
        out.extend_from_slice(&self.at.1.to_be_bytes());
    }
}

/// Sixteen octets; an IPv4 address is in the last four.
fn address(address: Option<IpAddr>, out: &mut Vec<u8>) {
    match address {
        Some(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
        Some(IpAddr::V4(address)) => {
            out.extend_from_slice(&[0; 12]);
            out.extend_from_slice(&address.octets());
        }
        None => out.extend_from_slice(&[0; 16]),
    }
}

fn ends(local: SocketAddr, remote_port: u16, out: &mut Vec<u8>) {
    address(Some(local.ip()), out);
    out.extend_from_slice(&local.port().to_be_bytes());
    out.extend_from_slice(&remote_port.to_be_bytes());
}

fn loc_rib_open(asn: u32, router_id: Ipv4Addr) -> Vec<u8> {
    let mut capabilities: Vec<Capability> = Family::ALL
        .into_iter()
        .map(Capability::Multiprotocol)
        .collect();
    capabilities.push(Capability::FourOctetAs(asn));
    capabilities.push(Capability::ExtendedMessage);
    let v4_behind_v6 = (Family::Ipv4Unicast, NextHopAfi::Ipv6);
    capabilities.push(Capability::ExtendedNextHop(vec![v4_behind_v6]));
    let open = Open {
        asn,
        hold_time_seconds: 0,
        router_id,
        capabilities,
    };
    let mut octets = Vec::new();
    Codec::initial().encode(&Message::Open(open), &mut octets);
    octets
}

/// The length of the first BGP message of whole ones; `None`: there is none.
pub(crate) fn length(messages: &[u8]) -> Option<usize> {
    let length = messages.get(16..18)?;
    let octets = usize::from(u16::from_be_bytes([length[0], length[1]]));
    (octets >= 19 && octets <= messages.len()).then_some(octets)
}

fn message(kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[VERSION, 0, 0, 0, 0, kind]);
    body(out);
    let octets = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    out[start + 1..start + 5].copy_from_slice(&octets.to_be_bytes());
}

fn tlv(kind: u16, value: &[u8], out: &mut Vec<u8>) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    let octets = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&octets.to_be_bytes());
    out.extend_from_slice(value);
}

/// RFC 7854 §4.1.
const VERSION: u8 = 3;
const ROUTE_MONITORING: u8 = 0;
const STATISTICS_REPORT: u8 = 1;
const PEER_DOWN: u8 = 2;
const PEER_UP: u8 = 3;
const INITIATION: u8 = 4;
const TERMINATION: u8 = 5;

/// RFC 7854 §4.2: Peer Types.
const GLOBAL_INSTANCE: u8 = 0;
/// RFC 9069 §4.1.
const LOC_RIB_INSTANCE: u8 = 3;
/// The address is of IPv6.
const FLAG_V: u8 = 0x80;
/// After policy.
const FLAG_L: u8 = 0x40;

/// RFC 7854 §4.4.
const SYS_DESCR: u16 = 1;
const SYS_NAME: u16 = 2;
/// RFC 9069 §4.4.
const TABLE_NAME: u16 = 3;
/// RFC 7854 §4.5.
const TERMINATION_STRING: u16 = 0;
const TERMINATION_REASON: u16 = 1;
const ADMINISTRATIVELY_CLOSED: [u8; 2] = [0, 0];
/// RFC 4271 §8.1.2, event 2.
const MANUAL_STOP: u16 = 2;
