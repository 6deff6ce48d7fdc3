//! What the loop does for workloads that move: it hears them arrive, and sees in BGP that they have arrived elsewhere.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use caracal_datastore::resources::FelixConfiguration;
use caracal_fib::RouteStatus;
use futures::FutureExt;
use ipnet::IpNet;

use super::Node;
use crate::announcements::{Announcement, Listener};
use crate::migration::{CONVERGENCE, question};
use crate::plan::condition;

/// Whoever floods the ears does not stop the loop.
const HEARD_A_ROUND: usize = 1000;

/// Ears, as long as they are needed.
#[derive(Debug, Default)]
pub(super) enum Hearing {
    /// Nobody is awaited.
    #[default]
    Idle,
    Open(Listener),
    /// It cannot hear: why.
    Deaf(String),
}

impl Hearing {
    /// It does, or would.
    pub(super) fn hears(&self) -> bool {
        !matches!(self, Hearing::Deaf(_))
    }

    /// The next announcement; never, while nobody listens.
    pub(super) async fn next(&self) -> io::Result<Announcement> {
        match self {
            Hearing::Open(listener) => listener.next().await,
            Hearing::Idle | Hearing::Deaf(_) => std::future::pending().await,
        }
    }
}

/// How long a workload stays elevated after its migration.
pub(super) fn convergence(felix: &FelixConfiguration) -> Duration {
    felix
        .live_migration_route_convergence_time
        .unwrap_or(CONVERGENCE)
}

/// Then; never, if there is no such time.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

/// The address, of a route to a single one.
pub(super) fn host(prefix: &IpNet) -> Option<IpAddr> {
    (prefix.prefix_len() == prefix.max_prefix_len()).then(|| prefix.addr())
}

/// Device and address, of a route to a workload as the FIB shows it: `dev cali… scope link`.
pub(super) fn workload(route: &RouteStatus) -> Option<(String, IpAddr)> {
    let device = route.way.strip_prefix("dev ")?.split(' ').next()?;
    Some((device.to_owned(), host(&route.prefix)?))
}

impl Node {
    pub(super) fn hear(&mut self, heard: io::Result<Announcement>) {
        match heard {
            Ok(announcement) => self.shared.workloads.heard(announcement, Instant::now()),
            Err(fault) => {
                self.listener = Hearing::Deaf(fault.to_string());
                self.plan_dirty = true;
            }
        }
    }

    /// What came while the loop was at something else: an answer in time counts, however late it is looked at.
    pub(super) fn hear_what_came(&mut self) {
        for _ in 0..HEARD_A_ROUND {
            match self.listener.next().now_or_never() {
                Some(heard) => self.hear(heard),
                None => return,
            }
        }
    }

    /// Opens the ears when somebody is to come, and closes them after.
    pub(super) fn listen(&mut self) {
        if !self.shared.workloads.awaits_any() {
            self.listener = Hearing::Idle;
        } else if matches!(self.listener, Hearing::Idle) {
            self.listener = match Listener::open() {
                Ok(listener) => Hearing::Open(listener),
                Err(fault) => {
                    // What can be known of workloads that move changes with it.
                    self.plan_dirty = true;
                    Hearing::Deaf(fault.to_string())
                }
            };
        }
        for question in self.shared.workloads.take_questions(Instant::now()) {
            if self.listener.hears() {
                tokio::spawn(question::ask(question));
            }
        }
        if let Hearing::Deaf(why) = &self.listener {
            let message = format!(
                "a workload that moves here is not heard ({why}); its routes come when its LiveMigration is over"
            );
            self.plan
                .conditions
                .push(condition("MigrationUnheard", &message));
        }
    }

    /// Of these addresses of ours, which do other nodes announce as those of workloads that have just come there?
    pub(super) async fn look_for_outranking(&self, of: Vec<IpAddr>) -> anyhow::Result<()> {
        if of.is_empty() {
            return Ok(());
        }
        let (v4, v6) = self.plan.normal_local_pref;
        let asked = of.clone();
        let outranked: BTreeSet<IpAddr> = self
            .shared
            .shell
            .with(move |speaker, _| {
                let outranks = |address: &IpAddr| {
                    let normal = if address.is_ipv4() { v4 } else { v6 };
                    let route = speaker.route(&IpNet::from(*address));
                    let best = route.and_then(|route| route.paths.into_iter().next());
                    best.is_some_and(|path| {
                        path.best && path.peer.is_some() && path.local_pref > normal
                    })
                };
                asked.into_iter().filter(outranks).collect()
            })
            .await
            .context("BGP has stopped")?;
        let workloads = &self.shared.workloads;
        workloads.set_outranked(&of, &outranked, Instant::now());
        Ok(())
    }
}
