//! Messages and state changes as MRT (RFC 6396 §4.4).

use std::collections::BTreeMap;

use caracal_bgp::PeerId;
use caracal_bgp::tap::{DownReason, Session, Tapped};

use crate::bmp::length;
use crate::mrt::{self, Between, MessageForm};
use crate::wall::WallClock;

/// Appends what it is in MRT; most is nothing.
pub(crate) fn write(
    wall: WallClock,
    sessions: &BTreeMap<PeerId, Session>,
    tapped: &Tapped,
    out: &mut Vec<u8>,
) {
    match tapped {
        Tapped::State {
            at,
            remote,
            local,
            remote_asn,
            local_asn,
            old,
            new,
            ..
        } => {
            let between = Between {
                at: wall.at(*at),
                remote_asn: *remote_asn,
                local_asn: *local_asn,
                remote: *remote,
                local: *local,
            };
            mrt::state_change(&between, *old, *new, out);
        }
        // OPENs are read from here: they say how all the others are to be read.
        Tapped::Up(session) => {
            let between = between(wall, session, session.at);
            mrt::message(&between, form(session, true), &session.sent_open, out);
            mrt::message(&between, form(session, false), &session.received_open, out);
        }
        Tapped::Down { peer, at, reason } => {
            let Some(session) = sessions.get(peer) else {
                return;
            };
            let between = between(wall, session, *at);
            // One that was received has been tapped as a message.
            if let DownReason::NotificationSent(octets) = reason {
                mrt::message(&between, form(session, true), octets, out);
            }
        }
        Tapped::Received { peer, at, octets } => {
            if let Some(session) = sessions.get(peer) {
                let between = between(wall, session, *at);
                mrt::message(&between, form(session, false), octets, out);
            }
        }
        Tapped::Sent { peer, at, octets } => {
            let Some(session) = sessions.get(peer) else {
                return;
            };
            let between = between(wall, session, *at);
            let mut octets: &[u8] = octets;
            while let Some(length) = length(octets) {
                let (message, rest) = octets.split_at(length);
                mrt::message(&between, form(session, true), message, out);
                octets = rest;
            }
        }
        Tapped::Begin
        | Tapped::AdjRibIn { .. }
        | Tapped::EndOfRib { .. }
        | Tapped::LocRib { .. }
        | Tapped::Rows { .. } => {}
    }
}

fn between(wall: WallClock, session: &Session, at: caracal_bgp::Time) -> Between {
    Between {
        at: wall.at(at),
        remote_asn: session.remote_asn,
        local_asn: session.local_asn,
        remote: session.remote,
        local: session.local,
    }
}

fn form(session: &Session, sent: bool) -> MessageForm {
    MessageForm {
        four_octet_as: session.codec.four_octet_as,
        add_path: !if sent {
            &session.codec.add_path_send
        } else {
            &session.codec.add_path_receive
        }
        .is_empty(),
        sent,
    }
}
