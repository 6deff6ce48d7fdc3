//! Many speakers in one process, virtual time and seeded faults.
//!
//! ```text
//!   Plan::new(seed) ──► World: speakers, pipes, one heap of events ──► quiet ──► oracle::check
//!    topology             time jumps from event to event                          every Loc-RIB is what
//!    faults, churn        bytes are delayed, held back, lost with their pipe      the model says
//! ```
//!
//! A seed is a whole story: which speakers there are, which prefixes come and go, which connections break,
//! who is cut off, who restarts and how. When the faults are over and some time has passed, only the present
//! counts: what every speaker knows is a function of who originates what and of policies, which a naive
//! [`model`] without messages and time computes as well ([`oracle`] compares).
//!
//! [`scale`] has another world for clusters of thousands of nodes, in which nothing is broken but what a story says,
//! and the work is counted.
//!
//! The same seed gives the same story to the octet: [`Outcome::trace`] is a hash of all that was delivered.

pub mod model;
pub mod oracle;
mod pipes;
pub mod plan;
mod rng;
pub mod scale;
pub mod speakers;
pub mod topology;
pub mod world;

pub use plan::Plan;
pub use topology::Topology;
pub use world::World;

use std::time::Duration;

/// What came of a story that ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Hash of everything that was delivered, when and where.
    pub trace: u64,
    /// Sessions that came up, counted at both ends.
    pub sessions: u64,
    /// Sessions that came up and went down again.
    pub flaps: u64,
    /// How often a living speaker lost its last way to a prefix.
    pub lost: u64,
    /// Pieces of bytes delivered.
    pub deliveries: u64,
}

/// Lives through a plan. `Err` says what is not as it should be, and names the seed.
pub fn run(plan: &Plan) -> Result<Outcome, String> {
    let mut world = World::new(plan);
    world.run_until(plan.quiet_at + QUIET_TIME);
    let seed = plan.seed;
    oracle::check(&world).map_err(|wrong| format!("seed {seed} ({:?}): {wrong}", plan.topology))?;
    Ok(world.outcome())
}

/// Long enough for hold timers, retries and restart times to run out one after the other.
const QUIET_TIME: Duration = Duration::from_secs(60);
