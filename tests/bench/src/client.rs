//! One BGP session of the load generator: connects, agrees, sends what it is given, and ticks off what it receives.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use caracal_bgp::wire::{Capability, Codec, Family, Message, Open};
use socket2::{Domain, Socket, Type};

use crate::feed::{Octets, codec};
use crate::network::ASN;
use crate::prefixes::{Bitmap, Prefixes};
use crate::scan::Scan;

/// A client of the speaker under test.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where it connects from; also the next hop of what it announces.
    pub(crate) address: IpAddr,
    pub(crate) router_id: Ipv4Addr,
    /// Its own prefixes: what comes back of these does not count.
    pub(crate) own: Range<u32>,
    /// What it sends first in a new session.
    pub(crate) greeting: Option<Octets>,
    /// What it has: announced to it with the round it waits for, and not withdrawn since.
    pub(crate) there: Bitmap,
    /// How many prefixes it waits for.
    pub(crate) target: u32,
    pub(crate) round: u32,
    pub(crate) state: State,
    pub(crate) socket: Option<Socket>,
    /// When it tries again.
    pub(crate) retry_at: Option<Instant>,
    /// Messages received in this session.
    pub(crate) messages: u64,
    out: VecDeque<(Octets, usize)>,
    /// The beginning of a message.
    partial: Vec<u8>,
}

/// RFC 4271 §8.2.2, as far as a client that connects needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    Connect,
    OpenSent,
    OpenConfirm,
    Established,
}

impl Client {
    pub(crate) fn new(address: IpAddr, router_id: Ipv4Addr, own: Range<u32>, total: u32) -> Client {
        Client {
            address,
            router_id,
            own,
            greeting: None,
            there: Bitmap::new(total),
            target: 0,
            round: 0,
            state: State::Idle,
            socket: None,
            retry_at: None,
            messages: 0,
            out: VecDeque::new(),
            partial: Vec::new(),
        }
    }

    /// Whether it has what it waits for, in a session that is up.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Established && self.there.count() == self.target
    }

    /// Begins to connect. The caller waits for the socket to be writable.
    pub(crate) fn connect(&mut self, server: SocketAddr) -> Result<()> {
        self.drop_session();
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        // Closed by a reset: the speaker is to notice at once, and no port stays behind.
        socket.set_linger(Some(Duration::ZERO))?;
        let own = SocketAddr::new(self.address, 0);
        socket
            .bind(&own.into())
            .with_context(|| format!("bind to {own}"))?;
        match socket.connect(&server.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
            Err(error) => return Err(error).with_context(|| format!("{own} to {server}")),
        }
        self.socket = Some(socket);
        self.state = State::Connect;
        Ok(())
    }

    /// Resets the connection, and forgets what it has.
    pub(crate) fn drop_session(&mut self) {
        self.socket = None;
        self.state = State::Idle;
        self.retry_at = None;
        self.messages = 0;
        self.out.clear();
        self.partial.clear();
        self.there.clear();
    }

    /// The connection is made, or was refused.
    pub(crate) fn finish_connect(&mut self, family: Family) -> Result<()> {
        let socket = self.socket.as_ref().context("no socket")?;
        if let Some(error) = socket.take_error()? {
            return Err(error.into());
        }
        let open = Message::Open(Open {
            asn: ASN,
            hold_time_seconds: HOLD_TIME_SECONDS,
            router_id: self.router_id,
            capabilities: vec![
                Capability::Multiprotocol(family),
                Capability::RouteRefresh,
                Capability::FourOctetAs(ASN),
            ],
        });
        self.state = State::OpenSent;
        self.send_message(&open)
    }

    /// Sends octets, now or as soon as the connection takes them.
    pub(crate) fn send(&mut self, octets: Octets) -> Result<()> {
        let idle = self.out.is_empty();
        self.out.push_back((octets, 0));
        if idle { self.flush() } else { Ok(()) }
    }

    /// KEEPALIVE, if the session is up.
    pub(crate) fn keep_alive(&mut self) -> Result<()> {
        match self.state {
            State::Established => self.send_message(&Message::Keepalive),
            _ => Ok(()),
        }
    }

    /// Writes what is waiting.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        while let Some((octets, at)) = self.out.front_mut() {
            match socket.write(&octets[*at..]) {
                Ok(written) => *at += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("write"),
            }
            if *at == octets.len() {
                self.out.pop_front();
            }
        }
        Ok(())
    }

    /// Reads and handles all that has come. `buffer` is for everyone. `to_the_end`: the speaker has closed.
    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        prefixes: Prefixes,
        to_the_end: bool,
    ) -> Result<()> {
        loop {
            let kept = self.partial.len();
            buffer[..kept].copy_from_slice(&self.partial);
            let Some(socket) = &mut self.socket else {
                return Ok(());
            };
            let read = match socket.read(&mut buffer[kept..]) {
                Ok(0) => bail!("closed by the speaker"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error).context("read"),
            };
            let filled = kept + read;
            let handled = self.handle_octets(&buffer[..filled], prefixes)?;
            self.partial.clear();
            self.partial.extend_from_slice(&buffer[handled..filled]);
            // Less than there was room for: there is no more.
            if filled < buffer.len() && !to_the_end {
                return Ok(());
            }
        }
    }

    /// Handles all whole messages, and says how many octets these had.
    fn handle_octets(&mut self, octets: &[u8], prefixes: Prefixes) -> Result<usize> {
        let mut at = 0;
        while let Some(header) = octets[at..].first_chunk::<HEADER_OCTETS>() {
            let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
            if length < HEADER_OCTETS || header[..16] != MARKER {
                bail!("no message begins where one should");
            }
            let Some(message) = octets[at..].get(..length) else {
                break;
            };
            self.messages += 1;
            if self.state == State::Established && header[18] == UPDATE {
                self.handle_update(&message[HEADER_OCTETS..], prefixes)?;
            } else {
                self.handle_message(message)?;
            }
            at += length;
        }
        Ok(at)
    }

    fn handle_update(&mut self, body: &[u8], prefixes: Prefixes) -> Result<()> {
        let scan = Scan::read(body).context("an UPDATE that ends too early")?;
        let (withdrawn, announced) = match prefixes.ipv6 {
            false => (scan.withdrawn, scan.announced),
            true => (scan.withdrawn_v6, scan.announced_v6),
        };
        let fresh = scan.med == Some(self.round);
        let (own, there) = (self.own.clone(), &mut self.there);
        let foreign = |_| anyhow::anyhow!("a prefix that nobody has announced: {scan:?}");
        prefixes
            .numbers(withdrawn, |i| there.set(i, false))
            .map_err(foreign)?;
        prefixes
            .numbers(announced, |i| there.set(i, fresh && !own.contains(&i)))
            .map_err(foreign)
    }

    /// Everything else, and UPDATEs that come too early.
    fn handle_message(&mut self, message: &[u8]) -> Result<()> {
        let read = Codec::decode(&codec(), message);
        let read = read.map_err(|error| anyhow::anyhow!("not a message: {error}"))?;
        match (self.state, read) {
            (_, Message::Notification(notification)) => bail!("{notification}"),
            (State::OpenSent, Message::Open(_)) => {
                self.state = State::OpenConfirm;
                self.send_message(&Message::Keepalive)
            }
            (State::OpenConfirm, Message::Keepalive) => {
                self.state = State::Established;
                match self.greeting.clone() {
                    Some(octets) => self.send(octets),
                    None => Ok(()),
                }
            }
            (State::Established, _) => Ok(()),
            (state, message) => bail!("unexpected in {state:?}: {message:?}"),
        }
    }

    fn send_message(&mut self, message: &Message) -> Result<()> {
        let mut out = Vec::new();
        codec().encode(message, &mut out);
        self.send(out.into())
    }
}

/// RFC 4271 §4.1.
const HEADER_OCTETS: usize = 19;
const MARKER: [u8; 16] = [0xff; 16];
const UPDATE: u8 = 2;
const HOLD_TIME_SECONDS: u16 = 90;
/// linux/errno.h: a connection that is not blocking has begun.
const EINPROGRESS: i32 = 115;
