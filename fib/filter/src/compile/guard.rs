//! What may not come in: from pods, and in tunnels.

use super::{ENCAPSULATED, ENDS, FAMILIES, FIRST, IPPROTO_UDP, LOOPBACK, STRANGERS};
use crate::expression::{self, Expression, Meta};
use crate::model::{SpoofProtection, TunnelProtection};

/// Whatever a pod puts into a tunnel itself would come out of it, at this node or another, with a source that nobody has
/// looked at. And its device has `route_localnet`, so that a packet to 127.0.0.0/8 would come to the host's own programs;
/// translation of other addresses to there comes later, and is meant.
///
/// Linux drops ::1 from outside by itself (`ip6_rcv_core`).
pub(super) fn pods(wish: &SpoofProtection) -> Vec<Vec<Expression>> {
    // Whoever is no pod leaves the chain here, for the price of one rule.
    let mut others = Vec::new();
    for prefix in &wish.device_prefixes {
        others.push(expression::meta(Meta::InputDevice, FIRST));
        others.push(expression::not_equal(FIRST, prefix.as_bytes()));
    }
    if others.is_empty() {
        return Vec::new();
    }
    others.push(expression::accept());
    let mut rules = vec![others];
    if !wish.may_send_ipip {
        for protocol in [IPPROTO_IPIP, IPPROTO_IPV6] {
            let mut rule = Vec::from(transport(protocol));
            rule.extend(counted_drop(ENCAPSULATED));
            rules.push(rule);
        }
    }
    if let Some(port) = wish.vxlan_port {
        let mut rule = Vec::from(to_udp_port(port));
        rule.extend(counted_drop(ENCAPSULATED));
        rules.push(rule);
    }
    let [v4, _] = &FAMILIES;
    for place in [v4.destination, v4.source] {
        let mut rule = Vec::from(v4.is_this());
        rule.extend([
            expression::network_header(place, 1, FIRST),
            expression::equal(FIRST, &[LOOPBACK_OCTET]),
        ]);
        rule.extend(counted_drop(LOOPBACK));
        rules.push(rule);
    }
    rules
}

/// The same of VXLAN once more, after destinations were translated: the ports of a service are not those of its endpoints,
/// so that a pod could reach a node's VXLAN port under another number, and leave with the node's own address. IPIP
/// needs no second look, for no translation changes the protocol.
pub(super) fn translated(wish: &SpoofProtection) -> Vec<Vec<Expression>> {
    let Some(port) = wish.vxlan_port else {
        return Vec::new();
    };
    let of_device = |prefix: &String| {
        // The port first: it is the one that most packets do not have.
        let mut rule = Vec::from(to_udp_port(port));
        rule.extend([
            expression::meta(Meta::InputDevice, FIRST),
            expression::equal(FIRST, prefix.as_bytes()),
        ]);
        rule.extend(counted_drop(ENCAPSULATED));
        rule
    };
    wish.device_prefixes.iter().map(of_device).collect()
}

/// Only nodes may send into the tunnels that end here.
pub(super) fn tunnels(wish: &TunnelProtection) -> Vec<Vec<Expression>> {
    let [v4, v6] = &FAMILIES;
    let ipip = wish.ipip.then(|| Vec::from(transport(IPPROTO_IPIP)));
    let vxlan = |port: Option<u16>| port.map(|port| Vec::from(to_udp_port(port)));
    [
        (v4, ipip),
        (v4, vxlan(wish.vxlan)),
        (v6, vxlan(wish.vxlan_v6)),
    ]
    .into_iter()
    .filter_map(|(family, of_tunnel)| {
        let mut rule = Vec::from(family.is_this());
        rule.extend(of_tunnel?);
        rule.extend([
            family.source(FIRST),
            expression::outside(&family.set(ENDS), FIRST),
        ]);
        rule.extend(counted_drop(STRANGERS));
        Some(rule)
    })
    .collect()
}

fn transport(protocol: u8) -> [Expression; 2] {
    [
        expression::meta(Meta::Transport, FIRST),
        expression::equal(FIRST, &[protocol]),
    ]
}

fn to_udp_port(port: u16) -> [Expression; 4] {
    let [is, udp] = transport(IPPROTO_UDP);
    [
        is,
        udp,
        expression::transport_header(UDP_DESTINATION, 2, FIRST),
        expression::equal(FIRST, &port.to_be_bytes()),
    ]
}

fn counted_drop(counter: &str) -> [Expression; 2] {
    [expression::count(counter), expression::drop()]
}

const LOOPBACK_OCTET: u8 = 127;
const UDP_DESTINATION: u32 = 2;
const IPPROTO_IPIP: u8 = 4;
/// IPv6 in IPv4, or in IPv6.
const IPPROTO_IPV6: u8 = 41;
