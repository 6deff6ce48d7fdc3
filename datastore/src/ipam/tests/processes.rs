//! Writers in processes of their own, each a node, that take and give back addresses of one small pool and crash
//! between any two of their writes, again and again.
//!
//! ```text
//!   parent ── starts ──► writer 0 … n     the program of these tests anew, as the test `writer`
//!      ▲                    │  aborts itself before or after its kth write, and is started again
//!      └── reads ── log ◄───┘  one line before and after each request, appended whole, so in one order for all
//! ```
//!
//! A writer writes down *takes* before it asks, *has* when it was given, *gives* before it gives back and *gone* after.
//! An address that somebody *has* and another then *has* before the first *gives* was given twice, at whatever moment.
//!
//! `CARACAL_IPAM_WRITERS` and `CARACAL_IPAM_ROUNDS` make it larger (20 and 1000 is the full size), `CARACAL_IPAM_LIFE`
//! lets a process live for more writes than 30 on average, `CARACAL_IPAM_SEED` makes it other.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicI64;
use std::time::Instant;

use async_trait::async_trait;

use super::*;
use crate::etcd::with_etcd::server::Server;
use crate::etcd::{EtcdConfig, EtcdDatastore};
use crate::file::{FileDatastore, FileOptions};
use crate::store::{Object, Revision, Watcher};

/// How many addresses a writer holds at once, at most, and when it is done.
const HELD_MAX: usize = 8;
const KEPT: usize = 2;
/// A writer lives for so many writes, on average, unless it is said otherwise.
const WRITES_OF_A_LIFE: u64 = 30;

/// Where the writers' store is; in words, for their environment.
#[derive(Debug, Clone)]
enum Place {
    File(String),
    Etcd(String),
}

impl Place {
    fn parse(text: &str) -> Place {
        match text.split_once(' ').unwrap() {
            ("file", path) => Place::File(path.to_owned()),
            ("etcd", url) => Place::Etcd(url.to_owned()),
            other => panic!("{other:?}"),
        }
    }

    fn text(&self) -> String {
        match self {
            Place::File(path) => format!("file {path}"),
            Place::Etcd(url) => format!("etcd {url}"),
        }
    }

    async fn open(&self) -> Arc<dyn Datastore> {
        match self {
            Place::File(path) => {
                let options = FileOptions {
                    durable: false,
                    lock_timeout: Duration::from_secs(60),
                    ..FileOptions::default()
                };
                let store = FileDatastore::open_with(Path::new(path), options).await;
                Arc::new(store.unwrap())
            }
            Place::Etcd(url) => {
                let config = EtcdConfig {
                    endpoints: vec![url.clone()],
                    ..EtcdConfig::default()
                };
                Arc::new(EtcdDatastore::connect(&config).await.unwrap())
            }
        }
    }
}

/// Ends the process at a certain write.
#[derive(Debug)]
struct Dying {
    store: Arc<dyn Datastore>,
    left: AtomicI64,
    /// The last write is done, and its answer never seen.
    after: bool,
}

impl Dying {
    async fn write<T>(&self, act: impl Future<Output = T>) -> T {
        let last = self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        if last && !self.after {
            std::process::abort();
        }
        let result = act.await;
        if last {
            std::process::abort();
        }
        result
    }
}

#[async_trait]
impl Datastore for Dying {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.store.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.store.list(kind).await
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.write(self.store.create(object)).await
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.write(self.store.update(object)).await
    }
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.write(self.store.delete(key, revision)).await
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.store.watch(kinds).await
    }
}

/// Numbers from a seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// How far a writer is with a handle.
#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Takes,
    Has(IpAddr),
    Gives,
    Gone,
}

/// What a log says, line by line.
fn lines(log: &str) -> impl Iterator<Item = (Stage, String)> {
    log.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["takes", handle] => (Stage::Takes, (*handle).to_owned()),
            ["has", handle, address] => {
                (Stage::Has(address.parse().unwrap()), (*handle).to_owned())
            }
            ["gives", handle] => (Stage::Gives, (*handle).to_owned()),
            ["gone", handle] => (Stage::Gone, (*handle).to_owned()),
            _ => panic!("{line:?}"),
        }
    })
}

/// One life of a writer.
struct Life {
    ipam: Ipam,
    node: String,
    log: File,
    dice: Dice,
    held: BTreeMap<String, IpAddr>,
}

impl Life {
    fn note(&mut self, line: &str) {
        self.log.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    async fn take(&mut self, handle: &str) {
        self.note(&format!("takes {handle}"));
        match self.ipam.assign(request(handle, &self.node)).await {
            Ok(given) => {
                let address = given[0].address;
                self.note(&format!("has {handle} {address}"));
                self.held.insert(handle.to_owned(), address);
            }
            // As the runtime does: what was tried is deleted.
            Err(error) => {
                eprintln!("{handle}: {error}");
                self.give(handle).await;
            }
        }
    }

    async fn give(&mut self, handle: &str) {
        self.note(&format!("gives {handle}"));
        self.held.remove(handle);
        while let Err(error) = self.ipam.release_handle(handle).await {
            eprintln!("{handle}: {error}");
        }
        self.note(&format!("gone {handle}"));
    }

    async fn give_any(&mut self) {
        let at = self.dice.roll(self.held.len().max(1) as u64) as usize;
        if let Some(handle) = self.held.keys().nth(at).cloned() {
            self.give(&handle).await;
        }
    }

    /// What an earlier life left half done. Returns how many handles there were.
    async fn take_up(&mut self, before: &str) -> usize {
        let prefix = format!("{}.", self.node);
        let mut stages = BTreeMap::new();
        for (stage, handle) in lines(before).filter(|(_, handle)| handle.starts_with(&prefix)) {
            stages.insert(handle, stage);
        }
        for (handle, stage) in &stages {
            match stage {
                Stage::Gone => {}
                Stage::Gives => self.give(handle).await,
                // The runtime asks again, or has given up.
                Stage::Takes if self.dice.roll(2) == 0 => self.give(handle).await,
                Stage::Takes => self.take(handle).await,
                Stage::Has(address) if self.dice.roll(2) == 0 => {
                    self.held.insert(handle.clone(), *address);
                }
                Stage::Has(_) => self.take(handle).await,
            }
        }
        stages.len()
    }

    async fn live(&mut self, before: &str, rounds: usize) {
        let begun = self.take_up(before).await;
        self.tend().await;
        for round in begun..rounds {
            let handle = format!("{}.{round}", self.node);
            self.take(&handle).await;
            while self.held.len() >= HELD_MAX || self.dice.roll(2) == 0 && !self.held.is_empty() {
                self.give_any().await;
            }
            if self.dice.roll(10) == 0 {
                self.tend().await;
            }
        }
        while self.held.len() > KEPT {
            self.give_any().await;
        }
    }

    async fn tend(&self) {
        if let Err(error) = self.ipam.tend().await {
            eprintln!("{}: {error}", self.node);
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("CARACAL_IPAM_{name}")).ok()
}

fn number(name: &str, otherwise: u64) -> u64 {
    variable(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[tokio::test]
#[ignore = "is a process of the tests beside it, which start it"]
async fn writer() {
    let Some(node) = variable("NODE") else {
        return;
    };
    let mut dice = Dice(number("SEED", 0));
    let store = Dying {
        store: Place::parse(&variable("STORE").unwrap()).open().await,
        left: AtomicI64::new(dice.roll(2 * number("LIFE", WRITES_OF_A_LIFE)) as i64 + 1),
        after: dice.roll(2) == 0,
    };
    let path = variable("LOG").unwrap();
    let before = std::fs::read_to_string(&path).unwrap();
    let ipam = Ipam::new(Arc::new(store), node.clone());
    if dice.roll(2) == 0 {
        ipam.follow().await.unwrap();
    }
    let mut life = Life {
        ipam,
        node,
        log: OpenOptions::new().append(true).open(path).unwrap(),
        dice,
        held: BTreeMap::new(),
    };
    life.live(&before, number("ROUNDS", 0) as usize).await;
}

/// One writer, life after life. Returns how often it crashed.
fn run_writer(node: &str, place: &Place, log: &Path, rounds: u64, mut dice: Dice) -> usize {
    for crashes in 0.. {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "ipam::tests::processes::writer"])
            .args(["--ignored", "--nocapture", "--test-threads=1"])
            .env("CARACAL_IPAM_NODE", node)
            .env("CARACAL_IPAM_STORE", place.text())
            .env("CARACAL_IPAM_LOG", log)
            .env("CARACAL_IPAM_ROUNDS", rounds.to_string())
            .env("CARACAL_IPAM_SEED", dice.roll(u64::MAX).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            return crashes;
        }
        let text = String::from_utf8_lossy(&output.stderr);
        // Its own doing.
        assert_eq!(output.status.signal(), Some(6), "{node}: {text}");
    }
    unreachable!()
}

/// What is held by whom at the end. No address was ever given to two, and no handle two addresses.
fn held_at_the_end(log: &str) -> BTreeMap<IpAddr, String> {
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    for (stage, handle) in lines(log) {
        match stage {
            Stage::Has(address) => {
                let other = owners.insert(address, handle.clone());
                let twice = other.filter(|other| *other != handle);
                assert_eq!(twice, None, "{address} was given to {handle}, too");
                let count = owners.values().filter(|owner| **owner == handle).count();
                assert_eq!(count, 1, "{handle} was given {address} beside another");
            }
            Stage::Gives => owners.retain(|_, owner| *owner != handle),
            Stage::Takes | Stage::Gone => {}
        }
    }
    owners
}

async fn writers_that_crash(place: Place) {
    let (writers, rounds) = (number("WRITERS", 4), number("ROUNDS", 25));
    let seed = number("SEED", 1);
    println!("{writers} writers, {rounds} rounds, seed {seed}, {place:?}");
    let typed = TypedStore(place.open().await);
    // So small that writers take from one another.
    let mut pool = IPPool::new(net(match writers {
        0..8 => "10.0.0.0/27",
        _ => "10.0.0.0/24",
    }));
    pool.block_size = Some(30);
    typed.create(Stored::new("p", pool)).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    File::create(&path).unwrap();
    let begin = Instant::now();
    let nodes: Vec<String> = (0..writers).map(|index| format!("w{index}")).collect();
    let crashes: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..writers)
            .zip(&nodes)
            .map(|(index, node)| {
                let (path, place) = (&path, &place);
                let dice = Dice(seed.wrapping_mul(1000) + index);
                scope.spawn(move || run_writer(node, place, path, rounds, dice))
            })
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).sum()
    });
    let log = std::fs::read_to_string(&path).unwrap();
    println!(
        "{crashes} crashes, {} lines, {} s",
        log.lines().count(),
        begin.elapsed().as_secs()
    );
    assert!(crashes > 0);
    let held = held_at_the_end(&log);
    assert!((1..=writers as usize * KEPT).contains(&held.len()));
    let given_back = log.lines().filter(|line| line.starts_with("gone")).count();
    assert!(given_back as u64 >= writers * (rounds - KEPT as u64));

    // What may have been a write under way is put right when its grace is over.
    for later in [0, 700, 1400] {
        let clock: Clock = Arc::new(move || SystemTime::now() + Duration::from_secs(later));
        for node in &nodes {
            let ipam = Ipam::with_clock(Arc::clone(&typed.0), node.clone(), Arc::clone(&clock));
            ipam.tend_everything().await.unwrap();
            let hour: Clock = Arc::new(move || SystemTime::now() + Duration::from_secs(later + 61));
            let ipam = Ipam {
                clock: hour,
                ..ipam
            };
            ipam.tend().await.unwrap();
        }
    }
    let (blocks, faults) = typed.list::<IPAMBlock>().await.unwrap();
    assert!(faults.is_empty(), "{faults:?}");
    let (affinities, _) = typed.list::<BlockAffinity>().await.unwrap();
    let (handles, _) = typed.list::<IPAMHandle>().await.unwrap();
    assert_eq!(audit(&blocks, &affinities, &handles), []);
    let stored: BTreeMap<IpAddr, String> = blocks
        .iter()
        .flat_map(|stored| block::allocated(&stored.spec))
        .filter_map(|(address, attribute)| Some((address, attribute.handle_id.clone()?)))
        .collect();
    assert_eq!(stored, held, "leaked, or lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_on_one_folder_that_crash_at_any_write_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    writers_that_crash(Place::File(path)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
async fn writers_with_etcd_that_crash_at_any_write_lose_and_double_nothing() {
    let server = Server::start().await;
    let url = server.config().endpoints[0].clone();
    writers_that_crash(Place::Etcd(url)).await;
}
