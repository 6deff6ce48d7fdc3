//! Answers CalicoNodeStatus: an operator asks in `spec` how a node's BGP is, and the node writes the answer into `status`,
//! again and again, as often as it is asked to.
//!
//! ```text
//!   watch ──► questions for this node, each with its next moment ──► facts ──► answer ──► update, if still asked
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use caracal_agent_api::Route;
use caracal_datastore::resources::{CalicoNodeStatus, NodeStatusQuestion};
use caracal_datastore::{Datastore, Key, Kind, Object, StoreError, Stored, TypedStore, WatchEvent};
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, warn};

use crate::shared::Shared;

mod answer;

use answer::Facts;

/// Why questions cannot be heard, as its watch says it.
#[derive(Debug, Default)]
pub(crate) struct Unheard(Mutex<(Vec<String>, Vec<String>)>);

impl Unheard {
    /// What cannot be followed now, and what is there and makes no sense, one sentence each.
    pub(crate) fn unread_and_unreadable(&self) -> (Vec<String>, Vec<String>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, faults: &[StoreError]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) =
            StoreError::unread_and_unreadable(faults);
    }
}

/// The first pause after a watch that could not be had, and the longest.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(60);
/// How often an answer is tried that others' writes have overtaken.
const TRIES: usize = 5;

/// A question for this node.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    question: NodeStatusQuestion,
    /// When it is to be answered next.
    due: Instant,
}

/// Answers questions about this node, for ever.
pub(crate) async fn serve(shared: Arc<Shared>, store: Arc<dyn Datastore>) {
    let node = shared.config.nodename.clone();
    let facts = || -> BoxFuture<'static, Facts> {
        let shared = shared.clone();
        Box::pin(async move { look(&shared).await })
    };
    run(&node, store, facts, &shared.unheard).await;
}

/// What there is to tell now.
async fn look(shared: &Shared) -> Facts {
    let peers = shared.peers().await;
    let routes = shared.shell.with(|speaker, _| speaker.routes()).await;
    let routes = routes.unwrap_or_default();
    let fib = shared.fib.routes().await.unwrap_or_default();
    Facts {
        ready: shared.status_with(&peers).await.ready,
        families: [
            shared.addresses.ipv4.is_some(),
            shared.addresses.ipv6.is_some(),
        ],
        router_id: Some(shared.router_id),
        started: SystemTime::now().checked_sub(shared.started.elapsed()),
        peers,
        routes: routes.into_iter().map(Route::from).collect(),
        fib: fib.into_iter().map(crate::server::fib_route).collect(),
    }
}

async fn run(
    node: &str,
    store: Arc<dyn Datastore>,
    facts: impl Fn() -> BoxFuture<'static, Facts>,
    unheard: &Unheard,
) {
    let mut wait = RETRY_FIRST;
    loop {
        match store.watch(&[Kind::CalicoNodeStatus]).await {
            Ok(mut watcher) => {
                wait = RETRY_FIRST;
                unheard.set(&[]);
                let mut asked = BTreeMap::new();
                loop {
                    let due = asked.values().map(|asked: &Asked| asked.due).min();
                    tokio::select! {
                        event = watcher.events.recv() => match event {
                            Some(WatchEvent::Faults(faults)) => unheard.set(&faults),
                            Some(event) => take_in(&mut asked, node, event),
                            None => break,
                        },
                        () = until(due) => answer_due(&mut asked, &store, &facts).await,
                    }
                }
            }
            // A condition, and no word in the log each minute.
            Err(fault) => {
                debug!("node {node}: questions about it are not heard: {fault}");
                unheard.set(&[fault]);
            }
        }
        tokio::time::sleep(wait).await;
        wait = RETRY_LAST.min(wait * 2);
    }
}

fn take_in(asked: &mut BTreeMap<String, Asked>, node: &str, event: WatchEvent) {
    match event {
        WatchEvent::Set(object) => match question(&object, node) {
            // Our own answer comes by here too, and is no reason to answer.
            Some(question)
                if asked.get(&object.key.name).map(|asked| &asked.question) == Some(&question) => {}
            Some(question) => {
                let due = Instant::now();
                asked.insert(object.key.name, Asked { question, due });
            }
            None => drop(asked.remove(&object.key.name)),
        },
        WatchEvent::Deleted(key) => drop(asked.remove(&key.name)),
        WatchEvent::InSync | WatchEvent::Faults(_) => {}
    }
}

/// What an object asks of this node. A period of 0 asks for nothing more, and what is wrong asks nothing.
fn question(object: &Object, node: &str) -> Option<NodeStatusQuestion> {
    let stored = Stored::<CalicoNodeStatus>::from_object(object).ok()?;
    let question = stored.spec.spec;
    (question.node == node && period(&question).is_some()).then_some(question)
}

fn period(question: &NodeStatusQuestion) -> Option<Duration> {
    let seconds = question
        .update_period_seconds
        .filter(|seconds| *seconds > 0)?;
    Some(Duration::from_secs(seconds.into()))
}

async fn answer_due(
    asked: &mut BTreeMap<String, Asked>,
    store: &Arc<dyn Datastore>,
    facts: &impl Fn() -> BoxFuture<'static, Facts>,
) {
    let now = Instant::now();
    let seen = facts().await;
    for (name, asked) in asked.iter_mut().filter(|(_, asked)| asked.due <= now) {
        if let Err(fault) = write(store, name, &asked.question, &seen).await {
            warn!("CalicoNodeStatus {name}: {fault}");
        }
        asked.due = now + period(&asked.question).unwrap_or(RETRY_LAST);
    }
}

/// Writes the answer into the object, if it still asks the same.
async fn write(
    store: &Arc<dyn Datastore>,
    name: &str,
    question: &NodeStatusQuestion,
    facts: &Facts,
) -> Result<(), StoreError> {
    let store = TypedStore(store.clone());
    for _ in 0..TRIES {
        let Some(mut stored) = store.get::<CalicoNodeStatus>(name).await? else {
            return Ok(());
        };
        if stored.spec.spec != *question {
            // The watch tells of the new question.
            return Ok(());
        }
        let answer = answer::to(question, facts, SystemTime::now());
        stored.spec.status = Some(answer);
        match store.update(stored).await {
            Err(StoreError::Conflict(_)) => {}
            Err(StoreError::NotFound(_)) => return Ok(()),
            outcome => return outcome.map(drop),
        }
    }
    Err(StoreError::Conflict(Key::new(Kind::CalicoNodeStatus, name)))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
