//! What an operator or another program does to etcd.

use prost::Message;

use crate::etcd::EtcdConfig;
use crate::etcd::link::Link;
use crate::etcd::wire::{DeleteRangeRequest, PutRequest, Request, TxnRequest, TxnResponse};

pub(super) struct ByHand(Link);

#[derive(Clone, PartialEq, Message)]
struct CompactionRequest {
    #[prost(int64, tag = "1")]
    revision: i64,
    #[prost(bool, tag = "2")]
    physical: bool,
}

/// Names and passwords in requests about users.
#[derive(Clone, PartialEq, Message)]
struct Words {
    #[prost(string, tag = "1")]
    first: String,
    #[prost(string, tag = "2")]
    second: String,
}

impl ByHand {
    pub(super) fn new(config: &EtcdConfig) -> ByHand {
        ByHand(Link::new(config).unwrap())
    }

    pub(super) async fn put(&self, key: &str, value: &str) {
        let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        self.write(Request::Put(PutRequest { key, value })).await;
    }

    pub(super) async fn delete(&self, key: &str) {
        let key = key.as_bytes().to_vec();
        self.write(Request::DeleteRange(DeleteRangeRequest { key }))
            .await;
    }

    /// Forgets all history.
    pub(super) async fn compact(&self) {
        let nothing = self.call("/etcdserverpb.KV/Txn", TxnRequest::default());
        let revision = nothing.await.header.unwrap().revision;
        let request = CompactionRequest {
            revision,
            physical: true,
        };
        self.call("/etcdserverpb.KV/Compact", request).await;
    }

    /// From now on only who proves to be this user, who may do anything, is let in.
    pub(super) async fn enable_login(&self, user: &str, password: &str) {
        let words = |first: &str, second: &str| Words {
            first: first.to_owned(),
            second: second.to_owned(),
        };
        self.call("/etcdserverpb.Auth/UserAdd", words(user, password))
            .await;
        self.call("/etcdserverpb.Auth/RoleAdd", words("root", ""))
            .await;
        self.call("/etcdserverpb.Auth/UserGrantRole", words(user, "root"))
            .await;
        self.call("/etcdserverpb.Auth/AuthEnable", words("", ""))
            .await;
    }

    async fn write(&self, write: Request) {
        let request = TxnRequest {
            success: vec![write.into()],
            ..TxnRequest::default()
        };
        assert!(self.call("/etcdserverpb.KV/Txn", request).await.succeeded);
    }

    /// All answers begin with the header.
    async fn call(
        &self,
        method: &'static str,
        request: impl Message + Clone + 'static,
    ) -> TxnResponse {
        self.0.ask(method, request).await.unwrap()
    }
}
