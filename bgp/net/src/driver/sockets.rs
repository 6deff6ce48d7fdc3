//! What the driver does to sockets: it opens them, and changes their options while they are in use.

use std::net::{IpAddr, SocketAddr};

use caracal_bgp::ConnectionId;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::{Driver, Input};
use crate::options::{self, Md5Key, OptionsError, SessionOptions};
use crate::{socket, sockopt};

/// A connection that we are opening.
pub(super) struct Attempt {
    pub(super) remote: SocketAddr,
    pub(super) local: Option<IpAddr>,
    pub(super) interface: Option<String>,
    pub(super) task: AbortHandle,
}

impl Driver {
    /// Makes connections with these peers so, those that come and those that are there.
    pub(super) fn set_options(
        &mut self,
        peers: IpNet,
        options: Option<SessionOptions>,
    ) -> Result<(), OptionsError> {
        let key = options.as_ref().and_then(|options| options.key.clone());
        // Listeners first: who connects from now on is judged by the new key.
        if let Err(refused) = self.arm(peers, key.as_ref()) {
            // Half a key is worse than none: these peers would be asked for a signature for ever.
            let _ = self.arm(peers, None);
            self.options.replace(peers, None);
            return Err(refused);
        }
        if !self.options.replace(peers, options) {
            return Ok(());
        }
        let concerned = |remote: IpAddr| peers.contains(&remote);
        let mut failed = Vec::new();
        for (&connection, link) in &self.links {
            if concerned(link.remote) {
                let options = self.options.of(link.remote).cloned().unwrap_or_default();
                if let Err(error) = options.apply(link.stream.as_ref(), link.remote) {
                    failed.push((connection, error));
                }
            }
        }
        let now = self.shared.now();
        for (connection, error) in failed {
            self.links.remove(&connection);
            let reason = format!("cannot change its options: {}", socket::in_words(&error));
            self.speaker.handle_closed(now, connection, &reason);
        }
        let outdated: Vec<_> = self
            .attempts
            .extract_if(|_, attempt| concerned(attempt.remote.ip()))
            .collect();
        for (connection, attempt) in outdated {
            attempt.task.abort();
            let Attempt {
                remote,
                local,
                interface,
                ..
            } = attempt;
            self.connect(connection, remote, local, interface);
        }
        Ok(())
    }

    fn arm(&self, peers: IpNet, key: Option<&Md5Key>) -> Result<(), OptionsError> {
        self.listeners.iter().try_for_each(|(listener, local)| {
            options::arm(listener.as_ref(), local.ip(), peers, key)
        })
    }

    /// Over which network device somebody has come, where that matters: a link-local address is on any link, and a
    /// peer may be bound to one.
    pub(super) fn interface_of(
        &self,
        stream: &TcpStream,
        remote: SocketAddr,
    ) -> Result<Option<String>, String> {
        let address = remote.ip().to_canonical();
        let index = match remote {
            SocketAddr::V6(remote) if remote.ip().is_unicast_link_local() => {
                Ok(Some(remote.scope_id()))
            }
            _ if self.speaker.is_bound(address) => {
                sockopt::handshake_device(stream, remote.is_ipv6())
            }
            _ => return Ok(None),
        };
        let name = index.and_then(|index| match index {
            Some(index) => socket::device_name(stream, index).map(Some),
            None => Ok(None),
        });
        name.map_err(|error| {
            let error = socket::in_words(&error);
            format!("peer {address}: cannot learn over which network device it came: {error}")
        })
    }

    /// Opens a connection and reports on it.
    pub(super) fn connect(
        &mut self,
        connection: ConnectionId,
        remote: SocketAddr,
        local: Option<IpAddr>,
        interface: Option<String>,
    ) {
        let inputs = self.inputs_out.clone();
        let options = self.options.of(remote.ip()).cloned();
        let device = interface.clone();
        let task = self.tasks.spawn(async move {
            let connected = socket::connecting(remote, local, device, options).await;
            let input = match connected.and_then(|stream| Ok((stream.local_addr()?, stream))) {
                Ok((local, stream)) => Input::Connected {
                    connection,
                    stream,
                    local,
                },
                Err(error) => Input::ConnectFailed {
                    connection,
                    reason: socket::in_words(&error),
                },
            };
            let _ = inputs.send(input).await;
        });
        let attempt = Attempt {
            remote,
            local,
            interface,
            task,
        };
        self.attempts.insert(connection, attempt);
    }
}
