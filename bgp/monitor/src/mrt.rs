//! The records of MRT (RFC 6396, RFC 8050) as octets.
//!
//! ```text
//! +-----------+------+---------+--------+
//! | timestamp | type | subtype | length | ...
//! |  4        |  2   |  2      |  4     |
//! +-----------+------+---------+--------+
//! ```

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use caracal_bgp::wire::{Attributes, Family};
use ipnet::IpNet;

/// A peer of PEER_INDEX_TABLE (RFC 6396 §4.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexedPeer {
    /// Peer BGP ID.
    pub router_id: Ipv4Addr,
    /// Peer IP Address.
    pub address: IpAddr,
    /// Peer AS.
    pub asn: u32,
}

/// A path of a prefix (RFC 6396 §4.3.4, RFC 8050 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RibEntry {
    /// Index into PEER_INDEX_TABLE.
    pub peer: u16,
    /// Originated Time: seconds since 1970.
    pub originated_seconds: u32,
    /// RFC 7911; 0 without ADD-PATH.
    pub path_id: u32,
    /// All that came with it.
    pub attributes: Attributes,
}

/// Between whom something went, and when (RFC 6396 §4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// Seconds and microseconds since 1970.
    pub at: (u32, u32),
    /// Peer AS Number.
    pub remote_asn: u32,
    /// Local AS Number.
    pub local_asn: u32,
    /// Peer IP Address.
    pub remote: SocketAddr,
    /// Local IP Address.
    pub local: SocketAddr,
}

/// How a message is to be read, and who sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageForm {
    /// AS numbers in its AS_PATH have four octets.
    pub four_octet_as: bool,
    /// Its prefixes have Path Identifiers (RFC 8050 §3).
    pub add_path: bool,
    /// We sent it.
    pub sent: bool,
}

/// PEER_INDEX_TABLE (RFC 6396 §4.3.1).
pub fn peer_index_table(
    seconds: u32,
    router_id: Ipv4Addr,
    peers: &[IndexedPeer],
    out: &mut Vec<u8>,
) {
    record(
        (seconds, None),
        TABLE_DUMP_V2,
        PEER_INDEX_TABLE,
        out,
        |out| {
            out.extend_from_slice(&router_id.octets());
            out.extend_from_slice(&[0, 0]); // no View Name
            let peers = &peers[..peers.len().min(usize::from(u16::MAX))];
            out.extend_from_slice(&u16::try_from(peers.len()).unwrap_or(u16::MAX).to_be_bytes());
            for peer in peers {
                out.push(PEER_AS4 | (u8::from(peer.address.is_ipv6()) * PEER_IPV6));
                out.extend_from_slice(&peer.router_id.octets());
                address(peer.address, out);
                out.extend_from_slice(&peer.asn.to_be_bytes());
            }
        },
    );
}

/// RIB_IPV4_UNICAST and its like (RFC 6396 §4.3.2), with `_ADDPATH` where a path has an identifier (RFC 8050
/// §4.1).
pub fn rib(seconds: u32, sequence: u32, prefix: &IpNet, entries: &[RibEntry], out: &mut Vec<u8>) {
    let family = Family::of(prefix);
    let add_path = entries.iter().any(|entry| entry.path_id != 0);
    let subtype = match (family, add_path) {
        (Family::Ipv4Unicast, false) => RIB_IPV4_UNICAST,
        (Family::Ipv6Unicast, false) => RIB_IPV6_UNICAST,
        (Family::Ipv4Unicast, true) => RIB_IPV4_UNICAST_ADDPATH,
        (Family::Ipv6Unicast, true) => RIB_IPV6_UNICAST_ADDPATH,
    };
    record((seconds, None), TABLE_DUMP_V2, subtype, out, |out| {
        out.extend_from_slice(&sequence.to_be_bytes());
        nlri(prefix, out);
        let entries = &entries[..entries.len().min(usize::from(u16::MAX))];
        out.extend_from_slice(
            &u16::try_from(entries.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        for entry in entries {
            out.extend_from_slice(&entry.peer.to_be_bytes());
            out.extend_from_slice(&entry.originated_seconds.to_be_bytes());
            if add_path {
                out.extend_from_slice(&entry.path_id.to_be_bytes());
            }
            let length_at = out.len();
            out.extend_from_slice(&[0, 0]);
            let attributes = crate::pen::with_next_hop(&entry.attributes, family);
            attributes.encode_rib_entry(family, out);
            let octets = u16::try_from(out.len() - length_at - 2).unwrap_or(u16::MAX);
            out[length_at..length_at + 2].copy_from_slice(&octets.to_be_bytes());
        }
    });
}

/// BGP4MP_STATE_CHANGE_AS4 with microseconds (RFC 6396 §4.4.1, §3). States: 1 Idle to 6 Established.
pub fn state_change(between: &Between, old: u16, new: u16, out: &mut Vec<u8>) {
    let (seconds, micros) = between.at;
    record(
        (seconds, Some(micros)),
        BGP4MP_ET,
        STATE_CHANGE_AS4,
        out,
        |out| {
            between.encode(true, out);
            out.extend_from_slice(&old.to_be_bytes());
            out.extend_from_slice(&new.to_be_bytes());
        },
    );
}

/// BGP4MP_MESSAGE and its like, with microseconds (RFC 6396 §4.4.2 to §4.4.5, RFC 8050 §3): one whole message.
pub fn message(between: &Between, form: MessageForm, octets: &[u8], out: &mut Vec<u8>) {
    let (seconds, micros) = between.at;
    let subtype = match (form.add_path, form.four_octet_as, form.sent) {
        (false, false, false) => MESSAGE,
        (false, true, false) => MESSAGE_AS4,
        (false, false, true) => MESSAGE_LOCAL,
        (false, true, true) => MESSAGE_AS4_LOCAL,
        (true, false, false) => MESSAGE_ADDPATH,
        (true, true, false) => MESSAGE_AS4_ADDPATH,
        (true, false, true) => MESSAGE_LOCAL_ADDPATH,
        (true, true, true) => MESSAGE_AS4_LOCAL_ADDPATH,
    };
    record((seconds, Some(micros)), BGP4MP_ET, subtype, out, |out| {
        between.encode(form.four_octet_as, out);
        out.extend_from_slice(octets);
    });
}

impl Between {
    fn encode(&self, four_octet_as: bool, out: &mut Vec<u8>) {
        for asn in [self.remote_asn, self.local_asn] {
            if four_octet_as {
                out.extend_from_slice(&asn.to_be_bytes());
            } else {
                let asn = u16::try_from(asn).unwrap_or(AS_TRANS);
                out.extend_from_slice(&asn.to_be_bytes());
            }
        }
        out.extend_from_slice(&[0, 0]); // Interface Index
        let is_v6 = self.remote.is_ipv6();
        out.extend_from_slice(&[0, if is_v6 { 2 } else { 1 }]);
        address(self.remote.ip(), out);
        match (is_v6, self.local.ip()) {
            (true, IpAddr::V4(local)) => address(local.to_ipv6_mapped().into(), out),
            (false, IpAddr::V6(_)) => address(Ipv4Addr::UNSPECIFIED.into(), out),
            (_, local) => address(local, out),
        }
    }
}

fn record(
    (seconds, micros): (u32, Option<u32>),
    kind: u16,
    subtype: u16,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>),
) {
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&subtype.to_be_bytes());
    let length_at = out.len();
    out.extend_from_slice(&[0; 4]);
    if let Some(micros) = micros {
        // RFC 6396 §3: counted in the length.
        out.extend_from_slice(&micros.to_be_bytes());
    }
    body(out);
    let octets = u32::try_from(out.len() - length_at - 4).unwrap_or(u32::MAX);
    out[length_at..length_at + 4].copy_from_slice(&octets.to_be_bytes());
}

fn address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()),
    }
}

fn nlri(prefix: &IpNet, out: &mut Vec<u8>) {
    let octets = usize::from(prefix.prefix_len()).div_ceil(8);
    out.push(prefix.prefix_len());
    match prefix.network() {
        IpAddr::V4(address) => out.extend_from_slice(&address.octets()[..octets]),
        IpAddr::V6(address) => out.extend_from_slice(&address.octets()[..octets]),
    }
}

/// RFC 6396 §4.
const TABLE_DUMP_V2: u16 = 13;
const BGP4MP_ET: u16 = 17;

/// RFC 6396 §4.3.
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
const RIB_IPV6_UNICAST: u16 = 4;
/// RFC 8050 §4.
const RIB_IPV4_UNICAST_ADDPATH: u16 = 8;
const RIB_IPV6_UNICAST_ADDPATH: u16 = 10;
/// RFC 6396 §4.3.1: bits of Peer Type.
const PEER_IPV6: u8 = 1;
const PEER_AS4: u8 = 2;

/// RFC 6396 §4.4.
const MESSAGE: u16 = 1;
const MESSAGE_AS4: u16 = 4;
const STATE_CHANGE_AS4: u16 = 5;
const MESSAGE_LOCAL: u16 = 6;
const MESSAGE_AS4_LOCAL: u16 = 7;
/// RFC 8050 §3.
const MESSAGE_ADDPATH: u16 = 8;
const MESSAGE_AS4_ADDPATH: u16 = 9;
const MESSAGE_LOCAL_ADDPATH: u16 = 10;
const MESSAGE_AS4_LOCAL_ADDPATH: u16 = 11;
/// RFC 6793 §9.
const AS_TRANS: u16 = 23456;
