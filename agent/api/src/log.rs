//! The filter of the log, of everything that has a speaker.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Reads `log.level`: a level, or directives `TARGET=LEVEL` with commas. A lone word that is no level would be a
/// target, and nothing else would be logged: that is an error here.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    let fault = |directive: &str, why: &str| format!("log.level: {directive:?} {why}");
    let mut directives = level.split(',').filter(|directive| !directive.is_empty());
    if level.split(',').all(str::is_empty) {
        return Err(fault(level, NO_LEVEL));
    }
    let is_level = |word: &str| !word.is_empty() && word.parse::<LevelFilter>().is_ok();
    let ends_in_level = |directive: &str| {
        let level = directive
            .rsplit_once('=')
            .map_or(directive, |(_, level)| level);
        is_level(level.trim())
    };
    if let Some(directive) = directives.find(|directive| !ends_in_level(directive)) {
        return Err(fault(directive, NO_LEVEL));
    }
    EnvFilter::try_new(level).map_err(|error| fault(level, &error.to_string()))
}

const NO_LEVEL: &str = "is neither off, error, warn, info, debug or trace nor TARGET=LEVEL";

#[cfg(test)]
mod tests;
