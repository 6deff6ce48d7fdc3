//! The paths of one prefix: mostly one, which then is in the prefix's entry and has no heap of its own.

use std::ops::{Deref, DerefMut};

use super::table::Path;

/// No larger than a path.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "a thin pointer fits beside what tells it from a path, a vector does not"
)]
pub(crate) enum PathList {
    #[default]
    None,
    One(Path),
    /// Two or more.
    Many(Box<Vec<Path>>),
}

impl PathList {
    pub(crate) fn push(&mut self, path: Path) {
        *self = match std::mem::take(self) {
            PathList::None => PathList::One(path),
            PathList::One(first) => PathList::Many(Box::new(vec![first, path])),
            PathList::Many(mut paths) => {
                paths.push(path);
                PathList::Many(paths)
            }
        };
    }

    /// The others keep their order.
    pub(crate) fn remove(&mut self, index: usize) -> Option<Path> {
        let mut paths = match std::mem::take(self) {
            PathList::One(path) if index == 0 => return Some(path),
            paths => paths.into_vec(),
        };
        let removed = (index < paths.len()).then(|| paths.remove(index));
        *self = PathList::from(paths);
        removed
    }

    pub(crate) fn into_vec(self) -> Vec<Path> {
        match self {
            PathList::None => Vec::new(),
            PathList::One(path) => vec![path],
            PathList::Many(paths) => *paths,
        }
    }
}

impl From<Vec<Path>> for PathList {
    fn from(mut paths: Vec<Path>) -> PathList {
        match paths.len() {
            0 | 1 => paths.pop().map_or(PathList::None, PathList::One),
            _ => PathList::Many(Box::new(paths)),
        }
    }
}

impl Deref for PathList {
    type Target = [Path];

    fn deref(&self) -> &[Path] {
        match self {
            PathList::None => &[],
            PathList::One(path) => std::slice::from_ref(path),
            PathList::Many(paths) => paths,
        }
    }
}

impl DerefMut for PathList {
    fn deref_mut(&mut self) -> &mut [Path] {
        match self {
            PathList::None => &mut [],
            PathList::One(path) => std::slice::from_mut(path),
            PathList::Many(paths) => paths,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::intern::Interner;
    use super::super::table::{Source, Staleness};
    use super::*;
    use crate::import::Verdict;
    use crate::wire::Attributes;

    #[test]
    fn it_keeps_what_was_put_in_and_its_order_however_many_there_are() {
        let attributes = Interner::new(0).intern(Attributes::default());
        let path = |path_id| Path {
            source: Source::Local,
            attributes: attributes.clone(),
            verdict: Verdict::Eligible,
            staleness: Staleness::Fresh,
            path_id,
        };
        let ids = |list: &PathList| list.iter().map(|path| path.path_id).collect::<Vec<_>>();
        let mut list = PathList::default();
        for count in 0..4u16 {
            assert_eq!(ids(&list), (0..count).collect::<Vec<_>>());
            list.push(path(count));
        }
        assert_eq!(list.remove(4), None);
        for (index, left) in [
            (1, vec![0, 2, 3]),
            (2, vec![0, 2]),
            (0, vec![2]),
            (0, vec![]),
        ] {
            assert!(list.remove(index).is_some());
            assert_eq!(ids(&list), left);
        }
        assert_eq!(list.remove(0), None);
        assert!(matches!(list, PathList::None));
    }

    #[test]
    fn it_is_no_larger_than_a_path() {
        assert_eq!(size_of::<PathList>(), size_of::<Path>());
    }
}
