//! The versions of the CNI specification that we speak.

use serde_json::{Value, json};

/// A version, oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl Version {
    /// All, oldest first.
    pub(crate) const ALL: [Version; 5] = [
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];
    /// The newest, used where the caller's is unknown.
    pub(crate) const NEWEST: Version = Version::V1_1_0;

    /// As in `cniVersion`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// From `cniVersion`; `None`: not one of ours.
    pub(crate) fn parse(text: &str) -> Option<Version> {
        Version::ALL
            .into_iter()
            .find(|version| version.as_str() == text)
    }

    /// All in words, for an error.
    pub(crate) fn all_in_words() -> String {
        Version::ALL.map(Version::as_str).join(", ")
    }
}

/// The answer to VERSION, in the caller's version.
pub(crate) fn supported(asked: &str) -> Value {
    json!({
        "cniVersion": asked,
        "supportedVersions": Version::ALL.map(Version::as_str),
    })
}
