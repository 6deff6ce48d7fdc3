//! The one loop: news from file and datastore in, peers of the speaker out.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use caracal_agent_api::Condition;
use caracal_bgp::{Speaker, SpeakerConfig, Time};
use caracal_bgp_net::{NetError, OptionsError, PathWatch, Recording, Shell, monitor, recorder};
use caracal_peering::{LinkState, Transition};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::cluster::Cluster;
use crate::config::{BgpConfig, Config, Source};
use crate::desired::{Desired, Own};
use crate::dynamic::Roster;
use crate::file::ConfigFile;
use crate::metrics::Metrics;
use crate::server;
use crate::sessions::{self, Sessions};
use crate::shared::{Running, Shared, lock};

/// Runs until a signal ends it, or until it cannot go on.
pub(crate) async fn run(file: PathBuf, config: Config) -> anyhow::Result<()> {
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let mut hangup = listen_for(SignalKind::hangup())?;
    let mut reflector = Reflector::start(file, config).await?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reflector.hangup().await?,
            stepped = reflector.step() => stepped?,
        }
    }
    reflector.stop().await;
    Ok(())
}

/// Everything but the signals.
#[derive(Debug)]
pub(crate) struct Reflector {
    file: ConfigFile,
    config: Config,
    cluster: Option<Cluster>,
    /// What of the newest file waits for a restart or is wrong.
    file_conditions: Vec<Condition>,
    /// What the sockets have been given.
    sessions: Sessions,
    restart: Restart,
    /// Sessions of the cluster that go on until others take their place.
    transition: Transition,
    tick: Interval,
    shared: Arc<Shared>,
}

/// How far we are in being back (RFC 4724 §4.1): clients keep what they had from our predecessor until our
/// End-of-RIB, so that must not come before we have heard from the other clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Restart {
    /// Since then.
    Running(Instant),
    Over,
}

impl Reflector {
    /// Opens everything that can fail, and starts the speaker as soon as it is known who it is.
    pub(crate) async fn start(file: PathBuf, config: Config) -> anyhow::Result<Reflector> {
        let name = match &config.source {
            Source::Datastore(node) => node.nodename.clone(),
            Source::File(file) => file.own().name,
        };
        let shared = Arc::new(Shared::new(name, Metrics::new().context("metrics")?));
        let socket = server::claim(&config.socket).await?;
        let http = match config.http {
            Some(address) => Some(server::listen(address).await?),
            None => None,
        };
        let cluster = match &config.source {
            Source::Datastore(node) => Some(Cluster::open(&node.datastore).await?),
            Source::File(_) => None,
        };
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reflector = Reflector {
            tick,
            file: ConfigFile::new(file),
            config,
            cluster,
            file_conditions: Vec::new(),
            sessions: Sessions::new(),
            restart: Restart::Running(Instant::now()),
            transition: Transition::default(),
            shared: shared.clone(),
        };
        reflector.converge().await?;
        tokio::spawn(server::serve_socket(socket, shared.clone()));
        if let Some(listener) = http {
            tokio::spawn(server::serve_http(listener, shared));
        }
        Ok(reflector)
    }

    /// Waits for the next thing that happens, and follows it.
    pub(crate) async fn step(&mut self) -> anyhow::Result<()> {
        let is_news = tokio::select! {
            _ = self.tick.tick() => false,
            open = next_news(&mut self.cluster) => {
                anyhow::ensure!(open, "the datastore's watch has ended");
                true
            }
            () = stopped(&self.shared) => anyhow::bail!("the BGP speaker has stopped"),
        };
        if is_news {
            self.converge().await
        } else {
            self.look_around().await
        }
    }

    /// Makes the speaker's peers what file and cluster say now.
    async fn converge(&mut self) -> anyhow::Result<()> {
        let hold_time = Duration::from_secs(self.config.hold_time_seconds.into());
        let desired = match (&self.config.source, &self.cluster) {
            (Source::Datastore(node), Some(cluster)) => {
                let in_sync = cluster.in_sync;
                self.shared
                    .update(|state| state.datastore_in_sync = in_sync);
                if !in_sync {
                    return Ok(());
                }
                Desired::from_view(node, &cluster.view, hold_time)
            }
            (Source::File(file), _) => {
                self.shared.update(|state| state.datastore_in_sync = true);
                Ok(Desired::from_file(file, hold_time))
            }
            (Source::Datastore(_), None) => Err("the datastore is not open".to_owned()),
        };
        let mut conditions = self.file_conditions.clone();
        if let Some(cluster) = &self.cluster {
            conditions.extend(cluster.unread().map(|why| {
                condition(
                    "DatastoreUnread",
                    &format!("{why}; what is known stays in force"),
                )
            }));
            conditions.extend(
                cluster
                    .faults()
                    .map(|fault| condition("InvalidResource", fault)),
            );
        }
        let running = self.shared.state().running;
        let mut waiting_for = None;
        match (desired, running) {
            (Ok(mut desired), None) => {
                let running = begin(&mut desired, &self.config.bgp).await?;
                conditions.extend(
                    desired
                        .faults
                        .iter()
                        .map(|fault| condition("Unfollowed", fault)),
                );
                self.sessions = desired.sessions;
                self.shared.update(|state| state.running = Some(running));
            }
            (Ok(mut desired), Some(running)) => {
                self.keep_leaving(&mut desired, &running, &mut conditions);
                let shell = &running.shell;
                sessions::secure(shell, &self.sessions, &mut desired).await?;
                let wanted = desired.sessions.clone();
                conditions.extend(
                    desired
                        .faults
                        .iter()
                        .map(|fault| condition("Unfollowed", fault)),
                );
                conditions.extend(
                    running
                        .own
                        .waits_for_restart(&desired.own)
                        .map(|what| condition("RestartNeeded", &what)),
                );
                let roster = running.roster.clone();
                let apply =
                    move |speaker: &mut Speaker, now| lock(&roster).apply(desired, speaker, now);
                shell.with(apply).await?;
                sessions::release(shell, &self.sessions, &wanted).await?;
                self.sessions = wanted;
            }
            (Err(why), None) => waiting_for = Some(why),
            // The last good state stands.
            (Err(why), Some(_)) => conditions.push(condition("InvalidResource", &why)),
        }
        for new in &conditions {
            if !self.shared.state().conditions.contains(new) {
                warn!(condition = %new.name, "{}", new.message);
            }
        }
        if let Some(why) = waiting_for
            .as_ref()
            .filter(|_| self.shared.state().waiting_for != waiting_for)
        {
            warn!("no speaker yet: {why}");
        }
        self.shared.update(|state| {
            state.waiting_for = waiting_for;
            state.conditions = conditions;
        });
        Ok(())
    }

    /// Puts what goes on of the last state into the new one. What a file no longer has is meant to end.
    fn keep_leaving(
        &mut self,
        desired: &mut Desired,
        running: &Running,
        conditions: &mut Vec<Condition>,
    ) {
        let Some(cluster) = &self.cluster else {
            return;
        };
        let roster = lock(&running.roster);
        let last = roster.desired();
        let mut before = last.links();
        before.retain(|address, _| !desired.refused.contains(address));
        let nodes = &cluster.view.nodes;
        let is_there = |node: &str| nodes.contains_key(node);
        let now = self.shared.uptime();
        let kept = self
            .transition
            .follow(now, &before, &desired.links(), is_there);
        desired.keep(last, &kept);
        let words = self.transition.words_now();
        conditions.extend(words.map(|words| condition("SessionsKept", words)));
    }

    /// Whoever sends the signal knows that the file is whole.
    async fn hangup(&mut self) -> anyhow::Result<()> {
        // And is answered in the log, if the answer is the same as before, too.
        let stale = std::mem::take(&mut self.file_conditions);
        self.shared
            .update(|state| state.conditions.retain(|old| !stale.contains(old)));
        let text = self.file.take();
        self.reload(text).await
    }

    /// Follows what the file says by now. A file that is wrong changes nothing but the conditions.
    async fn reload(&mut self, text: std::io::Result<String>) -> anyhow::Result<()> {
        self.file_conditions.clear();
        let parsed = text
            .map_err(|fault| fault.to_string())
            .and_then(|text| Config::parse(&text));
        let path = self.file.path().display();
        match parsed {
            Ok(new) => {
                info!(file = %path, "read the configuration again");
                self.file_conditions.extend(
                    self.config
                        .waits_for_restart(&new)
                        .map(|what| condition("RestartNeeded", what)),
                );
                self.config.hold_time_seconds = new.hold_time_seconds;
                if let (Source::File(old), Source::File(new)) =
                    (&mut self.config.source, new.source)
                {
                    self.file_conditions.extend(
                        old.own()
                            .waits_for_restart(&new.own())
                            .map(|what| condition("RestartNeeded", &what)),
                    );
                    // The peers of another AS are not ours until then.
                    if old.asn == new.asn {
                        old.take_peers_of(new);
                    }
                }
            }
            Err(fault) => {
                let words = format!("{path}: {fault}; the last good configuration stands");
                self.file_conditions
                    .push(condition("InvalidConfiguration", &words));
            }
        }
        self.converge().await
    }

    /// What is looked at from time to time.
    async fn look_around(&mut self) -> anyhow::Result<()> {
        if let Some(text) = self.file.look() {
            self.reload(text).await?;
        }
        let Some(running) = self.shared.state().running else {
            return Ok(());
        };
        let roster = running.roster.clone();
        running
            .shell
            .with(move |speaker, now| lock(&roster).expire(speaker, now))
            .await?;
        if self.transition.look_in().is_some() {
            let leaving = self.transition.leaving();
            let ask = move |speaker: &mut Speaker, now| LinkState::all(speaker, now, &leaving);
            let states = running.shell.with(ask).await?;
            if self.transition.look(self.shared.uptime(), &states) {
                self.converge().await?;
            }
        }
        if let Restart::Running(since) = self.restart {
            let long_enough = since.elapsed() >= COMING_BACK;
            let roster = running.roster.clone();
            let finish = move |speaker: &mut Speaker, now: Time| {
                let over = lock(&roster).is_complete(&speaker.peers(now), long_enough);
                if over {
                    speaker.finish_restart(now);
                }
                over
            };
            if running.shell.with(finish).await? {
                self.restart = Restart::Over;
            }
        }
        Ok(())
    }

    /// Ends the sessions so that peers keep our routes for their restart time: another reflector, or our
    /// successor, takes over meanwhile.
    async fn stop(self) {
        if let Some(running) = self.shared.state().running {
            // First, so that nobody takes our silence for a failure.
            running.watch.stop().await;
            running.shell.stop(true).await;
            running.monitoring.ended().await;
        }
        if let Err(error) = std::fs::remove_file(&self.config.socket) {
            warn!(socket = %self.config.socket.display(), %error, "cannot remove the socket");
        }
        info!("stopped");
    }
}

/// Starts the speaker with its peers, so that none of them is refused at first. Peers that it cannot start with, for
/// want of keys in the kernel, are left out.
async fn begin(desired: &mut Desired, watchers: &BgpConfig) -> anyhow::Result<Running> {
    let (shell, roster, recording) = loop {
        let fault = match begin_with(desired, watchers.record.as_deref()) {
            Ok(begun) => break begun,
            Err(fault) => fault,
        };
        match fault.downcast()? {
            NetError::Options(refused @ OptionsError::Key { peers, .. }) => {
                desired.leave_out(peers, &refused);
            }
            other => return Err(other.into()),
        }
    };
    if let Some(recording) = recording {
        shell.record(recording).await?;
    }
    let identity = monitor::Identity {
        name: desired.own.name.clone(),
        description: SOFTWARE.to_owned(),
        asn: desired.own.asn,
        router_id: desired.own.router_id,
    };
    let monitoring = shell.monitor(watchers.monitor(), identity).await?;
    let watch = PathWatch::start(&shell, random()).context("cannot start BFD")?;
    Ok(Running {
        own: desired.own.clone(),
        shell,
        monitoring,
        watch,
        roster,
    })
}

/// A speaker, its peers, and what is written down of it.
type Begun = (Shell, Arc<Mutex<Roster>>, Option<Recording>);

fn begin_with(desired: &Desired, record: Option<&Path>) -> anyhow::Result<Begun> {
    let own = desired.own.clone();
    let config = SpeakerConfig {
        cluster_id: own.cluster_id,
        client_to_client: own.client_to_client,
        seed: random(),
        software: Some(SOFTWARE.to_owned()),
        restarting: true,
        selection_deferral: SELECTION_DEFERRAL,
        // Nobody has a FIB here who would ask for them.
        route_changes: false,
        ..SpeakerConfig::new(own.asn, own.router_id)
    };
    let mut speaker = Speaker::new(config, Time::ZERO);
    let recording = match record {
        Some(path) => Some(
            recorder::begin(&mut speaker, Time::ZERO, path)
                .with_context(|| format!("bgp.record: {}", path.display()))?,
        ),
        None => None,
    };
    let mut roster = Roster::new(desired.clone());
    roster.apply(desired.clone(), &mut speaker, Time::ZERO);
    let roster = Arc::new(Mutex::new(roster));
    let admission = Box::new({
        let roster = roster.clone();
        move |speaker: &mut Speaker, now, remote| lock(&roster).admit(speaker, now, remote)
    });
    let sessions = desired.sessions.clone();
    let shell = Shell::start_with_options(speaker, &own.listen, Some(admission), sessions)?;
    info!(asn = own.asn, router_id = %own.router_id, listen = ?shell.listening(), "speaking BGP");
    Ok((shell, roster, recording))
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Own {
    /// What `new` says and the running speaker cannot become.
    fn waits_for_restart(&self, new: &Own) -> impl Iterator<Item = String> {
        [
            (self.asn != new.asn)
                .then(|| format!("AS number {}; it runs with {}", new.asn, self.asn)),
            (self.router_id != new.router_id).then(|| {
                format!(
                    "router id {}; it runs with {}",
                    new.router_id, self.router_id
                )
            }),
            (self.listen != new.listen)
                .then(|| format!("listen {:?}; it runs with {:?}", new.listen, self.listen)),
        ]
        .into_iter()
        .flatten()
        .map(|what| format!("only a restart brings {what}"))
    }
}

impl Config {
    /// What of a new file is outside the speaker and needs a restart.
    fn waits_for_restart(&self, new: &Config) -> impl Iterator<Item = &'static str> {
        let other_source = match (&self.source, &new.source) {
            (Source::File(_), Source::File(_)) => false,
            (old, new) => old != new,
        };
        [
            (
                other_source,
                "only a restart brings another datastore, nodename, routerId or listen",
            ),
            (
                self.bgp != new.bgp,
                "only a restart brings another bmp, mrt or record",
            ),
            (
                self.http != new.http,
                "only a restart brings another http.listen",
            ),
            (
                self.socket != new.socket,
                "only a restart brings another socket",
            ),
            (self.log != new.log, "only a restart brings another log"),
        ]
        .into_iter()
        .filter_map(|(differs, words)| differs.then_some(words))
    }
}

async fn next_news(cluster: &mut Option<Cluster>) -> bool {
    match cluster {
        Some(cluster) => cluster.follow().await,
        None => std::future::pending().await,
    }
}

async fn stopped(shared: &Shared) {
    match shared.state().running {
        Some(running) => running.shell.stopped().await,
        None => std::future::pending().await,
    }
}

fn listen_for(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot listen for signals")
}

fn condition(name: &str, message: &str) -> Condition {
    Condition {
        name: name.to_owned(),
        message: message.to_owned(),
    }
}

const SOFTWARE: &str = concat!("Caracal ", env!("CARGO_PKG_VERSION"));
const TICK: Duration = Duration::from_secs(1);
/// How long the clients of a prefix have to come back before we may say that we have everything.
const COMING_BACK: Duration = Duration::from_secs(15);
const SELECTION_DEFERRAL: Duration = Duration::from_secs(60);
