//! Whole speakers, two or more.

use crate::testing::*;

mod hostile;
mod restart;
mod session;
