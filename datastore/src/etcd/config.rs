//! Where etcd is and how one proves who one is.

use std::fmt;
use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::store::StoreError;

/// The settings of the `etcd` backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EtcdConfig {
    /// `http://host:port` or `https://host:port`, one a member of etcd's cluster.
    pub endpoints: Vec<String>,
    /// The authority that has signed the servers' certificates (PEM); without it those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Our certificate (PEM), where the servers want one.
    pub cert_file: Option<PathBuf>,
    /// Its key (PEM).
    pub key_file: Option<PathBuf>,
    /// The user, where etcd's authentication is enabled.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Password>,
}

/// A password, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password")
    }
}

impl EtcdConfig {
    /// What is wrong with it, one sentence that begins with the field. The files are not read.
    pub fn check(&self) -> Result<(), String> {
        if self.endpoints.is_empty() {
            return Err("endpoints: missing; an example is http://127.0.0.1:2379".to_owned());
        }
        for endpoint in &self.endpoints {
            let place = endpoint
                .strip_prefix("http://")
                .or_else(|| endpoint.strip_prefix("https://"));
            if !place.is_some_and(|place| !place.is_empty() && !place.contains(['/', '@', ' '])) {
                return Err(format!(
                    "endpoints: {endpoint:?} is not http://host:port or https://host:port"
                ));
            }
        }
        let secure = self.is_secure();
        if secure != self.endpoints.iter().all(|one| one.starts_with("https://")) {
            return Err("endpoints: some are http:// and some https://".to_owned());
        }
        for (field, file) in [
            ("caFile", &self.ca_file),
            ("certFile", &self.cert_file),
            ("keyFile", &self.key_file),
        ] {
            if let Some(file) = file
                && !secure
            {
                return Err(format!(
                    "{field}: {} has a meaning only with https:// endpoints",
                    file.display()
                ));
            }
        }
        match (&self.cert_file, &self.key_file) {
            (Some(_), None) => return Err("keyFile: missing beside certFile".to_owned()),
            (None, Some(_)) => return Err("certFile: missing beside keyFile".to_owned()),
            _ => {}
        }
        match (&self.username, &self.password) {
            (Some(_), None) => Err("password: missing beside username".to_owned()),
            (None, Some(_)) => Err("username: missing beside password".to_owned()),
            _ => Ok(()),
        }
    }

    pub(super) fn is_secure(&self) -> bool {
        self.endpoints.iter().any(|one| one.starts_with("https://"))
    }

    /// The members, with the files read.
    pub(super) fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        let invalid = |what: &str, why: String| StoreError::Invalid {
            what: what.to_owned(),
            why,
        };
        self.check().map_err(|why| invalid("datastore", why))?;
        let tls = self.tls()?;
        let one = |address: &String| {
            let bad = |error: tonic::transport::Error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                invalid(address, cause.unwrap_or_else(|| error.to_string()))
            };
            let endpoint = Endpoint::from_shared(address.clone()).map_err(bad)?;
            match tls.clone() {
                Some(tls) => endpoint.tls_config(tls).map_err(bad),
                None => Ok(endpoint),
            }
        };
        self.endpoints.iter().map(one).collect()
    }

    fn tls(&self) -> Result<Option<ClientTlsConfig>, StoreError> {
        if !self.is_secure() {
            return Ok(None);
        }
        let authority = match &self.ca_file {
            Some(file) => read(file)?,
            None => system_authorities()?,
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
        if let (Some(cert), Some(key)) = (&self.cert_file, &self.key_file) {
            tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        Ok(Some(tls))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, StoreError> {
    let invalid = |why: String| StoreError::Invalid {
        what: file.display().to_string(),
        why,
    };
    let text = std::fs::read(file).map_err(|error| invalid(error.to_string()))?;
    if !String::from_utf8_lossy(&text).contains("-----BEGIN ") {
        return Err(invalid("is not PEM (-----BEGIN ...)".to_owned()));
    }
    Ok(text)
}

/// Where distributions keep what they trust.
const SYSTEM: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

fn system_authorities() -> Result<Vec<u8>, StoreError> {
    for file in SYSTEM {
        if Path::new(file).exists() {
            return read(Path::new(file));
        }
    }
    Err(StoreError::Invalid {
        what: "caFile".to_owned(),
        why: format!("missing, and this system has none of {}", SYSTEM.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    //! What makes no sense is refused with its field.

    use super::*;

    #[test]
    fn what_makes_no_sense_names_its_field() {
        let good = EtcdConfig {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            ..EtcdConfig::default()
        };
        assert_eq!(good.check(), Ok(()));
        let with = |change: &dyn Fn(&mut EtcdConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.check().unwrap_err()
        };
        let cases = [
            (with(&|c| c.endpoints.clear()), "endpoints: missing"),
            (
                with(&|c| c.endpoints.push("127.0.0.1:1".into())),
                "\"127.0.0.1:1\" is not http",
            ),
            (
                with(&|c| c.endpoints.push("https://a:1".into())),
                "some are http:// and some https://",
            ),
            (
                with(&|c| c.ca_file = Some("/ca".into())),
                "caFile: /ca has a meaning only with https",
            ),
            (
                with(&|c| c.username = Some("me".into())),
                "password: missing",
            ),
            (
                with(&|c| c.password = Some(Password("x".into()))),
                "username: missing",
            ),
            (
                with(&|c| {
                    c.endpoints = vec!["https://a:1".into()];
                    c.cert_file = Some("/c".into());
                }),
                "keyFile: missing",
            ),
        ];
        for (found, expected) in cases {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let config = EtcdConfig {
            password: Some(Password("hush".to_owned())),
            ..EtcdConfig::default()
        };
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let config = EtcdConfig {
            endpoints: vec!["https://127.0.0.1:1".to_owned()],
            ca_file: Some(file.clone()),
            ..EtcdConfig::default()
        };
        let fault = config.endpoints().unwrap_err().to_string();
        assert!(fault.contains("ca.pem: No such file"), "{fault}");
        std::fs::write(&file, "hello").unwrap();
        let fault = config.endpoints().unwrap_err().to_string();
        assert!(
            fault.ends_with("ca.pem: is not PEM (-----BEGIN ...)"),
            "{fault}"
        );
    }
}
