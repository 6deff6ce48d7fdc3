//! Reads who has which address straight from the manifests, by other code than the product's.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use serde_yaml::Value;

/// Handles of pods begin with the network's name.
pub const HANDLE_OF_PODS: &str = "k8s-pod-network.";

/// All blocks of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allocations {
    /// Block and the node that it is affine to.
    pub blocks: BTreeMap<IpNet, Option<String>>,
    /// Address, its handle and its block.
    pub addresses: BTreeMap<IpAddr, (String, IpNet)>,
    /// Handles and how many addresses each claims to have.
    pub handles: BTreeMap<String, u64>,
}

impl Allocations {
    /// Reads the folder.
    pub fn read(store: &Path) -> Result<Allocations> {
        let mut found = Allocations::default();
        for document in documents(&store.join("ipamblock"))? {
            found
                .add_block(&document["spec"])
                .with_context(|| format!("{document:?}"))?;
        }
        for document in documents(&store.join("ipamhandle"))? {
            let name = document["spec"]["handleID"]
                .as_str()
                .context("handleID")?
                .to_owned();
            let counts = document["spec"]["block"].as_mapping().into_iter().flatten();
            let count = counts.filter_map(|(_, count)| count.as_u64()).sum();
            found.handles.insert(name, count);
        }
        Ok(found)
    }

    /// Addresses of pods and their handles.
    pub fn of_pods(&self) -> impl Iterator<Item = (IpAddr, String)> + '_ {
        let pods = self
            .addresses
            .iter()
            .filter(|(_, (handle, _))| handle.starts_with(HANDLE_OF_PODS));
        pods.map(|(address, (handle, _))| (*address, handle.clone()))
    }

    fn add_block(&mut self, spec: &Value) -> Result<()> {
        let cidr: IpNet = spec["cidr"].as_str().context("cidr")?.parse()?;
        let affinity = spec["affinity"]
            .as_str()
            .and_then(|text| text.strip_prefix("host:"))
            .map(str::to_owned);
        self.blocks.insert(cidr, affinity);
        let allocations = spec["allocations"].as_sequence().context("allocations")?;
        let free: Vec<_> = spec["unallocated"]
            .as_sequence()
            .into_iter()
            .flatten()
            .filter_map(Value::as_u64)
            .collect();
        for (ordinal, allocation) in (0u64..).zip(allocations) {
            ensure!(
                allocation.is_null() == free.contains(&ordinal),
                "ordinal {ordinal} of {cidr} is both free and taken, or neither"
            );
            let Some(index) = allocation.as_u64() else {
                continue;
            };
            let attribute = &spec["attributes"][usize::try_from(index)?];
            let Some(handle) = attribute["handle_id"].as_str() else {
                continue;
            };
            let address = nth(cidr, ordinal);
            self.addresses.insert(address, (handle.to_owned(), cidr));
        }
        Ok(())
    }
}

fn nth(block: IpNet, ordinal: u64) -> IpAddr {
    match block.network() {
        IpAddr::V4(first) => std::net::Ipv4Addr::from_bits(first.to_bits() + ordinal as u32).into(),
        IpAddr::V6(first) => {
            std::net::Ipv6Addr::from_bits(first.to_bits() + u128::from(ordinal)).into()
        }
    }
}

fn documents(folder: &Path) -> Result<Vec<Value>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(Vec::new());
    };
    let mut documents = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        // A file may be gone between listing and reading.
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        documents.push(serde_yaml::from_str(&text).with_context(|| format!("{}", path.display()))?);
    }
    Ok(documents)
}
