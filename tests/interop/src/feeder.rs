//! A neighbour that says exactly what the test wants: OPEN, KEEPALIVE, and UPDATEs that are given.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use caracal_bgp::wire::{Attributes, Capability, Codec, Family, Message, Nlri, Open};
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::duel::Duel;

/// One neighbour of a router. It listens to everything and answers with KEEPALIVEs only.
#[derive(Debug)]
pub struct Feeder {
    runtime: Runtime,
    codec: Codec,
    writer: tokio::net::tcp::OwnedWriteHalf,
    reader: JoinHandle<String>,
}

impl Feeder {
    /// Connects from `own` and comes to Established. A router that does not listen yet is tried again.
    pub fn connect(
        duel: &Duel,
        own: IpAddr,
        asn: u32,
        router_id: Ipv4Addr,
        router: SocketAddr,
    ) -> Result<Feeder> {
        let runtime = duel.runtime()?;
        let task = runtime.spawn(meet(own, asn, router_id, router));
        let (stream, codec) = runtime.block_on(task)??;
        let (reader, writer) = stream.into_split();
        let reader = runtime.spawn(listen(reader, codec.clone()));
        Ok(Feeder {
            runtime,
            codec,
            writer,
            reader,
        })
    }

    /// Announces a prefix.
    pub fn announce(&mut self, prefix: IpNet, attributes: &Attributes) -> Result<()> {
        let mut bytes = Vec::new();
        self.codec
            .encode_announce(attributes, &[Nlri::from(prefix)], &mut bytes);
        self.say(&bytes)
    }

    /// Says that this was all.
    pub fn end_of_rib(&mut self, family: Family) -> Result<()> {
        let mut bytes = Vec::new();
        self.codec.encode_end_of_rib(family, &mut bytes);
        self.say(&bytes)
    }

    fn say(&mut self, bytes: &[u8]) -> Result<()> {
        if self.reader.is_finished() {
            let why = self.runtime.block_on(&mut self.reader)?;
            bail!("the router has ended the session: {why}");
        }
        let (runtime, writer) = (&self.runtime, &mut self.writer);
        runtime
            .block_on(writer.write_all(bytes))
            .context("to the router")
    }
}

/// TCP, OPENs, KEEPALIVEs.
async fn meet(
    own: IpAddr,
    asn: u32,
    router_id: Ipv4Addr,
    router: SocketAddr,
) -> Result<(TcpStream, Codec)> {
    let mut tries = 0;
    loop {
        match try_to_meet(own, asn, router_id, router).await {
            Err(_) if tries < 300 => tries += 1,
            outcome => return outcome.with_context(|| format!("{own} to {router}")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn try_to_meet(
    own: IpAddr,
    asn: u32,
    router_id: Ipv4Addr,
    router: SocketAddr,
) -> Result<(TcpStream, Codec)> {
    let socket = match own {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind(SocketAddr::new(own, 0))?;
    let mut stream = socket.connect(router).await?;
    let families = vec![Family::Ipv4Unicast, Family::Ipv6Unicast];
    let capabilities = families.iter().map(|&f| Capability::Multiprotocol(f));
    let open = Open {
        asn,
        // Nobody here says KEEPALIVE in time.
        hold_time_seconds: 0,
        router_id,
        capabilities: capabilities.chain([Capability::FourOctetAs(asn)]).collect(),
    };
    let mut bytes = Vec::new();
    Codec::initial().encode(&Message::Open(open), &mut bytes);
    Codec::initial().encode(&Message::Keepalive, &mut bytes);
    stream.write_all(&bytes).await?;
    let codec = Codec {
        four_octet_as: true,
        families,
        ..Codec::initial()
    };
    for expected in ["OPEN", "KEEPALIVE"] {
        match next(&mut stream, &Codec::initial()).await? {
            Message::Open(_) if expected == "OPEN" => {}
            Message::Keepalive if expected == "KEEPALIVE" => {}
            other => bail!("{expected} was expected, it said {other:?}"),
        }
    }
    Ok((stream, codec))
}

/// Reads until the end, and says what it was.
async fn listen(mut stream: tokio::net::tcp::OwnedReadHalf, codec: Codec) -> String {
    loop {
        match next(&mut stream, &codec).await {
            Ok(Message::Notification(notification)) => return notification.to_string(),
            Ok(_) => {}
            Err(error) => return format!("{error:#}"),
        }
    }
}

async fn next(stream: &mut (impl AsyncReadExt + Unpin), codec: &Codec) -> Result<Message> {
    let mut header = [0; 19];
    stream.read_exact(&mut header).await?;
    let framed = codec.frame(&header).map_err(|n| anyhow::anyhow!("{n}"))?;
    let mut message = header.to_vec();
    message.resize(framed.context("no length")?, 0);
    stream.read_exact(&mut message[19..]).await?;
    codec.decode(&message).map_err(|n| anyhow::anyhow!("{n}"))
}
