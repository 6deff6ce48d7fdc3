//! Values as Calico writes them, read and written.

use serde_json::json;

use super::*;
use crate::resources;

fn entry(path: &str, value: &str) -> KeyValue {
    KeyValue {
        key: path.as_bytes().to_vec(),
        value: value.as_bytes().to_vec(),
        mod_revision: 7,
        lease: 0,
    }
}

fn good(kind: Kind, path: &str, value: &str) -> Object {
    match read(kind, &entry(path, value)) {
        Reading::Good(object) => object,
        other => panic!("{other:?}"),
    }
}

fn written(object: &Object, before: &str) -> Value {
    serde_json::from_slice(&encode(object, Some(before.as_bytes())).unwrap()).unwrap()
}

/// Entries of a cluster of Calico 3.2x on etcd, and one field of each that nobody here knows.
const CALICOS: [(Kind, &str, &str); 8] = [
    (
        Kind::IPPool,
        "/calico/resources/v3/projectcalico.org/ippools/default-ipv4-ippool",
        r#"{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"default-ipv4-ippool","uid":"0e7c2c2e-5c0c-4b39-a3f3-f8ae8a1f0d2e","creationTimestamp":"2021-03-02T10:11:12Z"},"spec":{"cidr":"192.168.0.0/16","vxlanMode":"Never","ipipMode":"Always","natOutgoing":true,"blockSize":26,"nodeSelector":"all()","future":[1]},"status":{"conditions":[{"type":"Allocatable"}]}}"#,
    ),
    (
        Kind::Node,
        "/calico/resources/v3/projectcalico.org/nodes/node-1",
        r#"{"kind":"Node","apiVersion":"projectcalico.org/v3","metadata":{"name":"node-1","uid":"8d5f6a4c-9a2e-4f83-8c1c-5d9a9b6c1f10","creationTimestamp":"2021-03-02T10:11:13Z","labels":{"rack":"a"}},"spec":{"bgp":{"ipv4Address":"172.16.0.11/24","ipv4IPIPTunnelAddr":"192.168.84.128"}},"status":{"wireguardPublicKey":"jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY="}}"#,
    ),
    (
        Kind::WorkloadEndpoint,
        "/calico/resources/v3/projectcalico.org/workloadendpoints/default/node--1-k8s-nginx-eth0",
        r#"{"kind":"WorkloadEndpoint","apiVersion":"projectcalico.org/v3","metadata":{"name":"node--1-k8s-nginx-eth0","namespace":"default","uid":"f1b6e5de-0c38-4f7e-8b8c-5f2cbb2cbb8e","creationTimestamp":"2021-03-02T10:12:00Z","labels":{"projectcalico.org/orchestrator":"k8s"}},"spec":{"orchestrator":"k8s","node":"node-1","containerID":"1337495556942031415926535","pod":"nginx","endpoint":"eth0","ipNetworks":["192.168.84.130/32"],"profiles":["kns.default"],"interfaceName":"cali0ef24ba","mac":"ca:fe:1d:52:bb:e9"}}"#,
    ),
    (
        Kind::IPAMBlock,
        "/calico/ipam/v2/assignment/ipv4/block/192.168.84.128-30",
        r#"{"cidr":"192.168.84.128/30","affinity":"host:node-1","affinity_claim_time":"2026-02-03T04:05:06Z","allocations":[0,null,1,null],"unallocated":[3,1],"attributes":[{"handle_id":"ipip-tunnel-addr-node-1","secondary":{"node":"node-1","type":"ipipTunnelAddress"}},{"handle_id":"k8s-pod-network.13374955","secondary":{"namespace":"default","node":"node-1","pod":"nginx"},"alternate":{"pod":"next"}}],"sequenceNumber":1806000000123456789,"sequenceNumberForAllocation":{"0":1806000000123456787,"2":1806000000123456788},"deleted":false,"future":{"a":null}}"#,
    ),
    (
        Kind::BlockAffinity,
        "/calico/ipam/v2/host/node-1/ipv4/block/192.168.84.128-30",
        r#"{"state":"confirmed","deleted":false,"future":1}"#,
    ),
    (
        Kind::BlockAffinity,
        "/calico/ipam/v2/virtual/load-balancer/ipv4/block/10.9.0.0-26",
        r#"{"state":"pending","deleted":true}"#,
    ),
    (
        Kind::IPAMHandle,
        "/calico/ipam/v2/handle/k8s-pod-network.13374955",
        r#"{"block":{"192.168.84.128/30":1},"deleted":false,"future":"x"}"#,
    ),
    (
        Kind::IPAMConfig,
        "/calico/ipam/v2/config",
        r#"{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":4,"future":true}"#,
    ),
];

#[test]
fn what_calico_wrote_is_valid_here_and_comes_back_equal() {
    for (kind, path, value) in CALICOS {
        let object = good(kind, path, value);
        assert_eq!(
            resources::faults_of(&object),
            Vec::<String>::new(),
            "{path}"
        );
        assert_eq!(layout::path_of(&object).as_deref(), Ok(path));
        assert_eq!(object.revision, Some(Revision("7".to_owned())));
        let expected: Value = serde_json::from_str(value).unwrap();
        assert_eq!(written(&object, value), expected, "{path}");
    }
}

/// Whether all that the one has the other has too, and equal.
fn is_within(small: &Value, large: &Value) -> bool {
    match (small, large) {
        (Value::Object(small), Value::Object(large)) => small.iter().all(|(field, value)| {
            large
                .get(field)
                .is_some_and(|other| is_within(value, other))
        }),
        (small, large) => small == large,
    }
}

/// Through the typed form, as IPAM and the agent write. Defaults are added, as Calico does when it writes.
#[test]
fn what_calico_wrote_survives_a_typed_read_and_write() {
    use crate::resources::*;
    use crate::store::Stored;
    fn through<R: Resource>(object: &Object) -> Object {
        Stored::<R>::from_object(object).unwrap().into_object()
    }
    for (kind, path, value) in CALICOS {
        let object = good(kind, path, value);
        let again = match kind {
            Kind::IPPool => through::<IPPool>(&object),
            Kind::Node => through::<Node>(&object),
            Kind::WorkloadEndpoint => through::<WorkloadEndpoint>(&object),
            Kind::IPAMBlock => through::<IPAMBlock>(&object),
            Kind::BlockAffinity => through::<BlockAffinity>(&object),
            Kind::IPAMHandle => through::<IPAMHandle>(&object),
            _ => through::<IPAMConfig>(&object),
        };
        let expected: Value = serde_json::from_str(value).unwrap();
        let found = written(&again, value);
        assert!(is_within(&expected, &found), "{path}: {found}");
    }
}

#[test]
fn older_forms_are_understood() {
    // Before 3.0.7.
    let path = "/calico/ipam/v2/host/n/ipv4/block/10.0.0.0-26";
    let affinity = good(Kind::BlockAffinity, path, "");
    let affinity = crate::Stored::<crate::BlockAffinity>::from_object(&affinity).unwrap();
    assert!(affinity.spec.is_confirmed_for("n"));
    let affinity = good(Kind::BlockAffinity, path, r#"{"state":""}"#);
    let affinity = crate::Stored::<crate::BlockAffinity>::from_object(&affinity).unwrap();
    assert!(affinity.spec.is_confirmed_for("n"));

    let block = good(
        Kind::IPAMBlock,
        "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30",
        r#"{"cidr":"10.0.0.0/30","affinity":null,"hostAffinity":"n","strictAffinity":false,"allocations":[null,null,null,null],"unallocated":[0,1,2,3],"attributes":null}"#,
    );
    assert_eq!(block.spec["affinity"], json!("host:n"));
    assert_eq!(resources::faults_of(&block), Vec::<String>::new());

    // What is false is not written.
    let config = good(Kind::IPAMConfig, "/calico/ipam/v2/config", "{}");
    let config = crate::Stored::<crate::IPAMConfig>::from_object(&config).unwrap();
    assert!(!config.spec.auto_allocate_blocks && !config.spec.strict_affinity);
}

#[test]
fn metadata_that_calico_does_not_keep_is_kept_beside_its_fields() {
    let path = "/calico/ipam/v2/host/node-1/ipv4/block/10.0.0.0-26";
    let mut object = good(Kind::BlockAffinity, path, r#"{"state":"confirmed"}"#);
    assert_eq!(object.metadata.labels["projectcalico.org/ip-version"], "4");
    let derived = written(&object, "");
    assert_eq!(derived, json!({"state": "confirmed", "deleted": false}));
    object.metadata.labels.insert("own".into(), "yes".into());
    let text = String::from_utf8(encode(&object, None).unwrap()).unwrap();
    let again = good(Kind::BlockAffinity, path, &text);
    assert_eq!(again.metadata, object.metadata);
}

#[test]
fn a_new_object_has_what_calicoctl_wants_of_it() {
    let mut object = crate::conformance::pool("a", "10.0.0.0/16");
    complete(&mut object).unwrap();
    let value = written(&object, "");
    assert_eq!(value["kind"], json!("IPPool"));
    assert_eq!(value["metadata"]["uid"].as_str().unwrap().len(), 36);
    let time = value["metadata"]["creationTimestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.len() == 20, "{time}");
    let mut again = object.clone();
    complete(&mut again).unwrap();
    assert_eq!(again, object);
}

#[test]
fn a_value_that_makes_no_sense_is_named_with_its_text() {
    for (value, why) in [
        (
            "",
            "is not JSON (EOF while parsing a value at line 1 column 0): \"\"",
        ),
        ("[1]", "is not a JSON object: \"[1]\""),
        (r#"{"metadata":5}"#, "metadata: is not an object: "),
    ] {
        let path = "/calico/resources/v3/projectcalico.org/ippools/a";
        let reading = read(Kind::IPPool, &entry(path, value));
        let text = reading.fault().unwrap().to_string();
        assert!(
            text.starts_with(&format!("IPPool a (etcd {path}): {why}")),
            "{text}"
        );
        let object = reading.object().unwrap();
        assert!(!resources::faults_of(&object).is_empty());
    }
    // Long ones are cut, and nothing of a Secret is told.
    let long = format!("{{\"x\": \"{}", "ü".repeat(5_000_000));
    let reading = read(Kind::IPAMHandle, &entry("/calico/ipam/v2/handle/h", &long));
    let text = reading.fault().unwrap().to_string();
    assert!(
        text.len() < 500 && text.contains("(10000007 octets)"),
        "{text}"
    );
    let reading = read(Kind::Secret, &entry("/caracal/v1/secrets/n/s", "hush"));
    assert!(!format!("{reading:?}").contains("hush"));
}
