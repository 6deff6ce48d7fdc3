//! A Pod as far as it is read: of its 3 KB and more nothing else is ever kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

#[derive(Deserialize)]
pub(super) struct Pod {
    pub(super) metadata: PodMetadata,
    #[serde(default)]
    pub(super) spec: PodSpec,
    #[serde(default)]
    pub(super) status: PodStatus,
}

#[derive(Deserialize)]
pub(super) struct PodMetadata {
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) uid: String,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "read_ones")]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    #[serde(default)]
    pub(super) node_name: String,
    #[serde(default)]
    pub(super) host_network: bool,
    #[serde(default)]
    pub(super) service_account_name: String,
    #[serde(default)]
    containers: Option<Vec<Container>>,
    #[serde(default)]
    init_containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default)]
    name: String,
    #[serde(default)]
    protocol: String,
    #[serde(default)]
    container_port: u16,
    #[serde(default)]
    host_port: u16,
    #[serde(default, rename = "hostIP")]
    host_ip: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodStatus {
    #[serde(default)]
    pub(super) phase: String,
    #[serde(default, rename = "podIP")]
    pub(super) pod_ip: String,
    #[serde(default, rename = "podIPs")]
    pub(super) pod_ips: Vec<PodIp>,
}

#[derive(Deserialize)]
pub(super) struct PodIp {
    #[serde(default)]
    pub(super) ip: String,
}

impl PodSpec {
    /// Ports with a name or a port on the node: others no rule can speak of.
    pub(super) fn ports(&self) -> Vec<Value> {
        let containers = [&self.containers, &self.init_containers];
        let ports = containers
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|container| container.ports.as_ref())
            .flatten();
        ports.filter_map(Port::value).collect()
    }
}

impl Port {
    fn value(&self) -> Option<Value> {
        let told = self.container_port != 0 && (self.host_port != 0 || !self.name.is_empty());
        let protocol = match self.protocol.as_str() {
            "" | "TCP" => "TCP",
            "UDP" => "UDP",
            "SCTP" => "SCTP",
            _ => return None,
        };
        let mut fields = Map::new();
        fields.insert("name".to_owned(), self.name.clone().into());
        fields.insert("protocol".to_owned(), protocol.into());
        fields.insert("port".to_owned(), self.container_port.into());
        if self.host_port != 0 {
            fields.insert("hostPort".to_owned(), self.host_port.into());
        }
        if !self.host_ip.is_empty() {
            fields.insert("hostIP".to_owned(), self.host_ip.clone().into());
        }
        told.then_some(Value::Object(fields))
    }
}

/// Annotations that are read; others may be as long as the pod's manifest.
fn read_ones<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    struct Annotations;

    impl<'de> Visitor<'de> for Annotations {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("annotations")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut annotations = BTreeMap::new();
            while let Some(key) = map.next_key::<String>()? {
                if key.starts_with("cni.projectcalico.org/") || key.starts_with(super::OWN) {
                    annotations.insert(key, map.next_value()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(annotations)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeMap::new())
        }
    }

    deserializer.deserialize_any(Annotations)
}
