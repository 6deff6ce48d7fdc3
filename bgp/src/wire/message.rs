//! Header (RFC 4271 §4.1), the five messages, and how a session's agreements change their form.

use super::open::Open;
use super::update::Update;
use super::Family;

/// What two speakers agreed on that changes how octets are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Codec {
    /// AS numbers in AS_PATH and AGGREGATOR are four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Longest message in octets: 4,096, or 65,535 (RFC 8654).
    pub message_octets_max: usize,
    /// Families that may appear in MP_REACH_NLRI and MP_UNREACH_NLRI.
    pub families: Vec<Family>,
}

/// A BGP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// RFC 4271 §4.2.
    Open(Open),
    /// RFC 4271 §4.3.
    Update(Update),
    /// RFC 4271 §4.5.
    Notification(Notification),
    /// RFC 4271 §4.4.
    Keepalive,
    /// RFC 2918; a family that we do not know is `None`.
    RouteRefresh(Option<Family>),
}

/// NOTIFICATION: error code, subcode, data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// Data.
    pub data: Vec<u8>,
}

impl Codec {
    /// Before OPEN.
    pub fn initial() -> Codec {
        todo!()
    }

    /// The length of the first message in `bytes`, checked (RFC 4271 §6.1); `None`: header incomplete.
    pub fn frame(&self, bytes: &[u8]) -> Result<Option<usize>, Notification> {
        todo!()
    }

    /// One whole message. `Err`: the NOTIFICATION that ends the session.
    pub fn decode(&self, message: &[u8]) -> Result<Message, Notification> {
        todo!()
    }

    /// Appends the message to `out`. An UPDATE must fit (see [`Codec::encode_announce`]).
    pub fn encode(&self, message: &Message, out: &mut Vec<u8>) {
        todo!()
    }

    /// Appends as many UPDATEs as needed to announce `prefixes` (one family) with `attributes`.
    /// Returns how many.
    pub fn encode_announce(&self, attributes: &super::Attributes, prefixes: &[ipnet::IpNet], out: &mut Vec<u8>) -> usize {
        todo!()
    }

    /// Appends as many UPDATEs as needed to withdraw `prefixes` (any families). Returns how many.
    pub fn encode_withdraw(&self, prefixes: &[ipnet::IpNet], out: &mut Vec<u8>) -> usize {
        todo!()
    }

    /// Appends End-of-RIB (RFC 4724 §2).
    pub fn encode_end_of_rib(&self, family: Family, out: &mut Vec<u8>) {
        todo!()
    }
}
