//! Other people's routers as guests of the lab: how each is configured, and how it is asked what it knows.
//!
//! The tests are in `tests/`, one file a router; each begins with a drawing and numbered expectations.

mod bird;

pub use bird::{Bird, BirdRoute};
