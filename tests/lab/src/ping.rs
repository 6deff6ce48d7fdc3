//! Echo requests of our own: one at a time with its round-trip time, or a steady stream that counts what is lost.
//!
//! A raw socket a target, opened in the pod's network namespace. Each request carries its number, so a late answer is
//! counted for the request that it belongs to, and only once.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::Probe;
use crate::netns::Netns;

/// Asks one target.
#[derive(Debug)]
pub struct Pinger {
    socket: Socket,
    probe: Probe,
    next: u64,
}

static NEXT_ID: AtomicU16 = AtomicU16::new(1);

impl Pinger {
    /// A pinger inside `netns`. The kernel chooses the source address.
    pub fn open(netns: &Netns, target: IpAddr) -> Result<Pinger> {
        let socket = netns.enter(|| -> std::io::Result<Socket> {
            let socket = match target {
                IpAddr::V4(_) => Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?,
                IpAddr::V6(_) => Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?,
            };
            socket.connect(&SocketAddr::new(target, 0).into())?;
            Ok(socket)
        })?;
        let socket =
            socket.with_context(|| format!("cannot ping {target} from {}", netns.name()))?;
        let source = socket
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket());
        let source = source
            .with_context(|| format!("{} has no address towards {target}", netns.name()))?
            .ip();
        let id = NEXT_ID.fetch_add(1, Ordering::SeqCst);
        Ok(Pinger {
            socket,
            probe: Probe { source, target, id },
            next: 0,
        })
    }

    /// What the wire watcher knows our requests by.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    /// One request; the time until its answer, or `None` when `patience` is over.
    pub fn ask(&mut self, patience: Duration) -> Option<Duration> {
        let start = Instant::now();
        let number = self.send().ok()?;
        while let Some(left) = patience.checked_sub(start.elapsed()) {
            if self.receive(left) == Some(number) {
                return Some(start.elapsed());
            }
        }
        None
    }

    /// Sends the next request; its number.
    fn send(&mut self) -> std::io::Result<u64> {
        let number = self.next;
        self.next += 1;
        let sequence = (number & 0xffff) as u16;
        self.socket.send(&request(&self.probe, sequence, number))?;
        Ok(number)
    }

    /// The number of an answer that arrives within `patience`.
    fn receive(&mut self, patience: Duration) -> Option<u64> {
        // Zero would mean for ever.
        let patience = patience.max(Duration::from_micros(100));
        self.socket.set_read_timeout(Some(patience)).ok()?;
        let mut buffer = [0; 2048];
        match self.socket.read(&mut buffer) {
            Ok(octets) => answer(&self.probe, &buffer[..octets]),
            Err(error) => {
                // An ICMP error comes back as an error of the socket, at once: do not spin on it.
                if !matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                None
            }
        }
    }
}

/// A steady stream of requests, until it is finished.
#[derive(Debug)]
pub struct Stream {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Tally>,
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Requests that were due and sent, or refused by the kernel.
    pub sent: u64,
    /// Numbers of requests without an answer, in order.
    pub lost: Vec<u64>,
    /// Longest time between the sending of a request and its answer.
    pub slowest: Duration,
}

impl Stream {
    /// Sends `per_second` requests a second from now on.
    pub fn start(mut pinger: Pinger, per_second: u32) -> Stream {
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let interval = Duration::from_secs(1) / per_second.max(1);
        let thread = std::thread::spawn(move || {
            let mut due = Instant::now();
            let mut book: Vec<Entry> = Vec::new();
            while !told.load(Ordering::SeqCst) {
                // Who was kept from running does not make up for it: a burst overruns the queues of kernel and socket.
                due = (due + interval).max(Instant::now());
                book.push(Entry {
                    sent: Instant::now(),
                    answered: None,
                });
                // A request that the kernel refuses counts as lost: it has an entry, and no answer will come.
                let _ = pinger.send();
                count.fetch_add(1, Ordering::SeqCst);
                while let Some(left) = due
                    .checked_duration_since(Instant::now())
                    .filter(|left| !left.is_zero())
                {
                    note(&mut book, pinger.receive(left));
                }
            }
            let end = Instant::now() + LAST_ANSWERS;
            while book.iter().any(|entry| entry.answered.is_none()) && Instant::now() < end {
                note(&mut book, pinger.receive(Duration::from_millis(50)));
            }
            tally(&book)
        });
        Stream { over, sent, thread }
    }

    /// Requests so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }

    /// Stops asking, waits for late answers, and counts.
    pub fn finish(self) -> Result<Tally> {
        self.over.store(true, Ordering::SeqCst);
        self.thread
            .join()
            .map_err(|_| anyhow!("the pinger panicked"))
    }
}

/// How long the answers to the last requests may take.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

struct Entry {
    sent: Instant,
    answered: Option<Duration>,
}

fn note(book: &mut [Entry], number: Option<u64>) {
    let index = number.and_then(|number| usize::try_from(number).ok());
    if let Some(entry) = index.and_then(|index| book.get_mut(index)) {
        entry.answered.get_or_insert_with(|| entry.sent.elapsed());
    }
}

fn tally(book: &[Entry]) -> Tally {
    let lost = (0..)
        .zip(book)
        .filter(|(_, entry)| entry.answered.is_none())
        .map(|(number, _)| number)
        .collect();
    let slowest = book
        .iter()
        .filter_map(|entry| entry.answered)
        .max()
        .unwrap_or_default();
    Tally {
        sent: book.len() as u64,
        lost,
        slowest,
    }
}

/// ICMP echo request: type, code, checksum, identifier, sequence, and the number as data.
fn request(probe: &Probe, sequence: u16, number: u64) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0] = if probe.target.is_ipv4() { 8 } else { 128 };
    packet[4..6].copy_from_slice(&probe.id.to_be_bytes());
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[8..16].copy_from_slice(&number.to_be_bytes());
    if probe.target.is_ipv4() {
        // In IPv6 the kernel does it.
        let sum = checksum(&packet);
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// The number of an echo reply that is ours. In IPv4 the IP header comes first.
fn answer(probe: &Probe, packet: &[u8]) -> Option<u64> {
    let (reply, message) = match probe.target {
        IpAddr::V4(_) => (0, packet.get(usize::from(packet.first()? & 0x0f) * 4..)?),
        IpAddr::V6(_) => (129, packet),
    };
    let ours = *message.first()? == reply && message.get(4..6)? == probe.id.to_be_bytes();
    let number = message.get(8..16)?.try_into().ok()?;
    ours.then(|| u64::from_be_bytes(number))
}

fn checksum(octets: &[u8]) -> u16 {
    let sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests;
