//! The decoder under fire: good messages, broken in ways that leave most of their structure.
//!
//! `CARACAL_FUZZ_MESSAGES` says how many (200,000 when it is not set), `CARACAL_SEED` which. No message may panic,
//! take memory out of proportion to its length, or mean another thing when it is encoded and decoded again.
//! Memory is judged by what the result holds; `allocations.rs` counts what is taken on the way.

#![allow(clippy::expect_used, clippy::panic, reason = "how a test fails")]

mod generate;

use std::panic::{AssertUnwindSafe, catch_unwind};

use caracal_bgp::wire::iana::attribute_flag;
use caracal_bgp::wire::{
    AsPath, AttributeError, Attributes, Codec, Family, Message, Segment, UnknownAttribute, Update,
};
use generate::mutate::{HEADER_OCTETS, Random, mutate, shuffle_attributes};
use generate::{any_codec, config, encode, message_for, seed};
use ipnet::IpNet;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// Good messages of each kind, each of some session.
fn corpus() -> Vec<(Codec, Vec<u8>)> {
    let mut runner = TestRunner::new(config(1));
    let codecs = any_codec();
    (0..400)
        .map(|_| {
            let codec = codecs.new_tree(&mut runner).expect("a codec").current();
            let message = message_for(&codec).new_tree(&mut runner);
            let octets = encode(&codec, &message.expect("a message").current());
            (codec, octets)
        })
        .collect()
}

/// What a decoded UPDATE holds on the heap.
fn heap_octets(update: &Update) -> usize {
    fn of<T>(items: &Vec<T>) -> usize {
        items.capacity() * size_of::<T>()
    }
    let attributes = &update.attributes;
    let path = |AsPath(segments): &AsPath| {
        let asns = segments.iter().map(|segment| size_of_val(segment.asns()));
        of(segments) + asns.sum::<usize>()
    };
    let unknown = |one: &UnknownAttribute| of(&one.value);
    let error = |one: &AttributeError| one.detail.capacity();
    of(&update.withdrawn)
        + of(&update.announced)
        + update
            .mp_announced
            .as_ref()
            .map_or(0, |reach| of(&reach.prefixes))
        + path(&attributes.as_path)
        + of(&attributes.communities)
        + of(&attributes.extended_communities)
        + of(&attributes.large_communities)
        + of(&attributes.cluster_list)
        + of(&attributes.unknown)
        + attributes.unknown.iter().map(unknown).sum::<usize>()
        + of(&update.errors)
        + update.errors.iter().map(error).sum::<usize>()
}

/// What it should be after it was encoded and decoded again: complaints are gone, withdrawals are in the order
/// of a message, and what we do not know has gone through us.
fn expected(message: Message) -> Message {
    let Message::Update(mut update) = message else {
        return message;
    };
    update.errors.clear();
    update.disable_family = None;
    update
        .withdrawn
        .sort_by_key(|one| matches!(one.prefix, IpNet::V6(_)));
    for one in &mut update.attributes.unknown {
        one.flags |= attribute_flag::PARTIAL;
    }
    Message::Update(update)
}

/// A path that loses something towards a speaker of two-octet AS numbers: a confederation's segments have no
/// place in AS4_PATH (RFC 6793 §4.2.2), and survive only in front.
fn is_lossy(codec: &Codec, message: &Message) -> bool {
    match message {
        Message::Update(Update {
            attributes: Attributes { as_path, .. },
            ..
        }) => !codec.four_octet_as && as_path.0.iter().any(Segment::is_confed),
        _ => false,
    }
}

/// Of messages that were decoded.
#[derive(Debug, Default)]
struct Seen {
    good: usize,
    complained: usize,
    withdrawn: usize,
    disabled: usize,
    refused: usize,
}

fn check(codec: &Codec, octets: &[u8], seen: &mut Seen) {
    let message = match codec.decode(octets) {
        Ok(message) => message,
        Err(notification) => {
            assert!(matches!(notification.code, 1..=3 | 7), "{notification}");
            assert!(notification.data.len() <= octets.len());
            seen.refused += 1;
            return;
        }
    };
    if let Message::Update(update) = &message {
        // A prefix of one octet becomes one of 24; a complaint is a sentence about an attribute of three octets.
        let octets_max = 24 * octets.len() + 16 * 1024;
        assert!(heap_octets(update) <= octets_max, "{}", heap_octets(update));
        seen.complained += usize::from(!update.errors.is_empty());
        seen.withdrawn += usize::from(update.is_treated_as_withdraw());
        seen.disabled += usize::from(update.disable_family.is_some());
    }
    seen.good += 1;
    if is_lossy(codec, &message) {
        return;
    }
    let mut again = Vec::new();
    codec.encode(&message, &mut again);
    // AS4_PATH repeats what AS_PATH said, so that a full message may not fit again. And one that says
    // nothing is not encoded.
    if !again.is_empty() {
        assert_eq!(codec.decode(&again), Ok(expected(message)));
    }
}

/// Invariant 6 of docs/architecture.md.
#[test]
fn no_message_panics_or_means_two_things() {
    let count = std::env::var("CARACAL_FUZZ_MESSAGES").ok();
    let count: usize = count.map_or(200_000, |count| count.parse().expect("a number"));
    let corpus = corpus();
    let mut random = Random(seed().max(1));
    let mut seen = Seen::default();
    for index in 0..count {
        let (of_session, mut octets) = corpus[random.below(corpus.len())].clone();
        if random.below(3) == 0 {
            shuffle_attributes(&mut random, &mut octets);
        }
        for _ in 0..random.below(5) {
            let (_, other) = &corpus[random.below(corpus.len())];
            mutate(&mut random, &mut octets, other);
        }
        if octets.len() < HEADER_OCTETS || random.below(64) != 0 {
            let length = u16::try_from(octets.len()).expect("at most 9000");
            octets[16..18].copy_from_slice(&length.to_be_bytes());
        }
        // Mostly read as it was written; else by a session that agreed on other things.
        let mut codec = match random.below(4) {
            0 => corpus[random.below(corpus.len())].0.clone(),
            _ => of_session,
        };
        codec.peer_is_external = random.below(4) == 0;
        match random.below(8) {
            0 => codec.families = vec![Family::ALL[random.below(2)]],
            1 => codec.disabled = vec![Family::ALL[random.below(2)]],
            _ => {}
        }
        let checked = catch_unwind(AssertUnwindSafe(|| check(&codec, &octets, &mut seen)));
        if checked.is_err() {
            panic!(
                "message {index} of seed {}: {codec:?} {octets:02x?}",
                seed()
            );
        }
    }
    println!("{count} messages: {seen:?}");
    // The mutations reach every outcome.
    assert!(seen.good > count / 5, "{seen:?}");
    assert!(seen.refused > count / 20, "{seen:?}");
    assert!(seen.withdrawn > count / 50, "{seen:?}");
    assert!(seen.complained > seen.withdrawn, "{seen:?}");
    assert!(seen.disabled > count / 200, "{seen:?}");
}
