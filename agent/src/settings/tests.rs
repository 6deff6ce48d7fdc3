use serde_json::json;

use super::*;

fn felix(spec: Value) -> FelixConfiguration {
    serde_json::from_value(spec).unwrap()
}

fn stored(objects: &[(&str, Value)]) -> BTreeMap<String, Stored<FelixConfiguration>> {
    let one = |(name, spec): &(&str, Value)| {
        let metadata = Metadata {
            name: (*name).to_owned(),
            ..Metadata::default()
        };
        let stored = Stored {
            metadata,
            spec: felix(spec.clone()),
            revision: None,
        };
        ((*name).to_owned(), stored)
    };
    objects.iter().map(one).collect()
}

#[test]
fn the_environment_wins_over_the_node_and_the_node_over_the_cluster() {
    let stored = stored(&[
        (
            "default",
            json!({"vxlanPort": 1, "vxlanVNI": 1, "ipipMTU": 1400}),
        ),
        ("node.node1", json!({"vxlanPort": 2, "vxlanVNI": 2})),
        ("node.node2", json!({"vxlanPort": 9, "natPortRange": 9})),
    ]);
    let environment = Environment {
        said: felix(json!({"vxlanPort": 3})),
        unset: BTreeSet::new(),
    };
    assert_eq!(
        effective(&stored, "node1", &environment),
        felix(json!({"vxlanPort": 3, "vxlanVNI": 2, "ipipMTU": 1400}))
    );
    let nothing = FelixConfiguration::default();
    assert_eq!(
        effective(&BTreeMap::new(), "node1", &Environment::default()),
        nothing
    );
}

#[test]
fn the_fib_works_as_calico_by_default_and_as_said_otherwise() {
    let by_default = of_fib(&FelixConfiguration::default());
    assert_eq!((by_default.metric_v4, by_default.metric_v6), (1024, 1024));
    assert_eq!(by_default.device_prefixes, DevicePrefixes::default());
    assert!(by_default.forwarding);
    let pattern = MtuDevices::matching(MTU_DEVICES).unwrap();
    assert_eq!(by_default.mtu_devices, pattern);
    let said = of_fib(&felix(json!({
        // Our own plugin names devices `cali…` whatever is said.
        "interfacePrefix": "tap",
        "mtuIfacePattern": "^bond",
        "ipForwarding": "Disabled",
        "deviceRouteSourceAddress": "192.0.2.1",
        "deviceRouteSourceAddressIPv6": "2001:db8::1",
        "routeRefreshInterval": "0s",
        "removeExternalRoutes": false,
        "ipv4NormalRoutePriority": 3,
        "ipv6NormalRoutePriority": 4,
        "ipv4ElevatedRoutePriority": 1,
        "ipv6ElevatedRoutePriority": 2,
    })));
    let expected = Settings {
        metric_v4: 3,
        metric_v6: 4,
        elevated_metric_v4: 1,
        elevated_metric_v6: 2,
        source_v4: Some("192.0.2.1".parse().unwrap()),
        source_v6: Some("2001:db8::1".parse().unwrap()),
        verify_interval: Duration::ZERO,
        device_prefixes: DevicePrefixes::new(["cali", "tap"]),
        mtu_devices: MtuDevices::matching("^bond").unwrap(),
        remove_external_routes: false,
        forwarding: false,
    };
    assert_eq!(said, expected);
}

#[test]
fn every_variable_of_felix_is_read_into_its_field() {
    // A value for each field that nothing else can be taken for.
    let environment = |name: &str| {
        let (_, field, form, _) = VARIABLES.iter().find(|(known, ..)| *known == name)?;
        Some(match (form, *field) {
            (Form::Bool, _) => "Yes".to_owned(),
            (Form::Seconds, _) => "2.5".to_owned(),
            (Form::Number, "ipv4ElevatedRoutePriority" | "ipv6ElevatedRoutePriority") => {
                "512".into()
            }
            (Form::Number, _) => "1300".to_owned(),
            (Form::List, _) => "192.0.2.1, 198.51.100.0/24,".to_owned(),
            (Form::Text, "natOutgoingAddress" | "deviceRouteSourceAddress") => "192.0.2.1".into(),
            (Form::Text, "deviceRouteSourceAddressIPv6") => "2001:db8::1".into(),
            (Form::Text, "natPortRange") => "5:6".into(),
            (Form::Text, "natOutgoingExclusions") => "IPPoolsAndHostIPs".into(),
            (Form::Text, "serviceLoopPrevention") => "Reject".into(),
            (Form::Text, "workloadSourceSpoofing") => "Any".into(),
            (Form::Text, "ipForwarding" | "programClusterRoutes") => "Disabled".into(),
            (Form::Text, _) => "eth".into(),
        })
    };
    let said = from_environment(&environment).unwrap().said;
    let written = serde_json::to_value(&said).unwrap();
    let fields: Vec<&String> = written.as_object().unwrap().keys().collect();
    assert_eq!(fields.len(), VARIABLES.len(), "{fields:?}");
    assert!(said.extra.is_empty(), "{:?}", said.extra);
    assert_eq!(written["requireMTUFile"], json!(true));
    assert_eq!(written["routeRefreshInterval"], json!("2.5s"));
    assert_eq!(written["ipipMTU"], json!(1300));
    let nodes = json!(["192.0.2.1", "198.51.100.0/24"]);
    assert_eq!(written["externalNodesList"], nodes);
}

#[test]
fn a_wrong_variable_is_named_with_its_value() {
    for (name, value, expected) in [
        (
            "FELIX_VXLANPORT",
            "many",
            "FELIX_VXLANPORT: \"many\": a number is expected",
        ),
        (
            "FELIX_VXLANVNI",
            "0",
            "FELIX_VXLANVNI: vxlanVNI: 0 is not between 1 and 16777215",
        ),
        (
            "FELIX_REQUIREMTUFILE",
            "perhaps",
            "FELIX_REQUIREMTUFILE: \"perhaps\": true or false is expected",
        ),
        (
            "FELIX_ROUTEREFRESHINTERVAL",
            "-1",
            "FELIX_ROUTEREFRESHINTERVAL: \"-1\": a number of seconds is expected",
        ),
        (
            "FELIX_IPFORWARDING",
            "On",
            "FELIX_IPFORWARDING: \"On\": \"On\" is none of Enabled, Disabled",
        ),
    ] {
        let environment = |key: &str| (key == name).then(|| value.to_owned());
        assert_eq!(from_environment(&environment).unwrap_err(), expected);
    }
}

#[test]
fn a_variable_that_is_none_turns_off_what_the_objects_say() {
    let none = |name: &str| {
        let (.., nothing) = VARIABLES.iter().find(|(known, ..)| *known == name)?;
        (!matches!(nothing, Nothing::Refused)).then(|| " None ".to_owned())
    };
    let environment = from_environment(&none).unwrap();
    let objects = stored(&[(
        "default",
        json!({"natPortRange": "5:6", "natOutgoingAddress": "192.0.2.1", "serviceLoopPrevention": "Reject",
            "iptablesNATOutgoingInterfaceFilter": "eth+", "removeExternalRoutes": true, "ipipMTU": 1400,
            "routeRefreshInterval": "90s", "vxlanPort": 8472, "floatingIPs": "Enabled"}),
    )]);
    let holds = effective(&objects, "node1", &environment);
    let said = |felix: &FelixConfiguration, field: &str| {
        let written = serde_json::to_value(felix).unwrap();
        written.get(field).cloned()
    };
    for field in [
        "natPortRange",
        "natOutgoingAddress",
        "iptablesNATOutgoingInterfaceFilter",
    ] {
        assert_eq!(said(&holds, field), None, "{field}");
    }
    for (field, expected) in [
        ("serviceLoopPrevention", json!("Disabled")),
        ("removeExternalRoutes", json!(false)),
        ("ipipMTU", json!(0)),
        ("vxlanPort", json!(8472)),
        ("floatingIPs", json!("Enabled")),
    ] {
        assert_eq!(said(&holds, field), Some(expected), "{field}");
    }
    assert_eq!(holds.route_refresh_interval, Some(Duration::ZERO));
    let port = |name: &str| (name == "FELIX_VXLANPORT").then(|| "none".to_owned());
    assert_eq!(
        from_environment(&port).unwrap_err(),
        "FELIX_VXLANPORT: \"none\": this cannot be nothing"
    );
}

#[test]
fn routes_of_who_has_just_come_are_better_whatever_is_configured() {
    let nobody = [None, None];
    assert_eq!(faults(&FelixConfiguration::default(), nobody), [""; 0]);
    // The node's object says one, the cluster's the other.
    let objects = stored(&[
        ("default", json!({"ipv4ElevatedRoutePriority": 900})),
        ("node.node1", json!({"ipv4NormalRoutePriority": 800})),
    ]);
    let holds = effective(&objects, "node1", &Environment::default());
    assert_eq!(
        faults(&holds, nobody),
        [
            "ipv4ElevatedRoutePriority: 900 is not less than ipv4NormalRoutePriority of FelixConfiguration, which is 800; 400 is \
          used in its place"
        ]
    );
    let settings = of_fib(&holds);
    assert_eq!(
        (settings.metric_v4, settings.elevated_metric_v4),
        (800, 400)
    );
    assert_eq!(
        (settings.metric_v6, settings.elevated_metric_v6),
        (1024, 512)
    );
    let in_bgp = [None, Some(100)];
    assert_eq!(
        faults(&FelixConfiguration::default(), in_bgp),
        [
            "ipv6ElevatedRoutePriority: 512 is not less than ipv6NormalRoutePriority of BGPConfiguration, which is 100; 50 is used \
          in its place"
        ]
    );
    // Nothing is better than 1.
    assert_eq!(elevated(None, 1), 1);
}
