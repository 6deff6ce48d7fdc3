//! UPDATEs for one member, and what stands there afterwards.

use ipnet::IpNet;

use super::adj_out::Member;
use super::ids::PrefixId;
use super::intern::Interned;
use super::log::{Change, Encoded, Record};
use super::table::Table;
use crate::disseminate::Terms;
use crate::wire::{Family, Message, Nlri, RouteRefresh, RouteRefreshKind};

/// What `transmit` did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) updates: u64,
    /// ROUTE-REFRESH (RFC 7313).
    pub(crate) markers: u64,
    pub(crate) more: bool,
}

/// Writes UPDATEs for one member, and notes what stands there.
#[derive(Debug)]
pub(super) struct Pen<'a> {
    pub(super) table: &'a mut Table,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) sent: Sent,
    /// Prefixes that the table has released, since this member was the last to know them.
    pub(super) gone: Vec<PrefixId>,
}

impl Pen<'_> {
    pub(super) fn announce(
        &mut self,
        terms: &Terms,
        member: &mut Member,
        attributes: &Interned,
        ids: &[PrefixId],
    ) {
        let prefixes = nlri(self.table, ids);
        let updates = terms.codec.encode_announce(attributes, &prefixes, self.out);
        if updates == 0 {
            // The attributes do not fit into a message. What they replace must not stay.
            let standing = member.standing_of(ids);
            return self.withdraw(terms, member, &standing);
        }
        self.sent.updates += updates as u64;
        self.note_announced(member, ids);
    }

    pub(super) fn withdraw(&mut self, terms: &Terms, member: &mut Member, ids: &[PrefixId]) {
        if ids.is_empty() {
            return;
        }
        let prefixes = nlri(self.table, ids);
        self.sent.updates += terms.codec.encode_withdraw(&prefixes, self.out) as u64;
        self.note_withdrawn(member, ids);
    }

    /// The beginning or the end of a route refresh (RFC 7313 §4).
    pub(super) fn marker(&mut self, terms: &Terms, family: Family, kind: RouteRefreshKind) {
        let marker = RouteRefresh { family, kind };
        terms
            .codec
            .encode(&Message::RouteRefresh(Some(marker)), self.out);
        self.sent.markers += 1;
    }

    /// What was encoded for all.
    pub(super) fn copy(&mut self, encoded: &Encoded) {
        self.out.extend_from_slice(&encoded.bytes);
        self.sent.updates += encoded.updates;
    }

    pub(super) fn note_announced(&mut self, member: &mut Member, ids: &[PrefixId]) {
        for &id in ids {
            if member.standing.insert(id) {
                self.table.entry_mut(id).standing += 1;
            }
        }
    }

    pub(super) fn note_withdrawn(&mut self, member: &mut Member, ids: &[PrefixId]) {
        for &id in ids {
            if member.standing.remove(id) {
                self.table.entry_mut(id).standing -= 1;
                if self.table.release(id) {
                    self.gone.push(id);
                }
            }
        }
    }
}

pub(super) fn encode(terms: &Terms, table: &Table, record: &Record) -> Encoded {
    let prefixes = nlri(table, &record.ids);
    let mut out = Vec::new();
    let updates = match &record.change {
        Change::Announce { attributes, .. } => {
            terms.codec.encode_announce(attributes, &prefixes, &mut out)
        }
        Change::Withdraw => terms.codec.encode_withdraw(&prefixes, &mut out),
    };
    Encoded {
        bytes: out.into(),
        updates: updates as u64,
    }
}

fn nlri(table: &Table, ids: &[PrefixId]) -> Vec<Nlri> {
    let prefix = |id: &PrefixId| Nlri::from(table.entry(*id).prefix);
    ids.iter().map(prefix).collect()
}

/// The length of a prefix on the wire (RFC 4271 §4.3).
pub(super) fn octets(prefix: &IpNet) -> usize {
    1 + usize::from(prefix.prefix_len()).div_ceil(8)
}
