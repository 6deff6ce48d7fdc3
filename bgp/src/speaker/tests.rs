//! Whole speakers, two or more.

use crate::testing::*;

mod session;
