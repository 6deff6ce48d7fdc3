//! Speakers of other nodes, in this process: each has an address on one rack, one session, to the node under test, and
//! blocks to announce.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use caracal_bgp::wire::Family;
use caracal_bgp::{LocalPath, PeerConfig, Speaker, SpeakerConfig, Time};
use caracal_bgp_net::Shell;
use caracal_lab::topology::{ASN, site};
use caracal_lab::{Lab, Netns, manifests};
use ipnet::{IpNet, Ipv4Net};
use tokio::sync::oneshot;

/// Nodes that exist as addresses and sessions only.
#[derive(Debug)]
pub struct Speakers {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// The n-th of them, from 0, on rack 1.
pub fn address_of(speaker: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 31, 1, FIRST + speaker)
}

/// The n-th block of a speaker.
pub fn block_of(speaker: u8, number: u16) -> IpNet {
    let start = u32::from(Ipv4Addr::new(10, 64, 0, 0));
    let index = u32::from(speaker) * 1024 + u32::from(number);
    Ipv4Net::new_assert(Ipv4Addr::from(start + index * 64), 26).into()
}

/// Their Node resources, so that agents have sessions with them, and a namespace with all their addresses but those of the
/// last `absent`, on which nobody answers.
pub fn add_nodes(lab: &Lab, count: u8, absent: u8) -> Result<Netns> {
    let place = site("speakers", 1, FIRST - 1);
    let netns = lab.connect(&place)?;
    for speaker in 0..count {
        let site = site(&format!("speaker{speaker}"), 1, FIRST + speaker);
        let file = format!("{}.yaml", site.name);
        manifests::write(&lab.store, &file, &manifests::node(&site, false))?;
        if speaker + absent < count {
            netns.ip(&["addr", "add", &site.ipv4.to_string(), "dev", "eth0"])?;
        }
    }
    Ok(netns)
}

impl Speakers {
    /// Starts `count` of them, each with `blocks` blocks to announce to the router at `router`.
    pub fn start(netns: &Netns, count: u8, blocks: u16, router: IpAddr) -> Result<Speakers> {
        let (started, outcome) = mpsc::channel();
        let (end, ended) = oneshot::channel();
        let netns = netns.clone();
        let thread = std::thread::spawn(move || {
            netns.enter(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                runtime.block_on(async {
                    let shells: Result<Vec<Shell>> = (0..count)
                        .map(|speaker| shell(speaker, blocks, router))
                        .collect();
                    let shells = match shells {
                        Ok(shells) => shells,
                        Err(fault) => {
                            started.send(Err(fault)).ok();
                            return Ok(());
                        }
                    };
                    started.send(Ok(())).ok();
                    ended.await.ok();
                    drop(shells);
                    Ok(())
                })
            })?
        });
        outcome.recv().context("the speakers did not start")??;
        Ok(Speakers {
            end: Some(end),
            thread: Some(thread),
        })
    }
}

impl Drop for Speakers {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn shell(speaker: u8, blocks: u16, router: IpAddr) -> Result<Shell> {
    let own = address_of(speaker);
    let config = SpeakerConfig {
        seed: speaker.into(),
        ..SpeakerConfig::new(ASN, own)
    };
    let mut core = Speaker::new(config, Time::ZERO);
    for number in 0..blocks {
        core.originate(Time::ZERO, block_of(speaker, number), LocalPath::default());
    }
    let peer = PeerConfig {
        name: "router".to_owned(),
        local_address: Some(own.into()),
        families: vec![Family::Ipv4Unicast],
        connect_retry: Duration::from_millis(200),
        ..PeerConfig::new(router, ASN, ASN)
    };
    core.set_peer(Time::ZERO, peer);
    let listen = SocketAddr::new(own.into(), 179);
    Shell::start(core, &[listen]).map_err(|fault| anyhow!("{own}: {fault}"))
}

/// Numbers below are the lab's own nodes'.
const FIRST: u8 = 100;
