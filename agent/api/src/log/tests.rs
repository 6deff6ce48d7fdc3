use super::*;

#[test]
fn levels_and_directives_with_levels_are_filters() {
    for level in [
        "info",
        "DEBUG",
        "off",
        "caracal_bgp=debug,info",
        "caracal_bgp=debug, info",
        "caracal_bgp::wire=trace,warn,",
        "caracal_bgp[peer]=trace",
    ] {
        filter(level).unwrap();
    }
}

#[test]
fn whatever_else_is_refused_by_its_name() {
    for (level, word) in [
        ("loud", "\"loud\""),
        ("", "\"\""),
        (",", "\",\""),
        (" ", "\" \""),
        ("caracal_bgp", "\"caracal_bgp\""),
        ("info,caracal_bgp=loud", "\"caracal_bgp=loud\""),
        ("caracal_bgp=", "\"caracal_bgp=\""),
        ("a[b=info", "a[b=info"),
    ] {
        let fault = filter(level).unwrap_err();
        assert!(
            fault.starts_with("log.level: ") && fault.contains(word),
            "{fault}"
        );
    }
}
