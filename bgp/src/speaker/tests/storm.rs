//! Everything at once, from a seed: sessions break, speakers die and restart, ask each other to say everything again,
//! and change what they announce, with graceful restart, its long-lived sequel and route refresh.
//!
//! When it is quiet, everybody has what is originated and nothing else. And at no time is a path stale for longer
//! than its bound: Restart Time, stale time and the wait for End-of-RIB, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::config::{PeerConfig, SpeakerConfig};
use crate::rng::Rng;
use crate::time::Time;

const NODES: usize = 4;
const PREFIXES: u64 = 6;
const RESTART: u64 = 20;
const STALE: u64 = 60;
const PATIENCE: u64 = 30;

struct Storm {
    net: Net,
    rng: Rng,
    /// What each node originates.
    origins: Vec<BTreeSet<String>>,
    /// Restarted, and not yet complete.
    restarting: BTreeSet<usize>,
    /// Since when a path of a peer is stale at a node.
    stale_since: BTreeMap<(usize, IpAddr, String), Time>,
    longest: Duration,
}

/// How a pair of nodes goes about it: all four ways occur.
fn config(node: usize, peer: usize) -> PeerConfig {
    let pair = node + peer;
    PeerConfig {
        graceful_restart: (pair != 3).then_some(Duration::from_secs(RESTART)),
        long_lived: (pair.is_multiple_of(2) || pair == 5).then_some(Duration::from_secs(STALE)),
        stale_path_time: Duration::from_secs(PATIENCE),
        extended_messages: pair != 4,
        ..peer_config(peer)
    }
}

impl Storm {
    fn new(seed: u64) -> Storm {
        let mut storm = Storm {
            net: Net::new(NODES),
            rng: Rng::new(seed),
            origins: vec![BTreeSet::new(); NODES],
            restarting: BTreeSet::new(),
            stale_since: BTreeMap::new(),
            longest: Duration::ZERO,
        };
        for node in 0..NODES {
            storm.peers(node);
        }
        storm.pass(20);
        storm
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.rng.draw() % bound
    }

    fn node(&mut self) -> usize {
        self.below(NODES as u64) as usize
    }

    fn other(&mut self, node: usize) -> usize {
        (node + 1 + self.below(NODES as u64 - 1) as usize) % NODES
    }

    fn peers(&mut self, node: usize) {
        for peer in (0..NODES).filter(|&peer| peer != node) {
            self.net.peer(node, config(node, peer));
        }
    }

    fn step(&mut self) {
        let node = self.node();
        let other = self.other(node);
        match self.below(10) {
            0 => self.net.break_between(node, other),
            1 => self.net.break_unnoticed_by(node, other),
            2 => self.restart(node),
            3 => self.complete(node),
            4 => {
                let now = self.net.now;
                let speaker = &mut self.net.nodes[node].speaker;
                // Not all can be asked at all times.
                let _ = speaker.refresh_peer(now, address(other), None);
            }
            5 => self.net.nodes[node].cut_off ^= true,
            _ => self.change(node),
        }
        let seconds = match self.below(8) {
            0 => self.below(120),
            1..=4 => self.below(10),
            _ => 0,
        };
        self.pass(seconds);
    }

    fn restart(&mut self, node: usize) {
        self.net.kill(node);
        let cut_off = self.net.nodes[node].cut_off;
        let seeded = SpeakerConfig {
            restarting: true,
            seed: self.below(u64::from(u32::MAX)),
            ..speaker_config(node)
        };
        self.net.replace(node, seeded);
        self.net.nodes[node].cut_off = cut_off;
        self.restarting.insert(node);
        self.stale_since.retain(|(at, ..), _| *at != node);
        self.peers(node);
    }

    fn complete(&mut self, node: usize) {
        if self.restarting.remove(&node) {
            for text in self.origins[node].clone() {
                self.net.originate(node, &text);
            }
            let now = self.net.now;
            self.net.nodes[node].speaker.finish_restart(now);
        }
    }

    fn change(&mut self, node: usize) {
        let number = self.below(PREFIXES);
        let text = match number % 2 {
            0 => format!("10.{node}.{number}.0/24"),
            _ => format!("fd00:{node}:{number}::/64"),
        };
        let announced = self.origins[node].remove(&text);
        if !announced {
            self.origins[node].insert(text.clone());
        }
        // Who is not complete learns of it when it is.
        if !self.restarting.contains(&node) {
            if announced {
                self.net.withdraw(node, &text);
            } else {
                self.net.originate(node, &text);
            }
        }
    }

    /// Time passes, and we look often enough to see how long anything is stale.
    fn pass(&mut self, seconds: u64) {
        self.net.settle();
        self.look();
        for _ in 0..seconds.div_ceil(5) {
            self.net.run_for(5);
            self.look();
        }
    }

    fn look(&mut self) {
        let mut stale = BTreeMap::new();
        for node in 0..NODES {
            for route in self.net.nodes[node].speaker.routes() {
                for path in route.paths.iter().filter(|path| path.stale) {
                    let key = (node, path.peer.unwrap(), route.prefix.to_string());
                    let since = self.stale_since.get(&key).copied();
                    stale.insert(key, since.unwrap_or(self.net.now));
                }
            }
        }
        self.stale_since = stale;
        let now = self.net.now;
        for (key, &since) in &self.stale_since {
            let age = now.since(since);
            self.longest = self.longest.max(age);
            let bound = Duration::from_secs(RESTART + STALE + PATIENCE + 5);
            assert!(age <= bound, "{key:?} has been stale for {age:?}");
        }
    }

    fn calm(&mut self) {
        for node in 0..NODES {
            self.net.nodes[node].cut_off = false;
            self.complete(node);
        }
        self.pass(600);
    }

    fn check(&mut self) {
        let mut wanted: Vec<String> = self.origins.iter().flatten().cloned().collect();
        wanted.sort_by_key(|text| prefix(text));
        for node in 0..NODES {
            assert_eq!(self.net.prefixes(node), wanted, "node {node}");
            for view in self.net.nodes[node].speaker.peers(self.net.now) {
                assert_eq!(view.state, "Established", "{node}: {view:?}");
                assert_eq!(view.prefixes_stale, 0, "{node}: {view:?}");
                assert!(view.end_of_rib && !view.deferral_pending, "{view:?}");
            }
        }
    }
}

#[test]
fn when_quiet_everybody_has_what_is_originated_and_nothing_was_stale_for_too_long() {
    let mut longest = Duration::ZERO;
    for seed in 0..SEEDS {
        eprintln!("seed {seed}");
        let mut storm = Storm::new(seed);
        for _ in 0..80 {
            storm.step();
        }
        storm.calm();
        storm.check();
        longest = longest.max(storm.longest);
    }
    // Long-lived paths do occur.
    assert!(
        longest > Duration::from_secs(RESTART + STALE / 2),
        "{longest:?}"
    );
}

const SEEDS: u64 = 30;
