//! An address that its owner takes up again, long after it was given: the block is written, so that a collector that
//! has read it before does not free the address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::ipam::handles::{is_race, too_often};
use crate::ipam::{AssignRequest, Assigned, Ipam, TRIES, block, names};
use crate::resources::{IPAMBlock, Timestamp};
use crate::store::StoreError;

/// An address that was given less long ago is no collector's: its grace time must be longer than this.
pub const GRACE_MIN: Duration = Duration::from_secs(60);

impl Ipam {
    /// Renews the time in the attributes of what a request has already. What has been freed meanwhile is taken out
    /// of `assigned`. Requests without a time (of tunnels) are not judged by workloads, and nothing is written.
    pub(in crate::ipam) async fn take_up(
        &self,
        request: &AssignRequest,
        assigned: &mut Vec<Assigned>,
    ) -> Result<(), StoreError> {
        let Some(time) = request.attributes.get("timestamp") else {
            return Ok(());
        };
        let cidrs: BTreeSet<IpNet> = assigned.iter().map(|one| one.block).collect();
        for cidr in cidrs {
            let held = self.take_up_in(request, cidr, time).await?;
            assigned.retain(|one| one.block != cidr || held.contains(&one.address));
        }
        Ok(())
    }

    async fn take_up_in(
        &self,
        request: &AssignRequest,
        cidr: IpNet,
        time: &str,
    ) -> Result<Vec<IpAddr>, StoreError> {
        let mut last = None;
        for _ in 0..TRIES {
            let Some(mut stored) = self.block(cidr).await? else {
                return Ok(Vec::new());
            };
            let held = block::addresses_of(&stored.spec, &request.handle);
            let old = |at: Timestamp| at.age(self.now()) >= GRACE_MIN;
            if !renew(&mut stored.spec, &held, time, old) {
                return Ok(held);
            }
            match self.write_block(stored).await {
                Ok(_) => return Ok(held),
                Err(error) if is_race(&error) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        let what = format!("IPAMBlock {}", names::block(&cidr));
        Err(too_often(last, &what))
    }
}

/// Whether there was something to renew.
fn renew(
    spec: &mut IPAMBlock,
    held: &[IpAddr],
    time: &str,
    is_old: impl Fn(Timestamp) -> bool,
) -> bool {
    let mut renewed = false;
    for address in held {
        let ordinal = block::ordinal(&spec.cidr, *address);
        let index = ordinal.and_then(|ordinal| *spec.allocations.get(ordinal)?);
        let Some(attribute) = index.and_then(|index| spec.attributes.get_mut(index)) else {
            continue;
        };
        if let Some(given) = attribute.secondary.get_mut("timestamp")
            && given.parse().is_ok_and(&is_old)
        {
            time.clone_into(given);
            renewed = true;
        }
    }
    renewed
}
