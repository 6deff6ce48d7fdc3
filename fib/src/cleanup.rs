//! Leaves the kernel as it was before us: everything with our signature goes, and what we changed of others' is put back.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;

use ipnet::IpNet;

use crate::before::FormerIpip;
use crate::gate;
use crate::handle::FibError;
use crate::kernel::{
    DeviceChange, Kernel, Key, Link, LinkKind, Object, ObjectId, Refusal, Spec, Tables, Write,
};
use crate::model::Config;
use crate::netlink::Netlink;
use crate::resolve::{IPIP_DEVICE, VXLAN_DEVICE, VXLAN_V6_DEVICE};
use crate::sysctl::Sysctls;
use crate::world::World;

/// What there was of ours, and so what was removed or put back, unless it stands among the failures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Routes with our protocol number.
    pub routes_v4: usize,
    /// The same, IPv6.
    pub routes_v6: usize,
    /// Nexthop objects with our protocol number.
    pub nexthops: usize,
    /// Static neighbours on devices of workloads.
    pub neighbours: usize,
    /// VXLAN devices, with how many forwarding entries and neighbours they had.
    pub devices: Vec<(String, usize)>,
    /// What `tunl0` is like again: `mtu 1480, down, no address`. `None`: it is as it was.
    pub ipip: Option<String>,
    /// Sysctls, with slashes, and their former values.
    pub sysctls: Vec<(String, String)>,
    /// One sentence each.
    pub failures: Vec<String>,
}

/// Removes everything of ours from the current network namespace, and puts back what was changed of others', as far as
/// [`Config::before_file`] knows it. Nothing may be at work here meanwhile. With `dry_run` it only looks.
///
/// Must be called within a tokio runtime. An error means that the kernel could not be read, and that nothing was changed.
pub async fn cleanup(config: &Config, dry_run: bool) -> Result<Cleaned, FibError> {
    let failed = |error: io::Error| FibError::Netlink(error.to_string());
    // Whoever reads the events is gone at once; nobody needs them here.
    let (mut kernel, _) = Netlink::open().map_err(failed)?;
    let cleaned = clean(&mut kernel, config, dry_run).await;
    cleaned.map_err(|refusal| FibError::Netlink(refusal.reason))
}

async fn clean<K: Kernel>(
    kernel: &mut K,
    config: &Config,
    dry_run: bool,
) -> Result<Cleaned, Refusal> {
    let found = kernel.read_devices().await?;
    let tables = kernel.read_tables().await?;
    let sysctls = Sysctls::new(
        config.sysctl_root.clone(),
        config.before_file.clone(),
        config.device_prefixes.clone(),
    );
    let mut cleaned = Cleaned::default();
    let world = World::new(found.links, found.addresses);
    let ours = routes_of_ours(&tables, config.protocol);
    cleaned.routes_v4 = ours
        .iter()
        .filter(|(key, _)| key.prefix.addr().is_ipv4())
        .count();
    cleaned.routes_v6 = ours.len() - cleaned.routes_v4;
    let (objects, lent) = objects_of_ours(&tables, config.protocol);
    cleaned.nexthops = objects.len();
    cleaned.failures.extend(lent.iter().map(|(id, user)| {
        format!("nexthop object {id} stays: {user} uses it; `ip nexthop del id {id}` removes both")
    }));
    let neighbours: Vec<DeviceChange> = tables
        .neighbours
        .iter()
        .filter(|(key, _)| {
            let name = world.name(key.device());
            name.is_some_and(|name| config.device_prefixes.fit(name))
        })
        .map(|(key, value)| DeviceChange::DeleteNeighbour(*key, *value))
        .collect();
    cleaned.neighbours = neighbours.len();
    let vxlans = [VXLAN_DEVICE, VXLAN_V6_DEVICE]
        .into_iter()
        .filter_map(|name| world.named(name))
        .filter(|link| matches!(link.kind, LinkKind::Vxlan(_)));
    let mut devices = Vec::new();
    for link in vxlans {
        let entries = tables.neighbours.iter();
        let entries = entries.filter(|(key, _)| key.device() == link.index);
        cleaned.devices.push((link.name.clone(), entries.count()));
        devices.push(DeviceChange::DeleteLink(link.index));
    }
    let mut ipip = Vec::new();
    if let (Some(former), Some(link)) = (&sysctls.before.former().ipip, world.named(IPIP_DEVICE)) {
        ipip = back_to(former, link, world.addresses(link.index));
        cleaned.ipip = (!ipip.is_empty()).then(|| former.to_string());
    }
    cleaned.sysctls = sysctls.changed();
    // These go with their devices.
    let removed = |path: &str| {
        let mut names = cleaned.devices.iter().map(|(name, _)| name);
        names.any(|name| path.split('/').any(|part| part == name))
    };
    cleaned.sysctls.retain(|(path, _)| !removed(path));
    if dry_run {
        return Ok(cleaned);
    }

    // Routes first: with a device the kernel would remove only those that lead there.
    delete_routes(kernel, config.protocol, ours, &mut cleaned.failures).await?;
    delete_objects(kernel, config.protocol, &objects, &mut cleaned.failures).await?;
    for change in neighbours.iter().chain(&devices).chain(&ipip) {
        match kernel.change(change).await {
            Err(refusal) if !GONE.contains(&refusal.errno) => {
                cleaned.failures.push(format!("{change:?}: {refusal}"));
            }
            _ => {}
        }
    }
    for (path, value) in &cleaned.sysctls {
        if let Err(reason) = sysctls.put_back(path, value) {
            cleaned.failures.push(reason);
        }
    }
    // What was not put back is needed for the next try.
    if cleaned.failures.is_empty()
        && let Err(error) = sysctls.before.forget()
    {
        let file = config.before_file.clone().unwrap_or_default();
        cleaned
            .failures
            .push(format!("{}: {error}", file.display()));
    }
    Ok(cleaned)
}

fn routes_of_ours(tables: &Tables, protocol: u8) -> Vec<(Key, Spec)> {
    let routes = tables.routes.iter();
    routes
        .filter(|(_, spec)| spec.protocol == protocol)
        .cloned()
        .collect()
}

/// Reads again after each round: of two routes with the same key, only one was seen by the kernel as meant.
async fn delete_routes<K: Kernel>(
    kernel: &mut K,
    protocol: u8,
    mut ours: Vec<(Key, Spec)>,
    failures: &mut Vec<String>,
) -> Result<(), Refusal> {
    for _ in 0..ROUNDS {
        for batch in ours.chunks(BATCH) {
            let writes: Vec<Write> = batch
                .iter()
                .map(|(key, spec)| Write::Delete {
                    key: *key,
                    spec: spec.clone(),
                })
                .collect();
            if let Err(error) = kernel.write(&writes) {
                tracing::debug!(%error, "a batch of deletions has no answer; reading the kernel");
            }
        }
        ours = routes_of_ours(&kernel.read_tables().await?, protocol);
        if ours.is_empty() {
            return Ok(());
        }
    }
    let (key, _) = &ours[0];
    failures.push(format!(
        "{} routes cannot be deleted, or somebody makes them again: {} and others",
        ours.len(),
        key.prefix
    ));
    Ok(())
}

/// Groups before their members. And those that others use, each with one who does: with the object he would lose his route.
fn objects_of_ours(tables: &Tables, protocol: u8) -> (Vec<ObjectId>, BTreeMap<ObjectId, String>) {
    let objects = || tables.objects.iter().flatten();
    let mut lent = BTreeMap::new();
    for (key, spec) in &tables.routes {
        if let Some(id) = spec.object().filter(|_| spec.protocol != protocol) {
            let protocol = gate::protocol_name(spec.protocol);
            let user = format!("the route to {} of protocol {protocol}", key.prefix);
            lent.insert(id, user);
        }
    }
    for (id, group) in objects() {
        if group.protocol != protocol || lent.contains_key(id) {
            let members = group.members().iter();
            lent.extend(members.map(|member| (member.id, format!("the group {id}"))));
        }
    }
    let ours: HashMap<ObjectId, &Object> = objects()
        .filter(|(_, object)| object.protocol == protocol)
        .map(|(id, object)| (*id, object))
        .collect();
    lent.retain(|id, _| ours.contains_key(id));
    let mut others: Vec<(bool, ObjectId)> = ours
        .into_iter()
        .filter(|(id, _)| !lent.contains_key(id))
        .map(|(id, object)| (object.members().is_empty(), id))
        .collect();
    others.sort_unstable();
    (others.into_iter().map(|(_, id)| id).collect(), lent)
}

async fn delete_objects<K: Kernel>(
    kernel: &mut K,
    protocol: u8,
    objects: &[ObjectId],
    failures: &mut Vec<String>,
) -> Result<(), Refusal> {
    if objects.is_empty() {
        return Ok(());
    }
    for batch in objects.chunks(BATCH) {
        let writes: Vec<Write> = batch
            .iter()
            .map(|id| Write::DeleteObject { id: *id })
            .collect();
        if let Err(error) = kernel.write(&writes) {
            tracing::debug!(%error, "a batch of deletions has no answer; reading the kernel");
        }
    }
    let (left, _) = objects_of_ours(&kernel.read_tables().await?, protocol);
    if let Some(id) = left.first() {
        failures.push(format!(
            "{} nexthop objects cannot be deleted, or somebody makes them again: {id} and others",
            left.len()
        ));
    }
    Ok(())
}

/// The changes after which the device is as it was.
fn back_to(former: &FormerIpip, link: &Link, addresses: &[IpNet]) -> Vec<DeviceChange> {
    let index = link.index;
    let gone = addresses.iter().filter(|a| !former.addresses.contains(a));
    let mut changes: Vec<DeviceChange> = gone
        .map(|address| DeviceChange::DeleteAddress(index, *address))
        .collect();
    let missing = former.addresses.iter().filter(|a| !addresses.contains(a));
    changes.extend(missing.map(|address| DeviceChange::AddAddress(index, *address)));
    if link.mtu != former.mtu {
        changes.push(DeviceChange::SetMtu(index, former.mtu));
    }
    if link.up != former.up {
        changes.push(DeviceChange::SetUp(index, former.up));
    }
    changes
}

/// The change is not needed any more.
const GONE: [i32; 4] = [libc::ENOENT, libc::ESRCH, libc::ENODEV, libc::EADDRNOTAVAIL];
const ROUNDS: usize = 3;
const BATCH: usize = 256;
