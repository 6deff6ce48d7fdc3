//! Permanent entries for the far ends of VXLAN tunnels, and what becomes of those that are named no more.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::time::Instant;

use tracing::warn;

use super::Worker;
use super::walks::Pace;
use crate::kernel::{Kernel, NeighbourKey};
use crate::model::Vtep;
use crate::vteps::{Entry, Vteps};

#[derive(Debug, Default)]
pub(super) struct VtepState {
    /// Entries that are desired, on the device of now.
    entries: HashMap<Entry, NeighbourKey>,
    /// Nodes whose entries are desired and not in the kernel yet.
    pub(super) unwritten: HashSet<IpAddr>,
    /// Whether routes still lead to what nodes named before.
    former: Pace,
}

impl VtepState {
    pub(super) fn next_due(&self, vteps: &Vteps, now: Instant) -> Option<Instant> {
        let look = self.former.next_due(now);
        let look = look.filter(|_| vteps.all_former().next().is_some());
        look.into_iter().chain(vteps.next_end()).min()
    }

    /// Routes or entries were written: perhaps no route leads to a former VTEP any more.
    pub(super) fn note_written(&mut self) {
        self.former.want();
    }
}

impl<K: Kernel> Worker<K> {
    /// MAC → node, and tunnel address → MAC: of what has changed, or, with a device, of all.
    pub(super) fn tend_vteps(&mut self) {
        let changes = self.wishes.vteps.take_changes();
        let prefixes = changes.entries.iter().filter_map(Entry::host_prefix);
        prefixes.for_each(|prefix| {
            self.dirty.prefixes.insert(prefix);
        });
        let mut entries = changes.entries;
        let mut nodes = changes.nodes.clone();
        if std::mem::take(&mut self.dirty.vteps) {
            entries.extend(self.wishes.vteps.entries());
            entries.extend(self.vteps.entries.keys());
            nodes.extend(self.wishes.vteps.all_named().map(|(node, _)| *node));
        }
        for entry in entries {
            self.tend_entry(entry);
        }
        for node in nodes {
            let named = self.wishes.vteps.named(&node);
            match named.is_some_and(|vtep| !self.has_entries(vtep)) {
                true => self.vteps.unwritten.insert(node),
                false => self.vteps.unwritten.remove(&node),
            };
        }
        if !changes.nodes.is_empty() {
            self.vteps.note_written();
        }
        self.touch_next_hops(&changes.nodes);
    }

    fn tend_entry(&mut self, entry: Entry) {
        let link = self.world.named(entry.device()).filter(|link| link.up);
        let wanted = link.and_then(|link| {
            let key = match entry {
                Entry::Mac { mac, .. } => NeighbourKey::Mac(link.index, mac),
                Entry::Address(address) => NeighbourKey::Address(link.index, address),
            };
            Some((key, self.wishes.vteps.value(&entry)?))
        });
        let before = match wanted {
            Some((key, _)) => self.vteps.entries.insert(entry, key),
            None => self.vteps.entries.remove(&entry),
        };
        if let Some(before) = before.filter(|before| wanted.is_none_or(|(key, _)| key != *before)) {
            self.vtep_neighbours.unset(before, true);
        }
        if let Some((key, value)) = wanted {
            self.vtep_neighbours.set(key, value);
        }
    }

    /// What is desired for this VTEP is in the kernel.
    fn has_entries(&self, vtep: &Vtep) -> bool {
        let entries = Entry::of(vtep);
        let mut keys = entries
            .iter()
            .filter_map(|entry| self.vteps.entries.get(entry));
        keys.all(|key| self.vtep_neighbours.installed(key))
    }

    /// Routes to VTEPs whose entries are in the kernel now may be written: when those that can be written have been, so
    /// that one walk finds the routes of all of them.
    pub(super) fn look_at_unwritten_vteps(&mut self) {
        if self.vteps.unwritten.is_empty() || self.vtep_neighbours.has_due() {
            return;
        }
        let has_entries = |node: &&IpAddr| {
            let named = self.wishes.vteps.named(node);
            named.is_none_or(|vtep| self.has_entries(vtep))
        };
        let unwritten = self.vteps.unwritten.iter();
        let written: HashSet<IpAddr> = unwritten.filter(has_entries).copied().collect();
        if written.is_empty() {
            return;
        }
        for node in &written {
            self.vteps.unwritten.remove(node);
        }
        self.vteps.note_written();
        self.touch_next_hops(&written);
    }

    /// Forgets former VTEPs whose time is over, or to which no route leads.
    pub(super) fn look_at_former_vteps(&mut self, now: Instant) {
        while let Some((node, vtep)) = self.wishes.vteps.pop_over(now) {
            warn!(%node, address = %vtep.address, "a VXLAN tunnel that this node named five minutes ago is forgotten, though \
                  routes may still lead there");
            self.wishes.vteps.forget(node, &vtep);
        }
        // What is not resolved yet may lead there.
        let unknown = self.dirty.unresolved() > 0;
        if unknown
            || self.wishes.vteps.all_former().next().is_none()
            || !self.vteps.former.take(now)
        {
            return;
        }
        let used = self.used_former_vteps();
        let all = self.wishes.vteps.all_former();
        let unused: Vec<(IpAddr, Vtep)> = all
            .filter(|(node, vtep)| {
                let named = self.wishes.vteps.named(node);
                match named.filter(|named| named.address == vtep.address) {
                    // Only its MAC is another.
                    Some(named) => self.has_entries(named),
                    None => !used.contains(&(*node, vtep.address)),
                }
            })
            .map(|(node, vtep)| (node, vtep.clone()))
            .collect();
        for (node, vtep) in unused {
            self.wishes.vteps.forget(node, &vtep);
        }
    }

    /// Nodes with what they named before, as far as routes lead there. What another node names by now is used by its routes,
    /// and by those to the former node only when they are meant for that.
    fn used_former_vteps(&mut self) -> HashSet<(IpAddr, IpAddr)> {
        let mut nodes_of: HashMap<IpAddr, Vec<IpAddr>> = HashMap::new();
        for (node, vtep) in self.wishes.vteps.all_former() {
            nodes_of.entry(vtep.address).or_default().push(node);
        }
        let mut leading = HashSet::new();
        self.each_way(|key, hops| {
            let vias = hops.iter().filter_map(|hop| hop.via);
            for via in vias.filter(|via| nodes_of.contains_key(via)) {
                leading.insert((*key, via));
            }
        });
        let mut used = HashSet::new();
        for (key, via) in leading {
            for node in nodes_of.get(&via).into_iter().flatten() {
                if !self.wishes.vteps.is_named(via) || self.wishes_for(&key, node) {
                    used.insert((*node, via));
                }
            }
        }
        used
    }
}
