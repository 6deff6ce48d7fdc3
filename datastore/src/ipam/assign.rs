//! Assignment: own blocks, then new ones, then other nodes'.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;

use super::handles::{Seen, is_race, too_often};
use super::own::Give;
use super::pools::{self, Family};
use super::{AssignRequest, Assigned, Ipam, IpamError, Rules, TRIES, block, names};
use crate::resources::{Attribute, BlockAffinity, IPAMBlock, IPPool};
use crate::store::{Key, Kind, StoreError, Stored};

/// What becomes of one try on one block.
pub(super) enum Try {
    Given(IpAddr),
    /// The block has not what is asked for: why.
    Refused(String),
    /// The block is not ours any more, or gone.
    Elsewhere,
}

/// A request on its way, with what has been learnt for it.
pub(super) struct Wish<'a> {
    pub(super) request: &'a AssignRequest,
    pub(super) rules: &'a Rules,
    seen: Mutex<Seen>,
}

impl Wish<'_> {
    /// Counts one address more of this block in the request's handle.
    pub(super) async fn increment(&self, ipam: &Ipam, cidr: &IpNet) -> Result<(), StoreError> {
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut handle = std::mem::take(&mut *seen());
        let done = ipam
            .increment(&self.request.handle, cidr, &mut handle)
            .await;
        *seen() = handle;
        done
    }

    pub(super) fn attribute(&self) -> Attribute {
        Attribute {
            handle_id: Some(self.request.handle.clone()),
            secondary: self.request.attributes.clone(),
            ..Attribute::default()
        }
    }
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
        let (mut assigned, seen) = self.already_assigned(&request.handle, &rules).await?;
        self.take_up(request, &mut assigned).await?;
        let had: Vec<IpAddr> = assigned.iter().map(|one| one.address).collect();
        let wish = Wish {
            request,
            rules: &rules,
            seen: Mutex::new(seen),
        };
        match self.assign_missing(&wish, &mut assigned).await {
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
        wish: &Wish<'_>,
        assigned: &mut Vec<Assigned>,
    ) -> Result<(), IpamError> {
        let request = wish.request;
        for &address in &request.addresses {
            if !assigned.iter().any(|one| one.address == address) {
                assigned.push(self.assign_address(wish, address).await?);
            }
        }
        for (family, asked) in [(Family::V4, request.ipv4), (Family::V6, request.ipv6)] {
            let has = assigned
                .iter()
                .any(|one| Family::of_address(&one.address) == family);
            if asked && !has {
                assigned.push(self.assign_next(wish, family).await?);
            }
        }
        Ok(())
    }

    /// What a handle has. Counts that a crash left too high are put right on the way.
    async fn already_assigned(
        &self,
        handle: &str,
        rules: &Rules,
    ) -> Result<(Vec<Assigned>, Seen), IpamError> {
        let Some(stored) = self.handle(handle).await? else {
            return Ok((Vec::new(), Seen::As(None)));
        };
        let mut found = Vec::new();
        let mut counts = BTreeMap::new();
        for name in stored.spec.block.keys() {
            let Ok(cidr) = name.parse::<IpNet>() else {
                continue;
            };
            let Some(in_block) = self.block(cidr).await? else {
                continue;
            };
            let addresses = block::addresses_of(&in_block.spec, handle);
            if !addresses.is_empty() {
                counts.insert(name.clone(), addresses.len());
            }
            found.extend(
                addresses
                    .into_iter()
                    .map(|address| self.assigned(address, &in_block.spec, rules)),
            );
        }
        if counts != stored.spec.block {
            self.recount(handle, &counts).await?;
            return Ok((found, Seen::Not));
        }
        Ok((found, Seen::As(Some(stored))))
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
    async fn assign_next(&self, wish: &Wish<'_>, family: Family) -> Result<Assigned, IpamError> {
        let rules = wish.rules;
        let namespace = self.namespace_labels(wish).await?;
        let node = (self.node.as_str(), &rules.labels);
        let chosen = pools::select(&rules.pools, wish.request, family, node, &namespace)?;
        let ranges: Vec<IpNet> = chosen.iter().map(|pool| pool.spec.cidr).collect();
        self.load_cache().await?;
        for _ in 0..TRIES {
            if let Some(given) = self.assign_from_own(wish, &ranges).await? {
                return Ok(given);
            }
            if !self.make_room(rules, &chosen, &ranges).await? {
                break;
            }
        }
        if !rules.config.strict_affinity
            && let Some(given) = self.borrow_from_others(wish, &ranges).await?
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

    /// The labels of the request's namespace, as far as a pool asks for them.
    async fn namespace_labels(
        &self,
        wish: &Wish<'_>,
    ) -> Result<BTreeMap<String, String>, StoreError> {
        let Some(namespace) = wish.request.attributes.get("namespace") else {
            return Ok(BTreeMap::new());
        };
        let mut labels = BTreeMap::new();
        let selective = |pool: &Stored<IPPool>| pool.spec.namespace_selector.is_some();
        if wish.rules.pools.iter().any(selective) {
            let key = Key::new(Kind::Namespace, namespace);
            let found = self.store.0.get(&key).await?;
            labels = found.map(|found| found.metadata.labels).unwrap_or_default();
        }
        for name in ["projectcalico.org/name", "kubernetes.io/metadata.name"] {
            labels.insert(name.to_owned(), namespace.clone());
        }
        Ok(labels)
    }

    async fn assign_from_own(
        &self,
        wish: &Wish<'_>,
        ranges: &[IpNet],
    ) -> Result<Option<Assigned>, IpamError> {
        let mut tried = Vec::new();
        while let Some(place) = self.cache.reserve(ranges, &tried) {
            let cidr = place.slot.cidr;
            match self.in_own_block(wish, &place.slot, Give::Next).await? {
                Try::Given(address) => {
                    let pool = pools::containing(&wish.rules.pools, &address);
                    return Ok(Some(Assigned {
                        address,
                        block: cidr,
                        pool: pool.map_or_else(String::new, |pool| pool.metadata.name.clone()),
                        borrowed: false,
                    }));
                }
                Try::Refused(_) | Try::Elsewhere => tried.push(cidr),
            }
        }
        Ok(None)
    }

    /// After a write whose outcome is unknown the count may be right or one too high; it is put right when
    /// the block can be read, and by `tend` otherwise.
    pub(super) async fn undo_increment(&self, handle: &str, cidr: &IpNet) {
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
        self.recount_room(rules);
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
        let mut claimed = self.claim_unclaimed(chosen, rules).await?;
        if claimed.is_none() {
            claimed = self.reclaim(chosen, rules).await?;
        }
        // Some of it may be reserved.
        self.recount_room(rules);
        Ok(claimed.is_some())
    }

    /// An address of a block that is not this node's.
    async fn borrow_from_others(
        &self,
        wish: &Wish<'_>,
        ranges: &[IpNet],
    ) -> Result<Option<Assigned>, IpamError> {
        let rules = wish.rules;
        let (blocks, _) = self.store.list::<IPAMBlock>().await?;
        for range in ranges {
            for stored in &blocks {
                let cidr = stored.spec.cidr;
                let virtual_owner =
                    stored.spec.affinity.is_some() && block::node_of(&stored.spec).is_none();
                if !range.contains(&cidr) || virtual_owner {
                    continue;
                }
                if self.available(&stored.spec, rules) == 0 {
                    continue;
                }
                let given = self
                    .in_foreign_block(wish, cidr, |block, attribute| {
                        block::assign_next_outside(block, &rules.reserved, attribute)
                            .ok_or_else(String::new)
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
        wish: &Wish<'_>,
        cidr: IpNet,
        give: impl Fn(&mut IPAMBlock, Attribute) -> Result<IpAddr, String>,
    ) -> Result<Result<Assigned, String>, IpamError> {
        let (handle, rules) = (&wish.request.handle, wish.rules);
        wish.increment(self, &cidr).await?;
        let mut last = None;
        for _ in 0..TRIES {
            let Some(mut stored) = self.block(cidr).await? else {
                self.decrement(handle, &cidr, 1).await?;
                return Ok(Err("its block was deleted meanwhile".to_owned()));
            };
            block::collect(&mut stored.spec, self.now(), rules.cooldown());
            let address = match give(&mut stored.spec, wish.attribute()) {
                Ok(address) => address,
                Err(why) => {
                    self.decrement(handle, &cidr, 1).await?;
                    return Ok(Err(why));
                }
            };
            match self.write_block(stored).await {
                Ok(stored) => return Ok(Ok(self.assigned(address, &stored.spec, rules))),
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => {
                    self.undo_increment(handle, &cidr).await;
                    return Err(error.into());
                }
            }
        }
        self.decrement(handle, &cidr, 1).await?;
        Err(too_often(last, &format!("IPAMBlock {}", names::block(&cidr))).into())
    }

    /// One certain address.
    async fn assign_address(
        &self,
        wish: &Wish<'_>,
        address: IpAddr,
    ) -> Result<Assigned, IpamError> {
        let (request, rules) = (wish.request, wish.rules);
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
                match self
                    .in_own_block(wish, &slot, Give::Certain(address))
                    .await?
                {
                    Try::Given(address) => {
                        return Ok(Assigned {
                            address,
                            block: cidr,
                            pool: name.clone(),
                            borrowed: false,
                        });
                    }
                    Try::Refused(why) => return Err(refused(why)),
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
                        .in_foreign_block(wish, cidr, |block, attribute| {
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

    /// This node's claims, from the watch or read now.
    pub(super) async fn own_claims(&self) -> Result<Vec<Stored<BlockAffinity>>, StoreError> {
        let is_own = |stored: &Stored<BlockAffinity>| stored.spec.is_of(&self.node);
        let seen = self.view.get().and_then(|view| {
            let state = view.state()?;
            let own = state.affinities.values().filter(|stored| is_own(stored));
            Some(own.cloned().collect::<Vec<_>>())
        });
        let Some(mut claims) = seen else {
            let (mut all, _) = self.store.list::<BlockAffinity>().await?;
            all.retain(is_own);
            return Ok(all);
        };
        // A claim of a moment ago may not have come through the watch yet.
        for slot in self.cache.slots() {
            if !claims.iter().any(|claim| claim.spec.cidr == slot.cidr) {
                let name = names::affinity(&self.node, &slot.cidr);
                match self.store.get::<BlockAffinity>(&name).await {
                    // The claims that can be read are enough for the others.
                    Err(StoreError::Invalid { .. }) => {}
                    found => claims.extend(found?),
                }
            }
        }
        Ok(claims)
    }

    /// Reads this node's confirmed blocks. The caller holds `claiming`.
    pub(super) async fn reload_cache(&self) -> Result<(), StoreError> {
        let mut blocks = Vec::new();
        for affinity in self.own_claims().await? {
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

fn wanted(request: &AssignRequest, address: &IpAddr) -> bool {
    request.addresses.contains(address)
        || match Family::of_address(address) {
            Family::V4 => request.ipv4,
            Family::V6 => request.ipv6,
        }
}
