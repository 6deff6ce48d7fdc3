//! What has gone wrong with a peer, by kind, over all its sessions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::connection::{Cause, End};
use crate::wire::iana::{UNSPECIFIC, error_code, error_name, error_subcode_name};
use crate::wire::{AttributeError, AttributeErrorAction, Notification};

/// How often what has gone wrong with a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerErrors {
    /// Our attempts to connect that came to nothing: refused by the other end, no way there, no answer in time.
    pub connections_failed: u64,
    /// Connections of the peer that we did not take, because it was held or shut down.
    pub connections_refused: u64,
    /// Connections that TCP lost, in whatever state.
    pub connections_lost: u64,
    /// Connections on which we heard nothing for the hold time (RFC 4271 §6.5).
    pub hold_timer_expired: u64,
    /// NOTIFICATIONs sent, by the names of code and subcode: `OPEN Message Error: Bad Peer AS`. Numbers without
    /// a name are `other`.
    pub notifications_sent: BTreeMap<String, u64>,
    /// NOTIFICATIONs received, likewise.
    pub notifications_received: BTreeMap<String, u64>,
    /// UPDATEs with an attribute that was discarded (RFC 7606 §2).
    pub attributes_discarded: u64,
    /// UPDATEs whose prefixes were withdrawn because of an attribute (RFC 7606 §2, treat-as-withdraw).
    pub treated_as_withdraw: u64,
    /// Families that were disabled until the session's end (RFC 7606 §2, AFI/SAFI disable).
    pub families_disabled: u64,
}

impl PeerErrors {
    /// A connection has ended; `wanted`: we closed it without a word.
    pub(crate) fn count_end(&mut self, end: &End, wanted: bool) {
        match &end.cause {
            Cause::Lost if wanted => {}
            Cause::Lost => self.connections_lost += 1,
            Cause::HoldTimer => {
                self.hold_timer_expired += 1;
                let said = Notification::new(error_code::HOLD_TIMER_EXPIRED, UNSPECIFIC, &[]);
                count(&mut self.notifications_sent, &said);
            }
            Cause::Sent(notification) => count(&mut self.notifications_sent, notification),
            Cause::Received(notification) => count(&mut self.notifications_received, notification),
        }
    }

    /// An UPDATE had these faults.
    pub(crate) fn count_update(&mut self, faults: &[AttributeError]) {
        let has = |action| u64::from(faults.iter().any(|fault| fault.action == action));
        self.attributes_discarded += has(AttributeErrorAction::Discard);
        self.treated_as_withdraw += has(AttributeErrorAction::TreatAsWithdraw);
        self.families_disabled += has(AttributeErrorAction::DisableFamily);
    }
}

/// There are only as many names as IANA has given, so a peer cannot make this grow.
fn count(notifications: &mut BTreeMap<String, u64>, notification: &Notification) {
    *notifications.entry(name(notification)).or_default() += 1;
}

fn name(notification: &Notification) -> String {
    let (code, subcode) = (notification.code, notification.subcode);
    let Some(name) = error_name(code) else {
        return OTHER.to_owned();
    };
    match error_subcode_name(code, subcode) {
        Some(subname) => format!("{name}: {subname}"),
        None if subcode == UNSPECIFIC => name.to_owned(),
        None => format!("{name}: {OTHER}"),
    }
}

const OTHER: &str = "other";

#[cfg(test)]
mod tests;
