//! What we encode is read back equal by netlink-packet-route, through our own conversion.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use proptest::prelude::*;
use smallvec::SmallVec;

use super::*;
use crate::netlink::convert;

proptest! {
    #[test]
    fn every_route_is_read_back_equal(
        key in key(),
        hops in proptest::collection::vec(hop(), 0..5),
        replace: bool,
        sequence: u32,
    ) {
        let hops: SmallVec<[Hop; 1]> = hops.into();
        let spec = if hops.is_empty() {
            Spec::blackhole(67)
        } else {
            Spec::unicast(67, &key.prefix, hops)
        };
        let write = Write::Set { key, spec: spec.clone(), replace };
        let mut buffer = vec![];
        let position = message(&mut buffer, &write, sequence);
        ask_for_ack(&mut buffer, position);

        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&buffer).unwrap();
        prop_assert_eq!(message.header.sequence_number, sequence);
        prop_assert_eq!(message.header.length as usize, buffer.len());
        prop_assert_eq!(message.header.flags & NLM_F_ACK, NLM_F_ACK);
        prop_assert_eq!(message.header.flags & NLM_F_REPLACE != 0, replace);
        prop_assert_eq!(message.header.flags & NLM_F_EXCL != 0, !replace);
        let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(message)) = message.payload else {
            return Err(TestCaseError::fail("not a new route"));
        };
        prop_assert_eq!(convert::route(&message), Some((key, spec)));
    }
}

fn key() -> impl Strategy<Value = Key> {
    let v4 = (any::<u32>(), 0..=32u8).prop_map(|(address, length)| {
        ipnet::Ipv4Net::new_assert(address.into(), length)
            .trunc()
            .into()
    });
    let v6 = (any::<u128>(), 0..=128u8).prop_map(|(address, length)| {
        ipnet::Ipv6Net::new_assert(address.into(), length)
            .trunc()
            .into()
    });
    (prop_oneof![v4, v6], 0..5000u32).prop_map(|(prefix, metric)| Key::new(prefix, metric))
}

fn hop() -> impl Strategy<Value = Hop> {
    let via = prop_oneof![
        any::<u32>().prop_map(|a| Some(IpAddr::V4(a.into()))),
        any::<u128>().prop_map(|a| Some(IpAddr::V6(a.into()))),
        Just(None),
    ];
    (via, 1..9u32, any::<bool>(), any::<u8>()).prop_map(|(via, device, onlink, weight)| Hop {
        via,
        device,
        onlink,
        weight,
    })
}
