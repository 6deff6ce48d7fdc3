//! deploy/ as an API server sees it.

use anyhow::{Context, Result, ensure};
use caracal_datastore::Kind;
use caracal_kubernetes_tests::{ApiServer, NAMESPACE, deploy};
use caracal_lab::{Netns, lab_tests};
use serde_json::{Value, json};

const AGENT: &str = "caracal-agent";
const REFLECTOR: &str = "caracal-route-reflector";

/// Objects as Calico writes them, of each kind at least one; `surprise` stands for fields of versions to come.
const OBJECTS: &str = include_str!("objects.yaml");

fn started() -> Result<ApiServer> {
    let netns = Netns::create("api")?;
    ApiServer::start(&netns, "127.0.0.1".parse()?)
}

/// What stands there and not here: fields with a default may be added.
fn missing(wanted: &Value, found: &Value, path: &str) -> Option<String> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(key, value)| {
            let at = format!("{path}.{key}");
            match found.get(key) {
                Some(there) => missing(value, there, &at),
                None => Some(format!("{at} is gone")),
            }
        }),
        _ if wanted == found => None,
        _ => Some(format!("{path}: {wanted} became {found}")),
    }
}

#[test]
fn each_kind_that_is_a_custom_resource_has_a_definition() -> Result<()> {
    // These are Kubernetes' own, what stands on them, and KubeVirt's.
    let elsewhere = [
        Kind::Node,
        Kind::WorkloadEndpoint,
        Kind::LiveMigration,
        Kind::Secret,
        Kind::Namespace,
        Kind::Service,
        Kind::EndpointSlice,
    ];
    let mut defined = Vec::new();
    for entry in std::fs::read_dir(deploy("crds"))? {
        let definition: Value = serde_yaml::from_str(&std::fs::read_to_string(entry?.path())?)?;
        let kind = definition["spec"]["names"]["kind"].as_str();
        defined.extend(kind.map(str::to_owned));
    }
    for kind in Kind::all() {
        let found = defined.iter().any(|one| one == kind.as_str());
        ensure!(found != elsewhere.contains(kind), "{kind}: {found}");
    }
    Ok(())
}

lab_tests! {
    without programs;

    #[ignore = "needs a kube-apiserver: ./tests/run kubernetes"]
    fn objects_of_every_kind_are_taken_and_come_back_as_they_were() {
        let api = started()?;
        api.define_kinds()?;
        let definitions = api.list(&["crd"])?;
        for definition in &definitions {
            let conditions = definition["status"]["conditions"].as_array().context("no conditions")?;
            let complaint = conditions.iter().find(|one| one["type"] == "NonStructuralSchema");
            ensure!(complaint.is_none(), "{complaint:?}");
        }
        let mut kinds: Vec<_> = definitions.iter().filter_map(|one| one["spec"]["names"]["kind"].as_str()).collect();
        api.apply(OBJECTS)?;
        for document in serde_yaml::Deserializer::from_str(OBJECTS) {
            let wanted: Value = serde::Deserialize::deserialize(document)?;
            let kind = wanted["kind"].as_str().context("no kind")?;
            kinds.retain(|one| *one != kind);
            let name = wanted["metadata"]["name"].as_str().context("no name")?;
            let found = api.get(&[&format!("{kind}.v1.crd.projectcalico.org"), name])?;
            let gone = missing(&wanted["spec"], &found["spec"], &format!("{kind} {name}: spec"));
            ensure!(gone.is_none(), "{}", gone.unwrap_or_default());
        }
        ensure!(kinds.is_empty(), "objects.yaml has no {}", kinds.join(", no "));
        Ok(())
    }

    #[ignore = "needs a kube-apiserver: ./tests/run kubernetes"]
    fn faults_that_would_mislead_all_nodes_are_refused() {
        let api = started()?;
        api.define_kinds()?;
        for (kind, spec, words) in [
            ("IPPool", json!({"blockSize": 26}), "spec.cidr"),
            ("IPPool", json!({"cidr": "10.0.0.0/16", "ipipMode": "always"}), "spec.ipipMode"),
            ("IPAMBlock", json!({"cidr": "10.0.0.0/26"}), "spec.allocations"),
            ("BlockAffinity", json!({"cidr": "10.0.0.0/26", "node": "a", "state": "confirmed", "deleted": false}), "spec.deleted"),
            ("BGPPeer", json!({"asNumber": 4_294_967_296_u64}), "spec.asNumber"),
            ("BGPFilter", json!({"exportV4": [{"cidr": "10.0.0.0/8"}]}), "spec.exportV4.action"),
            ("FelixConfiguration", json!({"vxlanPort": "4789"}), "spec.vxlanPort"),
        ] {
            let object = json!({"apiVersion": "crd.projectcalico.org/v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec});
            let arguments = ["create", "--validate=false", "-f", "-"];
            let fault = match api.kubectl_with(&arguments, &object.to_string()) {
                Ok(_) => anyhow::bail!("{object} was taken"),
                Err(fault) => fault.to_string(),
            };
            // Versions of the server write the place in different ways: spec.exportV4[0].action.
            ensure!(fault.replace("[0]", "").contains(words), "{fault}");
        }
        Ok(())
    }

    #[ignore = "needs a kube-apiserver: ./tests/run kubernetes"]
    fn the_manifests_are_taken_and_give_no_more_rights_than_they_say() {
        let api = started()?;
        api.kubectl(&["create", "namespace", NAMESPACE])?;
        let taken = ["apply", "--server-side", "--force-conflicts"];
        for folder in ["crds", "", "reflector", "uninstall"] {
            let folder = deploy(folder);
            api.kubectl(&[&taken, &["--dry-run=server", "-k", &folder] as &[&str]].concat())?;
            api.kubectl(&[&taken, &["-k", &folder] as &[&str]].concat())?;
        }
        let crd = |plural: &str| format!("{plural}.crd.projectcalico.org");
        for account in [AGENT, REFLECTOR] {
            ensure!(api.may(account, "watch", &crd("bgppeers"), "")?, "{account} cannot read BGPPeers");
            ensure!(api.may(account, "list", "secrets", NAMESPACE)?, "{account} cannot read passwords");
            for (verb, resource, namespace) in [
                ("get", "secrets", "kube-system"),
                ("list", "secrets", ""),
                ("delete", "nodes", ""),
                ("patch", "nodes", ""),
                ("create", "pods", "default"),
                ("delete", "pods", "default"),
                ("patch", "pods", "default"),
                ("create", "pods/exec", "default"),
                ("create", "serviceaccounts/token", NAMESPACE),
                ("update", &crd("ippools"), ""),
                ("update", &crd("bgppeers"), ""),
                ("update", &crd("clusterinformations"), ""),
                ("create", &crd("ipamconfigs"), ""),
                ("list", "namespaces", ""),
            ] {
                let may = api.may(account, verb, resource, namespace)?;
                ensure!(!may, "{account} may {verb} {resource} in {namespace:?}");
            }
        }
        for (verb, resource) in [("update", crd("ipamblocks")), ("patch", "nodes/status".to_owned()), ("patch", "pods/status".to_owned())] {
            ensure!(api.may(AGENT, verb, &resource, "")?, "an agent may not {verb} {resource}");
            ensure!(!api.may(REFLECTOR, verb, &resource, "")?, "a reflector may {verb} {resource}");
        }
        Ok(())
    }
}
