//! The speaker's time as that of the world.

use caracal_bgp::Time;

/// When the driver's clock began, by the clock on the wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    epoch_micros: u64,
}

impl WallClock {
    /// [`Time::ZERO`] was so many microseconds after 1970.
    pub fn new(epoch_micros: u64) -> WallClock {
        WallClock { epoch_micros }
    }

    /// Seconds since 1970, and microseconds. Four octets are enough until 2106.
    pub fn at(self, time: Time) -> (u32, u32) {
        let micros = self.epoch_micros.saturating_add(time.as_micros());
        let seconds = u32::try_from(micros / MICROS).unwrap_or(u32::MAX);
        let rest = u32::try_from(micros % MICROS).unwrap_or(0);
        (seconds, rest)
    }
}

const MICROS: u64 = 1_000_000;
