//! Hands changes to watches.
//!
//! Each watch has a queue in which only the newest state of a key waits, so a slow consumer costs memory
//! by the number of keys and never by the number of changes, and holds nobody back.

use std::collections::{BTreeMap, HashMap};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::store::{Key, Kind, Object, StoreError, WatchEvent, Watcher};

/// A change of the store: the object as it is now, or `None` when it is gone.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) key: Key,
    pub(crate) object: Option<Object>,
}

/// The watches of a store. Dropping it ends them.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    subscribers: Vec<Arc<Subscriber>>,
}

#[derive(Debug)]
struct Subscriber {
    kinds: Vec<Kind>,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Little waits any more.
    drained: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: BTreeMap<u64, WatchEvent>,
    waiting: HashMap<Key, u64>,
    faults: Option<u64>,
    in_sync: Option<u64>,
    next: u64,
    closed: bool,
}

impl Hub {
    /// Begins a watch with the state of this moment. The caller holds the lock under which changes happen,
    /// so that none falls between the snapshot and the first change.
    pub(crate) fn subscribe<'a>(
        &mut self,
        kinds: &[Kind],
        snapshot: impl Iterator<Item = &'a Object>,
        faults: &[StoreError],
    ) -> Watcher {
        let watched = snapshot.filter(|object| kinds.contains(&object.key.kind));
        self.subscribe_until_gone(kinds, watched.cloned(), faults, true)
            .0
    }

    /// The same of a state that is nobody else's, and what ends when nobody watches any more. A state that is not `complete` is so with
    /// the next [`Hub::publish_in_sync`].
    pub(crate) fn subscribe_until_gone(
        &mut self,
        kinds: &[Kind],
        snapshot: impl Iterator<Item = Object>,
        faults: &[StoreError],
        complete: bool,
    ) -> (Watcher, JoinHandle<()>) {
        let subscriber = Arc::new(Subscriber {
            kinds: kinds.to_vec(),
            queue: Mutex::new(Queue::default()),
            wake: Notify::new(),
            drained: Notify::new(),
        });
        {
            let mut queue = subscriber.lock();
            for object in snapshot.filter(|object| kinds.contains(&object.key.kind)) {
                queue.push_change(&object.key.clone(), Some(object));
            }
            // Before *in sync*: whoever acts on it knows what is missing.
            if !faults.is_empty() {
                queue.push_faults(faults);
            }
            if complete {
                queue.push_in_sync();
            }
        }
        self.subscribers.push(Arc::clone(&subscriber));
        let (sender, events) = mpsc::channel(64);
        let gone = tokio::spawn(forward(subscriber, sender));
        (Watcher { events }, gone)
    }

    /// Whether anybody watches a kind.
    pub(crate) fn is_watched(&self, kind: Kind) -> bool {
        let open = |one: &Arc<Subscriber>| !one.lock().closed;
        let of_it = |one: &&Arc<Subscriber>| one.kinds.contains(&kind);
        self.subscribers.iter().filter(of_it).any(open)
    }

    /// Tells every watch that wants to know.
    pub(crate) fn publish(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        self.for_each(|subscriber| {
            let mut queue = subscriber.lock();
            for change in changes {
                if subscriber.kinds.contains(&change.key.kind) {
                    queue.push_change(&change.key, change.object.clone());
                }
            }
        });
    }

    /// Tells every watch what cannot be read; an empty list says that all is well again.
    pub(crate) fn publish_faults(&mut self, faults: &[StoreError]) {
        self.for_each(|subscriber| subscriber.lock().push_faults(faults));
    }

    /// Tells every watch that all which was missed has been delivered.
    pub(crate) fn publish_in_sync(&mut self) {
        self.for_each(|subscriber| subscriber.lock().push_in_sync());
    }

    /// What waits for all of them, to be waited for without the lock of the hub.
    pub(crate) fn backlog(&self) -> Backlog {
        Backlog(self.subscribers.clone())
    }

    fn for_each(&mut self, act: impl Fn(&Subscriber)) {
        self.subscribers.retain(|subscriber| {
            let open = !subscriber.lock().closed;
            if open {
                act(subscriber);
                subscriber.wake.notify_one();
            }
            open
        });
    }
}

/// What waits in the queues of those who watch.
#[derive(Debug)]
pub(crate) struct Backlog(Vec<Arc<Subscriber>>);

impl Backlog {
    /// Waits until little waits: who brings a large state in pieces holds no more than that.
    pub(crate) async fn is_short(&self) {
        for subscriber in &self.0 {
            let mut drained = pin!(subscriber.drained.notified());
            // Before the look, or what happens in between would be missed.
            drained.as_mut().enable();
            if !subscriber.lock().is_short() {
                drained.await;
            }
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for subscriber in &self.subscribers {
            subscriber.lock().closed = true;
            subscriber.wake.notify_one();
        }
    }
}

impl Subscriber {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A queue is consistent between any two statements that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn is_short(&self) -> bool {
        self.closed || self.events.len() <= BACKLOG
    }

    fn push(&mut self, event: WatchEvent) -> u64 {
        let at = self.next;
        self.next += 1;
        self.events.insert(at, event);
        at
    }

    fn push_change(&mut self, key: &Key, object: Option<Object>) {
        let event = match object {
            Some(object) => WatchEvent::Set(object),
            None => WatchEvent::Deleted(key.clone()),
        };
        let waiting = self.waiting.get(key).copied();
        match (waiting, self.in_sync) {
            // Before *in sync* a key keeps its place, or the complete set would lack it.
            (Some(at), Some(in_sync)) if at < in_sync => {
                self.events.insert(at, event);
            }
            (waiting, _) => {
                if let Some(at) = waiting {
                    self.events.remove(&at);
                }
                let at = self.push(event);
                self.waiting.insert(key.clone(), at);
            }
        }
    }

    fn push_faults(&mut self, faults: &[StoreError]) {
        if let Some(at) = self.faults.take() {
            self.events.remove(&at);
        }
        self.faults = Some(self.push(WatchEvent::Faults(faults.to_vec())));
    }

    fn push_in_sync(&mut self) {
        // One that still waits has not been true for anybody yet.
        if let Some(at) = self.in_sync.take() {
            self.events.remove(&at);
        }
        self.in_sync = Some(self.push(WatchEvent::InSync));
    }

    fn pop(&mut self) -> Option<WatchEvent> {
        let (at, event) = self.events.pop_first()?;
        match &event {
            WatchEvent::Set(object) => {
                self.waiting.remove(&object.key);
            }
            WatchEvent::Deleted(key) => {
                self.waiting.remove(key);
            }
            WatchEvent::InSync => self.in_sync = None,
            WatchEvent::Faults(_) => {
                if self.faults == Some(at) {
                    self.faults = None;
                }
            }
        }
        Some(event)
    }
}

async fn forward(subscriber: Arc<Subscriber>, sender: mpsc::Sender<WatchEvent>) {
    loop {
        // The place in the channel comes first: what waits for it stays coalesced.
        let Ok(place) = sender.reserve().await else {
            break;
        };
        let (event, closed) = {
            let mut queue = subscriber.lock();
            let event = queue.pop();
            if queue.events.len() == BACKLOG {
                subscriber.drained.notify_waiters();
            }
            (event, queue.closed)
        };
        match event {
            Some(event) => place.send(event),
            None if closed => return,
            None => {
                drop(place);
                tokio::select! {
                    () = subscriber.wake.notified() => {}
                    () = sender.closed() => break,
                }
            }
        }
    }
    let mut queue = subscriber.lock();
    queue.closed = true;
    queue.events.clear();
    subscriber.drained.notify_waiters();
}

/// So many events are little.
const BACKLOG: usize = 500;

#[cfg(test)]
mod tests;
