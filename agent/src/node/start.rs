//! From the configuration to the running parts, and from a signal to their end.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use caracal_bgp::{Speaker, SpeakerConfig, Time};
use caracal_bgp_net::{PathWatch, Shell, monitor, recorder};
use caracal_datastore::ipam::Ipam;
use caracal_datastore::ready::Introduced;
use caracal_datastore::{
    Datastore, DatastoreConfig, DatastoreKind, LockableDatastore, TypedStore, ready,
};
use caracal_fib::{Change, Fib};
use caracal_filter::Filter;
use tracing::{info, warn};

use super::{Node, moves, registration};
use crate::cluster::WATCHED;
use crate::config::Config;
use crate::gc::Collecting;
use crate::metrics::Metrics;
use crate::shared::{Shared, Snapshot};
use crate::workloads::Workloads;
use crate::workloads::dataplane::Kernel;
use crate::{gc, node_status, server, settings};

/// RFC 4724 §4.1 Selection_Deferral_Timer, for each peer by itself.
const SELECTION_DEFERRAL: Duration = Duration::from_secs(120);
/// Paths of one multipath route.
const MULTIPATH_MAX: usize = 8;

/// Starts everything, runs until a signal, and leaves forwarding in place.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let mut stop = Signals::new()?;
    let (socket, _socket_file) = server::claim(&config.socket).await?;
    let http = match config.http.listen.0 {
        Some(address) => Some(server::listen(address).await?),
        None => None,
    };
    // Pods of other nodes are none of this agent's business, and not its memory's.
    let datastore = DatastoreConfig {
        node: Some(config.nodename.clone()),
        ..config.datastore.clone()
    };
    let store = Arc::new(LockableDatastore::new(datastore.open().await?).await?);
    introduce(&config, &store).await;
    let registered = registration::register(&config, &TypedStore(store.clone())).await?;
    let fib = Fib::start(config.fib())
        .await
        .context("cannot work on the kernel's routes")?;
    let felix =
        settings::at_start(&TypedStore(store.clone()), &config.nodename, &config.felix).await;
    fib.apply(vec![Change::SetSettings(Box::new(settings::of_fib(
        &felix,
    )))]);
    let filter = Filter::start().context("cannot work on the kernel's packet filter")?;
    // Routes with our signature from before mean that this is a restart, which peers help with (RFC 4724).
    let restarting = fib.status().borrow().actual > 0;
    let mut speaker = Speaker::new(
        SpeakerConfig {
            cluster_id: registered.identity.cluster_id,
            hostname: Some(config.nodename.clone()),
            software: Some(concat!("Caracal ", env!("CARGO_PKG_VERSION")).to_owned()),
            seed: seed(&config.nodename),
            restarting,
            selection_deferral: SELECTION_DEFERRAL,
            multipath_max: MULTIPATH_MAX,
            ..SpeakerConfig::new(registered.identity.asn, registered.identity.router_id)
        },
        Time::ZERO,
    );
    let listen = if config.bgp.listen.is_empty() {
        &registered.identity.listen
    } else {
        &config.bgp.listen
    };
    let recording = match &config.bgp.record {
        Some(path) => Some(
            recorder::begin(&mut speaker, Time::ZERO, path)
                .with_context(|| format!("bgp.record: {}", path.display()))?,
        ),
        None => None,
    };
    let shell = Shell::start(speaker, listen)?;
    if let Some(recording) = recording {
        shell.record(recording).await?;
    }
    let identity = monitor::Identity {
        name: config.nodename.clone(),
        description: concat!("Caracal ", env!("CARGO_PKG_VERSION")).to_owned(),
        asn: registered.identity.asn,
        router_id: registered.identity.router_id,
    };
    let monitoring = shell.monitor(config.bgp.monitor(), identity).await?;
    let watch = PathWatch::start(&shell, seed(&config.nodename)).context("cannot start BFD")?;
    let ipam = Arc::new(Ipam::new(store.clone(), config.nodename.clone()));
    ipam.follow()
        .await
        .context("cannot watch the datastore for address management")?;
    let workloads = Workloads::new(
        config.nodename.clone(),
        store.clone(),
        ipam.clone(),
        Arc::new(Kernel {
            fib: fib.clone(),
            filter: filter.clone(),
        }),
    );
    let routes = fib.routes().await?;
    workloads.begin_with(routes.iter().filter_map(moves::workload));
    let watcher = store
        .watch(&WATCHED)
        .await
        .context("cannot watch the datastore")?;
    info!(
        node = config.nodename,
        router_id = %registered.identity.router_id,
        restarting,
        "started; {}",
        registered.explanation
    );
    let shared = Arc::new(Shared {
        started: Instant::now(),
        addresses: registered.addresses,
        router_id: registered.identity.router_id,
        shell,
        monitoring,
        watch,
        links: tokio::sync::Mutex::default(),
        fib,
        filter,
        ipam,
        workloads,
        metrics: Metrics::new()?,
        collecting: Collecting::default(),
        unheard: node_status::Unheard::default(),
        snapshot: RwLock::new(Snapshot {
            asn: registered.identity.asn,
            ..Snapshot::default()
        }),
        config,
    });
    tokio::spawn(server::serve_socket(socket, shared.clone()));
    if let Some(http) = http {
        tokio::spawn(server::serve_http(http, shared.clone()));
    }
    tokio::spawn(node_status::serve(shared.clone(), store.clone()));
    tokio::spawn(gc::run(shared.clone(), store.clone()));
    let mut node = Node::new(shared.clone(), store, watcher);
    node.plan.felix = felix;
    let ended = tokio::select! {
        ended = node.run() => ended,
        never = shared.workloads.keep_reading() => match never {},
        signal = stop.next() => {
            info!("{signal}: ending; forwarding stays as it is");
            Ok(())
        }
    };
    // First, so that nobody takes our silence for a failure.
    shared.watch.stop().await;
    shared.shell.stop(true).await;
    shared.monitoring.ended().await;
    ended
}

/// Makes or completes ClusterInformation where Calico's node would do it: not in a folder of files, which is one machine's or
/// no cluster's.
async fn introduce(config: &Config, store: &LockableDatastore) {
    // The words are Calico's; `kdd` is Kubernetes as datastore.
    let types: &[&str] = match config.datastore.kind() {
        DatastoreKind::File => return,
        DatastoreKind::Etcd => &["bgp", "caracal"],
        DatastoreKind::Kubernetes => &["k8s", "bgp", "kdd", "caracal"],
    };
    match ready::ensure_cluster_information(store, types).await {
        Ok(Introduced::Made) => info!("made ClusterInformation default"),
        Ok(Introduced::Completed) => {
            info!("completed ClusterInformation default; its clusterType has all of {types:?}");
        }
        Ok(Introduced::AsItWas) => {}
        // Whoever may not write it goes on without.
        Err(fault) => warn!("{fault}; going on"),
    }
}

/// Jitter need not be secret, only different on every node.
fn seed(node: &str) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(node)
}

/// TERM and INT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
