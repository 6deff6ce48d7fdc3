//! A successful result, written and read in each version's shape.
//!
//! | | 0.3.0, 0.3.1, 0.4.0 | 1.0.0 | 1.1.0 |
//! |---|---|---|---|
//! | `ips[].version` | `"4"` or `"6"` | not there | not there |
//! | `interfaces[].mtu` | not there | not there | there |

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::version::Version;

/// What an ADD made.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Success {
    /// Interfaces, host side included.
    pub(crate) interfaces: Vec<Interface>,
    /// Addresses.
    pub(crate) ips: Vec<Ip>,
    /// Routes.
    pub(crate) routes: Vec<Route>,
    /// Name servers, as they came.
    pub(crate) dns: Option<Value>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Interface {
    /// Its name.
    pub(crate) name: String,
    /// Its MAC.
    pub(crate) mac: Option<String>,
    /// Its MTU.
    pub(crate) mtu: Option<u32>,
    /// Its network namespace; `None`: the host's.
    pub(crate) sandbox: Option<String>,
}

/// An address.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ip {
    /// With prefix length.
    pub(crate) address: IpNet,
    /// Its gateway.
    pub(crate) gateway: Option<IpAddr>,
    /// Index into the interfaces.
    pub(crate) interface: Option<usize>,
}

/// A route.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Route {
    /// Whereto.
    pub(crate) dst: IpNet,
    /// Via.
    pub(crate) gw: Option<IpAddr>,
}

impl Success {
    /// Adds what we made to what earlier plugins of the chain made.
    pub(crate) fn after(self, earlier: Success) -> Success {
        let offset = earlier.interfaces.len();
        let mut all = earlier;
        all.interfaces.extend(self.interfaces);
        all.ips.extend(self.ips.into_iter().map(|ip| Ip {
            interface: ip.interface.map(|index| index + offset),
            ..ip
        }));
        all.routes.extend(self.routes);
        all.dns = self.dns.or(all.dns);
        all
    }

    /// In the shape of a version.
    pub(crate) fn render(&self, version: Version) -> Value {
        let interfaces: Vec<Value> = self
            .interfaces
            .iter()
            .map(|interface| {
                let mut object = Map::new();
                object.insert("name".into(), interface.name.as_str().into());
                put(&mut object, "mac", interface.mac.as_deref());
                if version >= Version::V1_1_0 {
                    put(&mut object, "mtu", interface.mtu);
                }
                put(&mut object, "sandbox", interface.sandbox.as_deref());
                object.into()
            })
            .collect();
        let ips: Vec<Value> = self
            .ips
            .iter()
            .map(|ip| {
                let mut object = Map::new();
                if version < Version::V1_0_0 {
                    let family = if ip.address.addr().is_ipv4() {
                        "4"
                    } else {
                        "6"
                    };
                    object.insert("version".into(), family.into());
                }
                put(&mut object, "interface", ip.interface);
                object.insert("address".into(), ip.address.to_string().into());
                put(&mut object, "gateway", ip.gateway.map(|gw| gw.to_string()));
                object.into()
            })
            .collect();
        let routes: Vec<Value> = self
            .routes
            .iter()
            .map(|route| {
                let mut object = Map::new();
                object.insert("dst".into(), route.dst.to_string().into());
                put(&mut object, "gw", route.gw.map(|gw| gw.to_string()));
                object.into()
            })
            .collect();
        json!({
            "cniVersion": version.as_str(),
            "interfaces": interfaces,
            "ips": ips,
            "routes": routes,
            "dns": self.dns.clone().unwrap_or_else(|| json!({})),
        })
    }

    /// From any version's shape. The error names the field.
    pub(crate) fn parse(value: &Value) -> Result<Success, String> {
        let interfaces = list(value, "interfaces")?
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                Ok(Interface {
                    name: text(entry, "name")
                        .ok_or_else(|| format!("interfaces[{index}] has no name"))?,
                    mac: text(entry, "mac"),
                    mtu: entry["mtu"].as_u64().and_then(|mtu| mtu.try_into().ok()),
                    sandbox: text(entry, "sandbox"),
                })
            })
            .collect::<Result<_, String>>()?;
        let ips = list(value, "ips")?
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let address = text(entry, "address").unwrap_or_default();
                Ok(Ip {
                    address: address.parse().map_err(|_| {
                        format!(
                            "ips[{index}].address {address} is not an address with prefix length"
                        )
                    })?,
                    gateway: address_of(entry, "gateway", &format!("ips[{index}]"))?,
                    interface: entry["interface"].as_u64().map(|number| number as usize),
                })
            })
            .collect::<Result<_, String>>()?;
        let routes = list(value, "routes")?
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let dst = text(entry, "dst").unwrap_or_default();
                Ok(Route {
                    dst: dst
                        .parse()
                        .map_err(|_| format!("routes[{index}].dst {dst} is not a prefix"))?,
                    gw: address_of(entry, "gw", &format!("routes[{index}]"))?,
                })
            })
            .collect::<Result<_, String>>()?;
        Ok(Success {
            interfaces,
            ips,
            routes,
            dns: value.get("dns").cloned(),
        })
    }
}

fn put(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.into(), value.into());
    }
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value], String> {
    match &value[key] {
        Value::Null => Ok(&[]),
        Value::Array(entries) => Ok(entries),
        other => Err(format!("{key} is not a list: {other}")),
    }
}

fn text(entry: &Value, key: &str) -> Option<String> {
    entry[key]
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn address_of(entry: &Value, key: &str, path: &str) -> Result<Option<IpAddr>, String> {
    text(entry, key)
        .map(|text| {
            text.parse()
                .map_err(|_| format!("{path}.{key} {text} is not an address"))
        })
        .transpose()
}

#[cfg(test)]
mod tests;
