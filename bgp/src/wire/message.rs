//! Header (RFC 4271 §4.1), the five messages, and how a session's agreements change their form.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 Marker: 16 octets, all ones ...               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Length (of it all)        |      Type     |  body ...
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::cursor::Cursor;
use super::family::Family;
use super::iana::{error_code, header_error, message_type, route_refresh_error};
pub use super::notification::Notification;
use super::open::Open;
use super::prefix::Form;
use super::update::Update;

/// What two speakers agreed on that changes how octets are read and written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Codec {
    /// AS numbers in AS_PATH and AGGREGATOR are four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Longest message in octets: 4,096, or 65,535 (RFC 8654).
    pub message_octets_max: usize,
    /// Families that may appear in MP_REACH_NLRI and MP_UNREACH_NLRI.
    pub families: Vec<Family>,
    /// The peer is external (eBGP): LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST from it are discarded,
    /// well formed or not (RFC 7606 §7.5, §7.9, §7.10).
    pub peer_is_external: bool,
    /// Families whose prefixes from the peer have a Path Identifier before each (RFC 7911 §3).
    pub add_path_receive: Vec<Family>,
    /// Families whose prefixes to the peer have a Path Identifier before each (RFC 7911 §3).
    pub add_path_send: Vec<Family>,
    /// IPv4 prefixes may have an IPv6 next hop, both ways, and are then in MP_REACH_NLRI (RFC 8950 §3).
    pub extended_next_hop: bool,
    /// The beginning and the end of a route refresh are marked (RFC 7313), and a marker of a wrong
    /// length is an error of its own (§5).
    pub enhanced_route_refresh: bool,
    /// The session carries AIGP (RFC 7311 §3.1, AIGP_SESSION); without, it is left out both ways.
    pub aigp: bool,
    /// Families of which nothing more is taken from the peer (AFI/SAFI disable, RFC 7606 §2): what it says
    /// of one is passed over without a word.
    pub disabled: Vec<Family>,
}

/// A BGP message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time is looked at and gone; nobody keeps many"
)]
pub enum Message {
    /// RFC 4271 §4.2.
    Open(Open),
    /// RFC 4271 §4.3.
    Update(Update),
    /// RFC 4271 §4.5.
    Notification(Notification),
    /// RFC 4271 §4.4.
    Keepalive,
    /// RFC 2918, RFC 7313; `None`: a family or a subtype that we do not know. To be ignored then.
    RouteRefresh(Option<RouteRefresh>),
}

/// ROUTE-REFRESH (RFC 2918 §3, RFC 7313 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// Which family.
    pub family: Family,
    /// What about it.
    pub kind: RouteRefreshKind,
}

/// Message Subtype of ROUTE-REFRESH (RFC 7313 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteRefreshKind {
    /// 0: the sender wants the family once more.
    Request,
    /// 1: the sender begins to send it once more (BoRR).
    Begin,
    /// 2: the sender has sent it once more (EoRR).
    End,
}

impl Codec {
    /// Before OPEN.
    pub fn initial() -> Codec {
        Codec {
            four_octet_as: false,
            message_octets_max: MESSAGE_OCTETS_MAX,
            families: Vec::new(),
            peer_is_external: false,
            add_path_receive: Vec::new(),
            add_path_send: Vec::new(),
            extended_next_hop: false,
            enhanced_route_refresh: false,
            aigp: false,
            disabled: Vec::new(),
        }
    }

    /// What of it has a say in what we write: two that differ in nothing else write the same octets.
    /// The order in which families were agreed on has none.
    pub fn for_sending(&self) -> Codec {
        let mut codec = Codec {
            four_octet_as: self.four_octet_as,
            message_octets_max: self.message_octets_max,
            families: self.families.clone(),
            add_path_send: self.add_path_send.clone(),
            extended_next_hop: self.extended_next_hop,
            aigp: self.aigp,
            ..Codec::initial()
        };
        codec.families.sort_unstable();
        codec.add_path_send.sort_unstable();
        codec
    }

    /// The length of the first message in `bytes`, checked (RFC 4271 §6.1); `None`: header incomplete.
    ///
    /// A marker that is wrong is found before the header is complete.
    pub fn frame(&self, bytes: &[u8]) -> Result<Option<usize>, Notification> {
        let mut cursor = Cursor::new(bytes);
        if !MARKER.starts_with(&bytes[..bytes.len().min(MARKER.len())]) {
            let subcode = header_error::CONNECTION_NOT_SYNCHRONIZED;
            return Err(Notification::header(subcode, &[]));
        }
        let mut header = || {
            cursor.take(MARKER.len())?;
            Some((cursor.u16()?, cursor.u8()?))
        };
        let Some((length, kind)) = header() else {
            return Ok(None);
        };
        let octets = usize::from(length);
        let fits = match kind {
            // RFC 8654 §3: these two stay small.
            message_type::OPEN => (OPEN_OCTETS_MIN..=MESSAGE_OCTETS_MAX).contains(&octets),
            message_type::KEEPALIVE => octets == HEADER_OCTETS,
            message_type::UPDATE => (UPDATE_OCTETS_MIN..=self.message_octets_max).contains(&octets),
            message_type::NOTIFICATION => {
                (NOTIFICATION_OCTETS_MIN..=self.message_octets_max).contains(&octets)
            }
            // RFC 7313 §5: what its length should be depends on its subtype, and the answer holds it whole.
            message_type::ROUTE_REFRESH if self.enhanced_route_refresh => {
                (HEADER_OCTETS..=self.message_octets_max).contains(&octets)
            }
            // A longer one carries filters (RFC 5291), which we do not offer.
            message_type::ROUTE_REFRESH => octets == ROUTE_REFRESH_OCTETS,
            _ => (HEADER_OCTETS..=self.message_octets_max).contains(&octets),
        };
        if !fits {
            let subcode = header_error::BAD_MESSAGE_LENGTH;
            return Err(Notification::header(subcode, &length.to_be_bytes()));
        }
        if !(message_type::OPEN..=message_type::ROUTE_REFRESH).contains(&kind) {
            return Err(Notification::header(
                header_error::BAD_MESSAGE_TYPE,
                &[kind],
            ));
        }
        Ok(Some(octets))
    }

    /// One whole message. `Err`: the NOTIFICATION that ends the session.
    pub fn decode(&self, message: &[u8]) -> Result<Message, Notification> {
        if self.frame(message)? != Some(message.len()) {
            let length = message.get(MARKER.len()..MARKER.len() + 2).unwrap_or(&[]);
            return Err(Notification::header(
                header_error::BAD_MESSAGE_LENGTH,
                length,
            ));
        }
        self.decode_framed(message)
    }

    /// One message that [`Codec::frame`] has found whole.
    pub(crate) fn decode_framed(&self, message: &[u8]) -> Result<Message, Notification> {
        let (header, body) = message.split_at(HEADER_OCTETS);
        let kind = header[HEADER_OCTETS - 1];
        let decoded = match kind {
            message_type::OPEN => Message::Open(Open::decode(body)?),
            message_type::UPDATE => Message::Update(Update::decode(body, self)?),
            message_type::KEEPALIVE => Message::Keepalive,
            message_type::NOTIFICATION => match Notification::decode(body) {
                Some(notification) => Message::Notification(notification),
                None => return Err(Notification::header(header_error::BAD_MESSAGE_LENGTH, &[])),
            },
            _ => Message::RouteRefresh(RouteRefresh::decode(message)?),
        };
        Ok(decoded)
    }

    /// Appends the message to `out`.
    ///
    /// An UPDATE must fit into one message (see [`Codec::encode_announce`] and
    /// [`Codec::encode_withdraw`], which see to it); of one that does not, nothing is appended, nor of
    /// one that says nothing, which the peer would take for End-of-RIB. Of a NOTIFICATION's data and
    /// an OPEN's capabilities goes what fits.
    pub fn encode(&self, message: &Message, out: &mut Vec<u8>) {
        if matches!(message, Message::Update(update) if update.is_silent()) {
            return;
        }
        let start = begin(out, message.kind());
        match message {
            Message::Open(open) => open.encode(MESSAGE_OCTETS_MAX - HEADER_OCTETS, out),
            Message::Update(update) => update.encode(self, out),
            Message::Notification(notification) => {
                notification.encode(self.message_octets_max - HEADER_OCTETS, out);
            }
            Message::Keepalive => {}
            Message::RouteRefresh(refresh) => RouteRefresh::encode(*refresh, out),
        }
        if out.len() - start > self.message_octets_max {
            out.truncate(start);
        } else {
            finish(out, start);
        }
    }
}

/// How prefixes of a family look.
impl Codec {
    /// From the peer.
    pub(super) fn form_received(&self, family: Family) -> Form {
        Form {
            family,
            path_ids: self.add_path_receive.contains(&family),
        }
    }

    /// To the peer.
    pub(super) fn form_sent(&self, family: Family) -> Form {
        Form {
            family,
            path_ids: self.add_path_send.contains(&family),
        }
    }
}

impl Message {
    fn kind(&self) -> u8 {
        match self {
            Message::Open(_) => message_type::OPEN,
            Message::Update(_) => message_type::UPDATE,
            Message::Notification(_) => message_type::NOTIFICATION,
            Message::Keepalive => message_type::KEEPALIVE,
            Message::RouteRefresh(_) => message_type::ROUTE_REFRESH,
        }
    }
}

/// Appends a header whose length [`finish`] fills in, and says where it begins.
pub(super) fn begin(out: &mut Vec<u8>, kind: u8) -> usize {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0, 0, kind]);
    start
}

/// Fills in the length of the message that begins at `start` and ends where `out` does.
pub(super) fn finish(out: &mut [u8], start: usize) {
    let octets = out.len() - start;
    fill_length(out, start + MARKER.len(), octets);
}

/// Writes `length` as two octets at `at`. All our lengths are bounded by that of a message.
pub(super) fn fill_length(out: &mut [u8], at: usize, length: usize) {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

impl RouteRefresh {
    /// The peer is to send the family once more.
    pub fn request(family: Family) -> RouteRefresh {
        let kind = RouteRefreshKind::Request;
        RouteRefresh { family, kind }
    }

    /// RFC 2918 §3: AFI, an octet that RFC 7313 §3.2 made a subtype, SAFI. `Ok(None)`: not one that
    /// we know (RFC 7313 §5). `Err`: a marker of a wrong length (RFC 7313 §5), or any other message of
    /// one (RFC 4271 §6.1).
    fn decode(message: &[u8]) -> Result<Option<RouteRefresh>, Notification> {
        let (header, body) = message.split_at(HEADER_OCTETS);
        let [afi_high, afi_low, subtype, safi] = *body else {
            let marker = |octet: &&u8| matches!(**octet, SUBTYPE_BEGIN | SUBTYPE_END);
            return Err(match body.get(2).filter(marker) {
                Some(_) => Notification::new(
                    error_code::ROUTE_REFRESH,
                    route_refresh_error::INVALID_MESSAGE_LENGTH,
                    message,
                ),
                None => Notification::header(
                    header_error::BAD_MESSAGE_LENGTH,
                    &header[MARKER.len()..MARKER.len() + 2],
                ),
            });
        };
        let afi = u16::from_be_bytes([afi_high, afi_low]);
        let kind = match subtype {
            SUBTYPE_REQUEST => RouteRefreshKind::Request,
            SUBTYPE_BEGIN => RouteRefreshKind::Begin,
            SUBTYPE_END => RouteRefreshKind::End,
            _ => return Ok(None),
        };
        Ok(Family::from_numbers(afi, safi).map(|family| RouteRefresh { family, kind }))
    }

    fn encode(refresh: Option<RouteRefresh>, out: &mut Vec<u8>) {
        let (afi, safi) = refresh.map_or((0, 0), |refresh| refresh.family.numbers());
        let kind = refresh.map_or(RouteRefreshKind::Request, |refresh| refresh.kind);
        let subtype = match kind {
            RouteRefreshKind::Request => SUBTYPE_REQUEST,
            RouteRefreshKind::Begin => SUBTYPE_BEGIN,
            RouteRefreshKind::End => SUBTYPE_END,
        };
        out.extend_from_slice(&afi.to_be_bytes());
        out.extend_from_slice(&[subtype, safi]);
    }
}

/// RFC 4271 §4.1; RFC 8654 raises it where both sides agree.
pub(super) const MESSAGE_OCTETS_MAX: usize = 4096;
/// RFC 4271 §4.1.
pub(super) const HEADER_OCTETS: usize = 19;
/// RFC 4271 §4.2.
const OPEN_OCTETS_MIN: usize = 29;
/// RFC 4271 §4.3.
const UPDATE_OCTETS_MIN: usize = 23;
/// RFC 4271 §4.5.
const NOTIFICATION_OCTETS_MIN: usize = 21;
/// RFC 2918 §3.
const ROUTE_REFRESH_OCTETS: usize = 23;
/// RFC 7313 §3.2.
const SUBTYPE_REQUEST: u8 = 0;
/// RFC 7313 §3.2.
const SUBTYPE_BEGIN: u8 = 1;
/// RFC 7313 §3.2.
const SUBTYPE_END: u8 = 2;
const MARKER: [u8; 16] = [0xff; 16];

#[cfg(test)]
mod tests;
