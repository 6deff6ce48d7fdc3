//! Pods.

use super::super::pod::device_name;
use super::*;

fn pod(annotations: Value, status: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web-0", "namespace": "red", "uid": "u1", "resourceVersion": "500",
            "generateName": "web-", "creationTimestamp": "2024-05-06T07:08:09Z",
            "labels": {"app": "web"},
            "annotations": annotations,
            "managedFields": [{"manager": "kubelet"}],
        },
        "spec": {
            "nodeName": "node-1", "serviceAccountName": "web",
            "containers": [{"name": "c", "image": "web:1", "ports": [
                {"name": "http", "containerPort": 80, "protocol": "TCP"},
                {"containerPort": 53, "hostPort": 5353, "hostIP": "10.0.0.5", "protocol": "UDP"},
                {"containerPort": 9},
            ]}],
        },
        "status": status,
    })
}

fn running() -> Value {
    json!({"phase": "Running", "podIP": "10.1.0.9", "podIPs": [{"ip": "10.1.0.9"}]})
}

fn patch_of(write: Write) -> Value {
    match write {
        Write::PatchStatus(patch) => patch,
        other => panic!("{other:?} is no patch"),
    }
}

/// An endpoint as the agent records it.
fn record() -> Object {
    Object {
        key: Key::in_namespace(Kind::WorkloadEndpoint, "red", "node--1-k8s-web--0-eth0"),
        metadata: crate::Metadata {
            name: "node--1-k8s-web--0-eth0".to_owned(),
            namespace: Some("red".to_owned()),
            annotations: [("caracal.network/network".to_owned(), "caracal".to_owned())].into(),
            ..crate::Metadata::default()
        },
        spec: json!({
            "orchestrator": "k8s", "node": "node-1", "pod": "web-0", "endpoint": "eth0",
            "containerID": "c0ffee", "ipNetworks": ["10.1.0.7/32", "fd00:1::7/128"],
            "interfaceName": device_name("red", "web-0"), "mac": "0a:58:0a:01:00:07",
        }),
        revision: None,
    }
}

#[test]
fn a_pod_that_calico_attached_is_an_endpoint() {
    let value = pod(
        json!({
            "cni.projectcalico.org/podIP": "10.1.0.7/32",
            "cni.projectcalico.org/podIPs": "10.1.0.7/32,fd00:1::7/128",
            "cni.projectcalico.org/containerID": "c0ffee",
            "cni.projectcalico.org/floatingIPs": "[\"203.0.113.9\",\"2001:db8::9\"]",
            "cni.projectcalico.org/allowedSourcePrefixes": "[\"10.9.0.1/24\"]",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        }),
        running(),
    );
    let object = there(V1, Kind::WorkloadEndpoint, &value);
    assert_eq!(
        object.key.to_string(),
        "WorkloadEndpoint red/node--1-k8s-web--0-eth0"
    );
    assert_eq!(
        object.spec,
        json!({
            "orchestrator": "k8s", "node": "node-1", "pod": "web-0", "endpoint": "eth0",
            "containerID": "c0ffee", "serviceAccountName": "web",
            "ipNetworks": ["10.1.0.7/32", "fd00:1::7/128"],
            "interfaceName": device_name("red", "web-0"),
            "profiles": ["kns.red", "ksa.red.web"],
            "allowSpoofedSourcePrefixes": ["10.9.0.0/24"],
            "ipNATs": [
                {"internalIP": "10.1.0.7", "externalIP": "203.0.113.9"},
                {"internalIP": "fd00:1::7", "externalIP": "2001:db8::9"},
            ],
            "ports": [
                {"name": "http", "protocol": "TCP", "port": 80},
                {"name": "", "protocol": "UDP", "port": 53, "hostPort": 5353, "hostIP": "10.0.0.5"},
            ],
        })
    );
    let label = |label: &str| object.metadata.labels.get(label).map(String::as_str);
    assert_eq!(label("app"), Some("web"));
    assert_eq!(label("projectcalico.org/namespace"), Some("red"));
    assert_eq!(label("projectcalico.org/orchestrator"), Some("k8s"));
    assert_eq!(label("projectcalico.org/serviceaccount"), Some("web"));
    assert!(object.metadata.annotations.is_empty());
    // Text and value are read alike.
    let text = V1.read_text(Kind::WorkloadEndpoint, &value.to_string());
    assert_eq!(text.object.unwrap(), Some(object));
}

#[test]
fn the_device_is_named_after_namespace_and_pod() {
    // Computed with sha1sum.
    assert_eq!(device_name("default", "simplePod"), "calibd5189385c4");
    assert_eq!(device_name("red", "web-0"), "cali6e2eed2400e");
}

#[test]
fn addresses_are_those_that_the_plugin_wrote_until_it_takes_them_back() {
    let ip = "cni.projectcalico.org/podIP";
    let ips = "cni.projectcalico.org/podIPs";
    let status = running();
    let nothing = json!({"phase": "Pending"});
    let ended = json!({"phase": "Succeeded", "podIP": "10.1.0.9"});
    for (annotations, status, expected) in [
        (json!({}), &status, vec!["10.1.0.9/32"]),
        (json!({}), &json!({"podIP": "fd00::9"}), vec!["fd00::9/128"]),
        (json!({ip: "10.1.0.7/32"}), &nothing, vec!["10.1.0.7/32"]),
        (json!({ip: "10.1.0.7"}), &nothing, vec!["10.1.0.7/32"]),
        // The kubelet knows it later, and may still know an older one.
        (
            json!({ip: "10.1.0.7/32", ips: "10.1.0.7/32"}),
            &status,
            vec!["10.1.0.7/32"],
        ),
        (
            json!({ips: "10.1.0.7/32, fd00::7/128"}),
            &nothing,
            vec!["10.1.0.7/32", "fd00::7/128"],
        ),
        (json!({ip: "", ips: ""}), &status, vec![]),
        (json!({ip: ""}), &status, vec![]),
        (json!({}), &nothing, vec![]),
        (json!({ip: "10.1.0.7/32"}), &ended, vec![]),
        (
            json!({ip: "10.1.0.7/32"}),
            &json!({"phase": "Failed"}),
            vec![],
        ),
        (Value::Null, &status, vec!["10.1.0.9/32"]),
    ] {
        let reading = V1.read(
            Kind::WorkloadEndpoint,
            pod(annotations.clone(), status.clone()),
        );
        assert!(reading.key.is_some(), "whoever knew it may forget it");
        let object = reading.object.unwrap();
        let networks = object.map_or(json!([]), |object| object.spec["ipNetworks"].clone());
        assert_eq!(networks, json!(expected), "{annotations} {status}");
    }
}

#[test]
fn pods_without_a_network_of_their_own_are_no_endpoints() {
    let mut waiting = pod(json!({}), json!({"phase": "Pending"}));
    waiting["spec"].as_object_mut().unwrap().remove("nodeName");
    let mut host = pod(json!({}), running());
    host["spec"]["hostNetwork"] = json!(true);
    for none in [waiting, host] {
        let reading = V1.read(Kind::WorkloadEndpoint, none);
        assert!(reading.key.is_none() && matches!(reading.object, Ok(None)));
    }
}

#[test]
fn what_the_agent_records_survives_on_the_pod() {
    let before = pod(json!({"note": "x"}), json!({"phase": "Pending"}));
    let record = record();
    let patch = patch_of(V1.write(&record, Some(&before)).unwrap());
    let annotations = &patch["metadata"]["annotations"];
    assert_eq!(annotations["cni.projectcalico.org/podIP"], "10.1.0.7/32");
    assert_eq!(
        annotations["cni.projectcalico.org/podIPs"],
        "10.1.0.7/32,fd00:1::7/128"
    );
    assert_eq!(annotations["cni.projectcalico.org/containerID"], "c0ffee");
    let after = patched(&before, &patch);
    assert_eq!(after["metadata"]["annotations"]["note"], "x");
    let mut read = there(V1, Kind::WorkloadEndpoint, &after);
    for (field, value) in record.spec.as_object().unwrap() {
        assert_eq!(&read.spec[field], value, "{field}");
    }
    assert_eq!(read.metadata.annotations, record.metadata.annotations);

    // A device of another name, and another container.
    read.spec["interfaceName"] = json!("tap0");
    read.spec["containerID"] = json!("cafe");
    let patch = patch_of(V1.write(&read, Some(&after)).unwrap());
    let later = patched(&after, &patch);
    let again = there(V1, Kind::WorkloadEndpoint, &later);
    assert_eq!(again.spec, read.spec);
    assert_ne!(again.revision, read.revision);
    assert!(matches!(
        V1.write(&read, Some(&later)),
        Err(StoreError::Conflict(_))
    ));
    assert!(matches!(
        V1.write(&record, Some(&later)),
        Err(StoreError::Exists(_))
    ));

    // Deletion takes the addresses and leaves the pod and its container's ID.
    let deletion = V1
        .deletion(&again.key, again.revision.as_ref(), &later)
        .unwrap();
    let Deletion::PatchStatus(patch) = deletion else {
        panic!("{deletion:?}");
    };
    let gone = patched(&later, &patch);
    assert_eq!(
        gone["metadata"]["annotations"],
        json!({
            "note": "x", "cni.projectcalico.org/podIP": "", "cni.projectcalico.org/podIPs": "",
            "cni.projectcalico.org/containerID": "cafe",
        })
    );
    assert!(matches!(
        V1.read(Kind::WorkloadEndpoint, gone.clone()).object,
        Ok(None)
    ));
    assert!(matches!(
        V1.deletion(&again.key, None, &gone),
        Err(StoreError::NotFound(_))
    ));
    assert!(matches!(
        V1.write(&again, Some(&gone)),
        Err(StoreError::NotFound(_))
    ));
    // And another container may come.
    assert!(matches!(
        V1.write(&record, Some(&gone)),
        Ok(Write::PatchStatus(_))
    ));
}

#[test]
fn what_the_kubelet_reports_is_no_change_of_the_endpoint() {
    let annotations = json!({"cni.projectcalico.org/podIP": "10.1.0.7/32"});
    let before = pod(annotations.clone(), json!({"phase": "Pending"}));
    let mut after = pod(annotations, running());
    after["metadata"]["resourceVersion"] = json!("501");
    let revision = |value: &Value| there(V1, Kind::WorkloadEndpoint, value).revision;
    assert_eq!(revision(&before), revision(&after));
    after["metadata"]["uid"] = json!("u2");
    assert_ne!(revision(&before), revision(&after));
}

#[test]
fn what_is_the_pods_own_is_not_written_through_its_endpoint() {
    let there_is = pod(json!({}), json!({"phase": "Pending"}));
    let refused = |change: &dyn Fn(&mut Object), current: &Value| {
        let mut object = record();
        change(&mut object);
        match V1.write(&object, Some(current)).unwrap() {
            Write::Refused(why) => why,
            other => panic!("{other:?} is not refused"),
        }
    };
    for (field, value) in [
        ("node", json!("node-2")),
        ("orchestrator", json!("cni")),
        ("ipNetworks", json!([])),
        ("profiles", json!(["p"])),
        ("colour", json!("red")),
    ] {
        let why = refused(&|object| object.spec[field] = value.clone(), &there_is);
        assert!(why.starts_with(&format!("spec.{field}: ")), "{why}");
    }
    let label = |object: &mut Object| {
        drop(
            object
                .metadata
                .annotations
                .insert("a".to_owned(), String::new()),
        )
    };
    assert!(refused(&label, &there_is).contains("annotations: a "));
    let mut host = there_is.clone();
    host["spec"]["hostNetwork"] = json!(true);
    assert!(refused(&|_| {}, &host).contains("web-0"));
    let write = V1.write(&record(), None).unwrap();
    assert!(
        matches!(&write, Write::Refused(why) if why.contains("no Pod \"web-0\"")),
        "{write:?}"
    );
}

#[test]
fn an_annotation_that_makes_no_sense_is_a_fault_of_that_endpoint() {
    for (annotation, text) in [
        ("cni.projectcalico.org/podIP", "10.1.0.777/32"),
        ("cni.projectcalico.org/allowedSourcePrefixes", "10.0.0.0/8"),
        ("cni.projectcalico.org/floatingIPs", "[\"x\"]"),
    ] {
        let reading = V1.read(
            Kind::WorkloadEndpoint,
            pod(json!({annotation: text}), running()),
        );
        let why = reading.object.unwrap_err().to_string();
        assert!(
            why.starts_with("WorkloadEndpoint red/node--1-k8s-web--0-eth0: "),
            "{why}"
        );
        assert!(why.contains(&format!("{text:?}")), "{why}");
    }
}

/// Octets of this process's memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split_whitespace().nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
#[ignore = "a measurement: cargo test -p caracal-datastore --lib octets_of_a_pod -- --ignored --nocapture"]
fn octets_of_a_pod() {
    const PODS: usize = 20_000;
    let mut value = pod(
        json!({
            "cni.projectcalico.org/podIP": "10.1.0.7/32",
            "cni.projectcalico.org/podIPs": "10.1.0.7/32",
            "cni.projectcalico.org/containerID": "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "kubectl.kubernetes.io/last-applied-configuration": "x".repeat(1200),
        }),
        running(),
    );
    value["status"]["conditions"] = json!([{"message": "y".repeat(1000)}]);
    let texts: Vec<String> = (0..PODS)
        .map(|at| {
            value["metadata"]["name"] = json!(format!("web-{at}"));
            value.to_string()
        })
        .collect();
    let (before, begin) = (resident(), std::time::Instant::now());
    let objects: Vec<Object> = texts
        .iter()
        .filter_map(|text| V1.read_text(Kind::WorkloadEndpoint, text).object.unwrap())
        .collect();
    let (taken, kept) = (begin.elapsed(), resident() - before);
    assert_eq!(objects.len(), PODS);
    #[allow(clippy::print_stdout)]
    {
        println!(
            "a pod of {} octets: {} octets kept, {} us",
            texts[0].len(),
            kept / PODS,
            taken.as_micros() / PODS as u128
        );
    }
}

#[test]
fn of_a_large_pod_little_is_kept() {
    let mut value = pod(
        json!({"cni.projectcalico.org/podIP": "10.1.0.7/32"}),
        running(),
    );
    let small = there(V1, Kind::WorkloadEndpoint, &value);
    value["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] =
        json!("x".repeat(100_000));
    value["status"]["conditions"] = json!([{"message": "y".repeat(100_000)}]);
    value["spec"]["volumes"] = json!([{"name": "v"}]);
    assert_eq!(there(V1, Kind::WorkloadEndpoint, &value), small);
    assert!(crate::manifest::to_value(&small).to_string().len() < 1000);
}
