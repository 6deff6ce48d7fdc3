//! The thread that owns the speaker: one that does nothing else, with a runtime for itself.
//!
//! An UPDATE then goes from the socket that it came by to all sockets that it leaves by without another thread being woken, and
//! nothing that the program around it does can keep a KEEPALIVE waiting.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;

use socket2::Socket;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::driver::Driver;
use crate::listener::NetError;

/// Starts the thread. `driver` makes what runs there, until it has stopped.
pub(crate) fn start(
    listeners: Vec<(Socket, SocketAddr)>,
    driver: impl FnOnce() -> Driver + Send + 'static,
) -> Result<(), NetError> {
    let (report, reported) = mpsc::channel();
    let mut builder = Builder::new_current_thread();
    builder.enable_all().event_interval(EVENT_INTERVAL);
    let run = move || match builder.build() {
        Ok(runtime) => runtime.block_on(async {
            match registered(listeners) {
                Ok(listeners) => {
                    let _ = report.send(Ok(()));
                    // A task like the connections' own: before it comes to what `block_on` waits for, the runtime looks whether
                    // anything else has arrived, which is a call for each UPDATE.
                    let _ = tokio::spawn(driver().run(listeners)).await;
                }
                Err(error) => drop(report.send(Err(error))),
            }
        }),
        Err(error) => drop(report.send(Err(error))),
    };
    let thread = thread::Builder::new().name(NAME.to_owned());
    thread.spawn(run).map_err(NetError::Thread)?;
    let ended = || Err(io::Error::other("it has ended"));
    reported
        .recv()
        .unwrap_or_else(|_| ended())
        .map_err(NetError::Thread)
}

fn registered(listeners: Vec<(Socket, SocketAddr)>) -> io::Result<Vec<(TcpListener, SocketAddr)>> {
    let listeners = listeners.into_iter();
    listeners
        .map(|(socket, address)| Ok((TcpListener::from_std(socket.into())?, address)))
        .collect()
}

/// As `ps -L` shows it.
const NAME: &str = "bgp";
/// So many tasks run before the runtime looks who else has sent something. One may be a turn of the driver, which takes a while
/// when a peer floods us, and meanwhile the KEEPALIVEs of the others are not heard.
const EVENT_INTERVAL: u32 = 8;
