//! Assignment: own blocks, then new ones, then other nodes'.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::cache::Slot;
use super::handles::{is_race, too_often};
use super::pools::{self, Family};
use super::{AssignRequest, Assigned, Ipam, IpamError, Rules, TRIES, block, names};
use crate::resources::{Attribute, IPAMBlock, IPPool};
use crate::store::{StoreError, Stored};

/// What becomes of one try on one block.
enum Try {
    Given(IpAddr),
    /// No room, or not ours any more, or gone.
    Elsewhere,
}

impl Ipam {
    pub(super) async fn assign_all(
        &self,
        request: &AssignRequest,
    ) -> Result<Vec<Assigned>, IpamError> {
        if request.handle.is_empty() {
            return Err(IpamError::Store(StoreError::Invalid {
                what: "a request for addresses".to_owned(),
                why: "its handle is empty".to_owned(),
            }));
        }
        let rules = self.rules().await?;
        let mut assigned = self.already_assigned(&request.handle, &rules).await?;
        self.take_up(request, &mut assigned).await?;
        let had: Vec<IpAddr> = assigned.iter().map(|one| one.address).collect();
        match self.assign_missing(request, &rules, &mut assigned).await {
            Ok(()) => {
                assigned.retain(|one| wanted(request, &one.address));
                Ok(assigned)
            }
            Err(error) => {
                let new: Vec<IpAddr> = assigned
                    .iter()
                    .map(|one| one.address)
                    .filter(|address| !had.contains(address))
                    .collect();
                if let Err(second) = self.release_some(&request.handle, &new, &rules).await {
                    tracing::warn!(handle = %request.handle, %second, "could not roll back a failed assignment");
                }
                Err(error)
            }
        }
    }

    async fn assign_missing(
        &self,
        request: &AssignRequest,
        rules: &Rules,
        assigned: &mut Vec<Assigned>,
    ) -> Result<(), IpamError> {
        for &address in &request.addresses {
            if !assigned.iter().any(|one| one.address == address) {
                assigned.push(self.assign_address(request, rules, address).await?);
            }
        }
        for (family, asked) in [(Family::V4, request.ipv4), (Family::V6, request.ipv6)] {
            let has = assigned
                .iter()
                .any(|one| Family::of_address(&one.address) == family);
            if asked && !has {
                assigned.push(self.assign_next(request, rules, family).await?);
            }
        }
        Ok(())
    }

    /// What a handle has. Counts that a crash left too high are put right on the way.
    async fn already_assigned(
        &self,
        handle: &str,
        rules: &Rules,
    ) -> Result<Vec<Assigned>, IpamError> {
        let Some(stored) = self.handle(handle).await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let mut counts = BTreeMap::new();
        for name in stored.spec.block.keys() {
            let Ok(cidr) = name.parse::<IpNet>() else {
                continue;
            };
            let Some(stored) = self.block(cidr).await? else {
                continue;
            };
            let addresses = block::addresses_of(&stored.spec, handle);
            if !addresses.is_empty() {
                counts.insert(name.clone(), addresses.len());
            }
            found.extend(
                addresses
                    .into_iter()
                    .map(|address| self.assigned(address, &stored.spec, rules)),
            );
        }
        if counts != stored.spec.block {
            self.recount(handle, &counts).await?;
        }
        Ok(found)
    }

    fn assigned(&self, address: IpAddr, in_block: &IPAMBlock, rules: &Rules) -> Assigned {
        let pool = pools::containing(&rules.pools, &address);
        Assigned {
            address,
            block: in_block.cidr,
            pool: pool.map_or_else(String::new, |pool| pool.metadata.name.clone()),
            borrowed: block::node_of(in_block) != Some(&self.node),
        }
    }

    /// The next free address of a family.
    async fn assign_next(
        &self,
        request: &AssignRequest,
        rules: &Rules,
        family: Family,
    ) -> Result<Assigned, IpamError> {
        let chosen = pools::select(&rules.pools, request, family, &self.node, &rules.labels)?;
        let ranges: Vec<IpNet> = chosen.iter().map(|pool| pool.spec.cidr).collect();
        self.load_cache().await?;
        for _ in 0..TRIES {
            if let Some(given) = self.assign_from_own(request, rules, &ranges).await? {
                return Ok(given);
            }
            if !self.make_room(rules, &chosen, &ranges).await? {
                break;
            }
        }
        if !rules.config.strict_affinity
            && let Some(given) = self.borrow_from_others(request, rules, &ranges).await?
        {
            return Ok(given);
        }
        let names: Vec<&str> = chosen
            .iter()
            .map(|pool| pool.metadata.name.as_str())
            .collect();
        Err(IpamError::Exhausted(
            match rules.config.auto_allocate_blocks {
                false => format!(
                    "the blocks of node {} in pool {} are full and autoAllocateBlocks is false",
                    self.node,
                    names.join(", ")
                ),
                true => format!(
                    "pool {} has no free address for node {}",
                    names.join(", "),
                    self.node
                ),
            },
        ))
    }

    async fn assign_from_own(
        &self,
        request: &AssignRequest,
        rules: &Rules,
        ranges: &[IpNet],
    ) -> Result<Option<Assigned>, IpamError> {
        let mut tried = Vec::new();
        while let Some(place) = self.cache.reserve(ranges, &tried) {
            let cidr = place.slot.cidr;
            let mut given = None;
            let outcome = self
                .in_own_block(request, &place.slot, rules, |block, attribute| {
                    given = block::assign_next(block, attribute);
                    given.ok_or(())
                })
                .await?;
            match outcome {
                Try::Given(address) => {
                    return Ok(Some(Assigned {
                        address,
                        block: cidr,
                        pool: pools::containing(&rules.pools, &address)
                            .map_or_else(String::new, |pool| pool.metadata.name.clone()),
                        borrowed: false,
                    }));
                }
                Try::Elsewhere => tried.push(cidr),
            }
        }
        Ok(None)
    }

    /// Handle first, then the block; the handle again when the block did not work out.
    async fn in_own_block(
        &self,
        request: &AssignRequest,
        slot: &Slot,
        rules: &Rules,
        mut give: impl FnMut(&mut IPAMBlock, Attribute) -> Result<IpAddr, ()>,
    ) -> Result<Try, IpamError> {
        self.increment(&request.handle, &slot.cidr).await?;
        let mut cached = slot.block.lock().await;
        let mut last = None;
        for _ in 0..TRIES {
            let current = match cached.take() {
                Some(stored) => Some(stored),
                None => self.block(slot.cidr).await?,
            };
            let ours = current.filter(|stored| block::node_of(&stored.spec) == Some(&self.node));
            let Some(mut stored) = ours else {
                self.cache.remove(&slot.cidr);
                break;
            };
            block::collect(&mut stored.spec, self.now(), rules.cooldown());
            let Ok(address) = give(&mut stored.spec, attribute(request)) else {
                slot.saw(&stored.spec);
                // The block may have been changed in memory only; it is read again.
                break;
            };
            match self.write_block(stored).await {
                Ok(stored) => {
                    slot.saw(&stored.spec);
                    *cached = Some(stored);
                    return Ok(Try::Given(address));
                }
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => {
                    drop(cached);
                    self.undo_increment(&request.handle, &slot.cidr).await;
                    return Err(error.into());
                }
            }
        }
        drop(cached);
        self.decrement(&request.handle, &slot.cidr, 1).await?;
        match last {
            Some(error) if !matches!(error, StoreError::NotFound(_)) => {
                tracing::debug!(block = %slot.cidr, %error, "a block was written by others meanwhile");
            }
            _ => {}
        }
        Ok(Try::Elsewhere)
    }

    /// After a write whose outcome is unknown the count may be right or one too high; it is put right when
    /// the block can be read, and by `tend` otherwise.
    async fn undo_increment(&self, handle: &str, cidr: &IpNet) {
        let found = match self.block(*cidr).await {
            Ok(Some(stored)) => block::addresses_of(&stored.spec, handle).len(),
            Ok(None) => 0,
            Err(_) => return,
        };
        if found == 0
            && let Err(error) = self.decrement(handle, cidr, 1).await
        {
            tracing::debug!(handle, %error, "a handle counts one address too many for now");
        }
    }

    /// Every write of a block goes through here.
    pub(super) async fn write_block(
        &self,
        mut stored: Stored<IPAMBlock>,
    ) -> Result<Stored<IPAMBlock>, StoreError> {
        stored.spec.sequence_number = stored.spec.sequence_number.saturating_add(1);
        self.store.update(stored).await
    }

    /// Another block for this node, if there may be one. False: there is none to be had.
    async fn make_room(
        &self,
        rules: &Rules,
        chosen: &[&Stored<IPPool>],
        ranges: &[IpNet],
    ) -> Result<bool, IpamError> {
        let _claiming = self.claiming.lock().await;
        if ranges.iter().any(|range| self.cache.free_in(range) > 0) {
            // Another request has claimed meanwhile.
            return Ok(true);
        }
        let Some(range) = ranges.first() else {
            return Ok(false);
        };
        let limit = rules.config.blocks_per_host();
        let count = self.cache.count(range);
        if count >= limit {
            return Err(IpamError::Exhausted(format!(
                "node {} has {count} blocks, the most that maxBlocksPerHost allows, and all are full",
                self.node
            )));
        }
        if !rules.config.auto_allocate_blocks {
            return Ok(false);
        }
        if self.claim_unclaimed(chosen).await?.is_some() {
            return Ok(true);
        }
        Ok(self.reclaim(chosen).await?.is_some())
    }

    /// An address of a block that is not this node's.
    async fn borrow_from_others(
        &self,
        request: &AssignRequest,
        rules: &Rules,
        ranges: &[IpNet],
    ) -> Result<Option<Assigned>, IpamError> {
        let (blocks, _) = self.store.list::<IPAMBlock>().await?;
        for range in ranges {
            for stored in &blocks {
                let cidr = stored.spec.cidr;
                let virtual_owner =
                    stored.spec.affinity.is_some() && block::node_of(&stored.spec).is_none();
                if !range.contains(&cidr) || virtual_owner {
                    continue;
                }
                let mut probe = stored.spec.clone();
                block::collect(&mut probe, self.now(), rules.cooldown());
                if block::free(&probe) == 0 {
                    continue;
                }
                let given = self
                    .in_foreign_block(request, rules, cidr, |block, attribute| {
                        block::assign_next(block, attribute).ok_or_else(String::new)
                    })
                    .await?;
                if let Ok(given) = given {
                    return Ok(Some(given));
                }
            }
        }
        Ok(None)
    }

    /// Handle first, then the block, which is read each time. The inner error is the block's answer.
    async fn in_foreign_block(
        &self,
        request: &AssignRequest,
        rules: &Rules,
        cidr: IpNet,
        give: impl Fn(&mut IPAMBlock, Attribute) -> Result<IpAddr, String>,
    ) -> Result<Result<Assigned, String>, IpamError> {
        self.increment(&request.handle, &cidr).await?;
        let mut last = None;
        for _ in 0..TRIES {
            let Some(mut stored) = self.block(cidr).await? else {
                self.decrement(&request.handle, &cidr, 1).await?;
                return Ok(Err("its block was deleted meanwhile".to_owned()));
            };
            block::collect(&mut stored.spec, self.now(), rules.cooldown());
            let address = match give(&mut stored.spec, attribute(request)) {
                Ok(address) => address,
                Err(why) => {
                    self.decrement(&request.handle, &cidr, 1).await?;
                    return Ok(Err(why));
                }
            };
            match self.write_block(stored).await {
                Ok(stored) => return Ok(Ok(self.assigned(address, &stored.spec, rules))),
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => {
                    self.undo_increment(&request.handle, &cidr).await;
                    return Err(error.into());
                }
            }
        }
        self.decrement(&request.handle, &cidr, 1).await?;
        Err(too_often(last, &format!("IPAMBlock {}", names::block(&cidr))).into())
    }

    /// One certain address.
    async fn assign_address(
        &self,
        request: &AssignRequest,
        rules: &Rules,
        address: IpAddr,
    ) -> Result<Assigned, IpamError> {
        let refused = |why: String| IpamError::NotAvailable { address, why };
        let pool = pools::containing(&rules.pools, &address)
            .ok_or_else(|| refused("it is in no pool".to_owned()))?;
        let name = &pool.metadata.name;
        if pool.spec.disabled {
            return Err(refused(format!("its pool {name} is disabled")));
        }
        if !pool.spec.allows(pools::allowed_use(request.purpose)) {
            let used_for = pools::allowed_use(request.purpose);
            return Err(refused(format!("its pool {name} is not for {used_for}")));
        }
        let cidr = pools::block_of(&pool.spec, address)
            .ok_or_else(|| refused(format!("its pool {name} has no block for it")))?;
        self.load_cache().await?;
        for _ in 0..TRIES {
            if let Some(slot) = self.cache.slot(&cidr) {
                let mut why = String::new();
                let outcome = self
                    .in_own_block(request, &slot, rules, |block, attribute| {
                        block::assign_address(block, address, attribute)
                            .map(|()| address)
                            .map_err(|answer| why = answer)
                    })
                    .await?;
                match outcome {
                    Try::Given(address) => {
                        return Ok(Assigned {
                            address,
                            block: cidr,
                            pool: name.clone(),
                            borrowed: false,
                        });
                    }
                    Try::Elsewhere if !why.is_empty() => return Err(refused(why)),
                    Try::Elsewhere => continue,
                }
            }
            match self.block(cidr).await? {
                None => {
                    let _claiming = self.claiming.lock().await;
                    self.claim(cidr).await?;
                }
                Some(stored) if block::node_of(&stored.spec) == Some(&self.node) => {
                    let _claiming = self.claiming.lock().await;
                    self.claim(cidr).await?;
                }
                Some(stored) if rules.config.strict_affinity => {
                    let owner = stored.spec.affinity.unwrap_or_else(|| "nobody".to_owned());
                    return Err(refused(format!(
                        "its block {cidr} belongs to {owner} and strictAffinity is set"
                    )));
                }
                Some(_) => {
                    let given = self
                        .in_foreign_block(request, rules, cidr, |block, attribute| {
                            block::assign_address(block, address, attribute).map(|()| address)
                        })
                        .await?;
                    return given.map_err(refused);
                }
            }
        }
        Err(refused(format!("its block {cidr} changed hands too often")))
    }

    /// Reads this node's blocks once.
    pub(super) async fn load_cache(&self) -> Result<(), StoreError> {
        if self.cache.is_loaded() {
            return Ok(());
        }
        let _claiming = self.claiming.lock().await;
        if !self.cache.is_loaded() {
            self.reload_cache().await?;
        }
        Ok(())
    }

    /// Reads this node's confirmed blocks. The caller holds `claiming`.
    pub(super) async fn reload_cache(&self) -> Result<(), StoreError> {
        let (affinities, _) = self.store.list::<crate::BlockAffinity>().await?;
        let mut blocks = Vec::new();
        for affinity in &affinities {
            if !affinity.spec.is_confirmed_for(&self.node) {
                continue;
            }
            match self.block(affinity.spec.cidr).await {
                Ok(Some(stored)) if block::node_of(&stored.spec) == Some(&self.node) => {
                    blocks.push(stored);
                }
                Ok(_) => {}
                // A block that cannot be read is not used; the others are.
                Err(error @ StoreError::Invalid { .. }) => {
                    tracing::warn!(block = %affinity.spec.cidr, %error, "cannot use a block of this node");
                }
                Err(error) => return Err(error),
            }
        }
        self.cache.load(blocks);
        Ok(())
    }
}

fn attribute(request: &AssignRequest) -> Attribute {
    Attribute {
        handle_id: Some(request.handle.clone()),
        secondary: request.attributes.clone(),
        ..Attribute::default()
    }
}

fn wanted(request: &AssignRequest, address: &IpAddr) -> bool {
    request.addresses.contains(address)
        || match Family::of_address(address) {
            Family::V4 => request.ipv4,
            Family::V6 => request.ipv6,
        }
}
