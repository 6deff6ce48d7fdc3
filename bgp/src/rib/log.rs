//! The changes of an Adj-RIB-Out, in order, encoded once for all who read them.
//!
//! ```text
//!   sequence   17          18            21 (open)
//!            ┌──────────┬─────────────┬──────────────┐
//!            │ announce │ withdraw    │ announce     │ ◄── push: more prefixes of equal attributes
//!            │ from P1  │             │ from P4      │     join the open record
//!            │ bytes    │ bytes       │ not encoded  │
//!            └──────────┴─────────────┴──────────────┘
//!                 ▲                         ▲
//!            a slow peer's cursor      the cursors of the others
//! ```
//!
//! A record is open until the first peer reads it; then it is encoded, and its bytes are shared. So what
//! comes in one batch of input leaves in few UPDATEs, and nothing waits for a timer.
//!
//! A prefix counts in its newest record only. One that is *superseded* no longer counts in the older
//! record; a record in which none counts is dropped (19 and 20 above), and one in which some count is
//! encoded anew when a slow peer comes to it. A record that all have passed is dropped too. *Invariant:* a
//! prefix is live in at most one record, and the dead are at most as many as the live and a constant, so
//! that the log is bounded by the table however slow a peer is.

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use smallvec::SmallVec;

use super::ids::NlriId;
use super::intern::Interned;
use super::records::Records;
use super::via::Via;
use crate::wire::Family;

pub(crate) use super::records::Sequence;

/// What a record says of its prefixes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// They have these attributes. Not for the peer that the path came from: if an earlier
    /// announcement stands there, it is withdrawn.
    Announce {
        attributes: Interned,
        family: Family,
        via: Via,
    },
    /// They are gone.
    Withdraw { family: Family },
}

/// What two equal changes have in common, without a hold on the attributes: their serial, family and via.
type ChangeKey = (Family, Option<(u64, Via)>);

impl Change {
    fn key(&self) -> ChangeKey {
        match self {
            Change::Announce {
                attributes,
                family,
                via,
            } => (*family, Some((attributes.serial(), *via))),
            Change::Withdraw { family } => (*family, None),
        }
    }
}

/// One change of one or more prefixes.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) change: Change,
    pub(crate) ids: SmallVec<[NlriId; 4]>,
    /// How many of `ids` have no newer record.
    live: usize,
    /// How many peers have not passed it.
    readers: usize,
    /// About how long its prefixes are on the wire.
    octets: usize,
    /// It takes no more.
    closed: bool,
    encoded: Option<Encoded>,
}

/// UPDATEs ready to send.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) updates: u64,
}

/// The log of one group.
#[derive(Debug)]
pub(crate) struct Log {
    records: Records<Record>,
    open: HashMap<ChangeKey, Sequence, FixedState>,
    record_octets_max: usize,
    /// Sum of `ids.len()`.
    listed: usize,
    /// Sum of `live`.
    live: usize,
    /// How often something was encoded.
    pub(crate) encodes: u64,
}

impl Log {
    /// A log whose records have up to about `record_octets_max` octets of prefixes.
    pub(crate) fn new(record_octets_max: usize) -> Log {
        Log {
            records: Records::new(),
            open: HashMap::with_hasher(FixedState::default()),
            record_octets_max,
            listed: 0,
            live: 0,
            encodes: 0,
        }
    }

    /// Where somebody starts who already knows everything.
    pub(crate) fn end(&self) -> Sequence {
        self.records.next()
    }

    /// Adds a change of `id`, for `readers` peers. Supersede the prefix's older record first.
    pub(crate) fn push(
        &mut self,
        id: NlriId,
        octets: usize,
        change: Change,
        readers: usize,
    ) -> Sequence {
        // What comes in one UPDATE mostly goes where the last one went.
        let newest = self.records.newest_mut();
        let newest = newest.filter(|(_, record)| !record.closed && record.change == change);
        let known = newest.map(|(sequence, _)| sequence);
        let sequence = match known.or_else(|| self.open.get(&change.key()).copied()) {
            Some(sequence) => sequence,
            None => self.start(change, readers),
        };
        let Some(record) = self.records.get_mut(sequence) else {
            return 0;
        };
        record.ids.push(id);
        record.live += 1;
        record.octets += octets;
        self.listed += 1;
        self.live += 1;
        if record.octets >= self.record_octets_max {
            record.closed = true;
            self.open.remove(&record.change.key());
        }
        sequence
    }

    fn start(&mut self, change: Change, readers: usize) -> Sequence {
        let key = change.key();
        let record = Record {
            change,
            ids: SmallVec::new(),
            live: 0,
            readers,
            octets: 0,
            closed: false,
            encoded: None,
        };
        let sequence = self.records.push(record);
        self.open.insert(key, sequence);
        sequence
    }

    /// A prefix that was last changed by the record at `sequence` has changed again.
    pub(crate) fn supersede(&mut self, sequence: Sequence) {
        let Some(record) = self.records.get_mut(sequence) else {
            return;
        };
        record.live -= 1;
        self.live -= 1;
        if record.live == 0 {
            self.drop_record(sequence);
        } else if record.encoded.is_none() {
            // Closed, so that a prefix is never twice in one record.
            self.close(sequence);
        }
    }

    /// The first record at `cursor` or after it.
    pub(crate) fn next_from(&self, cursor: Sequence) -> Option<Sequence> {
        let mut unread = self.records.from(cursor);
        unread.next().map(|(sequence, _)| sequence)
    }

    /// Makes the record ready for a peer that reads it now: its dead prefixes are dropped, and it takes no
    /// more.
    pub(crate) fn prepare(&mut self, sequence: Sequence, is_live: impl Fn(NlriId) -> bool) {
        let Some(record) = self.records.get_mut(sequence) else {
            return;
        };
        if record.live < record.ids.len() {
            self.listed -= record.ids.len() - record.live;
            record.bury(is_live);
        }
        if !std::mem::replace(&mut record.closed, true) {
            let key = record.change.key();
            self.no_longer_open(key, sequence);
        }
    }

    pub(crate) fn record(&self, sequence: Sequence) -> Option<&Record> {
        self.records.get(sequence)
    }

    /// The bytes of a record that was prepared, if somebody has encoded them.
    pub(crate) fn encoded(&self, sequence: Sequence) -> Option<&Encoded> {
        self.records.get(sequence)?.encoded.as_ref()
    }

    /// The record has been encoded. Its bytes are kept if there is somebody else to read them.
    pub(crate) fn note_encoded(&mut self, sequence: Sequence, bytes: &[u8], updates: u64) {
        self.encodes += 1;
        if let Some(record) = self.records.get_mut(sequence)
            && record.readers > 1
        {
            let bytes = bytes.into();
            record.encoded = Some(Encoded { bytes, updates });
        }
    }

    /// One peer less has to read the record.
    pub(crate) fn passed(&mut self, sequence: Sequence) {
        let Some(record) = self.records.get_mut(sequence) else {
            return;
        };
        record.readers -= 1;
        if record.readers == 0 {
            self.drop_record(sequence);
        }
    }

    /// A peer whose cursor is at `cursor` reads no more.
    pub(crate) fn left(&mut self, cursor: Sequence) {
        let unread = self.records.from(cursor);
        let unread: Vec<Sequence> = unread.map(|(sequence, _)| sequence).collect();
        for sequence in unread {
            self.passed(sequence);
        }
    }

    /// More dead than live: time to `compact`.
    pub(crate) fn is_bloated(&self) -> bool {
        self.listed > 2 * self.live + BLOAT_MIN
    }

    /// Drops all dead prefixes.
    pub(crate) fn compact(&mut self, is_live: impl Fn(NlriId, Sequence) -> bool) {
        for (sequence, record) in self.records.iter_mut() {
            if record.live < record.ids.len() {
                record.bury(|id| is_live(id, sequence));
            }
        }
        self.listed = self.live;
    }

    /// What is pushed from now on is after `end`.
    pub(crate) fn close_all(&mut self) {
        self.open.clear();
        if let Some((_, newest)) = self.records.newest_mut() {
            newest.closed = true;
        }
    }

    fn close(&mut self, sequence: Sequence) {
        if let Some(record) = self.records.get_mut(sequence)
            && !std::mem::replace(&mut record.closed, true)
        {
            let key = record.change.key();
            self.no_longer_open(key, sequence);
        }
    }

    /// Another record of equal changes may be open instead.
    fn no_longer_open(&mut self, key: ChangeKey, sequence: Sequence) {
        if let Entry::Occupied(open) = self.open.entry(key)
            && *open.get() == sequence
        {
            open.remove();
        }
    }

    fn drop_record(&mut self, sequence: Sequence) {
        if let Some(record) = self.records.remove(sequence) {
            self.listed -= record.ids.len();
            self.live -= record.live;
            if !record.closed {
                self.no_longer_open(record.change.key(), sequence);
            }
        }
    }

    /// Prefixes and octets held, for tests of the bound.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        let octets = |record: &Record| {
            record
                .encoded
                .as_ref()
                .map_or(0, |encoded| encoded.bytes.len())
        };
        let records = self.records.from(0);
        (self.listed, records.map(|(_, record)| octets(record)).sum())
    }
}

impl Record {
    fn bury(&mut self, is_live: impl Fn(NlriId) -> bool) {
        self.ids.retain(|id| is_live(*id));
        self.encoded = None;
    }
}

/// Dead prefixes that are not worth a compaction.
const BLOAT_MIN: usize = 1024;
