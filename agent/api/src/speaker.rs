//! What a speaker shows of itself, in the words of the socket. For agent and route reflector; the plugin and the command
//! line do without a speaker.

use caracal_bgp::view::{
    AttributesView, ExportView, FamilyView, ImportView, PathView, PeerView, RouteView,
};
use caracal_bgp::{Policy, Reset, Speaker, Time};
use caracal_bgp_net::monitor::MonitorView;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::view::{
    Condition, Explain, Explained, FamilyCounts, GracefulShutdown, Monitoring, Path,
    PathAttributes, Peer, PeerErrors, PeerOrder, PeerVerb, Route, Station,
};

/// A request about the speaker that has a body. Agent and route reflector have them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeakerRequest {
    /// [`Explain`]: what is taken from a peer.
    ExplainImport,
    /// [`Explain`]: what is sent to it.
    ExplainExport,
    /// [`PeerOrder`].
    Order,
    /// [`GracefulShutdown`].
    GracefulShutdown,
}

impl SpeakerRequest {
    /// Each once.
    pub const ALL: [SpeakerRequest; 4] = [
        SpeakerRequest::ExplainImport,
        SpeakerRequest::ExplainExport,
        SpeakerRequest::Order,
        SpeakerRequest::GracefulShutdown,
    ];

    /// Where it is posted to.
    pub fn path(self) -> &'static str {
        match self {
            SpeakerRequest::ExplainImport => "/v1/explain/import",
            SpeakerRequest::ExplainExport => "/v1/explain/export",
            SpeakerRequest::Order => "/v1/peers/order",
            SpeakerRequest::GracefulShutdown => "/v1/graceful-shutdown",
        }
    }

    /// Whether it is an order and not a question: one that belongs into the log.
    pub fn is_order(self) -> bool {
        matches!(
            self,
            SpeakerRequest::Order | SpeakerRequest::GracefulShutdown
        )
    }

    /// Does what the body asks for.
    ///
    /// # Errors
    /// In words: the body cannot be read, the peer is not known, or the speaker refuses.
    pub fn answer(self, speaker: &mut Speaker, now: Time, body: &str) -> Result<Value, String> {
        let explained = match self {
            SpeakerRequest::ExplainImport => explain_import(speaker, &read(body)?)?,
            SpeakerRequest::ExplainExport => explain_export(speaker, &read(body)?)?,
            SpeakerRequest::Order => {
                order(speaker, now, &read(body)?)?;
                return Ok(Value::Object(serde_json::Map::new()));
            }
            SpeakerRequest::GracefulShutdown => {
                let GracefulShutdown { on } = read(body)?;
                speaker.set_graceful_shutdown(now, on);
                return Ok(Value::Object(serde_json::Map::new()));
            }
        };
        serde_json::to_value(explained).map_err(|fault| fault.to_string())
    }
}

fn read<Request: DeserializeOwned>(body: &str) -> Result<Request, String> {
    serde_json::from_str(body).map_err(|fault| format!("request cannot be read: {fault}"))
}

fn order(speaker: &mut Speaker, now: Time, order: &PeerOrder) -> Result<(), String> {
    let PeerOrder { peer, verb, words } = order;
    let reset = match verb {
        PeerVerb::ResetHard => Reset::Hard,
        PeerVerb::ResetGraceful => Reset::Graceful,
        PeerVerb::ResetSoft => Reset::Soft,
        PeerVerb::Refresh => return speaker.refresh_peer(now, *peer, None),
        PeerVerb::ShutDown => return speaker.shut_peer(now, *peer, words),
        PeerVerb::BringUp => return speaker.bring_up_peer(now, *peer),
    };
    speaker.reset_peer(now, *peer, reset, words)
}

/// What operators should not forget.
pub fn graceful_shutdown_condition(speaker: &Speaker) -> Option<Condition> {
    let message = "all paths over this node are everybody's last choice (RFC 8326), until \
                   `caracalctl node graceful-shutdown off` or a restart";
    speaker.is_in_graceful_shutdown().then(|| Condition {
        name: "GracefulShutdown".to_owned(),
        message: message.to_owned(),
    })
}

impl Monitoring {
    /// `None`: nobody watches.
    pub fn of(view: MonitorView) -> Option<Monitoring> {
        if view == MonitorView::default() {
            return None;
        }
        let station = |station: caracal_bgp_net::monitor::StationView| Station {
            address: station.address,
            up: station.up,
            synchronized: station.synchronized,
            connects: station.connects,
            overruns: station.overruns,
            octets: station.octets,
            last_error: station.last_error,
        };
        Some(Monitoring {
            stations: view.stations.into_iter().map(station).collect(),
            mrt_octets: view.mrt_octets,
            mrt_errors: view.mrt_errors,
            overruns: view.overruns,
        })
    }
}

/// What is sent to a peer, and why.
fn explain_export(speaker: &Speaker, question: &Explain) -> Result<Vec<Explained>, String> {
    let (peer, prefix) = (question.peer, question.prefix.as_ref());
    let views = match policy(question)? {
        Some(policy) => speaker.explain_export_with(peer, prefix, &policy)?,
        None => speaker.explain_export(peer, prefix)?,
    };
    Ok(views.into_iter().map(Explained::from).collect())
}

/// What is taken from a peer, and why.
fn explain_import(speaker: &Speaker, question: &Explain) -> Result<Vec<Explained>, String> {
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
