//! Decoding takes memory in proportion to the message: nobody can make us allocate much by sending little.
//!
//! What is gone again when the decoder returns is counted too. The bound holds for the messages here, each the
//! worst of its kind; it is one of the invariants of `wire`. One test in this binary, so that nobody else allocates.

#![allow(clippy::expect_used, reason = "how a test fails")]

use caracal_bgp::wire::{Codec, Family};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn codec() -> Codec {
    Codec {
        four_octet_as: true,
        message_octets_max: 65535,
        families: Family::ALL.to_vec(),
        aigp: true,
        ..Codec::initial()
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("a message");
    let header = [&[0xff; 16][..], &length.to_be_bytes(), &[kind]];
    [&header.concat(), body].concat()
}

fn update(withdrawn: &[u8], attributes: &[u8], announced: &[u8]) -> Vec<u8> {
    let length = |field: &[u8]| u16::try_from(field.len()).expect("a field").to_be_bytes();
    let body = [
        &length(withdrawn),
        withdrawn,
        &length(attributes),
        attributes,
        announced,
    ];
    message(2, &body.concat())
}

/// With an Attribute Length of two octets.
fn attribute(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("a value").to_be_bytes();
    [&[flags | 0x10, code], &length[..], value].concat()
}

fn mandatory() -> Vec<u8> {
    [
        attribute(0x40, 1, &[0]),
        attribute(0x40, 2, &[]),
        attribute(0x40, 3, &[192, 0, 2, 1]),
    ]
    .concat()
}

/// Each makes as much as it can of its octets, or breaks at the last moment.
fn worst() -> Vec<(&'static str, Vec<u8>)> {
    const MANY: usize = 60_000;
    let with = |attribute: Vec<u8>| update(&[], &[attribute, mandatory()].concat(), &[8, 10]);
    let path_of = |segment: &[u8]| segment.repeat(MANY / segment.len());
    let every_code: Vec<u8> = (0..=255u8)
        .flat_map(|code| attribute(0xc0, code, &[0xff; 200]))
        .collect();
    let reach = |next_hop: u8, prefixes: &[u8]| {
        let front = [0, 2, 1, next_hop];
        attribute(0x80, 14, &[&front, &[0xfd; 17][..], prefixes].concat())
    };
    let segments = path_of(&[2, 1, 0, 0, 0, 1]);
    let mut half_bad = path_of(&[2, 1, 0, 0, 0, 1]);
    half_bad.extend([9, 9]);
    let capabilities = |one: &[u8]| {
        let many = one.repeat(3800 / one.len());
        let length = u16::try_from(many.len()).expect("short");
        let fixed = [4, 0xfc, 0, 0, 90, 192, 0, 2, 1, 255, 255];
        let parameters = [
            &(length + 3).to_be_bytes(),
            &[2u8][..],
            &length.to_be_bytes(),
            &many,
        ];
        message(1, &[&fixed[..], &parameters.concat()].concat())
    };
    vec![
        ("default routes", update(&[], &mandatory(), &[0; MANY])),
        ("withdrawn default routes", update(&[0; MANY], &[], &[])),
        (
            "a bad prefix behind many",
            update(&[], &mandatory(), &[&[0; MANY][..], &[33]].concat()),
        ),
        ("IPv6 default routes", with(reach(16, &[0; MANY]))),
        (
            "a bad IPv6 prefix behind many",
            with(reach(16, &[&[0; MANY][..], &[129]].concat())),
        ),
        ("a bad next hop", with(reach(15, &[0; MANY]))),
        (
            "withdrawn IPv6 default routes",
            update(
                &[],
                &attribute(0x80, 15, &[&[0, 2, 1], &[0; MANY][..]].concat()),
                &[],
            ),
        ),
        (
            "segments of one",
            update(
                &[],
                &[attribute(0x40, 1, &[0]), attribute(0x40, 2, &segments)].concat(),
                &[8, 10],
            ),
        ),
        (
            "a bad segment behind many",
            with(attribute(0x40, 2, &half_bad)),
        ),
        (
            "an AS4_PATH of segments",
            with(attribute(0xc0, 17, &segments)),
        ),
        ("communities", with(attribute(0xc0, 8, &[1; MANY]))),
        (
            "equal large communities",
            with(attribute(0xc0, 32, &[1; MANY])),
        ),
        (
            "different large communities",
            with(attribute(
                0xc0,
                32,
                &(0..15_000u32)
                    .flat_map(u32::to_be_bytes)
                    .collect::<Vec<_>>(),
            )),
        ),
        (
            "every attribute, all wrong",
            update(&[], &every_code, &[8, 10]),
        ),
        (
            "one attribute again and again",
            with([0xc0, 99, 0].repeat(MANY / 3)),
        ),
        (
            "unknown attributes",
            with(
                (60..=120)
                    .flat_map(|code| attribute(0xc0, code, &[7; 900]))
                    .collect(),
            ),
        ),
        (
            "AIGP of empty TLVs",
            with(attribute(0x80, 26, &[2, 0, 3].repeat(MANY / 3))),
        ),
        (
            "ATTR_SET of small attributes",
            with(attribute(
                0xc0,
                128,
                &[&[0, 0, 0, 1][..], &[0xc0, 99, 0].repeat(MANY / 3)].concat(),
            )),
        ),
        ("small capabilities", capabilities(&[200, 0])),
        (
            "families",
            capabilities(&[&[69, 252][..], &[0, 1, 1, 3].repeat(63)].concat()),
        ),
        (
            "names",
            capabilities(&[&[73, 253, 250][..], &[0xff; 250], &[1, 7]].concat()),
        ),
        ("a long NOTIFICATION", message(3, &[6; MANY])),
    ]
}

#[test]
fn what_decoding_allocates_is_bounded_by_the_message() {
    let with_path_ids = Codec {
        add_path_receive: Family::ALL.to_vec(),
        extended_next_hop: true,
        ..codec()
    };
    let two_octets = Codec {
        four_octet_as: false,
        ..codec()
    };
    for codec in [codec(), with_path_ids, two_octets] {
        for (what, octets) in worst() {
            let before = HEAP.current_usage();
            HEAP.reset_peak_usage();
            let decoded = codec.decode(&octets);
            let peak = HEAP.peak_usage() - before;
            drop(decoded);
            let octets_max = 64 * octets.len() + 64 * 1024;
            assert!(peak <= octets_max, "{what}: {peak} of {octets_max}");
            println!("{what}: {} octets, {peak} allocated", octets.len());
        }
    }
}
