//! How single fields are read and written: the tolerance of Calico's own readers, and errors that carry
//! the value.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serializer};

use crate::selector::Selector;
use crate::store::{Key, Kind};

/// Defines an enum that is a string on the wire: read without regard to case and dashes (old manifests
/// say `cross-subnet`), empty is the default, anything else is an error that carries the value.
macro_rules! string_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vmeta])* $variant),+ }

        impl $name {
            /// The word that stands in manifests.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let plain = text.replace('-', "");
                if plain.is_empty() {
                    return Ok(Self::default());
                }
                $(if plain.eq_ignore_ascii_case($text) { return Ok($name::$variant); })+
                Err(format!("{text:?} is none of {}", [$($text),+].join(", ")))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use string_enum;

/// A field that is a string on the wire and a `FromStr` type here; empty and null are absent.
pub(crate) mod text {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FieldText, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::parse_field(&text).map_err(de::Error::custom)
    }
}

/// The same for a field that may be absent.
pub(crate) mod optional_text {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: FieldText, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            None => Ok(None),
            Some(text) if text.is_empty() => Ok(None),
            Some(text) => T::parse_field(&text).map(Some).map_err(de::Error::custom),
        }
    }
}

/// The same for a list.
pub(crate) mod text_list {
    use super::*;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        values: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(crate) fn deserialize<'de, T: FieldText, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        Option::<Vec<String>>::deserialize(deserializer)?
            .unwrap_or_default()
            .iter()
            .map(|text| T::parse_field(text).map_err(de::Error::custom))
            .collect()
    }
}

/// A CIDR, of which a single address may stand without its prefix length.
pub(crate) mod network {
    use super::*;

    pub(crate) use super::text::serialize;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ipnet::IpNet, D::Error> {
        parse_network(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The same for a list.
pub(crate) mod networks {
    use super::*;

    pub(crate) use super::text_list::serialize;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<ipnet::IpNet>, D::Error> {
        let texts = Option::<Vec<String>>::deserialize(deserializer)?.unwrap_or_default();
        let parse = |text: &String| parse_network(text).map_err(de::Error::custom);
        texts.iter().map(parse).collect()
    }
}

fn parse_network(text: &str) -> Result<ipnet::IpNet, String> {
    let text = text.trim();
    let address = || std::net::IpAddr::from_str(text).map(ipnet::IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| format!("{text:?} is not a CIDR such as 10.0.0.0/16, nor an address"))
}

/// A type that stands as text in a field.
pub(crate) trait FieldText: Sized {
    /// Reads it; the error carries the value.
    fn parse_field(text: &str) -> Result<Self, String>;
}

macro_rules! field_text {
    ($($type:ty: $what:literal),+ $(,)?) => {
        $(impl FieldText for $type {
            fn parse_field(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| format!("{text:?} is not {}", $what))
            }
        })+
    };
}

field_text! {
    std::net::IpAddr: "an IP address",
    std::net::Ipv4Addr: "an IPv4 address",
    std::net::Ipv6Addr: "an IPv6 address",
    ipnet::IpNet: "a CIDR such as 10.0.0.0/16",
}

/// A node's address with the length of its subnet's prefix; without one it stands for itself alone.
impl FieldText for ipnet::Ipv4Net {
    fn parse_field(text: &str) -> Result<Self, String> {
        let text = text.trim();
        text.parse()
            .or_else(|_| std::net::Ipv4Addr::from_str(text).map(ipnet::Ipv4Net::from))
            .map_err(|_| format!("{text:?} is not an IPv4 address with a prefix length"))
    }
}

impl FieldText for ipnet::Ipv6Net {
    fn parse_field(text: &str) -> Result<Self, String> {
        let text = text.trim();
        text.parse()
            .or_else(|_| std::net::Ipv6Addr::from_str(text).map(ipnet::Ipv6Net::from))
            .map_err(|_| format!("{text:?} is not an IPv6 address with a prefix length"))
    }
}

/// An AS number: 65001, "65001" or "1.10" (RFC 5396). Written as a number.
pub(crate) mod as_number {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<u32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(number) => serializer.serialize_u32(*number),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u32>, D::Error> {
        deserializer.deserialize_any(AsNumberVisitor)
    }

    struct AsNumberVisitor;

    impl Visitor<'_> for AsNumberVisitor {
        type Value = Option<u32>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an AS number such as 64512 or \"1.10\"")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
            u32::try_from(number)
                .map(Some)
                .map_err(|_| E::custom(format!("{number} is larger than any AS number")))
        }
        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
            u32::try_from(number)
                .map(Some)
                .map_err(|_| E::custom(format!("{number} is not an AS number")))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            if text.is_empty() {
                return Ok(None);
            }
            parse_as_number(text).map(Some).map_err(E::custom)
        }
    }
}

/// Reads `65001` or `1.10`.
pub(crate) fn parse_as_number(text: &str) -> Result<u32, String> {
    let fault = || format!("{text:?} is not an AS number");
    match text.split_once('.') {
        Some((high, low)) => {
            let high: u16 = high.parse().map_err(|_| fault())?;
            let low: u16 = low.parse().map_err(|_| fault())?;
            Ok(u32::from(high) << 16 | u32::from(low))
        }
        None => text.parse().map_err(|_| fault()),
    }
}

/// A duration as Go writes it: `2m0s`, `90s`, `1h30m`.
pub(crate) mod go_duration {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(duration) => serializer.serialize_str(&format_go_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            None => Ok(None),
            Some(text) => parse_go_duration(&text)
                .map(Some)
                .map_err(de::Error::custom),
        }
    }
}

/// Reads a Go duration that is not negative. Longer ones than Go has are refused, as there: clocks cannot count them.
pub(crate) fn parse_go_duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is not a duration such as 90s or 2m0s");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0_f64;
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(fault)?;
        let number: f64 = rest[..digits].parse().map_err(|_| fault())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return Err(fault()),
        };
        seconds += number * unit;
        rest = &rest[letters..];
    }
    if seconds > GO_DURATION_MAX {
        return Err(format!("{text:?} is longer than 292 years"));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| fault())
}

/// 2^63 nanoseconds, in seconds.
const GO_DURATION_MAX: f64 = 9_223_372_036.0;

/// Writes a duration as Go does.
pub(crate) fn format_go_duration(duration: Duration) -> String {
    let total = duration.as_secs();
    let nanos = duration.subsec_nanos();
    if total == 0 && nanos > 0 {
        return if nanos.is_multiple_of(1_000_000) {
            format!("{}ms", nanos / 1_000_000)
        } else if nanos.is_multiple_of(1_000) {
            format!("{}µs", nanos / 1_000)
        } else {
            format!("{nanos}ns")
        };
    }
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    let mut text = String::new();
    if hours > 0 {
        text.push_str(&format!("{hours}h"));
    }
    if total >= 60 {
        text.push_str(&format!("{minutes}m"));
    }
    text.push_str(&seconds.to_string());
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        text.push('.');
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('s');
    text
}

/// A boolean that Calico's CRD writes as the string "true" or "false", and newer ones as a boolean.
pub(crate) mod string_bool {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if *value { "true" } else { "false" })
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<bool, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Bool(bool),
            Text(String),
            Null(()),
        }
        match Either::deserialize(deserializer)? {
            Either::Bool(value) => Ok(value),
            Either::Null(()) => Ok(false),
            Either::Text(text) => match text.as_str() {
                "true" => Ok(true),
                "false" | "" => Ok(false),
                other => Err(de::Error::custom(format!(
                    "{other:?} is neither true nor false"
                ))),
            },
        }
    }
}

/// A value whose absence may be written as null.
pub(crate) fn null_is_default<'de, T: Default + Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// `skip_serializing_if` for booleans.
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

/// `skip_serializing_if` for what says nothing.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What is wrong with the name and the namespace of an object.
pub(crate) fn name_faults(key: &Key) -> Vec<String> {
    let mut faults = Vec::new();
    if key.name.is_empty() {
        faults.push("metadata.name: is missing".to_owned());
    } else if written_by_people(key.kind) && !is_subdomain(&key.name) {
        faults.push(format!(
            "metadata.name: {:?} is not a lower-case DNS name (letters, digits, '-' and '.')",
            key.name
        ));
    } else if key.name.len() > 253 {
        faults.push(format!(
            "metadata.name: {:?} has {} characters, 253 are allowed",
            key.name,
            key.name.len()
        ));
    }
    match (&key.namespace, key.kind.namespaced()) {
        (None, true) => faults.push("metadata.namespace: is missing".to_owned()),
        (Some(namespace), false) => faults.push(format!(
            "metadata.namespace: {namespace:?} on a {}, which has no namespace",
            key.kind
        )),
        _ => {}
    }
    faults
}

fn written_by_people(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Node
            | Kind::IPPool
            | Kind::BGPConfiguration
            | Kind::BGPPeer
            | Kind::BGPFilter
            | Kind::IPAMConfig
            | Kind::FelixConfiguration
            | Kind::IPReservation
            | Kind::ClusterInformation
            | Kind::CalicoNodeStatus
            | Kind::HostEndpoint
            | Kind::NetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::NetworkSet
            | Kind::GlobalNetworkSet
            | Kind::Secret
            | Kind::Namespace
            | Kind::Service
            | Kind::EndpointSlice
    )
}

/// A DNS subdomain of RFC 1123, as Kubernetes wants names to be.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            let edge = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
            let bytes = label.as_bytes();
            bytes.iter().all(|&c| edge(c) || c == b'-')
                && bytes.first().is_some_and(|&c| edge(c))
                && bytes.last().is_some_and(|&c| edge(c))
        })
}

/// The same of a name in a field.
pub(crate) fn name(path: &str, text: &str, faults: &mut Vec<String>) {
    if !is_subdomain(text) {
        faults.push(format!(
            "{path}: {text:?} is not a lower-case DNS name (letters, digits, '-' and '.')"
        ));
    }
}

/// `path: {cidr} has host bits set`.
pub(crate) fn host_bits(path: &str, cidr: &ipnet::IpNet, faults: &mut Vec<String>) {
    if cidr.addr() != cidr.network() {
        faults.push(format!("{path}: {cidr} has host bits set"));
    }
}

/// A selector that must parse.
pub(crate) fn selector(path: &str, text: Option<&str>, faults: &mut Vec<String>) {
    parsed_selector(path, text, faults);
}

/// A selector that must parse and select among endpoints: `global()` is for namespaces.
pub(crate) fn selector_of_some(path: &str, text: Option<&str>, faults: &mut Vec<String>) {
    if let Some(selector) = parsed_selector(path, text, faults)
        && selector.speaks_of_global()
    {
        faults.push(format!(
            "{path}: {:?}: global() is for the namespaceSelector of a rule's source and destination only",
            text.unwrap_or_default()
        ));
    }
}

/// A selector that must parse, parsed.
pub(crate) fn parsed_selector(
    path: &str,
    text: Option<&str>,
    faults: &mut Vec<String>,
) -> Option<Selector> {
    match Selector::parse(text?) {
        Ok(selector) => Some(selector),
        Err(fault) => {
            let text = text.unwrap_or_default();
            faults.push(format!("{path}: {text:?} is not a selector: {fault}"));
            None
        }
    }
}

/// A MAC address, six octets in hex.
pub(crate) fn mac(path: &str, text: Option<&str>, faults: &mut Vec<String>) {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return;
    };
    let separator = if text.contains('-') { '-' } else { ':' };
    let octets: Vec<&str> = text.split(separator).collect();
    let good = octets.len() == 6
        && octets
            .iter()
            .all(|octet| octet.len() == 2 && octet.bytes().all(|c| c.is_ascii_hexdigit()));
    if !good {
        faults.push(format!("{path}: {text:?} is not a MAC address"));
    }
}
