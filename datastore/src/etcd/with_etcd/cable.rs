//! A cable to a server that can be cut.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::etcd::EtcdConfig;

/// Passes bytes on, as long as it is whole.
pub(crate) struct Cable {
    port: u16,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Whole,
    /// Connections end, and new ones are not answered.
    Cut,
    /// Nothing comes through, and nobody is told: bytes wait, as those that TCP sends again and again.
    Silent,
}

impl Cable {
    pub(crate) async fn to(port: u16) -> Cable {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap().port();
        let (state, listened) = watch::channel(State::Whole);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let mut state = listened.clone();
                tokio::spawn(async move {
                    if state
                        .wait_for(|state| *state != State::Silent)
                        .await
                        .is_err()
                        || *state.borrow() == State::Cut
                    {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let (near, far) = (near.into_split(), far.into_split());
                    tokio::select! {
                        () = pass(near.0, far.1, state.clone()) => {}
                        () = pass(far.0, near.1, state.clone()) => {}
                        _ = state.wait_for(|state| *state == State::Cut) => {}
                    }
                });
            }
        });
        Cable { port: here, state }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn config(&self) -> EtcdConfig {
        EtcdConfig {
            endpoints: vec![format!("http://127.0.0.1:{}", self.port)],
            ..EtcdConfig::default()
        }
    }

    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    pub(crate) fn silence(&self) {
        self.state.send_replace(State::Silent);
    }

    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }
}

/// One direction, until its end.
async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let whole = state.wait_for(|state| *state == State::Whole).await.is_ok();
        if !whole || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    // The other direction may have something left to say.
    if to.shutdown().await.is_ok() {
        std::future::pending::<()>().await;
    }
}
