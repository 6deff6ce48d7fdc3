//! The next hops of a route of its own. Most routes have one, which then costs no memory elsewhere.

use std::ops::Deref;
use std::sync::Arc;

use super::Hop;

/// Next hops, read as a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ways(Inner);

/// By the number of hops, so that equal ones are of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Inner {
    #[default]
    None,
    One(Hop),
    Many(Arc<[Hop]>),
}

impl From<&[Hop]> for Ways {
    fn from(hops: &[Hop]) -> Ways {
        Ways(match hops {
            [] => Inner::None,
            [one] => Inner::One(*one),
            many => Inner::Many(Arc::from(many)),
        })
    }
}

impl Deref for Ways {
    type Target = [Hop];

    fn deref(&self) -> &[Hop] {
        match &self.0 {
            Inner::None => &[],
            Inner::One(hop) => std::slice::from_ref(hop),
            Inner::Many(hops) => hops,
        }
    }
}
