//! The states of a session and what a received state makes of them (RFC 5880 §6.2, §6.8.6).
//!
//! ```text
//!                               +--+
//!                               |  | UP, ADMIN DOWN, TIMER
//!                               |  V
//!                       DOWN  +------+  INIT
//!                +------------|      |------------+
//!                |            | DOWN |            |
//!                |  +-------->|      |<--------+  |
//!                |  |         +------+         |  |
//!                |  |                          |  |
//!                |  |               ADMIN DOWN,|  |
//!                |  |ADMIN DOWN,          DOWN,|  |
//!                |  |TIMER                TIMER|  |
//!                V  |                          |  V
//!              +------+                      +------+
//!         +----|      |                      |      |----+
//!     DOWN|    | INIT |--------------------->|  UP  |    |INIT, UP
//!         +--->|      | INIT, UP             |      |<---+
//!              +------+                      +------+
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

/// bfd.SessionState (RFC 5880 §6.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum State {
    /// Held down by the operator.
    AdminDown,
    /// Nothing is heard, or nothing good.
    Down,
    /// The other side is heard; it does not yet hear us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    /// All, in the order of their numbers on the wire.
    pub const ALL: [State; 4] = [State::AdminDown, State::Down, State::Init, State::Up];

    /// The number on the wire.
    pub(crate) fn bits(self) -> u8 {
        match self {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        }
    }

    /// Of the two lowest bits.
    pub(crate) fn from_bits(bits: u8) -> State {
        State::ALL[usize::from(bits & 3)]
    }
}

/// What a session in `state` becomes when it hears that the other side is in `received`.
pub fn next(state: State, received: State) -> State {
    match (state, received) {
        (State::AdminDown, _) => State::AdminDown,
        (_, State::AdminDown) => State::Down,
        (State::Down, State::Down) => State::Init,
        (State::Down, State::Init) => State::Up,
        // It has not noticed that we restarted: our Down tells it.
        (State::Down, State::Up) => State::Down,
        (State::Init, State::Down) => State::Init,
        (State::Init, State::Init | State::Up) => State::Up,
        (State::Up, State::Down) => State::Down,
        (State::Up, State::Init | State::Up) => State::Up,
    }
}

/// `AdminDown`, `Down`, `Init`, `Up`.
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::State::{AdminDown, Down, Init, Up};
    use super::*;

    #[test]
    fn every_state_answers_every_received_state_as_the_rfc_says() {
        let rows = [
            // received: AdminDown, Down, Init, Up
            (AdminDown, [AdminDown, AdminDown, AdminDown, AdminDown]),
            (Down, [Down, Init, Up, Down]),
            (Init, [Down, Init, Up, Up]),
            (Up, [Down, Down, Up, Up]),
        ];
        for (state, expected) in rows {
            let found = State::ALL.map(|received| next(state, received));
            assert_eq!(found, expected, "in {state}");
        }
    }

    #[test]
    fn numbers_on_the_wire_are_those_of_the_rfc() {
        assert_eq!(State::ALL.map(State::bits), [0, 1, 2, 3]);
        assert_eq!([0, 1, 2, 3].map(State::from_bits), State::ALL);
    }
}
