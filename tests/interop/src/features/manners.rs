//! Who connects, who is what to whom, and how one leaves.

use std::time::Duration;

use anyhow::Result;
use caracal_bgp::wire::Role;

use super::{ANNOUNCED, Match, OTHER_ASN, OURS};
use crate::router::{Announced, Router, Wish};

/// We only listen, and there is a session.
pub fn they_connect<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, peer| peer.passive = true)?;
    one.prefixes_pass()
}

/// They only listen, and there is a session.
pub fn we_connect<R: Router>() -> Result<()> {
    let wish = Wish {
        passive: true,
        ..Wish::default()
    };
    let mut one = Match::<R>::begin(OTHER_ASN, wish, |_, _| {})?;
    one.prefixes_pass()
}

/// With a hold time of zero nobody waits for KEEPALIVEs (RFC 4271 §4.2).
pub fn hold_time_of_zero<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, peer| {
        peer.hold_time = Duration::ZERO;
    })?;
    one.peer_is("a hold time of zero", |peer| {
        peer.hold_time_seconds == Some(0)
    })?;
    one.prefixes_pass()
}

/// We show the name of its host, and it ours.
pub fn host_names<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |speaker, _| {
        speaker.hostname = Some("savannah".to_owned());
    })?;
    one.peer_is("the name of its host", |peer| peer.hostname.is_some())?;
    one.router_says(&["savannah"])
}

/// A customer has a session with its provider, and no peer has (RFC 9234 §4.2).
pub fn roles<R: Router>() -> Result<()> {
    let wish = Wish {
        role: Some("provider"),
        ..Wish::default()
    };
    let mut one = Match::<R>::prepare(OTHER_ASN, wish, |_, peer| {
        peer.role = Some(Role::Peer);
        peer.role_strict = true;
    })?;
    one.peer_is("a Role Mismatch", |peer| {
        let error = peer.last_error.as_deref().unwrap_or_default();
        peer.state != "Established" && error.contains("Role Mismatch")
    })?;
    one.configure(|peer| peer.role = Some(Role::Customer))?;
    one.is_established()?;
    one.peer_is("the role to be agreed on", |peer| {
        peer.capabilities.iter().any(|name| name == "role")
    })?;
    one.prefixes_pass()
}

/// What comes with GRACEFUL_SHUTDOWN is the last to be chosen, and ours gets it too (RFC 8326).
pub fn graceful_shutdown<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, _| {})?;
    one.router.announce(&Announced {
        community: "65535:0",
        ..ANNOUNCED
    })?;
    one.we_have(ANNOUNCED.prefix, |paths| {
        paths.len() == 1 && paths[0].local_pref == 0
    })?;
    one.originate(OURS)?;
    let marks = |mark: &String| GRACEFUL_SHUTDOWN.contains(&mark.as_str());
    one.router_has(OURS, |paths| {
        paths.len() == 1 && !paths[0].communities.iter().any(marks)
    })?;
    one.ours
        .with(|speaker, now| speaker.set_graceful_shutdown(now, true))?;
    one.router_has(OURS, |paths| {
        paths.len() == 1 && paths[0].communities.iter().any(marks)
    })?;
    Ok(())
}

/// As a number and as routers call it.
const GRACEFUL_SHUTDOWN: [&str; 4] = [
    "65535:0",
    "graceful-shutdown",
    "gracefulShutdown",
    "GRACEFUL_SHUTDOWN",
];
