//! A virtual cluster on one machine: network namespaces, real agents, real pods.
//!
//! ```text
//!   outside            one user, network, mount and process namespace of our own ([`private`])
//!   ┌───────────┐      ┌──────────────────────────────────────────────────────────────────┐
//!   │ caller    │leash │  fabric: bridges rack1, rack2, …, a router between them          │
//!   │ (a test,  ├──────┤     │ eth0              │ eth0              │ eth0               │
//!   │ the demo) │ pipe │  ┌──┴─────────┐      ┌──┴─────────┐      ┌──┴─────────┐  N nodes │
//!   └───────────┘      │  │ node1      │      │ node2      │      │ node3      │          │
//!                      │  │  agent     │      │  agent     │      │  agent     │ 1 a node │
//!                      │  └─┬──cali…─┬─┘      └─┬──cali…─┬─┘      └─┬──cali…─┬─┘          │
//!                      │  pod-1-1 pod-1-2    pod-2-1  …          pod-3-1  …      by the   │
//!                      │                                                         plugin   │
//!                      └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Start at [`Lab`]. A test body goes into [`lab_tests!`], which runs it inside; [`Lab::build`] makes the cluster there.
//! Everything in it is the real thing: `caracal-agent` with a configuration file, `caracal-cni` with JSON on stdin as a
//! runtime would, manifests in a folder. Only the wire is watched ([`wire`]) and the packets are ours ([`ping`]).
//!
//! Nothing is left behind, however the caller ends: files, namespaces and processes all belong to the private world, which
//! ends with its first process, and that holds one end of a pipe whose other end only the caller has.

pub mod binaries;
pub mod daemon;
pub mod expense;
pub mod frame;
mod lab;
pub mod manifests;
pub mod netns;
pub mod node;
pub mod ping;
pub mod pod;
pub mod private;
pub mod seed;
mod testing;
pub mod topology;
pub mod wait;
pub mod wire;

pub use binaries::Binaries;
pub use lab::Lab;
pub use netns::Netns;
pub use node::Node;
pub use pod::{CniAnswer, Pod, Runtime};
pub use testing::{run_test, show_logs};
pub use topology::{Encapsulation, Mode, Options};
