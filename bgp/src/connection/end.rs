//! How a connection ended, and what follows from it.

use crate::wire::Notification;
use crate::wire::iana::{cease, error_code};

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) cause: Cause,
    /// In words for people.
    pub(crate) reason: String,
}

/// Who ended a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// TCP broke, or we closed it without a word.
    Lost,
    /// We heard nothing for the hold time.
    HoldTimer,
    Sent(Notification),
    Received(Notification),
}

impl End {
    /// The next attempt waits longer each time: it will likely fail as well, or the path fails again and again.
    pub(crate) fn is_damped(&self) -> bool {
        self.is_protocol_error() || self.is_failure_of_path()
    }

    /// BFD Down (RFC 9384), which may be inside a Hard Reset (RFC 8538 §3.1).
    fn is_failure_of_path(&self) -> bool {
        let (Cause::Sent(said) | Cause::Received(said)) = &self.cause else {
            return false;
        };
        let cause = match (said.code, said.subcode) {
            (error_code::CEASE, cease::HARD_RESET) => said.data.get(..2),
            _ => return (said.code, said.subcode) == (error_code::CEASE, cease::BFD_DOWN),
        };
        cause == Some(&[error_code::CEASE, cease::BFD_DOWN])
    }

    /// Something was wrong with what was said, so that the next attempt will likely fail as well
    /// (RFC 4271 §8.1.1, DampPeerOscillations).
    pub(crate) fn is_protocol_error(&self) -> bool {
        match &self.cause {
            Cause::Lost | Cause::HoldTimer => false,
            Cause::Sent(notification) | Cause::Received(notification) => !matches!(
                notification.code,
                error_code::CEASE | error_code::HOLD_TIMER_EXPIRED
            ),
        }
    }

    /// The paths may be kept as stale: RFC 4724 §4.2, and with `notifications` RFC 8538 §4.
    pub(crate) fn is_graceful(&self, notifications: bool) -> bool {
        match &self.cause {
            Cause::Lost => true,
            Cause::HoldTimer => notifications,
            Cause::Sent(notification) | Cause::Received(notification) => {
                notifications
                    && (notification.code, notification.subcode)
                        != (error_code::CEASE, cease::HARD_RESET)
            }
        }
    }
}
