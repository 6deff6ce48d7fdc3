//! Graceful restart (RFC 4724) in both roles, and the long-lived one (RFC 9494).

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{ALSO_ANNOUNCED, ANNOUNCED, Match, OTHER_ASN, OURS, originate, speak};
use crate::router::{Router, Wish};

/// The router is killed: its routes stay with us, stale. It starts again and announces one of two: that one is fresh, the
/// other is swept.
pub fn we_help<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, _| {})?;
    one.prefixes_pass()?;
    one.router.announce(&ALSO_ANNOUNCED)?;
    one.we_have(ALSO_ANNOUNCED.prefix, |paths| paths.len() == 1)?;
    one.peer_is("End-of-RIB", |peer| peer.end_of_rib)?;
    one.router.kill()?;
    one.peer_is("the routes to be stale", |peer| {
        peer.state != "Established" && peer.prefixes_stale >= 2
    })?;
    for prefix in [ANNOUNCED.prefix, ALSO_ANNOUNCED.prefix] {
        one.we_have(prefix, |paths| paths.len() == 1 && paths[0].stale)?;
    }
    one.router.start_again()?;
    one.is_established()?;
    one.router.announce(&ANNOUNCED)?;
    one.we_have(ANNOUNCED.prefix, |paths| {
        paths.len() == 1 && !paths[0].stale
    })?;
    one.we_have(ALSO_ANNOUNCED.prefix, <[_]>::is_empty)?;
    one.router_has(OURS, |paths| paths.len() == 1)?;
    Ok(())
}

/// Our speaker ends without a word and another one takes its place: the router keeps what it has learned, as stale, until
/// it is fresh again, and sweeps what is not said again.
pub fn they_help<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, _| {})?;
    one.prefixes_pass()?;
    one.originate(ALSO_OURS)?;
    one.router_has(ALSO_OURS, |paths| paths.len() == 1)?;
    one.ours.runtime.block_on(one.ours.shell.stop(true));
    one.router_has(OURS, |paths| paths.len() == 1 && paths[0].stale)?;

    one.speaker.restarting = true;
    one.ours = speak(&one.duel, one.speaker.clone(), vec![one.config.clone()])?;
    one.is_established()?;
    for prefix in [OURS, ALSO_OURS] {
        let paths = one.router.learned()?;
        ensure!(
            paths.iter().any(|path| path.prefix == prefix),
            "the router has lost {prefix}: {paths:?}"
        );
    }
    originate(&one.ours, OURS)?;
    one.ours.with(|speaker, now| speaker.finish_restart(now))?;
    one.router_has(OURS, |paths| paths.len() == 1 && !paths[0].stale)?;
    one.router_has(ALSO_OURS, <[_]>::is_empty)?;
    one.we_have(ANNOUNCED.prefix, |paths| {
        paths.len() == 1 && !paths[0].stale
    })?;
    Ok(())
}

/// The router is killed, and does not come back within its Restart Time: its routes stay as the last to be chosen.
pub fn we_help_long<R: Router>() -> Result<()> {
    let wish = Wish {
        restart_seconds: 1,
        long_lived_seconds: Some(3600),
        ..Wish::default()
    };
    let mut one = Match::<R>::begin(OTHER_ASN, wish, |_, peer| {
        peer.long_lived = Some(Duration::from_secs(3600));
    })?;
    one.prefixes_pass()?;
    one.router.kill()?;
    one.we_have(ANNOUNCED.prefix, |paths| {
        paths.len() == 1 && paths[0].long_lived_stale
    })?;
    one.router.start_again()?;
    one.is_established()?;
    one.router.announce(&ANNOUNCED)?;
    one.we_have(ANNOUNCED.prefix, |paths| {
        paths.len() == 1 && !paths[0].stale && !paths[0].long_lived_stale
    })?;
    Ok(())
}

/// Our speaker is away for longer than its Restart Time: the router keeps its routes as long-lived stale ones.
pub fn they_help_long<R: Router>() -> Result<()> {
    let wish = Wish {
        long_lived_seconds: Some(3600),
        ..Wish::default()
    };
    let mut one = Match::<R>::begin(OTHER_ASN, wish, |_, peer| {
        peer.graceful_restart = Some(Duration::from_secs(1));
        peer.long_lived = Some(Duration::from_secs(3600));
    })?;
    one.originate(OURS)?;
    one.router_has(OURS, |paths| paths.len() == 1)?;
    one.ours.runtime.block_on(one.ours.shell.stop(true));
    one.router_has(OURS, |paths| {
        let marks = |mark: &String| LLGR_STALE.contains(&mark.as_str());
        paths.len() == 1 && paths[0].communities.iter().any(marks)
    })?;
    Ok(())
}

const ALSO_OURS: &str = "192.0.2.0/24";
/// RFC 9494 §4.4, as a number and as routers call it.
const LLGR_STALE: [&str; 3] = ["65535:6", "llgr-stale", "llgrStale"];
