//! The selector language, rule by rule, and that no text makes it panic.

use proptest::prelude::*;

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn selects(text: &str, pairs: &[(&str, &str)]) -> bool {
    Selector::parse(text).unwrap().matches(&labels(pairs))
}

#[test]
fn each_operator_means_what_calico_says() {
    let rack_a = [("rack", "a"), ("zone", "north-1")];
    for (text, expected) in [
        ("", true),
        ("all()", true),
        ("global()", true),
        ("rack == 'a'", true),
        ("rack == \"b\"", false),
        ("missing == 'a'", false),
        ("rack != 'b'", true),
        ("rack != 'a'", false),
        ("missing != 'a'", true),
        ("rack in {'a', 'b'}", true),
        ("rack in {}", false),
        ("missing in {'a'}", false),
        ("rack not in {'a'}", false),
        ("missing not in {'a'}", true),
        ("has(rack)", true),
        ("!has(rack)", false),
        ("!has(node-role.kubernetes.io/control-plane)", true),
        ("zone contains 'rth'", true),
        ("zone starts with 'north'", true),
        ("zone ends with 'north'", false),
        ("missing contains ''", false),
        ("rack == 'b' || rack == 'a' && has(zone)", true),
        ("(rack == 'b' || rack == 'a') && !has(zone)", false),
        ("!!has(rack)", true),
    ] {
        assert_eq!(selects(text, &rack_a), expected, "{text}");
    }
    assert!(!selects(
        "global()",
        &[("projectcalico.org/namespace", "default")]
    ));
}

#[test]
fn and_binds_closer_than_or() {
    assert!(selects("has(a) || has(b) && has(c)", &[("a", "")]));
    assert!(!selects("(has(a) || has(b)) && has(c)", &[("a", "")]));
}

#[test]
fn a_fault_says_where_and_why() {
    for (text, at, why) in [
        ("rack = 'a'", 6, "unexpected character '='"),
        ("rack == a", 9, "expected a quoted string, found \"a\""),
        ("rack == 'a", 9, "the string does not end"),
        ("has(rack", 9, "expected \")\", found the end"),
        ("any()", 5, "there is no function \"any\""),
        ("has(a) has(b)", 8, "unexpected \"has\""),
        ("rack not 'a'", 10, "expected \"in\", found string \"a\""),
    ] {
        let fault = Selector::parse(text).unwrap_err();
        assert_eq!((fault.at, fault.why.as_str()), (at, why), "{text}");
    }
}

#[test]
fn deep_nesting_is_a_fault_and_no_overflow() {
    let deep = format!("{}has(a){}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(
        Selector::parse(&deep)
            .unwrap_err()
            .why
            .contains("nested deeper")
    );
    assert!(Selector::parse(&"!".repeat(100_000)).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z(){}!=&|'\", é]{0,60}") {
        let _ = Selector::parse(&text);
    }

    #[test]
    fn what_it_prints_parses_to_the_same(
        label in "[a-z]{1,5}",
        values in proptest::collection::vec("[a-z' ]{0,4}", 1..4),
        negate in any::<bool>(),
    ) {
        let set: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
        let text = format!(
            "{}({label} in {{{}}} || {label} not in {{{}}} && has({label}) || {label} starts with {})",
            if negate { "!" } else { "" }, set.join(","), set[0], set[0],
        );
        let parsed = Selector::parse(&text).unwrap();
        prop_assert_eq!(Selector::parse(&parsed.to_string()).unwrap(), parsed);
    }
}
