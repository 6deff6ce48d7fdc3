//! Where the writers' store is, and who makes what address management finds there: Nodes and Pods.

use std::path::Path;

use crate::etcd::{EtcdConfig, EtcdDatastore};
use crate::file::{FileDatastore, FileOptions};
use crate::ipam::tests::*;
use crate::kubernetes::with_kubernetes::Kubectl;
use crate::kubernetes::{KubernetesConfig, KubernetesDatastore};
use crate::resources::WorkloadEndpoint;

/// A store; in words, for the writers' environment.
#[derive(Debug, Clone)]
pub(super) enum Place {
    File(String),
    Etcd(String),
    /// A kubeconfig.
    Kubernetes(String),
}

/// The place, opened.
pub(super) struct Site {
    pub(super) store: Arc<dyn Datastore>,
    /// In Kubernetes, Nodes and Pods are others'.
    kubectl: Option<Kubectl>,
}

impl Place {
    pub(super) fn parse(text: &str) -> Place {
        match text.split_once(' ').unwrap() {
            ("file", path) => Place::File(path.to_owned()),
            ("etcd", url) => Place::Etcd(url.to_owned()),
            ("kubernetes", path) => Place::Kubernetes(path.to_owned()),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Place::File(path) => format!("file {path}"),
            Place::Etcd(url) => format!("etcd {url}"),
            Place::Kubernetes(path) => format!("kubernetes {path}"),
        }
    }

    pub(super) async fn open(&self) -> Site {
        let mut kubectl = None;
        let store: Arc<dyn Datastore> = match self {
            Place::File(path) => {
                let options = FileOptions {
                    durable: false,
                    lock_timeout: Duration::from_secs(60),
                    ..FileOptions::default()
                };
                let store = FileDatastore::open_with(Path::new(path), options).await;
                Arc::new(store.unwrap())
            }
            Place::Etcd(url) => {
                let config = EtcdConfig {
                    endpoints: vec![url.clone()],
                    ..EtcdConfig::default()
                };
                Arc::new(EtcdDatastore::connect(&config).await.unwrap())
            }
            Place::Kubernetes(path) => {
                let config = KubernetesConfig {
                    kubeconfig: Some(path.into()),
                    ..KubernetesConfig::default()
                };
                kubectl = Some(Kubectl::new(&config).await);
                Arc::new(KubernetesDatastore::connect(&config).await.unwrap())
            }
        };
        Site { store, kubectl }
    }
}

impl Site {
    pub(super) async fn add_node(&self, name: &str) {
        match &self.kubectl {
            Some(kubectl) => kubectl.node(name).await,
            None => {
                let node = Stored::new(name, Node::default());
                TypedStore(Arc::clone(&self.store))
                    .create(node)
                    .await
                    .unwrap();
            }
        }
    }

    /// The Node goes, and then what was on it, as Kubernetes does it.
    pub(super) async fn remove_node(&self, name: &str) {
        match &self.kubectl {
            Some(kubectl) => kubectl.remove(&format!("/api/v1/nodes/{name}")).await,
            None => self
                .store
                .delete(&Key::new(Kind::Node, name), None)
                .await
                .unwrap(),
        }
        let typed = TypedStore(Arc::clone(&self.store));
        let (records, _) = typed.list::<WorkloadEndpoint>().await.unwrap();
        let on_it = records.iter().filter(|stored| stored.spec.node == name);
        for stored in on_it {
            match &self.kubectl {
                Some(_) => self.remove_pod(&stored.spec.pod).await,
                None => self.store.delete(&stored.key(), None).await.unwrap(),
            }
        }
    }

    pub(super) async fn add_pod(&self, pod: &str, node: &str) {
        if let Some(kubectl) = &self.kubectl {
            kubectl.pod_again("default", pod, node).await;
        }
    }

    pub(super) async fn remove_pod(&self, pod: &str) {
        if let Some(kubectl) = &self.kubectl {
            let path = format!("/api/v1/namespaces/default/pods/{pod}");
            kubectl.remove(&path).await;
        }
    }
}
