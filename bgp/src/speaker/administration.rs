//! What the operator decides while sessions are there: to shut a peer down (RFC 4486 §4, RFC 9003), to reset it, to
//! configure it otherwise.

use serde::{Deserialize, Serialize};

use super::Speaker;
use super::again::keeps_received;
use crate::config::PeerConfig;
use crate::connection::Connection;
use crate::event::{ConnectionId, PeerId};
use crate::peer::{AFTER_SESSION, Phase};
use crate::peer_key::PeerKey;
use crate::record::Step;
use crate::time::Time;
use crate::wire::Notification;
use crate::wire::iana::{cease, error_code};

/// How thoroughly a session begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// The session ends and comes back, and neither side keeps the other's paths meanwhile: a Hard Reset where
    /// NOTIFICATIONs would be graceful otherwise (RFC 8538 §3). A peer that is held is tried at once.
    Hard,
    /// The session ends and comes back, and paths are kept where RFC 8538 was agreed on.
    Graceful,
    /// The session stays. What the peer sent is judged anew, and what it gets is sent once more.
    Soft,
}

/// A peer is down because of an operator's word, and not of its configuration.
#[derive(Debug)]
pub(super) struct ByHand {
    /// For the other operator.
    words: String,
    /// What its configuration says of it.
    configured: Option<String>,
}

impl Speaker {
    /// Shuts a peer down (Cease, Administrative Shutdown), with `words` for its operator (RFC 9003 §2), until
    /// [`Speaker::bring_up_peer`] or the end of this speaker: [`Speaker::set_peer`] does not bring it up.
    ///
    /// # Errors
    ///
    /// There is no such peer.
    pub fn shut_peer(
        &mut self,
        now: Time,
        remote: impl Into<PeerKey>,
        words: &str,
    ) -> Result<(), String> {
        let remote = remote.into();
        self.record(now, || Step::ShutPeer {
            remote: remote.clone(),
            words: words.to_owned(),
        });
        let (id, mut config) = self.configured(&remote)?;
        let key = PeerKey::of(&config);
        let words = words.to_owned();
        match self.shut_by_hand.get_mut(&key) {
            Some(by_hand) => by_hand.words.clone_from(&words),
            None => {
                let configured = config.shutdown.take();
                let by_hand = ByHand {
                    words: words.clone(),
                    configured,
                };
                self.shut_by_hand.insert(key, by_hand);
            }
        }
        config.shutdown = Some(words);
        self.change_peer(now, id, config);
        self.settle(now, id);
        Ok(())
    }

    /// Takes [`Speaker::shut_peer`] back.
    ///
    /// # Errors
    ///
    /// There is no such peer, it was not shut down, or its configuration shuts it down, too.
    pub fn bring_up_peer(&mut self, now: Time, remote: impl Into<PeerKey>) -> Result<(), String> {
        let remote = remote.into();
        self.record(now, || Step::BringUpPeer {
            remote: remote.clone(),
        });
        let (id, mut config) = self.configured(&remote)?;
        if let Some(by_hand) = self.shut_by_hand.remove(&PeerKey::of(&config)) {
            config.shutdown = by_hand.configured;
        } else if config.shutdown.is_none() {
            return Err(format!("peer {remote} is not shut down"));
        }
        let still = config.shutdown.clone();
        self.change_peer(now, id, config);
        self.settle(now, id);
        match still {
            None => Ok(()),
            Some(words) => Err(format!(
                "peer {remote} stays down, because its configuration says so (shutdown: {words:?})"
            )),
        }
    }

    fn configured(&self, remote: &PeerKey) -> Result<(PeerId, PeerConfig), String> {
        let id = self.find(remote);
        let peer = id.and_then(|id| Some((id, self.peers.get(&id)?.config.clone())));
        peer.ok_or_else(|| format!("{remote} is not a configured peer"))
    }

    /// A new configuration does not undo what was done by hand.
    pub(super) fn keep_shut(&mut self, config: &mut PeerConfig) {
        if let Some(by_hand) = self.shut_by_hand.get_mut(&PeerKey::of(config)) {
            by_hand.configured = config.shutdown.replace(by_hand.words.clone());
        }
    }

    /// Resets the session with a peer (Cease, Administrative Reset), with `words` for its operator (RFC 9003 §2; none
    /// when empty, and none with [`Reset::Soft`]).
    ///
    /// # Errors
    ///
    /// There is no such peer, or it is administratively down.
    pub fn reset_peer(
        &mut self,
        now: Time,
        remote: impl Into<PeerKey>,
        reset: Reset,
        words: &str,
    ) -> Result<(), String> {
        let remote = remote.into();
        self.record(now, || Step::ResetPeer {
            remote: remote.clone(),
            reset,
            words: words.to_owned(),
        });
        let id = self.find(&remote);
        let id = id.ok_or_else(|| format!("{remote} is not a configured peer"))?;
        if self.stopped
            || self
                .peers
                .get(&id)
                .is_some_and(|p| p.config.shutdown.is_some())
        {
            return Err(format!("peer {remote} is administratively down"));
        }
        match reset {
            Reset::Hard => {
                self.stop_peer(now, id, Some((cease::ADMINISTRATIVE_RESET, words)));
                self.drop_all(id);
                self.restart_peer(now, id);
            }
            Reset::Graceful => {
                for connection in self.begun(id) {
                    let cease = cease(cease::ADMINISTRATIVE_RESET, words);
                    self.stop(now, id, connection, Some(cease), "");
                }
                self.restart_peer(now, id);
            }
            Reset::Soft => {
                self.apply_policies(id);
                if self
                    .peers
                    .get(&id)
                    .is_some_and(|peer| !keeps_received(peer))
                {
                    self.ask_for_everything(id);
                }
                let families = self.peers.get(&id).and_then(|peer| peer.negotiated());
                let families = families.map(|agreed| agreed.families().to_vec());
                for family in families.unwrap_or_default() {
                    self.rib.refresh(id, family);
                }
            }
        }
        self.settle(now, id);
        Ok(())
    }

    /// Ends all that is between us and the peer: with a Cease of this subcode and the reason in words, or
    /// without a word.
    pub(super) fn stop_peer(&mut self, now: Time, id: PeerId, word: Option<(u8, &str)>) {
        self.give_up(id);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.phase = Phase::Stopped;
        peer.held_because = word
            .map_or("closed for a restart", |(_, why)| why)
            .to_owned();
        for connection in self.begun(id) {
            let (notification, reason) = match word {
                Some((subcode, reason)) => {
                    let farewell = self.farewell(id, connection, subcode, reason);
                    // The words are in it already.
                    let says_so = !farewell.data.is_empty() && carries_words(subcode);
                    (Some(farewell), if says_so { "" } else { reason })
                }
                None => (None, "closed for a restart"),
            };
            self.stop(now, id, connection, notification, reason);
        }
    }

    /// The operator has changed his mind about a peer.
    pub(super) fn change_peer(&mut self, now: Time, id: PeerId, config: PeerConfig) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let old = std::mem::replace(&mut peer.config, config);
        if old == peer.config {
            return;
        }
        match (&old.shutdown, &peer.config.shutdown) {
            (before, Some(words)) => {
                let words = words.clone();
                peer.held_because = down_because(&words);
                if before.is_none() {
                    self.shut_peer_down(now, id, &words);
                }
                return;
            }
            (Some(_), None) => {
                self.start_peer(now, id);
                return;
            }
            (None, None) => {}
        }
        if keeps_session(&old, &peer.config) {
            if peer.held_by_limit && old.prefix_limits != peer.config.prefix_limits {
                peer.start(now);
            }
            self.apply_policies(id);
            self.check_limits(now, id);
            self.note_more_room(now, id);
            return;
        }
        let word = (cease::OTHER_CONFIGURATION_CHANGE, "configuration changed");
        self.stop_peer(now, id, Some(word));
        // Its paths were judged and kept by rules that no longer hold.
        self.drop_all(id);
        self.start_peer(now, id);
    }

    /// Ends the session because the operator says so.
    fn shut_peer_down(&mut self, now: Time, id: PeerId, words: &str) {
        self.stop_peer(now, id, Some((cease::ADMINISTRATIVE_SHUTDOWN, words)));
        self.drop_all(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.held_because = down_because(words);
        }
    }

    /// A peer that was stopped may have a session again.
    pub(super) fn start_peer(&mut self, now: Time, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(&id)
            && !self.stopped
        {
            peer.start(now);
        }
    }

    /// The same, but the other end is given a moment to see that the old session is over.
    fn restart_peer(&mut self, now: Time, id: PeerId) {
        self.start_peer(now, id);
        if let Some(peer) = self.peers.get_mut(&id)
            && let Phase::Active { retry: Some(retry) } = &mut peer.phase
        {
            *retry = now + self.rng.jitter(AFTER_SESSION);
        }
    }

    /// Forgets its paths, stale ones too.
    pub(super) fn drop_all(&mut self, id: PeerId) {
        self.rib.drop_paths(id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.stale.clear();
        }
    }

    pub(super) fn begun(&self, id: PeerId) -> Vec<ConnectionId> {
        let peer = self.peers.get(&id);
        peer.map(|peer| {
            peer.connections
                .iter()
                .map(|connection| connection.id)
                .collect()
        })
        .unwrap_or_default()
    }

    /// A Cease that is meant: where NOTIFICATIONs would be graceful, a Hard Reset (RFC 8538 §3.1). The words go
    /// where they may (RFC 9003 §2).
    pub(super) fn farewell(
        &self,
        id: PeerId,
        connection: ConnectionId,
        subcode: u8,
        words: &str,
    ) -> Notification {
        self.meant(id, connection, cease(subcode, words))
    }

    /// Where NOTIFICATIONs would be graceful, a Hard Reset.
    pub(super) fn meant(
        &self,
        id: PeerId,
        connection: ConnectionId,
        cease: Notification,
    ) -> Notification {
        let connection = self
            .peers
            .get(&id)
            .and_then(|peer| peer.connection(connection));
        let agreed = connection.and_then(Connection::negotiated);
        if agreed.is_some_and(|agreed| agreed.notifications_are_graceful()) {
            Notification::hard_reset(&cease)
        } else {
            cease
        }
    }
}

/// A Cease with words where they may be (RFC 9003 §2).
fn cease(subcode: u8, words: &str) -> Notification {
    if carries_words(subcode) && !words.is_empty() {
        Notification::cease_with_communication(subcode, words)
    } else {
        Notification::new(error_code::CEASE, subcode, &[])
    }
}

fn carries_words(subcode: u8) -> bool {
    matches!(
        subcode,
        cease::ADMINISTRATIVE_SHUTDOWN | cease::ADMINISTRATIVE_RESET
    )
}

pub(crate) fn down_because(words: &str) -> String {
    match words {
        "" => "administratively down".to_owned(),
        words => format!("administratively down: {words}"),
    }
}

/// Only what is not said in OPEN, and not on which socket, may change under a session.
fn keeps_session(old: &PeerConfig, new: &PeerConfig) -> bool {
    let changes = old.changes_to(new);
    changes.iter().all(|change| change.keeps_session)
}
