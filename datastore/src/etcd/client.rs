//! What is asked of etcd: where it is in its history, entries, lists in pages, transactions.

use tonic::{Status, Streaming};

use super::config::EtcdConfig;
use super::layout::{self, Range};
use super::link::{self, Link};
use super::wire::{
    KeyValue, RangeRequest, RangeResponse, Request, RequestOp, Response, TxnRequest, TxnResponse,
    WatchCreateRequest, WatchResponse,
};
use crate::store::{Key, Kind, StoreError};

/// So many entries are asked for at once.
const PAGE: i64 = 500;
/// How often a list is begun again when etcd compacts what it reads.
const TRIES: usize = 5;
const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";

/// A client of etcd.
pub(super) struct Client {
    pub(super) link: Link,
}

/// Where etcd is in its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) cluster: u64,
    pub(super) revision: i64,
}

/// Entries of kinds as they were at one revision.
pub(super) struct Listing {
    pub(super) values: Vec<(Kind, KeyValue)>,
    pub(super) position: Position,
}

impl Client {
    pub(super) fn new(config: &EtcdConfig) -> Result<Client, StoreError> {
        Ok(Client {
            link: Link::new(config)?,
        })
    }

    /// The endpoints.
    pub(super) fn what(&self) -> &str {
        self.link.what()
    }

    pub(super) fn unavailable(&self, status: &Status) -> StoreError {
        self.link.unavailable(link::reason(status))
    }

    /// Asks a quorum where it is. The key that is asked for is in the range that our role may read; nothing stands there.
    pub(super) async fn position(&self) -> Result<Position, StoreError> {
        let question = RangeRequest {
            keys_only: true,
            ..RangeRequest::one("/calico/")
        };
        let answer = self.link.ask(RANGE, question).await;
        let answer: RangeResponse = answer.map_err(|status| self.unavailable(&status))?;
        Ok(position_of(&answer))
    }

    /// What stands under these keys, in their order, without those that are not there.
    pub(super) async fn get(&self, paths: &[String]) -> Result<Vec<KeyValue>, StoreError> {
        if let [path] = paths {
            let answer = self.link.ask(RANGE, RangeRequest::one(path)).await;
            let answer: RangeResponse = answer.map_err(|status| self.unavailable(&status))?;
            return Ok(answer.kvs);
        }
        let gets = paths
            .iter()
            .map(|path| Request::Range(RangeRequest::one(path)).into());
        let question = TxnRequest {
            success: gets.collect(),
            ..TxnRequest::default()
        };
        let answer = self.link.ask(TXN, question).await;
        let answer: TxnResponse = answer.map_err(|status| self.unavailable(&status))?;
        Ok(answer
            .responses
            .into_iter()
            .filter_map(|response| match response.response {
                Some(Response::Range(range)) => Some(range.kvs),
                _ => None,
            })
            .flatten()
            .collect())
    }

    /// All entries of kinds, in pages, at one revision.
    pub(super) async fn list(&self, kinds: &[Kind]) -> Result<Listing, StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_list(kinds).await {
                Ok(listing) => return Ok(listing),
                Err(status) if link::is_compaction(&status) && tries < TRIES => {}
                Err(status) => return Err(self.unavailable(&status)),
            }
        }
    }

    async fn try_list(&self, kinds: &[Kind]) -> Result<Listing, Status> {
        let mut values = Vec::new();
        // All pages are read as they were when the first was.
        let mut position: Option<Position> = None;
        for kind in kinds {
            for range in layout::ranges(*kind) {
                self.list_range(*kind, &range, &mut position, &mut values)
                    .await?;
            }
        }
        let position = position.unwrap_or(Position {
            cluster: 0,
            revision: 0,
        });
        Ok(Listing { values, position })
    }

    async fn list_range(
        &self,
        kind: Kind,
        range: &Range,
        position: &mut Option<Position>,
        values: &mut Vec<(Kind, KeyValue)>,
    ) -> Result<(), Status> {
        let (mut key, range_end) = range.bounds();
        let mut limit = PAGE;
        loop {
            let question = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit,
                revision: position.map_or(0, |position| position.revision),
                keys_only: false,
            };
            let answer: RangeResponse = match self.link.ask(RANGE, question).await {
                Err(status) if link::is_size(&status) && limit > 1 => {
                    limit = (limit / 8).max(1);
                    continue;
                }
                answer => answer?,
            };
            position.get_or_insert(position_of(&answer));
            let ended = !answer.more || answer.kvs.is_empty();
            if let Some(last) = answer.kvs.last() {
                key = last.key.clone();
                key.push(0);
            }
            values.extend(answer.kvs.into_iter().map(|value| (kind, value)));
            if ended {
                return Ok(());
            }
        }
    }

    /// A transaction that writes `size` octets for an object.
    pub(super) async fn commit(
        &self,
        question: TxnRequest,
        key: &Key,
        size: usize,
    ) -> Result<TxnResponse, StoreError> {
        self.link.ask(TXN, question).await.map_err(|status| {
            let why = link::reason(&status);
            if link::is_size(&status) {
                StoreError::Invalid {
                    what: key.to_string(),
                    why: format!("its {size} octets are more than etcd takes: {why}"),
                }
            } else {
                self.link.unavailable(format!("{key}: {why}"))
            }
        })
    }

    /// Opens a stream of watches.
    pub(super) async fn watch(
        &self,
        watches: Vec<WatchCreateRequest>,
    ) -> Result<Streaming<WatchResponse>, StoreError> {
        let opened = self.link.watch(watches).await;
        opened.map_err(|status| self.unavailable(&status))
    }

    /// Why a stream of watches ended; the next one may be at another member.
    pub(super) fn lost(&self, status: &Status) -> StoreError {
        self.link.forget_if_broken(status);
        self.unavailable(status)
    }
}

/// The same for a transaction's parts.
pub(super) fn only_if_there(path: &str) -> RequestOp {
    let question = RangeRequest {
        keys_only: true,
        ..RangeRequest::one(path)
    };
    Request::Range(question).into()
}

fn position_of(answer: &RangeResponse) -> Position {
    let header = answer.header.clone().unwrap_or_default();
    Position {
        cluster: header.cluster_id,
        revision: header.revision,
    }
}
