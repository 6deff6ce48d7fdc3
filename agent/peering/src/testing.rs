//! Clusters for tests, written as their manifests' specs.

use caracal_datastore::resources::Resource;
use caracal_datastore::{Metadata, Stored};
use serde_json::{Value, json};

use crate::View;

/// A cluster that is built up by sentences.
#[derive(Default)]
pub(crate) struct Cluster(pub(crate) View);

impl Cluster {
    /// Nodes `a`, `b`, … at 10.0.0.1/24, 10.0.0.2/24, …
    pub(crate) fn of(nodes: &[&str]) -> Cluster {
        let mut cluster = Cluster::default();
        for (index, name) in nodes.iter().enumerate() {
            cluster = cluster.node(
                name,
                json!({"ipv4Address": format!("10.0.0.{}/24", index + 1)}),
                &[],
            );
        }
        cluster
    }

    pub(crate) fn node(mut self, name: &str, bgp: Value, labels: &[(&str, &str)]) -> Cluster {
        let mut node = stored(name, json!({ "bgp": bgp }));
        node.metadata.labels = labels
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        self.0.nodes.insert(name.to_owned(), node);
        self
    }

    pub(crate) fn peer(mut self, name: &str, spec: Value) -> Cluster {
        self.0.peers.insert(name.to_owned(), stored(name, spec));
        self
    }

    pub(crate) fn filter(mut self, name: &str, spec: Value) -> Cluster {
        self.0.filters.insert(name.to_owned(), stored(name, spec));
        self
    }

    pub(crate) fn configuration(mut self, name: &str, spec: Value) -> Cluster {
        self.0
            .configurations
            .insert(name.to_owned(), stored(name, spec));
        self
    }

    pub(crate) fn pool(mut self, name: &str, spec: Value) -> Cluster {
        self.0.pools.insert(name.to_owned(), stored(name, spec));
        self
    }
}

fn stored<R: Resource>(name: &str, spec: Value) -> Stored<R> {
    let metadata = Metadata {
        name: name.to_owned(),
        ..Metadata::default()
    };
    let spec: R = serde_json::from_value(spec).unwrap();
    Stored {
        metadata,
        spec,
        revision: None,
    }
}
