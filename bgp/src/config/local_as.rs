//! Another AS number towards one peer than our own (RFC 7705).

use serde::{Deserialize, Serialize};

/// What AS_PATH says where a peer's `local_asn` is not the speaker's AS number. External peers only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LocalAs {
    /// `local_asn` is not put in front of what the peer sends (RFC 7705 §3.3, "No Prepend Inbound").
    pub no_prepend: bool,
    /// What we send has `local_asn` alone in front, and not our own AS number behind it (RFC 7705 §3.3, "Replace Old
    /// AS").
    pub replace_as: bool,
}

impl Default for LocalAs {
    /// As if `local_asn` were the only AS number that we have.
    fn default() -> LocalAs {
        LocalAs {
            no_prepend: true,
            replace_as: true,
        }
    }
}
