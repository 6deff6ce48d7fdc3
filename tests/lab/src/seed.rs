//! Small seeded randomness, so that a run can be repeated. The seed is printed by whoever uses it.

/// A stream of numbers that depends on its seed alone (splitmix64).
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// A stream.
    pub fn new(seed: u64) -> Seeded {
        Seeded(seed)
    }

    /// A number below `limit` (which is at least 1).
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }
}

/// The seed of this run: `CARACAL_SEED`, or `fallback`.
pub fn of_this_run(fallback: u64) -> u64 {
    std::env::var("CARACAL_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(fallback)
}
