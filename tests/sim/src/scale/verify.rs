//! When it is quiet: everybody has what must be there, and nothing else.

use std::collections::BTreeMap;

use super::blocks::{self, BlockSet};
use super::world::World;
use crate::speakers::{address, next_hop};

impl World {
    /// Compares every book, and all that whole speakers say of themselves, with what is announced on their side of
    /// the partition. `Err` names the first difference.
    pub fn check(&self) -> Result<(), String> {
        let mut sides: BTreeMap<u8, BlockSet> = BTreeMap::new();
        for host in &self.hosts {
            let blocks = BlockSet::new(self.shape.blocks());
            let all = sides.entry(host.side).or_insert(blocks);
            for block in host.originated.iter() {
                all.insert(block);
            }
        }
        for host in 0..self.hosts.len() {
            let Some(all) = sides.get(&self.hosts[host].side) else {
                continue;
            };
            let mut others = all.clone();
            for block in self.shape.blocks_of(host) {
                others.remove(block);
            }
            let wrong = |what: String| format!("host {host}: {what}");
            if self.hosts[host].speaker.is_none() && !self.shape.is_reflector(host) {
                return Err(wrong("a node that does not run".to_owned()));
            }
            match &self.hosts[host].book {
                Some(_) => self.check_book(host, &others).map_err(wrong)?,
                None => {
                    self.check_tables(host, all, &others).map_err(wrong)?;
                    self.check_sessions(host, &others).map_err(wrong)?;
                }
            }
        }
        Ok(())
    }

    fn check_book(&self, host: usize, others: &BlockSet) -> Result<(), String> {
        let state = &self.hosts[host];
        let Some(book) = &state.book else {
            return Ok(());
        };
        for peer in self.shape.peers(host) {
            let is_near = self.hosts[peer].side == state.side && self.hosts[peer].speaker.is_some();
            let is = book.fresh(peer);
            let is_right = if is_near { is == others } else { is.is_empty() };
            if !is_right || book.stale(peer) != 0 {
                return Err(format!(
                    "has {} blocks and {} stale ones from reflector {peer}, not the {} of all others",
                    is.len(),
                    book.stale(peer),
                    others.len(),
                ));
            }
        }
        match (book.wrong, book.known() == others.len()) {
            (0, true) => Ok(()),
            (wrong, _) => Err(format!(
                "knows {} blocks of {}, was told {wrong} wrong things",
                book.known(),
                others.len()
            )),
        }
    }

    fn check_tables(&self, host: usize, all: &BlockSet, others: &BlockSet) -> Result<(), String> {
        let Some(speaker) = &self.hosts[host].speaker else {
            return Ok(());
        };
        for block in others.iter() {
            let prefix = blocks::prefix(block);
            let (is, must) = (
                speaker.next_hops(&prefix),
                next_hop(self.shape.owner(block), &prefix),
            );
            if is != [must] {
                return Err(format!("{prefix} by {is:?}, must be {must}"));
            }
        }
        let followed = &self.hosts[host].followed;
        if followed != all {
            let (is, must) = (followed.len(), all.len());
            return Err(format!("was told of {is} blocks, must be {must}"));
        }
        // All of a table as text is dear: one host a hundred shows that nothing else is in it.
        if host.is_multiple_of(100) {
            let routes = speaker.routes().into_iter();
            let chosen = routes.filter(|route| route.paths.iter().any(|path| path.best));
            let mut left = chosen.filter(|route| {
                let block = blocks::number(&route.prefix, self.shape.blocks());
                !block.is_some_and(|block| all.contains(block))
            });
            if let Some(route) = left.next() {
                return Err(format!("has {}, which nobody announces", route.prefix));
            }
        }
        Ok(())
    }

    fn check_sessions(&self, host: usize, others: &BlockSet) -> Result<(), String> {
        let state = &self.hosts[host];
        let Some(speaker) = &state.speaker else {
            return Ok(());
        };
        let views = speaker.peers(self.now);
        let views: BTreeMap<_, _> = views.into_iter().map(|view| (view.address, view)).collect();
        for peer in self.shape.peers(host).filter(|&peer| peer != host) {
            let Some(view) = views.get(&address(peer)) else {
                return Err(format!("has no peer {peer}"));
            };
            let other = &self.hosts[peer];
            let own = other.originated.len();
            let is_near = other.side == state.side && other.speaker.is_some();
            let (from, to) = match (self.shape.is_reflector(host), self.shape.is_reflector(peer)) {
                _ if !is_near => (0, 0),
                // Nothing of its own comes back to a client, and nothing of its own goes to a reflector but that.
                (true, false) => (own, others.len() - own),
                (false, true) => (others.len(), state.originated.len()),
                (false, false) => (own, state.originated.len()),
                // Of one cluster: each refuses what the other sends (RFC 4456 §8).
                (true, true) => (view.prefixes_received, view.prefixes_sent),
            };
            let is_up = (view.state == "Established") == is_near;
            let is = (view.prefixes_received, view.prefixes_sent);
            if !is_up || is != (from, to) || view.prefixes_stale != 0 {
                return Err(format!("peer {peer}, must be {:?}: {view:?}", (from, to)));
            }
        }
        Ok(())
    }
}
