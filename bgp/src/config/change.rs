//! What another configuration of a peer means for the session that is there.

use super::PeerConfig;

/// A field of [`PeerConfig`] in which two configurations differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldChange {
    /// Its name as it is written down: `holdTime`.
    pub field: &'static str,
    /// The change is made under the session. False: it is said in OPEN, or sits on the socket, and the session ends with
    /// Cease, Other Configuration Change (RFC 4486 §4), and begins anew.
    pub keeps_session: bool,
}

/// Every field is in one of the lists: one that is in none does not compile.
macro_rules! changes {
    ($old:expr, $new:expr, keep: [$($keep:ident = $keep_name:literal,)*], restart: [$($restart:ident = $restart_name:literal,)*]) => {{
        let PeerConfig { add_path, $($keep,)* $($restart,)* } = $old;
        let mut changes = Vec::new();
        $(if *$keep != $new.$keep {
            changes.push(FieldChange { field: $keep_name, keeps_session: true });
        })*
        if *add_path != $new.add_path {
            let keeps_session = $new.add_path.offers_the_same(add_path);
            changes.push(FieldChange { field: "addPath", keeps_session });
        }
        $(if *$restart != $new.$restart {
            changes.push(FieldChange { field: $restart_name, keeps_session: false });
        })*
        changes
    }};
}

impl PeerConfig {
    /// In what `new` is other, and what that does to the session. [`crate::Speaker::set_peer`] goes by the same.
    #[must_use]
    pub fn changes_to(&self, new: &PeerConfig) -> Vec<FieldChange> {
        changes!(self, new,
            keep: [
                name = "name",
                prefix_limits = "prefixLimits",
                prefix_limits_out = "prefixLimitsOut",
                local_as = "localAs",
                allow_own_as = "allowOwnAs",
                damp_oscillations = "dampOscillations",
                idle_hold_max = "idleHoldMax",
                connect_retry = "connectRetry",
                delay_open = "delayOpen",
                stale_path_time = "stalePathTime",
                long_lived_partial = "longLivedPartial",
                long_lived_max = "longLivedMax",
                reflector_client = "client",
                change_reflected = "changeReflected",
                next_hop = "nextHop",
                next_hop_self_v4 = "nextHopSelfV4",
                next_hop_self_v6 = "nextHopSelfV6",
                bfd = "bfd",
                graceful_shutdown = "gracefulShutdown",
                honour_graceful_shutdown = "honourGracefulShutdown",
                import = "import",
                export = "export",
            ],
            restart: [
                remote_address = "address",
                remote_port = "port",
                remote_asn = "asn",
                local_asn = "localAsn",
                local_address = "localAddress",
                interface = "interface",
                passive = "passive",
                families = "families",
                hold_time = "holdTime",
                shutdown = "shutdown",
                role = "role",
                role_strict = "roleStrict",
                graceful_restart = "gracefulRestart",
                long_lived = "longLived",
                long_lived_families = "longLivedFamilies",
                extended_messages = "extendedMessages",
                extended_next_hop = "extendedNextHop",
                keep_received = "keepReceived",
            ]
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{AddPath, PathsSent};

    #[test]
    fn what_is_said_in_open_ends_the_session_and_the_rest_does_not() {
        let old = PeerConfig::new([10, 0, 0, 2].into(), 64512, 64512);
        assert_eq!(old.changes_to(&old), []);
        let other = PeerConfig {
            name: "another".to_owned(),
            reflector_client: true,
            hold_time: std::time::Duration::from_secs(30),
            ..old.clone()
        };
        let named = |new: &PeerConfig| -> Vec<(&str, bool)> {
            let changes = old.changes_to(new).into_iter();
            changes.map(|c| (c.field, c.keeps_session)).collect()
        };
        assert_eq!(
            named(&other),
            [("name", true), ("client", true), ("holdTime", false)]
        );
        let sends = |send| PeerConfig {
            add_path: AddPath {
                send,
                ..AddPath::default()
            },
            ..old.clone()
        };
        assert_eq!(named(&sends(PathsSent::BestOf(2))), [("addPath", false)]);
        let more = sends(PathsSent::BestOf(2)).changes_to(&sends(PathsSent::All));
        assert!(more.iter().all(|change| change.keeps_session));
    }
}
