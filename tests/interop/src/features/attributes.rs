//! Attributes both ways, and AS numbers of four octets.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, anyhow, ensure};
use caracal_bgp::wire::Attributes;
use caracal_bgp::{PeerConfig, Policy};
use caracal_lab::wait;
use ipnet::IpNet;
use serde_json::json;

use super::{ANNOUNCED, Match, OURS};
use crate::Feeder;
use crate::duel::v4;
use crate::router::{Router, Wish};

/// Communities of all three kinds (RFC 1997, 4360, 8092) arrive on both sides as they were sent, between an AS with a
/// number of four octets (RFC 6793) and ours, and a withdrawn prefix is gone on both sides.
pub fn communities_between_large_as_numbers<R: Router>() -> Result<()> {
    let export = policy(json!({
        "communities": {"add": ["64512:7"]},
        "largeCommunities": {"add": ["4200000001:1:2"]},
        "extendedCommunities": {"add": ["rt:64512:9"]}
    }))?;
    let (theirs, ours) = (4_200_000_000, 4_200_000_001);
    let wish = Wish {
        asn: ours,
        ..Wish::default()
    };
    let mut one = Match::<R>::begin(theirs, wish, |_, peer| peer.export = export.clone())?;
    one.originate(OURS)?;
    let paths = one.router_has(OURS, |paths| paths.len() == 1)?;
    let mut communities = paths[0].communities.clone();
    communities.sort();
    ensure!(
        communities == ["4200000001:1:2", "64512:7", "rt:64512:9"],
        "the router has {communities:?}"
    );
    ensure!(
        paths[0].as_path == ours.to_string() && paths[0].next_hop == one.own.to_string(),
        "the router has {paths:?}"
    );

    one.router.announce(&ANNOUNCED)?;
    let paths = one.we_have(ANNOUNCED.prefix, |paths| paths.len() == 1)?;
    let behind = match R::PREPENDS {
        true => format!("{theirs} {}", ANNOUNCED.prepend),
        false => theirs.to_string(),
    };
    ensure!(
        paths[0].as_path == behind && paths[0].next_hop == Some(one.theirs),
        "we have {paths:?}"
    );
    let (remote, prefix) = (one.theirs, ANNOUNCED.prefix.parse::<IpNet>()?);
    let explain =
        move |speaker: &mut caracal_bgp::Speaker, _| speaker.explain_import(remote, Some(&prefix));
    let seen = one.ours.with(explain)?.map_err(anyhow::Error::msg)?;
    let mut communities = seen.first().context("no path")?.before.communities.clone();
    communities.sort();
    ensure!(
        communities == ["64999:1:2", "64999:7", "rt:64999:9"],
        "we have {communities:?}"
    );

    super::withdraw(&one.ours, OURS)?;
    one.router.withdraw(&ANNOUNCED)?;
    one.router_has(OURS, <[_]>::is_empty)?;
    one.we_have(ANNOUNCED.prefix, <[_]>::is_empty)?;
    Ok(())
}

/// Over a session where AS numbers have two octets, a greater one behind ours is AS_TRANS with AS4_PATH beside it
/// (RFC 6793 §4.2.2), and prefixes pass both ways.
pub fn two_octets<R: Router>() -> Result<()> {
    let wish = Wish {
        two_octets: true,
        ..Wish::default()
    };
    let ours = wish.asn;
    let mut one = Match::<R>::begin(super::OTHER_ASN, wish, |_, _| {})?;
    one.peer_is("two octets to be agreed on", |peer| {
        !peer.capabilities.iter().any(|name| name == "four-octet-as")
    })?;
    let great = 4_200_000_001;
    let mut config = PeerConfig::new(v4(2), great, ours);
    config.local_address = Some(v4(1));
    one.ours.with(move |speaker, now| {
        speaker.set_peer(now, config);
    })?;
    let behind = super::neighbour(&one.duel, 2, great, v4(1), ours)?;
    super::originate(&behind, OURS)?;
    let paths = one.router_has(OURS, |paths| paths.len() == 1)?;
    // Who knows AS4_PATH nevertheless puts it together again (RFC 6793 §4.2.3).
    let mut possible = [AS_TRANS, great]
        .into_iter()
        .map(|asn| format!("{ours} {asn}"));
    ensure!(
        possible.any(|as_path| as_path == paths[0].as_path),
        "the router has {paths:?}"
    );
    one.router.announce(&ANNOUNCED)?;
    one.we_have(ANNOUNCED.prefix, |paths| paths.len() == 1)?;
    Ok(())
}

/// A path with an AS_SET (RFC 4271 §4.3) comes through us to the router with all its AS numbers.
pub fn as_set<R: Router>() -> Result<()> {
    let wish = Wish::default();
    let ours = wish.asn;
    let mut one = Match::<R>::begin(super::OTHER_ASN, wish, |_, _| {})?;
    let mut config = PeerConfig::new(v4(2), 65001, ours);
    config.local_address = Some(v4(1));
    config.passive = true;
    one.ours.with(move |speaker, now| {
        speaker.set_peer(now, config);
    })?;
    let (id, us) = (Ipv4Addr::new(10, 9, 0, 2), SocketAddr::new(v4(1), 179));
    let mut feeder = Feeder::connect(&one.duel, v4(2), 65001, id, us)?;
    let attributes = Attributes {
        as_path: "65001 {65010 65011}"
            .parse()
            .map_err(|_| anyhow!("AS_PATH"))?,
        next_hop: Some(v4(2)),
        ..Attributes::default()
    };
    feeder.announce(OURS.parse()?, &attributes)?;
    let paths = one.router_has(OURS, |paths| paths.len() == 1)?;
    let digits = paths[0].as_path.split(|one: char| !one.is_ascii_digit());
    let asns: Vec<_> = digits.filter(|one| !one.is_empty()).collect();
    ensure!(
        asns == [&ours.to_string(), "65001", "65010", "65011"],
        "the router has {paths:?}"
    );
    Ok(())
}

/// The router and one more are our clients (RFC 4456): what one announces the other gets, with its own next hop, the
/// ORIGINATOR_ID of who announced it and our CLUSTER_ID.
pub fn reflected<R: Router>() -> Result<()> {
    let ours = Wish::default().asn;
    let mut one = Match::<R>::begin(ours, Wish::default(), |_, peer| {
        peer.reflector_client = true
    })?;
    let mut config = PeerConfig::new(v4(2), ours, ours);
    config.local_address = Some(v4(1));
    config.reflector_client = true;
    one.ours.with(move |speaker, now| {
        speaker.set_peer(now, config);
    })?;
    let other = super::neighbour(&one.duel, 2, ours, v4(1), ours)?;
    super::originate(&other, OURS)?;
    one.router_has(OURS, |paths| {
        let path = paths.first();
        path.is_some_and(|path| path.next_hop == "10.9.0.2" && path.from == "10.9.0.1")
    })?;
    one.router.announce(&ANNOUNCED)?;
    let (prefix, theirs) = (ANNOUNCED.prefix.parse::<IpNet>()?, one.theirs);
    wait::until_or("the reflected path", || {
        let route = other.with(move |speaker, _| speaker.route(&prefix))?;
        let mut paths = route.iter().flat_map(|route| &route.paths);
        let is_right = paths.any(|path| {
            path.next_hop == Some(theirs)
                && path.originator_id == Some(Ipv4Addr::new(10, 9, 0, 100))
                && path.cluster_list == [Ipv4Addr::new(10, 9, 0, 1)]
        });
        Ok(match is_right {
            true => Ok(()),
            false => Err(format!("{route:?}")),
        })
    })
}

/// Of 1,500 communities, which are more than a message of 4,096 octets holds (RFC 8654), all arrive.
pub fn extended_message<R: Router>() -> Result<()> {
    let many: Vec<String> = (0..1500).map(|number| format!("64999:{number}")).collect();
    let export = policy(json!({"communities": {"add": many}}))?;
    let mut one = Match::<R>::begin(super::OTHER_ASN, Wish::default(), |_, peer| {
        peer.export = export.clone();
    })?;
    one.peer_is("extended messages to be agreed on", |peer| {
        peer.capabilities
            .iter()
            .any(|name| name == "extended-message")
    })?;
    one.originate(OURS)?;
    one.router_has(OURS, |paths| paths.len() == 1)?;
    let router = &mut one.router;
    wait::until_or("the router to have all communities", || {
        Ok(match router.has_communities(OURS, 1500)? {
            true => Ok(()),
            false => Err(format!("{:?}", router.learned()?)),
        })
    })?;
    Ok(())
}

/// IPv4 routes over a session over IPv6, with IPv6 next hops (RFC 8950), both ways.
pub fn extended_next_hop<R: Router>() -> Result<()> {
    let wish = Wish {
        extended_next_hop: true,
        ..Wish::default()
    };
    let mut one = Match::<R>::begin(super::OTHER_ASN, wish, |_, _| {})?;
    let (own, theirs) = (one.own.to_string(), one.theirs);
    one.originate(OURS)?;
    one.router_has(OURS, |paths| paths.len() == 1 && paths[0].next_hop == own)?;
    one.router.announce(&ANNOUNCED)?;
    one.we_have(ANNOUNCED.prefix, |paths| {
        paths.len() == 1 && paths[0].next_hop == Some(theirs)
    })?;
    Ok(())
}

/// A policy that accepts everything with these changes.
pub(super) fn policy(set: serde_json::Value) -> Result<Policy> {
    let rules = json!([{"set": set, "action": "accept"}]);
    serde_json::from_value(json!({"rules": rules, "default": "reject"})).context("a policy")
}

const AS_TRANS: u32 = 23456;
