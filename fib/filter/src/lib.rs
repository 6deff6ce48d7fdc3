//! Makes the kernel's packet filter equal to a desired set of rules, in a table of its own: `inet caracal`. And removes
//! what connection tracking remembers of an address before the address is given to someone else.
//!
//! [`Filter`] is the type to start from; [`Rules`] is what is wished for. Other tables are never touched.
//!
//! ```text
//!   any number of Filter handles         1 thread "caracal-filter", which the routes' thread never waits for
//!   ┌──────────┐  Rules, addresses   ┌───────────────────────────────────────────────────────────────┐
//!   │ set      ├────────────────────►│ compile: Rules → table      pure                              │
//!   │ forget   │                     │ read: the kernel's table    nf_tables, 1 socket               │
//!   │ counters │◄────────────────────┤ difference → 1 transaction  pure; the kernel takes all or none│
//!   └──────────┘  status, answers    │ events: who else changed it nf_tables, 1 socket, multicast    │
//!                                    │ conntrack: dump, delete     ctnetlink, 1 socket               │
//!                                    └───────────────────────────────────────────────────────────────┘
//! ```
//!
//! A transaction waits for an RCU grace period in the kernel, tens of milliseconds; that is why it has a thread of its
//! own. The table is read when we start and when somebody else has changed it; what is right already is not written.

mod compile;
mod conntrack;
mod difference;
mod events;
mod expression;
mod handle;
mod keep;
mod message;
mod model;
mod read;
mod remove;
mod socket;
mod table;
mod worker;

pub use handle::{Filter, FilterError};
pub use model::{
    Counters, DevicePattern, FilterStatus, Masquerade, NoDevicePattern, Rules, ServiceLoops,
    SpoofProtection, TunnelProtection,
};
pub use remove::{is_present, remove};

/// The name of our table.
const TABLE: &str = "caracal";
/// Its family: IPv4 and IPv6.
const NFPROTO_INET: u8 = 1;
/// NFNL_SUBSYS_NFTABLES.
const NFT: u16 = 10;
