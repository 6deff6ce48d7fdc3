//! The datastore's watch, and the next one when it ends. Waiting for the next holds nobody up.

use std::sync::Arc;
use std::time::Duration;

use caracal_datastore::{Datastore, WatchEvent, Watcher};
use futures::FutureExt;
use futures::future::BoxFuture;
use tracing::{info, warn};

use crate::cluster::WATCHED;

/// A watch, or the attempts to have one again.
pub(super) struct Watching {
    store: Arc<dyn Datastore>,
    state: State,
}

enum State {
    On(Watcher),
    Away(BoxFuture<'static, Watcher>),
}

/// What a watch brings.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is used at once"
)]
pub(super) enum News {
    Event(WatchEvent),
    /// It has ended. The next is asked for already.
    Ended,
    /// The next has begun, and tells everything again.
    Again,
}

impl Watching {
    pub(super) fn new(store: Arc<dyn Datastore>, watcher: Watcher) -> Watching {
        let state = State::On(watcher);
        Watching { store, state }
    }

    /// May be given up at any time, and nothing is lost.
    pub(super) async fn next(&mut self) -> News {
        match &mut self.state {
            State::On(watcher) => match watcher.events.recv().await {
                Some(event) => News::Event(event),
                None => {
                    warn!("the datastore's watch has ended; what is known stays in force");
                    self.state = State::Away(begin(self.store.clone()).boxed());
                    News::Ended
                }
            },
            State::Away(attempts) => {
                let watcher = attempts.as_mut().await;
                info!("the datastore is watched again");
                self.state = State::On(watcher);
                News::Again
            }
        }
    }

    /// What has queued up.
    pub(super) fn waiting(&mut self) -> Option<WatchEvent> {
        match &mut self.state {
            State::On(watcher) => watcher.events.try_recv().ok(),
            State::Away(_) => None,
        }
    }
}

async fn begin(store: Arc<dyn Datastore>) -> Watcher {
    let mut wait = RETRY_FIRST;
    loop {
        tokio::time::sleep(wait).await;
        match store.watch(&WATCHED).await {
            Ok(watcher) => return watcher,
            Err(fault) => {
                wait = RETRY_LAST.min(wait * 2);
                warn!("{fault}; watching again in {} s", wait.as_secs());
            }
        }
    }
}

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
