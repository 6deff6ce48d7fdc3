//! Route refresh (RFC 2918), and with begin and end (RFC 7313).

use anyhow::{Result, ensure};

use super::{ANNOUNCED, Match, OTHER_ASN, OURS};
use crate::router::{Router, Wish};

/// They ask, and we send again.
pub fn they_ask<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, _| {})?;
    one.prefixes_pass()?;
    let before = one.peer_is("End-of-RIB", |peer| peer.updates_sent > 0)?;
    one.router.ask_for_refresh(one.own)?;
    one.peer_is("what was sent to be sent again", |peer| {
        peer.updates_sent > before.updates_sent
    })?;
    one.router_has(OURS, |paths| paths.len() == 1)?;
    let after = one.peer()?;
    ensure!(after.flaps == 0, "the session did not stay: {after:?}");
    Ok(())
}

/// We ask, and they send again.
pub fn we_ask<R: Router>() -> Result<()> {
    asked::<R>(&[])
}

/// We ask, and they send again between a begin and an end.
pub fn we_ask_with_begin_and_end<R: Router>() -> Result<()> {
    asked::<R>(&["enhanced-route-refresh"])
}

fn asked<R: Router>(capabilities: &[&str]) -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, _| {})?;
    one.prefixes_pass()?;
    let before = one.peer()?;
    for name in capabilities {
        ensure!(
            before.capabilities.iter().any(|have| have == name),
            "no {name}: {before:?}"
        );
    }
    let (mut events, theirs) = (one.ours.shell.subscribe(), one.theirs);
    let ask =
        move |speaker: &mut caracal_bgp::Speaker, now| speaker.refresh_peer(now, theirs, None);
    one.ours.with(ask)?.map_err(anyhow::Error::msg)?;
    one.peer_is("what was announced to come again", |peer| {
        peer.updates_received > before.updates_received
    })?;
    if !capabilities.is_empty() {
        caracal_lab::wait::until("the end of the refresh", || match events.try_recv() {
            Ok(caracal_bgp::Event::Refreshed {
                swept: 0,
                complete: true,
                ..
            }) => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
    }
    one.we_have(ANNOUNCED.prefix, |paths| {
        paths.len() == 1 && !paths[0].stale
    })?;
    let after = one.peer()?;
    ensure!(after.flaps == 0, "the session did not stay: {after:?}");
    Ok(())
}
