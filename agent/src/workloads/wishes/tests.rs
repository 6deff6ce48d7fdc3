use super::*;

fn request() -> CniAdd {
    CniAdd {
        container_id: "c".into(),
        ifname: "eth0".into(),
        netns: "/run/netns/x".into(),
        network: "net".into(),
        namespace: Some("shop".into()),
        pod: Some("web".into()),
        ipv4_pools: vec!["configured".into()],
        ipv6_pools: vec!["configured6".into()],
        addresses: vec![],
    }
}

fn annotations(pairs: &[(&str, &str)]) -> Annotations {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| (format!("cni.projectcalico.org/{key}"), (*value).to_owned()))
        .collect()
}

fn pool(name: &str, cidr: &str) -> Pool {
    let cidr = cidr.parse().unwrap();
    Pool {
        name: name.into(),
        cidr,
        encapsulation: crate::ways::encapsulation(None, None, &cidr),
        disable_bgp_export: false,
        disabled: false,
        unusable: None,
    }
}

fn read(pod: &[(&str, &str)], namespace: &[(&str, &str)]) -> Result<Wishes, String> {
    let known = [pool("blue", "10.66.0.0/24"), pool("blue6", "fd00:66::/64")];
    Wishes::configured(&request()).annotated(
        ("shop/web", &annotations(pod)),
        ("shop", &annotations(namespace)),
        &known,
    )
}

fn asked(wishes: &Wishes) -> AssignRequest {
    wishes.ask(AssignRequest::default(), true, true)
}

#[test]
fn the_pods_pools_come_before_its_namespaces_and_those_before_the_configurations() {
    let (pod, namespace) = (
        [("ipv4pools", r#"["p"]"#)],
        [("ipv4pools", r#"["n", "10.1.0.0/16"]"#)],
    );
    for (pod, namespace, expected) in [
        (&[][..], &[][..], &["configured"][..]),
        (&[], &namespace, &["n", "10.1.0.0/16"]),
        (&pod, &namespace, &["p"]),
        (&pod, &[], &["p"]),
        // One that is empty says nothing.
        (&[("ipv4pools", "")], &namespace, &["n", "10.1.0.0/16"]),
    ] {
        let request = asked(&read(pod, namespace).unwrap());
        assert_eq!(request.ipv4_pools, expected);
        assert_eq!(request.ipv6_pools, ["configured6"]);
        assert!(request.ipv4 && request.ipv6);
    }
    let request = asked(&read(&[("ipv6pools", r#"["blue6"]"#)], &[]).unwrap());
    assert_eq!(request.ipv6_pools, ["blue6"]);
}

#[test]
fn a_pod_that_names_its_addresses_gets_no_others() {
    let request = asked(&read(&[("ipAddrs", r#"["10.66.0.7"]"#)], &[]).unwrap());
    assert_eq!(request.addresses, ["10.66.0.7".parse::<IpAddr>().unwrap()]);
    assert!(!request.ipv4 && !request.ipv6);
}

#[test]
fn a_pod_may_do_without_a_family() {
    let wishes = read(&[("ipFamilies", r#"["IPv6"]"#)], &[]).unwrap();
    assert!(!asked(&wishes).ipv4 && asked(&wishes).ipv6);
    // No pool gives what it wants.
    let request = wishes.ask(AssignRequest::default(), true, false);
    assert!(!request.ipv4 && !request.ipv6);
}

#[test]
fn what_makes_no_sense_is_told_with_pod_annotation_and_value() {
    for (key, value, why) in [
        (
            "ipv4pools",
            "[7]",
            "is no JSON list of names or CIDRs of pools: invalid type: integer `7`, expected a string at line 1 column 2",
        ),
        ("ipv4pools", r#"["blue6"]"#, "blue6 is no IPv4 pool"),
        (
            "ipv6pools",
            r#"["10.1.0.0/16"]"#,
            "10.1.0.0/16 is no IPv6 pool",
        ),
        ("ipAddrs", "[]", "names no address"),
        (
            "ipAddrs",
            r#"["10.0.0.1", "10.0.0.2"]"#,
            "10.0.0.1 and 10.0.0.2 are of one family; a pod gets one of each",
        ),
        (
            "ipAddrs",
            r#"["10.0.0.1/32"]"#,
            "\"10.0.0.1/32\" is not an address",
        ),
        (
            "ipAddrsNoIpam",
            r#"["10.0.0.1"]"#,
            "every address is IPAM's here; cni.projectcalico.org/ipAddrs asks for a certain one",
        ),
        (
            "ipFamilies",
            r#"["ipv4"]"#,
            "\"ipv4\" is neither IPv4 nor IPv6",
        ),
        ("ipFamilies", "[]", "names no family"),
        ("hwAddr", "1c:0c", "is not a MAC address"),
        (
            "hwAddr",
            "01:00:5e:00:00:01",
            "is not the address of one interface",
        ),
        (
            "hwAddr",
            "00:00:00:00:00:00",
            "is not the address of one interface",
        ),
    ] {
        let fault = read(&[(key, value)], &[]).unwrap_err();
        let named = format!("pod shop/web: annotation cni.projectcalico.org/{key}: {value}: {why}");
        assert_eq!(fault, named);
    }
    let fault = read(&[], &[("ipv4pools", "blue")]).unwrap_err();
    assert!(
        fault.starts_with(
            "namespace shop: annotation cni.projectcalico.org/ipv4pools: blue: is no JSON list"
        ),
        "{fault}"
    );
    let long = "x".repeat(1000);
    let fault = read(&[("hwAddr", &long)], &[]).unwrap_err();
    assert!(fault.len() < 300, "{fault}");
}

#[test]
fn what_ipam_cannot_give_names_the_annotation_that_asked_for_it() {
    let wishes = read(&[("ipv4pools", r#"["blue"]"#)], &[]).unwrap();
    let refusal = wishes.refusal(&IpamError::NoPool("IPv4: blue is disabled".into()));
    assert!(matches!(refusal, Refusal::Wrong(_)));
    assert_eq!(
        refusal.to_string(),
        "pod shop/web: annotation cni.projectcalico.org/ipv4pools: [\"blue\"]: no IP pool for IPv4: blue is disabled"
    );
    // A full pool may have room later.
    let refusal = wishes.refusal(&IpamError::Exhausted("pool blue is full".into()));
    assert!(matches!(refusal, Refusal::Later(_)));
    assert!(refusal.to_string().starts_with("pod shop/web: annotation"));
    let configured = Wishes::configured(&request());
    let refusal = configured.refusal(&IpamError::NoPool("IPv4: none exists".into()));
    assert_eq!(refusal.to_string(), "no IP pool for IPv4: none exists");
}
