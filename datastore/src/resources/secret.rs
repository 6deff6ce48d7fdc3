//! `Secret` of Kubernetes (`v1`): where BGP passwords are.
//!
//! It has no `spec`: type and data stand beside the metadata. `stringData` is moved into `data` when a manifest
//! is read, as the API server does. Values are never printed by `Debug` and stand in no fault.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::{Extra, Resource, fields};
use crate::store::{Kind, Metadata};

/// A Secret without its metadata.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Secret {
    /// `Opaque`, as a rule.
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub secret_type: String,
    /// Its keys and values.
    #[serde(
        default,
        deserialize_with = "fields::null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub data: BTreeMap<String, SecretValue>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A value of a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub Vec<u8>);

impl Secret {
    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.data.get(key).map(|value| value.0.as_slice())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Secret")
            .field("type", &self.secret_type)
            .field("keys", &self.data.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretValue(…)")
    }
}

impl Serialize for SecretValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<SecretValue, D::Error> {
        // The usual errors of serde carry the value.
        let Ok(Value::String(text)) = Value::deserialize(deserializer) else {
            return Err(D::Error::custom("is not a text"));
        };
        let text: String = text.split_whitespace().collect();
        let octets = STANDARD.decode(text);
        octets
            .map(SecretValue)
            .map_err(|_| D::Error::custom("is not base64 (in stringData it need not be)"))
    }
}

impl Resource for Secret {
    const KIND: Kind = Kind::Secret;

    fn validate(&self, _metadata: &Metadata) -> Vec<String> {
        let good = |key: &str| {
            let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
            !key.is_empty() && key.len() <= 253 && key.bytes().all(allowed)
        };
        let bad = self.data.keys().filter(|key| !good(key));
        bad.map(|key| format!("data: {key:?} is not a key (letters, digits, '-', '_' and '.')"))
            .collect()
    }
}

/// Moves `stringData` into `data`, over what is there.
pub(crate) fn fold_string_data(fields: &mut Map<String, Value>) -> Result<(), String> {
    // Said here, because what serde says of it carries it.
    if !matches!(
        fields.get("data"),
        None | Some(Value::Null | Value::Object(_))
    ) {
        return Err("data: is not a map".to_owned());
    }
    let strings = match fields.remove("stringData") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(strings)) => strings,
        Some(_) => return Err("stringData: is not a map".to_owned()),
    };
    let mut data = match fields.remove("data") {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    for (key, value) in strings {
        let Value::String(text) = value else {
            return Err(format!("stringData.{key}: is not a text"));
        };
        data.insert(key, STANDARD.encode(text).into());
    }
    fields.insert("data".to_owned(), data.into());
    Ok(())
}

#[cfg(test)]
mod tests;
