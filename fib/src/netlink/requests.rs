//! The sockets for requests: asked one after the other, and opened again when they are lost.

#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

use super::nexthop::Objects;
use super::socket::Pauses;
use crate::kernel::{Event, Lane, Refusal};

/// What requests go by.
#[derive(Debug)]
pub(super) struct Requests {
    /// `None`: it has failed.
    open: Option<Open>,
    pauses: Pauses,
    /// Not opened again before.
    retry: Option<Instant>,
    events: mpsc::UnboundedSender<Event>,
}

/// Both handles share the fate of their sockets.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) handle: rtnetlink::Handle,
    pub(super) objects: Objects,
    /// Ends when a socket fails.
    connections: JoinHandle<()>,
}

impl Requests {
    /// `events` hears when the sockets are lost, and when they are back.
    pub(super) fn open(events: mpsc::UnboundedSender<Event>) -> io::Result<Requests> {
        Ok(Requests {
            open: Some(Open::new()?),
            pauses: Pauses::default(),
            retry: None,
            events,
        })
    }

    /// The sockets, opened again if they were lost. Not so often that it would be all we do.
    pub(super) fn sockets(&mut self) -> Result<&Open, Refusal> {
        if self.open.as_ref().is_some_and(Open::has_failed) {
            warn!("netlink: the socket for requests has failed; opening it again");
            self.open = None;
            let lost = Event::SocketLost(Lane::Requests, CLOSED.into());
            // Nobody may listen where there are only requests.
            self.events.send(lost).ok();
        }
        if self.open.is_none() {
            let now = Instant::now();
            if self.retry.is_some_and(|retry| now < retry) {
                return Err(closed());
            }
            self.retry = Some(now + self.pauses.next());
            let open = Open::new().map_err(|error| Refusal {
                errno: 0,
                reason: format!("open a socket: {error}"),
            })?;
            self.open = Some(open);
            self.events.send(Event::SocketBack(Lane::Requests)).ok();
        }
        self.open.as_ref().ok_or_else(closed)
    }

    /// It has answered.
    pub(super) fn works(&mut self) {
        self.pauses = Pauses::default();
    }

    #[cfg(test)]
    pub(super) fn lose(&mut self) {
        if let Some(open) = &self.open {
            open.connections.abort();
        }
    }
}

impl Open {
    pub(super) fn new() -> io::Result<Open> {
        let (connection, handle, _) = rtnetlink::new_connection_with_strict_check()?;
        let (objects, of_objects) = Objects::open()?;
        let connections = tokio::spawn(async move {
            // One that fails takes the other with it.
            futures::future::select(connection, of_objects).await;
        });
        Ok(Open {
            handle,
            objects,
            connections,
        })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.connections.is_finished()
    }

    /// Asks, for so long at most. A request whose answer does not decode never completes, and one whose socket is lost may
    /// seem to be answered in full.
    pub(super) async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, rtnetlink::Error>>,
        limit: Duration,
    ) -> Result<T, Refusal> {
        let answer = match tokio::time::timeout(limit, request).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(rtnetlink::Error::NetlinkError(message))) => {
                let errno = -message.raw_code();
                Err(Refusal {
                    errno,
                    reason: io::Error::from_raw_os_error(errno).to_string(),
                })
            }
            Ok(Err(other)) => Err(Refusal {
                errno: 0,
                reason: other.to_string(),
            }),
            Err(_) => Err(Refusal {
                errno: 0,
                reason: format!("no answer from the kernel in {limit:?}"),
            }),
        };
        match self.has_failed() {
            true => Err(closed()),
            false => answer,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.abort();
    }
}

fn closed() -> Refusal {
    Refusal {
        errno: 0,
        reason: CLOSED.into(),
    }
}

const CLOSED: &str = "the socket is closed";
