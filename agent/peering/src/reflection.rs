//! How a node reflects (RFC 4456), where the cluster says so.

use std::net::Ipv4Addr;

use caracal_datastore::Metadata;
use serde::Deserialize;

use crate::View;
use crate::facts;

/// An annotation of a Node, or of BGPConfiguration `default` for all reflectors: `{clientToClient: false}` in YAML or JSON.
/// Calico has no field for it.
pub const ANNOTATION: &str = "bgp.caracal.network/reflection";

/// How a node reflects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reflection {
    /// CLUSTER_ID; `None`: it is no reflector.
    pub cluster_id: Option<Ipv4Addr>,
    /// Clients hear of one another through it (RFC 4456 §6).
    pub client_to_client: bool,
}

impl Default for Reflection {
    fn default() -> Reflection {
        Reflection {
            cluster_id: None,
            client_to_client: true,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    client_to_client: Option<bool>,
}

/// How `node` reflects: its own annotation counts, then that of the cluster. One that cannot be read is added to `faults` and
/// says nothing.
pub fn reflection_of(node: &str, view: &View, faults: &mut Vec<String>) -> Reflection {
    let stored = view.nodes.get(node);
    let bgp = stored.and_then(|stored| stored.spec.bgp.as_ref());
    let own = stored.map(|stored| (format!("Node {node}"), &stored.metadata));
    let cluster = view.configurations.get(facts::DEFAULT);
    let cluster = cluster.map(|stored| {
        let whose = format!("BGPConfiguration {}", facts::DEFAULT);
        (whose, &stored.metadata)
    });
    let mut said = own
        .into_iter()
        .chain(cluster)
        .filter_map(|(whose, metadata)| {
            read(metadata).unwrap_or_else(|why| {
                faults.push(format!("{whose}: annotation {ANNOTATION}: {why}"));
                None
            })
        });
    Reflection {
        cluster_id: bgp.and_then(|bgp| bgp.route_reflector_cluster_id),
        client_to_client: said.next().unwrap_or(true),
    }
}

fn read(metadata: &Metadata) -> Result<Option<bool>, String> {
    let Some(text) = metadata.annotations.get(ANNOTATION) else {
        return Ok(None);
    };
    let said: Result<Said, _> = serde_saphyr::from_str(text);
    let said = said.map_err(|fault| format!("`{text}`: {}", fault.without_snippet()))?;
    Ok(said.client_to_client)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::Cluster;

    fn say(cluster: &mut Cluster, node: Option<&str>, text: &str) {
        let metadata = match node {
            Some(node) => &mut cluster.0.nodes.get_mut(node).unwrap().metadata,
            None => {
                &mut cluster
                    .0
                    .configurations
                    .get_mut("default")
                    .unwrap()
                    .metadata
            }
        };
        metadata
            .annotations
            .insert(ANNOTATION.to_owned(), text.to_owned());
    }

    fn client_to_client(cluster: &Cluster, node: &str) -> (bool, Vec<String>) {
        let mut faults = Vec::new();
        let said = reflection_of(node, &cluster.0, &mut faults).client_to_client;
        (said, faults)
    }

    #[test]
    fn a_node_says_it_for_itself_and_the_configuration_for_all() {
        let rr = json!({"ipv4Address": "10.0.0.1/24", "routeReflectorClusterID": "1.0.0.1"});
        let mut cluster = Cluster::of(&["b"])
            .node("a", rr, &[])
            .configuration("default", json!({}));
        assert_eq!(client_to_client(&cluster, "a"), (true, Vec::new()));
        let id = reflection_of("a", &cluster.0, &mut Vec::new()).cluster_id;
        assert_eq!(id, Some(Ipv4Addr::new(1, 0, 0, 1)));
        say(&mut cluster, None, "clientToClient: false");
        assert_eq!(client_to_client(&cluster, "a"), (false, Vec::new()));
        say(&mut cluster, Some("a"), "{\"clientToClient\": true}");
        assert_eq!(client_to_client(&cluster, "a"), (true, Vec::new()));
        assert_eq!(client_to_client(&cluster, "b"), (false, Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_object_and_value() {
        let mut cluster = Cluster::of(&["a"]);
        say(&mut cluster, Some("a"), "clientToClient: perhaps");
        let (said, faults) = client_to_client(&cluster, "a");
        assert!(said);
        assert!(faults[0].starts_with(
            "Node a: annotation bgp.caracal.network/reflection: `clientToClient: perhaps`: "
        ));
    }
}
