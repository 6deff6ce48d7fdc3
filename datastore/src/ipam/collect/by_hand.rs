//! Addresses that a person wants freed, with the same guard as the collector's own.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::judge::{Verdict, judge};
use super::plan::siblings;
use super::snapshot::{Snapshot, Users};
use crate::ipam::handles::{is_race, too_often};
use crate::ipam::{Ipam, TRIES, block};
use crate::resources::IPAMBlock;
use crate::store::{StoreError, Stored};

/// An address to be freed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which.
    pub address: IpAddr,
    /// Only if this handle has it; any, when nothing is said.
    pub handle: Option<String>,
    /// Only if it was given with this sequence number.
    pub sequence_number: Option<u64>,
}

/// The handle that an address is to be freed from, or why it is not.
type Judge<'a> = &'a (dyn Fn(&Stored<IPAMBlock>, &Wish) -> Result<String, Outcome> + Send + Sync);

/// What has become of a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This handle had it.
    Freed {
        /// Which.
        handle: String,
    },
    /// Nobody had it.
    NotAssigned,
    /// Somebody else has it by now, or it was given anew.
    Changed,
    /// This one uses it.
    InUse(String),
    /// Nobody knows whether it is used: it is of a kind that is not judged.
    Unknown(String),
    /// No handle has it, so that there is none to free it from.
    NoHandle,
}

impl Ipam {
    /// Frees addresses. One that is in use, or of which nobody knows, only with `force`. The outcomes stand in the order
    /// of the wishes.
    pub async fn free_by_hand(
        &self,
        wishes: &[Wish],
        force: bool,
    ) -> Result<Vec<Outcome>, StoreError> {
        // Which blocks there are decides nothing: each is read again before who uses addresses is.
        let snapshot = Snapshot::load(&*self.store.0).await?;
        let siblings = siblings(snapshot.blocks.values());
        let mut outcomes = vec![Outcome::NotAssigned; wishes.len()];
        let mut by_block: BTreeMap<IpNet, Vec<usize>> = BTreeMap::new();
        for (index, wish) in wishes.iter().enumerate() {
            let mut blocks = snapshot.blocks.values().map(|stored| stored.spec.cidr);
            if let Some(cidr) = blocks.find(|cidr| cidr.contains(&wish.address)) {
                by_block.entry(cidr).or_default().push(index);
            }
        }
        let mut fresh = BTreeMap::new();
        for cidr in by_block.keys() {
            fresh.insert(*cidr, self.block(*cidr).await?);
        }
        let mut users = self.users(force).await?;
        for (cidr, indices) in by_block {
            let mut stored = fresh.remove(&cidr).flatten();
            let mut last = None;
            for _ in 0..TRIES {
                let inside = indices.iter().map(|index| &wishes[*index]);
                let judge = |stored: &Stored<IPAMBlock>, wish: &Wish| {
                    judged(stored, wish, &siblings, &users, force)
                };
                match self.free_in(stored, inside.collect(), &judge).await {
                    Ok(freed) => {
                        for (index, freed) in indices.iter().zip(freed) {
                            outcomes[*index] = freed;
                        }
                        last = None;
                        break;
                    }
                    Err(error) if is_race(&error) => last = Some(error),
                    Err(error) => return Err(error),
                }
                stored = self.block(cidr).await?;
                users = self.users(force).await?;
            }
            if last.is_some() {
                return Err(too_often(last, &format!("block {cidr}")));
            }
        }
        Ok(outcomes)
    }

    /// In one write, and then the handles.
    async fn free_in(
        &self,
        stored: Option<Stored<IPAMBlock>>,
        wishes: Vec<&Wish>,
        judge: Judge<'_>,
    ) -> Result<Vec<Outcome>, StoreError> {
        let Some(mut stored) = stored else {
            return Ok(vec![Outcome::NotAssigned; wishes.len()]);
        };
        let verdicts: Vec<Result<String, Outcome>> =
            wishes.iter().map(|wish| judge(&stored, wish)).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let cooldown = self.rules().await?.cooldown();
        for (wish, verdict) in wishes.iter().zip(&verdicts) {
            if let Ok(handle) = verdict {
                let one = [wish.address];
                let now = self.now();
                let freed = block::release(&mut stored.spec, handle, &one, now, cooldown);
                *counts.entry(handle).or_default() += freed.len();
            }
        }
        let cidr = stored.spec.cidr;
        match stored.spec.affinity.is_none() && block::is_empty(&stored.spec) {
            _ if counts.is_empty() => {}
            true => self.store.delete(&stored).await?,
            false => drop(self.write_block(stored).await?),
        }
        for (handle, count) in counts {
            self.decrement(handle, &cidr, count).await?;
        }
        let outcome = |verdict| match verdict {
            Ok(handle) => Outcome::Freed { handle },
            Err(outcome) => outcome,
        };
        Ok(verdicts.into_iter().map(outcome).collect())
    }

    /// Who uses addresses at this moment; an error when not everything can be read.
    async fn users(&self, force: bool) -> Result<Users, StoreError> {
        if force {
            return Ok(Users::default());
        }
        let live = Snapshot::load_users(&*self.store.0).await?;
        match live.incomplete() {
            None => Ok(live.users()),
            Some(why) => Err(StoreError::Unavailable {
                what: "who uses addresses".to_owned(),
                why,
            }),
        }
    }

    /// Makes a handle count what blocks hold, or deletes it when that is nothing. Returns whether anything was written.
    pub async fn count_handle(&self, handle: &str) -> Result<bool, StoreError> {
        let stored = self.handle(handle).await?;
        let seen = stored.as_ref().map(|stored| &stored.revision);
        match self.count_anew(handle, &format!("{seen:?}")).await {
            Err(error) if is_race(&error) => Ok(false),
            outcome => outcome,
        }
    }
}

/// The handle that the address is to be freed from, or why it is not.
fn judged(
    stored: &Stored<IPAMBlock>,
    wish: &Wish,
    siblings: &HashMap<&str, Vec<IpAddr>>,
    users: &Users,
    force: bool,
) -> Result<String, Outcome> {
    let mut all = block::allocated(&stored.spec);
    let Some((_, attribute)) = all.find(|(address, _)| *address == wish.address) else {
        return Err(Outcome::NotAssigned);
    };
    let Some(handle) = &attribute.handle_id else {
        return Err(match attribute.released_at {
            Some(_) => Outcome::NotAssigned,
            None => Outcome::NoHandle,
        });
    };
    let numbers: &BTreeMap<String, u64> = &stored.spec.sequence_number_for_allocation;
    let ordinal = block::ordinal(&stored.spec.cidr, wish.address).unwrap_or_default();
    let number = numbers.get(&ordinal.to_string()).copied();
    let other_handle = wish.handle.as_ref().is_some_and(|wished| wished != handle);
    let other_number = wish.sequence_number.is_some() && wish.sequence_number != number;
    if other_handle || other_number {
        return Err(Outcome::Changed);
    }
    if force {
        return Ok(handle.clone());
    }
    let others = siblings.get(handle.as_str()).map_or(&[][..], Vec::as_slice);
    match judge(wish.address, attribute, others, users) {
        Verdict::Leaked(_) => Ok(handle.clone()),
        Verdict::InUse(user) => Err(Outcome::InUse(user)),
        Verdict::Unknown => Err(Outcome::Unknown(handle.clone())),
    }
}
