//! Names and numbers of families.

use super::*;

#[test]
fn a_family_is_its_name_and_its_numbers() {
    for (family, name, numbers) in [
        (Family::Ipv4Unicast, "ipv4-unicast", (1, 1)),
        (Family::Ipv6Unicast, "ipv6-unicast", (2, 1)),
    ] {
        assert_eq!(family.to_string(), name);
        assert_eq!(name.parse(), Ok(family));
        assert_eq!(family.numbers(), numbers);
        assert_eq!(Family::from_numbers(numbers.0, numbers.1), Some(family));
    }
    assert_eq!(Family::from_numbers(1, 128), None);
}

#[test]
fn an_unknown_name_is_refused_with_the_known_ones() {
    let error = "ipv5-unicast".parse::<Family>().expect_err("unknown");
    assert_eq!(
        error.to_string(),
        r#"unknown address family "ipv5-unicast" (known: ipv4-unicast, ipv6-unicast)"#
    );
}
