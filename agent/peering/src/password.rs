//! From a reference to a Secret to what is in it.
//!
//! A BGPPeer names a Secret without its namespace. Calico looks in its own, which a manifest installation calls
//! `kube-system` and an operator's installation `calico-system`. Here `kube-system` comes first, and otherwise
//! the Secret may be wherever it is, as long as there is one of that name.

use std::fmt;

use caracal_bgp_net::{Md5Key, SessionOptions};

use crate::{PlannedPeer, SecretRef, View};

/// The namespace that is looked in first.
const NAMESPACE: &str = "kube-system";

/// Why there is no password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPassword {
    /// No namespace has a Secret of that name.
    NoSecret {
        /// Its name.
        secret: String,
    },
    /// Several have, and `kube-system` is not among them.
    Ambiguous {
        /// Its name.
        secret: String,
        /// The namespaces.
        namespaces: Vec<String>,
    },
    /// The Secret has no such key.
    NoKey {
        /// Namespace and name.
        secret: String,
        /// The key.
        key: String,
    },
}

/// The password that is referred to, octet for octet.
pub fn password_of<'a>(view: &'a View, reference: &SecretRef) -> Result<&'a [u8], NoPassword> {
    let SecretRef { name, key } = reference;
    let namespace = namespace_of(view, name)?;
    let place = (namespace.to_owned(), name.clone());
    let stored = view.secrets.get(&place);
    let value = stored.and_then(|stored| stored.spec.value(key));
    value.ok_or_else(|| NoPassword::NoKey {
        secret: format!("{namespace}/{name}"),
        key: key.clone(),
    })
}

/// What the connections with a peer need. The error is one sentence.
pub fn session_options(view: &View, peer: &PlannedPeer) -> Result<SessionOptions, String> {
    let key = match &peer.password_ref {
        None => None,
        Some(reference) => {
            let password = password_of(view, reference).map_err(|why| why.to_string())?;
            let key = Md5Key::new(password).map_err(|why| {
                format!("Secret {}, key {}: {why}", reference.name, reference.key)
            })?;
            Some(key)
        }
    };
    Ok(SessionOptions {
        key,
        ttl_security: peer.ttl_security,
    })
}

fn namespace_of<'a>(view: &'a View, name: &str) -> Result<&'a str, NoPassword> {
    let all = view.secrets.keys().filter(|(_, secret)| secret == name);
    let namespaces: Vec<&str> = all.map(|(namespace, _)| namespace.as_str()).collect();
    match namespaces.as_slice() {
        [] => Err(NoPassword::NoSecret {
            secret: name.to_owned(),
        }),
        [only] => Ok(*only),
        several if several.contains(&NAMESPACE) => Ok(NAMESPACE),
        several => Err(NoPassword::Ambiguous {
            secret: name.to_owned(),
            namespaces: several.iter().map(|one| (*one).to_owned()).collect(),
        }),
    }
}

impl std::error::Error for NoPassword {}

impl fmt::Display for NoPassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoPassword::NoSecret { secret } => write!(formatter, "there is no Secret {secret}"),
            NoPassword::Ambiguous { secret, namespaces } => write!(
                formatter,
                "there is a Secret {secret} in each of {}, and none in {NAMESPACE}, which would decide",
                namespaces.join(", ")
            ),
            NoPassword::NoKey { secret, key } => {
                write!(formatter, "Secret {secret} has no key {key}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
