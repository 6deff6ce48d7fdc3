//! From [`Rules`] to the table that does it. Pure.
//!
//! ```text
//!   pods         prerouting, raw (−300)   from a pod's device: in a tunnel of its own, or to 127.0.0.0/8: counted, dropped
//!   prerouting   raw (−300)               from a pod's device: source allowed, or routed back to it, or counted, dropped
//!   input        filter (0)               in a tunnel that ends here, and from no node or from a pod: counted, dropped
//!   forward      filter (0)               from a pod's device, in VXLAN after translation, or to a service's address still:
//!                                         counted, dropped
//!   postrouting  srcnat (100)             from masqueraded pools, to no pool: counted, and another source
//!   own          postrouting, srcnat      of this host into a tunnel, with an address of another device: another source
//! ```
//!
//! What needs an expression that a kernel may lack has a chain of its own, so that the others can do without it.
//!
//! A chain without rules is not there, because a hook costs something for each packet. The sets and counters are always
//! there, so that a pool more is an element more and nothing else.
//!
//! Service loops are broken here and not by a blackhole route: the host's own packets to a ClusterIP are routed once
//! before the rules of kube-proxy in the output hook give them another destination, and with a blackhole route they
//! would not get that far.

mod guard;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::expression::{self, Expression, Meta, Register};
use crate::model::{Masquerade, Rules, ServiceLoops, SpoofProtection, device_name};
use crate::table::{
    Chain, Element, Hook, Key, NF_ACCEPT, NFT_OBJECT_COUNTER, NFT_SET_CONCAT, NFT_SET_INTERVAL,
    Set, Table,
};

/// Counters, by name.
pub(crate) const MASQUERADED: &str = "masqueraded";
pub(crate) const SPOOFED: &str = "spoofed";
pub(crate) const LOOPED: &str = "looped";
pub(crate) const ENCAPSULATED: &str = "encapsulated";
pub(crate) const LOOPBACK: &str = "loopback";
pub(crate) const STRANGERS: &str = "strangers";
const COUNTERS: [&str; 6] = [
    MASQUERADED,
    SPOOFED,
    LOOPED,
    ENCAPSULATED,
    LOOPBACK,
    STRANGERS,
];

/// The chains that there may be.
pub(crate) const CHAINS: [&str; 6] = [PODS, PREROUTING, INPUT, FORWARD, POSTROUTING, OWN];
pub(crate) const PODS: &str = "pods";
pub(crate) const PREROUTING: &str = "prerouting";
pub(crate) const INPUT: &str = "input";
pub(crate) const FORWARD: &str = "forward";
pub(crate) const POSTROUTING: &str = "postrouting";
pub(crate) const OWN: &str = "own";

/// The table, without the chains named; `None` when there is nothing to do.
pub(crate) fn table(rules: &Rules, without: &BTreeMap<&'static str, String>) -> Option<Table> {
    let hook = |kind: &str, number, priority| Hook {
        kind: kind.to_owned(),
        number,
        priority,
        policy: NF_ACCEPT,
    };
    let pods = rules.spoofing.as_ref().map_or(vec![], guard::pods);
    let prerouting = rules.spoofing.as_ref().map_or(vec![], spoof_protection);
    let translated = rules.spoofing.as_ref().map_or(vec![], guard::translated);
    let mut input = rules.tunnels.as_ref().map_or(vec![], guard::tunnels);
    if !input.is_empty() {
        // Where no tunnel ends there is nobody to hear it.
        input.splice(0..0, translated.clone());
    }
    let mut forward = translated;
    forward.extend(rules.service_loops.as_ref().map_or(vec![], service_loops));
    let chains: BTreeMap<String, Chain> = [
        (
            PODS,
            hook("filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW),
            pods,
        ),
        (
            INPUT,
            hook("filter", NF_INET_LOCAL_IN, NF_IP_PRI_FILTER),
            input,
        ),
        (
            OWN,
            hook("nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC),
            own_sources(&rules.masquerade),
        ),
        (
            PREROUTING,
            hook("filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW),
            prerouting,
        ),
        (
            FORWARD,
            hook("filter", NF_INET_FORWARD, NF_IP_PRI_FILTER),
            forward,
        ),
        (
            POSTROUTING,
            hook("nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC),
            masquerade(&rules.masquerade),
        ),
    ]
    .into_iter()
    .filter(|(name, _, rules)| !rules.is_empty() && !without.contains_key(name))
    .map(|(name, hook, rules)| {
        let hook = Some(hook);
        (name.to_owned(), Chain { hook, rules })
    })
    .collect();
    if chains.is_empty() {
        return None;
    }
    Some(Table {
        flags: 0,
        sets: sets(rules),
        objects: COUNTERS
            .map(|name| (NFT_OBJECT_COUNTER, name.to_owned()))
            .into(),
        chains,
    })
}

/// IPv4 and IPv6 stand in different places of a packet, and in different sets.
struct Family {
    number: u8,
    suffix: &'static str,
    /// Octets of an address, and where source and destination stand in the header.
    octets: u32,
    source: u32,
    destination: u32,
    /// How nft knows an address.
    kind: u32,
    is_ours: fn(&IpNet) -> bool,
}

const FAMILIES: [Family; 2] = [
    Family {
        number: NFPROTO_IPV4,
        suffix: "-v4",
        octets: 4,
        source: 12,
        destination: 16,
        kind: TYPE_IPADDR,
        is_ours: |net| matches!(net, IpNet::V4(_)),
    },
    Family {
        number: NFPROTO_IPV6,
        suffix: "-v6",
        octets: 16,
        source: 8,
        destination: 24,
        kind: TYPE_IP6ADDR,
        is_ours: |net| matches!(net, IpNet::V6(_)),
    },
];

impl Family {
    fn is_this(&self) -> [Expression; 2] {
        [
            expression::meta(Meta::Family, FIRST),
            expression::equal(FIRST, &[self.number]),
        ]
    }

    fn source(&self, to: Register) -> Expression {
        expression::network_header(self.source, self.octets, to)
    }

    fn destination(&self, to: Register) -> Expression {
        expression::network_header(self.destination, self.octets, to)
    }

    fn set(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }
}

fn masquerade(wish: &Masquerade) -> Vec<Vec<Expression>> {
    let mut rules = Vec::new();
    for family in &FAMILIES {
        if !wish.sources.iter().any(family.is_ours) {
            continue;
        }
        let mut these = Vec::from(family.is_this());
        these.extend([
            family.source(FIRST),
            expression::within(&family.set(SOURCES), FIRST),
            family.destination(FIRST),
            expression::outside(&family.set(POOLS), FIRST),
        ]);
        if !wish.except_to_hosts.is_empty() {
            these.extend([
                family.destination(FIRST),
                expression::outside(&family.set(HOSTS), FIRST),
            ]);
        }
        if let Some(pattern) = &wish.output {
            these.extend([
                expression::meta(Meta::OutputDevice, FIRST),
                expression::equal(FIRST, &pattern.octets()),
            ]);
        }
        let address = wish
            .address
            .filter(|address| (family.is_ours)(&IpNet::from(*address)));
        if let Some((first, last)) = wish.ports {
            for transport in [IPPROTO_TCP, IPPROTO_UDP] {
                let mut rule = these.clone();
                rule.extend([
                    expression::meta(Meta::Transport, FIRST),
                    expression::equal(FIRST, &[transport]),
                    expression::count(MASQUERADED),
                    expression::immediate(SECOND, &first.to_be_bytes()),
                    expression::immediate(THIRD, &last.to_be_bytes()),
                ]);
                rule.extend(new_source(family, address, Some((SECOND, THIRD))));
                rules.push(rule);
            }
        }
        these.push(expression::count(MASQUERADED));
        these.extend(new_source(family, address, None));
        rules.push(these);
    }
    rules
}

fn new_source(
    family: &Family,
    address: Option<IpAddr>,
    ports: expression::Ports,
) -> Vec<Expression> {
    match address {
        None => vec![expression::masquerade(ports)],
        Some(address) => vec![
            expression::immediate(FIRST, &octets(address)),
            expression::source_nat(family.number, FIRST, ports),
        ],
    }
}

/// An address of another device of this host is what a program takes that binds to it, and what the kernel takes for a
/// packet that is first routed another way, as one to a service's address is.
fn own_sources(wish: &Masquerade) -> Vec<Vec<Expression>> {
    let rule = |device: &String| {
        vec![
            expression::meta(Meta::OutputDevice, FIRST),
            expression::equal(FIRST, &device_name(device)),
            expression::kind_of_source(true, FIRST),
            expression::not_equal(FIRST, &expression::RTN_LOCAL),
            expression::kind_of_source(false, FIRST),
            expression::equal(FIRST, &expression::RTN_LOCAL),
            expression::count(MASQUERADED),
            expression::masquerade(None),
        ]
    };
    wish.own_through.iter().map(rule).collect()
}

/// What a host asks and tells before it has an address is let through by the expression `fib` itself: DHCP from 0.0.0.0,
/// and ICMPv6 from :: (duplicate address detection, router solicitation, multicast listener reports). A link-local
/// source is routed back to every device that has the prefix.
fn spoof_protection(wish: &SpoofProtection) -> Vec<Vec<Expression>> {
    let mut rules = Vec::new();
    for family in &FAMILIES {
        if !wish.allowed.values().flatten().any(family.is_ours) {
            continue;
        }
        let mut rule = Vec::from(family.is_this());
        rule.extend([
            expression::meta(Meta::InputDevice, FIRST),
            family.source(SECOND),
            expression::within(&family.set(ALLOWED), FIRST),
            expression::accept(),
        ]);
        rules.push(rule);
    }
    for prefix in &wish.device_prefixes {
        rules.push(vec![
            expression::meta(Meta::InputDevice, FIRST),
            expression::equal(FIRST, prefix.as_bytes()),
            expression::source_is_routed_back(FIRST),
            // As wide as a device's index, which is what the expression would give otherwise.
            expression::equal(FIRST, &[0; 4]),
            expression::count(SPOOFED),
            expression::drop(),
        ]);
    }
    rules
}

fn service_loops(wish: &ServiceLoops) -> Vec<Vec<Expression>> {
    let in_use = FAMILIES
        .iter()
        .filter(|family| wish.services.iter().any(family.is_ours));
    in_use
        .map(|family| {
            let mut rule = Vec::from(family.is_this());
            rule.extend([
                family.destination(FIRST),
                expression::within(&family.set(SERVICES), FIRST),
                expression::count(LOOPED),
                match wish.reject {
                    true => expression::reject(),
                    false => expression::drop(),
                },
            ]);
            rule
        })
        .collect()
}

fn sets(rules: &Rules) -> BTreeMap<String, Set> {
    let wish = &rules.masquerade;
    let hosts = wish.except_to_hosts.iter().map(|host| IpNet::from(*host));
    let services = rules.service_loops.as_ref().map(|loops| &loops.services);
    let ends = rules.tunnels.as_ref().map(|tunnels| &tunnels.ends);
    let nets = [
        (SOURCES, wish.sources.clone()),
        (POOLS, wish.except_to.clone()),
        (HOSTS, hosts.collect()),
        (SERVICES, services.cloned().unwrap_or_default()),
        (ENDS, ends.cloned().unwrap_or_default()),
    ];
    let mut sets = BTreeMap::new();
    for family in &FAMILIES {
        for (name, nets) in &nets {
            let key = Key {
                flags: NFT_SET_INTERVAL,
                kind: family.kind,
                octets: family.octets,
            };
            let elements = ranges(nets, family).collect();
            sets.insert(family.set(name), Set { key, elements });
        }
        let key = Key {
            flags: NFT_SET_INTERVAL | NFT_SET_CONCAT,
            kind: TYPE_IFNAME << TYPE_BITS | family.kind,
            octets: 16 + family.octets,
        };
        let allowed = rules.spoofing.iter().flat_map(|wish| &wish.allowed);
        let elements = allowed
            .flat_map(|(device, nets)| {
                let device = device_name(device);
                ranges(nets, family).map(move |range| Element {
                    first: [device.clone(), range.first].concat(),
                    last: [device.clone(), range.last].concat(),
                })
            })
            .collect();
        sets.insert(family.set(ALLOWED), Set { key, elements });
    }
    sets
}

/// The prefixes of one family as ranges that do not overlap: the kernel refuses those that do.
fn ranges(nets: &BTreeSet<IpNet>, family: &Family) -> impl Iterator<Item = Element> + use<> {
    let nets: Vec<IpNet> = nets.iter().copied().filter(family.is_ours).collect();
    IpNet::aggregate(&nets).into_iter().map(|net| Element {
        first: octets(net.network()),
        last: match net {
            IpNet::V4(net) => octets(Ipv4Net::broadcast(&net).into()),
            IpNet::V6(net) => octets(Ipv6Net::broadcast(&net).into()),
        },
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Sets, by name without the family.
const SOURCES: &str = "masquerade";
const POOLS: &str = "pools";
const HOSTS: &str = "nodes";
const SERVICES: &str = "services";
const ALLOWED: &str = "allowed";
const ENDS: &str = "ends";

const FIRST: Register = Register(1);
const SECOND: Register = Register(2);
const THIRD: Register = Register(3);

// linux/netfilter.h, netfilter_ipv4.h, in.h; include/datatype.h of nftables
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const NF_INET_PRE_ROUTING: u32 = 0;
const NF_INET_LOCAL_IN: u32 = 1;
const NF_INET_FORWARD: u32 = 2;
const NF_INET_POST_ROUTING: u32 = 4;
const NF_IP_PRI_RAW: i32 = -300;
const NF_IP_PRI_FILTER: i32 = 0;
const NF_IP_PRI_NAT_SRC: i32 = 100;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
const TYPE_IPADDR: u32 = 7;
const TYPE_IP6ADDR: u32 = 8;
const TYPE_IFNAME: u32 = 41;
const TYPE_BITS: u32 = 6;
