//! What a speaker shows of itself, in the words of the socket. For agent and route reflector; the plugin and the command
//! line do without a speaker.

use caracal_bgp::view::{
    AttributesView, ExportView, FamilyView, ImportView, PathView, PeerView, RouteView,
};
use caracal_bgp::{Policy, Speaker};

use crate::view::{
    Explain, Explained, FamilyCounts, Path, PathAttributes, Peer, PeerErrors, Route,
};

/// What is sent to a peer, and why.
///
/// # Errors
/// In words: the policy cannot be read, the peer is not known or has no session.
pub fn explain_export(speaker: &Speaker, question: &Explain) -> Result<Vec<Explained>, String> {
    let (peer, prefix) = (question.peer, question.prefix.as_ref());
    let views = match policy(question)? {
        Some(policy) => speaker.explain_export_with(peer, prefix, &policy)?,
        None => speaker.explain_export(peer, prefix)?,
    };
    Ok(views.into_iter().map(Explained::from).collect())
}

/// What is taken from a peer, and why.
///
/// # Errors
/// As [`explain_export`].
pub fn explain_import(speaker: &Speaker, question: &Explain) -> Result<Vec<Explained>, String> {
    let (peer, prefix) = (question.peer, question.prefix.as_ref());
    let views = match policy(question)? {
        Some(policy) => speaker.explain_import_with(peer, prefix, &policy)?,
        None => speaker.explain_import(peer, prefix)?,
    };
    let explained = views
        .into_iter()
        .map(|view| Explained::received(view, peer));
    Ok(explained.collect())
}

fn policy(question: &Explain) -> Result<Option<Policy>, String> {
    let written = question.policy.clone();
    let read = written.map(serde_json::from_value).transpose();
    read.map_err(|fault| format!("policy: {fault}"))
}

impl From<ExportView> for Explained {
    fn from(view: ExportView) -> Explained {
        Explained {
            prefix: view.prefix,
            from: view.from,
            path_id: view.path_id,
            accepted: view.sent,
            reason: view.reason,
            before: view.before.into(),
            after: view.after.map(PathAttributes::from),
        }
    }
}

impl Explained {
    fn received(view: ImportView, from: std::net::IpAddr) -> Explained {
        Explained {
            prefix: view.prefix,
            from: Some(from),
            path_id: view.path_id,
            accepted: view.accepted,
            reason: view.reason,
            before: view.before.into(),
            after: view.after.map(PathAttributes::from),
        }
    }
}

impl From<AttributesView> for PathAttributes {
    fn from(view: AttributesView) -> PathAttributes {
        PathAttributes {
            next_hop: view.next_hop,
            local_pref: view.local_pref,
            med: view.med,
            as_path: view.as_path,
            origin: view.origin,
            communities: view.communities,
            originator_id: view.originator_id,
            cluster_list: view.cluster_list,
        }
    }
}

impl Peer {
    /// `peer_type`: where the peer comes from, in the words of `node status`.
    pub fn of(view: PeerView, peer_type: String) -> Peer {
        Peer {
            peer_type,
            name: view.name,
            address: view.address,
            remote_asn: view.remote_asn,
            local_asn: view.local_asn,
            state: view.state,
            state_seconds: view.state_seconds,
            router_id: view.router_id,
            hold_time_seconds: view.hold_time_seconds,
            families: view.families,
            capabilities: view.capabilities,
            hostname: view.hostname,
            software: view.software,
            prefixes_received: view.prefixes_received,
            prefixes_accepted: view.prefixes_accepted,
            prefixes_stale: view.prefixes_stale,
            prefixes_sent: view.prefixes_sent,
            bfd: view.bfd,
            paths_refused: view.paths_refused,
            by_family: view.by_family.into_iter().map(FamilyCounts::from).collect(),
            flaps: view.flaps,
            messages_received: view.messages_received,
            messages_sent: view.messages_sent,
            held: view.held,
            last_error: view.last_error,
            last_error_seconds: view.last_error_seconds,
            errors: view.errors.into(),
        }
    }
}

impl From<caracal_bgp::view::PeerErrors> for PeerErrors {
    fn from(errors: caracal_bgp::view::PeerErrors) -> PeerErrors {
        PeerErrors {
            connections_failed: errors.connections_failed,
            connections_refused: errors.connections_refused,
            connections_lost: errors.connections_lost,
            hold_timer_expired: errors.hold_timer_expired,
            notifications_sent: errors.notifications_sent,
            notifications_received: errors.notifications_received,
            attributes_discarded: errors.attributes_discarded,
            treated_as_withdraw: errors.treated_as_withdraw,
            families_disabled: errors.families_disabled,
        }
    }
}

impl From<FamilyView> for FamilyCounts {
    fn from(view: FamilyView) -> FamilyCounts {
        FamilyCounts {
            family: view.family.to_string(),
            received: view.received,
            accepted: view.accepted,
            best: view.best,
            stale: view.stale,
            sent: view.sent,
            held_back: view.held_back,
            add_path_receive: view.add_path_receive,
            add_path_send: view.add_path_send,
            disabled: view.disabled,
        }
    }
}

impl From<RouteView> for Route {
    fn from(view: RouteView) -> Route {
        Route {
            prefix: view.prefix,
            paths: view.paths.into_iter().map(Path::from).collect(),
        }
    }
}

impl From<PathView> for Path {
    fn from(view: PathView) -> Path {
        Path {
            peer: view.peer,
            path_id: view.path_id,
            next_hop: view.next_hop,
            best: view.best,
            multipath: view.multipath,
            stale: view.stale,
            long_lived_stale: view.long_lived_stale,
            lost_because: view.lost_because,
            local_pref: view.local_pref,
            as_path: view.as_path,
            origin: view.origin,
            med: view.med,
            communities: view.communities,
            originator_id: view.originator_id,
            cluster_list: view.cluster_list,
        }
    }
}
