//! A connection with a collector.

use std::net::SocketAddr;
use std::time::Duration;

use caracal_monitor::StationId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Input;
use crate::socket;

/// The hub's end of a connection. Dropped, it is closed.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) serial: u64,
    pub(super) address: SocketAddr,
    /// It has a buffer in its hands, or is not there yet.
    pub(super) writing: bool,
    /// `None`: there will be no more.
    octets: Option<mpsc::Sender<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Link {
    pub(super) fn connect(
        station: StationId,
        serial: u64,
        address: SocketAddr,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Link {
        let (octets, octets_in) = mpsc::channel(1);
        let task = tokio::spawn(async move {
            let reason = match timeout(CONNECT_TIME, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let _ = inputs.send(Input::Connected(station, serial));
                    let written = || {
                        let _ = inputs.send(Input::Written(station, serial));
                    };
                    serve(stream, octets_in, written).await
                }
                Ok(Err(error)) => socket::in_words(&error),
                Err(_) => "TCP did not come up in time".to_owned(),
            };
            let _ = inputs.send(Input::Closed(station, serial, reason));
        });
        Link {
            serial,
            address,
            writing: true,
            octets: Some(octets),
            task,
        }
    }

    /// Only when `writing` is false.
    pub(super) fn write(&mut self, octets: Vec<u8>) {
        self.writing = true;
        if let Some(out) = &self.octets {
            // It fails when the connection has just ended, of which we will hear.
            let _ = out.try_send(octets);
        }
    }

    /// Returns when all is written and the connection is closed.
    pub(super) async fn finish(&mut self) {
        self.octets = None;
        let _ = (&mut self.task).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Writes what comes until there is no more, or the collector closes the connection. It has nothing to say
/// (RFC 7854 §3.2).
async fn serve(
    mut stream: TcpStream,
    mut octets: mpsc::Receiver<Vec<u8>>,
    written: impl Fn(),
) -> String {
    let (mut read, mut write) = stream.split();
    let mut said = [0; 512];
    let writes = async {
        while let Some(octets) = octets.recv().await {
            if let Err(error) = write.write_all(&octets).await {
                return socket::in_words(&error);
            }
            written();
        }
        let _ = write.shutdown().await;
        "closed".to_owned()
    };
    let reads = async {
        loop {
            match read.read(&mut said).await {
                Ok(0) => return "the collector has closed the connection".to_owned(),
                Ok(_) => {}
                Err(error) => return socket::in_words(&error),
            }
        }
    };
    tokio::select! {
        reason = writes => reason,
        reason = reads => reason,
    }
}

const CONNECT_TIME: Duration = Duration::from_secs(10);
