//! Takes the table away for good.

use crate::difference::delete_table;
use crate::handle::FilterError;
use crate::message::Message;
use crate::socket::{Failure, Netfilter};
use crate::{NFT, read};

/// Deletes table `inet caracal` of the current network namespace, and nothing else. Returns whether there was one.
/// Blocks for as long as the kernel needs. A kernel without nf_tables has no such table.
pub fn remove() -> Result<bool, FilterError> {
    with_nftables(|netfilter| commit(netfilter, None, &[delete_table().message]))
}

/// Whether [`remove`] would find something.
pub fn is_present() -> Result<bool, FilterError> {
    with_nftables(read::look)
}

/// Whether the work found a table.
fn with_nftables(
    work: impl FnOnce(&mut Netfilter) -> Result<(), Failure>,
) -> Result<bool, FilterError> {
    let absent = |errno| {
        matches!(
            errno,
            libc::EPROTONOSUPPORT | libc::EINVAL | libc::EOPNOTSUPP
        )
    };
    let mut netfilter = match Netfilter::open() {
        Ok(netfilter) => netfilter,
        Err(error) if error.raw_os_error().is_some_and(absent) => return Ok(false),
        Err(error) => return Err(FilterError::Netlink(error.to_string())),
    };
    let asked = read::generation(&mut netfilter).err();
    if asked
        .and_then(|failure| failure.errno())
        .is_some_and(absent)
    {
        return Ok(false);
    }
    match work(&mut netfilter) {
        Ok(()) => Ok(true),
        Err(failure) if failure.errno() == Some(libc::ENOENT) => Ok(false),
        Err(failure) => Err(FilterError::Netlink(failure.to_string())),
    }
}

/// One transaction of nf_tables; with a generation only if nobody has changed anything since.
pub(crate) fn commit(
    netfilter: &mut Netfilter,
    generation: Option<u32>,
    messages: &[Message],
) -> Result<(), Failure> {
    let frame = |kind| {
        let mut message = Message::new(0, kind, 0);
        message.resource = NFT;
        message
    };
    let mut begin = frame(NFNL_MSG_BATCH_BEGIN);
    if let Some(generation) = generation {
        begin.attributes.number(NFNL_BATCH_GENID, generation);
    }
    netfilter.transaction(&begin, messages, &frame(NFNL_MSG_BATCH_END))
}

// linux/netfilter/nfnetlink.h
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_BATCH_GENID: u16 = 1;
