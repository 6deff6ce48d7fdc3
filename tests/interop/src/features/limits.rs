//! How many prefixes are good (RFC 4486 §4).

use anyhow::Result;
use caracal_bgp::wire::Family;
use caracal_bgp::{LimitAction, PrefixLimit};

use super::{ALSO_ANNOUNCED, ANNOUNCED, Match, OTHER_ASN};
use crate::router::{Router, Wish};

/// We announce more than the router takes: it ends the session and says why, and we show it.
pub fn their_limit<R: Router>() -> Result<()> {
    let wish = Wish {
        prefix_limit: Some(2),
        ..Wish::default()
    };
    let one = Match::<R>::begin(OTHER_ASN, wish, |_, _| {})?;
    // Some routers bear with one more before they look.
    for number in 1..=5 {
        one.originate(&format!("192.0.2.{number}/32"))?;
    }
    one.peer_is("the router's limit to end the session", |peer| {
        let error = peer.last_error.as_deref().unwrap_or_default();
        peer.state != "Established" && error.contains("Maximum Number of Prefixes Reached")
    })?;
    Ok(())
}

/// The router announces more than we take: we end the session and say why, and it shows it.
pub fn our_limit<R: Router>(words: &[&str]) -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, peer| {
        let limit = PrefixLimit {
            max: 1,
            warn_percent: None,
            action: LimitAction::Stop,
        };
        peer.prefix_limits.insert(Family::Ipv4Unicast, limit);
    })?;
    one.router.announce(&ANNOUNCED)?;
    one.we_have(ANNOUNCED.prefix, |paths| paths.len() == 1)?;
    one.router.announce(&ALSO_ANNOUNCED)?;
    one.peer_is("our limit to end the session", |peer| {
        peer.state != "Established" && peer.held.is_some()
    })?;
    one.router_says(words)
}
