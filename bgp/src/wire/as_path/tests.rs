//! Tests of `as_path`.
