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

/// `RoleGrantPermission` of rpc.proto.
#[derive(Clone, PartialEq, Message)]
struct Grant {
    #[prost(string, tag = "1")]
    role: String,
    #[prost(message, optional, tag = "2")]
    permission: Option<Permission>,
}

/// Of auth.proto.
#[derive(Clone, PartialEq, Message)]
struct Permission {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    range_end: Vec<u8>,
}

const READWRITE: i32 = 2;

impl ByHand {
    pub(super) fn new(config: &EtcdConfig) -> ByHand {
        ByHand(Link::new(config).unwrap())
    }

    pub(super) async fn put(&self, key: &str, value: &str) {
        let (key, value) = (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        self.write(Request::Put(PutRequest {
            key,
            value,
            lease: 0,
        }))
        .await;
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

    /// A user who may read and write these ranges of keys and nothing else.
    pub(super) async fn add_user(&self, user: &str, password: &str, ranges: &[(&str, &str)]) {
        let words = |first: &str, second: &str| Words {
            first: first.to_owned(),
            second: second.to_owned(),
        };
        self.call("/etcdserverpb.Auth/UserAdd", words(user, password))
            .await;
        self.call("/etcdserverpb.Auth/RoleAdd", words(user, ""))
            .await;
        for (first, end) in ranges {
            let permission = Permission {
                kind: READWRITE,
                key: first.as_bytes().to_vec(),
                range_end: end.as_bytes().to_vec(),
            };
            let grant = Grant {
                role: user.to_owned(),
                permission: Some(permission),
            };
            self.call("/etcdserverpb.Auth/RoleGrantPermission", grant)
                .await;
        }
        self.call("/etcdserverpb.Auth/UserGrantRole", words(user, user))
            .await;
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
