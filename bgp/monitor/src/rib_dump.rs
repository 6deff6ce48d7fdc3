//! All that peers have sent, and what we originate, as MRT (RFC 6396 §4.3).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use caracal_bgp::PeerId;
use caracal_bgp::tap::{Cursor, Row, Session};

use crate::monitor::Identity;
use crate::mrt::{self, IndexedPeer, RibEntry};

/// A dump that is under way.
#[derive(Debug)]
pub(crate) struct RibDump {
    pub(crate) id: u64,
    seconds: u32,
    sequence: u32,
    /// Where each is in PEER_INDEX_TABLE. Who comes up later is in the next dump.
    index: BTreeMap<PeerId, u16>,
    next: Cursor,
    asked: bool,
}

impl RibDump {
    /// Begins with PEER_INDEX_TABLE. The first is ourselves.
    pub(crate) fn begin(
        id: u64,
        seconds: u32,
        identity: &Identity,
        sessions: &BTreeMap<PeerId, Session>,
        out: &mut Vec<u8>,
    ) -> RibDump {
        let mut peers = vec![IndexedPeer {
            router_id: identity.router_id,
            address: Ipv4Addr::UNSPECIFIED.into(),
            asn: identity.asn,
        }];
        let mut index = BTreeMap::new();
        for session in sessions.values() {
            if let Ok(place) = u16::try_from(peers.len()) {
                index.insert(session.peer, place);
                peers.push(IndexedPeer {
                    router_id: session.router_id,
                    address: session.remote.ip(),
                    asn: session.remote_asn,
                });
            }
        }
        mrt::peer_index_table(seconds, identity.router_id, &peers, out);
        RibDump {
            id,
            seconds,
            sequence: 0,
            index,
            next: Cursor::default(),
            asked: false,
        }
    }

    /// The next piece, if it is not on its way.
    pub(crate) fn poll_piece(&mut self) -> Option<(u64, Cursor)> {
        (!std::mem::replace(&mut self.asked, true)).then_some((self.id, self.next))
    }

    /// True: that was the last.
    pub(crate) fn rows(&mut self, rows: &[Row], then: Option<Cursor>, out: &mut Vec<u8>) -> bool {
        for row in rows {
            let entries: Vec<RibEntry> = row
                .paths
                .iter()
                .filter_map(|path| {
                    let peer = match path.peer {
                        None => 0,
                        Some(peer) => *self.index.get(&peer)?,
                    };
                    Some(RibEntry {
                        peer,
                        // The tables do not keep it.
                        originated_seconds: self.seconds,
                        path_id: path.path_id,
                        attributes: path.received.unpack(),
                    })
                })
                .collect();
            if !entries.is_empty() {
                mrt::rib(self.seconds, self.sequence, &row.prefix, &entries, out);
                self.sequence = self.sequence.wrapping_add(1);
            }
        }
        self.asked = false;
        if let Some(next) = then {
            self.next = next;
        }
        then.is_none()
    }
}
