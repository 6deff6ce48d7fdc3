//! The network configuration on standard input.
//!
//! | key | meaning | absent |
//! |---|---|---|
//! | `cniVersion`, `name`, `type` | as in the specification | an error (`type`: not looked at) |
//! | `socket` | the agent's socket | `/run/caracal/agent.sock` |
//! | `spool` | folder for DELs that the agent has not heard of ([`crate::spool`]) | `/var/lib/caracal/cni` |
//! | `mtu` | MTU of both ends of the pair; 0: what the agent says | 0 |
//! | `ipam.type` | `caracal-ipam` or `calico-ipam`: the agent assigns | the agent assigns |
//! | `ipam.ipv4_pools`, `ipam.ipv6_pools` | pools by name or CIDR | all that serve the node |
//! | `container_settings.allow_ip_forwarding` | leave forwarding on inside the pod | off |
//! | `dns` | handed through into the result | |
//! | `runtimeConfig.ips`, `args.cni.ips` | addresses asked for | |
//! | `prevResult`, `cni.dev/valid-attachments` | as in the specification | |
//!
//! Everything else is ignored, so that a configuration written for Calico works as it is: `log_level`,
//! `datastore_type`, `nodename`, `policy`, `kubernetes` and so on. Pods get an address of each family that a
//! pool serves, so `ipam.assign_ipv4` and `ipam.assign_ipv6` say nothing new.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::env::parse_address;
use crate::error::{CniError, Code};
use crate::result::Success;
use crate::version::Version;

/// A configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// `cniVersion`.
    pub(crate) version: Version,
    /// `name`.
    pub(crate) name: String,
    /// The agent's socket.
    pub(crate) socket: PathBuf,
    /// The spool.
    pub(crate) spool: PathBuf,
    /// MTU in octets; `None`: what the agent says.
    pub(crate) mtu: Option<u32>,
    /// Pools by name or CIDR.
    pub(crate) ipv4_pools: Vec<String>,
    /// The same for IPv6.
    pub(crate) ipv6_pools: Vec<String>,
    /// Addresses asked for.
    pub(crate) addresses: Vec<IpAddr>,
    /// Forwarding stays as it is inside the pod.
    pub(crate) forwarding: bool,
    /// `dns`, for the result.
    pub(crate) dns: Option<Value>,
    /// What an earlier plugin, or our own ADD, returned: [`Config::earlier`] reads it.
    pub(crate) prev_result: Option<Value>,
    /// Container IDs and interface names that the runtime still knows (GC).
    pub(crate) valid_attachments: Option<Vec<(String, String)>>,
}

/// The `cniVersion` of a text that may be wrong otherwise: errors are told in it.
pub(crate) fn version_of(text: &[u8]) -> String {
    serde_json::from_slice::<Value>(text)
        .ok()
        .and_then(|value| value["cniVersion"].as_str().map(str::to_owned))
        .unwrap_or_else(|| Version::NEWEST.as_str().to_owned())
}

impl Config {
    /// Reads and checks.
    pub(crate) fn parse(text: &[u8]) -> Result<Config, CniError> {
        let value: Value = serde_json::from_slice(text).map_err(|error| {
            CniError::new(
                Code::Decode,
                format!("network config on stdin is not JSON: {error}"),
            )
        })?;
        let Value::Object(map) = value else {
            return Err(CniError::new(
                Code::Decode,
                "network config on stdin is not a JSON object",
            ));
        };
        let root = Section {
            path: String::new(),
            map,
        };
        let version = version(&root)?;
        let name: String = root.field("name")?.unwrap_or_default();
        if name.is_empty() {
            return Err(invalid("name is missing"));
        }
        let ipam = root.section("ipam")?;
        if let Some(kind) = ipam.field::<String>("type")?
            && !matches!(kind.as_str(), "" | "caracal-ipam" | "calico-ipam")
        {
            return Err(CniError::new(
                Code::UnsupportedField,
                format!(
                    "network {name}: ipam.type {kind} is not supported: the agent assigns addresses"
                ),
            ));
        }
        let mut addresses = root.section("runtimeConfig")?.addresses("ips")?;
        addresses.extend(root.section("args")?.section("cni")?.addresses("ips")?);
        Ok(Config {
            version,
            name,
            socket: root
                .field("socket")?
                .unwrap_or_else(|| PathBuf::from(caracal_agent_api::SOCKET_DEFAULT)),
            spool: root
                .field("spool")?
                .unwrap_or_else(|| PathBuf::from(SPOOL_DEFAULT)),
            mtu: root.field::<u32>("mtu")?.filter(|mtu| *mtu != 0),
            ipv4_pools: ipam.field("ipv4_pools")?.unwrap_or_default(),
            ipv6_pools: ipam.field("ipv6_pools")?.unwrap_or_default(),
            addresses,
            forwarding: root
                .section("container_settings")?
                .field("allow_ip_forwarding")?
                .unwrap_or(false),
            dns: root.field("dns")?,
            prev_result: root.field("prevResult")?,
            valid_attachments: valid_attachments(&root)?,
        })
    }

    /// `prevResult`. It is read by those who need it, so that a DEL works with whatever stands there.
    pub(crate) fn earlier(&self) -> Result<Option<Success>, CniError> {
        self.prev_result
            .as_ref()
            .map(|value| Success::parse(value).map_err(|why| invalid(format!("prevResult: {why}"))))
            .transpose()
    }
}

fn version(root: &Section) -> Result<Version, CniError> {
    let asked: String = root.field("cniVersion")?.unwrap_or_default();
    Version::parse(&asked).ok_or_else(|| {
        let what = if asked.is_empty() {
            "network config has no cniVersion".to_owned()
        } else {
            format!("cniVersion {asked} is not supported")
        };
        CniError::new(
            Code::IncompatibleVersion,
            format!("{what}: caracal-cni speaks {}", Version::all_in_words()),
        )
    })
}

fn valid_attachments(root: &Section) -> Result<Option<Vec<(String, String)>>, CniError> {
    let key = "cni.dev/valid-attachments";
    let Some(list) = root.field::<Vec<Value>>(key)? else {
        return Ok(None);
    };
    list.iter()
        .map(
            |entry| match (entry["containerID"].as_str(), entry["ifname"].as_str()) {
                (Some(container), Some(ifname)) => Ok((container.to_owned(), ifname.to_owned())),
                _ => Err(invalid(format!(
                    "{key}: {entry} has no containerID or no ifname"
                ))),
            },
        )
        .collect::<Result<_, _>>()
        .map(Some)
}

/// An object of the configuration that knows its own path, for errors.
struct Section {
    path: String,
    map: Map<String, Value>,
}

impl Section {
    /// A field of some type; absent and null are the same.
    fn field<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, CniError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value)
                .map(Some)
                .map_err(|error| invalid(format!("{}{key}: {error}", self.path))),
        }
    }

    /// An object within; absent is empty.
    fn section(&self, key: &str) -> Result<Section, CniError> {
        Ok(Section {
            path: format!("{}{key}.", self.path),
            map: self.field(key)?.unwrap_or_default(),
        })
    }

    /// A list of addresses.
    fn addresses(&self, key: &str) -> Result<Vec<IpAddr>, CniError> {
        let texts: Vec<String> = self.field(key)?.unwrap_or_default();
        texts
            .iter()
            .map(|text| {
                parse_address(text)
                    .ok_or_else(|| invalid(format!("{}{key}: {text} is not an address", self.path)))
            })
            .collect()
    }
}

fn invalid(msg: impl Into<String>) -> CniError {
    CniError::new(
        Code::InvalidConfig,
        format!("network config: {}", msg.into()),
    )
}

/// Where DELs wait for the agent.
const SPOOL_DEFAULT: &str = "/var/lib/caracal/cni";

#[cfg(test)]
mod tests;
