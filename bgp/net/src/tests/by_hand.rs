//! A peer that the test plays itself, message by message.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use caracal_bgp::wire::{Capability, Codec, Family, Message, Open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{ASN, DEADLINE, loopback};

pub(super) struct ByHand {
    stream: TcpStream,
    codec: Codec,
    last: u8,
    read: Vec<u8>,
}

/// A connection from 127.0.0.`last` with a small receive buffer.
pub(super) async fn tcp(last: u8, to: SocketAddr) -> TcpStream {
    tcp_with(last, to, |_| {}).await
}

/// The same from a socket with options.
pub(super) async fn tcp_with(
    last: u8,
    to: SocketAddr,
    prepare: impl FnOnce(&TcpSocket),
) -> TcpStream {
    knock(last, to, prepare).await.unwrap()
}

/// An attempt at the same.
pub(super) async fn knock(
    last: u8,
    to: SocketAddr,
    prepare: impl FnOnce(&TcpSocket),
) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    prepare(&socket);
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::new(loopback(last), 0)).unwrap();
    timeout(DEADLINE, socket.connect(to)).await.unwrap()
}

/// It was closed without a word: end of file, or a reset, which may come before `connect` returns.
pub(super) async fn assert_refused(connected: io::Result<TcpStream>) {
    if let Ok(mut stream) = connected {
        let read = timeout(DEADLINE, stream.read(&mut [0; 64])).await.unwrap();
        assert_eq!(read.unwrap_or(0), 0);
    }
}

/// The OPEN of 127.0.0.`last`, as octets.
pub(super) fn open_message(last: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::initial().encode(&Message::Open(open(last)), &mut bytes);
    bytes
}

fn open(last: u8) -> Open {
    Open {
        asn: ASN,
        hold_time_seconds: 90,
        router_id: Ipv4Addr::new(10, 0, 0, last),
        capabilities: vec![
            Capability::Multiprotocol(Family::Ipv4Unicast),
            Capability::FourOctetAs(ASN),
            Capability::RouteRefresh,
        ],
    }
}

impl ByHand {
    pub(super) async fn connect(last: u8, to: SocketAddr) -> ByHand {
        ByHand::over(tcp(last, to).await, last)
    }

    /// On a connection that is there.
    pub(super) fn over(stream: TcpStream, last: u8) -> ByHand {
        ByHand {
            stream,
            codec: Codec::initial(),
            last,
            read: Vec::new(),
        }
    }

    /// Its connection, for options.
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// OPEN and KEEPALIVE in both directions.
    pub(super) async fn establish(mut self) -> ByHand {
        let families = vec![Family::Ipv4Unicast];
        self.send(&Message::Open(open(self.last))).await;
        assert!(matches!(self.read().await, Some(Message::Open(_))));
        self.codec.four_octet_as = true;
        self.codec.families = families;
        self.send(&Message::Keepalive).await;
        assert_eq!(self.read().await, Some(Message::Keepalive));
        self
    }

    /// These messages as octets.
    pub(super) fn encoded(&self, messages: &[Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            self.codec.encode(message, &mut bytes);
        }
        bytes
    }

    /// Its connection, to do as one likes.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(super) async fn send(&mut self, message: &Message) {
        let mut bytes = Vec::new();
        self.codec.encode(message, &mut bytes);
        timeout(DEADLINE, self.stream.write_all(&bytes))
            .await
            .unwrap()
            .unwrap();
    }

    /// The next message; `None` when the other side has closed.
    pub(super) async fn read(&mut self) -> Option<Message> {
        loop {
            if let Some(length) = self.codec.frame(&self.read).unwrap()
                && self.read.len() >= length
            {
                let message: Vec<u8> = self.read.drain(..length).collect();
                return Some(self.codec.decode(&message).unwrap());
            }
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.read))
                .await
                .unwrap()
                .unwrap();
            if read == 0 {
                return None;
            }
        }
    }

    /// Reads to the end. What was said that is neither KEEPALIVE nor UPDATE?
    pub(super) async fn last_words(&mut self) -> Option<Message> {
        let mut said = None;
        while let Some(message) = self.read().await {
            if !matches!(message, Message::Keepalive | Message::Update(_)) {
                said = Some(message);
            }
        }
        said
    }

    /// Ends the connection as a crash of the host would: RST.
    pub(super) fn reset(self) {
        self.stream.set_zero_linger().unwrap();
    }
}
