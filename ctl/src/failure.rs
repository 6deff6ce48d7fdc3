//! How a command fails: one sentence, and an exit code that means something.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed: refused, invalid, conflicting |
//! | 2 | usage: the command line is wrong |
//! | 3 | not found |
//! | 4 | the agent or the datastore cannot be reached |
//! | 5 | done, and there are warnings (of `bgp`) |

use std::fmt;

use caracal_agent_api::ClientError;
use caracal_datastore::StoreError;

/// A failure.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Which sort.
    pub(crate) sort: Sort,
    /// One sentence that names the object and the value; several when several objects are wrong.
    pub(crate) words: Vec<String>,
}

/// The sorts, by exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Refused, invalid, conflicting.
    Failed = 1,
    /// The command line.
    Usage = 2,
    /// No such object.
    NotFound = 3,
    /// No agent or no datastore.
    Unavailable = 4,
    /// Done, and something is to be looked at.
    Worrying = 5,
}

impl Failure {
    /// A failure in one sentence.
    pub(crate) fn new(sort: Sort, words: impl Into<String>) -> Failure {
        Failure {
            sort,
            words: vec![words.into()],
        }
    }

    /// The same, with the place where its cause stands.
    pub(crate) fn at(mut self, place: &str) -> Failure {
        for words in &mut self.words {
            *words = format!("{place}: {words}");
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for words in &self.words {
            writeln!(f, "caracalctl: {words}")?;
        }
        Ok(())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let sort = match error {
            ClientError::Absent { .. } | ClientError::Late { .. } | ClientError::TryLater(_) => {
                Sort::Unavailable
            }
            ClientError::Refused(_) | ClientError::Nonsense { .. } => Sort::Failed,
        };
        Failure::new(sort, error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        let sort = match error {
            StoreError::NotFound(_) => Sort::NotFound,
            StoreError::Unavailable { .. } | StoreError::Locked(_) => Sort::Unavailable,
            StoreError::Exists(_) | StoreError::Conflict(_) | StoreError::Invalid { .. } => {
                Sort::Failed
            }
        };
        Failure::new(sort, error.to_string())
    }
}
