//! Several paths of one prefix (RFC 7911).
//!
//! ```text
//!   .2 AS 65001 ┐                         ┌ .2 AS 65001
//!               ├ .1 ours ── .100 theirs  │      or:     .1 ours ── .100 theirs ┤
//!   .3 AS 65002 ┘                         └ .3 AS 65002
//! ```

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use caracal_bgp::config::PathsSent;
use caracal_bgp::{PeerConfig, SpeakerConfig};
use caracal_lab::topology::ASN;
use caracal_lab::wait;

use super::{OURS, RETRY, neighbour, originate, speak, withdraw};
use crate::duel::{Duel, THEIRS, Voice, v4};
use crate::router::{Place, Router, Wish};

/// Two neighbours of ours announce one prefix: the router has both paths, and when one is withdrawn the other.
pub fn theirs_gets_two<R: Router>() -> Result<()> {
    let duel = Duel::new()?;
    let place = Place::in_duel(&duel, ASN, wish(), &[v4(1)]);
    let mut router = R::start(place)?;
    let mut peers = vec![with_add_path()];
    peers.extend(STRANGERS.map(|(number, asn)| {
        let mut peer = PeerConfig::new(v4(number), asn, ASN);
        peer.local_address = Some(v4(1));
        peer.connect_retry = RETRY;
        peer
    }));
    let ours = speak(
        &duel,
        SpeakerConfig::new(ASN, Ipv4Addr::new(10, 9, 0, 1)),
        peers,
    )?;
    wait::until_or("the session", || {
        let up = router.established()?;
        Ok(match up.contains(&v4(1)) {
            true => Ok(()),
            false => Err(format!("Established: {up:?}")),
        })
    })?;
    let others = others(&duel, 1)?;
    let has = |router: &mut R, what: &str, wanted: &[&str]| {
        wait::until_or(what, || {
            let paths = router.learned()?.into_iter();
            let mut hops: Vec<_> = paths
                .filter(|path| path.prefix == OURS)
                .map(|path| path.next_hop)
                .collect();
            hops.sort();
            let peers = ours.with(|speaker, now| speaker.peers(now))?;
            Ok(match hops == wanted {
                true => Ok(()),
                false => Err(format!("{hops:?}; {peers:?}")),
            })
        })
    };
    has(&mut router, "both paths", &["10.9.0.2", "10.9.0.3"])?;
    withdraw(&others[0], OURS)?;
    has(&mut router, "the other path", &["10.9.0.3"])?;
    originate(&others[0], OURS)?;
    has(&mut router, "both paths again", &["10.9.0.2", "10.9.0.3"])
}

/// Two neighbours of the router's announce one prefix: we have both paths, and when one is withdrawn the other.
pub fn ours_gets_two<R: Router>() -> Result<()> {
    let duel = Duel::new()?;
    let mut place = Place::in_duel(&duel, ASN, wish(), &[v4(1), v4(2), v4(3)]);
    let strangers = STRANGERS.map(|(number, asn)| (v4(number), asn));
    place.strangers = strangers.into();
    let _router = R::start(place)?;
    let config = SpeakerConfig::new(ASN, Ipv4Addr::new(10, 9, 0, 1));
    let ours = speak(&duel, config, vec![with_add_path()])?;
    let others = others(&duel, THEIRS)?;
    let have = |what: &str, wanted: &[&str]| {
        wait::until_or(what, || {
            let prefix: ipnet::IpNet = OURS.parse()?;
            let route = ours.with(move |speaker, _| speaker.route(&prefix))?;
            let paths = route.map(|route| route.paths).unwrap_or_default();
            let mut have: Vec<_> = paths.iter().map(|path| path.as_path.as_str()).collect();
            have.sort_unstable();
            let peers = ours.with(|speaker, now| speaker.peers(now))?;
            Ok(match have == wanted {
                true => Ok(paths),
                false => Err(format!("{paths:?}; {peers:?}")),
            })
        })
    };
    let paths = have("both paths", &["65001", "65002"])?;
    let ids: Vec<_> = paths.iter().map(|path| path.path_id).collect();
    ensure!(ids[0].is_some() && ids[0] != ids[1], "path ids {ids:?}");
    withdraw(&others[0], OURS)?;
    have("the other path", &["65002"])?;
    originate(&others[0], OURS)?;
    have("both paths again", &["65001", "65002"])?;
    Ok(())
}

/// Both announce the prefix to a number of the link.
fn others(duel: &Duel, to: u8) -> Result<Vec<Voice>> {
    let others = STRANGERS.map(|(number, asn)| {
        let voice = neighbour(duel, number, asn, v4(to), ASN)?;
        originate(&voice, OURS)?;
        Ok(voice)
    });
    others.into_iter().collect()
}

fn with_add_path() -> PeerConfig {
    let mut peer = PeerConfig::new(v4(THEIRS), ASN, ASN);
    peer.local_address = Some(v4(1));
    peer.connect_retry = RETRY;
    peer.add_path.receive = true;
    peer.add_path.send = PathsSent::All;
    peer
}

fn wish() -> Wish {
    Wish {
        add_path: true,
        ..Wish::default()
    }
}

const STRANGERS: [(u8, u32); 2] = [(2, 65001), (3, 65002)];
