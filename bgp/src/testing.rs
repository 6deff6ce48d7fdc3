//! Speakers in memory, joined by connections that lose nothing and take no time, and a clock that jumps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{LocalPath, PeerConfig, SpeakerConfig};
use crate::event::{Action, ConnectionId, Event};
use crate::speaker::Speaker;
use crate::time::Time;
use crate::view::PeerView;
use crate::wire::Family;

/// The speakers.
pub(crate) struct Net {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    links: Vec<Link>,
    /// Octets asked for with each `poll_transmit`.
    pub(crate) octets_max: usize,
}

pub(crate) struct Node {
    pub(crate) speaker: Speaker,
    pub(crate) events: Vec<Event>,
    pub(crate) changes: Vec<IpNet>,
    /// Nobody can connect, and it cannot either.
    pub(crate) cut_off: bool,
    /// Its sockets have no room: nothing is asked of `poll_transmit`.
    pub(crate) clogged: bool,
    ready: Vec<ConnectionId>,
}

/// Two ends of a connection: node and its name for it.
struct Link([(usize, ConnectionId); 2]);

pub(crate) fn prefix(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn address(node: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, node as u8 + 1))
}

/// The node's other address.
pub(crate) fn address6(node: usize) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, node as u16 + 1))
}

pub(crate) fn speaker_config(node: usize) -> SpeakerConfig {
    let IpAddr::V4(router_id) = address(node) else {
        unreachable!()
    };
    SpeakerConfig {
        seed: node as u64,
        multipath_max: 4,
        ..SpeakerConfig::new(64512, router_id)
    }
}

/// An internal peer with graceful restart and both families.
pub(crate) fn peer_config(node: usize) -> PeerConfig {
    PeerConfig {
        name: format!("node{node}"),
        families: vec![Family::Ipv4Unicast, Family::Ipv6Unicast],
        ..PeerConfig::new(address(node), 64512, 64512)
    }
}

impl Net {
    /// Speakers of AS 64512 without peers.
    pub(crate) fn new(count: usize) -> Net {
        let mut net = Net {
            now: Time::from_micros(1),
            nodes: Vec::new(),
            links: Vec::new(),
            octets_max: 65536,
        };
        for node in 0..count {
            net.nodes.push(Node::new(speaker_config(node), net.now));
        }
        net
    }

    /// A full mesh, established.
    pub(crate) fn mesh(count: usize) -> Net {
        let mut net = Net::new(count);
        for a in 0..count {
            for b in (0..count).filter(|&b| b != a) {
                net.peer(a, peer_config(b));
            }
        }
        net.run_for(20);
        for a in 0..count {
            for view in net.nodes[a].speaker.peers(net.now) {
                assert_eq!(view.state, "Established", "{a}: {view:?}");
            }
        }
        net
    }

    pub(crate) fn peer(&mut self, node: usize, mut config: PeerConfig) {
        config.next_hop_self_v6 = Some(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, node as u16 + 1));
        self.nodes[node].speaker.set_peer(self.now, config);
    }

    pub(crate) fn originate(&mut self, node: usize, text: &str) {
        self.nodes[node]
            .speaker
            .originate(self.now, prefix(text), LocalPath::default());
    }

    pub(crate) fn withdraw(&mut self, node: usize, text: &str) {
        self.nodes[node].speaker.withdraw(self.now, prefix(text));
    }

    pub(crate) fn view(&self, node: usize, of: usize) -> PeerView {
        let views = self.nodes[node].speaker.peers(self.now);
        views
            .into_iter()
            .find(|view| view.address == address(of))
            .unwrap()
    }

    /// Prefixes with a chosen path.
    pub(crate) fn prefixes(&self, node: usize) -> Vec<String> {
        let routes = self.nodes[node].speaker.routes();
        let chosen = routes.iter().filter(|route| route.paths[0].best);
        chosen.map(|route| route.prefix.to_string()).collect()
    }

    pub(crate) fn has(&self, node: usize, text: &str) -> bool {
        self.prefixes(node).contains(&text.to_owned())
    }

    pub(crate) fn events(&mut self, node: usize) -> Vec<Event> {
        std::mem::take(&mut self.nodes[node].events)
    }

    /// The process is gone, and its kernel closes its connections.
    pub(crate) fn kill(&mut self, node: usize) {
        self.break_links(|a, b| a == node || b == node, Some(node));
    }

    /// A new process in the place of one that was killed.
    pub(crate) fn replace(&mut self, node: usize, config: SpeakerConfig) {
        self.nodes[node] = Node::new(config, self.now);
    }

    /// TCP between the two breaks, and both are told.
    pub(crate) fn break_between(&mut self, x: usize, y: usize) {
        self.break_links(|a, b| (a, b) == (x, y) || (a, b) == (y, x), None);
    }

    /// TCP between the two breaks, and only `told` is told.
    pub(crate) fn break_unnoticed_by(&mut self, silent: usize, told: usize) {
        self.break_links(
            |a, b| (a, b) == (silent, told) || (a, b) == (told, silent),
            Some(silent),
        );
    }

    fn break_links(&mut self, which: impl Fn(usize, usize) -> bool, silent: Option<usize>) {
        let all = std::mem::take(&mut self.links);
        let (broken, kept): (Vec<Link>, Vec<Link>) =
            all.into_iter().partition(|Link([a, b])| which(a.0, b.0));
        self.links = kept;
        for (node, connection) in broken.into_iter().flat_map(|link| link.0) {
            if silent != Some(node) {
                self.nodes[node].speaker.handle_closed(
                    self.now,
                    connection,
                    "connection reset by peer",
                );
            }
        }
    }

    /// Until nobody has anything to say at this instant.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100_000 {
            if !(0..self.nodes.len()).any(|node| self.drain(node)) {
                return;
            }
        }
        panic!("no rest");
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn run_for(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            self.settle();
            let alive = self.nodes.iter();
            let next = alive.filter_map(|node| node.speaker.poll_timeout()).min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
            for node in &mut self.nodes {
                if node
                    .speaker
                    .poll_timeout()
                    .is_some_and(|due| due <= self.now)
                {
                    node.speaker.handle_timeout(self.now);
                }
            }
        }
        self.now = end;
    }

    /// A connection from `from` to `to` as the driver of `to` sees it, not joined to anything: the test
    /// speaks for `from`.
    pub(crate) fn dial(&mut self, from: usize, to: usize) -> Result<ConnectionId, String> {
        let (local, remote) = (
            SocketAddr::new(address(to), 179),
            SocketAddr::new(address(from), 40000),
        );
        self.nodes[to]
            .speaker
            .handle_incoming(self.now, local, remote)
    }

    /// What the node would send on this connection now.
    pub(crate) fn sent(&mut self, node: usize, connection: ConnectionId) -> Vec<u8> {
        let mut out = Vec::new();
        while self.nodes[node]
            .speaker
            .poll_transmit(self.now, connection, &mut out, 65536)
        {}
        out
    }

    fn drain(&mut self, from: usize) -> bool {
        let mut busy = false;
        while let Some(action) = self.nodes[from].speaker.poll_action() {
            busy = true;
            match action {
                Action::Connect {
                    connection, remote, ..
                } => self.connect(from, connection, remote),
                Action::Close { connection } => {
                    self.flush(from, connection);
                    self.close(from, connection);
                }
            }
        }
        while let Some(connection) = self.nodes[from].speaker.poll_ready() {
            self.nodes[from].ready.push(connection);
        }
        if !self.nodes[from].clogged {
            for connection in std::mem::take(&mut self.nodes[from].ready) {
                busy = true;
                self.flush(from, connection);
            }
        }
        let node = &mut self.nodes[from];
        node.events
            .extend(std::iter::from_fn(|| node.speaker.poll_event()));
        node.changes
            .extend(std::iter::from_fn(|| node.speaker.poll_route_change()));
        busy
    }

    fn connect(&mut self, from: usize, connection: ConnectionId, remote: SocketAddr) {
        let now = self.now;
        let is_at = |node| [address(node), address6(node)].contains(&remote.ip());
        let to = (0..self.nodes.len()).find(|&to| is_at(to));
        let own = if remote.is_ipv6() {
            address6(from)
        } else {
            address(from)
        };
        let (ours, theirs) = (SocketAddr::new(own, 40000), remote);
        let reachable = to.filter(|&to| !self.nodes[to].cut_off && !self.nodes[from].cut_off);
        let Some(to) = reachable else {
            self.nodes[from]
                .speaker
                .handle_connect_failed(now, connection, "no route to host");
            return;
        };
        match self.nodes[to].speaker.handle_incoming(now, theirs, ours) {
            Ok(incoming) => {
                self.links.push(Link([(from, connection), (to, incoming)]));
                self.nodes[from]
                    .speaker
                    .handle_connected(now, connection, ours);
            }
            Err(_) => {
                self.nodes[from].speaker.handle_connect_failed(
                    now,
                    connection,
                    "connection refused",
                );
            }
        }
    }

    fn flush(&mut self, from: usize, connection: ConnectionId) {
        loop {
            let mut out = Vec::new();
            let more = self.nodes[from].speaker.poll_transmit(
                self.now,
                connection,
                &mut out,
                self.octets_max,
            );
            if let Some((to, other)) = self.other_end(from, connection) {
                self.nodes[to].speaker.handle_bytes(self.now, other, &out);
            }
            if !more {
                break;
            }
        }
    }

    fn close(&mut self, from: usize, connection: ConnectionId) {
        if let Some((to, other)) = self.other_end(from, connection) {
            self.links
                .retain(|Link(ends)| !ends.contains(&(from, connection)));
            self.nodes[to]
                .speaker
                .handle_closed(self.now, other, "closed by peer");
        }
    }

    fn other_end(&self, node: usize, connection: ConnectionId) -> Option<(usize, ConnectionId)> {
        self.links.iter().find_map(|Link([a, b])| {
            if *a == (node, connection) {
                Some(*b)
            } else if *b == (node, connection) {
                Some(*a)
            } else {
                None
            }
        })
    }
}

impl Node {
    fn new(config: SpeakerConfig, now: Time) -> Node {
        Node {
            speaker: Speaker::new(config, now),
            events: Vec::new(),
            changes: Vec::new(),
            cut_off: false,
            clogged: false,
            ready: Vec::new(),
        }
    }
}
