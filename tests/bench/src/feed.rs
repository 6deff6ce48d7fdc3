//! What a client sends, as octets that are ready before the clock starts.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use caracal_bgp::wire::{AsPath, Attributes, Codec, Family, Nlri};

use crate::prefixes::Prefixes;

/// Octets that several clients or rounds may share.
pub(crate) type Octets = Arc<[u8]>;

/// Writes the feeds of one client.
#[derive(Debug, Clone)]
pub(crate) struct Feeds {
    pub(crate) prefixes: Prefixes,
    /// The client's own prefixes.
    pub(crate) own: Range<u32>,
    pub(crate) next_hop: IpAddr,
    /// How many prefixes share their attributes.
    pub(crate) a_set: u32,
}

impl Feeds {
    /// All prefixes; the round is in MULTI_EXIT_DISC, so that those of another round can be told.
    pub(crate) fn announce(&self, round: u32) -> Octets {
        let mut out = Vec::new();
        let mut at = self.own.start;
        while at < self.own.end {
            let end = (at + self.a_set).min(self.own.end);
            self.announce_some(at..end, round, &mut out);
            at = end;
        }
        out.into()
    }

    /// These prefixes with one set of attributes.
    pub(crate) fn announce_some(&self, numbers: Range<u32>, round: u32, out: &mut Vec<u8>) {
        let attributes = self.attributes(numbers.start / self.a_set, round);
        let prefixes: Vec<Nlri> = numbers.map(|i| self.prefixes.nlri(i)).collect();
        codec().encode_announce(&attributes, &prefixes, out);
    }

    /// One prefix.
    pub(crate) fn announce_one(&self, number: u32, round: u32) -> Octets {
        let mut out = Vec::new();
        self.announce_some(number..number + 1, round, &mut out);
        out.into()
    }

    /// All prefixes go.
    pub(crate) fn withdraw(&self) -> Octets {
        self.withdraw_some(self.own.clone())
    }

    /// These go.
    pub(crate) fn withdraw_some(&self, numbers: Range<u32>) -> Octets {
        let prefixes: Vec<Nlri> = numbers.map(|i| self.prefixes.nlri(i)).collect();
        let mut out = Vec::new();
        codec().encode_withdraw(&prefixes, &mut out);
        out.into()
    }

    /// What a session begins with: all prefixes, and that these were all (RFC 4724 §2).
    pub(crate) fn whole(&self, round: u32) -> Octets {
        let mut out = self.announce(round).to_vec();
        codec().encode_end_of_rib(self.family(), &mut out);
        out.into()
    }

    fn family(&self) -> Family {
        match self.prefixes.ipv6 {
            false => Family::Ipv4Unicast,
            true => Family::Ipv6Unicast,
        }
    }

    fn attributes(&self, set: u32, round: u32) -> Attributes {
        Attributes {
            as_path: AsPath::from_sequence(vec![65_001, 65_002]),
            next_hop: Some(self.next_hop),
            med: Some(round),
            local_pref: Some(100),
            // No number of a set is among the well-known ones.
            communities: vec![(64_512 << 16) | 1, set + 1],
            ..Attributes::default()
        }
    }
}

/// Of our sessions: AS numbers of four octets, messages of at most 4,096.
pub(crate) fn codec() -> Codec {
    Codec {
        four_octet_as: true,
        families: Family::ALL.to_vec(),
        ..Codec::initial()
    }
}
