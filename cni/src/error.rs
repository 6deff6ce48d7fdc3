//! Errors as the CNI specification wants them: a number, one sentence, and the rest.

use std::fmt::Display;

use serde_json::{Value, json};

/// What went wrong, with the number that tells the runtime what kind of thing it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CniError {
    /// The number.
    pub(crate) code: Code,
    /// One sentence that names the object and the value.
    pub(crate) msg: String,
    /// More, where there is more.
    pub(crate) details: String,
}

/// The specification's numbers (up to 99), and ours (from 100).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// `cniVersion` is none that we speak.
    IncompatibleVersion = 1,
    /// The configuration asks for something that we do not do.
    UnsupportedField = 2,
    /// The container is not known, and nothing has to be cleaned up.
    UnknownContainer = 3,
    /// `CNI_*` variables: the sentence says which.
    InvalidEnvironment = 4,
    /// Reading the configuration, or writing the spool.
    Io = 5,
    /// The configuration is not JSON.
    Decode = 6,
    /// The configuration is JSON, and wrong.
    InvalidConfig = 7,
    /// The agent is away or busy.
    TryAgainLater = 11,
    /// STATUS: no pod can be added now.
    PluginNotAvailable = 50,
    /// The agent refused the request, and will again.
    Refused = 100,
    /// The container has an interface of that name which is not ours.
    InterfaceExists = 101,
    /// CHECK: the container is not as it was made.
    Differs = 102,
    /// The kernel refused a step.
    Kernel = 103,
}

impl CniError {
    /// An error without details.
    pub(crate) fn new(code: Code, msg: impl Into<String>) -> CniError {
        CniError {
            code,
            msg: msg.into(),
            details: String::new(),
        }
    }

    /// With details.
    pub(crate) fn details(mut self, details: impl Display) -> CniError {
        self.details = details.to_string();
        self
    }

    /// The specification's error object.
    pub(crate) fn render(&self, cni_version: &str) -> Value {
        let mut object = json!({
            "cniVersion": cni_version,
            "code": self.code as u32,
            "msg": self.msg,
        });
        if !self.details.is_empty() {
            object["details"] = Value::from(self.details.as_str());
        }
        object
    }
}

#[cfg(test)]
mod tests;
