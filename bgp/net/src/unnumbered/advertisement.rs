//! Router advertisements (RFC 4861 §4.2), as far as they say that a router is there.
//!
//! ```text
//!  0      1      2         4               5       6                 8                12              16
//!  134    code   checksum  cur hop limit   flags   router lifetime   reachable time   retrans timer   options…
//! ```

use std::net::Ipv6Addr;

/// What we say: a router is here, but no default route (lifetime 0), and hosts shall configure nothing by it. The
/// kernel fills in the checksum (RFC 3542 §3.1).
pub(crate) fn encode() -> [u8; OCTETS_MIN] {
    let mut octets = [0; OCTETS_MIN];
    octets[0] = ROUTER_ADVERTISEMENT;
    octets
}

/// Why a message does not say that there is a router (RFC 4861 §6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoRouter {
    #[error("ICMPv6 of type {0}")]
    Kind(u8),
    #[error("a source that is not link-local")]
    Source,
    #[error("hop limit {0}, so it was forwarded")]
    HopLimit(u8),
    #[error("code {0}")]
    Code(u8),
    #[error("{0} octets, and it has at least {OCTETS_MIN}")]
    Length(usize),
    #[error("an option of a wrong length")]
    Option,
}

/// Judges an ICMPv6 message, whose checksum the kernel has verified, with what IP says of it.
pub(crate) fn judge(octets: &[u8], source: Ipv6Addr, hop_limit: u8) -> Result<(), NoRouter> {
    let kind = octets.first().copied().unwrap_or(0);
    if kind != ROUTER_ADVERTISEMENT {
        return Err(NoRouter::Kind(kind));
    }
    if !source.is_unicast_link_local() {
        return Err(NoRouter::Source);
    }
    if hop_limit != u8::MAX {
        return Err(NoRouter::HopLimit(hop_limit));
    }
    let Some((head, mut options)) = octets.split_at_checked(OCTETS_MIN) else {
        return Err(NoRouter::Length(octets.len()));
    };
    if head[1] != 0 {
        return Err(NoRouter::Code(head[1]));
    }
    // Type, then length in units of eight octets.
    while !options.is_empty() {
        let length = options.get(1).map_or(0, |units| usize::from(*units) * 8);
        match options.get(length..) {
            Some(rest) if length != 0 => options = rest,
            _ => return Err(NoRouter::Option),
        }
    }
    Ok(())
}

const ROUTER_ADVERTISEMENT: u8 = 134;
const OCTETS_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    #[test]
    fn what_we_say_is_a_router_advertisement_and_what_was_forwarded_is_not() {
        let octets = encode();
        assert_eq!(judge(&octets, ROUTER, 255), Ok(()));
        assert_eq!(judge(&octets, ROUTER, 254), Err(NoRouter::HopLimit(254)));
        let far = "2001:db8::1".parse().unwrap();
        assert_eq!(judge(&octets, far, 255), Err(NoRouter::Source));
        assert_eq!(
            judge(&octets, Ipv6Addr::UNSPECIFIED, 255),
            Err(NoRouter::Source)
        );
    }

    #[test]
    fn each_check_of_the_rfc_is_made() {
        let mut octets = encode().to_vec();
        assert_eq!(judge(&[], ROUTER, 255), Err(NoRouter::Kind(0)));
        assert_eq!(judge(&[133, 0], ROUTER, 255), Err(NoRouter::Kind(133)));
        for length in 1..octets.len() {
            let cut = judge(&octets[..length], ROUTER, 255);
            assert_eq!(cut, Err(NoRouter::Length(length)));
        }
        // Our link-layer address, and an MTU.
        octets.extend([1, 1, 2, 0, 0, 0, 0, 1, 5, 1, 0, 0, 0, 0, 5, 0xdc]);
        assert_eq!(judge(&octets, ROUTER, 255), Ok(()));
        for length in (17..32).filter(|length| *length != 24) {
            let cut = judge(&octets[..length], ROUTER, 255);
            assert_eq!(cut, Err(NoRouter::Option), "{length}");
        }
        octets[25] = 0;
        assert_eq!(judge(&octets, ROUTER, 255), Err(NoRouter::Option));
        octets[1] = 1;
        assert_eq!(judge(&octets, ROUTER, 255), Err(NoRouter::Code(1)));
    }
}
