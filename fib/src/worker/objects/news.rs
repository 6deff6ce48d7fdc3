//! What others did to nexthop objects, for the log: many at once are one line.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use tracing::{debug, warn};

use crate::kernel::ObjectId;

/// Not told yet.
#[derive(Debug, Default)]
pub(super) struct News(BTreeMap<(String, What), Sum>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Changed,
    Deleted,
    /// A read shows it, and no event told.
    Unseen,
    /// The kernel itself, as at the loss of a link.
    Dropped,
    /// Again and again.
    Contested,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    objects: usize,
    /// That went with them.
    routes: usize,
    example: ObjectId,
}

impl News {
    pub(super) fn note(&mut self, by: &str, what: What, id: ObjectId, routes: usize) {
        let sum = self.0.entry((by.to_owned(), what)).or_default();
        sum.objects += 1;
        sum.routes += routes;
        sum.example = id;
    }

    /// A line for each culprit and each kind of thing that was done.
    pub(super) fn tell(&mut self) {
        for ((by, what), sum) in std::mem::take(&mut self.0) {
            let Sum {
                objects,
                routes,
                example,
            } = sum;
            match what {
                What::Changed => {
                    warn!(
                        objects,
                        example, by, "nexthop objects of ours were changed; repairing"
                    );
                }
                What::Deleted => {
                    warn!(
                        objects,
                        routes,
                        example,
                        by,
                        "nexthop objects of ours were deleted, and the routes on them with them; repairing"
                    );
                }
                What::Unseen => {
                    warn!(
                        objects,
                        example, "nexthop objects of ours are not as we left them; repairing"
                    );
                }
                What::Dropped => {
                    debug!(
                        objects,
                        routes,
                        example,
                        "the kernel dropped nexthop objects of ours, and the routes on them; writing them again"
                    );
                }
                What::Contested => {
                    warn!(
                        objects,
                        example,
                        by,
                        "others change these nexthop objects again and again; repairing more and more slowly"
                    );
                }
            }
        }
    }
}
