//! TCP MD5 and TTL security.

use std::num::NonZeroU8;
use std::time::Duration;

use anyhow::{Result, ensure};
use caracal_bgp_net::{Md5Key, SessionOptions};

use super::{Match, OTHER_ASN};
use crate::router::{Router, Wish};

/// With the wrong key there is no session, with the right one there is (RFC 2385).
pub fn md5<R: Router>() -> Result<()> {
    let wish = Wish {
        key: Some("lynx"),
        ..Wish::default()
    };
    let key = |key: &str| -> Result<SessionOptions> {
        Ok(SessionOptions {
            key: Some(Md5Key::new(key.as_bytes())?),
            ..SessionOptions::default()
        })
    };
    secured::<R>(wish, key("serval")?, key("lynx")?)
}

/// Who sends with an ordinary TTL gets no session, who sends with 255 does (RFC 5082).
pub fn ttl_security<R: Router>() -> Result<()> {
    let wish = Wish {
        ttl_security: true,
        ..Wish::default()
    };
    let near = SessionOptions {
        ttl_security: NonZeroU8::new(1),
        ..SessionOptions::default()
    };
    secured::<R>(wish, SessionOptions::default(), near)
}

fn secured<R: Router>(wish: Wish, wrong: SessionOptions, right: SessionOptions) -> Result<()> {
    let mut one = Match::<R>::prepare(OTHER_ASN, wish, |_, peer| {
        peer.shutdown = Some(String::new());
        // TCP may come up and break only when there is more to say.
        peer.hold_time = Duration::from_secs(3);
    })?;
    one.set_options(wrong)?;
    one.configure(|peer| peer.shutdown = None)?;
    one.peer_is("the attempt to fail", |peer| {
        let error = peer.last_error.as_deref().unwrap_or_default();
        peer.state != "Established" && !error.is_empty()
    })?;
    let up = one.router.established()?;
    ensure!(up.is_empty(), "the router has a session with {up:?}");
    one.set_options(right)?;
    // Our end of the failed attempts did not reach it either: it takes no packet from us that is not as it should be.
    one.router.start_over(one.own)?;
    one.is_established()?;
    one.prefixes_pass()
}
