//! What is expected of single features with any router that has them: a test body for each, in [`Match`]es.
//!
//! Which router has which, and which test shows it, is in `docs/interop.md`.

pub mod add_path;
pub mod attributes;
pub mod limits;
pub mod manners;
pub mod refresh;
pub mod restart;
pub mod security;
pub mod shutdown;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use caracal_bgp::view::{PathView, PeerView};
use caracal_bgp::wire::Family;
use caracal_bgp::{LocalPath, PeerConfig, Speaker, SpeakerConfig, Time};
use caracal_bgp_net::SessionOptions;
use caracal_lab::wait;
use ipnet::IpNet;

use crate::duel::{Duel, THEIRS, Voice, v4, v6};
use crate::router::{Announced, Learned, Place, Router, Wish};

/// A speaker of ours (number 1 on the link) and a router (number 100).
#[derive(Debug)]
pub struct Match<R> {
    /// The speaker.
    pub ours: Voice,
    /// The router.
    pub router: R,
    /// The speaker's address in the session.
    pub own: IpAddr,
    /// The router's address in the session.
    pub theirs: IpAddr,
    /// How the speaker is.
    pub speaker: SpeakerConfig,
    /// How its side of the session is.
    pub config: PeerConfig,
    /// The link between them.
    pub duel: Duel,
}

impl<R: Router> Match<R> {
    /// With the session Established on both sides.
    pub fn begin(
        asn: u32,
        wish: Wish,
        change: impl Fn(&mut SpeakerConfig, &mut PeerConfig),
    ) -> Result<Match<R>> {
        let mut one = Match::prepare(asn, wish, change)?;
        one.is_established()?;
        Ok(one)
    }

    /// Whether or not there will be a session. With an IPv6 next hop it is over IPv6.
    pub fn prepare(
        asn: u32,
        wish: Wish,
        change: impl Fn(&mut SpeakerConfig, &mut PeerConfig),
    ) -> Result<Match<R>> {
        let duel = Duel::new()?;
        let (own, theirs) = match wish.extended_next_hop {
            true => (v6(1), v6(THEIRS)),
            false => (v4(1), v4(THEIRS)),
        };
        let mut config = PeerConfig::new(theirs, asn, wish.asn);
        config.local_address = Some(own);
        config.connect_retry = RETRY;
        if wish.extended_next_hop {
            config.families = vec![Family::Ipv4Unicast, Family::Ipv6Unicast];
        }
        let mut speaker = SpeakerConfig::new(wish.asn, Ipv4Addr::new(10, 9, 0, 1));
        change(&mut speaker, &mut config);
        let router = R::start(Place::in_duel(&duel, asn, wish, &[own]))?;
        let ours = speak(&duel, speaker.clone(), vec![config.clone()])?;
        Ok(Match {
            ours,
            router,
            own,
            theirs,
            speaker,
            config,
            duel,
        })
    }

    /// Both sides see the session as Established.
    pub fn is_established(&mut self) -> Result<()> {
        let (ours, router, own, theirs) = (&self.ours, &mut self.router, self.own, self.theirs);
        wait::until_or("the session", || {
            let peer = peer(ours, theirs)?;
            let up = router.established()?;
            Ok(match peer.state == "Established" && up.contains(&own) {
                true => Ok(()),
                false => Err(format!("Established: {up:?}; {peer:?}")),
            })
        })
    }

    /// The router, as our speaker sees it.
    pub fn peer(&self) -> Result<PeerView> {
        peer(&self.ours, self.theirs)
    }

    /// Waits until our speaker sees the router so.
    pub fn peer_is(&self, what: &str, is: impl Fn(&PeerView) -> bool) -> Result<PeerView> {
        wait::until_or(what, || {
            let peer = self.peer()?;
            Ok(if is(&peer) {
                Ok(peer)
            } else {
                Err(format!("{peer:?}"))
            })
        })
    }

    /// Our speaker announces a prefix.
    pub fn originate(&self, prefix: &str) -> Result<()> {
        originate(&self.ours, prefix)
    }

    /// Changes how the speaker's side of the session is.
    pub fn configure(&mut self, change: impl FnOnce(&mut PeerConfig)) -> Result<()> {
        change(&mut self.config);
        let config = self.config.clone();
        self.ours.with(move |speaker, now| {
            speaker.set_peer(now, config);
        })
    }

    /// Waits until the router's paths of a prefix are so, and returns them.
    pub fn router_has(
        &mut self,
        prefix: &str,
        is: impl Fn(&[Learned]) -> bool,
    ) -> Result<Vec<Learned>> {
        let router = &mut self.router;
        wait::until_or(&format!("the router's paths of {prefix}"), || {
            let paths = router.learned()?.into_iter();
            let paths: Vec<_> = paths.filter(|path| path.prefix == prefix).collect();
            Ok(if is(&paths) {
                Ok(paths)
            } else {
                Err(format!("{paths:?}"))
            })
        })
    }

    /// Waits until our speaker's paths of a prefix are so, and returns them.
    pub fn we_have(&self, prefix: &str, is: impl Fn(&[PathView]) -> bool) -> Result<Vec<PathView>> {
        wait::until_or(&format!("our paths of {prefix}"), || {
            let paths = self.paths(prefix)?;
            Ok(if is(&paths) {
                Ok(paths)
            } else {
                Err(format!("{paths:?}; {:?}", self.peer()?))
            })
        })
    }

    /// Our speaker's paths of a prefix.
    pub fn paths(&self, prefix: &str) -> Result<Vec<PathView>> {
        let prefix: IpNet = prefix.parse()?;
        let route = self.ours.with(move |speaker, _| speaker.route(&prefix))?;
        Ok(route.map(|route| route.paths).unwrap_or_default())
    }

    /// Waits until all that the router says of its neighbours has one of these words in it.
    pub fn router_says(&mut self, words: &[&str]) -> Result<()> {
        let router = &mut self.router;
        wait::until_or(&format!("the router to say one of {words:?}"), || {
            let said = router.says()?;
            Ok(match words.iter().any(|words| said.contains(words)) {
                true => Ok(()),
                false => Err(said),
            })
        })
    }

    /// A prefix passes each way.
    pub fn prefixes_pass(&mut self) -> Result<()> {
        self.originate(OURS)?;
        self.router_has(OURS, |paths| paths.len() == 1)?;
        self.router.announce(&ANNOUNCED)?;
        self.we_have(ANNOUNCED.prefix, |paths| paths.len() == 1)?;
        Ok(())
    }

    /// Sets the options of our connections with the router.
    pub fn set_options(&self, options: SessionOptions) -> Result<()> {
        let set = self
            .ours
            .shell
            .set_session_options(self.theirs, Some(options));
        self.ours.runtime.block_on(set).context("session options")
    }
}

/// A speaker of ours, which listens where its sessions are.
pub fn speak(duel: &Duel, config: SpeakerConfig, peers: Vec<PeerConfig>) -> Result<Voice> {
    let mut listen: Vec<_> = peers.iter().filter_map(|peer| peer.local_address).collect();
    listen.sort();
    listen.dedup();
    let listen: Vec<_> = listen
        .into_iter()
        .map(|own| SocketAddr::new(own, 179))
        .collect();
    let mut speaker = Speaker::new(config, Time::ZERO);
    for peer in peers {
        speaker.set_peer(Time::ZERO, peer);
    }
    duel.speak(speaker, &listen)
}

/// Another speaker of ours, in an AS of its own, with one session with `peer`.
pub fn neighbour(duel: &Duel, number: u8, asn: u32, peer: IpAddr, peer_asn: u32) -> Result<Voice> {
    let mut config = PeerConfig::new(peer, peer_asn, asn);
    config.local_address = Some(v4(number));
    config.connect_retry = RETRY;
    let router_id = Ipv4Addr::new(10, 9, 0, number);
    speak(duel, SpeakerConfig::new(asn, router_id), vec![config])
}

/// Has a speaker announce a prefix.
pub fn originate(voice: &Voice, prefix: &str) -> Result<()> {
    let prefix: IpNet = prefix.parse()?;
    voice.with(move |speaker, now| {
        let path = LocalPath {
            med: Some(50),
            ..LocalPath::default()
        };
        speaker.originate(now, prefix, path);
    })
}

/// Has a speaker withdraw a prefix.
pub fn withdraw(voice: &Voice, prefix: &str) -> Result<()> {
    let prefix: IpNet = prefix.parse()?;
    voice.with(move |speaker, now| speaker.withdraw(now, prefix))
}

/// A peer of a speaker's.
pub fn peer(voice: &Voice, address: IpAddr) -> Result<PeerView> {
    let peers = voice.with(|speaker, now| speaker.peers(now))?;
    let peer = peers.into_iter().find(|peer| peer.address == address);
    let Some(peer) = peer else {
        bail!("{address} is no peer");
    };
    Ok(peer)
}

/// What our speaker announces.
pub const OURS: &str = "203.0.113.0/24";
/// What the router announces.
pub const ANNOUNCED: Announced = Announced {
    prefix: "198.51.100.0/24",
    local_pref: 220,
    med: 50,
    community: "64999:7",
    large_community: "64999:1:2",
    route_target: "64999:9",
    prepend: 64998,
};
/// And one more.
pub const ALSO_ANNOUNCED: Announced = Announced {
    prefix: "198.18.0.0/16",
    ..ANNOUNCED
};
/// How soon our side connects again.
pub const RETRY: Duration = Duration::from_secs(1);
/// The AS of a router that is not in ours.
pub const OTHER_ASN: u32 = 64999;
