//! Socket options that netlink-sys has no words for.

use netlink_sys::Socket;
use socket2::{SockFilter, SockRef};
use tracing::debug;

/// Makes the receive buffer this large, or as large as we may.
pub(super) fn set_receive_buffer(socket: &Socket, bytes: usize) {
    // Past rmem_max only with CAP_NET_ADMIN in the first user namespace.
    let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(socket, bytes);
    if forced.is_err()
        && let Err(error) = SockRef::from(socket).set_recv_buffer_size(bytes)
    {
        debug!(%error, bytes, "netlink: receive buffer stays as it is");
    }
}

/// Keeps notifications about what `port` wrote from being queued. They would be most of all that arrives, and would
/// say only what the acknowledgements have said.
pub(super) fn ignore_port(socket: &Socket, port: u32) {
    let load_port = SockFilter::new(BPF_LD_W_ABS, 0, 0, NLMSG_PID_OFFSET);
    // Packet loads are in network order, the field is in that of the host.
    let is_ours = SockFilter::new(BPF_JEQ_K, 0, 1, port.to_be());
    let drop = SockFilter::new(BPF_RET_K, 0, 0, 0);
    let accept = SockFilter::new(BPF_RET_K, 0, 0, u32::MAX);
    if let Err(error) = SockRef::from(socket).attach_filter(&[load_port, is_ours, drop, accept]) {
        debug!(%error, "netlink: no filter; own writes are told apart after reading");
    }
}

const NLMSG_PID_OFFSET: u32 = 12;
const BPF_LD_W_ABS: u16 = 0x20;
const BPF_JEQ_K: u16 = 0x15;
const BPF_RET_K: u16 = 0x06;
