//! Makes the kernel equal to a desired set of routes, neighbours and tunnels.
//!
//! [`Fib`] is the type to start from. It does not know where routes come from.
//!
//! ```text
//!   any number of Fib handles            1 thread "caracal-fib", single-threaded runtime
//!   ┌────────────┐   commands   ┌──────────────────────────────────────────────┐
//!   │ apply      ├─────────────►│ Worker: desired · actual · pending           │
//!   │ settled    │              │   egress, resolve, gate, plan, delta: pure   │
//!   │ routes     │◄─────────────┤   Kernel: netlink, and reads beside it; in   │
//!   └────────────┘    status    │           a table in memory                  │
//!                               └──────────────────────┬───────────────────────┘
//!                                                      │ large batches of routes
//!                                        1 thread "caracal-fib-out" ─► kernel
//! ```
//!
//! *Desired* follows from the wishes ([`Change`]) and from what the node's devices are like, and from nothing else.
//! *Actual* is what the kernel acknowledged or reported. *Pending* is their difference, by prefix: only the newest
//! wish of a prefix is ever written. A route that the kernel refuses, or that waits for a device, is tried again and
//! holds nobody back.
//!
//! Every route we write carries our protocol number ([`Config::protocol`]), so that the next start recognises it.
//! A route with this signature that nobody desires is deleted only as the [`Gate`] says.

mod before;
mod cleanup;
mod counters;
mod culprits;
mod delta;
mod device_prefixes;
pub mod egress;
mod fights;
mod gate;
mod handle;
mod hash;
mod kernel;
pub mod model;
mod netlink;
mod nexthops;
mod plan;
mod resolve;
mod settings;
mod staging;
mod sysctl;
mod vteps;
mod worker;
mod world;

pub use cleanup::{Cleaned, cleanup};
pub use counters::{FibCounters, Refused, RepairCounters};
pub use device_prefixes::DevicePrefixes;
pub use handle::{Fib, FibError, Interface, interfaces};
pub use model::{
    Change, Config, Encapsulation, Endpoint, FibStatus, Gate, IpipDevice, Mode, NextHops, Route,
    RouteStatus, Standing, TunnelSet, TunnelStatus, Tunnels, Vtep, VxlanDevice,
};
pub use settings::{MtuDevices, Settings};
