//! An independent codec, netgauze-bgp-pkt, reads what we write and writes what we read.
//!
//! Each random message exists twice, as our value and as its value, translated field by field. Then:
//! what we encode is its value after it has decoded it, and what it encodes is our value after we have.

#![allow(clippy::expect_used, clippy::panic, reason = "how a test fails")]

mod generate;
#[path = "netgauze/translate.rs"]
mod translate;

use caracal_bgp::wire::{
    Capability, Codec, Message, Notification, Open, Role, RouteRefresh, RouteRefreshKind,
};
use generate::{any_codec, codec, config, encode, next_hop_v4, open, update_for};
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::prelude::*;

fn read(codec: &Codec, octets: &[u8]) -> BgpMessage {
    let mut context = if codec.four_octet_as {
        BgpParsingContext::default()
    } else {
        BgpParsingContext::asn2_default()
    };
    for family in &codec.add_path_send {
        let family = translate::address_type(*family);
        context.add_path_mut().insert(family, true);
    }
    BgpMessage::parse(&mut SliceReader::new(octets), &mut context).expect("it reads our octets")
}

fn write(message: &BgpMessage) -> Vec<u8> {
    let mut octets = Vec::new();
    message.write(&mut octets).expect("it writes its own value");
    octets
}

/// Both ways.
fn check(codec: &Codec, ours: Message, theirs: BgpMessage) {
    assert_eq!(read(codec, &encode(codec, &ours)), theirs);
    assert_eq!(codec.decode(&write(&theirs)), Ok(ours));
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn an_update_means_the_same_to_both(
        (codec, mut update) in any_codec().prop_flat_map(|codec| {
            let update = update_for(&codec);
            (Just(codec), update)
        })
    ) {
        // It has no word for a confederation's segments (RFC 5065).
        update.attributes.as_path.0.retain(|segment| !segment.is_confed());
        // It lets no OTC be partial.
        let partial = std::mem::take(&mut update.attributes.partial);
        for code in [7u8, 8, 16, 32].into_iter().filter(|code| partial.contains(*code)) {
            update.attributes.partial.insert(code);
        }
        let theirs = translate::update(&update, &codec);
        check(&codec, Message::Update(update), theirs);
    }

    #[test]
    fn an_open_means_the_same_to_both(open in open(), router_id in next_hop_v4()) {
        // It wants a host's address there, which RFC 6286 §2.1 no longer does.
        let mut open = Open { router_id, ..open };
        // It has other numbers for these than RFC 9234 §4.1.
        open.capabilities.retain(|one| {
            !matches!(one, Capability::Role(role) if !matches!(role, Role::Provider | Role::Peer))
        });
        // It knows nothing of RFC 9072.
        prop_assume!(encode(&codec(true), &Message::Open(open.clone())).get(29) != Some(&255));
        let theirs = translate::open(&open);
        check(&codec(true), Message::Open(open), theirs);
    }
}

#[test]
fn the_small_messages_mean_the_same_to_both() {
    check(&codec(true), Message::Keepalive, BgpMessage::KeepAlive);
    for family in caracal_bgp::wire::Family::ALL {
        use RouteRefreshKind::{Begin, End, Request};
        for kind in [Request, Begin, End] {
            let refresh = RouteRefresh { family, kind };
            let theirs = translate::route_refresh(refresh);
            check(&codec(true), Message::RouteRefresh(Some(refresh)), theirs);
        }
    }
}

#[test]
fn end_of_rib_means_the_same_to_both() {
    for family in caracal_bgp::wire::Family::ALL {
        let mut octets = Vec::new();
        codec(true).encode_end_of_rib(family, &mut octets);
        let BgpMessage::Update(theirs) = read(&codec(true), &octets) else {
            panic!("an UPDATE");
        };
        assert_eq!(theirs.end_of_rib(), Some(translate::address_type(family)));
    }
}

#[test]
fn each_notification_that_both_can_name_comes_back_as_it_was() {
    let mut named = 0;
    for code in 1..=7 {
        for subcode in 0..=16 {
            let ours = Notification::new(code, subcode, &[1, 2, 3]);
            if caracal_bgp::wire::iana::error_subcode_name(code, subcode).is_none() {
                continue;
            }
            let octets = encode(&codec(true), &Message::Notification(ours.clone()));
            let theirs = read(&codec(true), &octets);
            assert_eq!(
                codec(true).decode(&write(&theirs)),
                Ok(Message::Notification(ours))
            );
            named += 1;
        }
    }
    assert!(named >= 30, "{named}");
}
