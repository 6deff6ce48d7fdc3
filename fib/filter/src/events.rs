//! Says when somebody else has changed our table, and who.

use std::future::poll_fn;
use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};

use crate::difference::{NEWGEN, NFTA_TABLE};
use crate::message::Messages;
use crate::socket::set_receive_buffer;
use crate::{NFPROTO_INET, NFT, TABLE};

/// The kernel's notifications about nf_tables.
pub(crate) struct Events {
    socket: TokioSocket,
    /// The port of the socket that writes for us.
    ours: u32,
    /// The transaction being told touched our table.
    touched: bool,
}

/// Somebody changed our table, or so much happened that nobody can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// `nft (pid 4711)`.
    pub(crate) culprit: Option<String>,
}

impl Events {
    /// Must be called within a tokio runtime.
    pub(crate) fn subscribe(ours: u32) -> io::Result<Events> {
        let mut socket = TokioSocket::new(NETLINK_NETFILTER)?;
        socket.socket_mut().bind(&SocketAddr::new(0, 0))?;
        socket.socket_mut().add_membership(NFNLGRP_NFTABLES)?;
        set_receive_buffer(socket.socket_ref(), RECEIVE_BUFFER_BYTES);
        Ok(Events {
            socket,
            ours,
            touched: false,
        })
    }

    /// Waits for it. Nothing is lost when the wait is given up.
    pub(crate) async fn next(&mut self) -> io::Result<Foreign> {
        let mut incoming = Vec::with_capacity(INCOMING_BYTES);
        loop {
            incoming.clear();
            let received = poll_fn(|context| self.socket.poll_recv(context, &mut incoming));
            match received.await {
                Ok(_) => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Foreign { culprit: None });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(foreign) = self.take_in(&incoming) {
                return Ok(foreign);
            }
        }
    }

    /// A transaction's objects come first, and its generation last, with the process.
    fn take_in(&mut self, datagram: &[u8]) -> Option<Foreign> {
        let mut found = None;
        for received in Messages(datagram) {
            if received.kind >> 8 != NFT || received.port == self.ours {
                continue;
            }
            let attributes = received.attributes();
            if received.kind & 0xff != NEWGEN {
                self.touched |=
                    received.family() == NFPROTO_INET && attributes.text(NFTA_TABLE) == Some(TABLE);
            } else if std::mem::take(&mut self.touched) {
                let name = attributes.text(NFTA_GEN_PROC_NAME);
                let process = attributes.number(NFTA_GEN_PROC_PID);
                let culprit = name.zip(process);
                found = Some(Foreign {
                    culprit: culprit.map(|(name, process)| format!("{name} (pid {process})")),
                });
            }
        }
        found
    }
}

const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
const INCOMING_BYTES: usize = 64 << 10;

// linux/netfilter/nfnetlink.h, nf_tables.h
const NFNLGRP_NFTABLES: u32 = 7;
const NFTA_GEN_PROC_PID: u16 = 2;
const NFTA_GEN_PROC_NAME: u16 = 3;
