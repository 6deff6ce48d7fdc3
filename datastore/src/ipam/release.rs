//! Release: block first, then handle, so that a crash leaves a handle that counts too much.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::handles::{Seen, ignore_absence, is_race, too_often};
use super::{Ipam, Rules, TRIES, block, names};
use crate::resources::{BlockAffinity, IPAMHandle};
use crate::store::{StoreError, Stored};

impl Ipam {
    /// Everything of a handle: what it counts, and what this node's blocks hold of it all the same.
    pub(super) async fn release_all(&self, handle: &str) -> Result<Vec<IpAddr>, StoreError> {
        let rules = self.rules().await?;
        let stored = self.handle(handle).await?;
        let mut released = Vec::new();
        for cidr in self.blocks_of(handle, stored.as_ref()).await? {
            released.extend(self.release_in(handle, cidr, None, &rules).await?);
        }
        // Whatever is still counted is in no block.
        self.forget_handle(handle, &mut Seen::As(stored)).await?;
        Ok(released)
    }

    /// The same, without taking them away.
    pub(super) async fn addresses_in_blocks(
        &self,
        handle: &str,
    ) -> Result<Vec<IpAddr>, StoreError> {
        let mut addresses = Vec::new();
        let stored = self.handle(handle).await?;
        for cidr in self.blocks_of(handle, stored.as_ref()).await? {
            let stored = self.block(cidr).await?;
            addresses.extend(
                stored
                    .iter()
                    .flat_map(|stored| block::addresses_of(&stored.spec, handle)),
            );
        }
        Ok(addresses)
    }

    /// The blocks that a handle counts, and those of this node that hold something of it all the same.
    async fn blocks_of(
        &self,
        handle: &str,
        stored: Option<&Stored<IPAMHandle>>,
    ) -> Result<BTreeSet<IpNet>, StoreError> {
        let counts = stored.into_iter().flat_map(|stored| &stored.spec.block);
        let mut cidrs: BTreeSet<IpNet> = counts.filter_map(|(cidr, _)| cidr.parse().ok()).collect();
        self.load_cache().await?;
        let held = self.cache.slots().into_iter();
        cidrs.extend(held.filter(|slot| slot.holds(handle)).map(|slot| slot.cidr));
        Ok(cidrs)
    }

    /// Some addresses of a handle.
    pub(super) async fn release_some(
        &self,
        handle: &str,
        addresses: &[IpAddr],
        rules: &Rules,
    ) -> Result<(), StoreError> {
        let mut by_block: BTreeMap<IpNet, Vec<IpAddr>> = BTreeMap::new();
        if !addresses.is_empty() {
            let stored = self.handle(handle).await?;
            let counts = stored.map(|stored| stored.spec.block).unwrap_or_default();
            for cidr in counts.keys().filter_map(|cidr| cidr.parse::<IpNet>().ok()) {
                let inside = addresses.iter().filter(|address| cidr.contains(*address));
                by_block.entry(cidr).or_default().extend(inside);
            }
        }
        for (cidr, addresses) in by_block {
            let released = self
                .release_in(handle, cidr, Some(&addresses), rules)
                .await?;
            self.decrement(handle, &cidr, released.len()).await?;
        }
        Ok(())
    }

    /// What a handle has in one block, or only some of it. The handle is not written.
    async fn release_in(
        &self,
        handle: &str,
        cidr: IpNet,
        only: Option<&[IpAddr]>,
        rules: &Rules,
    ) -> Result<Vec<IpAddr>, StoreError> {
        let slot = self.cache.slot(&cidr);
        let mut cached = match &slot {
            Some(slot) => Some(slot.block.lock().await),
            None => None,
        };
        let mut last = None;
        for _ in 0..TRIES {
            let current = match cached.as_mut().and_then(|cached| cached.take()) {
                Some(stored) => Some(stored),
                None => self.block(cidr).await?,
            };
            let Some(mut stored) = current else {
                return Ok(Vec::new());
            };
            let mut addresses = block::addresses_of(&stored.spec, handle);
            addresses.retain(|address| only.is_none_or(|only| only.contains(address)));
            if addresses.is_empty() && last.is_some() {
                return Ok(Vec::new());
            }
            if addresses.is_empty() {
                // Perhaps memory is old.
                match self.block(cidr).await? {
                    Some(fresh) if fresh.revision != stored.revision => {
                        last = Some(StoreError::Conflict(fresh.key()));
                        if let Some(cached) = cached.as_mut() {
                            **cached = Some(fresh);
                        }
                        continue;
                    }
                    _ => {
                        if let Some(cached) = cached.as_mut() {
                            **cached = Some(stored);
                        }
                        return Ok(Vec::new());
                    }
                }
            }
            let released = block::release(
                &mut stored.spec,
                handle,
                &addresses,
                self.now(),
                rules.cooldown(),
            );
            let result = if stored.spec.affinity.is_none() && block::is_empty(&stored.spec) {
                self.store.delete(&stored).await.map(|()| None)
            } else {
                self.write_block(stored).await.map(Some)
            };
            match result {
                Ok(written) => {
                    if let (Some(slot), Some(written)) = (&slot, &written) {
                        slot.saw(&written.spec, self.available(&written.spec, rules));
                    }
                    if let Some(cached) = cached.as_mut() {
                        **cached = written;
                    }
                    return Ok(released);
                }
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(too_often(
            last,
            &format!("IPAMBlock {}", names::block(&cidr)),
        ))
    }

    /// Gives up every claim of a node.
    pub(super) async fn release_affinities_of(&self, node: &str) -> Result<usize, StoreError> {
        let _claiming = self.claiming.lock().await;
        let (affinities, _) = self.store.list::<BlockAffinity>().await?;
        let mut count = 0;
        for affinity in affinities
            .iter()
            .filter(|affinity| affinity.spec.is_of(node))
        {
            self.release_affinity(node, affinity.spec.cidr).await?;
            count += 1;
        }
        Ok(count)
    }

    /// The block read → affinity *pendingDeletion* → the block deleted when it is empty, affine to nobody otherwise →
    /// affinity deleted.
    pub(crate) async fn release_affinity(&self, node: &str, cidr: IpNet) -> Result<(), StoreError> {
        let rules = self.rules().await?;
        self.release_claim(node, cidr, Claimed::Anyway, &rules)
            .await
    }

    pub(super) async fn release_claim(
        &self,
        node: &str,
        cidr: IpNet,
        which: Claimed,
        rules: &Rules,
    ) -> Result<(), StoreError> {
        if node == self.node {
            self.cache.remove(&cidr);
        }
        let (mut affinity, mut last) = (None, None);
        for _ in 0..TRIES {
            let found = self.block(cidr).await?;
            let found = found.filter(|stored| block::node_of(&stored.spec) == Some(node));
            affinity = match affinity {
                None => self.mark_for_deletion(node, cidr).await?,
                Some(marked) if self.stands(&marked).await? => Some(marked),
                // The node lives, and has claimed it again.
                Some(_) => return Ok(()),
            };
            let result = match (found, &affinity) {
                // Before the mark; a claim may have been made in between.
                (None, Some(_)) if self.is_of(cidr, node).await? => continue,
                (None, _) => Ok(()),
                (Some(stored), _)
                    if block::is_free_of_owners(&stored.spec, self.now(), rules.cooldown()) =>
                {
                    self.store.delete(&stored).await
                }
                (Some(_), Some(affinity)) if which == Claimed::WhenEmpty => {
                    return self.give_back(affinity.clone()).await;
                }
                (Some(mut stored), _) => {
                    stored.spec.affinity = None;
                    stored.spec.affinity_claim_time = None;
                    self.write_block(stored).await.map(|_| ())
                }
            };
            match result {
                Ok(()) => {
                    return match affinity {
                        Some(affinity) => ignore_absence(self.store.delete(&affinity).await),
                        None => Ok(()),
                    };
                }
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(too_often(
            last,
            &format!("IPAMBlock {}", names::block(&cidr)),
        ))
    }
}

impl Ipam {
    async fn is_of(&self, cidr: IpNet, node: &str) -> Result<bool, StoreError> {
        let found = self.block(cidr).await?;
        Ok(found.is_some_and(|stored| block::node_of(&stored.spec) == Some(node)))
    }

    async fn stands(&self, affinity: &Stored<BlockAffinity>) -> Result<bool, StoreError> {
        let found = self
            .store
            .get::<BlockAffinity>(&affinity.metadata.name)
            .await?;
        Ok(found.is_some_and(|found| found.revision == affinity.revision))
    }
}

/// Which claims are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claimed {
    /// Those whose block turns out to be empty.
    WhenEmpty,
    /// All: a block in use becomes nobody's.
    Anyway,
}
