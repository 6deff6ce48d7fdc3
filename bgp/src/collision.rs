//! Two connections with one peer: which one stays (RFC 4271 §6.8).

use std::cmp::Ordering;
use std::net::Ipv4Addr;

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Initiator {
    Local,
    Remote,
}

/// Whose connection stays: that of the speaker with the higher BGP Identifier, or, where they are equal,
/// with the higher AS number (RFC 6286 §2.3). Both sides come to the same answer.
pub(crate) fn winner(local: (Ipv4Addr, u32), remote: (Ipv4Addr, u32)) -> Initiator {
    match local.cmp(&remote) {
        Ordering::Greater => Initiator::Local,
        Ordering::Less | Ordering::Equal => Initiator::Remote,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Ipv4Addr = Ipv4Addr::new(9, 255, 255, 255);
    const HIGH: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn the_connection_of_the_higher_identifier_stays_seen_from_both_sides() {
        assert_eq!(winner((HIGH, 64512), (LOW, 64512)), Initiator::Local);
        assert_eq!(winner((LOW, 64512), (HIGH, 64512)), Initiator::Remote);
    }

    #[test]
    fn equal_identifiers_are_told_apart_by_as_number() {
        assert_eq!(winner((LOW, 64513), (LOW, 64512)), Initiator::Local);
        assert_eq!(winner((LOW, 64512), (LOW, 64513)), Initiator::Remote);
    }
}
