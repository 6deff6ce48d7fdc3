use std::net::IpAddr;

use caracal_bgp::wire::{Codec, Message};

use super::*;
use crate::feed::{Feeds, codec};
use crate::prefixes::Prefixes;

/// The header (RFC 4271 §4.1).
const HEADER: usize = 19;

#[test]
fn what_the_codec_writes_is_found() {
    for (ipv6, next_hop) in [(false, "172.31.1.1"), (true, "fd00:31::1:1")] {
        let feeds = feeds(ipv6, next_hop.parse().unwrap());
        let announce = feeds.announce(77);
        let scan = Scan::read(&announce[HEADER..]).unwrap();
        let field = if ipv6 {
            scan.announced_v6
        } else {
            scan.announced
        };
        let mut seen = Vec::new();
        feeds.prefixes.numbers(field, |i| seen.push(i)).unwrap();
        assert!(seen.into_iter().eq(40..60));
        assert_eq!(scan.med, Some(77));
        let octets = match feeds.next_hop {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        assert_eq!(scan.next_hop, octets);
        let withdraw = feeds.withdraw();
        let scan = Scan::read(&withdraw[HEADER..]).unwrap();
        let field = if ipv6 {
            scan.withdrawn_v6
        } else {
            scan.withdrawn
        };
        let mut seen = Vec::new();
        feeds.prefixes.numbers(field, |i| seen.push(i)).unwrap();
        assert!(seen.into_iter().eq(40..60));
    }
}

#[test]
fn a_feed_is_what_the_codec_reads() {
    let feeds = feeds(false, "172.31.1.1".parse().unwrap());
    let announce = feeds.announce(5);
    let codec: Codec = codec();
    let Message::Update(update) = codec.decode(&announce).unwrap() else {
        panic!("not an UPDATE");
    };
    assert_eq!(update.announced.len(), 20);
    assert_eq!(update.errors, []);
}

#[test]
fn an_update_that_ends_too_early_is_refused() {
    let announce = feeds(true, "fd00:31::1:1".parse().unwrap()).announce(1);
    let attributes_end = announce.len();
    for end in HEADER..attributes_end {
        assert_eq!(Scan::read(&announce[HEADER..end]), None, "up to {end}");
    }
}

fn feeds(ipv6: bool, next_hop: IpAddr) -> Feeds {
    Feeds {
        prefixes: Prefixes { ipv6, mixed: true },
        own: 40..60,
        next_hop,
        a_set: 100,
    }
}
