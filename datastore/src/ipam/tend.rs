//! Upkeep: finishes what a crash left, and keeps a block with room ahead.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;

use super::handles::{ignore_absence, is_race};
use super::release::Claimed;
use super::{Ipam, IpamError, Rules, block, names, pools};
use crate::resources::{AffinityState, BlockAffinity, IPAMBlock, IPAMHandle, IPPool};
use crate::store::{Revision, StoreError, Stored};

/// A handle that counts too much may be one whose block is being written at this moment. It is put right
/// when it has not changed for so long.
const HANDLE_GRACE: Duration = Duration::from_secs(60);

/// When no more than this is free, the next block is claimed: an eighth of a block.
fn room_ahead(pool: &IPPool) -> usize {
    let bits = pool
        .cidr
        .max_prefix_len()
        .saturating_sub(pool.block_prefix_length());
    (1usize << bits.min(32)) / 8
}

/// How often everything is looked through, and not only this node's affinities.
const AUDIT_INTERVAL: Duration = Duration::from_secs(600);

/// What is remembered from one time to the next.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    pub(super) audited: Option<SystemTime>,
    /// Handles that counted more than blocks hold: since when, in which revision.
    suspects: BTreeMap<String, (SystemTime, Option<Revision>)>,
}

impl Ipam {
    pub(super) async fn tend_all(&self) -> Result<(), IpamError> {
        let mut upkeep = self.upkeep.lock().await;
        let rules = self.rules().await?;
        self.mend_affinities(&rules).await?;
        self.keep_room(&rules).await?;
        let now = self.now();
        let due = upkeep.audited.is_none_or(|at| {
            now.duration_since(at)
                .is_ok_and(|age| age >= AUDIT_INTERVAL)
        });
        if due {
            self.mend_blocks(&rules).await?;
            upkeep.suspects = self.suspect_handles(now).await?;
            upkeep.audited = Some(now);
        } else {
            self.mend_handles(&mut upkeep, now).await?;
        }
        Ok(())
    }

    /// This node's affinities become confirmed, or go.
    async fn mend_affinities(&self, rules: &Rules) -> Result<(), StoreError> {
        let _claiming = self.claiming.lock().await;
        for affinity in self.own_claims().await? {
            match self.mend_affinity(affinity, rules).await {
                // Someone else is at it.
                Err(error) if is_race(&error) => {}
                // A block that cannot be read keeps its claim and does not keep the others from theirs.
                Err(error @ StoreError::Invalid { .. }) => {
                    tracing::warn!(%error, "cannot mend the claim on a block");
                }
                other => other?,
            }
        }
        self.reload_cache().await
    }

    async fn mend_affinity(
        &self,
        affinity: Stored<BlockAffinity>,
        rules: &Rules,
    ) -> Result<(), StoreError> {
        let cidr = affinity.spec.cidr;
        let found = self.block(cidr).await?;
        let ours = found.filter(|stored| block::node_of(&stored.spec) == Some(&self.node));
        let Some(stored) = ours else {
            // Never written, deleted, or another's.
            return self.store.delete(&affinity).await;
        };
        let empty = block::is_free_of_owners(&stored.spec, self.now(), rules.cooldown());
        let leaving = affinity.spec.deleted
            || affinity.spec.state == AffinityState::PendingDeletion
            || self.is_unwanted(cidr, rules);
        if leaving && empty {
            return self
                .release_claim(&self.node, cidr, Claimed::WhenEmpty, rules)
                .await;
        }
        if affinity.spec.deleted {
            // The mark is final; the claim is made again.
            ignore_absence(self.store.delete(&affinity).await)?;
            return self.claim(cidr).await.map(|_| ());
        }
        if affinity.spec.state != AffinityState::Confirmed {
            self.claim(cidr).await?;
        }
        Ok(())
    }

    /// Whether no pool would give this block to this node any more.
    fn is_unwanted(&self, cidr: IpNet, rules: &Rules) -> bool {
        rules.complete
            && !rules
                .pools
                .iter()
                .any(|pool| pool.spec.cidr.contains(&cidr) && pool.spec.selects_node(&rules.labels))
    }

    /// Room ahead in each pool that serves this node, so that a new block is announced before the first pod needs it. Only what nobody has is claimed: to take
    /// it from another node, which keeps it ahead for the same reason, would go to and fro.
    async fn keep_room(&self, rules: &Rules) -> Result<(), StoreError> {
        if !rules.config.auto_allocate_blocks {
            return Ok(());
        }
        let _claiming = self.claiming.lock().await;
        self.recount_room(rules);
        for pool in &rules.pools {
            let range = pool.spec.cidr;
            if !pools::serves(&pool.spec, &rules.labels)
                || self.cache.free_in(&range) > room_ahead(&pool.spec)
                || self.cache.count(&range) >= rules.config.blocks_per_host()
            {
                continue;
            }
            if let Some(claimed) = self.claim_unclaimed(&[pool], rules).await? {
                tracing::debug!(block = %claimed.spec.cidr, pool = %pool.metadata.name, "claimed a block ahead");
            }
        }
        Ok(())
    }

    /// Blocks that say this node but have no affinity are claimed again; empty ones of nobody go.
    async fn mend_blocks(&self, rules: &Rules) -> Result<(), StoreError> {
        let _claiming = self.claiming.lock().await;
        let (blocks, _) = self.store.list::<IPAMBlock>().await?;
        for mut stored in blocks {
            let cidr = stored.spec.cidr;
            let result = if stored.spec.deleted {
                self.store.delete(&stored).await
            } else if block::node_of(&stored.spec) == Some(&self.node) {
                let name = names::affinity(&self.node, &cidr);
                match self.store.get::<BlockAffinity>(&name).await {
                    Ok(Some(_)) => Ok(()),
                    Ok(None) => self.claim(cidr).await.map(|_| ()),
                    Err(error) => Err(error),
                }
            } else if stored.spec.affinity.is_none() {
                block::collect(&mut stored.spec, self.now(), rules.cooldown());
                match block::is_empty(&stored.spec) {
                    true => self.store.delete(&stored).await,
                    false => Ok(()),
                }
            } else {
                Ok(())
            };
            match result {
                // An affinity that cannot be read keeps its block from everybody, and no other block.
                Err(error @ StoreError::Invalid { .. }) => {
                    tracing::warn!(%error, block = %cidr, "cannot mend a block");
                }
                Err(error) if !is_race(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Handles with something in this node's blocks, or in no block at all, that count more than there is.
    async fn suspect_handles(
        &self,
        now: SystemTime,
    ) -> Result<BTreeMap<String, (SystemTime, Option<Revision>)>, StoreError> {
        let (handles, _) = self.store.list::<IPAMHandle>().await?;
        let mut suspects = BTreeMap::new();
        for stored in handles {
            if self.is_near(&stored.spec).await? && self.found(&stored.spec).await?.is_some() {
                suspects.insert(stored.spec.handle_id.clone(), (now, stored.revision));
            }
        }
        Ok(suspects)
    }

    /// Whether one of the handle's blocks is this node's or nobody's, so that it falls to this node.
    async fn is_near(&self, handle: &IPAMHandle) -> Result<bool, StoreError> {
        for cidr in handle.block.keys().filter_map(|cidr| cidr.parse().ok()) {
            let owner = self
                .block(cidr)
                .await?
                .and_then(|stored| stored.spec.affinity);
            if owner.is_none_or(|owner| owner == block::affinity(&self.node)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The counts as blocks have them, when the handle has more.
    async fn found(
        &self,
        handle: &IPAMHandle,
    ) -> Result<Option<BTreeMap<String, usize>>, StoreError> {
        let mut counts = BTreeMap::new();
        for (name, count) in &handle.block {
            let found = match name.parse() {
                Ok(cidr) => self.block(cidr).await?.map_or(0, |stored| {
                    block::addresses_of(&stored.spec, &handle.handle_id).len()
                }),
                Err(_) => 0,
            };
            if found > 0 {
                counts.insert(name.clone(), found.min(*count));
            }
        }
        Ok((counts != handle.block).then_some(counts))
    }

    /// Puts right what has been wrong, and unchanged, for long enough.
    async fn mend_handles(&self, upkeep: &mut Upkeep, now: SystemTime) -> Result<(), StoreError> {
        let ripe = |since: &SystemTime| {
            now.duration_since(*since)
                .is_ok_and(|age| age >= HANDLE_GRACE)
        };
        let suspects = std::mem::take(&mut upkeep.suspects);
        for (handle, (since, revision)) in suspects {
            if !ripe(&since) {
                upkeep.suspects.insert(handle, (since, revision));
                continue;
            }
            let turn = self.turn(&handle);
            let _turn = turn.lock().await;
            let Some(mut stored) = self.handle(&handle).await? else {
                continue;
            };
            if stored.revision != revision {
                continue;
            }
            let Some(counts) = self.found(&stored.spec).await? else {
                continue;
            };
            tracing::info!(handle, "a handle counted addresses that no block holds");
            let result = if counts.is_empty() {
                self.store.delete(&stored).await
            } else {
                stored.spec.block = counts;
                self.store.update(stored).await.map(|_| ())
            };
            match result {
                Err(error) if !is_race(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
