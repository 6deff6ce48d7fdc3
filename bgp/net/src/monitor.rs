//! The shell of [`caracal_monitor`]: TCP to collectors, and files.
//!
//! ```text
//!   driver ──tapped──► hub (1x): Monitor ──octets──► station (1x collector): TCP
//!      ▲                │
//!      └──tap_rows──────┘──records──► files (1x, a thread of its own)
//! ```
//!
//! The driver hands over what was tapped as long as there is room. When there is none, tables' changes wait in
//! the speaker, where they coalesce; messages do not, so of those it keeps a few, and then begins anew.

mod files;
mod station;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use caracal_bgp::tap::Tapped;
use caracal_bgp::view::PeerView;
use caracal_bgp::{Speaker, Time};
pub use caracal_monitor::config::{MrtConfig, StationConfig};
pub use caracal_monitor::{Identity, MonitorConfig, StationView};
use caracal_monitor::{Monitor, Request, StationId, WallClock};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use crate::driver::Command;
use crate::shell::{Shared, Shell, Stopped};
use files::Files;
use station::Link;

/// What became of the monitoring until now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MonitorView {
    /// In order of configuration.
    pub stations: Vec<StationView>,
    /// Octets written to MRT files.
    pub mrt_octets: u64,
    /// How often MRT files could not be written.
    pub mrt_errors: u64,
    /// How often messages came faster than they were taken, and everything began anew.
    pub overruns: u64,
}

/// Monitoring that goes on until the speaker stops.
#[derive(Debug, Clone, Default)]
pub struct Monitoring {
    view: Arc<Mutex<MonitorView>>,
    ended: Option<Arc<tokio::sync::Mutex<JoinHandle<()>>>>,
}

impl Monitoring {
    /// As it is now.
    pub fn view(&self) -> MonitorView {
        let view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.clone()
    }

    /// Returns when the last words are said and the files are closed, after the speaker has stopped.
    pub async fn ended(&self) {
        if let Some(ended) = &self.ended {
            let _ = (&mut *ended.lock().await).await;
        }
    }
}

/// To the hub, from those that it started.
#[derive(Debug)]
enum Input {
    Connected(StationId, u64),
    Written(StationId, u64),
    Closed(StationId, u64, String),
    Statistics(Vec<PeerView>, usize),
}

/// Owns the monitor.
struct Hub {
    monitor: Monitor,
    shared: Arc<Shared>,
    commands: mpsc::WeakSender<Command>,
    tapped: mpsc::Receiver<Vec<Tapped>>,
    inputs: mpsc::UnboundedReceiver<Input>,
    inputs_out: mpsc::UnboundedSender<Input>,
    links: BTreeMap<StationId, Link>,
    links_made: u64,
    files: Option<Files>,
    overruns: u64,
    view: Arc<Mutex<MonitorView>>,
}

impl Shell {
    /// Lets others watch the speaker from now on. Call it once.
    pub async fn monitor(
        &self,
        config: MonitorConfig,
        identity: Identity,
    ) -> Result<Monitoring, Stopped> {
        if config.is_empty() {
            return Ok(Monitoring::default());
        }
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        let micros = u64::try_from(since_1970.unwrap_or_default().as_micros()).unwrap_or(u64::MAX);
        let now = self.time();
        let wall = WallClock::new(micros.saturating_sub(now.as_micros()));
        let files = Files::start(&config.mrt);
        let monitor = Monitor::new(now, config, identity, wall);
        let (inputs_out, inputs) = mpsc::unbounded_channel();
        let commands = self.commands.downgrade();
        let tapped = tap(&commands, &monitor).await.ok_or(Stopped)?;
        let view = Arc::new(Mutex::new(MonitorView::default()));
        let hub = Hub {
            monitor,
            shared: self.shared.clone(),
            commands,
            tapped,
            inputs,
            inputs_out,
            links: BTreeMap::new(),
            links_made: 0,
            files,
            overruns: 0,
            view: view.clone(),
        };
        let ended = Some(Arc::new(tokio::sync::Mutex::new(tokio::spawn(hub.run()))));
        Ok(Monitoring { view, ended })
    }
}

/// Asks the driver for what is tapped; `None`: it has stopped.
async fn tap(
    commands: &mpsc::WeakSender<Command>,
    monitor: &Monitor,
) -> Option<mpsc::Receiver<Vec<Tapped>>> {
    let (out, tapped) = mpsc::channel(BATCHES_MAX);
    let config = monitor.tap()?;
    let command = Command::Tap { config, out };
    commands.upgrade()?.send(command).await.ok()?;
    Some(tapped)
}

impl Hub {
    async fn run(mut self) {
        loop {
            let deadline = self.monitor.poll_timeout().map(|at| self.instant(at));
            let timer = async {
                match deadline {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                batch = self.tapped.recv() => match batch {
                    Some(batch) => self.monitor.handle_tapped(self.shared.now(), &batch),
                    // The driver has given us up, or stopped.
                    None => if !self.begin_anew().await { break },
                },
                Some(input) = self.inputs.recv() => self.handle(input),
                () = room(&mut self.files) => {}
                () = timer => {}
            }
            let now = self.shared.now();
            if self.monitor.poll_timeout().is_some_and(|at| at <= now) {
                self.monitor.handle_timeout(now);
            }
            self.drain().await;
        }
        self.monitor.stop(self.shared.now());
        self.drain().await;
        let _ = timeout(LAST_WORDS, async {
            for link in self.links.values_mut() {
                link.finish().await;
            }
        })
        .await;
        if let Some(files) = self.files.take() {
            files.finish().await;
        }
    }

    async fn begin_anew(&mut self) -> bool {
        let Some(tapped) = tap(&self.commands, &self.monitor).await else {
            return false;
        };
        warn!("monitoring does not keep up with the peers' messages: it begins anew");
        self.overruns += 1;
        self.tapped = tapped;
        self.monitor.handle_lost(self.shared.now());
        true
    }

    fn handle(&mut self, input: Input) {
        let now = self.shared.now();
        let is_current = |links: &BTreeMap<StationId, Link>, station, serial| {
            links
                .get(&station)
                .is_some_and(|link| link.serial == serial)
        };
        match input {
            Input::Connected(station, serial) if is_current(&self.links, station, serial) => {
                if let Some(link) = self.links.get_mut(&station) {
                    link.writing = false;
                    info!(station = %link.address, "BMP station is up");
                }
                self.monitor.handle_connected(now, station);
            }
            Input::Written(station, serial) if is_current(&self.links, station, serial) => {
                if let Some(link) = self.links.get_mut(&station) {
                    link.writing = false;
                }
            }
            Input::Closed(station, serial, reason) if is_current(&self.links, station, serial) => {
                if let Some(link) = self.links.remove(&station) {
                    info!(station = %link.address, %reason, "no connection with BMP station");
                }
                self.monitor.handle_closed(now, station, &reason);
            }
            Input::Statistics(peers, routes) => {
                self.monitor.handle_statistics(now, &peers, routes);
            }
            // Of a connection that is given up.
            Input::Connected(..) | Input::Written(..) | Input::Closed(..) => {}
        }
    }

    async fn drain(&mut self) {
        // What is taken makes room for more.
        loop {
            self.hand_out();
            if !self.perform().await {
                break;
            }
        }
        let mut view = self.view.lock().unwrap_or_else(PoisonError::into_inner);
        view.stations = self.monitor.stations();
        view.overruns = self.overruns;
        if let Some(files) = &self.files {
            (view.mrt_octets, view.mrt_errors) = files.counters();
        }
    }

    /// False: there was nothing to do.
    async fn perform(&mut self) -> bool {
        let mut busy = false;
        while let Some(request) = self.monitor.poll_request() {
            busy = true;
            match request {
                Request::Connect { station, address } => {
                    self.links_made += 1;
                    let serial = self.links_made;
                    let link = Link::connect(station, serial, address, self.inputs_out.clone());
                    self.links.insert(station, link);
                }
                Request::Close { station } => {
                    if let Some(link) = self.links.remove(&station) {
                        warn!(station = %link.address, "BMP station does not keep up: it is told everything anew");
                    }
                }
                Request::Rows {
                    dump,
                    from,
                    rows_max,
                } => {
                    self.with(move |speaker, _| speaker.tap_rows(dump, from, rows_max))
                        .await;
                }
                Request::Statistics => {
                    let out = self.inputs_out.clone();
                    self.with(move |speaker, now| {
                        let statistics =
                            Input::Statistics(speaker.peers(now), speaker.routes_count());
                        let _ = out.send(statistics);
                    })
                    .await;
                }
            }
        }
        busy
    }

    fn hand_out(&mut self) {
        for (station, link) in &mut self.links {
            if !link.writing
                && let Some(octets) = self.monitor.poll_transmit(*station)
            {
                link.write(octets);
            }
        }
        if let Some(files) = &mut self.files {
            while files.has_room()
                && let Some(output) = self.monitor.poll_mrt()
            {
                files.write(output);
            }
        }
    }

    async fn with(&self, closure: impl FnOnce(&mut Speaker, Time) + Send + 'static) {
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::With(Box::new(closure))).await;
        }
    }

    fn instant(&self, at: Time) -> Instant {
        self.shared.epoch + at.since(Time::ZERO)
    }
}

/// Returns when files that had none have room again.
async fn room(files: &mut Option<Files>) {
    match files {
        Some(files) if !files.has_room() => files.room().await,
        _ => std::future::pending().await,
    }
}

/// Of what was tapped, at the hub's door.
const BATCHES_MAX: usize = 16;
/// How long collectors get to take what is left when the speaker has stopped.
const LAST_WORDS: Duration = Duration::from_secs(1);
