//! Sessions with a speaker of two-octet AS numbers (RFC 6793 §4.2.3, §6).

use super::*;

/// ORIGIN and NEXT_HOP as ever, AS_PATH and the rest as given.
fn decoded(attributes: &[Vec<u8>]) -> Update {
    let [origin, _, next_hop] = &mandatory()[..] else {
        panic!("three attributes");
    };
    let attributes = [origin.clone(), next_hop.clone(), attributes.concat()].concat();
    let octets = update(&[], &attributes, &PREFIX);
    decode_update(&codec_two_octets(), &octets).expect("no reset")
}

fn actions(update: &Update) -> Vec<(AttributeErrorAction, u8)> {
    let action = |error: &AttributeError| (error.action, error.code);
    update.errors.iter().map(action).collect()
}

/// AS_PATH 1 AS_TRANS.
fn as_path() -> Vec<u8> {
    attribute(0x40, 2, &[2, 2, 0, 1, 0x5b, 0xa0])
}

/// AS4_PATH 65536.
fn as4_path() -> Vec<u8> {
    attribute(0xc0, 17, &[2, 1, 0, 1, 0, 0])
}

#[test]
fn as4_path_and_as4_aggregator_are_merged_in() {
    let aggregator = attribute(0xc0, 7, &[0x5b, 0xa0, 192, 0, 2, 1]);
    let as4_aggregator = attribute(0xc0, 18, &[0, 1, 0, 0, 192, 0, 2, 2]);
    let decoded = decoded(&[as_path(), aggregator, as4_path(), as4_aggregator]);
    assert_eq!(decoded.errors, []);
    let attributes = decoded.attributes;
    assert_eq!(attributes.as_path.to_string(), "1 65536");
    assert_eq!(attributes.aggregator, Some((65536, [192, 0, 2, 2].into())));
    assert!(attributes.unknown.is_empty());
}

#[test]
fn the_order_of_attributes_does_not_matter() {
    let decoded = decoded(&[as4_path(), as_path()]);
    assert_eq!(decoded.attributes.as_path.to_string(), "1 65536");
}

#[test]
fn an_aggregator_that_is_not_as_trans_came_later_than_both() {
    let aggregator = attribute(0xc0, 7, &[0, 9, 192, 0, 2, 1]);
    let as4_aggregator = attribute(0xc0, 18, &[0, 1, 0, 0, 192, 0, 2, 2]);
    let decoded = decoded(&[as_path(), aggregator, as4_path(), as4_aggregator]);
    let attributes = decoded.attributes;
    assert_eq!(attributes.as_path.to_string(), "1 23456");
    assert_eq!(attributes.aggregator, Some((9, [192, 0, 2, 1].into())));
}

#[test]
fn an_as4_aggregator_alone_aggregates_nothing() {
    let decoded = decoded(&[as_path(), attribute(0xc0, 18, &[0, 1, 0, 0, 192, 0, 2, 2])]);
    assert_eq!(
        (decoded.attributes.aggregator, decoded.errors),
        (None, vec![])
    );
}

#[test]
fn malformed_ones_are_discarded_and_the_rest_counts() {
    for (what, attribute) in [
        ("AS4_PATH cut", attribute(0xc0, 17, &[2, 2, 0, 1, 0, 0])),
        (
            "AS4_PATH segment type",
            attribute(0xc0, 17, &[7, 1, 0, 1, 0, 0]),
        ),
        ("AS4_PATH empty segment", attribute(0xc0, 17, &[2, 0])),
        ("AS4_PATH AS 0", attribute(0xc0, 17, &[2, 1, 0, 0, 0, 0])),
        ("AS4_AGGREGATOR length", attribute(0xc0, 18, &[1; 6])),
        ("AS4_AGGREGATOR AS 0", attribute(0xc0, 18, &[0; 8])),
    ] {
        let decoded = decoded(&[as_path(), attribute.clone()]);
        let wanted = [(AttributeErrorAction::Discard, attribute[1])];
        assert_eq!(actions(&decoded), wanted, "{what}");
        assert_eq!(decoded.announced, [prefix()], "{what}");
        assert_eq!(decoded.attributes.as_path.to_string(), "1 23456", "{what}");
    }
}

#[test]
fn an_aggregator_of_eight_octets_is_none_of_theirs() {
    let decoded = decoded(&[as_path(), attribute(0xc0, 7, &[1; 8])]);
    assert_eq!(actions(&decoded), [(AttributeErrorAction::Discard, 7)]);
}
