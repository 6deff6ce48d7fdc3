//! Ports and protocols in rules, which are a number or a word.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What a rule says of a port: `80`, `"80"`, `"1000:2000"`, or a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// These, the first and the last among them; neither is 0.
    Range(u16, u16),
    /// The one that endpoints call so.
    Named(String),
}

/// A protocol of IP: one of six names, or a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// By its name, which is written as here.
    Named(&'static str),
    /// By its number, which is not 0.
    Number(u8),
}

/// The names that Calico knows, and their numbers.
const PROTOCOLS: [(&str, u8); 6] = [
    ("TCP", 6),
    ("UDP", 17),
    ("ICMP", 1),
    ("ICMPv6", 58),
    ("SCTP", 132),
    ("UDPLite", 136),
];

impl Protocol {
    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Number(number) => number,
            Protocol::Named(name) => PROTOCOLS
                .iter()
                .find(|(known, _)| *known == name)
                .map_or(0, |(_, number)| *number),
        }
    }

    /// Whether rules may speak of its ports.
    pub fn has_ports(self) -> bool {
        matches!(self.number(), 6 | 17 | 132)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Port, String> {
        let fault = || format!("{text:?} is not a port, a range such as \"1000:2000\", or a name");
        let number = |digits: &str| match digits.parse::<u16>() {
            Ok(0) | Err(_) => Err(format!("{text:?} is not between 1 and 65535")),
            Ok(number) => Ok(number),
        };
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
        if digits(text) {
            let only = number(text)?;
            return Ok(Port::Range(only, only));
        }
        if let Some((first, last)) = text.split_once(':') {
            if !digits(first) || !digits(last) {
                return Err(fault());
            }
            let (first, last) = (number(first)?, number(last)?);
            return match first <= last {
                true => Ok(Port::Range(first, last)),
                false => Err(format!("{text:?} ends before it begins")),
            };
        }
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-');
        match (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            true => Ok(Port::Named(text.to_owned())),
            false => Err(fault()),
        }
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Protocol, String> {
        let known = PROTOCOLS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(text));
        if let Some((name, _)) = known {
            return Ok(Protocol::Named(name));
        }
        match text.parse() {
            Ok(0) | Err(_) => {
                let names = PROTOCOLS.map(|(name, _)| name).join(", ");
                Err(format!(
                    "{text:?} is none of {names}, and not a number between 1 and 255"
                ))
            }
            Ok(number) => Ok(Protocol::Number(number)),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Port::Range(first, last) if first == last => write!(f, "{first}"),
            Port::Range(first, last) => write!(f, "{first}:{last}"),
            Port::Named(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Protocol::Named(name) => f.write_str(name),
            Protocol::Number(number) => write!(f, "{number}"),
        }
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Port::Range(first, last) if first == last => serializer.serialize_u16(*first),
            other => serializer.collect_str(other),
        }
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Protocol::Named(name) => serializer.serialize_str(name),
            Protocol::Number(number) => serializer.serialize_u8(*number),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Port, D::Error> {
        number_or_text(deserializer)
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Protocol, D::Error> {
        number_or_text(deserializer)
    }
}

fn number_or_text<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        other => {
            return Err(D::Error::custom(format!(
                "{other} is no number and no word"
            )));
        }
    };
    text.parse().map_err(D::Error::custom)
}
