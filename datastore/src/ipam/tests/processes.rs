//! Writers in processes of their own, each a node, that take and give back addresses of one small pool and crash
//! between any two of their writes, again and again. Some never come back.
//!
//! ```text
//!   parent ── starts ──► writer 0 … n     the program of these tests anew, as the test `writer::lives`
//!      ▲  │                 │  aborts itself before, in or after its kth write, and is started again,
//!      │  │                 │  or is lost: its Node is deleted, and the records of its pods
//!      │  └─ collector      │
//!      └── reads ── log ◄───┘  one line before and after each request, appended whole, so in one order for all
//! ```
//!
//! A writer writes down *takes* before it asks, *has* when it was given and its record is written, *gives* before it
//! gives back and *gone* after. An address that somebody *has* and another then *has* before the first *gives*, or is
//! lost, was given twice, at whatever moment.
//!
//! The garbage collector runs beside the writers all the time. What a writer that lives has must stay its own; what the
//! lost ones had must be free at the end, and nothing may speak of them.
//!
//! `CARACAL_IPAM_WRITERS` and `CARACAL_IPAM_ROUNDS` make it larger (20 and 1000 is the full size), `CARACAL_IPAM_LIFE`
//! lets a process live for more writes than 30 on average, `CARACAL_IPAM_SEED` makes it other.

mod place;
mod writer;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::*;
use crate::etcd::with_etcd::server::Server;
use crate::ipam::collect::{Collector, Settings, Snapshot};
use crate::kubernetes::with_kubernetes::server::server;
use place::{Place, Site};
use writer::{Dice, Stage, handle, lines, pods_of};

/// How many addresses a writer has when it is done, at most.
const KEPT: usize = 2;

/// The collector's grace time: more than [`crate::ipam::collect::GRACE_MIN`], and little enough to matter in a long run.
const GRACE: Settings = Settings {
    grace: Duration::from_secs(65),
    repairs_max: 256,
};

fn variable(name: &str) -> Option<String> {
    std::env::var(format!("CARACAL_IPAM_{name}")).ok()
}

fn number(name: &str, otherwise: u64) -> u64 {
    variable(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// A writer, as the parent sees it.
struct Writer<'a> {
    node: &'a str,
    place: &'a Place,
    log: &'a Path,
    rounds: u64,
    dice: Dice,
}

impl Writer<'_> {
    /// Life after life, so many at most. Returns how often it crashed.
    fn run(&mut self, lives: u64) -> u64 {
        for crashes in 0..lives {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "ipam::tests::processes::writer::lives"])
                .args(["--ignored", "--nocapture", "--test-threads=1"])
                .env("CARACAL_IPAM_NODE", self.node)
                .env("CARACAL_IPAM_STORE", self.place.text())
                .env("CARACAL_IPAM_LOG", self.log)
                .env("CARACAL_IPAM_ROUNDS", self.rounds.to_string())
                .env("CARACAL_IPAM_SEED", self.dice.roll(u64::MAX).to_string())
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
            assert_eq!(output.status.signal(), Some(6), "{}: {text}", self.node);
        }
        lives
    }
}

/// What is held by which pod at the end. No address was ever given to two, and no pod two addresses.
fn held_at_the_end(log: &str) -> BTreeMap<IpAddr, String> {
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    for (stage, name) in lines(log) {
        match stage {
            Stage::Has(address) => {
                let other = owners.insert(address, name.clone());
                let twice = other.filter(|other| *other != name);
                assert_eq!(twice, None, "{address} was given to {name}, too");
                let count = owners.values().filter(|owner| **owner == name).count();
                assert_eq!(count, 1, "{name} was given {address} beside another");
            }
            Stage::Gives => owners.retain(|_, owner| *owner != name),
            Stage::Lost => owners.retain(|_, owner| !owner.starts_with(&pods_of(&name))),
            Stage::Takes | Stage::Gone => {}
        }
    }
    owners
}

/// The garbage collector, with what it has done by kind.
struct Gc {
    ipam: Ipam,
    site: Arc<Site>,
    collector: Collector,
    done: BTreeMap<&'static str, usize>,
}

impl Gc {
    /// Returns whether there is nothing left to be put right.
    async fn round(&mut self, now: Duration) -> bool {
        let snapshot = Snapshot::load(&*self.site.store).await.unwrap();
        let collector = &mut self.collector;
        let round = self
            .ipam
            .collect(&snapshot, collector, GRACE, now, &|| true)
            .await;
        if let Some(error) = &round.error {
            eprintln!("collector: {error}");
        }
        for (repair, why) in &round.done {
            println!("collector: {repair}: {why}");
            *self.done.entry(repair.kind()).or_default() += 1;
        }
        let quiet = round.done.is_empty() && round.waiting + round.spared + round.left == 0;
        quiet && round.error.is_none() && round.held.is_none()
    }

    /// Until it is told to end.
    async fn run(mut self, begin: Instant, mut end: tokio::sync::oneshot::Receiver<()>) -> Gc {
        let mut tick = tokio::time::interval(Duration::from_secs(2));
        loop {
            tokio::select! {
                _ = &mut end => return self,
                _ = tick.tick() => drop(self.round(begin.elapsed()).await),
            }
        }
    }
}

async fn writers_that_crash(place: Place) {
    let (writers, rounds) = (number("WRITERS", 4), number("ROUNDS", 25));
    let lost = writers.div_ceil(5);
    let seed = number("SEED", 1);
    println!("{writers} writers, {lost} of them lost, {rounds} rounds, seed {seed}, {place:?}");
    let site = Arc::new(place.open().await);
    let typed = TypedStore(Arc::clone(&site.store));
    // So small that writers take from one another.
    let mut pool = IPPool::new(net(match writers {
        0..8 => "10.0.0.0/27",
        _ => "10.0.0.0/24",
    }));
    pool.block_size = Some(30);
    typed.create(Stored::new("p", pool)).await.unwrap();
    let nodes: Vec<String> = (0..writers).map(|index| format!("w{index}")).collect();
    for node in &nodes {
        site.add_node(node).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    File::create(&path).unwrap();
    let begin = Instant::now();
    let gc = Gc {
        ipam: Ipam::new(Arc::clone(&site.store), "leader".to_owned()),
        site: Arc::clone(&site),
        collector: Collector::default(),
        done: BTreeMap::new(),
    };
    let (end, ended) = tokio::sync::oneshot::channel();
    let gc = tokio::spawn(gc.run(begin, ended));
    let runtime = tokio::runtime::Handle::current();
    let one = |index: u64| {
        let mut writer = Writer {
            node: &nodes[index as usize],
            place: &place,
            log: &path,
            rounds,
            dice: Dice(seed.wrapping_mul(1000) + index),
        };
        if index >= lost {
            return writer.run(u64::MAX);
        }
        let lives = 1 + writer.dice.roll(rounds.div_ceil(10));
        let crashes = writer.run(lives);
        let mut log = OpenOptions::new().append(true).open(&path).unwrap();
        log.write_all(format!("lost {}\n", writer.node).as_bytes())
            .unwrap();
        runtime.block_on(site.remove_node(writer.node));
        crashes
    };
    let crashes: u64 = std::thread::scope(|scope| {
        let one = &one;
        let threads: Vec<_> = (0..writers)
            .map(|index| scope.spawn(move || one(index)))
            .collect();
        threads.into_iter().map(|one| one.join().unwrap()).sum()
    });
    end.send(()).unwrap();
    let mut gc = gc.await.unwrap();
    let log = std::fs::read_to_string(&path).unwrap();
    println!(
        "{crashes} crashes, {} lines, {} s, collected meanwhile: {:?}",
        log.lines().count(),
        begin.elapsed().as_secs(),
        gc.done
    );
    assert!(crashes > 0);
    let held = held_at_the_end(&log);
    let (gone, alive) = nodes.split_at(lost as usize);
    assert!((1..=alive.len() * KEPT).contains(&held.len()));
    let given_back = log.lines().filter(|line| line.starts_with("gone")).count();
    assert!(given_back as u64 >= alive.len() as u64 * (rounds - KEPT as u64));

    // What may have been a write under way is put right when its grace is over: by the nodes for themselves, …
    for later in [0, 700, 1400] {
        let clock: Clock = Arc::new(move || SystemTime::now() + Duration::from_secs(later));
        for node in alive {
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
    // … and by the collector for those that are gone. What is put right shows what else is to be.
    let mut looks = 0;
    while !gc.round(begin.elapsed() + GRACE.grace * looks).await {
        looks += 1;
        assert!(looks < 20, "the collector finds no end: {:?}", gc.done);
    }
    println!("collected: {:?}", gc.done);
    assert!(gc.done.contains_key("node"), "{:?}", gc.done);
    let (blocks, faults) = typed.list::<IPAMBlock>().await.unwrap();
    assert!(faults.is_empty(), "{faults:?}");
    let (affinities, _) = typed.list::<BlockAffinity>().await.unwrap();
    let (handles, _) = typed.list::<IPAMHandle>().await.unwrap();
    assert_eq!(audit(&blocks, &affinities, &handles), []);
    for node in gone {
        let claims = affinities.iter().filter(|stored| stored.spec.node == *node);
        assert_eq!(claims.count(), 0, "claims of {node}, which is gone");
        let of_it = |stored: &&Stored<IPAMBlock>| block::node_of(&stored.spec) == Some(node);
        assert_eq!(blocks.iter().filter(of_it).count(), 0, "blocks of {node}");
    }
    let stored: BTreeMap<IpAddr, String> = blocks
        .iter()
        .flat_map(|stored| block::allocated(&stored.spec))
        .filter_map(|(address, attribute)| Some((address, attribute.handle_id.clone()?)))
        .collect();
    let held: BTreeMap<IpAddr, String> = held
        .into_iter()
        .map(|(address, pod)| (address, handle(&pod)))
        .collect();
    assert_eq!(stored, held, "leaked, or lost");
    let counted: BTreeSet<&String> = handles.iter().map(|one| &one.spec.handle_id).collect();
    assert_eq!(counted, held.values().collect(), "handles without a block");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a kube-apiserver (built from Debian's source): ./tests/run kubernetes"]
async fn writers_with_kubernetes_that_crash_at_any_write_lose_and_double_nothing() {
    let server = server().await;
    let kubeconfig = server.as_ref().unwrap().config().kubeconfig.unwrap();
    let path = kubeconfig.display().to_string();
    writers_that_crash(Place::Kubernetes(path)).await;
}
