//! Waiting for a condition, with a deadline and the last reason why it was not met.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a wait may take before it counts as failed. `CARACAL_LAB_PATIENCE` (seconds) overrides it, for slow machines.
pub fn patience() -> Duration {
    let seconds = std::env::var("CARACAL_LAB_PATIENCE")
        .ok()
        .and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(30))
}

/// Asks `probe` again and again until it has something, or [`patience`] is over; then the error carries its last reason.
pub fn until<T>(what: &str, mut probe: impl FnMut() -> Result<T, String>) -> Result<T> {
    until_or(what, || Ok(probe()))
}

/// As [`until`]; an outer error says that waiting is of no use any more.
pub fn until_or<T>(what: &str, mut probe: impl FnMut() -> Result<Result<T, String>>) -> Result<T> {
    let (start, patience) = (Instant::now(), patience());
    loop {
        let reason = match probe()? {
            Ok(value) => return Ok(value),
            Err(reason) => reason,
        };
        if start.elapsed() > patience {
            bail!("waited {} s for {what}: {reason}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
