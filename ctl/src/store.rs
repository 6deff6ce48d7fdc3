//! The datastore that the command line and the environment name.

use std::fmt;
use std::sync::Arc;

use caracal_datastore::{Datastore, DatastoreConfig, DatastoreKind, StoreError};

use crate::cli::{DatastoreType, Places};
use crate::failure::{Failure, Sort};

/// Which datastore it is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// Folder or endpoints, for messages.
    name: String,
    /// Some kinds are Kubernetes' own there.
    pub(crate) is_kubernetes: bool,
}

#[cfg(test)]
impl Place {
    /// One of a test.
    pub(crate) fn named(name: &str) -> Place {
        Place {
            name: name.to_owned(),
            is_kubernetes: false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Opens it.
pub(crate) async fn open(places: &Places) -> Result<Arc<dyn Datastore>, Failure> {
    open_named(places).await.map(|(store, _)| store)
}

/// Opens it, and says which it is.
pub(crate) async fn open_named(places: &Places) -> Result<(Arc<dyn Datastore>, Place), Failure> {
    let config = config(places, &|key| std::env::var(key).ok())
        .map_err(|why| Failure::new(Sort::Usage, why))?;
    let hint = match config.kind() {
        DatastoreKind::File => "--datastore names another",
        DatastoreKind::Etcd => "--etcd-endpoints names others",
        DatastoreKind::Kubernetes => "--kubeconfig and --context name another",
    };
    match config.open().await {
        Ok(store) => Ok((
            store,
            Place {
                name: config.place(),
                is_kubernetes: !matches!(config.kind(), DatastoreKind::File | DatastoreKind::Etcd),
            },
        )),
        Err(StoreError::Unavailable { why, .. }) => Err(Failure::new(
            Sort::Unavailable,
            format!("datastore {}: {why} ({hint})", config.place()),
        )),
        Err(error) => Err(error.into()),
    }
}

/// What is on the command line counts more than the environment.
fn config(
    places: &Places,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<DatastoreConfig, String> {
    let mut config = DatastoreConfig::default();
    config.override_from(&|key| match (key, places.datastore_type) {
        ("CARACAL_DATASTORE_TYPE", Some(DatastoreType::File)) => Some("file".to_owned()),
        ("CARACAL_DATASTORE_TYPE", Some(DatastoreType::Etcd)) => Some("etcd".to_owned()),
        ("CARACAL_DATASTORE_TYPE", Some(DatastoreType::Kubernetes)) => {
            Some("kubernetes".to_owned())
        }
        // Endpoints say enough, a kubeconfig and a folder do too.
        ("CARACAL_DATASTORE_TYPE", None)
            if places.kubeconfig.is_some() || places.context.is_some() =>
        {
            Some("kubernetes".to_owned())
        }
        ("CARACAL_DATASTORE_TYPE", None) if !places.etcd_endpoints.is_empty() => {
            Some("etcd".to_owned())
        }
        ("CARACAL_DATASTORE_TYPE", None) if places.datastore.is_some() => Some("file".to_owned()),
        // Whether certificates of the environment are wanted depends on them.
        ("CALICO_ETCD_ENDPOINTS", _) if !places.etcd_endpoints.is_empty() => {
            Some(places.etcd_endpoints.join(","))
        }
        _ => environment(key),
    })?;
    if let Some(path) = &places.datastore {
        config.path.clone_from(path);
    }
    if !places.etcd_endpoints.is_empty() {
        config.endpoints.clone_from(&places.etcd_endpoints);
    }
    if places.kubeconfig.is_some() {
        config.kubeconfig.clone_from(&places.kubeconfig);
    }
    if places.context.is_some() {
        config.context.clone_from(&places.context);
    }
    config.check()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    //! Command line over environment.

    use super::*;

    fn found(places: &Places, environment: &[(&str, &str)]) -> Result<String, String> {
        let get = |wanted: &str| {
            let found = environment.iter().find(|(key, _)| *key == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        config(places, &get).map(|config| config.place())
    }

    fn places() -> Places {
        Places {
            socket: "/s".into(),
            datastore_type: None,
            datastore: None,
            etcd_endpoints: Vec::new(),
            kubeconfig: None,
            context: None,
        }
    }

    #[test]
    fn the_command_line_counts_more_than_the_environment() {
        let calicos = [
            ("DATASTORE_TYPE", "etcdv3"),
            ("ETCD_ENDPOINTS", "http://a:1"),
        ];
        assert_eq!(found(&places(), &[]), Ok("/var/lib/caracal/store".into()));
        assert_eq!(found(&places(), &calicos), Ok("etcd http://a:1".into()));
        let folder = Places {
            datastore: Some("/x".into()),
            ..places()
        };
        assert_eq!(found(&folder, &calicos), Ok("/x".into()));
        let endpoints = Places {
            etcd_endpoints: vec!["http://b:1".into()],
            ..places()
        };
        assert_eq!(found(&endpoints, &[]), Ok("etcd http://b:1".into()));
        assert_eq!(found(&endpoints, &calicos), Ok("etcd http://b:1".into()));
        // Certificates of the environment go with the endpoints that are asked.
        let certificates = [("ETCD_CA_CERT_FILE", "/ca"), calicos[1]];
        assert!(found(&endpoints, &certificates).is_ok());
        let secure = Places {
            etcd_endpoints: vec!["https://b:1".into()],
            ..places()
        };
        let get = |wanted: &str| {
            let found = certificates.iter().find(|(key, _)| *key == wanted);
            found.map(|(_, value)| (*value).to_owned())
        };
        let ca_file = config(&secure, &get).unwrap().ca_file;
        assert_eq!(ca_file, Some("/ca".into()));
        let kubeconfig = Places {
            kubeconfig: Some("/k".into()),
            ..places()
        };
        let found_by_it = found(&kubeconfig, &calicos);
        assert_eq!(found_by_it, Ok("kubernetes /k".into()));
        let context = Places {
            context: Some("c".into()),
            ..places()
        };
        assert_eq!(found(&context, &[]), Ok("kubernetes".into()));
        let in_a_pod = [("DATASTORE_TYPE", "kubernetes")];
        assert_eq!(found(&places(), &in_a_pod), Ok("kubernetes".into()));
        let nowhere = Places {
            datastore_type: Some(DatastoreType::Etcd),
            ..places()
        };
        assert!(found(&nowhere, &[]).unwrap_err().contains("endpoints"));
    }
}
