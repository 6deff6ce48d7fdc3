//! Repairs, one compare-and-swap after the other, each after a fresh look at all that speaks against it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::judge::{Verdict, judge};
use super::plan::{allocation, look};
use super::snapshot::{Snapshot, Users};
use super::{Collector, Plan, Repair, Round, Settings, Suspect};
use crate::ipam::handles::is_race;
use crate::ipam::{Ipam, block, names};
use crate::resources::{AffinityState, Attribute, BlockAffinity, IPAMBlock};
use crate::store::{StoreError, Stored};

/// Whether something was put right, or spared because it is otherwise by now.
type Outcome = Result<bool, StoreError>;

impl Ipam {
    /// What a snapshot shows to be wrong. Nothing is written.
    pub async fn look(&self, snapshot: &Snapshot) -> Result<Plan, StoreError> {
        let rules = self.rules().await?;
        Ok(look(snapshot, self.now(), rules.cooldown()))
    }

    /// One round of the garbage collector: what is ripe by this snapshot, and still so by a fresh read, is put right.
    /// `now` is a time that only goes forward, the same for all rounds of a collector. Before each write `may_go_on` is
    /// asked: false ends the round.
    pub async fn collect(
        &self,
        snapshot: &Snapshot,
        collector: &mut Collector,
        settings: Settings,
        now: Duration,
        may_go_on: &(dyn Fn() -> bool + Send + Sync),
    ) -> Round {
        let plan = match self.look(snapshot).await {
            Ok(plan) => plan,
            Err(error) => {
                return Round {
                    error: Some(error),
                    ..Round::default()
                };
            }
        };
        let mut round = Round {
            unknown: plan.unknown,
            leaks: collector.leaks(&plan.suspects),
            duplicates: plan.duplicates,
            held: plan.held,
            doubtful: plan.doubtful,
            ..Round::default()
        };
        if round.held.is_some() {
            // What could not be seen may have changed meanwhile.
            collector.forget();
            return round;
        }
        let mut ripe = collector.ripe(&plan.suspects, now, settings.grace);
        round.waiting = plan.suspects.len() - ripe.len();
        round.left = ripe.len().saturating_sub(settings.repairs_max);
        ripe.truncate(settings.repairs_max);
        self.carry_out(&ripe, may_go_on, &mut round).await;
        round
    }

    /// Puts right what a fresh read does not speak against. What has become otherwise is spared.
    pub async fn carry_out(
        &self,
        ripe: &[Suspect],
        may_go_on: &(dyn Fn() -> bool + Send + Sync),
        round: &mut Round,
    ) {
        if let Err(error) = self.carry_out_all(ripe, may_go_on, round).await {
            round.error = Some(error);
        }
    }

    async fn carry_out_all(
        &self,
        ripe: &[Suspect],
        may_go_on: &(dyn Fn() -> bool + Send + Sync),
        round: &mut Round,
    ) -> Result<(), StoreError> {
        if ripe.is_empty() || !may_go_on() {
            return Ok(());
        }
        // Blocks first, then who uses their addresses: who begins to use one writes the block before.
        let mut blocks = BTreeMap::new();
        for suspect in ripe {
            if let Repair::Address { block, .. } = &suspect.repair
                && !blocks.contains_key(block)
            {
                blocks.insert(*block, self.block(*block).await?);
            }
        }
        let live = Snapshot::load_users(&*self.store.0).await?;
        if let Some(why) = live.incomplete() {
            round.held = Some(why);
            return Ok(());
        }
        let users = live.users();
        for (cidr, stored) in blocks {
            if !may_go_on() {
                return Ok(());
            }
            let inside = ripe.iter().filter(|suspect| {
                matches!(&suspect.repair, Repair::Address { block, .. } if *block == cidr)
            });
            self.free(stored, inside.collect(), &users, round).await?;
        }
        for suspect in ripe {
            if !may_go_on() {
                return Ok(());
            }
            let outcome = match &suspect.repair {
                Repair::Address { .. } => continue,
                Repair::Node { node, cidr } => self.take_from_gone(node, *cidr, &users).await,
                Repair::Claim { node, cidr } => self.drop_claim(node, *cidr, suspect).await,
                Repair::Confirm { node, cidr } => self.confirm(node, *cidr, suspect).await,
                Repair::Handle { handle } => self.count_anew(handle, &suspect.proof).await,
                Repair::Block { cidr } => self.drop_block(*cidr, suspect, &users).await,
            };
            match outcome {
                Ok(true) => round.note(suspect),
                Ok(false) => round.spared += 1,
                Err(error) if is_race(&error) => round.spared += 1,
                // One object that cannot be read or written holds no other up.
                Err(error @ StoreError::Invalid { .. }) => {
                    tracing::warn!(repair = %suspect.repair, %error, "cannot be put right");
                    round.spared += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Frees addresses of one block, in one write, and counts their handles down.
    async fn free(
        &self,
        stored: Option<Stored<IPAMBlock>>,
        suspects: Vec<&Suspect>,
        users: &Users,
        round: &mut Round,
    ) -> Result<(), StoreError> {
        let Some(mut stored) = stored else {
            round.spared += suspects.len();
            return Ok(());
        };
        let (leaked, spared): (Vec<&Suspect>, Vec<&Suspect>) = suspects
            .into_iter()
            .partition(|suspect| still_leaked(&stored.spec, suspect, users));
        round.spared += spared.len();
        if leaked.is_empty() {
            return Ok(());
        }
        let rules = self.rules().await?;
        let mut by_handle: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
        for suspect in &leaked {
            if let Repair::Address {
                address, handle, ..
            } = &suspect.repair
            {
                by_handle.entry(handle).or_default().push(*address);
            }
        }
        let cidr = stored.spec.cidr;
        for (handle, addresses) in &by_handle {
            let cooldown = rules.cooldown();
            block::release(&mut stored.spec, handle, addresses, self.now(), cooldown);
        }
        let written = match stored.spec.affinity.is_none() && block::is_empty(&stored.spec) {
            true => self.store.delete(&stored).await,
            false => self.write_block(stored).await.map(drop),
        };
        match written {
            Ok(()) => {}
            Err(error) if is_race(&error) => {
                round.spared += leaked.len();
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        for suspect in leaked {
            round.note(suspect);
        }
        for (handle, addresses) in by_handle {
            self.decrement(handle, &cidr, addresses.len()).await?;
        }
        Ok(())
    }

    async fn take_from_gone(&self, node: &str, cidr: IpNet, users: &Users) -> Outcome {
        let registered = self.store.get::<crate::resources::Node>(node).await?;
        if registered.is_some() || users.has_node(node) || users.is_busy(node) {
            return Ok(false);
        }
        self.release_affinity(node, cidr).await.map(|()| true)
    }

    /// A claim that is as it was when the suspicion arose.
    async fn claim_as_seen(
        &self,
        node: &str,
        cidr: IpNet,
        suspect: &Suspect,
    ) -> Result<Option<Stored<BlockAffinity>>, StoreError> {
        let stored = self.store.get(&names::affinity(node, &cidr)).await?;
        let same = |stored: &Stored<BlockAffinity>| {
            format!("{:?}", stored.revision) == suspect.proof && stored.spec.is_of(node)
        };
        Ok(stored.filter(same))
    }

    async fn drop_claim(&self, node: &str, cidr: IpNet, suspect: &Suspect) -> Outcome {
        let Some(claim) = self.claim_as_seen(node, cidr, suspect).await? else {
            return Ok(false);
        };
        let found = self.block(cidr).await?;
        if found.is_some_and(|found| block::node_of(&found.spec) == Some(node)) {
            return Ok(false);
        }
        self.store.delete(&claim).await.map(|()| true)
    }

    async fn confirm(&self, node: &str, cidr: IpNet, suspect: &Suspect) -> Outcome {
        let Some(claim) = self.claim_as_seen(node, cidr, suspect).await? else {
            return Ok(false);
        };
        let Some(found) = self.block(cidr).await? else {
            return Ok(false);
        };
        if block::node_of(&found.spec) != Some(node) {
            return Ok(false);
        }
        if claim.spec.state == AffinityState::PendingDeletion && block::is_empty(&found.spec) {
            return self.take_from_owner(&found).await;
        }
        // Whoever takes the block away at this moment finds it changed.
        self.give_back(claim).await.map(|()| true)
    }

    /// The handle first, then the blocks: what is written down is what was there after the handle was read, and the
    /// handle is written only if it has not changed since.
    pub(super) async fn count_anew(&self, handle: &str, proof: &str) -> Outcome {
        let stored = self
            .store
            .get::<crate::resources::IPAMHandle>(&names::handle(handle))
            .await?;
        let seen = stored.as_ref().map(|stored| &stored.revision);
        if format!("{seen:?}") != proof {
            return Ok(false);
        }
        let (blocks, unreadable) = self.store.list::<IPAMBlock>().await?;
        if !unreadable.is_empty() {
            return Ok(false);
        }
        let mut found = BTreeMap::new();
        for one in blocks.iter().filter(|one| !one.spec.deleted) {
            let count = block::addresses_of(&one.spec, handle).len();
            if count > 0 {
                found.insert(one.spec.cidr.to_string(), count);
            }
        }
        match stored {
            Some(stored) if found.is_empty() || stored.spec.deleted => {
                self.store.delete(&stored).await.map(|()| true)
            }
            Some(stored) if stored.spec.block == found => Ok(false),
            Some(mut stored) => {
                stored.spec.block = found;
                self.store.update(stored).await.map(|_| true)
            }
            None if found.is_empty() => Ok(false),
            None => self.recount(handle, &found).await.map(|()| true),
        }
    }

    async fn drop_block(&self, cidr: IpNet, suspect: &Suspect, users: &Users) -> Outcome {
        let Some(stored) = self
            .store
            .get::<IPAMBlock>(&names::block(&cidr))
            .await?
            .filter(|stored| format!("{:?}", stored.revision) == suspect.proof)
        else {
            return Ok(false);
        };
        if stored.spec.deleted {
            return self.store.delete(&stored).await.map(|()| true);
        }
        let mut cooled = stored.spec.clone();
        block::collect(&mut cooled, self.now(), self.rules().await?.cooldown());
        if !block::is_empty(&cooled) {
            return Ok(false);
        }
        match block::node_of(&stored.spec) {
            None if stored.spec.affinity.is_none() => {
                self.store.delete(&stored).await.map(|()| true)
            }
            Some(node) if users.has_node(node) => self.take_from_owner(&stored).await,
            _ => Ok(false),
        }
    }
}

impl Round {
    fn note(&mut self, suspect: &Suspect) {
        tracing::info!(kind = suspect.repair.kind(), why = %suspect.why, "address management: {}", suspect.repair);
        let done = (suspect.repair.clone(), suspect.why.clone());
        self.done.push(done);
    }
}

/// By the block as it is now, and by who uses addresses now.
fn still_leaked(spec: &IPAMBlock, suspect: &Suspect, users: &Users) -> bool {
    let Repair::Address {
        address, handle, ..
    } = &suspect.repair
    else {
        return false;
    };
    let Some(attribute) = attribute_of(spec, *address) else {
        return false;
    };
    attribute.handle_id.as_ref() == Some(handle)
        && allocation(spec, *address) == suspect.proof
        && matches!(
            judge(*address, attribute, &suspect.siblings, users),
            Verdict::Leaked(_)
        )
}

fn attribute_of(spec: &IPAMBlock, address: IpAddr) -> Option<&Attribute> {
    let index = spec.allocations.get(block::ordinal(&spec.cidr, address)?)?;
    spec.attributes.get((*index)?)
}
