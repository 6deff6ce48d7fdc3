//! How long to wait before the next try: longer each time, and different in each process, so that a cluster does not
//! come back all at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The pauses between tries.
pub(crate) struct Pause {
    tries: u32,
    max: Duration,
    jitter: RandomState,
}

impl Pause {
    /// Up to [`PAUSE_MAX`].
    pub(crate) fn new() -> Pause {
        Pause::up_to(PAUSE_MAX)
    }

    pub(crate) fn up_to(max: Duration) -> Pause {
        Pause {
            tries: 0,
            max,
            jitter: RandomState::new(),
        }
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// The next one: of a length between half and all of what it would be without chance.
    pub(crate) fn next(&mut self) -> Duration {
        let full = PAUSE_MIN
            .saturating_mul(1 << self.tries.min(16))
            .min(self.max);
        let random = u32::try_from(self.jitter.hash_one(self.tries) % 512).unwrap_or(0);
        self.tries = self.tries.saturating_add(1);
        full / 2 + full / 1024 * random
    }
}

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_ten_seconds_and_begin_anew_after_a_success() {
        let mut pause = Pause::new();
        let pauses: Vec<Duration> = (0..20).map(|_| pause.next()).collect();
        assert!(pauses[0] >= PAUSE_MIN / 2 && pauses[0] <= PAUSE_MIN);
        assert!(pauses[1] >= PAUSE_MIN && pauses[1] <= 2 * PAUSE_MIN);
        for late in &pauses[10..] {
            assert!(*late >= PAUSE_MAX / 2 && *late <= PAUSE_MAX, "{late:?}");
        }
        pause.reset();
        assert!(pause.next() <= PAUSE_MIN);
    }
}
