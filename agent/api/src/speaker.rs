//! What a speaker shows of itself, in the words of the socket. For agent and route reflector; the plugin and the command
//! line do without a speaker.

use caracal_bgp::view::{PathView, PeerView, RouteView};

use crate::view::{Path, Peer, Route};

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
            prefixes_received: view.prefixes_received,
            prefixes_accepted: view.prefixes_accepted,
            prefixes_stale: view.prefixes_stale,
            prefixes_sent: view.prefixes_sent,
            bfd: view.bfd,
            flaps: view.flaps,
            messages_received: view.messages_received,
            messages_sent: view.messages_sent,
            last_error: view.last_error,
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
            next_hop: view.next_hop,
            best: view.best,
            multipath: view.multipath,
            stale: view.stale,
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
