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
        ("rack in {'a',}", true),
        ("rack notin {'b'}", true),
        ("zone startswith 'north'", true),
        ("zone endswith '1'", true),
        ("rack\tin{'a'}", true),
        ("not in {'x'}", false),
        ("in == 'x' || has( rack )", true),
        ("all( )", true),
    ] {
        assert_eq!(selects(text, &rack_a), expected, "{text}");
    }
    let of_namespaces = [
        ("pcns.kubernetes.io/metadata.name", "web"),
        ("pcsa.role", "it's"),
    ];
    for text in [
        "pcns.kubernetes.io/metadata.name == 'web' && has(pcsa.role)",
        "pcsa.role == \"it's\"",
        "pcsa.role contains \"'\"",
    ] {
        assert!(selects(text, &of_namespaces), "{text}");
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
        (
            "rack in {'a' 'b'}",
            14,
            "expected \"}\", found string \"b\"",
        ),
        ("rack in {,}", 10, "expected a quoted string, found \",\""),
        ("é == 'a'", 1, "unexpected character 'é'"),
        ("rack ~ 'a'", 6, "unexpected character '~'"),
        ("rack", 5, "expected a comparison, found the end"),
        ("has()", 5, "expected a label, found \")\""),
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

#[test]
fn what_could_just_be_parsed_can_be_printed_and_parsed_again() {
    // As a tree that is printed with parentheses around every list it would be twice as deep.
    let deep = format!(
        "{}has(z){}",
        "has(a) || has(b) && (".repeat(100),
        ")".repeat(100)
    );
    let parsed = Selector::parse(&deep).unwrap();
    assert_eq!(Selector::parse(&parsed.to_string()), Ok(parsed));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-z(){}!=&|'\", é]{0,60}") {
        let _ = Selector::parse(&text);
    }

    #[test]
    fn what_it_prints_parses_to_the_same(tree in expression()) {
        let printed = tree.to_string();
        let parsed = Selector::parse(&printed).unwrap();
        prop_assert_eq!(&parsed.root, &tree, "{}", printed);
        prop_assert_eq!(parsed.to_string(), printed);
    }

    #[test]
    fn it_selects_what_a_simpler_reading_selects(
        tree in expression(),
        labels in proptest::collection::btree_map("[ab]", "[xy']{0,2}", 0..3),
        namespaced in any::<bool>(),
    ) {
        let mut labels = labels;
        if namespaced {
            labels.insert(NAMESPACE_LABEL.to_owned(), "default".to_owned());
        }
        let parsed = Selector::parse(&tree.to_string()).unwrap();
        prop_assert_eq!(parsed.matches(&labels), simpler(&tree, &labels), "{}", tree);
    }
}

/// Any expression that a text can say: lists have two parts at least, and no list of one kind is without parentheses
/// in another of its kind.
fn expression() -> impl Strategy<Value = Expression> {
    let label = || "[ab]";
    let value = || "[xy']{0,2}";
    let set = || proptest::collection::btree_set("[xy']{0,2}", 0..3);
    let leaf = prop_oneof![
        Just(Expression::All),
        Just(Expression::Global),
        label().prop_map(Expression::Has),
        (label(), value()).prop_map(|(label, value)| Expression::Equals(label, value)),
        (label(), value()).prop_map(|(label, value)| Expression::Differs(label, value)),
        (label(), set()).prop_map(|(label, set)| Expression::In(label, set)),
        (label(), set()).prop_map(|(label, set)| Expression::NotIn(label, set)),
        (label(), value()).prop_map(|(label, value)| Expression::Contains(label, value)),
        (label(), value()).prop_map(|(label, value)| Expression::StartsWith(label, value)),
        (label(), value()).prop_map(|(label, value)| Expression::EndsWith(label, value)),
    ];
    leaf.prop_recursive(6, 40, 3, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner
                .clone()
                .prop_map(|inner| Expression::Not(Box::new(inner))),
            parts().prop_map(Expression::And),
            parts().prop_map(Expression::Or),
        ]
    })
}

/// The language's rules once more, in the words of its documentation.
fn simpler(tree: &Expression, labels: &BTreeMap<String, String>) -> bool {
    // None: the label is absent.
    let value = |label: &str| {
        labels
            .iter()
            .find(|(key, _)| *key == label)
            .map(|(_, value)| &value[..])
    };
    match tree {
        Expression::All => true,
        Expression::Global => value("projectcalico.org/namespace").is_none(),
        Expression::Has(label) => value(label).is_some(),
        Expression::Equals(label, wanted) => {
            value(label).map(|value| value == wanted) == Some(true)
        }
        // "also matches if the label is not present"
        Expression::Differs(label, other) => value(label).map(|value| value == other) != Some(true),
        Expression::In(label, set) => set.iter().any(|one| value(label) == Some(one)),
        Expression::NotIn(label, set) => set.iter().all(|one| value(label) != Some(one)),
        Expression::Contains(label, part) => {
            value(label).is_some_and(|value| value.matches(&part[..]).count() > 0)
        }
        Expression::StartsWith(label, part) => {
            value(label).is_some_and(|value| value.strip_prefix(&part[..]).is_some())
        }
        Expression::EndsWith(label, part) => {
            value(label).is_some_and(|value| value.strip_suffix(&part[..]).is_some())
        }
        Expression::Not(inner) => !simpler(inner, labels),
        Expression::And(parts) => parts
            .iter()
            .fold(true, |all, part| all & simpler(part, labels)),
        Expression::Or(parts) => parts
            .iter()
            .fold(false, |any, part| any | simpler(part, labels)),
    }
}
