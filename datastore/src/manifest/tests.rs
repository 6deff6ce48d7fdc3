//! Manifests as people write them, and the lines that faults name.

use proptest::prelude::*;

use super::*;

const POOL: &str = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata:\n  name: a\nspec:\n  cidr: 10.0.0.0/16\n";

fn faults(text: &str) -> Vec<String> {
    let faults = parse("f.yaml", text).faults;
    faults.iter().map(|fault| fault.error.to_string()).collect()
}

#[test]
fn a_fault_names_file_line_and_field_also_in_later_documents_and_lists() {
    let bgp = "apiVersion: projectcalico.org/v3\nkind: BGPConfiguration\nmetadata: {name: default}\nspec:\n  communities:\n  - name: good\n    value: 1:2\n  - name: bad\n    value: oops\n  listenPort: many\n";
    assert_eq!(
        faults(&format!("# first\n{POOL}--- # second\n{bgp}")),
        [
            "f.yaml:18: BGPConfiguration default: spec.listenPort: invalid type: string \"many\", expected u16"
        ]
    );
    let bgp = bgp.replace("many", "179");
    assert_eq!(
        faults(&format!("{POOL}...\n---\n\n{bgp}")),
        [
            "f.yaml:18: BGPConfiguration default: spec.communities[1].value: \"oops\" is neither aa:nn nor aa:nn:mm"
        ]
    );
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: projectcalico.org/v3\n  kind: IPPool\n  metadata: {name: a}\n  spec: {cidr: 10.0.0.0/16}\n- apiVersion: projectcalico.org/v3\n  kind: IPPool\n  metadata: {name: b}\n  spec:\n    cidr: 10.0.0.1/16\n";
    assert_eq!(
        faults(list),
        ["f.yaml:12: IPPool b: spec.cidr: 10.0.0.1/16 has host bits set"]
    );
    assert_eq!(
        faults(
            "{\n  \"apiVersion\": \"projectcalico.org/v3\",\n  \"kind\": \"IPPool\",\n  \"metadata\": {\"name\": 7}\n}"
        ),
        ["f.yaml:4: metadata.name: invalid type: integer `7`, expected a string"]
    );
    assert_eq!(
        faults("kind: List\napiVersion: v1\n"),
        ["f.yaml:1: items: is missing"]
    );
}

#[test]
fn several_faults_of_one_object_are_each_named() {
    let text = POOL.replace("cidr: 10.0.0.0/16", "cidr: 10.0.0.1/16\n  blockSize: 33");
    assert_eq!(
        faults(&text),
        [
            "f.yaml:6: IPPool a: spec.cidr: 10.0.0.1/16 has host bits set",
            "f.yaml:7: IPPool a: spec.blockSize: 33 is not between 20 and 32",
        ]
    );
}

#[test]
fn words_are_read_as_kubectl_reads_them() {
    let labelled = POOL.replace("name: a", "name: a\n  labels: {role: no}");
    assert_eq!(
        faults(&labelled),
        ["f.yaml:5: metadata.labels.role: invalid type: boolean `false`, expected a string"]
    );
    let twice = POOL.replace("kind: IPPool", "kind: IPPool\nkind: Node");
    assert_eq!(
        faults(&twice),
        ["f.yaml:3: not YAML: duplicate mapping key: kind"]
    );
}

#[test]
fn both_groups_are_read_and_one_is_written() {
    let text = POOL.replace("projectcalico.org/v3", "crd.projectcalico.org/v1");
    let objects = parse("f", &text).into_objects().unwrap();
    assert!(
        to_yaml(&objects[0])
            .unwrap()
            .starts_with("apiVersion: projectcalico.org/v3\n")
    );
    let config = "apiVersion: projectcalico.org/v3\nkind: IPAMConfiguration\nmetadata: {name: default}\nspec: {strictAffinity: true}\n";
    assert_eq!(
        parse("f", config).into_objects().unwrap()[0].key.kind,
        Kind::IPAMConfig
    );
}

#[test]
fn kinds_of_calico_that_are_not_used_are_passed_over_by_name() {
    let text =
        format!("{POOL}---\napiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: t}}\n");
    let parsed = parse("f", &text);
    assert_eq!(parsed.passed_over, [(8, "Tier".to_owned())]);
    assert!(parsed.faults.is_empty());
}

#[test]
fn an_endpoint_without_a_namespace_is_in_the_default_one() {
    let text = "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\nmetadata: {name: one-k8s-p-eth0}\nspec: {orchestrator: k8s, node: one, pod: p, endpoint: eth0}\n";
    let objects = parse("f", text).into_objects().unwrap();
    assert_eq!(
        objects[0].key.to_string(),
        "WorkloadEndpoint default/one-k8s-p-eth0"
    );
}

#[test]
fn nesting_and_aliases_without_end_are_faults() {
    let deep = format!("a: {}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(faults(&deep).len(), 1);
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    assert_eq!(faults(&laughs).len(), 1);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n\t\u{e9}]{0,80}", cut in 0..POOL.len()) {
        parse("f", &text);
        parse("f", &format!("{}{text}\n---\n{POOL}", &POOL[..cut]));
    }

    #[test]
    fn whatever_stands_in_an_object_is_written_and_read_back(
        words in proptest::collection::vec("(no|yes|on|~|null|12:30|0x1f|1e3|0644|1_000|-|---|=|<<|#a|[ -~]{0,12}|[\u{a0}-\u{2ff}\n]{0,4})", 1..6),
        number in any::<u64>(),
    ) {
        let mut object = parse("f", POOL).into_objects().unwrap().remove(0);
        object.spec["words"] = json!(words);
        object.spec["number"] = json!(number);
        for word in &words {
            object.metadata.labels.insert(word.clone(), word.clone());
            object.metadata.annotations.insert(word.clone(), word.clone());
        }
        let text = to_yaml(&object).unwrap();
        let back = parse("f", &text).into_objects();
        prop_assert_eq!(back.unwrap(), vec![object.clone()], "{}", text);
        // Beside another document it can be replaced and taken out.
        let both = format!("{text}---\n{POOL}").replace("name: a\n", "name: b\n");
        let manifests = parse("f", &both).manifests;
        prop_assert_eq!(manifests.len(), 2);
        let without = splice(&both, &manifests[0], None).unwrap();
        prop_assert_eq!(parse("f", &without).manifests.len(), 1, "{}", without);
    }
}

#[test]
fn a_document_of_ten_megabytes_is_named_and_the_others_are_read() {
    let huge = format!(
        "{}  note: {}\n",
        POOL.replace("name: a", "name: huge"),
        "x".repeat(10 << 20)
    );
    let parsed = parse(
        "f.yaml",
        &format!(
            "{POOL}---\n{huge}---\n{}",
            POOL.replace("name: a", "name: b")
        ),
    );
    let names: Vec<&str> = parsed
        .manifests
        .iter()
        .map(|manifest| manifest.object.key.name.as_str())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let faults: Vec<String> = parsed
        .faults
        .iter()
        .map(|fault| fault.error.to_string())
        .collect();
    assert_eq!(
        faults,
        ["f.yaml:8: this document has 10485864 octets, and 8388608 are read"]
    );
}
