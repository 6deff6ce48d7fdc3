//! Administrative shutdown with words (RFC 9003).

use anyhow::Result;

use super::{Match, OTHER_ASN};
use crate::router::{Router, Wish};

/// Our operator's words are seen at the router, and its operator may have a session again.
pub fn our_words<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, _| {})?;
    one.configure(|peer| peer.shutdown = Some(WORDS.to_owned()))?;
    one.router_says(&[WORDS])?;
    one.configure(|peer| peer.shutdown = None)?;
    one.is_established()
}

/// The router's operator's words are seen here.
pub fn their_words<R: Router>() -> Result<()> {
    let mut one = Match::<R>::begin(OTHER_ASN, Wish::default(), |_, _| {})?;
    one.router.shut_down(one.own, WORDS)?;
    one.peer_is("the router's words", |peer| {
        let error = peer.last_error.as_deref().unwrap_or_default();
        peer.state != "Established"
            && error.contains("Administrative Shutdown")
            && error.contains(WORDS)
    })?;
    Ok(())
}

const WORDS: &str = "new paws at 10 pm";
