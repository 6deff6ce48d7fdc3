//! How many connections there may be, those that are being closed included.
//!
//! A refused stranger costs nothing that lasts. But whoever is a peer, or has its address, may connect again and
//! again: the speaker closes what was there before, and that takes a moment, in which the last words go out.
//! Descriptors are finite, so that one address has only so many places, whatever it does.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

/// The connections that are there, by the address of the other end. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    taken: Arc<Mutex<HashMap<End, usize>>>,
}

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    remote: End,
}

/// Who is at the other end: its address and, where many interfaces have the same ones, the interface.
type End = (IpAddr, u32);

impl Places {
    /// For a connection that somebody else has opened: a place, if the address has one left.
    pub(crate) fn take(&self, remote: SocketAddr) -> Option<Place> {
        self.take_below(PLACES_MAX, remote)
    }

    /// For a connection that we have opened, of which there are few.
    pub(crate) fn take_own(&self, remote: SocketAddr) -> Option<Place> {
        self.take_below(usize::MAX, remote)
    }

    fn take_below(&self, bound: usize, remote: SocketAddr) -> Option<Place> {
        let scope = match remote {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(remote) => remote.scope_id(),
        };
        let remote = (remote.ip(), scope);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(remote).or_default();
        if *count >= bound {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            remote,
        })
    }

    /// All that are taken.
    pub(crate) fn count(&self) -> usize {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.remote) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.remote);
            }
        }
    }
}

/// Two connections in a collision (RFC 4271 §6.8), as many of the session before that say farewell, and the
/// same once more for a peer behind which there are several (an address translator).
pub(crate) const PLACES_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let places = Places::default();
        let (one, other) = (end("192.0.2.1:1000"), end("192.0.2.2:1000"));
        let mut taken: Vec<_> = (0..PLACES_MAX).map(|_| places.take(one).unwrap()).collect();
        assert!(places.take(one).is_none());
        assert!(places.take(end("192.0.2.1:2000")).is_none());
        assert!(places.take_own(one).is_some());
        assert_eq!(places.count(), PLACES_MAX);

        let _of_another = places.take(other).unwrap();
        taken.pop();
        assert!(places.take(one).is_some());
        taken.clear();
        assert_eq!(places.count(), 1);
        assert_eq!(places.taken.lock().unwrap().len(), 1);
    }

    #[test]
    fn the_same_link_local_address_on_two_interfaces_is_two_ends() {
        let places = Places::default();
        let _all: Vec<_> = (0..PLACES_MAX)
            .map(|_| places.take(end("[fe80::1%2]:179")).unwrap())
            .collect();
        assert!(places.take(end("[fe80::1%3]:179")).is_some());
    }

    fn end(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }
}
