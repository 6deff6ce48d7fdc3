//! Leases, for the election of leaders.

use std::fmt;

use async_trait::async_trait;

use super::client::Client;
use super::wire::{
    Compare, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseRevokeRequest, LeaseRevokeResponse, PutRequest, Request, TxnRequest,
};
use crate::lead::etcd::{Holder, Leases};
use crate::store::StoreError;

const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
const TXN: &str = "/etcdserverpb.KV/Txn";

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("endpoints", &self.what())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Leases for Client {
    async fn grant(&self, seconds: i64) -> Result<i64, StoreError> {
        let question = LeaseGrantRequest {
            ttl_seconds: seconds,
        };
        let answer = self.link.ask(GRANT, question).await;
        let answer: LeaseGrantResponse = answer.map_err(|status| self.unavailable(&status))?;
        Ok(answer.id)
    }

    async fn renew(&self, lease: i64) -> Result<bool, StoreError> {
        let question = LeaseKeepAliveRequest { id: lease };
        let answer = self.link.ask_stream(KEEP_ALIVE, question).await;
        let answer: LeaseKeepAliveResponse = answer.map_err(|status| self.unavailable(&status))?;
        Ok(answer.ttl_seconds > 0)
    }

    async fn revoke(&self, lease: i64) -> Result<(), StoreError> {
        let answer = self
            .link
            .ask(REVOKE, LeaseRevokeRequest { id: lease })
            .await;
        let answer: Result<LeaseRevokeResponse, _> = answer;
        answer.map(drop).map_err(|status| self.unavailable(&status))
    }

    async fn holder(&self, path: &str) -> Result<Option<Holder>, StoreError> {
        let found = self.get(&[path.to_owned()]).await?;
        Ok(found.into_iter().next().map(|found| Holder {
            who: String::from_utf8_lossy(&found.value).into_owned(),
            lease: found.lease,
        }))
    }

    async fn claim(&self, path: &str, who: &str, lease: i64) -> Result<bool, StoreError> {
        let put = PutRequest {
            key: path.as_bytes().to_vec(),
            value: who.as_bytes().to_vec(),
            lease,
        };
        let question = TxnRequest {
            compare: vec![Compare::absent(path)],
            success: vec![Request::Put(put).into()],
            failure: Vec::new(),
        };
        let answer = self.link.ask(TXN, question).await;
        let answer: super::wire::TxnResponse =
            answer.map_err(|status| self.unavailable(&status))?;
        Ok(answer.succeeded)
    }
}
