//! Which datastore, as the configuration files of the agent and the route reflector and the environment say it.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::etcd::{EtcdConfig, EtcdDatastore, Password};
use crate::file::FileDatastore;
use crate::kubernetes::{CalicoGroup, KubernetesConfig, KubernetesDatastore};
use crate::store::{Datastore, StoreError};

/// `datastore: {type: file, path: /var/lib/caracal/store}`, `datastore: {type: etcd, endpoints: [...]}`,
/// `datastore: {type: kubernetes}`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DatastoreConfig {
    /// The backend, where one is named; see [`DatastoreConfig::kind`].
    #[serde(rename = "type")]
    pub named: Option<DatastoreKind>,
    /// Of `file`: the folder.
    pub path: PathBuf,
    /// Of `etcd`: where its members are.
    pub endpoints: Vec<String>,
    /// Of `etcd`: who has signed the members' certificates.
    pub ca_file: Option<PathBuf>,
    /// Of `etcd`: our certificate.
    pub cert_file: Option<PathBuf>,
    /// Of `etcd`: the key of our certificate.
    pub key_file: Option<PathBuf>,
    /// Of `etcd`: who we are.
    pub username: Option<String>,
    /// Of `etcd`: the password of `username`.
    pub password: Option<Password>,
    /// Of `kubernetes`: how the API server is reached; see [`KubernetesConfig::kubeconfig`].
    pub kubeconfig: Option<PathBuf>,
    /// Of `kubernetes`: which context of the kubeconfig.
    pub context: Option<String>,
    /// Of `kubernetes`: the group of Calico's resources, where it is not to be found out.
    pub api_group: Option<CalicoGroup>,
    /// Of `kubernetes`: the only node whose WorkloadEndpoints watches tell. Set by the program, not by its file.
    #[serde(skip)]
    pub node: Option<String>,
}

/// The backends of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DatastoreKind {
    /// A folder of manifests.
    File,
    /// etcd v3; Calico calls it etcdv3.
    #[serde(alias = "etcdv3")]
    Etcd,
    /// Kubernetes: custom resources, annotations of Nodes and Pods.
    #[serde(alias = "kdd")]
    Kubernetes,
}

/// The folder where none is given.
pub const PATH_DEFAULT: &str = "/var/lib/caracal/store";

impl Default for DatastoreConfig {
    fn default() -> DatastoreConfig {
        DatastoreConfig {
            named: None,
            path: PATH_DEFAULT.into(),
            endpoints: Vec::new(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            username: None,
            password: None,
            kubeconfig: None,
            context: None,
            api_group: None,
            node: None,
        }
    }
}

impl DatastoreConfig {
    /// The backend: a folder, unless another is named.
    pub fn kind(&self) -> DatastoreKind {
        self.named.unwrap_or(DatastoreKind::File)
    }

    /// Lays the environment over it: `CARACAL_DATASTORE_TYPE` and `_PATH`, and the names that Calico's programs
    /// read, with and without `CALICO_` before them. The error names variable and value.
    pub fn override_from(
        &mut self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        let own = |key: &str| environment(key).filter(|value| !value.is_empty());
        let calicos = |key: &str| own(&format!("CALICO_{key}")).or_else(|| own(key));
        if let Some(path) = own("CARACAL_DATASTORE_PATH") {
            self.path = path.into();
        }
        if let Some(value) = own("CARACAL_DATASTORE_TYPE") {
            self.named = Some(match value.as_str() {
                "file" => DatastoreKind::File,
                "etcd" | "etcdv3" => DatastoreKind::Etcd,
                "kubernetes" | "kdd" => DatastoreKind::Kubernetes,
                _ => {
                    return Err(format!(
                        "CARACAL_DATASTORE_TYPE: {value:?} is none of file, etcd and kubernetes"
                    ));
                }
            });
        } else if let Some(value) = calicos("DATASTORE_TYPE") {
            let nothing_said =
                self.named.is_none() && self.path == std::path::Path::new(PATH_DEFAULT);
            match value.as_str() {
                "etcd" | "etcdv3" => self.named = Some(DatastoreKind::Etcd),
                // Not over a folder or an etcd that our own file names: it may be there for Calico beside us.
                "kubernetes" if nothing_said => self.named = Some(DatastoreKind::Kubernetes),
                "kubernetes" => {}
                // Meant for Calico, whose resources would be looked for in vain in a folder that nobody has named.
                _ if nothing_said && value != "file" => {
                    return Err(format!(
                        "DATASTORE_TYPE: {value:?} is none of file, etcd and kubernetes; CARACAL_DATASTORE_TYPE or \
                         datastore.type says what to use in its place"
                    ));
                }
                _ => {}
            }
        }
        if self.kind() == DatastoreKind::Kubernetes {
            // KUBECONFIG, which may be a list of files, is read by the backend.
            if let Some(group) = own("CALICO_API_GROUP") {
                self.api_group = Some(match group.as_str() {
                    "crd.projectcalico.org/v1" => CalicoGroup::CrdV1,
                    "projectcalico.org/v3" => CalicoGroup::V3,
                    _ => {
                        return Err(format!(
                            "CALICO_API_GROUP: {group:?} is neither crd.projectcalico.org/v1 nor projectcalico.org/v3"
                        ));
                    }
                });
            }
            return Ok(());
        }
        // A variable meant for other programs does not spoil the choice of a folder.
        if self.kind() != DatastoreKind::Etcd {
            return Ok(());
        }
        if let Some(endpoints) = calicos("ETCD_ENDPOINTS") {
            let each = endpoints.split(',').map(|one| one.trim().to_owned());
            self.endpoints = each.filter(|one| !one.is_empty()).collect();
        }
        // Beside http:// they have no meaning, and may be there for others.
        let secure = self.endpoints.iter().any(|one| one.starts_with("https://"));
        for (key, field) in [
            ("ETCD_CA_CERT_FILE", &mut self.ca_file),
            ("ETCD_CERT_FILE", &mut self.cert_file),
            ("ETCD_KEY_FILE", &mut self.key_file),
        ] {
            if let Some(file) = calicos(key).filter(|_| secure) {
                *field = Some(file.into());
            }
        }
        if let Some(username) = calicos("ETCD_USERNAME") {
            self.username = Some(username);
        }
        if let Some(password) = calicos("ETCD_PASSWORD") {
            self.password = Some(Password(password));
        }
        Ok(())
    }

    /// What is wrong with it, a sentence that begins with the field.
    pub fn check(&self) -> Result<(), String> {
        let etcd = self.etcd();
        let others =
            self.kubeconfig.is_some() || self.context.is_some() || self.api_group.is_some();
        let alone = |kind: &str, other: &str| {
            Err(format!(
                "type: is {kind}, but there are fields that have a meaning only with {other}"
            ))
        };
        match self.kind() {
            DatastoreKind::Etcd if others => alone("etcd", "kubernetes"),
            DatastoreKind::File if others => alone("file", "kubernetes"),
            DatastoreKind::Etcd => etcd.check(),
            DatastoreKind::File if etcd != EtcdConfig::default() => alone("file", "etcd"),
            DatastoreKind::Kubernetes if etcd != EtcdConfig::default() => {
                alone("kubernetes", "etcd")
            }
            DatastoreKind::File | DatastoreKind::Kubernetes => Ok(()),
        }
        .map_err(|why| format!("datastore.{why}"))
    }

    /// The folder, the endpoints or the kubeconfig, for messages.
    pub fn place(&self) -> String {
        match self.kind() {
            DatastoreKind::File => self.path.display().to_string(),
            DatastoreKind::Etcd => format!("etcd {}", self.endpoints.join(",")),
            DatastoreKind::Kubernetes => match &self.kubeconfig {
                Some(kubeconfig) => format!("kubernetes {}", kubeconfig.display()),
                None => "kubernetes".to_owned(),
            },
        }
    }

    /// Opens it. `Unavailable` when it is not there or cannot be reached.
    pub async fn open(&self) -> Result<Arc<dyn Datastore>, StoreError> {
        Ok(match self.kind() {
            DatastoreKind::File => Arc::new(FileDatastore::open(&self.path).await?),
            DatastoreKind::Etcd => Arc::new(EtcdDatastore::connect(&self.etcd()).await?),
            DatastoreKind::Kubernetes => {
                Arc::new(KubernetesDatastore::connect(&self.kubernetes()).await?)
            }
        })
    }

    fn kubernetes(&self) -> KubernetesConfig {
        KubernetesConfig {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
            node: self.node.clone(),
            group: self.api_group,
        }
    }

    fn etcd(&self) -> EtcdConfig {
        // As URLs often end.
        let bare = |endpoint: &String| match endpoint.strip_suffix('/') {
            Some(rest) if !rest.ends_with('/') => rest.to_owned(),
            _ => endpoint.clone(),
        };
        EtcdConfig {
            endpoints: self.endpoints.iter().map(bare).collect(),
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            username: self.username.clone(),
            password: self.password.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    //! File and environment.

    use super::*;

    fn parse(text: &str) -> DatastoreConfig {
        serde_saphyr::from_str(text).unwrap()
    }

    fn with(config: &str, environment: &[(&str, &str)]) -> Result<DatastoreConfig, String> {
        let mut config = parse(config);
        config.override_from(&|wanted| {
            let found = environment.iter().find(|(key, _)| *key == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn a_folder_is_the_default() {
        assert_eq!(with("{}", &[]), Ok(DatastoreConfig::default()));
        let found = with("{}", &[("CARACAL_DATASTORE_PATH", "/s")]).unwrap();
        assert_eq!(found.place(), "/s");
        // They are there for somebody else.
        assert!(with("{}", &[("ETCD_ENDPOINTS", "http://a:1")]).is_ok());
    }

    #[test]
    fn etcd_is_chosen_by_file_or_by_calicos_variables() {
        let file = "{type: etcd, endpoints: [\"https://a:1\", \"https://b:1\"], caFile: /ca, certFile: /c, keyFile: /k, username: u, password: p}";
        let from_file = with(file, &[]).unwrap();
        let variables = [
            ("DATASTORE_TYPE", "etcdv3"),
            ("ETCD_ENDPOINTS", "https://a:1, https://b:1"),
            ("ETCD_CA_CERT_FILE", "/ca"),
            ("ETCD_CERT_FILE", "/c"),
            ("CALICO_ETCD_KEY_FILE", "/k"),
            ("ETCD_USERNAME", "u"),
            ("ETCD_PASSWORD", "p"),
        ];
        assert_eq!(with("{}", &variables), Ok(from_file.clone()));
        assert_eq!(from_file.place(), "etcd https://a:1,https://b:1");
        // Ours win.
        let ours = [
            ("CARACAL_DATASTORE_TYPE", "file"),
            variables[0],
            variables[1],
        ];
        assert_eq!(with("{}", &ours).unwrap().kind(), DatastoreKind::File);
    }

    #[test]
    fn what_the_environment_has_for_others_is_let_be() {
        let kubernetes = ("DATASTORE_TYPE", "kubernetes");
        let folder = with("{type: file}", &[kubernetes]).unwrap();
        assert_eq!(folder.kind(), DatastoreKind::File);
        assert!(with("{path: /s}", &[kubernetes]).is_ok());
        assert!(with("{}", &[("CARACAL_DATASTORE_PATH", "/s"), kubernetes]).is_ok());
        let file = "{type: etcd, endpoints: [\"http://a:1/\"]}";
        let files = [kubernetes, ("ETCD_CA_CERT_FILE", "/ca")];
        let etcd = with(file, &files).unwrap().etcd();
        assert_eq!(etcd.endpoints, ["http://a:1"]);
        assert_eq!(etcd.ca_file, None);
        // What our own file says is looked at.
        let fault = with(
            "{type: etcd, endpoints: [\"http://a:1\"], caFile: /ca}",
            &[],
        );
        assert!(fault.unwrap_err().contains("caFile"));
    }

    #[test]
    fn kubernetes_is_chosen_by_file_or_by_calicos_variable() {
        let calicos = ("DATASTORE_TYPE", "kubernetes");
        for (file, environment) in [
            ("{type: kubernetes, apiGroup: projectcalico.org/v3}", vec![]),
            (
                "{}",
                vec![calicos, ("CALICO_API_GROUP", "projectcalico.org/v3")],
            ),
        ] {
            let found = with(file, &environment).unwrap();
            assert_eq!(found.kind(), DatastoreKind::Kubernetes);
            assert_eq!(found.kubernetes().group, Some(CalicoGroup::V3));
        }
        let file = "{type: kdd, kubeconfig: /k, context: c}";
        let found = with(file, &[]).unwrap();
        assert_eq!(found.place(), "kubernetes /k");
        assert_eq!(found.kubernetes().context.as_deref(), Some("c"));
        // A certificate for etcd in the environment is somebody else's affair.
        assert!(with(file, &[("ETCD_ENDPOINTS", "http://a:1")]).is_ok());
    }

    #[test]
    fn what_makes_no_sense_names_field_or_variable() {
        for (file, environment, words) in [
            (
                "{}",
                vec![("DATASTORE_TYPE", "consul")],
                "DATASTORE_TYPE: \"consul\"",
            ),
            (
                "{type: kubernetes, endpoints: [\"http://a:1\"]}",
                vec![],
                "datastore.type: is kubernetes",
            ),
            (
                "{type: etcd, endpoints: [\"http://a:1\"], kubeconfig: /k}",
                vec![],
                "datastore.type: is etcd",
            ),
            ("{type: etcd}", vec![], "datastore.endpoints: missing"),
            (
                "{endpoints: [\"http://a:1\"]}",
                vec![],
                "datastore.type: is file",
            ),
        ] {
            let fault = with(file, &environment).unwrap_err();
            assert!(fault.contains(words), "{fault}");
        }
    }
}
