//! Requests and replies on the agent's socket (JSON over HTTP), and their client.
//!
//! | method and path | request | reply |
//! |---|---|---|
//! | GET /v1/status | - | [`Status`] |
//! | GET /v1/peers | - | `Vec<`[`Peer`]`>` |
//! | GET /v1/routes | - | `Vec<`[`Route`]`>`: Loc-RIB |
//! | POST /v1/explain/import | [`Explain`] | `Vec<`[`Explained`]`>`: what is taken from a peer, and why |
//! | POST /v1/explain/export | [`Explain`] | `Vec<`[`Explained`]`>`: what is sent to a peer, and why |
//! | GET /v1/fib | - | `Vec<`[`FibRoute`]`>` |
//! | GET /v1/endpoints | - | `Vec<`[`EndpointView`]`>` |
//! | POST /v1/cni/add | [`CniAdd`] | [`CniAddReply`] |
//! | POST /v1/cni/attached | [`CniAttached`] | `{}` |
//! | POST /v1/cni/del | [`CniDel`] | [`CniDelReply`] |
//! | POST /v1/cni/check | [`CniDel`] | [`CniAddReply`] |
//! | POST /v1/cni/gc | [`CniGc`] | [`CniGcReply`] |
//! | GET /v1/cni/status | - | `{}`, or an error while no pod can be added |
//!
//! An error is [`ApiError`] with an HTTP status of 4xx (the request is wrong) or 5xx (try again later).

mod client;
mod cni;
#[cfg(feature = "speaker")]
pub mod log;
#[cfg(feature = "speaker")]
pub mod metrics;
#[cfg(feature = "speaker")]
mod speaker;
mod view;
#[cfg(feature = "speaker")]
pub mod yaml;

pub use client::{Client, ClientError};
pub use cni::{
    CniAdd, CniAddReply, CniAddress, CniAttached, CniDel, CniDelReply, CniGc, CniGcReply,
};
#[cfg(feature = "speaker")]
pub use speaker::{SpeakerRequest, graceful_shutdown_condition};
pub use view::{
    ApiError, Condition, EndpointView, Explain, Explained, FibRoute, FibSummary, FilterSummary,
    GracefulShutdown, Monitoring, Path, PathAttributes, Peer, PeerErrors, PeerOrder, PeerVerb,
    Route, Station, Status, Tunnel,
};

/// Where the agent listens unless told otherwise.
pub const SOCKET_DEFAULT: &str = "/run/caracal/agent.sock";
