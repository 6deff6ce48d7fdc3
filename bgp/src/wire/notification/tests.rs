//! Tests of `notification`.
