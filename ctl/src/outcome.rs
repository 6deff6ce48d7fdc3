//! What a command leaves: text, notes, and perhaps a failure of a part.

use crate::failure::Failure;

/// The outcome of a command that could be started.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For standard output.
    pub(crate) text: String,
    /// For standard error, without being failures.
    pub(crate) notes: Vec<String>,
    /// What failed while the rest was done.
    pub(crate) failure: Option<Failure>,
}

impl Outcome {
    /// Nothing but text.
    pub(crate) fn text(text: String) -> Outcome {
        Outcome {
            text,
            ..Outcome::default()
        }
    }

    /// Takes note of the failure of a part. The first one decides the exit code.
    pub(crate) fn fails(&mut self, failure: Failure) {
        match &mut self.failure {
            None => self.failure = Some(failure),
            Some(first) => first.words.extend(failure.words),
        }
    }
}
