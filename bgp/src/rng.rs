//! The speaker's only randomness: SplitMix64 from the configured seed, for jitter (RFC 4271 §10).

use std::time::Duration;

/// A generator whose whole future is its seed.
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// RFC 4271 §10: a timer's value times a factor from 0.75 to 1.0.
    pub(crate) fn jitter(&mut self, duration: Duration) -> Duration {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let quarter = micros / 4;
        Duration::from_micros(micros - self.below(quarter + 1))
    }

    /// Another generator, so that what one part draws does not shift what others draw.
    pub(crate) fn fork(&mut self) -> Rng {
        Rng(self.next())
    }

    /// Any number, for tests that draw more than jitter.
    #[cfg(test)]
    pub(crate) fn draw(&mut self) -> u64 {
        self.next()
    }

    /// A number in `0..bound`; `bound` is not zero.
    fn below(&mut self, bound: u64) -> u64 {
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

    #[test]
    fn jitter_stays_between_three_quarters_and_the_whole() {
        let mut rng = Rng::new(7);
        let whole = Duration::from_secs(30);
        let draws: Vec<Duration> = (0..1000).map(|_| rng.jitter(whole)).collect();
        assert!(draws.iter().all(|d| *d >= whole * 3 / 4 && *d <= whole));
        assert!(
            draws.iter().any(|d| *d < whole * 4 / 5) && draws.iter().any(|d| *d > whole * 19 / 20)
        );
    }

    #[test]
    fn jitter_of_nothing_is_nothing() {
        assert_eq!(Rng::new(1).jitter(Duration::ZERO), Duration::ZERO);
    }
}
