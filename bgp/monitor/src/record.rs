//! Records as lines of JSON, and their replay.

use std::io::{BufRead, Write};

use caracal_bgp::Speaker;
use caracal_bgp::record::{Record, Replay, ReplayError};

/// Why a file could not be replayed to its end.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It could not be read.
    #[error("line {line}: {error}")]
    Io {
        /// From 1.
        line: usize,
        /// Why.
        error: std::io::Error,
    },
    /// A line is none.
    #[error("line {line}: {error}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// The last line ends in the middle, as a crash leaves it.
    #[error("line {line} is cut off; the {} before it matched", line - 1)]
    Cut {
        /// From 1.
        line: usize,
    },
    /// Nothing is in it.
    #[error("empty: no record")]
    Empty,
    /// The speaker did not do what it did then.
    #[error("line {line}: {error}")]
    Different {
        /// From 1.
        line: usize,
        /// What was and what is.
        error: ReplayError,
    },
}

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// How many lines.
    pub records: usize,
    /// The speaker as it was at the end.
    pub speaker: Speaker,
}

/// Writes one line.
pub fn write(record: &Record, out: &mut impl Write) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, record)?;
    out.write_all(b"\n")
}

/// Does all that was recorded once more and compares the answers, octet by octet.
pub fn replay(mut lines: impl BufRead) -> Result<Replayed, RecordError> {
    let mut replay = Replay::default();
    let mut records = 0;
    let mut text = Vec::new();
    loop {
        let line = records + 1;
        text.clear();
        let octets = lines
            .read_until(b'\n', &mut text)
            .map_err(|error| RecordError::Io { line, error })?;
        if octets == 0 {
            break;
        }
        let record: Record = serde_json::from_slice(&text).map_err(|error| {
            if error.is_eof() && !text.ends_with(b"\n") {
                RecordError::Cut { line }
            } else {
                RecordError::Line { line, error }
            }
        })?;
        replay
            .step(&record)
            .map_err(|error| RecordError::Different { line, error })?;
        records = line;
    }
    let speaker = replay.into_speaker().ok_or(RecordError::Empty)?;
    Ok(Replayed { records, speaker })
}
