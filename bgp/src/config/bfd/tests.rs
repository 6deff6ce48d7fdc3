use super::*;

#[derive(Debug, Deserialize)]
struct Holder {
    #[serde(default, deserialize_with = "switch")]
    bfd: Option<BfdConfig>,
}

fn read(json: &str) -> Result<Option<BfdConfig>, String> {
    let holder: Result<Holder, _> = serde_json::from_str(json);
    holder
        .map(|holder| holder.bfd)
        .map_err(|why| why.to_string())
}

#[test]
fn it_is_on_off_or_written_out_with_defaults() {
    let fast = BfdConfig {
        min_interval_milliseconds: 50,
        multihop: Some(true),
        ..BfdConfig::default()
    };
    for (json, expected) in [
        ("{}", None),
        (r#"{"bfd": null}"#, None),
        (r#"{"bfd": false}"#, None),
        (r#"{"bfd": true}"#, Some(BfdConfig::default())),
        (r#"{"bfd": {}}"#, Some(BfdConfig::default())),
        (
            r#"{"bfd": {"minIntervalMilliseconds": 50, "multihop": true}}"#,
            Some(fast),
        ),
    ] {
        assert_eq!(read(json), Ok(expected), "{json}");
    }
}

#[test]
fn what_cannot_work_is_named_with_its_value() {
    for (json, words) in [
        (r#"{"bfd": "yes"}"#, "true, false, or minInterval"),
        (
            r#"{"bfd": {"minIntervalMilliseconds": 9}}"#,
            "minIntervalMilliseconds: 9 is not",
        ),
        (
            r#"{"bfd": {"minIntervalMilliseconds": 60001}}"#,
            "60001 is not",
        ),
        (r#"{"bfd": {"multiplier": 0}}"#, "multiplier: 0 is not"),
        (r#"{"bfd": {"multiplier": 256}}"#, "256"),
        (r#"{"bfd": {"minRx": 300}}"#, "minRx"),
    ] {
        let why = read(json).unwrap_err();
        assert!(why.contains(words), "{json}: {why}");
    }
}

#[test]
fn it_is_read_as_it_was_written() {
    let config = BfdConfig {
        multiplier: 5,
        multihop: Some(false),
        ..BfdConfig::default()
    };
    let json = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<BfdConfig>(&json).unwrap(), config);
}

#[test]
fn ttl_security_says_how_far_it_is_unless_the_configuration_does() {
    let unsaid = BfdConfig::default();
    let said = BfdConfig {
        multihop: Some(true),
        ..unsaid
    };
    let near = NonZeroU8::new(1);
    assert_eq!(unsaid.with_ttl_security(None).multihop, None);
    assert_eq!(unsaid.with_ttl_security(near).multihop, Some(false));
    let far = NonZeroU8::new(2);
    assert_eq!(unsaid.with_ttl_security(far).multihop, Some(true));
    assert_eq!(said.with_ttl_security(near).multihop, Some(true));
}
