//! What operators write: taken as meant, or refused with the place, the value and what would be right.

use super::*;

fn refusal(written: Value) -> String {
    serde_json::from_value::<Policy>(written)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_refusal_names_rule_field_and_value() {
    let in_second_rule =
        |rule: Value| refusal(json!({"rules": [{"action": "next"}, rule], "default": "accept"}));
    let table = [
        (
            json!({"match": {"prefixes": ["10.0.0.0/8", "10.0.0.1/8"]}, "action": "accept"}),
            "rules[1].match.prefixes[1]: bad prefix \"10.0.0.1/8\": bits are set after the length; 10.0.0.0/8 is meant?",
        ),
        (
            json!({"match": {"prefixes": ["10.0.0.0/8 ge 7"]}, "action": "accept"}),
            "rules[1].match.prefixes[0]: bad prefix \"10.0.0.0/8 ge 7\": wanted: 8 ≤ ge ≤ le ≤ 32",
        ),
        (
            json!({"match": {"asPath": {"first": [-1]}}, "action": "accept"}),
            "rules[1].match.asPath.first[0]: bad number or range \"-1\": wanted: a number up to 4294967295, 100-200, 100- or *",
        ),
        (
            json!({"match": {"asPath": {"regexp": ["^(64512"]}}, "action": "accept"}),
            "rules[1].match.asPath.regexp[0]: bad AS path regexp \"^(64512\": unclosed group",
        ),
        (
            json!({"match": {"communities": {"any": ["64512:65536"]}}, "action": "accept"}),
            "rules[1].match.communities.any[0]: bad community pattern \"64512:65536\": wanted: two numbers or ranges up to 65535 or *, as in 64512:100-199 or 64512:*, or a name as no-export",
        ),
        (
            json!({"match": {"peers": ["externl"]}, "action": "accept"}),
            "rules[1].match.peers[0]: bad peer \"externl\": wanted: external, internal, client, an address or a prefix",
        ),
        (
            json!({"set": {"med": "plus 10"}, "action": "accept"}),
            "rules[1].set.med: bad MED \"plus 10\": wanted: a number up to 4294967295, add N, subtract N or remove",
        ),
        (
            json!({"set": {"communities": {"add": ["64512:*"]}}, "action": "accept"}),
            "rules[1].set.communities.add[0]: bad community \"64512:*\": wanted: two numbers up to 65535, as in 64512:100, or one of graceful-shutdown, llgr-stale, no-llgr, blackhole, no-export, no-advertise, no-export-subconfed, no-peer",
        ),
        (
            json!({"set": {"prepend": 256}, "action": "accept"}),
            "rules[1].set.prepend: invalid value: integer `256`, expected u8",
        ),
        (
            json!({"match": {"prefix": []}, "action": "accept"}),
            "rules[1].match.prefix: unknown field `prefix`, expected one of",
        ),
        (
            json!({"action": "permit"}),
            "rules[1].action: unknown variant `permit`, expected one of `accept`, `reject`, `next`",
        ),
        (json!({"match": {}}), "rules[1]: missing field `action`"),
    ];
    for (rule, words) in table {
        let refusal = in_second_rule(rule);
        assert!(refusal.starts_with(words), "{refusal}");
    }
    assert_eq!(
        refusal(json!({"rules": []})),
        "missing field `default`",
        "what happens to the rest is said, not guessed"
    );
}

#[test]
fn a_regexp_is_bounded() {
    let long = refusal(json!({
        "rules": [{"match": {"asPath": {"regexp": ["1".repeat(1025)]}}, "action": "accept"}],
        "default": "accept",
    }));
    assert!(
        long.ends_with("1025 octets, and 1024 are the most"),
        "{long}"
    );
    let bomb: Result<PathRegexp, _> = "(([0-9]{500}){500}){500}".parse();
    assert!(
        bomb.unwrap_err().to_string().contains("size limit"),
        "1 MiB compiled"
    );
}

#[test]
fn an_underscore_is_a_boundary_only_where_it_is_no_letter_of_a_class() {
    let regexp = |text: &str| text.parse::<PathRegexp>().unwrap();
    assert!(regexp("_1_").is_match("1"));
    assert!(regexp("_1_").is_match("7 {1 2}"));
    assert!(regexp("_1_").is_match("7 (1)"));
    assert!(!regexp("_1_").is_match("11 21"));
    assert!(!regexp("[_]").is_match("1 2"));
    assert!(!regexp(r"1\_2").is_match("1 2"));
    assert!(regexp("_(1|2)_3_").is_match("9 2 3"));
    assert!(!regexp("^1(_2)*_3$").is_match("1 2 2 4 3"));
}

fn says<T: std::str::FromStr<Err = BadText> + ToString>(text: &str) -> String {
    text.parse::<T>()
        .map_or_else(|bad| bad.to_string(), |value| value.to_string())
}

#[test]
fn values_are_written_as_they_are_read() {
    for text in ["7", "1-9", "10-", "*"] {
        assert_eq!(says::<NumberRange>(text), text);
    }
    for text in [
        "10.0.0.0/8",
        "10.0.0.0/8 inside",
        "10.0.0.0/8 ge 9",
        "10.0.0.0/8 le 9",
        "fd00::/8 ge 9 le 10",
    ] {
        assert_eq!(says::<PrefixRange>(text), text);
    }
    for text in ["no-export", "64512:1"] {
        assert_eq!(says::<StandardCommunity>(text), text);
        assert_eq!(says::<StandardPattern>(text), text);
    }
    for text in ["*:1", "64512:*", "64512:1-9", "*:*"] {
        assert_eq!(says::<StandardPattern>(text), text);
    }
    for text in [
        "rt:64512:4294967295",
        "ro:192.0.2.1:65535",
        "rt:4200000000:65535",
        "0x4004fc0000000064",
        // Type 0x02 with a small number: "rt:5:7" would be another one.
        "0x0202000000050007",
    ] {
        assert_eq!(says::<ExtendedCommunity>(text), text);
        assert_eq!(says::<ExtendedPattern>(text), text);
    }
    for text in ["rt:*:*", "ro:64512:1-9", "0x4004*", "0x*"] {
        let again = says::<ExtendedPattern>(text);
        assert!(again == text || text == "0x*", "{again}");
    }
    assert_eq!(says::<LargeCommunity>("1:2:3"), "1:2:3");
    assert_eq!(says::<LargePattern>("1:*:3-"), "1:*:3-");
    for text in ["12", "add 1", "subtract 1", "remove"] {
        assert_eq!(says::<MedChange>(text), text);
    }
    for text in ["self", "keep", "192.0.2.1", "fd00::1"] {
        assert_eq!(says::<NextHopChange>(text), text);
    }
}

#[test]
fn what_is_no_value_is_refused() {
    for text in ["", "-", "-1", "+1", "9-1", "4294967296", "1-x", "1--2"] {
        assert!(text.parse::<NumberRange>().is_err(), "{text}");
    }
    for text in [
        "",
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/8 ge",
        "10.0.0.0/8 le 7",
        "10.0.0.0/8 or 9",
    ] {
        assert!(text.parse::<PrefixRange>().is_err(), "{text}");
    }
    for text in [
        "rt:1",
        "rt:1:2:3",
        "rt:192.0.2.1:65536",
        "rt:4200000000:65536",
        "0x12",
        "0xg",
        "xx:1:1",
        "rt:*:1",
    ] {
        assert!(text.parse::<ExtendedCommunity>().is_err(), "{text}");
    }
    for text in ["0x12", "0x12345678901234567*", "0x+1*", "rt:1"] {
        assert!(text.parse::<ExtendedPattern>().is_err(), "{text}");
    }
    for text in ["1:2", "1:2:3:4", "1:2:4294967296"] {
        assert!(text.parse::<LargeCommunity>().is_err(), "{text}");
        assert!(text.parse::<LargePattern>().is_err(), "{text}");
    }
}
