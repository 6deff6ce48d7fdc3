//! One API server and what it serves: its client, and where our kinds are there.

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

use super::client::{Client, Collection, Failure, Part};
use super::config::{CalicoGroup, KubernetesConfig, Pulse};
use super::form::{self, CalicoApi, Form, Place};
use crate::resources;
use crate::store::{Kind, Object, StoreError};

pub(super) struct Server {
    client: Client,
    form: Mutex<Form>,
    node: Option<String>,
    group: Option<CalicoGroup>,
    /// Watches tell of a workload no more than who it is and which addresses it has: there are many.
    slim: bool,
}

/// Which object of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct At {
    pub(super) kind: Kind,
    namespace: String,
    name: String,
}

/// An object of Kubernetes, read.
pub(super) struct Heard {
    pub(super) at: At,
    /// Its resourceVersion.
    pub(super) version: String,
    pub(super) reading: form::Reading,
}

#[derive(Default, Deserialize)]
struct Envelope {
    #[serde(default)]
    metadata: EnvelopeMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvelopeMetadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource_version: String,
}

impl Server {
    /// Connects and looks what is served.
    pub(super) async fn connect(
        config: &KubernetesConfig,
        pulse: Pulse,
    ) -> Result<Server, StoreError> {
        Self::with_client(Client::new(config, pulse).await?, config).await
    }

    /// Looks what is served by the other end of a client.
    pub(super) async fn with_client(
        client: Client,
        config: &KubernetesConfig,
    ) -> Result<Server, StoreError> {
        let form = detect(&client, config.group)
            .await
            .map_err(|failure| client.unavailable(words(failure)))?;
        Ok(Server {
            client,
            form: Mutex::new(form),
            node: config.node.clone(),
            group: config.group,
            slim: false,
        })
    }

    /// The same, whose watches tell of the WorkloadEndpoints of all nodes, and little of each.
    pub(super) fn of_all_nodes(&self) -> Server {
        Server {
            client: self.client.clone(),
            form: Mutex::new(self.form()),
            node: None,
            group: self.group,
            slim: true,
        }
    }

    /// An object that a watch tells of.
    pub(super) fn heard(&self, kind: Kind, text: &str) -> Heard {
        let mut heard = Heard::of(self.form(), kind, text);
        if let Ok(Some(object)) = &mut heard.reading.object
            && self.slim
            && kind == Kind::WorkloadEndpoint
        {
            slim(object);
        }
        heard
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn form(&self) -> Form {
        *self.form.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks again, when something is missing: definitions may be installed later.
    pub(super) async fn look_again(&self) -> Result<(), Failure> {
        let form = detect(&self.client, self.group).await?;
        *self.form.lock().unwrap_or_else(PoisonError::into_inner) = form;
        Ok(())
    }

    /// Where the objects of a kind are; `Absent`: nothing like that is served.
    pub(super) fn place(&self, kind: Kind) -> Result<Place, Failure> {
        self.form()
            .place(kind)
            .ok_or_else(|| Failure::Absent(format!("{kind} is not served")))
    }

    /// All objects of a kind.
    pub(super) fn all(&self, kind: Kind) -> Result<Collection, Failure> {
        Ok(Collection {
            path: self.place(kind)?.path(None),
            field_selector: None,
        })
    }

    /// Those of a kind that a watch tells: WorkloadEndpoints of our node, Secrets of our namespace.
    pub(super) fn watched(&self, kind: Kind) -> Result<Collection, Failure> {
        let place = self.place(kind)?;
        let secret = (kind == Kind::Secret).then(|| self.client.namespace());
        let node = self.node.as_ref();
        let node = node.filter(|_| kind == Kind::WorkloadEndpoint);
        Ok(Collection {
            path: place.path(secret),
            field_selector: node.map(|node| format!("spec.nodeName={node}")),
        })
    }

    /// A part of the list that a watch begins with, as [`Client::part`].
    pub(super) async fn part_to_watch(
        &self,
        kind: Kind,
        limit: Option<usize>,
        next: Option<&str>,
    ) -> Result<Part<Heard>, Failure> {
        let collection = self.watched(kind)?;
        let read = |text: &str| self.heard(kind, text);
        self.client.part(&collection, limit, next, read).await
    }

    /// Nothing of a kind can be kept here.
    pub(super) fn not_served(&self, kind: Kind) -> String {
        match self.form().place(kind) {
            Some(place) => format!(
                "this API server has no {}.{}: the CustomResourceDefinition is not installed",
                place.plural, place.group
            ),
            None => format!("this API server has no {kind}"),
        }
    }

    /// A failure that concerns all of a kind.
    pub(super) fn failed(&self, kind: Kind, failure: Failure) -> StoreError {
        match failure {
            Failure::Absent(why) => self.client.unavailable(format!(
                "{kind}: is no longer served, what was known stands: {why}"
            )),
            Failure::Forbidden(why) => self.client.unavailable(format!("{kind}: {why}")),
            failure => self.client.unavailable(words(failure)),
        }
    }
}

impl At {
    pub(super) fn of(kind: Kind, text: &str) -> (At, String) {
        let envelope: Envelope = serde_json::from_str(text).unwrap_or_default();
        let at = At {
            kind,
            namespace: envelope.metadata.namespace,
            name: envelope.metadata.name,
        };
        (at, envelope.metadata.resource_version)
    }
}

impl Heard {
    /// An object whose fields make no sense is a fault.
    pub(super) fn of(form: Form, kind: Kind, text: &str) -> Heard {
        let (at, version) = At::of(kind, text);
        let mut reading = form.read_text(kind, text);
        if let Ok(Some(object)) = &reading.object {
            let faults = resources::faults_of(object);
            if !faults.is_empty() {
                reading.object = Err(StoreError::Invalid {
                    what: object.key.to_string(),
                    why: form::shortened(faults.join("; ")),
                });
            }
        }
        Heard {
            at,
            version,
            reading,
        }
    }
}

/// What says who uses addresses, and nothing else: of 4.8 KB a pod some hundred bytes are left.
fn slim(object: &mut Object) {
    const KEPT: [&str; 7] = [
        "orchestrator",
        "node",
        "pod",
        "endpoint",
        "containerID",
        "ipNetworks",
        "ipNATs",
    ];
    object.metadata.labels.clear();
    object.metadata.annotations.clear();
    object.metadata.extra.clear();
    if let Some(fields) = object.spec.as_object_mut() {
        let kept = fields
            .iter()
            .filter(|(field, _)| KEPT.contains(&field.as_str()));
        let kept = kept
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect();
        *fields = kept;
    }
}

/// What this API server serves. Without any definition of Calico's it is as if there were `crd.projectcalico.org/v1`.
async fn detect(client: &Client, group: Option<CalicoGroup>) -> Result<Form, Failure> {
    let serves = async |path: &str, plural: &str| -> Result<bool, Failure> {
        let resources = client.get(path).await?.unwrap_or_default();
        let resources = resources["resources"].as_array();
        Ok(resources.is_some_and(|all| all.iter().any(|one| one["name"].as_str() == Some(plural))))
    };
    let calico = match group {
        Some(CalicoGroup::CrdV1) => CalicoApi::CrdV1,
        Some(CalicoGroup::V3) => CalicoApi::V3,
        // An aggregated API server of the group v3 keeps what it serves in the group v1.
        None if serves("/apis/crd.projectcalico.org/v1", "ippools").await? => CalicoApi::CrdV1,
        None if serves("/apis/projectcalico.org/v3", "ippools").await? => CalicoApi::V3,
        None => CalicoApi::CrdV1,
    };
    Ok(Form {
        calico,
        slices_v1: serves("/apis/discovery.k8s.io/v1", "endpointslices").await?,
        kubevirt: serves("/apis/kubevirt.io/v1", "virtualmachineinstancemigrations").await?,
    })
}

pub(super) fn words(failure: Failure) -> String {
    match failure {
        Failure::Exists => "it exists already".to_owned(),
        Failure::Expired => "its history is no longer kept".to_owned(),
        Failure::Absent(why)
        | Failure::Conflict(why)
        | Failure::Invalid(why)
        | Failure::Forbidden(why)
        | Failure::Unavailable(why) => why,
    }
}
