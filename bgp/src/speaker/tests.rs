//! Whole speakers, two or more.

use crate::testing::*;

mod add_path;
mod administration;
mod bfd;
mod capabilities;
mod collision;
mod grace;
mod hostile;
mod limits;
mod links;
mod local_as;
mod long_lived;
mod malformed;
mod notifications;
mod played;
mod policy;
mod reflection;
mod refresh;
mod remote_as;
mod restart;
mod roles;
mod session;
mod sharing;
mod storm;
