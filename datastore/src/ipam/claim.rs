//! Claims on blocks: affinity *pending* → block → affinity *confirmed*.
//!
//! The creation of the block decides who wins: two nodes may both have a pending affinity, only one of them
//! creates the block, and the other deletes its affinity. A crash between the steps leaves a pending
//! affinity, which nobody announces, and which the next `tend` of the node finishes or deletes.
//!
//! A claim may meet somebody who takes the same block away (reclaims it, or releases a deleted node's):
//!
//! ```text
//!   claim                                       removal
//!   affinity → pending                          block read
//!   block created, or written as it is          affinity → pendingDeletion, or found so
//!   affinity → confirmed                        block deleted, or made nobody's, as it was read
//!                                               affinity deleted as it was marked
//! ```
//!
//! Each side writes the block between two looks at the affinity, so one of them meets a conflict and looks again.
//!
//! *Invariant:* an affinity becomes confirmed only by whoever made it pending and wrote the block since.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use ipnet::IpNet;

use super::handles::{ignore_absence, is_race, too_often};
use super::{Ipam, Rules, TRIES, block, names, pools};
use crate::resources::{AffinityState, BlockAffinity, IPAMBlock, IPPool};
use crate::store::{Kind, StoreError, Stored};

/// An empty block is left to its node for so long after it was claimed.
const RECLAIM_AGE: Duration = Duration::from_secs(60);

impl Ipam {
    /// Claims a block for this node. `None`: another node has it.
    pub(crate) async fn claim(&self, cidr: IpNet) -> Result<Option<Stored<IPAMBlock>>, StoreError> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.try_claim(cidr).await {
                Ok(Some(stored)) => {
                    self.cache.insert(stored.clone());
                    return Ok(Some(stored));
                }
                Ok(None) => return Ok(None),
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(too_often(last, &format!("the claim on block {cidr}")))
    }

    async fn try_claim(&self, cidr: IpNet) -> Result<Option<Stored<IPAMBlock>>, StoreError> {
        let affinity = self.pending_affinity(cidr).await?;
        let confirmed = affinity.spec.state == AffinityState::Confirmed;
        let new = Stored::new(
            names::block(&cidr),
            block::new(cidr, Some(&self.node), self.now()),
        );
        let stored = match self.store.create(new).await {
            // Somebody has taken the block away since; what becomes of the affinity is not known.
            Ok(stored) if confirmed => return Err(StoreError::Conflict(stored.key())),
            Ok(stored) => stored,
            Err(StoreError::Exists(key)) => match self.block(cidr).await? {
                None => return Err(StoreError::Conflict(key)),
                Some(stored) if block::node_of(&stored.spec) != Some(&self.node) => {
                    self.store.delete(&affinity).await?;
                    return Ok(None);
                }
                Some(stored) if confirmed => stored,
                // Whoever was about to take it away finds it changed.
                Some(stored) => self.write_block(stored).await?,
            },
            Err(error) => return Err(error),
        };
        if !confirmed {
            self.confirm_affinity(affinity).await?;
        }
        Ok(Some(stored))
    }

    async fn confirm_affinity(
        &self,
        mut affinity: Stored<BlockAffinity>,
    ) -> Result<(), StoreError> {
        affinity.spec.state = AffinityState::Confirmed;
        self.store.update(affinity).await.map(|_| ())
    }

    /// This node's affinity to the block: a new one, or the one that an earlier try left. One that is
    /// confirmed already stays so: its block is there.
    async fn pending_affinity(&self, cidr: IpNet) -> Result<Stored<BlockAffinity>, StoreError> {
        let name = names::affinity(&self.node, &cidr);
        match self.store.get::<BlockAffinity>(&name).await? {
            None => {
                let spec = BlockAffinity::new(&self.node, cidr, AffinityState::Pending);
                let mut stored = Stored::new(name, spec);
                stored.metadata.labels = names::affinity_labels(&self.node, &cidr);
                self.store.create(stored).await
            }
            Some(stored) if stored.spec.deleted => {
                let key = stored.key();
                ignore_absence(self.store.delete(&stored).await)?;
                Err(StoreError::Conflict(key))
            }
            Some(stored) if stored.spec.state == AffinityState::PendingDeletion => {
                let mut stored = stored;
                stored.spec.state = AffinityState::Pending;
                self.store.update(stored).await
            }
            Some(stored) if stored.spec.state == AffinityState::Confirmed => {
                match self.block(cidr).await? {
                    Some(found) if block::node_of(&found.spec) == Some(&self.node) => Ok(stored),
                    // It promises a block that is not there.
                    _ => {
                        let mut stored = stored;
                        stored.spec.state = AffinityState::Pending;
                        self.store.update(stored).await
                    }
                }
            }
            Some(stored) => Ok(stored),
        }
    }

    /// A block; one that is marked for deletion is deleted and absent.
    pub(crate) async fn block(&self, cidr: IpNet) -> Result<Option<Stored<IPAMBlock>>, StoreError> {
        match self.store.get::<IPAMBlock>(&names::block(&cidr)).await? {
            Some(stored) if stored.spec.deleted => {
                ignore_absence(self.store.delete(&stored).await)?;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// Claims some block of these pools that exists nowhere yet.
    pub(super) async fn claim_unclaimed(
        &self,
        pools: &[&Stored<IPPool>],
        rules: &Rules,
    ) -> Result<Option<Stored<IPAMBlock>>, StoreError> {
        let (mut existing, seen) = match self.claimed_in_view() {
            Some(claimed) => (claimed, true),
            None => (self.read_blocks().await?, false),
        };
        for pool in pools {
            let start = self.start_of_walk(&pool.spec);
            while let Some(cidr) =
                pools::first_unclaimed(&pool.spec, start, &existing, &rules.reserved)
            {
                // A block of nobody, or claimed a moment ago, is in no view.
                let there = seen && self.is_there(cidr).await?;
                if !there && let Some(stored) = self.claim(cidr).await? {
                    return Ok(Some(stored));
                }
                existing.insert(cidr.network(), cidr);
            }
        }
        Ok(None)
    }

    /// What is claimed by anybody, as the watch says, and by this node.
    fn claimed_in_view(&self) -> Option<BTreeMap<IpAddr, IpNet>> {
        let state = self.view.get()?.state()?;
        let others = state.affinities.values();
        let others = others.filter(|stored| !stored.spec.deleted);
        let others = others.map(|stored| stored.spec.cidr);
        let own = self.cache.slots().into_iter().map(|slot| slot.cidr);
        Some(
            others
                .chain(own)
                .map(|cidr| (cidr.network(), cidr))
                .collect(),
        )
    }

    async fn read_blocks(&self) -> Result<BTreeMap<IpAddr, IpNet>, StoreError> {
        let blocks = self.store.0.list(Kind::IPAMBlock).await?;
        // What is marked for deletion goes with the claim.
        let blocks = blocks.iter().filter(|block| block.spec["deleted"] != true);
        let cidrs = blocks.filter_map(cidr_of);
        Ok(cidrs.map(|cidr| (cidr.network(), cidr)).collect())
    }

    /// Whether there is something in the block's place, readable or not.
    async fn is_there(&self, cidr: IpNet) -> Result<bool, StoreError> {
        match self.block(cidr).await {
            Err(StoreError::Invalid { .. }) => Ok(true),
            other => Ok(other?.is_some()),
        }
    }

    /// Where this node begins to look, so that nodes do not all try the same block. Blocks of one address
    /// are many, and are looked for from anywhere.
    fn start_of_walk(&self, pool: &IPPool) -> u128 {
        if pool.block_prefix_length() == pool.cidr.max_prefix_len() {
            let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
            return since.as_nanos();
        }
        u128::from(names::fnv32(&self.node))
    }

    /// Takes an empty block from another node and claims it.
    pub(super) async fn reclaim(
        &self,
        pools: &[&Stored<IPPool>],
        rules: &Rules,
    ) -> Result<Option<Stored<IPAMBlock>>, StoreError> {
        let (blocks, _) = self.store.list::<IPAMBlock>().await?;
        for pool in pools {
            for stored in blocks
                .iter()
                .filter(|stored| pool.spec.cidr.contains(&stored.spec.cidr))
                .filter(|stored| self.is_idle(&stored.spec, rules))
            {
                let cidr = stored.spec.cidr;
                // Read anew, and before the mark.
                let Some(stored) = self.block(cidr).await? else {
                    continue;
                };
                if !self.is_idle(&stored.spec, rules) || !self.take_from_owner(&stored).await? {
                    continue;
                }
                if let Some(claimed) = self.claim(cidr).await? {
                    tracing::info!(block = %cidr, from = ?stored.spec.affinity, "took over an empty block");
                    return Ok(Some(claimed));
                }
            }
        }
        Ok(None)
    }

    /// Empty, and not claimed just now. A block of nobody is idle when it is empty.
    fn is_idle(&self, block: &IPAMBlock, rules: &Rules) -> bool {
        let others = match &block.affinity {
            None => true,
            Some(_) => block::node_of(block).is_some_and(|node| node != self.node),
        };
        let old = block
            .affinity_claim_time
            .is_none_or(|at| at.age(self.now()) >= RECLAIM_AGE);
        others && old && block::is_free_of_owners(block, self.now(), rules.cooldown())
    }

    /// Affinity *pendingDeletion*, block deleted as it was seen, affinity deleted. False when the owner
    /// began to use the block meanwhile.
    pub(crate) async fn take_from_owner(
        &self,
        stored: &Stored<IPAMBlock>,
    ) -> Result<bool, StoreError> {
        let cidr = stored.spec.cidr;
        let affinity = match block::node_of(&stored.spec) {
            None => None,
            Some(node) => self.mark_for_deletion(node, cidr).await?,
        };
        match self.store.delete(stored).await {
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(StoreError::Conflict(_)) => {
                if let Some(affinity) = affinity {
                    self.give_back(affinity).await?;
                }
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        if let Some(affinity) = affinity {
            ignore_absence(self.store.delete(&affinity).await)?;
        }
        Ok(true)
    }

    /// Marks a node's affinity, or finds it marked at this moment; `None` when it has none.
    pub(crate) async fn mark_for_deletion(
        &self,
        node: &str,
        cidr: IpNet,
    ) -> Result<Option<Stored<BlockAffinity>>, StoreError> {
        let name = names::affinity(node, &cidr);
        let mut last = None;
        for _ in 0..TRIES {
            let Some(mut stored) = self.store.get::<BlockAffinity>(&name).await? else {
                return Ok(None);
            };
            if stored.spec.state == AffinityState::PendingDeletion {
                return Ok(Some(stored));
            }
            stored.spec.state = AffinityState::PendingDeletion;
            match self.store.update(stored).await {
                Ok(stored) => return Ok(Some(stored)),
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(too_often(last, &format!("BlockAffinity {name}")))
    }

    /// Undoes the mark on an affinity whose block turned out to be in use, so that it is announced again at once.
    /// When someone else decides about it meanwhile, that stands.
    pub(crate) async fn give_back(
        &self,
        mut affinity: Stored<BlockAffinity>,
    ) -> Result<(), StoreError> {
        let (owner, cidr) = (affinity.spec.node.clone(), affinity.spec.cidr);
        affinity.spec.state = AffinityState::Pending;
        let affinity = match self.store.update(affinity).await {
            Ok(affinity) => affinity,
            Err(error) if is_race(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut last = None;
        for _ in 0..TRIES {
            let found = self.block(cidr).await?;
            let Some(stored) = found.filter(|found| block::node_of(&found.spec) == Some(&owner))
            else {
                return ignore_absence(self.store.delete(&affinity).await);
            };
            match self.write_block(stored).await {
                Ok(_) => return ignore_absence(self.confirm_affinity(affinity).await),
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

/// The CIDR of a block, also of one that is otherwise broken: it must not be claimed over. Where it says another than its
/// name does, the name is believed, so that a block that says it were everything keeps nobody from the rest.
fn cidr_of(object: &crate::store::Object) -> Option<IpNet> {
    let said = object.spec.get("cidr").and_then(|cidr| cidr.as_str());
    said.and_then(|cidr| cidr.parse().ok())
        .filter(|cidr| names::block(cidr) == object.key.name)
        .or_else(|| names::cidr_of_block(&object.key.name))
}
