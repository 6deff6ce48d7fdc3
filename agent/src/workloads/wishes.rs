//! What a Pod and its Namespace ask of their network, in Calico's annotations: pools, addresses, families, a MAC.
//!
//! ```text
//!   cni.projectcalico.org/…      Pod   Namespace   value
//!   ipv4pools, ipv6pools          1st     2nd      ["name", "10.65.0.0/16"]; else what the network's configuration says
//!   ipAddrs                       yes              ["10.65.0.7", "fd00::7"], one of a family; no other addresses then
//!   ipFamilies                    yes              ["IPv4"]
//!   hwAddr                        yes              "1c:0c:0a:c0:ff:ee"
//! ```
//!
//! They are of the pod's first interface: of two, both would ask for the same address. `ipAddrsNoIpam` is refused, because an
//! endpoint enters the FIB only with addresses of IPAM.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use caracal_agent_api::CniAdd;
use caracal_datastore::ipam::{AssignRequest, IpamError};
use caracal_datastore::{Key, Kind};
use ipnet::IpNet;

use super::requests::FIRST_INTERFACE;
use super::{Refusal, Workloads, parse_mac};
use crate::ways::Pool;

const IPV4_POOLS: &str = "cni.projectcalico.org/ipv4pools";
const IPV6_POOLS: &str = "cni.projectcalico.org/ipv6pools";
const ADDRESSES: &str = "cni.projectcalico.org/ipAddrs";
const ADDRESSES_NO_IPAM: &str = "cni.projectcalico.org/ipAddrsNoIpam";
const FAMILIES: &str = "cni.projectcalico.org/ipFamilies";
const MAC: &str = "cni.projectcalico.org/hwAddr";

/// An annotation: whose, which, and what it says. For sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin(String);

/// What is asked for, and by which annotation; `None`: by the network's configuration, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked<T> {
    value: T,
    origin: Option<Origin>,
}

/// What one interface shall get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wishes {
    ipv4_pools: Asked<Vec<String>>,
    ipv6_pools: Asked<Vec<String>>,
    addresses: Asked<Vec<IpAddr>>,
    ipv4: bool,
    ipv6: bool,
    pub(super) mac: Option<[u8; 6]>,
}

type Annotations = BTreeMap<String, String>;

impl Workloads {
    /// What the request's network configuration asks for, and its Pod and Namespace as they are now.
    pub(super) async fn wishes(&self, request: &CniAdd) -> Result<Wishes, Refusal> {
        let configured = Wishes::configured(request);
        let (Some(namespace), Some(pod)) = (&request.namespace, &request.pod) else {
            return Ok(configured);
        };
        if request.ifname != FIRST_INTERFACE {
            return Ok(configured);
        }
        let key = Key::new(Kind::Namespace, namespace);
        let (of_pod, of_namespace) =
            tokio::join!(self.store.pod(namespace, pod), self.store.get(&key));
        let later = |fault: &dyn std::fmt::Display| {
            Refusal::Later(format!("container {}: {fault}", request.container_id))
        };
        let of_pod = of_pod.map_err(|fault| later(&fault))?;
        let of_namespace = of_namespace.map_err(|fault| later(&fault))?;
        let of_pod = of_pod.map(|metadata| metadata.annotations);
        let of_namespace = of_namespace.map(|object| object.metadata.annotations);
        let pools = self.state().circumstances.pools.clone();
        configured
            .annotated(
                (&format!("{namespace}/{pod}"), &of_pod.unwrap_or_default()),
                (namespace, &of_namespace.unwrap_or_default()),
                &pools,
            )
            .map_err(Refusal::Wrong)
    }
}

impl Wishes {
    fn configured(request: &CniAdd) -> Wishes {
        fn unannotated<T>(value: T) -> Asked<T> {
            Asked {
                value,
                origin: None,
            }
        }
        Wishes {
            ipv4_pools: unannotated(request.ipv4_pools.clone()),
            ipv6_pools: unannotated(request.ipv6_pools.clone()),
            addresses: unannotated(request.addresses.clone()),
            ipv4: true,
            ipv6: true,
            mac: None,
        }
    }

    /// With what Pod and Namespace say, each by its name and annotations. `known` are the cluster's pools.
    fn annotated(
        mut self,
        (pod, of_pod): (&str, &Annotations),
        (namespace, of_namespace): (&str, &Annotations),
        known: &[Pool],
    ) -> Result<Wishes, String> {
        let said =
            |key: &str| text_of(of_pod, key).map(|text| (origin("pod", pod, key, text), text));
        let inherited = |key: &str| {
            let text = text_of(of_namespace, key)?;
            Some((origin("namespace", namespace, key, text), text))
        };
        for (key, ipv4, pools) in [
            (IPV4_POOLS, true, &mut self.ipv4_pools),
            (IPV6_POOLS, false, &mut self.ipv6_pools),
        ] {
            if let Some((origin, text)) = said(key).or_else(|| inherited(key)) {
                *pools = Asked {
                    value: pools_in(text, ipv4, known).map_err(|why| origin.fault(&why))?,
                    origin: Some(origin),
                };
            }
        }
        if let Some((origin, _)) = said(ADDRESSES_NO_IPAM) {
            let why = format!("every address is IPAM's here; {ADDRESSES} asks for a certain one");
            return Err(origin.fault(&why));
        }
        if let Some((origin, text)) = said(ADDRESSES) {
            self.addresses = Asked {
                value: addresses_in(text).map_err(|why| origin.fault(&why))?,
                origin: Some(origin),
            };
        }
        if let Some((origin, text)) = said(FAMILIES) {
            (self.ipv4, self.ipv6) = families_in(text).map_err(|why| origin.fault(&why))?;
        }
        if let Some((origin, text)) = said(MAC) {
            self.mac = Some(mac_in(text).map_err(|why| origin.fault(&why))?);
        }
        Ok(self)
    }

    /// Puts them into a request, which knows whose it is. The families are those of which there are pools.
    pub(super) fn ask(&self, request: AssignRequest, ipv4: bool, ipv6: bool) -> AssignRequest {
        let any = self.addresses.value.is_empty();
        AssignRequest {
            ipv4: any && ipv4 && self.ipv4,
            ipv6: any && ipv6 && self.ipv6,
            ipv4_pools: self.ipv4_pools.value.clone(),
            ipv6_pools: self.ipv6_pools.value.clone(),
            addresses: self.addresses.value.clone(),
            ..request
        }
    }

    /// Why there are no addresses; names the annotations by which they were asked for.
    pub(super) fn refusal(&self, fault: &IpamError) -> Refusal {
        let pools = [&self.ipv4_pools, &self.ipv6_pools];
        let origins: Vec<&Origin> = match fault {
            IpamError::NotAvailable { .. } => self.addresses.origin.iter().collect(),
            IpamError::NoPool(_) | IpamError::Exhausted(_) => pools
                .iter()
                .filter_map(|asked| asked.origin.as_ref())
                .collect(),
            IpamError::Store(_) => Vec::new(),
        };
        let origins: Vec<&str> = origins.iter().map(|origin| origin.0.as_str()).collect();
        let why = match origins.is_empty() {
            true => fault.to_string(),
            false => format!("{}: {fault}", origins.join("; ")),
        };
        match fault {
            IpamError::NotAvailable { .. } => Refusal::Wrong(why),
            // Somebody must change the request; a pool that comes later is named the same way.
            IpamError::NoPool(_) if pools.iter().any(|asked| !asked.value.is_empty()) => {
                Refusal::Wrong(why)
            }
            _ => Refusal::Later(why),
        }
    }
}

impl Origin {
    fn fault(&self, why: &str) -> String {
        format!("{}: {why}", self.0)
    }
}

fn origin(what: &str, name: &str, key: &str, text: &str) -> Origin {
    let shown: String = text.chars().take(SHOWN_MAX).collect();
    let rest = if shown.len() < text.len() { "…" } else { "" };
    Origin(format!("{what} {name}: annotation {key}: {shown}{rest}"))
}

/// An empty one says nothing, as in Calico.
fn text_of<'a>(annotations: &'a Annotations, key: &str) -> Option<&'a str> {
    let text = annotations.get(key).map(String::as_str);
    text.filter(|text| !text.trim().is_empty())
}

fn list(text: &str, of: &str) -> Result<Vec<String>, String> {
    serde_json::from_str(text).map_err(|error| format!("is no JSON list of {of}: {error}"))
}

fn pools_in(text: &str, ipv4: bool, known: &[Pool]) -> Result<Vec<String>, String> {
    let wanted = list(text, "names or CIDRs of pools")?;
    for one in &wanted {
        let cidr: Option<IpNet> = one.parse().ok();
        let of_name = || {
            known
                .iter()
                .find(|pool| pool.name == *one)
                .map(|pool| pool.cidr)
        };
        // One that is not known yet is IPAM's to judge.
        if let Some(cidr) = cidr.or_else(of_name)
            && cidr.addr().is_ipv4() != ipv4
        {
            let family = if ipv4 { "IPv4" } else { "IPv6" };
            return Err(format!("{one} is no {family} pool"));
        }
    }
    Ok(wanted)
}

/// One of a family, as the CNI plugin's result has room for.
fn addresses_in(text: &str) -> Result<Vec<IpAddr>, String> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for one in list(text, "addresses")? {
        let address: IpAddr = one
            .parse()
            .map_err(|_| format!("{one:?} is not an address"))?;
        let of_family = addresses
            .iter()
            .find(|other| other.is_ipv4() == address.is_ipv4());
        if let Some(other) = of_family {
            return Err(format!(
                "{other} and {address} are of one family; a pod gets one of each"
            ));
        }
        addresses.push(address);
    }
    match addresses.is_empty() {
        true => Err("names no address".to_owned()),
        false => Ok(addresses),
    }
}

fn families_in(text: &str) -> Result<(bool, bool), String> {
    let families: BTreeSet<String> = list(text, "families")?.into_iter().collect();
    let unknown = families
        .iter()
        .find(|one| !matches!(one.as_str(), "IPv4" | "IPv6"));
    if let Some(unknown) = unknown {
        return Err(format!("{unknown:?} is neither IPv4 nor IPv6"));
    }
    match families.is_empty() {
        true => Err("names no family".to_owned()),
        false => Ok((families.contains("IPv4"), families.contains("IPv6"))),
    }
}

/// The kernel gives no interface a group's address, and none of zeros.
fn mac_in(text: &str) -> Result<[u8; 6], String> {
    match parse_mac(text.trim()) {
        Some(mac) if mac != [0; 6] && mac[0] & 1 == 0 => Ok(mac),
        Some(_) => Err("is not the address of one interface".to_owned()),
        None => Err("is not a MAC address".to_owned()),
    }
}

/// Of an annotation in a sentence, in characters.
const SHOWN_MAX: usize = 200;

#[cfg(test)]
mod tests;
