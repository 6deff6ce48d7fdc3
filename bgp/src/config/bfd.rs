//! BFD beside a session (RFC 5880, RFC 5882 §3.2 and §10.2): how it is configured. The packets are `bgp/bfd`'s.

use std::fmt;
use std::num::NonZeroU8;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// The path to the peer is watched by BFD, and its failure ends the session at once.
///
/// In a file: `true`, or `{minIntervalMilliseconds: 300, multiplier: 3, multihop: false}`, with these defaults but
/// for `multihop`. See [`switch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    deny_unknown_fields,
    default,
    try_from = "Unchecked"
)]
pub struct BfdConfig {
    /// Neither side sends faster: Desired Min TX and Required Min RX Interval, in milliseconds.
    pub min_interval_milliseconds: u32,
    /// After how many missing packets the other side is taken for unreachable.
    pub multiplier: u8,
    /// Whether routers may be between us (RFC 5883), or not (RFC 5881). `None`: they are not when the peer's
    /// address is in one of our subnets.
    pub multihop: Option<bool>,
    /// No session before BFD is up, or an operator has switched it off (draft-ietf-idr-bgp-bfd-strict-mode,
    /// without its capability: both sides are configured).
    pub strict: bool,
}

impl Default for BfdConfig {
    fn default() -> BfdConfig {
        BfdConfig {
            min_interval_milliseconds: 300,
            multiplier: 3,
            multihop: None,
            strict: false,
        }
    }
}

impl BfdConfig {
    /// Where it is not said, GTSM (RFC 5082) says it: with one hop there is no router between, with more there are.
    #[must_use]
    pub fn with_ttl_security(self, hops: Option<NonZeroU8>) -> BfdConfig {
        BfdConfig {
            multihop: self.multihop.or(hops.map(|hops| hops.get() > 1)),
            ..self
        }
    }
}

/// Of a field that may also be `true` or `false`.
pub fn switch<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BfdConfig>, D::Error> {
    deserializer.deserialize_any(Switch)
}

struct Switch;

impl<'de> Visitor<'de> for Switch {
    type Value = Option<BfdConfig>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or minIntervalMilliseconds, multiplier, multihop and strict")
    }

    fn visit_bool<E>(self, on: bool) -> Result<Self::Value, E> {
        Ok(on.then(BfdConfig::default))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        BfdConfig::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

/// As it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Unchecked {
    min_interval_milliseconds: u32,
    multiplier: u8,
    multihop: Option<bool>,
    strict: bool,
}

impl Default for Unchecked {
    fn default() -> Unchecked {
        let BfdConfig {
            min_interval_milliseconds,
            multiplier,
            multihop,
            strict,
        } = BfdConfig::default();
        Unchecked {
            min_interval_milliseconds,
            multiplier,
            multihop,
            strict,
        }
    }
}

impl TryFrom<Unchecked> for BfdConfig {
    type Error = String;

    fn try_from(read: Unchecked) -> Result<BfdConfig, String> {
        let interval = read.min_interval_milliseconds;
        if !(INTERVAL_MILLISECONDS_MIN..=INTERVAL_MILLISECONDS_MAX).contains(&interval) {
            return Err(format!(
                "minIntervalMilliseconds: {interval} is not within {INTERVAL_MILLISECONDS_MIN} and {INTERVAL_MILLISECONDS_MAX}"
            ));
        }
        if read.multiplier == 0 {
            return Err("multiplier: 0 is not within 1 and 255".to_owned());
        }
        Ok(BfdConfig {
            min_interval_milliseconds: interval,
            multiplier: read.multiplier,
            multihop: read.multihop,
            strict: read.strict,
        })
    }
}

/// A process cannot keep up with less.
const INTERVAL_MILLISECONDS_MIN: u32 = 10;
/// More than anybody means: with it, BFD is slower than the hold timer.
const INTERVAL_MILLISECONDS_MAX: u32 = 60_000;

#[cfg(test)]
mod tests;
