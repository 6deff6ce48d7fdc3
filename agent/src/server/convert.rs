//! From the parts' own views to the words of the socket.

use caracal_agent_api::{FibRoute, Path, Route};
use caracal_bgp::view::{PathView, RouteView};
use caracal_fib::RouteStatus;

pub(crate) fn route(view: RouteView) -> Route {
    Route {
        prefix: view.prefix,
        paths: view.paths.into_iter().map(path).collect(),
    }
}

fn path(view: PathView) -> Path {
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

pub(crate) fn fib_route(status: RouteStatus) -> FibRoute {
    FibRoute {
        prefix: status.prefix,
        way: status.way,
        state: status.state,
        reason: status.reason,
    }
}
