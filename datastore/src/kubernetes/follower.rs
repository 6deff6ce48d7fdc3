//! One watch: of each kind a list, then the API server's watch from there, all over one connection.
//!
//! ```text
//!              ┌── connection lost, or ended in time: from where it stood ──┐
//!   list ──▶ watch ─────────────────────────────────────────────────────────┘
//!     ▲        └── 410 Gone, or the API server has gone back in its history ──┐
//!     └────────────────────── list anew ──────────────────────────────────────┘  what is no longer there is deleted,
//!                                                                                in sync again
//! ```
//!
//! *Which list.* `resourceVersion=0` would be answered from the cache of that API server, which may be older than what
//! we have read or written before, through another one: an object would come back that we have deleted, or a block
//! would not be there that we have just claimed. So the lists ask for the newest state; they are few, because a lost
//! watch goes on where it stood.
//!
//! *Large lists* are told page by page, and the next page is asked for when those who watch have taken most of the one before: in a
//! cluster of 150,000 Pods a whole list would be gigabytes. A list that breaks off begins anew; what is missing in it is deleted at its end.
//!
//! *A dead connection* is noticed by HTTP/2's PING within 20 s. What a proxy answers in place of the API server is
//! noticed by its silence: bookmarks come each minute where they come at all, and the API server ends each watch
//! after some minutes.
//!
//! *A kind that is not served* is empty: older installations of Calico lack some. Without those of addresses no pod gets one, so there it is a
//! fault, too, until the definition is installed.
//!
//! While the API server is away that is a fault which the watch tells; what is known stands.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::client::{Collection, Event, Failure, PAGE, TRIES};
use super::server::{At, Heard, Server};
use crate::hub::{Change, Hub};
use crate::pause::Pause;
use crate::store::{Key, Kind, Revision, StoreError, Watcher};

/// All kinds of one watch.
pub(super) struct Follower {
    tracks: Vec<Track>,
}

/// A list that is told part by part: no more of it is held than those who watch have not taken yet.
#[derive(Default)]
struct List {
    there: HashSet<At>,
    /// What the next part is asked for with.
    next: Option<String>,
}

/// One kind of a watch.
struct Track {
    server: Arc<Server>,
    told: Arc<Mutex<Told>>,
    kind: Kind,
    /// Where the watch goes on; `None`: with a list.
    position: Option<String>,
    /// The list that the watch has begun with, while it is not complete.
    list: List,
    /// The last watch was lost: the API server may be another one since.
    doubtful: bool,
    pause: Pause,
    /// While nothing of the kind is served.
    absence: Pause,
    /// While we may not read it.
    refusal: Pause,
}

/// What those who watch have been told.
struct Told {
    hub: Hub,
    known: HashMap<At, Known>,
    /// Kinds of which not all has been told yet.
    unlisted: HashSet<Kind>,
    /// Objects that cannot be read.
    faulty: BTreeMap<At, StoreError>,
    /// Why a kind is not followed at the moment.
    lost: BTreeMap<Kind, StoreError>,
    published: Vec<String>,
}

struct Known {
    key: Key,
    /// Of a Node or a Pod it is the version of what is ours of it: a kubelet writes to them every few minutes.
    revision: Option<Revision>,
}

/// Why a watch ended.
enum End {
    /// Its time was over.
    InTime,
    /// What it needs next is no longer kept.
    Expired,
    /// Nothing of the kind is served, and nothing is known of it.
    NotServed,
    /// We may not read it.
    Refused(StoreError),
    Lost(StoreError),
}

impl Follower {
    /// Begins to list. What fails at once is an error; the last is done when nobody watches any more.
    pub(super) async fn begin(
        server: &Arc<Server>,
        kinds: &[Kind],
    ) -> Result<(Follower, Watcher, JoinHandle<()>), StoreError> {
        let lists = kinds
            .iter()
            .map(|kind| server.part_to_watch(*kind, Some(PAGE), None));
        let lists = futures::future::join_all(lists).await;
        let told = Arc::new(Mutex::new(Told {
            hub: Hub::default(),
            known: HashMap::new(),
            unlisted: HashSet::new(),
            faulty: BTreeMap::new(),
            lost: BTreeMap::new(),
            published: Vec::new(),
        }));
        let mut objects = Vec::new();
        let mut tracks = Vec::new();
        let mut state = lock(&told);
        for (kind, list) in kinds.iter().zip(lists) {
            let mut track = Track {
                server: Arc::clone(server),
                told: Arc::clone(&told),
                kind: *kind,
                position: None,
                list: List::default(),
                doubtful: false,
                pause: Pause::new(),
                absence: Pause::up_to(match NEEDED.contains(kind) {
                    true => NEEDED_ABSENCE_MAX,
                    false => ABSENCE_MAX,
                }),
                refusal: Pause::up_to(REFUSAL_MAX),
            };
            match list {
                Ok(part) => {
                    let mut list = List::default();
                    let changes = state.take_in(part.items, &mut list);
                    objects.extend(changes.into_iter().filter_map(|change| change.object));
                    match part.next {
                        None => track.position = Some(part.resource_version),
                        next => {
                            track.list = List { next, ..list };
                            state.unlisted.insert(*kind);
                        }
                    }
                }
                Err(Failure::Absent(_)) => state.lack(server, *kind),
                // One right that is missing does not take away the others.
                Err(failure @ Failure::Forbidden(_)) => {
                    let error = server.failed(*kind, failure);
                    // Not all who watch tell their faults to people.
                    tracing::warn!(%error, %kind, "a kind cannot be followed");
                    state.lost.insert(*kind, error);
                }
                Err(failure) => return Err(server.failed(*kind, failure)),
            }
            tracks.push(track);
        }
        let faults = state.faults();
        state.published = faults.iter().map(ToString::to_string).collect();
        let complete = state.unlisted.is_empty();
        let (watcher, gone) =
            state
                .hub
                .subscribe_until_gone(kinds, objects.into_iter(), &faults, complete);
        drop(state);
        Ok((Follower { tracks }, watcher, gone))
    }

    /// Until nobody watches any more.
    pub(super) async fn run(self, gone: JoinHandle<()>) {
        let mut tracks = JoinSet::new();
        for track in self.tracks {
            tracks.spawn(track.run());
        }
        // What ends with an error has ended, too.
        let _ = gone.await;
    }
}

impl Track {
    async fn run(mut self) {
        loop {
            let end = match Box::pin(self.follow()).await {
                Ok(end) => end,
                Err(Failure::Expired) => End::Expired,
                Err(Failure::Absent(_)) if !lock(&self.told).knows(self.kind) => End::NotServed,
                Err(failure @ Failure::Forbidden(_)) => {
                    End::Refused(self.server.failed(self.kind, failure))
                }
                Err(failure) => End::Lost(self.server.failed(self.kind, failure)),
            };
            let pause = match end {
                End::InTime => continue,
                End::Expired => {
                    tracing::info!(kind = %self.kind, "the API server no longer has the changes that were missed: all is listed anew");
                    self.position = None;
                    // A server that says so each time is not asked without a pause.
                    self.pause.next()
                }
                End::NotServed => {
                    self.position = None;
                    let mut told = lock(&self.told);
                    told.lack(&self.server, self.kind);
                    told.do_without(self.kind);
                    drop(told);
                    self.absence.next()
                }
                End::Refused(error) => {
                    if lock(&self.told).lose(self.kind, error.clone()) {
                        tracing::warn!(%error, kind = %self.kind, "a kind cannot be followed");
                    }
                    lock(&self.told).do_without(self.kind);
                    self.refusal.next()
                }
                End::Lost(error) => {
                    self.doubtful = true;
                    // Once, and not with every try of hours.
                    match lock(&self.told).lose(self.kind, error.clone()) {
                        true => {
                            tracing::warn!(%error, kind = %self.kind, "a watch of Kubernetes is interrupted")
                        }
                        false => {
                            tracing::debug!(%error, kind = %self.kind, "a watch of Kubernetes is still interrupted")
                        }
                    }
                    self.pause.next()
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Watches until that ends, after a list where one is needed.
    async fn follow(&mut self) -> Result<End, Failure> {
        if !lock(&self.told).knows(self.kind) && self.position.is_none() {
            // Its definition may have come meanwhile, in whichever group.
            self.server.look_again().await?;
        }
        let collection = self.server.watched(self.kind)?;
        if self.doubtful
            && let Some(stood) = &self.position
        {
            let now = self.server.client().position(&collection).await?;
            if is_before(&now, stood) {
                tracing::warn!(kind = %self.kind, now, stood, "the API server has gone back in its history: all is listed anew");
                self.position = None;
            }
        }
        let position = match self.position.clone() {
            Some(position) => position,
            None => self.relist().await?,
        };
        self.doubtful = false;
        self.watch(&collection, position).await
    }

    async fn relist(&mut self) -> Result<String, Failure> {
        for _ in 0..TRIES {
            match self.list(Some(PAGE)).await {
                Err(Failure::Expired) => {}
                done => return done,
            }
        }
        // In one piece nothing can be compacted between two parts.
        self.list(None).await
    }

    /// Lists, or goes on with what has begun.
    async fn list(&mut self, limit: Option<usize>) -> Result<String, Failure> {
        let (server, kind) = (&self.server, self.kind);
        let mut list = std::mem::take(&mut self.list);
        loop {
            let backlog = lock(&self.told).hub.backlog();
            backlog.is_short().await;
            let part = server.part_to_watch(kind, limit, list.next.as_deref());
            let part = part.await?;
            let mut told = lock(&self.told);
            let changes = told.take_in(part.items, &mut list);
            told.hub.publish(&changes);
            match part.next {
                None => {
                    told.finish(kind, &list.there);
                    self.position = Some(part.resource_version.clone());
                    return Ok(part.resource_version);
                }
                next => list.next = next,
            }
        }
    }

    async fn watch(&mut self, collection: &Collection, position: String) -> Result<End, Failure> {
        let limit = limit();
        let client = self.server.client();
        let events = client.watch(collection, &position, limit).await?;
        let mut events = pin!(events);
        lock(&self.told).found(self.kind);
        self.refusal.reset();
        let mut silence = limit + GRACE;
        let began = Instant::now();
        loop {
            let event = match tokio::time::timeout(silence, events.next()).await {
                Ok(Some(event)) => event?,
                Ok(None) if began.elapsed() < SHORT => {
                    let why = "it has ended a watch at once".to_owned();
                    return Err(Failure::Unavailable(why));
                }
                Ok(None) => return Ok(End::InTime),
                Err(_) => {
                    let why = format!("it has been silent for {} s", silence.as_secs());
                    return Err(Failure::Unavailable(why));
                }
            };
            let version = match event {
                Event::Set(text) => {
                    let heard = self.server.heard(self.kind, &text);
                    let version = heard.version.clone();
                    lock(&self.told).hear(heard);
                    version
                }
                Event::Deleted(text) => {
                    let (at, version) = At::of(self.kind, &text);
                    lock(&self.told).hear_of_deletion(&at);
                    version
                }
                Event::Bookmark(version) => {
                    silence = silence.min(BOOKMARKS);
                    version
                }
            };
            if !version.is_empty() {
                self.position = Some(version);
            }
            self.pause.reset();
            self.absence.reset();
        }
    }
}

impl Told {
    /// Something of that kind is known.
    fn knows(&self, kind: Kind) -> bool {
        self.known.keys().any(|at| at.kind == kind)
    }

    /// A part of a list, compared with what is known.
    fn take_in(&mut self, part: Vec<Heard>, list: &mut List) -> Vec<Change> {
        let mut changes = Vec::new();
        for heard in part {
            list.there.insert(heard.at.clone());
            self.set(heard, &mut changes);
        }
        changes
    }

    /// The list of a kind is complete: what is not in it is gone.
    fn finish(&mut self, kind: Kind, there: &HashSet<At>) {
        let is_gone = |at: &At| at.kind == kind && !there.contains(at);
        self.faulty.retain(|at, _| !is_gone(at));
        let missing: Vec<At> = self
            .known
            .keys()
            .filter(|at| is_gone(at))
            .cloned()
            .collect();
        let mut changes = Vec::new();
        for at in missing {
            self.forget(&at, &mut changes);
        }
        self.lost.remove(&kind);
        self.hub.publish(&changes);
        self.publish_faults();
        self.unlisted.remove(&kind);
        if self.unlisted.is_empty() {
            self.hub.publish_in_sync();
        }
    }

    /// What of a kind there is cannot be told now: nobody waits for it.
    fn do_without(&mut self, kind: Kind) {
        if self.unlisted.remove(&kind) && self.unlisted.is_empty() {
            self.hub.publish_in_sync();
        }
    }

    fn hear(&mut self, heard: Heard) {
        let mut changes = Vec::new();
        self.set(heard, &mut changes);
        self.hub.publish(&changes);
        self.publish_faults();
    }

    fn hear_of_deletion(&mut self, at: &At) {
        let mut changes = Vec::new();
        self.forget(at, &mut changes);
        self.hub.publish(&changes);
        self.publish_faults();
    }

    /// A kind is followed, or there is nothing of it to be followed.
    fn found(&mut self, kind: Kind) {
        if self.lost.remove(&kind).is_some() {
            tracing::info!(%kind, "the watch of Kubernetes goes on");
            self.publish_faults();
        }
    }

    /// There is no definition of a kind.
    fn lack(&mut self, server: &Server, kind: Kind) {
        match NEEDED.contains(&kind) {
            true => {
                self.lose(kind, server.client().unavailable(server.not_served(kind)));
            }
            false => self.found(kind),
        }
    }

    /// A kind cannot be followed. Whether that is news.
    fn lose(&mut self, kind: Kind, error: StoreError) -> bool {
        let before = self.lost.insert(kind, error);
        self.publish_faults();
        before.is_none()
    }

    /// An object as it is now. What cannot be read is a fault, and the last good state of that object stands.
    fn set(&mut self, heard: Heard, changes: &mut Vec<Change>) {
        let Heard { at, reading, .. } = heard;
        let object = match reading.object {
            Ok(Some(object)) => object,
            // It is none of ours, or not any more.
            Ok(None) => return self.forget(&at, changes),
            Err(fault) => {
                self.faulty.insert(at, fault);
                return;
            }
        };
        self.faulty.remove(&at);
        let known = Known {
            key: object.key.clone(),
            revision: object.revision.clone(),
        };
        if let Some(before) = self.known.get(&at) {
            if before.revision == known.revision && before.key == known.key {
                return;
            }
            if before.key != known.key {
                let key = before.key.clone();
                changes.push(Change { key, object: None });
            }
        }
        self.known.insert(at, known);
        changes.push(Change {
            key: object.key.clone(),
            object: Some(object),
        });
    }

    fn forget(&mut self, at: &At, changes: &mut Vec<Change>) {
        self.faulty.remove(at);
        if let Some(Known { key, .. }) = self.known.remove(at) {
            changes.push(Change { key, object: None });
        }
    }

    fn faults(&self) -> Vec<StoreError> {
        // When the API server is away, all kinds say the same.
        let mut said = HashSet::new();
        let lost = self.lost.values();
        lost.chain(self.faulty.values())
            .filter(|fault| said.insert(fault.to_string()))
            .cloned()
            .collect()
    }

    fn publish_faults(&mut self) {
        if self.lost.is_empty() && self.faulty.is_empty() && self.published.is_empty() {
            return;
        }
        let faults = self.faults();
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        if texts != self.published {
            self.published = texts;
            self.hub.publish_faults(&faults);
        }
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    // It is consistent between any two statements that could panic.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a place in history is before another. Only numbers are compared, which is what the API server's etcd gives.
fn is_before(now: &str, stood: &str) -> bool {
    match (now.parse::<u64>(), stood.parse::<u64>()) {
        (Ok(now), Ok(stood)) => now < stood,
        _ => false,
    }
}

/// How long a watch may take: different each time, so that not all of a cluster's watches end at once.
fn limit() -> Duration {
    let random = RandomState::new().hash_one(0) % LIMIT_MIN.as_secs();
    LIMIT_MIN + Duration::from_secs(random)
}

/// A watch takes between once and twice this.
const LIMIT_MIN: Duration = Duration::from_secs(240);
/// By so much the API server may be late to end a watch.
const GRACE: Duration = Duration::from_secs(30);
/// Where bookmarks come, they come each minute.
const BOOKMARKS: Duration = Duration::from_secs(150);
/// How long a definition that is installed may remain unseen.
const ABSENCE_MAX: Duration = Duration::from_secs(300);
/// Kinds without which no pod gets an address: every installation has them.
const NEEDED: [Kind; 4] = [
    Kind::IPPool,
    Kind::IPAMBlock,
    Kind::BlockAffinity,
    Kind::IPAMHandle,
];
/// The same for them.
const NEEDED_ABSENCE_MAX: Duration = Duration::from_secs(10);
/// How long a right that was granted may remain unused.
const REFUSAL_MAX: Duration = Duration::from_secs(60);
/// A watch that is shorter was not one, and the next is not asked for without a pause.
const SHORT: Duration = Duration::from_secs(1);
