//! The connections between hosts: how they come to be, what is in them, and when it comes out.

use std::time::Duration;

use caracal_bgp::{ConnectionId, Time};

use super::{Happening, World, busy};
use crate::scale::host::{is_update, messages};
use crate::speakers::endpoint;

#[derive(Debug)]
pub(super) enum Cargo {
    Connected,
    Bytes(Box<[u8]>),
    Closed,
}

/// A TCP connection.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) ends: [End; 2],
    /// What must not pass before the partition heals.
    pub(super) held: Vec<(usize, Cargo)>,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) host: usize,
    pub(super) generation: u32,
    pub(super) connection: Option<ConnectionId>,
    /// When the last thing arrives here: nothing overtakes it.
    pub(super) last_arrival: Time,
    /// When the last piece that was sent from here is answered.
    pub(super) room_at: Time,
    /// `Room` is planned.
    pub(super) waits: bool,
}

impl World {
    pub(super) fn knock(
        &mut self,
        from: usize,
        generation: u32,
        connection: ConnectionId,
        to: usize,
    ) {
        if self.hosts[from].generation != generation {
            return;
        }
        let (now, local, remote) = (self.now, endpoint(to, 179), endpoint(from, 40000));
        let mut answer = None;
        self.attend(to, |speaker| {
            answer = speaker.handle_incoming(now, local, remote).ok();
        });
        let Some(incoming) = answer else {
            let at = now + self.latency();
            let refused = Happening::Refused {
                host: from,
                generation,
                connection,
            };
            return self.agenda.plan(at, refused);
        };
        let pipe = self.pipes.len();
        let end = |host, connection, generation| End {
            host,
            generation,
            connection: Some(connection),
            last_arrival: Time::ZERO,
            room_at: Time::ZERO,
            waits: false,
        };
        let ends = [
            end(from, connection, generation),
            end(to, incoming, self.hosts[to].generation),
        ];
        let held = Vec::new();
        self.pipes.push(Pipe { ends, held });
        self.hosts[from].attach(connection, pipe, 0);
        self.hosts[to].attach(incoming, pipe, 1);
        self.send(pipe, 0, Cargo::Connected);
        self.transmit(to, incoming);
    }

    pub(super) fn arrive(&mut self, pipe: usize, side: usize, what: Cargo) {
        let end = &self.pipes[pipe].ends[side];
        let (host, Some(connection)) = (end.host, end.connection) else {
            return;
        };
        if self.hosts[host].generation != end.generation {
            return;
        }
        let other = self.pipes[pipe].ends[1 - side].host;
        if self.is_cut(host, other) {
            self.pipes[pipe].held.push((side, what));
            return;
        }
        let now = self.now;
        match what {
            Cargo::Connected => self.attend(host, |speaker| {
                speaker.handle_connected(now, connection, endpoint(host, 40000));
            }),
            Cargo::Bytes(bytes) => {
                self.hosts[host].tally.received(&bytes);
                if self.hosts[host].book.is_some() {
                    self.read(host, other, connection, &bytes);
                } else {
                    self.attend(host, |speaker| {
                        speaker.handle_bytes(now, connection, &bytes);
                    });
                }
            }
            Cargo::Closed => {
                self.pipes[pipe].ends[side].connection = None;
                self.hosts[host].detach(connection);
                self.attend(host, |speaker| {
                    speaker.handle_closed(now, connection, "connection reset by peer");
                });
            }
        }
    }

    /// A light node: UPDATEs go into its book, and all but those with prefixes to its speaker.
    fn read(&mut self, host: usize, from: usize, connection: ConnectionId, bytes: &[u8]) {
        let (shape, now) = (self.shape, self.now);
        for message in messages(bytes) {
            if is_update(message)
                && let Some(book) = &mut self.hosts[host].book
            {
                if book.note(shape, host, from, &self.reader.read(message)) {
                    self.settled_at = now;
                }
                if message.len() > END_OF_RIB_OCTETS {
                    continue;
                }
            }
            self.attend(host, |speaker| {
                speaker.handle_bytes(now, connection, message);
            });
        }
    }

    /// Sends the next piece, or waits until there is room for it.
    pub(super) fn transmit(&mut self, host: usize, connection: ConnectionId) {
        let Some((pipe, side)) = self.hosts[host].attached(connection) else {
            return;
        };
        let end = &mut self.pipes[pipe].ends[side];
        if end.room_at > self.now {
            if !end.waits {
                end.waits = true;
                self.agenda
                    .plan(end.room_at, Happening::Room { pipe, side });
            }
            return;
        }
        let is_metered = self.shape.is_metered(host);
        self.piece.clear();
        self.piece.reserve(2 * PIECE_OCTETS);
        let state = &mut self.hosts[host];
        let Some(speaker) = &mut state.speaker else {
            return;
        };
        let capacity = self.piece.capacity();
        let before = is_metered.then(|| (self.gauge)());
        let begin = is_metered.then(busy);
        let more = speaker.poll_transmit(self.now, connection, &mut self.piece, PIECE_OCTETS);
        if let (Some(before), Some(begin)) = (before, begin) {
            let grown = self.piece.capacity() - capacity;
            state.meter.busy += busy().saturating_sub(begin);
            let after = (self.gauge)() as isize;
            state.meter.heap += after.saturating_sub_unsigned(before + grown);
            state.meter.heap_peak = state.meter.heap_peak.max(state.meter.heap);
        }
        if self.piece.is_empty() {
            return;
        }
        state.tally.sent(&self.piece);
        let bytes: Box<[u8]> = self.piece.as_slice().into();
        let arrival = self.send(pipe, 1 - side, Cargo::Bytes(bytes));
        let room_at = arrival + self.latency();
        let end = &mut self.pipes[pipe].ends[side];
        end.room_at = room_at;
        if more && !end.waits {
            end.waits = true;
            self.agenda.plan(room_at, Happening::Room { pipe, side });
        }
    }

    /// Puts something into the pipe, to come out at `side`; says when.
    pub(super) fn send(&mut self, pipe: usize, side: usize, what: Cargo) -> Time {
        let mut at = self.now;
        if let Cargo::Bytes(bytes) = &what {
            let link = &mut self.hosts[self.pipes[pipe].ends[1 - side].host].link_free;
            let micros = bytes.len() as u64 * 1_000_000 / self.shape.octets_per_second;
            *link = (*link).max(at) + Duration::from_micros(micros);
            at = *link;
        }
        let at = at + self.latency();
        let end = &mut self.pipes[pipe].ends[side];
        end.last_arrival = end.last_arrival.max(at);
        let at = end.last_arrival;
        self.agenda
            .plan(at, Happening::Arrival { pipe, side, what });
        at
    }
}

/// What is asked of `poll_transmit` at a time, and in flight on a connection.
const PIECE_OCTETS: usize = 16_384;
/// An UPDATE that says nothing (RFC 4724 §2).
const END_OF_RIB_OCTETS: usize = 23;
