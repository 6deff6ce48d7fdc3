//! Make before break: which sessions that the configuration no longer has go on, and until when.
//!
//! ```text
//!   mesh ──► reflectors, or back            old ═══════════════╗ released: nothing is reached through it alone
//!   a reflector ──► another                 new      ──┬───────┴──────────────
//!                                                      up, End-of-RIB received
//! ```
//!
//! An internal session whose peer is still there is kept until one that takes its place is up and has brought End-of-RIB, and
//! until every prefix that came over it has come over one that stays. Then it is *released*: closed without a word
//! ([`caracal_bgp::Speaker::release_peer`]), so that the other end, which may not be as far, keeps our paths for their restart
//! time (RFC 4724). What is new and does not come up holds the old back for [`PATIENCE`]; when none of it is up by then, the old
//! stays, and a condition says so: what works is kept.
//!
//! A session with a *client* (RFC 4456) ends when the client ends it, since that has to know whether it is served otherwise, and
//! after [`LINGER`] in any case. A node that would have no internal session at all keeps what it has for [`SETTLE`]: manifests
//! are applied one after the other.
//!
//! Pure: the caller says what the time is and how the sessions are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use caracal_bgp::{PeerConfig, Speaker, Time};

/// How long the old may wait for the new.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// How long a reflector waits for its clients to leave it: longer than their paths are kept when they have.
pub const LINGER: Duration = Duration::from_secs(180);
/// How long the last internal session waits for the configuration to name others.
pub const SETTLE: Duration = Duration::from_secs(10);
/// How often it is worth looking, while something leaves.
const LOOK: Duration = Duration::from_millis(500);

/// What matters here of a configured session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Of our AS.
    pub internal: bool,
    /// With a client of ours.
    pub client: bool,
    /// The node of the cluster at the other end, if it is one.
    pub node: Option<String>,
}

/// What has become of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LinkState {
    /// It is up.
    pub established: bool,
    /// It is up, and all that the peer has is here.
    pub ready: bool,
    /// Paths of the peer that are here, those from before its restart too.
    pub paths: usize,
    /// Prefixes that are reached through this peer and others that leave, and nobody else.
    pub only_here: usize,
}

/// Sessions that leave.
#[derive(Debug, Default)]
pub struct Transition {
    leaving: BTreeMap<IpAddr, Leaving>,
    /// Those that take their place, if there are any: internal ones of the configuration.
    successors: BTreeSet<IpAddr>,
    /// What to say of it.
    said: Option<String>,
}

#[derive(Debug)]
struct Leaving {
    client: bool,
    since: Duration,
    released: bool,
}

impl Link {
    /// Of a configuration, and the node that it leads to.
    pub fn of(config: &PeerConfig, node: Option<String>) -> Link {
        let internal = !config.remote_asn.is_external(config.local_asn);
        Link {
            internal,
            client: internal && config.reflector_client,
            node,
        }
    }
}

impl LinkState {
    /// Of every peer of the speaker; `leaving` are those whose absence is weighed.
    pub fn all(
        speaker: &Speaker,
        now: Time,
        leaving: &BTreeSet<IpAddr>,
    ) -> BTreeMap<IpAddr, LinkState> {
        let only = speaker.reached_only_through(leaving);
        let states = speaker.peers(now).into_iter().map(|peer| {
            let established = peer.state == "Established";
            let state = LinkState {
                established,
                ready: established && peer.end_of_rib,
                paths: peer.prefixes_received,
                only_here: only.get(&peer.address).copied().unwrap_or(0),
            };
            (peer.address, state)
        });
        states.collect()
    }
}

impl Transition {
    /// The configuration has changed from `last`, with what is kept, to `planned`. Answers which of `last` go on beside what is
    /// planned. `is_there`: the node is in the cluster.
    pub fn follow(
        &mut self,
        now: Duration,
        last: &BTreeMap<IpAddr, Link>,
        planned: &BTreeMap<IpAddr, Link>,
        is_there: impl Fn(&str) -> bool,
    ) -> BTreeSet<IpAddr> {
        let internal = |link: &Link| link.internal;
        let gone = last
            .iter()
            .filter(|(address, link)| internal(link) && !planned.contains_key(address));
        let is_replaced = planned
            .iter()
            .any(|(address, link)| internal(link) && !last.contains_key(address));
        let mut leaving = BTreeMap::new();
        for (address, link) in gone {
            let before = self.leaving.remove(address);
            let goes_on = match (&before, &link.node) {
                (_, Some(node)) => is_there(node),
                (Some(_), None) => true,
                (None, None) => is_replaced,
            };
            if !goes_on || before.as_ref().is_some_and(|leaving| leaving.released) {
                continue;
            }
            let fresh = Leaving {
                client: link.client,
                since: now,
                released: false,
            };
            leaving.insert(*address, before.unwrap_or(fresh));
        }
        self.leaving = leaving;
        let successors = planned.iter().filter(|(_, link)| internal(link));
        self.successors = successors.map(|(address, _)| *address).collect();
        if self.leaving.is_empty() {
            self.said = None;
        }
        self.leaving.keys().copied().collect()
    }

    /// Those that leave.
    pub fn leaving(&self) -> BTreeSet<IpAddr> {
        self.leaving.keys().copied().collect()
    }

    /// How long until [`Transition::look`] should be asked; `None`: nothing leaves.
    pub fn look_in(&self) -> Option<Duration> {
        (!self.leaving.is_empty()).then_some(LOOK)
    }

    /// Lets go of what is no longer needed; true when the next [`Transition::follow`] will answer otherwise, or there is
    /// something else to say.
    pub fn look(&mut self, now: Duration, states: &BTreeMap<IpAddr, LinkState>) -> bool {
        let state = |address: &IpAddr| states.get(address).copied().unwrap_or_default();
        let ready = |v4: bool| {
            let mut successors = self.successors.iter();
            successors.any(|address| address.is_ipv4() == v4 && state(address).ready)
        };
        let ready = [ready(false), ready(true)];
        let mut changed = false;
        let mut stuck = Vec::new();
        let mut waiting = Vec::new();
        for (address, leaving) in &mut self.leaving {
            let is = state(address);
            let age = now.saturating_sub(leaving.since);
            let has_successor = ready[usize::from(address.is_ipv4())];
            let over = match leaving {
                _ if !is.established && is.paths == 0 => true,
                Leaving { client: true, .. } => age >= LINGER,
                _ if self.successors.is_empty() => age >= SETTLE,
                _ => has_successor && (is.only_here == 0 || age >= PATIENCE),
            };
            changed |= over && !leaving.released;
            leaving.released |= over;
            if !over && !leaving.client && age >= PATIENCE {
                stuck.push(*address);
            } else if !over {
                waiting.push(*address);
            }
        }
        let said = self.words(&stuck, &waiting);
        changed |= said != self.said;
        self.said = said;
        changed
    }

    /// For the status: what is kept, why, and what to do.
    pub fn words_now(&self) -> Option<&str> {
        self.said.as_deref()
    }

    fn words(&self, stuck: &[IpAddr], waiting: &[IpAddr]) -> Option<String> {
        let minutes = PATIENCE.as_secs() / 60;
        if !stuck.is_empty() {
            return Some(format!(
                "sessions with {} are no longer in the configuration and are kept, because none of those in their place ({}) has \
                 been up with all its routes for {minutes} minutes; bring one of these up, or take the change back; `caracalctl \
                 peers shut-down` ends one of the old",
                names(stuck),
                names(&self.successors.iter().copied().collect::<Vec<_>>()),
            ));
        }
        (!waiting.is_empty()).then(|| {
            format!(
                "sessions with {} are no longer in the configuration and go on until what was learned over them has come over \
                 others, for {minutes} minutes at most when one of those is up",
                names(waiting)
            )
        })
    }
}

/// The first few.
fn names(addresses: &[IpAddr]) -> String {
    let shown: Vec<String> = addresses
        .iter()
        .take(NAMED_MAX)
        .map(IpAddr::to_string)
        .collect();
    match addresses.len().checked_sub(NAMED_MAX) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

const NAMED_MAX: usize = 5;

#[cfg(test)]
mod tests;
