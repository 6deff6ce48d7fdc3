//! One watch: a list at a revision, then etcd's watch from there.
//!
//! ```text
//!              ┌── connection lost: the same watch from where it stood ──┐
//!   list ──▶ watch ──────────────────────────────────────────────────────┘
//!     ▲        └── compacted, or another etcd than before ──┐
//!     └────────────────────── list anew ───────────────────┘  what is no longer there is deleted, in sync again
//! ```
//!
//! While etcd is away that is a fault which the watch tells; what is known stands.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tonic::{Status, Streaming};

use super::client::{Client, Listing, Position};
use super::layout::{self, Range};
use super::link;
use super::value::{self, Reading};
use super::wire::{KeyValue, WatchCreateRequest, WatchResponse};
use crate::hub::{Change, Hub};
use crate::pause::Pause;
use crate::resources;
use crate::store::{Key, Kind, Object, StoreError, Watcher};

pub(super) struct Follower {
    client: Arc<Client>,
    kinds: Vec<Kind>,
    places: Vec<Place>,
    /// Where etcd was when we last looked.
    position: Position,
    /// What the watch has been told is there, with its revision.
    known: HashMap<Key, i64>,
    /// Entries that cannot be read, by their keys in etcd.
    faulty: BTreeMap<Vec<u8>, StoreError>,
    /// Why etcd cannot be reached.
    lost: Option<StoreError>,
    published: Vec<String>,
    hub: Hub,
    pause: Pause,
}

/// A range of keys that is watched.
struct Place {
    kind: Kind,
    range: Range,
    /// From this revision on.
    next: i64,
    /// etcd has confirmed the watch.
    watched: bool,
}

/// Why a watch ended.
enum End {
    /// What it needs next is no longer kept, or cannot be had in one piece.
    Compacted,
    Lost(StoreError),
}

impl Follower {
    /// Lists. The watcher has all of it; the last is done when nobody watches any more.
    pub(super) async fn begin(
        client: Arc<Client>,
        kinds: &[Kind],
    ) -> Result<(Follower, Watcher, JoinHandle<()>), StoreError> {
        let listing = client.list(kinds).await?;
        let mut places = Vec::new();
        for kind in kinds {
            places.extend(layout::ranges(*kind).into_iter().map(|range| Place {
                kind: *kind,
                range,
                next: 0,
                watched: false,
            }));
        }
        let mut follower = Follower {
            client,
            kinds: kinds.to_vec(),
            places,
            position: listing.position,
            known: HashMap::new(),
            faulty: BTreeMap::new(),
            lost: None,
            published: Vec::new(),
            hub: Hub::default(),
            pause: Pause::new(),
        };
        let changes = follower.take_in(listing);
        let objects: Vec<Object> = changes
            .into_iter()
            .filter_map(|change| change.object)
            .collect();
        let faults: Vec<StoreError> = follower.faulty.values().cloned().collect();
        follower.published = faults.iter().map(ToString::to_string).collect();
        let (watcher, gone) =
            follower
                .hub
                .subscribe_until_gone(kinds, objects.into_iter(), &faults, true);
        Ok((follower, watcher, gone))
    }

    /// Until nobody watches any more.
    pub(super) async fn run(mut self, mut gone: JoinHandle<()>) {
        let mut afresh = false;
        loop {
            let end = tokio::select! {
                _ = &mut gone => return,
                end = Box::pin(self.follow(afresh)) => end,
            };
            afresh = matches!(end, End::Compacted);
            if let End::Lost(error) = end {
                // Once, and not with every try of hours.
                match self.lost {
                    None => tracing::warn!(%error, "the watch of etcd is interrupted"),
                    Some(_) => tracing::debug!(%error, "the watch of etcd is still interrupted"),
                }
                self.lost = Some(error);
                self.publish_faults();
                tokio::select! {
                    _ = &mut gone => return,
                    () = tokio::time::sleep(self.pause.next()) => {}
                }
            }
        }
    }

    /// Watches until that ends.
    async fn follow(&mut self, afresh: bool) -> End {
        match self.try_follow(afresh).await {
            Ok(end) => end,
            Err(error) => End::Lost(error),
        }
    }

    async fn try_follow(&mut self, afresh: bool) -> Result<End, StoreError> {
        let position = self.client.position().await?;
        // Restored from a backup, or replaced: its revisions have nothing to do with what we know.
        let another = position.cluster != self.position.cluster
            || self
                .places
                .iter()
                .any(|place| place.next > position.revision + 1);
        if another {
            tracing::warn!(
                revision = position.revision,
                "etcd is another, or has gone back in its history: all is listed anew"
            );
            self.known.values_mut().for_each(|revision| *revision = 0);
        }
        if another || afresh {
            self.relist().await?;
        }
        let mut stream = self.open().await?;
        loop {
            match stream.message().await {
                Ok(Some(response)) => {
                    if let Some(end) = self.handle(&response) {
                        return Ok(end);
                    }
                }
                Ok(None) => return Err(self.client.lost(&Status::cancelled("the watch ended"))),
                // A list is in pages.
                Err(status) if link::is_size(&status) => return Ok(End::Compacted),
                Err(status) => return Err(self.client.lost(&status)),
            }
        }
    }

    /// Opens a stream with a watch for each place.
    async fn open(&mut self) -> Result<Streaming<WatchResponse>, StoreError> {
        let mut watches = Vec::new();
        for (index, place) in self.places.iter_mut().enumerate() {
            place.watched = false;
            let (key, range_end) = place.range.bounds();
            watches.push(WatchCreateRequest {
                key,
                range_end,
                start_revision: place.next,
                progress_notify: true,
                watch_id: watch_id(index),
            });
        }
        self.client.watch(watches).await
    }

    fn handle(&mut self, response: &WatchResponse) -> Option<End> {
        let index = usize::try_from(response.watch_id - FIRST_ID).ok();
        if response.canceled {
            if response.compact_revision > 0 {
                tracing::info!(
                    compacted = response.compact_revision,
                    "etcd no longer has the changes that were missed: all is listed anew"
                );
                return Some(End::Compacted);
            }
            let why = format!("the watch was ended: {}", response.cancel_reason);
            return Some(End::Lost(self.client.lost(&Status::cancelled(why))));
        }
        let place = self.places.get_mut(index?)?;
        if response.created {
            place.watched = true;
            if self.places.iter().all(|place| place.watched) {
                self.pause.reset();
                if self.lost.take().is_some() {
                    tracing::info!("the watch of etcd goes on");
                }
                self.publish_faults();
            }
            return None;
        }
        let kind = place.kind;
        let last = response.events.last().and_then(|event| event.kv.as_ref());
        let seen = match (last, &response.header) {
            (Some(last), _) => last.mod_revision,
            // A note that there was nothing up to here.
            (None, Some(header)) => header.revision,
            (None, None) => 0,
        };
        place.next = place.next.max(seen + 1);
        let mut changes = Vec::new();
        for event in &response.events {
            if let Some(found) = &event.kv {
                changes.extend(match event.is_deletion() {
                    false => self.set(kind, found),
                    true => self.gone(kind, found),
                });
            }
        }
        self.hub.publish(&changes);
        self.publish_faults();
        None
    }

    async fn relist(&mut self) -> Result<(), StoreError> {
        let listing = self.client.list(&self.kinds).await?;
        let changes = self.take_in(listing);
        self.hub.publish(&changes);
        self.hub.publish_in_sync();
        self.publish_faults();
        Ok(())
    }

    /// Compares what is there with what is known.
    fn take_in(&mut self, listing: Listing) -> Vec<Change> {
        self.position = listing.position;
        for place in &mut self.places {
            place.next = listing.position.revision + 1;
        }
        self.faulty.clear();
        let mut changes = Vec::new();
        let mut there = HashSet::new();
        for (kind, found) in &listing.values {
            if let Ok(located) = layout::locate(*kind, &found.key) {
                there.insert(located.key());
            }
            changes.extend(self.set(*kind, found));
        }
        let missing: Vec<Key> = self
            .known
            .keys()
            .filter(|key| !there.contains(*key))
            .cloned()
            .collect();
        for key in missing {
            self.known.remove(&key);
            changes.push(Change { key, object: None });
        }
        changes
    }

    /// An entry as it is now. What cannot be read is a fault, and the last good state of that object stands.
    fn set(&mut self, kind: Kind, found: &KeyValue) -> Option<Change> {
        let fault = match value::read(kind, found) {
            Reading::Good(object) => {
                let faults = resources::faults_of(&object);
                if faults.is_empty() {
                    self.faulty.remove(&found.key);
                    let before = self.known.insert(object.key.clone(), found.mod_revision);
                    return (before != Some(found.mod_revision)).then(|| Change {
                        key: object.key.clone(),
                        object: Some(object),
                    });
                }
                StoreError::Invalid {
                    what: object.key.to_string(),
                    why: faults.join("; "),
                }
            }
            Reading::Unreadable(_, fault) | Reading::Foreign(fault) => fault,
        };
        self.faulty.insert(found.key.clone(), fault);
        None
    }

    fn gone(&mut self, kind: Kind, found: &KeyValue) -> Option<Change> {
        self.faulty.remove(&found.key);
        let key = layout::locate(kind, &found.key).ok()?.key();
        self.known.remove(&key)?;
        Some(Change { key, object: None })
    }

    fn publish_faults(&mut self) {
        let faults: Vec<StoreError> = self
            .lost
            .iter()
            .chain(self.faulty.values())
            .cloned()
            .collect();
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        if texts != self.published {
            self.published = texts;
            self.hub.publish_faults(&faults);
        }
    }
}

/// Watches of a stream are counted from here; 0 lets etcd choose.
const FIRST_ID: i64 = 1;

fn watch_id(index: usize) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX - FIRST_ID) + FIRST_ID
}
