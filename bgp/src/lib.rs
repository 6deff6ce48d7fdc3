//! BGP-4 without I/O: bytes, time and local prefixes in; bytes, deadlines and Loc-RIB changes out.
//!
//! ```text
//!        handle_bytes      ┌─────────────────────────── Speaker ───────────────────────────┐
//!   TCP ──────────────────►│ Peer (one a neighbour)                                        │
//!    ▲   handle_connected  │  ├ Connection (0 to 2): wire::Codec, OpenSent → Established   │
//!    │   handle_closed     │  │        collision: RFC 4271 §6.8                            │
//!    │                     │  └ retry, restart and deferral timers; stale paths, limits    │
//!    │   poll_action       │      │ Update                            ▲ bytes              │
//!    │◄────────────────────│      ▼                                   │                    │
//!    │   poll_transmit     │   import ──► Rib: Table ──► decision ──► disseminate ──► Log  │
//!    │◄────────────────────│   Phase 1     (1x)          Phase 2      Phase 3     (1x group)
//!    │                     │   Policy                                 Policy               │
//!    │                     └────────────────┬──────────────────────────────────────────────┘
//!  time: handle_timeout, poll_timeout       │ poll_route_change
//!  local prefixes: originate, withdraw      ▼
//!  the path to a peer: handle_bfd          FIB
//!  for monitors: poll_tap (`tap`); for replays: poll_record (`record`)
//! ```
//!
//! [`Speaker`] is the type to start from. Its methods are of four kinds: `handle_*` for what network and clock
//! bring, verbs for what the operator wants, `poll_*` for what the driver shall do, and questions.
//!
//! *Invariant:* nothing here sleeps, spawns, opens, reads a clock or draws randomness from outside. The same
//! inputs give the same outputs, octet by octet.
//!
//! *Invariant:* a peer can send any bytes. The answer is a NOTIFICATION, an [`Event`] or both.
//!
//! Inside, a prefix is an `IpNet`, and a table holds both families: AFI and SAFI exist on the wire and in
//! negotiation only. Peers with equal export terms share one Adj-RIB-Out and its log of encoded changes, so
//! that cost grows with changes and octets sent, not with changes times peers.
//!
//! | RFC | | where |
//! |---|---|---|
//! | 4271 | BGP-4 | `wire`, `connection`, `peer`, `collision`, `import`, `decision`, `disseminate` |
//! | 1997, 4360, 8092 | communities, extended, large | `wire`, well-known ones in `disseminate` |
//! | 2918, 7313 | route refresh, enhanced | `speaker::refresh`, `rib::walk` |
//! | 4456 | reflection | `import` (loops), `disseminate`, `decision` |
//! | 4486, 9003 | Cease subcodes, shutdown communication | `wire::Notification` |
//! | 4724, 8538 | graceful restart, with NOTIFICATIONs | `negotiated`, `speaker::restart` |
//! | 4760 | IPv6 | `wire`, `negotiated` |
//! | 5492 | capabilities | `wire::Open`, `negotiated` |
//! | 6286 | identifiers unique within an AS | `negotiated`, `collision` |
//! | 6608 | subcodes of FSM errors | `connection` |
//! | 6793 | AS numbers of four octets | `wire` |
//! | 7606 | gentle treatment of bad UPDATEs | `wire::Update` |
//! | 7311 | AIGP, carried | `wire` |
//! | 7705 | other AS numbers of ours | `negotiated`, `import`, `disseminate` |
//! | 7911 | several paths of a prefix | `wire`, `negotiated`, `rib` |
//! | 8326 | graceful shutdown | `import`, `disseminate` |
//! | 8654, 8950 | extended messages, IPv6 next hops for IPv4 | `negotiated`, `disseminate` |
//! | 9234 | roles, Only to Customer | `roles`, in `negotiated`, `import`, `disseminate` |
//! | 9384 | the end of a session by BFD | `speaker::bfd` |
//! | 9494 | long-lived graceful restart | `stale`, `speaker::restart`, `disseminate` |

mod collision;
pub mod config;
mod connection;
mod decision;
mod disseminate;
mod errors;
pub mod event;
mod import;
mod judgements;
mod negotiated;
mod peer;
mod peer_key;
mod peers;
pub mod policy;
pub mod record;
mod rib;
mod rng;
mod roles;
pub mod speaker;
mod stale;
pub mod tap;
pub mod time;
mod timers;
pub mod view;
pub mod wire;

pub use config::{
    BfdConfig, LimitAction, LocalAs, LocalPath, NextHopMode, PeerConfig, PrefixLimit, RemoteAs,
    SpeakerConfig,
};
pub use event::{Action, BfdState, ConnectionId, Event, PeerId};
pub use peer_key::PeerKey;
pub use policy::Policy;
pub use speaker::{BfdWish, Reset, Speaker};
pub use time::Time;

#[cfg(test)]
mod testing;
