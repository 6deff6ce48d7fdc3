//! Leases, for the election of leaders, in our own namespace.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::client::Failure;
use super::server::{self, Server};
use crate::lead::kubernetes::LeaseObjects;
use crate::store::StoreError;

/// Those of one namespace.
pub(super) struct Leases {
    server: Arc<Server>,
}

impl Leases {
    pub(super) fn new(server: Arc<Server>) -> Leases {
        Leases { server }
    }

    fn path(&self) -> String {
        let namespace = self.server.client().namespace();
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    }

    fn error(&self, failure: Failure) -> StoreError {
        let why = format!("leases: {}", server::words(failure));
        self.server.client().unavailable(why)
    }
}

impl fmt::Debug for Leases {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Leases")
            .field("server", &self.server.client().what())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl LeaseObjects for Leases {
    async fn get(&self, name: &str) -> Result<Option<Value>, StoreError> {
        let path = format!("{}/{name}", self.path());
        let found = self.server.client().get(&path).await;
        found.map_err(|failure| self.error(failure))
    }

    async fn create(&self, lease: Value) -> Result<bool, StoreError> {
        match self.server.client().post(&self.path(), &lease).await {
            Ok(_) => Ok(true),
            Err(Failure::Exists) => Ok(false),
            Err(failure) => Err(self.error(failure)),
        }
    }

    async fn replace(&self, name: &str, lease: Value) -> Result<bool, StoreError> {
        let path = format!("{}/{name}", self.path());
        match self.server.client().put(&path, &lease).await {
            Ok(_) => Ok(true),
            Err(Failure::Conflict(_) | Failure::Absent(_)) => Ok(false),
            Err(failure) => Err(self.error(failure)),
        }
    }
}
