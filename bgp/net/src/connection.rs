//! One TCP connection: bytes in, bytes out, both with back-pressure.

use std::cell::RefCell;
use std::io::{self, Read};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use caracal_bgp::ConnectionId;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::driver::Input;
use crate::places::Place;
use crate::socket::in_words;

/// Counts the buffers that connections have in their hands.
#[derive(Debug, Default)]
pub(crate) struct Hands(Arc<()>);

/// A buffer to be written.
#[derive(Debug)]
struct Handed {
    buffer: Vec<u8>,
    counted: Arc<()>,
}

impl Hands {
    /// How many there are.
    pub(crate) fn full(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }

    fn hold(&self, buffer: Vec<u8>) -> Handed {
        Handed {
            buffer,
            counted: self.0.clone(),
        }
    }
}

/// The driver's end of a connection. Dropping it closes the connection after what it has in its hands.
#[derive(Debug)]
pub(crate) struct Link {
    /// For changes of its options.
    pub(crate) stream: Arc<TcpStream>,
    /// The other end.
    pub(crate) remote: IpAddr,
    outgoing: mpsc::Sender<Handed>,
    /// A buffer is in the connection's hands.
    pub(crate) writing: bool,
    /// The speaker has something that waits for the buffer to be written.
    pub(crate) more: bool,
    _closing: oneshot::Sender<()>,
}

impl Link {
    /// A link, and what runs the other end of it.
    pub(crate) fn new(
        connection: ConnectionId,
        stream: TcpStream,
        remote: IpAddr,
        place: Option<Place>,
        inputs: mpsc::Sender<Input>,
        helpers: Handle,
    ) -> (Link, impl Future<Output = ()> + Send + 'static) {
        // One buffer that is being written is out of the channel; beside it there may be the last words.
        let (outgoing, buffers) = mpsc::channel(2);
        let (closing, closed) = oneshot::channel();
        let stream = Arc::new(stream);
        let link = Link {
            stream: stream.clone(),
            remote,
            outgoing,
            writing: false,
            more: false,
            _closing: closing,
        };
        let running = async move {
            run(connection, stream, inputs, buffers, closed, &helpers).await;
            drop(place);
        };
        (link, running)
    }

    /// Writes what there is room for at once, while no buffer is in the connection's hands. How many octets that
    /// were; an error is for the connection to meet.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> usize {
        match bytes {
            [] => 0,
            _ => self.stream.try_write(bytes).unwrap_or(0),
        }
    }

    /// Hands a buffer over; it comes back as [`Input::Written`].
    pub(crate) fn send(&mut self, buffer: Vec<u8>, hands: &Hands) {
        // It fails when the task has ended, and then `Input::Ended` is on its way.
        self.writing = self.outgoing.try_send(hands.hold(buffer)).is_ok();
    }

    /// Last words, and the end.
    pub(crate) fn close(self, last: Vec<u8>, hands: &Hands) {
        if !last.is_empty() {
            let _ = self.outgoing.try_send(hands.hold(last));
        }
    }
}

async fn run(
    connection: ConnectionId,
    stream: Arc<TcpStream>,
    inputs: mpsc::Sender<Input>,
    buffers: mpsc::Receiver<Handed>,
    closed: oneshot::Receiver<()>,
    helpers: &Handle,
) {
    let mut writing = JoinSet::new();
    writing.spawn_on(
        write(connection, stream.clone(), inputs.clone(), buffers),
        helpers,
    );
    let reading = async {
        let reason = read(connection, &stream, &inputs).await;
        let _ = inputs.send(Input::Ended { connection, reason }).await;
        // Now the driver drops its link, which ends `write`.
        std::future::pending::<()>().await;
    };
    let patience = async {
        let _ = closed.await;
        sleep(LINGER_MAX).await;
    };
    tokio::select! {
        _ = writing.join_next() => {}
        () = reading => {}
        () = patience => {}
    }
}

/// Hands in what arrives, until the connection ends. Returns why.
async fn read(
    connection: ConnectionId,
    stream: &TcpStream,
    inputs: &mpsc::Sender<Input>,
) -> String {
    let turns = Arc::new(Semaphore::new(READS_MAX));
    loop {
        if let Err(error) = stream.readable().await {
            return in_words(&error);
        }
        // Comes back when the driver is done with what was read: others' keepalives wait behind that only.
        let Ok(turn) = turns.clone().acquire_owned().await else {
            return "the speaker has stopped".to_owned();
        };
        let Ok(place) = inputs.reserve().await else {
            return "the speaker has stopped".to_owned();
        };
        // Framing and decoding on this core would happen here, on the scratch space, without a copy.
        match try_read(stream) {
            Ok(None) => return "closed by the peer".to_owned(),
            Ok(Some(bytes)) => place.send(Input::Bytes {
                connection,
                bytes,
                turn,
            }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return in_words(&error),
        }
    }
}

/// Writes buffers and gives them back. Ends when the link is dropped, after telling the peer so.
async fn write(
    connection: ConnectionId,
    stream: Arc<TcpStream>,
    inputs: mpsc::Sender<Input>,
    mut buffers: mpsc::Receiver<Handed>,
) {
    while let Some(Handed { buffer, counted }) = buffers.recv().await {
        if let Err(error) = write_all(&stream, &buffer).await {
            let _ = inputs
                .send(Input::Ended {
                    connection,
                    reason: in_words(&error),
                })
                .await;
            return;
        }
        drop(counted);
        if !buffers.is_closed() {
            let _ = inputs.send(Input::Written { connection, buffer }).await;
        }
    }
    finish(&stream).await;
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// FIN, then read until the peer's: closing a socket with unread bytes sends RST, and that may destroy the
/// NOTIFICATION on its way to the peer.
async fn finish(stream: &TcpStream) {
    if SockRef::from(stream)
        .shutdown(std::net::Shutdown::Write)
        .is_err()
    {
        return;
    }
    let _ = timeout(FAREWELL, async {
        while stream.readable().await.is_ok() {
            match try_read(stream) {
                Ok(None) => return,
                Ok(Some(_)) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    })
    .await;
}

/// What is there, up to 64 KiB; `None`: the end. An idle connection has no buffer.
fn try_read(stream: &TcpStream) -> io::Result<Option<Box<[u8]>>> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_OCTETS_MAX]);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        let mut taken = None;
        let tried = stream.try_io(Interest::READABLE, || {
            let read = (&*SockRef::from(stream)).read(scratch)?;
            taken = Some(read);
            match read {
                // Less than there was room for: there is no more, and asking would cost a call for each UPDATE. So tokio
                // is told what the kernel would have said.
                1.. if read < scratch.len() => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        let Some(read) = taken else {
            return tried.map(|()| None);
        };
        Ok(scratch
            .get(..read)
            .filter(|bytes| !bytes.is_empty())
            .map(Box::from))
    })
}

const READ_OCTETS_MAX: usize = 64 * 1024;
/// One that the driver works on, and the next.
const READS_MAX: usize = 2;
/// How long a connection that is being closed may take to get its last buffers out.
const LINGER_MAX: Duration = Duration::from_secs(2);
const FAREWELL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
