//! Peers without configured addresses: whoever sends router advertisements on a link of ours is one.
//!
//! ```text
//!   link ──router advertisement──► Discovery ──set_peer, remove_peer──► Speaker
//!   link ◄──router advertisement──     │ every few seconds
//! ```
//!
//! Both ends advertise themselves (RFC 4861, router lifetime 0: no default route) and so learn each other's link-local
//! address; the session and its IPv4 prefixes need no other (RFC 8950). FRR's `neighbor DEVICE interface` does the same.
//!
//! A router that is no longer heard is a peer for as long as it has a session, since that is the better sign of life.

mod advertisement;
mod link;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use caracal_bgp::wire::Family;
use caracal_bgp::{PeerConfig, PeerKey, RemoteAs, Speaker, Time};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::shell::{Shell, Stopped};
use crate::socket;
use link::Link;

/// A link on which every router is to be a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnnumberedConfig {
    /// Our network device there.
    pub interface: String,
    /// What the peers are like; `remote_address`, `interface` and `name` are put in.
    pub template: PeerConfig,
    /// How often we say that we are there.
    pub interval: Duration,
    /// How long a router without a session is believed to be there after its last advertisement. FRR sends one each ten
    /// seconds.
    pub lifetime: Duration,
}

impl UnnumberedConfig {
    /// Peers with both families, of this AS, or of any but ours ([`RemoteAs::External`]).
    pub fn new(
        interface: &str,
        remote_asn: impl Into<RemoteAs>,
        local_asn: u32,
    ) -> UnnumberedConfig {
        UnnumberedConfig {
            interface: interface.to_owned(),
            template: PeerConfig {
                families: Family::ALL.to_vec(),
                extended_next_hop: true,
                remote_asn: remote_asn.into(),
                ..PeerConfig::new(Ipv6Addr::UNSPECIFIED.into(), local_asn, local_asn)
            },
            interval: Duration::from_secs(3),
            lifetime: Duration::from_secs(40),
        }
    }

    fn peer(&self, router: Ipv6Addr) -> PeerConfig {
        PeerConfig {
            name: format!("{router}%{}", self.interface),
            remote_address: router.into(),
            interface: Some(self.interface.clone()),
            ..self.template.clone()
        }
    }

    fn key(&self, router: Ipv6Addr) -> PeerKey {
        PeerKey::on(router.into(), Some(&self.interface))
    }
}

/// The discovery on one link, in a task of the current tokio runtime. It ends with the speaker; when it is dropped or
/// stopped, nobody is discovered any more.
#[derive(Debug)]
pub struct Unnumbered {
    config: Arc<Mutex<UnnumberedConfig>>,
    shell: Shell,
    view: Arc<Mutex<UnnumberedView>>,
    task: JoinHandle<()>,
}

/// What a discovery has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnnumberedView {
    /// The routers on the link.
    pub routers: Vec<Ipv6Addr>,
    /// Why none can be found.
    pub problem: Option<String>,
}

impl Unnumbered {
    /// Begins. That the device is not there, or not up, is no error: it may come.
    pub fn start(shell: &Shell, config: UnnumberedConfig) -> Unnumbered {
        let view = Arc::<Mutex<UnnumberedView>>::default();
        let (interval, lifetime) = (config.interval, config.lifetime);
        let interface = config.interface.clone();
        let config = Arc::new(Mutex::new(config));
        let discovery = Discovery {
            config: config.clone(),
            interface,
            interval,
            lifetime,
            shell: shell.clone(),
            link: None,
            heard: BTreeMap::new(),
            view: view.clone(),
        };
        Unnumbered {
            config,
            shell: shell.clone(),
            view,
            task: tokio::spawn(discovery.run()),
        }
    }

    /// Peers are like this from now on, those included that are there.
    pub async fn set_template(&self, template: PeerConfig) -> Result<(), Stopped> {
        let config = {
            let mut config = lock(&self.config);
            if config.template == template {
                return Ok(());
            }
            config.template = template;
            config.clone()
        };
        // One that is discovered meanwhile has it already, or is among these.
        let routers = self.view().routers;
        let peers: Vec<PeerConfig> = routers.into_iter().map(|r| config.peer(r)).collect();
        let set = move |speaker: &mut Speaker, now: Time| {
            for peer in peers {
                speaker.set_peer(now, peer);
            }
        };
        self.shell.with(set).await
    }

    /// What it has found.
    pub fn view(&self) -> UnnumberedView {
        lock(&self.view).clone()
    }

    /// Ends it, and removes its peers.
    pub async fn stop(self) -> Result<(), Stopped> {
        self.task.abort();
        let config = lock(&self.config).clone();
        let interface = config.interface.clone();
        let routers = self.view().routers;
        let keys: Vec<PeerKey> = routers.into_iter().map(|r| config.key(r)).collect();
        info!(%interface, peers = keys.len(), "discovers no more peers");
        self.shell
            .with(move |speaker, now| {
                keys.iter().for_each(|key| speaker.remove_peer(now, key));
            })
            .await
    }
}

impl Drop for Unnumbered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task.
struct Discovery {
    config: Arc<Mutex<UnnumberedConfig>>,
    interface: String,
    interval: Duration,
    lifetime: Duration,
    shell: Shell,
    link: Option<Link>,
    /// When each router was heard last.
    heard: BTreeMap<Ipv6Addr, Instant>,
    view: Arc<Mutex<UnnumberedView>>,
}

impl Discovery {
    async fn run(mut self) {
        let mut tick = interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let outcome = tokio::select! {
                _ = tick.tick() => self.tick().await,
                heard = hear(self.link.as_ref()) => match heard {
                    Ok(router) => self.handle_router(router).await,
                    Err(error) => {
                        self.fail(&error);
                        Ok(())
                    }
                },
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    async fn tick(&mut self) -> Result<(), Stopped> {
        let device = &self.interface;
        // A device that was made anew is another one.
        if !self.link.as_ref().is_some_and(|link| link.is_of(device)) {
            self.link = None;
        }
        let link = match self.link.take() {
            Some(link) => Ok(link),
            None => Link::open(device),
        };
        match link.and_then(|link| link.advertise().map(|()| link)) {
            Ok(link) => {
                self.link = Some(link);
                lock(&self.view).problem = None;
            }
            Err(error) => self.fail(&error),
        }
        self.forget_the_silent().await
    }

    /// To be tried again at the next tick.
    fn fail(&mut self, error: &io::Error) {
        self.link = None;
        let interface = &self.interface;
        let why = match error.kind() {
            io::ErrorKind::PermissionDenied => "needs CAP_NET_RAW".to_owned(),
            _ => socket::in_words(error),
        };
        let problem = format!("no peers are discovered on {interface}: {why}");
        let mut view = lock(&self.view);
        if view.problem.as_ref() != Some(&problem) {
            warn!("{problem}");
            view.problem = Some(problem);
        }
    }

    async fn handle_router(&mut self, router: Ipv6Addr) -> Result<(), Stopped> {
        let now = Instant::now();
        if let Some(last) = self.heard.get_mut(&router) {
            *last = now;
            return Ok(());
        }
        let interface = &self.interface;
        if self.heard.len() >= ROUTERS_MAX {
            // Anybody on the link can make up addresses.
            warn!(%router, %interface, "not a peer: there are {ROUTERS_MAX} on this link already");
            return Ok(());
        }
        info!(%router, %interface, "discovered a peer");
        self.heard.insert(router, now);
        self.show();
        let peer = lock(&self.config).peer(router);
        self.shell
            .with(move |speaker, now| speaker.set_peer(now, peer))
            .await
            .map(|_| ())
    }

    async fn forget_the_silent(&mut self) -> Result<(), Stopped> {
        let lifetime = self.lifetime;
        let heard = self.heard.iter();
        let silent = heard.filter(|(_, last)| last.elapsed() > lifetime);
        let silent: Vec<Ipv6Addr> = silent.map(|(router, _)| *router).collect();
        if silent.is_empty() {
            return Ok(());
        }
        let config = lock(&self.config).clone();
        let remove = move |speaker: &mut Speaker, now: Time| {
            let peers = speaker.peers(now);
            let has_session = |router: &Ipv6Addr| {
                peers.iter().any(|peer| {
                    peer.address == IpAddr::from(*router)
                        && peer.interface.as_ref() == Some(&config.interface)
                        && peer.state == "Established"
                })
            };
            let gone: Vec<Ipv6Addr> = silent.into_iter().filter(|r| !has_session(r)).collect();
            for router in &gone {
                speaker.remove_peer(now, config.key(*router));
            }
            gone
        };
        for router in self.shell.with(remove).await? {
            let interface = &self.interface;
            info!(%router, %interface, "is not heard any more, and no peer");
            self.heard.remove(&router);
        }
        self.show();
        Ok(())
    }

    fn show(&self) {
        lock(&self.view).routers = self.heard.keys().copied().collect();
    }
}

async fn hear(link: Option<&Link>) -> io::Result<Ipv6Addr> {
    match link {
        Some(link) => link.hear().await,
        None => std::future::pending().await,
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // View and configuration are whole after every step.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Peers on one link.
const ROUTERS_MAX: usize = 16;
