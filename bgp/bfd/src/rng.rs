//! The only randomness: SplitMix64 from a seed, for jitter (RFC 5880 §6.8.7) and discriminators.

use std::time::Duration;

/// A generator whose whole future is its seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// RFC 5880 §6.8.7: 75 to 100 % of the interval, with a Detect Mult of 1 no more than 90 %, so
    /// that a packet is there before the detection time ends.
    pub(crate) fn jitter(&mut self, interval: Duration, detect_multiplier: u8) -> Duration {
        let micros = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
        let longest = match detect_multiplier {
            1 => micros - micros.div_ceil(10),
            _ => micros,
        };
        let shortest = micros - micros / 4;
        let spread = longest.saturating_sub(shortest);
        Duration::from_micros(longest - self.below(spread + 1))
    }

    /// Another generator, so that what one session draws does not shift what others draw.
    pub(crate) fn fork(&mut self) -> Rng {
        Rng(self.next())
    }

    /// A number in `0..bound`; `bound` is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiplication; its bias is far below what jitter could show.
        let wide = u128::from(self.next()) * u128::from(bound);
        (wide >> 64) as u64
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(interval: Duration, detect_multiplier: u8) -> (Duration, Duration) {
        let mut rng = Rng::new(7);
        let draws: Vec<Duration> = (0..10_000)
            .map(|_| rng.jitter(interval, detect_multiplier))
            .collect();
        let (Some(&shortest), Some(&longest)) = (draws.iter().min(), draws.iter().max()) else {
            unreachable!()
        };
        (shortest, longest)
    }

    #[test]
    fn jitter_takes_away_up_to_a_quarter() {
        let (shortest, longest) = range(Duration::from_millis(300), 3);
        assert!(shortest >= Duration::from_millis(225) && shortest < Duration::from_millis(226));
        assert!(longest <= Duration::from_millis(300) && longest > Duration::from_millis(299));
    }

    #[test]
    fn jitter_takes_away_at_least_a_tenth_when_one_lost_packet_is_too_many() {
        let (shortest, longest) = range(Duration::from_millis(300), 1);
        assert!(shortest >= Duration::from_millis(225) && shortest < Duration::from_millis(226));
        assert!(longest <= Duration::from_millis(270) && longest > Duration::from_millis(269));
    }

    #[test]
    fn jitter_of_the_shortest_intervals_does_not_exceed_them() {
        for micros in 0..10 {
            for multiplier in [1, 2] {
                let interval = Duration::from_micros(micros);
                assert!(Rng::new(micros).jitter(interval, multiplier) <= interval);
            }
        }
    }
}
