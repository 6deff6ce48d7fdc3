//! AS_PATH: its questions, its text, its octets, and the two widths of AS numbers.

use super::codec::AsPathError;
use super::*;

fn path(text: &str) -> AsPath {
    text.parse().expect("an AS path")
}

#[test]
fn hops_count_a_set_once_and_a_confederation_not_at_all() {
    for (text, hops) in [
        ("", 0),
        ("1 2 3", 3),
        ("1 {2 3 4}", 2),
        ("(65001 65002) 1", 1),
        ("(65001) [65002 65003]", 0),
        ("1 1 {2} 3", 4),
    ] {
        assert_eq!(path(text).hops(), hops, "{text}");
    }
}

#[test]
fn the_neighbour_is_the_first_outside_the_confederation() {
    for (text, first) in [
        ("", None),
        ("64512 1", Some(64512)),
        ("(65001) [65002] 7 8", Some(7)),
        ("{1 2} 3", None),
        ("(65001)", None),
    ] {
        assert_eq!(path(text).first_as(), first, "{text}");
    }
}

#[test]
fn contains_looks_into_every_segment() {
    let path = path("(65001) 1 {2 3}");
    for asn in [65001, 1, 2, 3] {
        assert!(path.contains(asn));
    }
    assert!(!path.contains(4));
}

#[test]
fn prepending_goes_into_the_first_sequence_or_makes_one() {
    for (before, after) in [
        ("", "9 9"),
        ("1 2", "9 9 1 2"),
        ("{1 2}", "9 9 {1 2}"),
        ("(65001) 1", "9 9 (65001) 1"),
    ] {
        let mut path = path(before);
        path.prepend(9, 2);
        assert_eq!(path.to_string(), after);
    }
    let mut unchanged = path("1 {2}");
    unchanged.prepend(9, 0);
    assert_eq!(unchanged, path("1 {2}"));
}

#[test]
fn a_segment_never_grows_over_255() {
    let mut path = AsPath::from_sequence(vec![1; 254]);
    path.prepend(2, 3);
    let lengths: Vec<_> = path.0.iter().map(|segment| segment.asns().len()).collect();
    assert_eq!(lengths, [2, 255]);
    assert_eq!((path.first_as(), path.hops()), (Some(2), 257));

    let mut path = AsPath::default();
    path.prepend(3, 600);
    let lengths: Vec<_> = path.0.iter().map(|segment| segment.asns().len()).collect();
    assert_eq!(lengths, [90, 255, 255]);
}

#[test]
fn text_reads_back() {
    for text in [
        "",
        "64512",
        "4200000000 1",
        "64512 {1 2}",
        "(65001 65002) [65003] 7 {8} 9",
    ] {
        assert_eq!(path(text).to_string(), text);
    }
    assert_eq!(path("  1   2 { 3 4 }5 ").to_string(), "1 2 {3 4} 5");
}

#[test]
fn other_texts_are_no_path_and_the_error_says_why() {
    for (text, why) in [
        ("1 x", r#"bad AS path "1 x": "x" is no AS number"#),
        ("{1 2", r#"bad AS path "{1 2": no '}' for '{'"#),
        ("1 {}", r#"bad AS path "1 {}": empty segment"#),
        (
            "4294967296",
            r#"bad AS path "4294967296": "4294967296" is no AS number"#,
        ),
        ("1)", r#"bad AS path "1)": "1)" is no AS number"#),
    ] {
        let error = text.parse::<AsPath>().expect_err(text);
        assert_eq!(error.to_string(), why);
    }
}

#[test]
fn octets_read_back_in_both_widths() {
    let path = path("(65001) [65002] 1 2 {3 4}");
    for wide in [true, false] {
        let mut octets = Vec::new();
        path.encode(wide, &mut octets);
        assert_eq!(AsPath::decode(&octets, wide), Ok(path.clone()));
    }
}

#[test]
fn a_long_sequence_is_split_and_an_empty_one_left_out() {
    let mut octets = Vec::new();
    AsPath(vec![Segment::Set(vec![]), Segment::Sequence(vec![7; 300])]).encode(true, &mut octets);
    let decoded = AsPath::decode(&octets, true).expect("a path");
    let wanted = [
        Segment::Sequence(vec![7; 255]),
        Segment::Sequence(vec![7; 45]),
    ];
    assert_eq!(decoded.0, wanted);
}

#[test]
fn each_malformation_of_rfc_7606_is_named() {
    for (octets, error) in [
        (&[5, 1, 0, 0, 0, 1][..], AsPathError::SegmentType(5)),
        (&[0, 0], AsPathError::SegmentType(0)),
        (
            &[2, 2, 0, 0, 0, 1],
            AsPathError::Overrun { count: 2, left: 4 },
        ),
        (&[2, 1, 0, 0, 0, 1, 2], AsPathError::Underrun),
        (&[2, 0], AsPathError::EmptySegment),
        (&[2, 1, 0, 0, 0, 0], AsPathError::AsZero),
    ] {
        assert_eq!(AsPath::decode(octets, true), Err(error), "{octets:?}");
    }
}

/// RFC 6793 §4.2.3: what AS_PATH (with AS_TRANS) and AS4_PATH mean together.
#[test]
fn as4_path_fills_in_what_two_octets_could_not_say() {
    for (as_path, as4_path, merged) in [
        ("23456 23456", "70000 80000", "70000 80000"),
        ("1 23456 2", "70000 2", "1 70000 2"),
        ("1 23456 {23456 3}", "70000 {80000 3}", "1 70000 {80000 3}"),
        ("1 {2 3} 23456", "70000", "1 {2 3} 70000"),
        // Longer than AS_PATH: it belongs to another path.
        ("1", "70000 80000", "1"),
        // A confederation's segments: kept in front, ignored in AS4_PATH.
        ("(65001) 23456", "70000", "(65001) 70000"),
        ("23456 2", "(65009) 70000 2", "70000 2"),
        ("1 2", "", "1 2"),
    ] {
        let merged_path = path(as_path).merge_as4(path(as4_path));
        assert_eq!(merged_path.to_string(), merged, "{as_path} with {as4_path}");
    }
}

#[test]
fn merging_makes_one_segment_of_what_was_one() {
    let merged = path("1 23456 2").merge_as4(path("70000 2"));
    assert_eq!(merged.0, [Segment::Sequence(vec![1, 70000, 2])]);
}

#[test]
fn as4_path_goes_along_only_where_it_is_needed() {
    assert!(!path("1 65535 {2}").needs_as4());
    assert!(path("1 {65536}").needs_as4());
    assert!(!path("(70000) 1").needs_as4());
    let mut octets = Vec::new();
    path("(65001) 70000").encode_as4(&mut octets);
    assert_eq!(octets, [2, 1, 0, 1, 0x11, 0x70]);
    octets.clear();
    path("70000").encode(false, &mut octets);
    assert_eq!(octets, [2, 1, 0x5b, 0xa0]);
}
