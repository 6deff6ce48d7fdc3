//! Watches all wires of the lab: which probes crossed one, and wrapped in what.
//!
//! Racks and router are in one network namespace, so one packet socket there sees every frame that leaves any node. A probe
//! that never appears did not leave its node.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::frame::{self, Content, Probe, Wrapping};
use crate::netns::Netns;
use crate::wait;

/// The way a probe took, as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// It was on no wire.
    Local,
    /// Unwrapped on every wire.
    Direct,
    /// Inside IP protocol 4 on every wire, between these addresses.
    Ipip(std::net::IpAddr, std::net::IpAddr),
    /// Inside VXLAN on every wire, between these addresses.
    Vxlan(std::net::IpAddr, std::net::IpAddr),
    /// Seen in more than one form.
    Mixed,
}

impl Way {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Way::Local => "local",
            Way::Direct => "direct",
            Way::Ipip(..) => "IPIP",
            Way::Vxlan(..) => "VXLAN",
            Way::Mixed => "mixed",
        }
    }
}

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Watcher {
    state: Arc<State>,
    marks: UdpSocket,
    next_mark: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    seen: Mutex<HashMap<Probe, BTreeSet<Wrapping>>>,
    mark: AtomicU64,
    over: AtomicBool,
}

const ALL_PROTOCOLS: u16 = 0x0003;
const FRAME_OCTETS_MAX: usize = 65536;

impl Watcher {
    /// Watches every device of the namespace that holds the wires.
    pub fn start(fabric: &Netns) -> Result<Watcher> {
        let (socket, marks) = fabric
            .enter(|| -> std::io::Result<(Socket, UdpSocket)> {
                let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
                let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
                socket.set_recv_buffer_size(8 << 20)?;
                socket.set_read_timeout(Some(Duration::from_millis(200)))?;
                Ok((socket, UdpSocket::bind("127.0.0.1:0")?))
            })?
            .context("cannot watch the wires")?;
        let state = Arc::new(State::default());
        let for_thread = Arc::clone(&state);
        std::thread::spawn(move || watch(socket, &for_thread));
        Ok(Watcher {
            state,
            marks,
            next_mark: AtomicU64::new(1),
        })
    }

    /// The way of a probe whose answer has arrived.
    pub fn way_of(&self, probe: &Probe) -> Result<Way> {
        self.catch_up()?;
        let seen = self
            .state
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(way(seen.get(probe)))
    }

    /// Returns when every frame that crossed a wire before the call has been read. A datagram of our own, sent after them
    /// over the loopback device of the same namespace, comes out behind them.
    fn catch_up(&self) -> Result<()> {
        let mark = self.next_mark.fetch_add(1, Ordering::SeqCst);
        let mut tries = 0u32;
        wait::until("the wire watcher to catch up", || {
            // Sent again now and then: a mark may be lost where the socket's buffer overflows.
            if tries.is_multiple_of(50) {
                self.marks
                    .send_to(&mark.to_be_bytes(), "127.0.0.1:9")
                    .map_err(|error| error.to_string())?;
            }
            tries += 1;
            if self.state.mark.load(Ordering::SeqCst) >= mark {
                Ok(())
            } else {
                Err(format!("mark {mark} not seen"))
            }
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
    }
}

fn watch(mut socket: Socket, state: &State) {
    let mut buffer = vec![0; FRAME_OCTETS_MAX];
    while !state.over.load(Ordering::SeqCst) {
        let Ok(octets) = socket.read(&mut buffer) else {
            continue;
        };
        match frame::read(&buffer[..octets]) {
            Some(Content::Request(probe, wrapping)) => {
                let mut seen = state.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.entry(probe).or_default().insert(wrapping);
            }
            Some(Content::Discard(payload)) => {
                if let Ok(mark) = payload.try_into().map(u64::from_be_bytes) {
                    state.mark.fetch_max(mark, Ordering::SeqCst);
                }
            }
            None => {}
        }
    }
}

fn way(seen: Option<&BTreeSet<Wrapping>>) -> Way {
    let mut wrappings = seen.into_iter().flatten();
    match (wrappings.next(), wrappings.next()) {
        (None, _) => Way::Local,
        (Some(Wrapping::Bare), None) => Way::Direct,
        (Some(Wrapping::Ipip(from, to)), None) => Way::Ipip(*from, *to),
        (Some(Wrapping::Vxlan(from, to)), None) => Way::Vxlan(*from, *to),
        (Some(_), Some(_)) => Way::Mixed,
    }
}
