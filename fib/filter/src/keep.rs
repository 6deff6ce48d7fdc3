//! While it is not known all that is wished for: what stands is not taken away. Pure.

use std::collections::BTreeSet;

use crate::difference::same_frame;
use crate::table::{Element, Set, Table, next};

/// The octets of a device's name, the first field of a set of several.
const DEVICE: usize = 16;

/// What is wished for, and what stands: sets gain elements and lose none, chains that stand are left alone. A table that
/// another version or a foreign hand has made is none to keep.
pub(crate) fn joined(actual: &Table, desired: Option<Table>) -> Option<Table> {
    let Some(mut desired) = desired else {
        return Some(actual.clone());
    };
    if !same_frame(actual, &desired) {
        return Some(desired);
    }
    for (name, set) in &mut desired.sets {
        if let Some(there) = actual.sets.get(name) {
            join(set, there);
        }
    }
    desired.chains.extend(actual.chains.clone());
    Some(desired)
}

/// Elements of one set must not overlap.
fn join(set: &mut Set, there: &Set) {
    let both: BTreeSet<Element> = set.elements.union(&there.elements).cloned().collect();
    let is_concatenation = set.is_concatenation();
    let mut all: Vec<Element> = Vec::new();
    for element in both {
        match all.last_mut() {
            Some(last) if touch(last, &element, is_concatenation) => {
                if last.last < element.last {
                    last.last = element.last;
                }
            }
            _ => all.push(element),
        }
    }
    set.elements = all.into_iter().collect();
}

/// Whether the second, which begins no earlier, overlaps with the first or follows it without a gap.
fn touch(first: &Element, second: &Element, is_concatenation: bool) -> bool {
    let same_device = !is_concatenation || first.first.get(..DEVICE) == second.first.get(..DEVICE);
    let behind = next(&first.last);
    same_device && behind.is_none_or(|behind| second.first <= behind)
}

#[cfg(test)]
mod tests;
