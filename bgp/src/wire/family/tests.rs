//! Tests of `family`.
