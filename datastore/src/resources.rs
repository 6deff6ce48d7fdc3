//! Calico's kinds: names, fields and meaning as in `projectcalico.org/v3`. One file a kind.
//!
//! Every spec keeps unknown fields (`extra`), and `validate` says what is wrong with which field.

use serde::{de::DeserializeOwned, Serialize};

use crate::store::{Kind, Metadata};

/// A kind of resource.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// What is wrong with it: `spec.cidr: 10.0.0.1/16 has host bits set`. Empty: fine.
    fn validate(&self, metadata: &Metadata) -> Vec<String>;
}
