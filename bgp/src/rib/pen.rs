//! UPDATEs for one member, and what stands there afterwards.

use smallvec::SmallVec;

use super::ids::{NlriId, NlriKind};
use super::intern::Interned;
use super::log::{Change, Encoded, Record};
use super::member::Member;
use super::paths::Paths;
use super::per_family::PerFamily;
use super::table::{Entry, Table};
use super::via::Via;
use crate::disseminate::Terms;
use crate::wire::{Family, Message, Nlri, RouteRefresh, RouteRefreshKind};

/// What `transmit` did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) updates: u64,
    /// ROUTE-REFRESH (RFC 7313).
    pub(crate) markers: u64,
    pub(crate) more: bool,
    /// Families of which the peer has as much as it may have, and should have more, as of now.
    pub(crate) full: PerFamily<bool>,
}

/// Writes UPDATEs for one member, and notes what stands there.
#[derive(Debug)]
pub(super) struct Pen<'a> {
    pub(super) names: Names<'a>,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) sent: Sent,
    /// What has been released, since this member was the last to know it.
    pub(super) gone: Vec<NlriId>,
}

/// What the numbers stand for.
#[derive(Debug)]
pub(super) struct Names<'a> {
    pub(super) table: &'a mut Table,
    pub(super) paths: &'a mut Paths,
}

impl Pen<'_> {
    /// As many as may be announced; the member keeps in mind the others.
    pub(super) fn announce(
        &mut self,
        terms: &Terms,
        member: &mut Member,
        (attributes, via): (&Interned, Via),
        ids: &[NlriId],
    ) {
        let ids = member.admit(&self.names, ids);
        if ids.is_empty() {
            return;
        }
        let nlris = self.names.nlris(&ids);
        let updates = encode_announce(terms, attributes, via, &nlris, self.out);
        if updates == 0 {
            // The attributes do not fit into a message. What they replace must not stay.
            let standing = member.standing_of(&ids);
            return self.withdraw(terms, member, &standing);
        }
        self.sent.updates += updates as u64;
        self.note_announced(member, self.names.family(ids[0]), &ids);
    }

    pub(super) fn withdraw(&mut self, terms: &Terms, member: &mut Member, ids: &[NlriId]) {
        if ids.is_empty() {
            return;
        }
        let nlris = self.names.nlris(ids);
        self.sent.updates += terms.codec.encode_withdraw(&nlris, self.out) as u64;
        for family in Family::ALL {
            let of_family = |id: &NlriId| self.names.family(*id) == family;
            let ids: Vec<NlriId> = ids.iter().copied().filter(of_family).collect();
            self.note_withdrawn(member, family, &ids);
        }
    }

    /// The beginning or the end of a route refresh (RFC 7313 §4).
    pub(super) fn marker(&mut self, terms: &Terms, family: Family, kind: RouteRefreshKind) {
        let marker = RouteRefresh { family, kind };
        terms
            .codec
            .encode(&Message::RouteRefresh(Some(marker)), self.out);
        self.sent.markers += 1;
    }

    /// A record, for the first who reads it. Returns how many UPDATEs it makes.
    pub(super) fn encode(&mut self, terms: &Terms, record: &Record) -> u64 {
        let nlris = self.names.nlris(&record.ids);
        let updates = match &record.change {
            Change::Announce {
                attributes, via, ..
            } => encode_announce(terms, attributes, *via, &nlris, self.out),
            Change::Withdraw { .. } => terms.codec.encode_withdraw(&nlris, self.out),
        };
        self.sent.updates += updates as u64;
        updates as u64
    }

    /// What was encoded for all.
    pub(super) fn copy(&mut self, encoded: &Encoded) {
        self.out.extend_from_slice(&encoded.bytes);
        self.sent.updates += encoded.updates;
    }

    /// Prefixes of one family. This is what is done for each prefix *and* peer: it stays among the bits of the
    /// peer and the counts of the table.
    pub(super) fn note_announced(&mut self, member: &mut Member, family: Family, ids: &[NlriId]) {
        for &id in ids {
            if member.note_announced(family, id) {
                self.names.stand(id);
            }
        }
    }

    /// As [`Pen::note_announced`].
    pub(super) fn note_withdrawn(&mut self, member: &mut Member, family: Family, ids: &[NlriId]) {
        for &id in ids {
            if member.note_withdrawn(family, id) {
                self.names.fall(id, &mut self.gone);
            }
        }
    }
}

impl Names<'_> {
    /// The prefix that it is, or that it is a path of.
    pub(super) fn entry(&self, id: NlriId) -> &Entry {
        self.table.entry(self.paths.prefix(id))
    }

    pub(super) fn family(&self, id: NlriId) -> Family {
        Family::of(&self.entry(id).prefix)
    }

    pub(super) fn nlri(&self, id: NlriId) -> Nlri {
        Nlri {
            prefix: self.entry(id).prefix,
            path_id: self.paths.path_id(id),
        }
    }

    fn nlris(&self, ids: &[NlriId]) -> SmallVec<[Nlri; 8]> {
        ids.iter().map(|&id| self.nlri(id)).collect()
    }

    /// It stands at one peer more.
    fn stand(&mut self, id: NlriId) {
        if let NlriKind::Path(slot) = id.kind() {
            self.paths.stand(slot, true);
        }
        let prefix = self.paths.prefix(id);
        self.table.stand(prefix);
    }

    /// It stands at one peer less. What nobody knows any more is released, and added to `gone`.
    pub(super) fn fall(&mut self, id: NlriId, gone: &mut Vec<NlriId>) {
        let prefix = self.paths.prefix(id);
        if let NlriKind::Path(slot) = id.kind() {
            self.paths.stand(slot, false);
            if self.paths.release(slot) {
                gone.push(id);
            }
        }
        self.table.fall(prefix);
        if self.table.release(prefix) {
            gone.push(prefix.into());
        }
    }
}

fn encode_announce(
    terms: &Terms,
    attributes: &Interned,
    via: Via,
    nlris: &[Nlri],
    out: &mut Vec<u8>,
) -> usize {
    let reflection = via.originator().map(|sender| terms.reflection(sender));
    terms
        .codec
        .encode_announce_packed(attributes.packed(), reflection, nlris, out)
}

/// Its length on the wire (RFC 4271 §4.3, RFC 7911 §3).
pub(super) fn octets(nlri: &Nlri) -> usize {
    let path_id = if nlri.path_id == 0 { 0 } else { 4 };
    path_id + 1 + usize::from(nlri.prefix.prefix_len()).div_ceil(8)
}
