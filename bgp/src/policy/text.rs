//! Values that are one word of text in a file: how serde sees them.

/// `Serialize` as [`Display`](std::fmt::Display) writes it, `Deserialize` as [`FromStr`](std::str::FromStr) reads it;
/// a bare number is the text of that number.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<$type, D::Error> {
                deserializer
                    .deserialize_any($crate::policy::text::TextVisitor(std::marker::PhantomData))
            }
        }
    };
}
pub(super) use serde_as_text;

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error, Visitor};

/// Takes text, and numbers as their text.
pub(super) struct TextVisitor<T>(pub(super) PhantomData<T>);

impl<T> Visitor<'_> for TextVisitor<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// A text that is not what it should be: the value, and what is wrong with it or would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad {what} {text:?}: {why}")]
pub struct BadText {
    what: &'static str,
    text: String,
    why: String,
}

impl BadText {
    pub(super) fn new(what: &'static str, text: &str, why: impl Into<String>) -> BadText {
        // What an operator wrote fits; what else it may be need not fill a log.
        let text = text.chars().take(TEXT_CHARS_SHOWN).collect();
        let why = why.into();
        BadText { what, text, why }
    }
}

/// For `skip_serializing_if`: what is not said need not be written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const TEXT_CHARS_SHOWN: usize = 200;
