//! `ipam split`: several smaller pools in place of one. Blocks and addresses belong to a pool by their CIDR alone, so
//! they stay.
//!
//! The new pools are made before the old one goes, so that at no time an address is in no pool: without one, its node would not
//! know how to reach it. A split that was cut short finds its own pools and goes on.

use std::sync::Arc;

use caracal_datastore::{Datastore, IPPool, Kind, Object, StoreError, Stored, resources};
use ipnet::IpNet;
use serde_json::json;

use crate::cli::SplitArgs;
use crate::datastore::lock;
use crate::failure::{Failure, Sort};
use crate::outcome::Outcome;

/// The command.
pub(crate) async fn split(
    store: &Arc<dyn Datastore>,
    args: &SplitArgs,
) -> Result<Outcome, Failure> {
    if !lock::is_locked(store).await? {
        return Err(failed(
            "the datastore is not locked, and addresses that are given meanwhile could be lost: `caracalctl datastore lock` first",
        ));
    }
    let pools = store.list(Kind::IPPool).await?;
    let old = wanted(&pools, args)?;
    let pool = Stored::<IPPool>::from_object(&old)?.spec;
    let parts = parts(&old, &pool, args.number)?;
    refuse_if_others_overlap(&pools, &old, &parts)?;
    let mut said = String::new();
    for part in &parts {
        match store.create(part.clone()).await {
            Ok(_) => said.push_str(&format!("{} created: {}\n", part.key, cidr(part))),
            Err(StoreError::Exists(_)) => {
                let there = store.get(&part.key).await?;
                if there.is_none_or(|there| there.spec != part.spec) {
                    let words = format!("{} exists already, and is something else", part.key);
                    return Err(failed(words));
                }
                said.push_str(&format!("{} is there already: {}\n", part.key, cidr(part)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    store.delete(&old.key, old.revision.as_ref()).await?;
    said.push_str(&format!(
        "{} deleted: it is now {} pools\n",
        old.key,
        parts.len()
    ));
    Ok(Outcome::text(said))
}

/// The pool that is meant.
fn wanted(pools: &[Object], args: &SplitArgs) -> Result<Object, Failure> {
    let is_meant = |pool: &&Object| match (&args.name, args.cidr) {
        (Some(name), None) => pool.key.name == *name,
        (None, Some(wanted)) => cidr(pool).parse() == Ok(wanted),
        (Some(name), Some(wanted)) => pool.key.name == *name && cidr(pool).parse() == Ok(wanted),
        (None, None) => false,
    };
    let not_found = || {
        let named = args.name.iter().map(|name| format!("of the name {name}"));
        let with_cidr = args.cidr.iter().map(|cidr| format!("with the CIDR {cidr}"));
        let words: Vec<String> = named.chain(with_cidr).collect();
        Failure::new(
            Sort::NotFound,
            format!("there is no IPPool {}", words.join(" ")),
        )
    };
    // Of two with one CIDR, which no Calico makes, neither is more meant.
    let mut meant = pools.iter().filter(is_meant);
    let first = meant.next().ok_or_else(not_found)?;
    match meant.next() {
        None => Ok(first.clone()),
        Some(other) => Err(failed(format!(
            "{} and {} have this CIDR: --name says which",
            first.key, other.key
        ))),
    }
}

/// The pools that it becomes, which have all that it had but its name and CIDR.
fn parts(old: &Object, pool: &IPPool, number: u32) -> Result<Vec<Object>, Failure> {
    if number < 2 || !number.is_power_of_two() {
        let words = format!("{number} is not a power of two from 2 on");
        return Err(Failure::new(Sort::Usage, words));
    }
    let bits = number.trailing_zeros();
    let length = u32::from(pool.cidr.prefix_len()) + bits;
    if length > u32::from(pool.block_prefix_length()) {
        return Err(failed(format!(
            "{}: {} cannot become {number} pools: a /{length} has no room for a block, which is a /{}",
            old.key,
            pool.cidr,
            pool.block_prefix_length()
        )));
    }
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    let subnets = match pool.cidr {
        IpNet::V4(cidr) => cidr.subnets(length).map(|all| all.map(IpNet::V4).collect()),
        IpNet::V6(cidr) => cidr.subnets(length).map(|all| all.map(IpNet::V6).collect()),
    };
    let subnets: Vec<IpNet> = subnets.map_err(|error| failed(format!("{}: {error}", old.key)))?;
    let parts = subnets.into_iter().enumerate();
    Ok(parts.map(|(index, cidr)| part(old, index, cidr)).collect())
}

fn part(old: &Object, index: usize, cidr: IpNet) -> Object {
    let mut part = old.clone();
    let end = format!("-{index}");
    let room = NAME_MAX - BEGINNING.len() - end.len();
    // Names are DNS names, of one octet a letter.
    let name: String = old.key.name.chars().take(room).collect();
    part.key.name = format!("{BEGINNING}{name}{end}");
    part.metadata.name.clone_from(&part.key.name);
    part.metadata.extra.clear();
    part.revision = None;
    if let Some(fields) = part.spec.as_object_mut() {
        fields.insert("cidr".to_owned(), json!(cidr.to_string()));
    }
    part
}

/// A pool beside the old one that overlaps it would overlap a new one, and be nobody's choice.
fn refuse_if_others_overlap(
    pools: &[Object],
    old: &Object,
    parts: &[Object],
) -> Result<(), Failure> {
    let others = pools
        .iter()
        .filter(|pool| pool.key != old.key && !parts.iter().any(|part| part.key == pool.key));
    let all = others
        .chain(parts)
        .filter_map(|pool| Stored::from_object(pool).ok());
    let all: Vec<Stored<IPPool>> = all.collect();
    let overlaps = resources::overlaps(&all);
    let ours = |fault: &&String| parts.iter().any(|part| fault.contains(&part.key.name));
    match overlaps.iter().find(ours) {
        Some(fault) => Err(failed(fault.clone())),
        None => Ok(()),
    }
}

fn cidr(pool: &Object) -> &str {
    pool.spec["cidr"].as_str().unwrap_or_default()
}

fn failed(words: impl Into<String>) -> Failure {
    Failure::new(Sort::Failed, words)
}

/// As Calico names them.
const BEGINNING: &str = "split-";
/// Of a name in Kubernetes.
const NAME_MAX: usize = 253;

#[cfg(test)]
mod tests;
