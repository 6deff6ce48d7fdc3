//! AS_PATH as octets, and what speakers of two-octet AS numbers make of it (RFC 6793).
//!
//! ```text
//! +--------------+-------+---------------------------------------+
//! | segment type | count | count x AS number (2 or 4 octets)     |  ... next segment
//! +--------------+-------+---------------------------------------+
//! ```

use super::{AsPath, SEGMENT_ASNS_MAX, Segment};
use crate::wire::cursor::Cursor;
use crate::wire::iana::{AS_TRANS, segment_type};

/// Why an AS_PATH is malformed (RFC 7606 §7.2, RFC 7607 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::wire) enum AsPathError {
    #[error("unrecognised segment type {0}")]
    SegmentType(u8),
    #[error("a segment of no AS number")]
    EmptySegment,
    #[error("a segment of {count} AS numbers, {left} octets are left")]
    Overrun { count: u8, left: usize },
    #[error("one octet after the last segment")]
    Underrun,
    #[error("AS number 0")]
    AsZero,
}

impl AsPath {
    pub(in crate::wire) fn decode(
        value: &[u8],
        four_octet_as: bool,
    ) -> Result<AsPath, AsPathError> {
        let mut cursor = Cursor::new(value);
        let mut segments = Vec::new();
        while let Some(kind) = cursor.u8() {
            let count = cursor.u8().ok_or(AsPathError::Underrun)?;
            let segment_of: fn(Vec<u32>) -> Segment = match kind {
                segment_type::SET => Segment::Set,
                segment_type::SEQUENCE => Segment::Sequence,
                segment_type::CONFED_SEQUENCE => Segment::ConfedSequence,
                segment_type::CONFED_SET => Segment::ConfedSet,
                _ => return Err(AsPathError::SegmentType(kind)),
            };
            if count == 0 {
                return Err(AsPathError::EmptySegment);
            }
            let left = cursor.rest().len();
            let octets = cursor.take(usize::from(count) * asn_octets(four_octet_as));
            let octets = octets.ok_or(AsPathError::Overrun { count, left })?;
            let asns = decode_asns(octets, four_octet_as);
            if asns.contains(&0) {
                return Err(AsPathError::AsZero);
            }
            segments.push(segment_of(asns));
        }
        Ok(AsPath(segments))
    }

    /// What [`AsPath::encode`] has made of a path with AS numbers of four octets, whatever is in it.
    pub(in crate::wire) fn unpack(octets: &[u8]) -> AsPath {
        let mut cursor = Cursor::new(octets);
        let mut segment = || {
            let [kind, count] = cursor.array()?;
            let asns = decode_asns(cursor.take(usize::from(count) * 4)?, true);
            Some(match kind {
                segment_type::SET => Segment::Set(asns),
                segment_type::CONFED_SEQUENCE => Segment::ConfedSequence(asns),
                segment_type::CONFED_SET => Segment::ConfedSet(asns),
                _ => Segment::Sequence(asns),
            })
        };
        let mut segments = Vec::new();
        while let Some(segment) = segment() {
            segments.push(segment);
        }
        AsPath(segments)
    }

    /// Numbers over two octets become AS_TRANS when `four_octet_as` is not agreed. A segment of more
    /// than 255 is split; an empty one is left out.
    pub(in crate::wire) fn encode(&self, four_octet_as: bool, out: &mut Vec<u8>) {
        encode_segments(self.0.iter(), four_octet_as, out);
    }

    /// The value of AS4_PATH: the path without a confederation's segments (RFC 6793 §4.2.2).
    pub(in crate::wire) fn encode_as4(&self, out: &mut Vec<u8>) {
        encode_segments(
            self.0.iter().filter(|segment| !segment.is_confed()),
            true,
            out,
        );
    }

    /// Two octets cannot hold it, so that AS4_PATH has to go along (RFC 6793 §4.2.2).
    pub(in crate::wire) fn needs_as4(&self) -> bool {
        let wide = |segment: &Segment| segment.asns().iter().any(|&asn| asn > u32::from(u16::MAX));
        self.0
            .iter()
            .any(|segment| !segment.is_confed() && wide(segment))
    }

    /// The path that AS_PATH (`self`) and AS4_PATH together tell (RFC 6793 §4.2.3).
    ///
    /// A confederation's segments have no place in AS4_PATH and are ignored there (RFC 6793 §6).
    pub(in crate::wire) fn merge_as4(self, as4: AsPath) -> AsPath {
        let as4: Vec<Segment> = as4.0.into_iter().filter(|s| !s.is_confed()).collect();
        let as4_hops: usize = as4.iter().map(Segment::hops).sum();
        let Some(mut wanted) = self.hops().checked_sub(as4_hops) else {
            return self; // AS_PATH is the shorter one: AS4_PATH is not about this path
        };
        let mut merged = Vec::with_capacity(self.0.len() + as4.len());
        for segment in self.0 {
            // "prepended if it is either the leading path segment or is adjacent to a path segment
            // that is prepended": a confederation's, as long as we have not stopped.
            if segment.is_confed() {
                merged.push(segment);
                continue;
            }
            if wanted == 0 {
                break;
            }
            match segment {
                Segment::Sequence(mut asns) => {
                    asns.truncate(wanted);
                    wanted -= asns.len();
                    merged.push(Segment::Sequence(asns));
                }
                set => {
                    wanted -= set.hops();
                    merged.push(set);
                }
            }
        }
        join(&mut merged, as4);
        AsPath(merged)
    }
}

/// Appends `tail`; where one AS_SEQUENCE meets another they become one, as they were before a speaker
/// of two-octet AS numbers prepended itself.
fn join(segments: &mut Vec<Segment>, mut tail: Vec<Segment>) {
    if let (Some(Segment::Sequence(front)), Some(Segment::Sequence(back))) =
        (segments.last_mut(), tail.first_mut())
        && front.len() + back.len() <= SEGMENT_ASNS_MAX
    {
        front.append(back);
        tail.remove(0);
    }
    segments.extend(tail);
}

fn encode_segments<'a>(
    segments: impl Iterator<Item = &'a Segment>,
    four_octet_as: bool,
    out: &mut Vec<u8>,
) {
    for segment in segments {
        let kind = match segment {
            Segment::Set(_) => segment_type::SET,
            Segment::Sequence(_) => segment_type::SEQUENCE,
            Segment::ConfedSequence(_) => segment_type::CONFED_SEQUENCE,
            Segment::ConfedSet(_) => segment_type::CONFED_SET,
        };
        for asns in segment.asns().chunks(SEGMENT_ASNS_MAX) {
            out.push(kind);
            out.push(u8::try_from(asns.len()).unwrap_or(u8::MAX));
            for &asn in asns {
                encode_asn(asn, four_octet_as, out);
            }
        }
    }
}

/// An AS number in the width that was agreed (RFC 6793 §4.2.2).
pub(in crate::wire) fn encode_asn(asn: u32, four_octet_as: bool, out: &mut Vec<u8>) {
    if four_octet_as {
        out.extend_from_slice(&asn.to_be_bytes());
    } else {
        out.extend_from_slice(&u16::try_from(asn).unwrap_or(AS_TRANS).to_be_bytes());
    }
}

fn decode_asns(octets: &[u8], four_octet_as: bool) -> Vec<u32> {
    if four_octet_as {
        let (chunks, _) = octets.as_chunks::<4>();
        chunks.iter().map(|&asn| u32::from_be_bytes(asn)).collect()
    } else {
        let (chunks, _) = octets.as_chunks::<2>();
        chunks
            .iter()
            .map(|&asn| u32::from(u16::from_be_bytes(asn)))
            .collect()
    }
}

/// How many octets an AS number takes.
fn asn_octets(four_octet_as: bool) -> usize {
    if four_octet_as { 4 } else { 2 }
}
