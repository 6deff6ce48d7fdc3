//! The sessions of a forecast while it is made: a mesh of thousands of nodes has millions of them, each seen from two ends.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use super::{Fate, More, SessionForecast};
use crate::{PeerKind, PlannedPeer};

/// Each session once, as the worse of its two ends has it.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    addresses: Numbered<IpAddr>,
    words: Numbered<String>,
    /// By the two addresses, the lower number first.
    known: HashMap<(u32, u32), Session>,
}

/// Numbers stand for words and addresses.
#[derive(Debug, Clone, Copy)]
struct Session {
    fate: Fate,
    kind: PeerKind,
    why: u32,
    node: u32,
    peer: u32,
    remote: u32,
}

impl Sessions {
    /// What one end, `node` at `own`, makes of its session with `peer`.
    pub(super) fn note(
        &mut self,
        node: &str,
        own: IpAddr,
        peer: &PlannedPeer,
        fate: Fate,
        why: &str,
    ) {
        let remote = peer.config.remote_address;
        let (own, remote) = (self.addresses.of(&own), self.addresses.of(&remote));
        let key = (own.min(remote), own.max(remote));
        if self.known.get(&key).is_some_and(|known| known.fate >= fate) {
            return;
        }
        let far = match &peer.node {
            Some(name) => self.words.of(name.as_str()),
            None => self
                .words
                .of(peer.config.remote_address.to_string().as_str()),
        };
        let session = Session {
            fate,
            kind: peer.kind,
            why: self.words.of(why),
            node: self.words.of(node),
            peer: far,
            remote,
        };
        self.known.insert(key, session);
    }

    /// How many there are of each fate; those that are not simply kept, in order of their ends, `listed` of each reason; and how
    /// many more there are.
    pub(super) fn finish(
        self,
        listed: usize,
    ) -> (BTreeMap<Fate, usize>, Vec<SessionForecast>, Vec<More>) {
        let Sessions {
            addresses,
            words,
            known,
        } = self;
        let mut counts = BTreeMap::new();
        for session in known.values() {
            *counts.entry(session.fate).or_default() += 1;
        }
        let mut sessions: Vec<Session> = known.into_values().collect();
        sessions.retain(|session| session.fate != Fate::Kept);
        sessions.sort_unstable_by(|a, b| {
            let node = |one: &Session| words.get(one.node);
            let remote = |one: &Session| addresses.get(one.remote);
            (node(a), remote(a)).cmp(&(node(b), remote(b)))
        });
        let mut reasons: BTreeMap<(Fate, u32), usize> = BTreeMap::new();
        let mut list = Vec::new();
        for session in sessions {
            let count = reasons.entry((session.fate, session.why)).or_default();
            *count += 1;
            if *count > listed {
                continue;
            }
            let text = |number: u32| words.get(number).cloned().unwrap_or_default();
            list.extend(
                addresses
                    .get(session.remote)
                    .map(|address| SessionForecast {
                        node: text(session.node),
                        peer: text(session.peer),
                        address: *address,
                        fate: session.fate,
                        kind: session.kind.to_string(),
                        why: text(session.why),
                    }),
            );
        }
        let unlisted = reasons.into_iter().filter(|(_, count)| *count > listed);
        let more = unlisted.map(|((fate, why), count)| More {
            count: count - listed,
            fate,
            why: words.get(why).cloned().unwrap_or_default(),
        });
        (counts, list, more.collect())
    }
}

/// Equal values have one number.
#[derive(Debug)]
struct Numbered<T> {
    numbers: HashMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Numbered<T> {
        Numbered {
            numbers: HashMap::new(),
            values: Vec::new(),
        }
    }
}

impl<T: Hash + Eq + Clone> Numbered<T> {
    fn of<Q>(&mut self, value: &Q) -> u32
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = T> + ?Sized,
    {
        if let Some(number) = self.numbers.get(value) {
            return *number;
        }
        // Four thousand million names are not in this world.
        let number = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.numbers.insert(value.to_owned(), number);
        self.values.push(value.to_owned());
        number
    }

    fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)
    }
}
