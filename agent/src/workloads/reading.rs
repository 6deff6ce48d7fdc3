//! Reads WorkloadEndpoints beside the loop, some at once: a datastore that does not answer must not hold up routes.

use std::convert::Infallible;
use std::time::Duration;

use caracal_datastore::{Key, StoreError};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::timeout;

use super::Workloads;
use super::report::Unclear;

/// So many are read at once.
const AT_ONCE: usize = 16;
/// For a store that has no patience of its own.
const PATIENCE: Duration = Duration::from_secs(15);

/// A report that was not looked into yet.
#[derive(Debug)]
pub(super) struct Asked {
    stage: Stage,
    /// A route may be wished for of what is there.
    pub(super) counts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    UnderWay,
    /// Reported again since the question: the answer may be older than the report.
    Again,
}

impl Unclear {
    /// Nobody is asked for what waits; returns it.
    pub(super) fn stop_asking(&mut self) -> Vec<Key> {
        let waiting = self.asked.iter();
        let waiting = waiting.filter(|(_, asked)| asked.stage == Stage::Waiting);
        let keys: Vec<Key> = waiting.map(|(key, _)| key.clone()).collect();
        for key in &keys {
            self.asked.remove(key);
        }
        keys
    }

    fn next_asked(&mut self) -> Option<Key> {
        let mut asked = self.asked.iter_mut();
        let (key, asked) = asked.find(|(_, asked)| asked.stage == Stage::Waiting)?;
        asked.stage = Stage::UnderWay;
        Some(key.clone())
    }
}

impl Workloads {
    pub(super) fn ask_for(&self, keys: impl IntoIterator<Item = Key>, counts: bool) {
        let mut state = self.state();
        for key in keys {
            let asked = state.unclear.asked.entry(key).or_insert(Asked {
                stage: Stage::Waiting,
                counts,
            });
            asked.counts |= counts;
            if asked.stage == Stage::UnderWay {
                asked.stage = Stage::Again;
            }
        }
        drop(state);
        self.asked.notify_one();
    }

    /// Whether every report was looked into, or put off.
    pub(crate) fn all_read(&self) -> bool {
        self.state().unclear.asked.is_empty()
    }

    /// Until it has become so since the last call.
    pub(crate) async fn read_through(&self) {
        self.read_through.notified().await;
    }

    /// Reads whatever is asked for, for ever.
    pub(crate) async fn keep_reading(&self) -> Infallible {
        loop {
            self.read_what_is_asked_for().await;
            self.asked.notified().await;
        }
    }

    pub(super) async fn read_what_is_asked_for(&self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some(key) = self.next_asked()
            {
                under_way.push(async move {
                    let answer = timeout(PATIENCE, self.store.get(&key)).await;
                    let silent = |_| {
                        Err(StoreError::Unavailable {
                            what: key.to_string(),
                            why: format!("no answer within {} s", PATIENCE.as_secs()),
                        })
                    };
                    (answer.unwrap_or_else(silent), key.clone())
                });
            }
            tokio::select! {
                answer = under_way.next() => match answer {
                    Some((answer, key)) => {
                        self.take_answer(&key, answer);
                        self.settle_question(&key);
                    }
                    None => return,
                },
                () = self.asked.notified() => {}
            }
        }
    }

    pub(super) fn next_asked(&self) -> Option<Key> {
        self.state().unclear.next_asked()
    }

    /// The answer is in force, so that nothing is taken for known before it is.
    pub(super) fn settle_question(&self, key: &Key) {
        let mut state = self.state();
        let asked = &mut state.unclear.asked;
        match asked.get_mut(key) {
            Some(one) if one.stage == Stage::Again => one.stage = Stage::Waiting,
            _ => drop(asked.remove(key)),
        }
        if asked.is_empty() {
            self.read_through.notify_one();
        }
    }
}
