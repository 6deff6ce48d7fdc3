//! Messages by hand, for the tests of this module: octets as a peer could send them.

use ipnet::IpNet;

use super::iana::message_type;
use super::message::{begin, finish};
pub(crate) use super::update::tests::{lost_families, malformed_attributes};
use super::update::{begin_field, finish_field};
use super::{Codec, Family, Message, Nlri, Notification, Update};

/// An internal session with everything that we can agree on.
pub(super) fn codec() -> Codec {
    Codec {
        four_octet_as: true,
        message_octets_max: 4096,
        families: Family::ALL.to_vec(),
        aigp: true,
        ..Codec::initial()
    }
}

/// A session with a speaker of two-octet AS numbers.
pub(super) fn codec_two_octets() -> Codec {
    Codec {
        four_octet_as: false,
        ..codec()
    }
}

pub(super) fn codec_external() -> Codec {
    Codec {
        peer_is_external: true,
        ..codec()
    }
}

pub(crate) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin(&mut out, kind);
    out.extend_from_slice(body);
    finish(&mut out, start);
    out
}

/// An UPDATE of three fields.
pub(crate) fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for field in [withdrawn, attributes] {
        let at = begin_field(&mut body);
        body.extend_from_slice(field);
        finish_field(&mut body, at);
    }
    body.extend_from_slice(announced);
    message(message_type::UPDATE, &body)
}

/// An attribute with a length of one octet.
pub(crate) fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).expect("value fits");
    [&[flags, code, length], value].concat()
}

/// What every good UPDATE has: ORIGIN igp, AS_PATH 65000, NEXT_HOP 192.0.2.1.
pub(crate) fn mandatory() -> Vec<Vec<u8>> {
    vec![
        attribute(0x40, 1, &[0]),
        attribute(0x40, 2, &[2, 1, 0, 0, 0xfd, 0xe8]),
        attribute(0x40, 3, &[192, 0, 2, 1]),
    ]
}

/// 198.51.100.0/24 as NLRI.
pub(crate) const PREFIX: [u8; 4] = [24, 198, 51, 100];

pub(super) fn prefix() -> Nlri {
    nlri("198.51.100.0/24")
}

/// Without Path Identifier.
pub(super) fn nlri(text: &str) -> Nlri {
    text.parse::<IpNet>().expect("a prefix").into()
}

pub(super) fn decode_update(codec: &Codec, octets: &[u8]) -> Result<Update, Notification> {
    match codec.decode(octets)? {
        Message::Update(update) => Ok(update),
        other => panic!("not an UPDATE: {other:?}"),
    }
}

pub(super) fn encode(codec: &Codec, message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    codec.encode(message, &mut out);
    out
}

/// Cuts what the encoder appended into messages, and decodes each.
pub(super) fn decode_all(codec: &Codec, mut octets: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while !octets.is_empty() {
        let length = codec
            .frame(octets)
            .expect("a frame")
            .expect("a whole header");
        let (message, rest) = octets.split_at(length);
        assert!(message.len() <= codec.message_octets_max);
        messages.push(codec.decode(message).expect("a good message"));
        octets = rest;
    }
    messages
}
