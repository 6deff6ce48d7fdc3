//! Where an object stands in etcd: Calico's keys, version 3, and one of our own.
//!
//! ```text
//!   /calico/resources/v3/projectcalico.org/<plural>/[<namespace>/]<name>   the kinds that people write
//!   /calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26                      IPAMBlock
//!   /calico/ipam/v2/host/<node>/ipv4/block/10.0.0.0-26                     BlockAffinity; virtual/ beside host/
//!   /calico/ipam/v2/handle/<handle>                                        IPAMHandle
//!   /calico/ipam/v2/config                                                 IPAMConfig
//!   /caracal/v1/<plural>/[<namespace>/]<name>                              Kubernetes' kinds, which Calico has in Kubernetes only
//! ```
//!
//! In a name `/` is `%2F` and `%` is `%25`, which Calico's names do not contain.

use ipnet::IpNet;
use serde_json::Value;

use crate::ipam::names;
use crate::resources::AffinityType;
use crate::store::{Key, Kind, Object};

const RESOURCES: &str = "/calico/resources/v3/projectcalico.org/";
const BLOCKS: &str = "/calico/ipam/v2/assignment/";
const HANDLES: &str = "/calico/ipam/v2/handle/";
const CONFIG: &str = "/calico/ipam/v2/config";
const HOSTS: &str = "/calico/ipam/v2/host/";
const VIRTUAL: &str = "/calico/ipam/v2/virtual/";
const KUBERNETES: &str = "/caracal/v1/";

/// An affinity's name that is so long may not say whose it is.
const NAME_CUT: usize = 252;

/// Keys of etcd in which a kind's objects stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Range {
    /// All that begin so.
    Prefix(String),
    /// This one.
    One(&'static str),
}

impl Range {
    /// The first key, and the first behind it that does not belong to it; empty: only the first.
    pub(super) fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Range::One(path) => (path.as_bytes().to_vec(), Vec::new()),
            Range::Prefix(prefix) => {
                let first = prefix.as_bytes().to_vec();
                let mut end = first.clone();
                // A prefix ends in `/`, behind which there is another octet.
                if let Some(last) = end.last_mut() {
                    *last += 1;
                }
                (first, end)
            }
        }
    }
}

/// Where an object may stand of which only the key is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// In one of these. None: it cannot exist.
    Exact(Vec<String>),
    /// Only a look at all of its kind tells.
    Somewhere,
}

/// What a key of etcd says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Located {
    Resource(Key),
    Block(IpNet),
    Affinity {
        node: String,
        affinity_type: AffinityType,
        cidr: IpNet,
    },
    Handle(String),
    Config,
}

impl Located {
    pub(super) fn key(&self) -> Key {
        match self {
            Located::Resource(key) => key.clone(),
            Located::Block(cidr) => Key::new(Kind::IPAMBlock, names::block(cidr)),
            Located::Affinity { node, cidr, .. } => {
                Key::new(Kind::BlockAffinity, names::affinity(node, cidr))
            }
            Located::Handle(handle) => Key::new(Kind::IPAMHandle, handle),
            Located::Config => Key::new(Kind::IPAMConfig, "default"),
        }
    }

    fn path(&self) -> String {
        match self {
            Located::Resource(key) => resource_path(key),
            Located::Block(cidr) => format!("{BLOCKS}{}", block_path(cidr)),
            Located::Affinity {
                node,
                affinity_type,
                cidr,
            } => affinity_path(*affinity_type, node, cidr),
            Located::Handle(handle) => format!("{HANDLES}{}", escaped(handle)),
            Located::Config => CONFIG.to_owned(),
        }
    }
}

/// Where a kind's objects stand.
pub(super) fn ranges(kind: Kind) -> Vec<Range> {
    let prefixes: &[&str] = match kind {
        Kind::IPAMConfig => return vec![Range::One(CONFIG)],
        Kind::IPAMBlock => &[BLOCKS],
        Kind::IPAMHandle => &[HANDLES],
        Kind::BlockAffinity => &[HOSTS, VIRTUAL],
        _ => return vec![Range::Prefix(folder(kind))],
    };
    let prefixes = prefixes.iter();
    prefixes
        .map(|one| Range::Prefix((*one).to_owned()))
        .collect()
}

/// Where this object belongs. The fault begins with the field's path.
pub(super) fn path_of(object: &Object) -> Result<String, String> {
    let located = match object.key.kind {
        Kind::IPAMBlock => Located::Block(cidr_of(object)?),
        Kind::BlockAffinity => Located::Affinity {
            node: text_of(object, "node")?.to_owned(),
            affinity_type: match object.spec.get("type").and_then(Value::as_str) {
                Some("virtual") => AffinityType::Virtual,
                _ => AffinityType::Host,
            },
            cidr: cidr_of(object)?,
        },
        Kind::IPAMHandle => Located::Handle(text_of(object, "handleID")?.to_owned()),
        Kind::IPAMConfig => Located::Config,
        _ => Located::Resource(object.key.clone()),
    };
    let name = located.key().name;
    if name != object.key.name {
        return Err(format!(
            "metadata.name: {:?} is not {name:?}, which the spec says",
            object.key.name
        ));
    }
    Ok(located.path())
}

/// Where an object of that key may stand.
pub(super) fn places_of(key: &Key) -> Places {
    Places::Exact(match key.kind {
        Kind::IPAMBlock => names::cidr_of_block(&key.name)
            .map(|cidr| Located::Block(cidr).path())
            .into_iter()
            .collect(),
        Kind::BlockAffinity if key.name.len() >= NAME_CUT => return Places::Somewhere,
        Kind::BlockAffinity => affinities_of_name(&key.name)
            .flat_map(|(node, cidr)| {
                [AffinityType::Host, AffinityType::Virtual]
                    .map(|affinity_type| affinity_path(affinity_type, node, &cidr))
            })
            .collect(),
        Kind::IPAMHandle => vec![Located::Handle(key.name.clone()).path()],
        Kind::IPAMConfig if key.name != "default" => Vec::new(),
        Kind::IPAMConfig => vec![CONFIG.to_owned()],
        _ => vec![resource_path(key)],
    })
}

/// Reads a key of etcd in the range of a kind.
pub(super) fn locate(kind: Kind, path: &[u8]) -> Result<Located, String> {
    let text = std::str::from_utf8(path).map_err(|_| "the key is not UTF-8".to_owned())?;
    let located = read(kind, text).filter(|located| located.path() == text);
    located.ok_or_else(|| format!("this is not the key of any {kind}"))
}

fn read(kind: Kind, path: &str) -> Option<Located> {
    Some(match kind {
        Kind::IPAMConfig => Located::Config,
        Kind::IPAMHandle => Located::Handle(unescaped(path.strip_prefix(HANDLES)?)),
        Kind::IPAMBlock => Located::Block(cidr_of_path(path.strip_prefix(BLOCKS)?)?),
        Kind::BlockAffinity => {
            let (affinity_type, rest) = match path.strip_prefix(HOSTS) {
                Some(rest) => (AffinityType::Host, rest),
                None => (AffinityType::Virtual, path.strip_prefix(VIRTUAL)?),
            };
            let (node, rest) = rest.split_once('/')?;
            Located::Affinity {
                node: unescaped(node),
                affinity_type,
                cidr: cidr_of_path(rest)?,
            }
        }
        _ => {
            let rest = path.strip_prefix(&folder(kind))?;
            let (namespace, name) = match kind.namespaced() {
                true => rest
                    .split_once('/')
                    .map(|(namespace, name)| (Some(unescaped(namespace)), name))?,
                false => (None, rest),
            };
            Located::Resource(Key {
                kind,
                namespace,
                name: unescaped(name),
            })
        }
    })
}

fn resource_path(key: &Key) -> String {
    let name = escaped(&key.name);
    let name = match &key.namespace {
        Some(namespace) => format!("{}/{name}", escaped(namespace)),
        None => name,
    };
    folder(key.kind) + &name
}

/// Where the objects of a kind stand that has no keys of its own.
fn folder(kind: Kind) -> String {
    let above = match kind.is_of_kubernetes() {
        true => KUBERNETES,
        false => RESOURCES,
    };
    format!("{above}{}/", kind.plural())
}

fn affinity_path(affinity_type: AffinityType, node: &str, cidr: &IpNet) -> String {
    let prefix = match affinity_type {
        AffinityType::Host => HOSTS,
        AffinityType::Virtual => VIRTUAL,
    };
    format!("{prefix}{}/{}", escaped(node), block_path(cidr))
}

fn block_path(cidr: &IpNet) -> String {
    let version = match cidr {
        IpNet::V4(_) => 4,
        IpNet::V6(_) => 6,
    };
    format!(
        "ipv{version}/block/{}",
        cidr.to_string().replacen('/', "-", 1)
    )
}

fn cidr_of_path(path: &str) -> Option<IpNet> {
    let rest = path
        .strip_prefix("ipv4/block/")
        .or_else(|| path.strip_prefix("ipv6/block/"))?;
    rest.replacen('-', "/", 1).parse().ok()
}

/// Whose affinity to which block a name may mean. One, save for IPv6, where a part of the node's name may be read
/// as a part of the block's.
fn affinities_of_name(name: &str) -> impl Iterator<Item = (&str, IpNet)> {
    name.match_indices('-').filter_map(|(at, _)| {
        let (node, block) = (&name[..at], &name[at + 1..]);
        (!node.is_empty()).then_some(())?;
        Some((node, names::cidr_of_block(block)?))
    })
}

fn cidr_of(object: &Object) -> Result<IpNet, String> {
    let text = text_of(object, "cidr")?;
    text.parse()
        .map_err(|_| format!("spec.cidr: {text:?} is not a CIDR"))
}

fn text_of<'a>(object: &'a Object, field: &str) -> Result<&'a str, String> {
    object
        .spec
        .get(field)
        .and_then(Value::as_str)
        .ok_or_else(|| format!("spec.{field}: is missing"))
}

fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}

fn unescaped(name: &str) -> String {
    name.replace("%2F", "/").replace("%25", "%")
}

#[cfg(test)]
mod tests;
