//! The plugin as a runtime sees it: a process, an environment, JSON in and JSON out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests too"
)]

mod agent;
mod kernel;
mod support;
mod words;
