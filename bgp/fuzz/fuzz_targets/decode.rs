//! One message.

#![no_main]

use caracal_bgp::wire::{Codec, Family, Message, Segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((options, octets)) = input.split_first() else {
        return;
    };
    let has = |bit: u8| options & 1 << bit != 0;
    let families = |wanted: bool| if wanted { Family::ALL.to_vec() } else { vec![] };
    let codec = Codec {
        four_octet_as: !has(0),
        peer_is_external: has(1),
        families: Family::ALL.to_vec(),
        add_path_receive: families(has(2)),
        add_path_send: families(has(2)),
        extended_next_hop: has(3),
        ..Codec::initial()
    };
    let Ok(message) = codec.decode(octets) else {
        return;
    };
    let lossy = matches!(&message, Message::Update(update) if !codec.four_octet_as
        && update.attributes.as_path.0.iter().any(Segment::is_confed));
    let mut again = Vec::new();
    codec.encode(&message, &mut again);
    if lossy || again.is_empty() {
        return;
    }
    let second = codec.decode(&again).expect("what we encode can be decoded");
    let mut third = Vec::new();
    codec.encode(&second, &mut third);
    assert_eq!(again, third);
});
