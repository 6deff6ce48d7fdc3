//! A router that does what RFC 4271 §6.8 says, word for word: with each OPEN it looks at its connections in
//! OpenConfirm, and what is Established stays.

use std::net::{IpAddr, Ipv4Addr};

use super::{End, Wish, address};
use crate::event::ConnectionId;
use crate::time::Time;
use crate::wire::{Capability, Codec, Family, Message, Notification, Open};

pub(super) struct Literal {
    node: usize,
    starts: Option<Time>,
    count: u64,
    connections: Vec<Connection>,
    wishes: Vec<Wish>,
    ups: usize,
    downs: usize,
}

struct Connection {
    id: ConnectionId,
    by_us: bool,
    state: State,
    received: Vec<u8>,
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum State {
    OpenSent,
    OpenConfirm,
    Established,
}

fn router_id(node: usize) -> Ipv4Addr {
    let IpAddr::V4(id) = address(node) else {
        unreachable!()
    };
    id
}

impl Literal {
    pub(super) fn new(node: usize, starts: Time) -> Literal {
        Literal {
            node,
            starts: Some(starts),
            count: 0,
            connections: Vec::new(),
            wishes: Vec::new(),
            ups: 0,
            downs: 0,
        }
    }

    fn send(&mut self, connection: ConnectionId, message: &Message) {
        let mut out = Vec::new();
        Codec::initial().encode(message, &mut out);
        self.wishes.push(Wish::Send(connection, out));
    }

    fn begin(&mut self, id: ConnectionId, by_us: bool) {
        self.connections.push(Connection {
            id,
            by_us,
            state: State::OpenSent,
            received: Vec::new(),
        });
        let open = Open {
            asn: 64512,
            hold_time_seconds: 90,
            router_id: router_id(self.node),
            capabilities: vec![
                Capability::Multiprotocol(Family::Ipv4Unicast),
                Capability::FourOctetAs(64512),
            ],
        };
        self.send(id, &Message::Open(open));
    }

    fn end(&mut self, id: ConnectionId, say: bool) {
        let Some(index) = self.connections.iter().position(|c| c.id == id) else {
            return;
        };
        if say {
            self.send(id, &Message::Notification(Notification::new(6, 7, &[])));
        }
        self.wishes.push(Wish::Close(id));
        if self.connections.remove(index).state == State::Established {
            self.downs += 1;
        }
    }

    fn next(&mut self, id: ConnectionId) -> Option<Message> {
        let connection = self.connections.iter_mut().find(|c| c.id == id)?;
        let octets = Codec::initial().frame(&connection.received).unwrap()?;
        let message: Vec<u8> = connection.received.drain(..octets).collect();
        Some(Codec::initial().decode(&message).unwrap())
    }

    fn handle(&mut self, id: ConnectionId, message: Message) {
        let at = self.connections.iter().position(|c| c.id == id).unwrap();
        match (self.connections[at].state, message) {
            (_, Message::Notification(_)) => self.end(id, false),
            (State::OpenSent, Message::Open(open)) => {
                let dominant = router_id(self.node) > open.router_id;
                let by_us = self.connections[at].by_us;
                for other in 0..self.connections.len() {
                    let (other, state) =
                        (self.connections[other].id, self.connections[other].state);
                    if other == id {
                        continue;
                    }
                    if state == State::Established
                        || (state == State::OpenConfirm && dominant != by_us)
                    {
                        return self.end(id, true);
                    } else if state == State::OpenConfirm {
                        self.end(other, true);
                        break;
                    }
                }
                self.send(id, &Message::Keepalive);
                self.set(id, State::OpenConfirm);
            }
            (State::OpenConfirm, Message::Keepalive) => {
                self.ups += 1;
                self.set(id, State::Established);
            }
            (State::Established, Message::Keepalive | Message::Update(_)) => {}
            _ => panic!("our speaker has said what is not expected"),
        }
    }

    fn set(&mut self, id: ConnectionId, state: State) {
        let connection = self.connections.iter_mut().find(|c| c.id == id).unwrap();
        connection.state = state;
    }
}

impl End for Literal {
    fn timeout(&self) -> Option<Time> {
        self.starts
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.starts.is_some_and(|starts| starts <= now) {
            self.starts = None;
            self.wishes.push(Wish::Connect(ConnectionId(0)));
        }
    }

    fn incoming(&mut self, _now: Time, _from: IpAddr) -> Option<ConnectionId> {
        // In Idle, connections are refused.
        if self.starts.is_some() {
            return None;
        }
        self.count += 1;
        let id = ConnectionId(self.count);
        self.begin(id, false);
        Some(id)
    }

    fn connected(&mut self, _now: Time, connection: ConnectionId) {
        self.begin(connection, true);
    }

    fn bytes(&mut self, _now: Time, id: ConnectionId, bytes: &[u8]) {
        if let Some(connection) = self.connections.iter_mut().find(|c| c.id == id) {
            connection.received.extend_from_slice(bytes);
        }
        while let Some(message) = self.next(id) {
            self.handle(id, message);
        }
    }

    fn closed(&mut self, _now: Time, id: ConnectionId) {
        self.end(id, false);
    }

    fn wishes(&mut self, _now: Time) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    fn ups_and_downs(&self) -> (usize, usize) {
        (self.ups, self.downs)
    }

    fn is_established(&self) -> bool {
        self.connections
            .iter()
            .any(|c| c.state == State::Established)
    }
}
