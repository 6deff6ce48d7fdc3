//! The tables for monitors: what changed, and all of it in pieces.

use super::Rib;
use super::table::{Entry, Path, Source, Staleness};
use crate::event::PeerId;
use crate::import::Verdict;
use crate::tap::{Cursor, Row, RowPath, Tapped, Watch};

use super::Interned;

impl Rib {
    /// What changes from now on is noted there.
    pub(crate) fn watch(&mut self, watch: Option<Watch>) {
        self.watch = watch.map(Box::new);
    }

    /// A prefix that has changed, as it is now.
    pub(crate) fn poll_watch(&mut self) -> Option<Tapped> {
        let watch = self.watch.as_mut()?;
        if let Some((peer, prefix, path_id)) = watch.take_path() {
            let path = self.path_of(peer, &prefix, path_id);
            return Some(Tapped::AdjRibIn {
                peer,
                prefix,
                path_id,
                received: path.map(|path| path.attributes.clone()),
                accepted: path.and_then(accepted),
            });
        }
        let prefix = watch.take_choice()?;
        let best = self
            .table
            .find(&prefix)
            .and_then(|id| self.table.entry(id).best());
        Some(Tapped::LocRib {
            prefix,
            attributes: best.map(|path| path.attributes.clone()),
        })
    }

    /// Prefixes with a chosen path.
    pub(crate) fn routes_count(&self) -> usize {
        let entries = self.table.iter();
        entries.filter(|(_, entry)| entry.best().is_some()).count()
    }

    /// About `rows_max` prefixes from there on, and where the next ones are.
    pub(crate) fn rows(&self, from: Cursor, rows_max: usize) -> (Vec<Row>, Option<Cursor>) {
        let (entries, next) = self.table.slice(from.0, rows_max);
        let rows = entries
            .filter(|entry| !entry.paths.is_empty())
            .map(|entry| self.row(entry))
            .collect();
        (rows, next.map(Cursor))
    }

    fn row(&self, entry: &Entry) -> Row {
        let chosen = usize::from(entry.chosen);
        let id = self.table.find(&entry.prefix);
        let path = |(index, path): (usize, &Path)| {
            let received = id.and_then(|id| self.received.of(id, path.source));
            RowPath {
                peer: path.source.peer(),
                path_id: match path.source {
                    Source::Local => 0,
                    Source::Peer(_, path_id) => path_id,
                },
                received: received.unwrap_or(&path.attributes).clone(),
                accepted: accepted(path),
                best: index == 0 && chosen > 0,
                stale: path.staleness != Staleness::Fresh,
            }
        };
        Row {
            prefix: entry.prefix,
            paths: entry.paths.iter().enumerate().map(path).collect(),
        }
    }

    fn path_of(&self, peer: PeerId, prefix: &ipnet::IpNet, path_id: u32) -> Option<&Path> {
        let entry = self.table.entry(self.table.find(prefix)?);
        let index = entry.find(Source::Peer(peer, path_id))?;
        entry.paths.get(index)
    }
}

fn accepted(path: &Path) -> Option<Interned> {
    (path.verdict == Verdict::Eligible).then(|| path.attributes.clone())
}
