//! How long a thousand addresses take, with an etcd of its own on loopback, beside as many bare transactions.
//!
//! `cargo run --release -p caracal-datastore --example ipam_bench`. Needs `etcd` and `etcdctl` (Debian: etcd-server, etcd-client).
//! `ADDRESSES=1000` is how many, `RUNS=3` how often; a figure is the median of the runs.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use caracal_datastore::ipam::{AssignRequest, Ipam};
use caracal_datastore::{
    Datastore, EtcdConfig, EtcdDatastore, IPPool, Key, Kind, Object, Revision, StoreError, Stored,
    TypedStore, Watcher,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many transactions are asked of `etcdctl`: each is a process of its own, which is slow and steady.
const BY_ETCDCTL: usize = 100;

#[tokio::main]
async fn main() -> Outcome<()> {
    let addresses = number("ADDRESSES", 1000);
    let mut all: BTreeMap<&str, Vec<Figure>> = BTreeMap::new();
    for _ in 0..number("RUNS", 3) {
        for (name, figure) in run(addresses).await? {
            all.entry(name).or_default().push(figure);
        }
    }
    println!(
        "| {addresses} addresses | time | an address | writes | gets | lists | ratio to bare |"
    );
    println!("|---|---|---|---|---|---|---|");
    let median = |name: &str| {
        let mut figures = all.get(name).cloned().unwrap_or_default();
        figures.sort_by_key(|figure| figure.time);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    };
    let bare = median(BARE).time.as_secs_f64();
    for name in [ONE, TWENTY, RELEASE, BARE, ETCDCTL] {
        let figure = median(name);
        let seconds = figure.time.as_secs_f64();
        let each = |count: usize| count as f64 / addresses as f64;
        println!(
            "| {name} | {seconds:.2} s | {:.2} ms | {:.2} | {:.2} | {:.3} | {:.2} |",
            seconds * 1000.0 / addresses as f64,
            each(figure.writes),
            each(figure.gets),
            each(figure.lists),
            seconds / bare,
        );
    }
    Ok(())
}

const ONE: &str = "assign, one after the other";
const TWENTY: &str = "assign, twenty at a time";
const RELEASE: &str = "release, one after the other";
const BARE: &str = "bare: two transactions for each, through the same client";
const ETCDCTL: &str = "`etcdctl txn`, two for each (scaled from 100)";

#[derive(Debug, Clone, Copy, Default)]
struct Figure {
    time: Duration,
    writes: usize,
    gets: usize,
    lists: usize,
}

async fn run(addresses: usize) -> Outcome<Vec<(&'static str, Figure)>> {
    let server = Server::start().await?;
    let store = Arc::new(Counting::new(server.open().await?));
    let typed = TypedStore(store.clone());
    let pool = IPPool::new("10.0.0.0/16".parse()?);
    typed.create(Stored::new("pool", pool)).await?;
    let ipam = Arc::new(Ipam::new(store.clone(), "node-1".to_owned()));
    ipam.follow().await?;
    ipam.tend().await?;
    let mut figures = Vec::new();

    let begin = store.begin();
    for index in 0..addresses {
        ipam.assign(request(format!("k8s-pod-network.one-{index}")))
            .await?;
    }
    figures.push((ONE, store.end(begin)));

    let begin = store.begin();
    for index in 0..addresses {
        ipam.release_handle(&format!("k8s-pod-network.one-{index}"))
            .await?;
    }
    figures.push((RELEASE, store.end(begin)));

    let begin = store.begin();
    let workers: Vec<_> = (0..20)
        .map(|worker| {
            let ipam = Arc::clone(&ipam);
            tokio::spawn(async move {
                for index in (worker..addresses).step_by(20) {
                    ipam.assign(request(format!("k8s-pod-network.many-{index}")))
                        .await?;
                }
                Ok::<_, caracal_datastore::ipam::IpamError>(())
            })
        })
        .collect();
    for worker in workers {
        worker.await??;
    }
    figures.push((TWENTY, store.end(begin)));

    figures.push((BARE, bare(&store, addresses).await?));
    figures.push((ETCDCTL, server.by_etcdctl(addresses)?));
    Ok(figures)
}

fn request(handle: String) -> AssignRequest {
    let attributes = [
        ("node", "node-1"),
        ("namespace", "default"),
        ("pod", "a-pod-of-usual-length-7d4b9c"),
        ("timestamp", "2026-08-01 12:00:00 +0000 UTC"),
    ];
    AssignRequest {
        handle,
        attributes: attributes
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        ipv4: true,
        ..AssignRequest::default()
    }
}

/// The same two writes for each address, an IPAMHandle made and an IPAMBlock changed, with nothing decided.
async fn bare(store: &Arc<Counting>, addresses: usize) -> Outcome<Figure> {
    let blocks = store.list(Kind::IPAMBlock).await?;
    let handles = store.list(Kind::IPAMHandle).await?;
    let (Some(block), Some(handle)) = (blocks.first(), handles.first()) else {
        return Err("there is no block, or no handle".into());
    };
    let (mut block, mut handle) = (block.clone(), handle.clone());
    let begin = store.begin();
    for index in 0..addresses {
        let name = format!("bare-{index}");
        handle.key = Key::new(Kind::IPAMHandle, &name);
        handle.metadata.name.clone_from(&name);
        handle.spec["handleID"] = name.into();
        handle.revision = None;
        store.create(handle.clone()).await?;
        let number = block.spec["sequenceNumber"].as_u64().unwrap_or_default();
        block.spec["sequenceNumber"] = (number + 1).into();
        block = store.update(block).await?;
    }
    Ok(store.end(begin))
}

/// Counts what is asked for.
#[derive(Debug)]
struct Counting {
    store: EtcdDatastore,
    writes: AtomicUsize,
    gets: AtomicUsize,
    lists: AtomicUsize,
}

impl Counting {
    fn new(store: EtcdDatastore) -> Counting {
        Counting {
            store,
            writes: AtomicUsize::new(0),
            gets: AtomicUsize::new(0),
            lists: AtomicUsize::new(0),
        }
    }

    fn begin(&self) -> Instant {
        for count in [&self.writes, &self.gets, &self.lists] {
            count.store(0, Ordering::Relaxed);
        }
        Instant::now()
    }

    fn end(&self, begin: Instant) -> Figure {
        Figure {
            time: begin.elapsed(),
            writes: self.writes.load(Ordering::Relaxed),
            gets: self.gets.load(Ordering::Relaxed),
            lists: self.lists.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl Datastore for Counting {
    async fn get(&self, key: &Key) -> Result<Option<Object>, StoreError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.store.get(key).await
    }
    async fn list(&self, kind: Kind) -> Result<Vec<Object>, StoreError> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        self.store.list(kind).await
    }
    async fn create(&self, object: Object) -> Result<Object, StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.create(object).await
    }
    async fn update(&self, object: Object) -> Result<Object, StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.update(object).await
    }
    async fn delete(&self, key: &Key, revision: Option<&Revision>) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.store.delete(key, revision).await
    }
    async fn watch(&self, kinds: &[Kind]) -> Result<Watcher, StoreError> {
        self.store.watch(kinds).await
    }
}

/// An etcd on loopback that writes through to the disk, as in earnest.
struct Server {
    // Ends with it.
    _folder: tempfile::TempDir,
    url: String,
    child: Child,
}

impl Server {
    async fn start() -> Outcome<Server> {
        let folder = tempfile::tempdir()?;
        let url = format!("http://127.0.0.1:{}", free_port()?);
        let peer = format!("http://127.0.0.1:{}", free_port()?);
        let child = Command::new("etcd")
            .args(["--name", "bench", "--data-dir"])
            .arg(folder.path().join("data"))
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("bench={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Server {
            _folder: folder,
            url,
            child,
        };
        let begin = Instant::now();
        while let Err(error) = server.open().await {
            if begin.elapsed() > Duration::from_secs(30) {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(server)
    }

    async fn open(&self) -> Outcome<EtcdDatastore> {
        let config = EtcdConfig {
            endpoints: vec![self.url.clone()],
            ..EtcdConfig::default()
        };
        Ok(EtcdDatastore::connect(&config).await?)
    }

    /// Transactions of `etcdctl`, a process each.
    fn by_etcdctl(&self, addresses: usize) -> Outcome<Figure> {
        use std::io::Write;
        let begin = Instant::now();
        for index in 0..BY_ETCDCTL {
            let mut child = Command::new("etcdctl")
                .env("ETCDCTL_API", "3")
                .args(["--endpoints", &self.url, "txn"])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()?;
            let text = format!("mod(\"/bench/{index}\") = \"0\"\n\nput /bench/{index} value\n\n\n");
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(text.as_bytes())?;
            }
            if !child.wait()?.success() {
                return Err("etcdctl failed".into());
            }
        }
        let scale = 2.0 * addresses as f64 / BY_ETCDCTL as f64;
        Ok(Figure {
            time: begin.elapsed().mul_f64(scale),
            writes: 2 * addresses,
            ..Figure::default()
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Outcome<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn number(name: &str, otherwise: usize) -> usize {
    let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
    given.unwrap_or(otherwise)
}
