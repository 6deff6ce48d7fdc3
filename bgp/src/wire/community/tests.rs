//! Tests of `community`.
