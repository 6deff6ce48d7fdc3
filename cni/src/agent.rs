//! The agent as the plugin sees it: what its errors mean to a runtime.

use std::time::Duration;

use caracal_agent_api::{Client, ClientError};

use crate::config::Config;
use crate::error::{CniError, Code};

/// A client of the configured agent.
pub(crate) fn client(config: &Config) -> Client {
    Client::new(&config.socket, PATIENCE)
}

/// One that rather keeps a DEL for later than waits.
pub(crate) fn client_in_a_hurry(config: &Config) -> Client {
    Client::new(&config.socket, PATIENCE_OF_DEL)
}

/// Whether a repetition may succeed without anybody changing the request.
pub(crate) fn may_pass(error: &ClientError) -> bool {
    !matches!(error, ClientError::Refused(_))
}

/// The error for the runtime. `what`: `add container c1`.
pub(crate) fn told(error: &ClientError, what: &str) -> CniError {
    let code = if may_pass(error) {
        Code::TryAgainLater
    } else {
        Code::Refused
    };
    CniError::new(code, format!("cannot {what}: {error}"))
}

/// Long enough to claim a block over a slow datastore; shorter than a runtime's patience (kubelet: 4 minutes).
const PATIENCE: Duration = Duration::from_secs(60);
/// A DEL that the agent does not take now goes to the spool, which is as good.
const PATIENCE_OF_DEL: Duration = Duration::from_secs(15);
