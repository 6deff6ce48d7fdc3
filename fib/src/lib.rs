//! Makes the kernel equal to a desired set of routes, neighbours and tunnels.
//!
//! [`Fib`] is the type to start from. It does not know where routes come from.

mod handle;
pub mod egress;
pub mod model;

pub use handle::{interfaces, Fib, FibError, Interface};
pub use model::{Change, Config, Encapsulation, Endpoint, FibStatus, Gate, Mode, Route, RouteStatus, Tunnels, Vtep, VxlanDevice};
