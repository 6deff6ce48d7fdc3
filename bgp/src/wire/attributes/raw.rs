//! The list of attributes, cut into attributes (RFC 4271 §4.3, RFC 7606 §4), before anyone looks into one.

use super::{OPTIONAL_NON_TRANSITIVE, OPTIONAL_TRANSITIVE, WELL_KNOWN};
use crate::wire::cursor::Cursor;
use crate::wire::iana::{attribute_code as code, attribute_flag};
use crate::wire::notification::Hex;

/// One attribute, cut out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) flags: u8,
    pub(super) code: u8,
    pub(super) value: &'a [u8],
    /// Flags, code and length included: the data of a NOTIFICATION.
    pub(super) octets: &'a [u8],
}

impl<'a> Raw<'a> {
    /// The next attribute. `Err`: its code (0 when not even that is there), and what is missing
    /// (RFC 7606 §4).
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Raw<'a>, (u8, String)> {
        let all = cursor.rest();
        let mut header = || {
            let [flags, code] = cursor.array()?;
            let length = if flags & attribute_flag::EXTENDED_LENGTH != 0 {
                usize::from(cursor.u16()?)
            } else {
                usize::from(cursor.u8()?)
            };
            Some((flags, code, length))
        };
        let Some((flags, code, length)) = header() else {
            let code = all.get(1).copied().unwrap_or(0);
            return Err((code, format!("the attribute list ends with {}", Hex(all))));
        };
        let left = cursor.rest().len();
        let Some(value) = cursor.take(length) else {
            let detail = format!("length {length}, but {left} octets are left of the attributes");
            return Err((code, detail));
        };
        Ok(Raw {
            flags,
            code,
            value,
            octets: &all[..all.len() - cursor.rest().len()],
        })
    }
}

/// Optional and transitive bits as they should be; `None`: not an attribute that we know.
pub(super) fn category(code: u8) -> Option<u8> {
    Some(match code {
        code::ORIGIN
        | code::AS_PATH
        | code::NEXT_HOP
        | code::LOCAL_PREF
        | code::ATOMIC_AGGREGATE => WELL_KNOWN,
        code::MULTI_EXIT_DISC
        | code::ORIGINATOR_ID
        | code::CLUSTER_LIST
        | code::MP_REACH_NLRI
        | code::MP_UNREACH_NLRI
        | code::TRAFFIC_ENGINEERING
        | code::AIGP => OPTIONAL_NON_TRANSITIVE,
        code::AGGREGATOR
        | code::COMMUNITIES
        | code::EXTENDED_COMMUNITIES
        | code::AS4_PATH
        | code::AS4_AGGREGATOR
        | code::IPV6_EXTENDED_COMMUNITIES
        | code::LARGE_COMMUNITY
        | code::OTC
        | code::ATTR_SET => OPTIONAL_TRANSITIVE,
        _ => return None,
    })
}

/// A set of Attribute Type Codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::wire) struct Codes([u64; 4]);

impl Codes {
    pub(in crate::wire) fn contains(&self, code: u8) -> bool {
        self.0[usize::from(code / 64)] & (1 << (code % 64)) != 0
    }

    /// True when it is new.
    pub(super) fn insert(&mut self, code: u8) -> bool {
        let new = !self.contains(code);
        self.0[usize::from(code / 64)] |= 1 << (code % 64);
        new
    }

    /// Exactly this one.
    pub(in crate::wire) fn is_only(&self, code: u8) -> bool {
        let mut only = Codes::default();
        only.insert(code);
        *self == only
    }
}
