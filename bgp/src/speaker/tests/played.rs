//! A peer that the test plays by hand, message by message: it may say what no speaker of ours would.

use super::*;
use crate::config::PeerConfig;
use crate::event::ConnectionId;
use crate::wire::{Attributes, Capability, Codec, Family, Message, Notification, Open};

/// Which node of the net is played.
pub(super) const PLAYED: usize = 8;

/// The peer of node 0 that is played.
pub(super) struct Played {
    pub(super) net: Net,
    pub(super) connection: ConnectionId,
    /// As it was agreed on.
    pub(super) codec: Codec,
}

/// The first families of all.
pub(super) const BOTH: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];

/// Graceful restart (RFC 4724 §3) as the peer offers it.
#[derive(Clone)]
pub(super) struct Grace {
    pub(super) restarted: bool,
    pub(super) notification: bool,
    pub(super) time_seconds: u16,
    pub(super) families: Vec<(Family, bool)>,
}

impl Grace {
    pub(super) fn new() -> Grace {
        Grace {
            restarted: false,
            notification: true,
            time_seconds: 100,
            families: BOTH.map(|family| (family, true)).to_vec(),
        }
    }

    pub(super) fn capability(self) -> Capability {
        Capability::GracefulRestart {
            restarted: self.restarted,
            notification: self.notification,
            time_seconds: self.time_seconds,
            families: self.families,
        }
    }
}

/// An OPEN of the played peer, with both families and what else is said.
pub(super) fn open_with(capabilities: Vec<Capability>) -> Open {
    let mut all = BOTH.map(Capability::Multiprotocol).to_vec();
    all.extend([Capability::RouteRefresh, Capability::FourOctetAs(64512)]);
    all.extend(capabilities);
    Open {
        asn: 64512,
        hold_time_seconds: 90,
        router_id: [10, 0, 0, 9].into(),
        capabilities: all,
    }
}

impl Played {
    /// Established, with a node 0 that was configured so.
    pub(super) fn start(config: PeerConfig, open: Open) -> Played {
        let mut net = Net::new(2);
        net.peer(
            0,
            PeerConfig {
                passive: true,
                ..config
            },
        );
        Played::join(net, open)
    }

    /// Established with node 0 of this net.
    pub(super) fn join(net: Net, open: Open) -> Played {
        let codec = Codec {
            four_octet_as: true,
            families: BOTH.to_vec(),
            ..Codec::initial()
        };
        let mut played = Played {
            net,
            connection: ConnectionId(u64::MAX),
            codec,
        };
        played.connect(open);
        played
    }

    pub(super) fn connect(&mut self, open: Open) {
        self.connection = self.net.dial(PLAYED, 0).unwrap();
        self.net.sent(0, self.connection);
        let codec = std::mem::replace(&mut self.codec, Codec::initial());
        self.say(&Message::Open(open));
        self.codec = codec;
        self.say(&Message::Keepalive);
        assert_eq!(self.net.view(0, PLAYED).state, "Established");
    }

    pub(super) fn say(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        self.codec.encode(message, &mut bytes);
        self.bytes(&bytes);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let now = self.net.now;
        let speaker = &mut self.net.nodes[0].speaker;
        speaker.handle_bytes(now, self.connection, bytes);
    }

    pub(super) fn announce(&mut self, texts: &[&str]) {
        self.announce_with(texts, &[]);
    }

    pub(super) fn announce_with(&mut self, texts: &[&str], communities: &[u32]) {
        for text in texts {
            let prefix = prefix(text);
            let next_hop = match Family::of(&prefix) {
                Family::Ipv4Unicast => [10, 0, 0, 9].into(),
                Family::Ipv6Unicast => "fd00::9".parse().unwrap(),
            };
            let attributes = Attributes {
                next_hop: Some(next_hop),
                communities: communities.to_vec(),
                ..Attributes::default()
            };
            let mut bytes = Vec::new();
            assert_eq!(
                self.codec
                    .encode_announce(&attributes, &[prefix.into()], &mut bytes),
                1
            );
            self.bytes(&bytes);
        }
    }

    pub(super) fn end_of_rib(&mut self, families: &[Family]) {
        for &family in families {
            let mut bytes = Vec::new();
            self.codec.encode_end_of_rib(family, &mut bytes);
            self.bytes(&bytes);
        }
    }

    /// TCP breaks.
    pub(super) fn lose(&mut self) {
        let now = self.net.now;
        let speaker = &mut self.net.nodes[0].speaker;
        speaker.handle_closed(now, self.connection, "connection reset by peer");
        self.net.settle();
    }

    pub(super) fn notify(&mut self, code: u8, subcode: u8, data: &[u8]) {
        self.say(&Message::Notification(Notification::new(
            code, subcode, data,
        )));
        self.net.settle();
    }

    /// Time passes, and the peer says KEEPALIVE often enough.
    pub(super) fn stay_for(&mut self, seconds: u64) {
        for _ in 0..seconds / 10 {
            self.net.run_for(10);
            self.say(&Message::Keepalive);
        }
        self.net.run_for(seconds % 10);
    }

    pub(super) fn stale(&self) -> usize {
        self.net.view(0, PLAYED).prefixes_stale
    }

    pub(super) fn prefixes(&self) -> Vec<String> {
        self.net.prefixes(0)
    }
}
