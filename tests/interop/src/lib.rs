//! Other people's routers as guests of the lab: how each is configured, and how it is asked what it knows.
//!
//! The tests are in `tests/`, one file a router; each begins with a drawing and numbered expectations. What all routers
//! have in common is a [`Router`]; what is expected of all of them, and the lab around them, is a [`Scene`]. Where no cluster
//! is needed, a router and a speaker of ours meet in a [`duel`].

mod bird;
pub mod bird1;
mod bird2;
pub mod choices;
pub mod duel;
mod exabgp;
pub mod features;
mod feeder;
mod frr;
mod gobgp;
mod json;
pub mod openbgpd;
mod router;
mod scene;

pub use bird::{Bird, BirdRoute};
pub use bird1::Bird1;
pub use bird2::Bird2;
pub use exabgp::ExaBgp;
pub use feeder::Feeder;
pub use frr::Frr;
pub use gobgp::GoBgp;
pub use openbgpd::OpenBgpd;
pub use router::{Announced, Learned, Place, Router, Wish};
pub use scene::Scene;
