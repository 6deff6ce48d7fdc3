//! ```text
//!   our speaker, AS 65001 ──── eth0 (nothing configured but its name) ──── FRR 8.4, AS 65100
//! ```
//! BGP unnumbered: `neighbor eth0 interface remote-as external` there, `Unnumbered` here. Expectations:
//!  1. Each finds the other by its router advertisements, and the session is between link-local addresses.
//!  2. IPv4 and IPv6 prefixes go both ways; with us, their next hop is FRR's link-local address on eth0.
//!  3. FRR has ours in its kernel, IPv4 prefixes too, via our link-local address (RFC 8950).
//!  4. What is withdrawn goes there and here.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use caracal_bgp::{LocalPath, RemoteAs, Speaker, SpeakerConfig, Time};
use caracal_bgp_net::{Unnumbered, UnnumberedConfig};
use caracal_interop_tests::Frr;
use caracal_interop_tests::duel::{Duel, Voice};
use caracal_lab::{Netns, lab_tests, wait};
use ipnet::IpNet;

const OURS: [&str; 2] = ["198.51.100.0/24", "2001:db8:1::/48"];
const THEIRS: [&str; 2] = ["203.0.113.0/24", "2001:db8:2::/48"];

lab_tests! {
    without programs;

    fn frr_and_we_find_each_other_on_a_link() {
        let duel = Duel::new()?;
        let frr = Frr::alone(&duel, CONFIGURATION)?;
        let own = SpeakerConfig::new(65001, [10, 9, 0, 1].into());
        let listen: SocketAddr = "[::]:179".parse()?;
        let voice = duel.speak(Speaker::new(own, Time::ZERO), &[listen])?;
        let discovery = {
            let _inside = voice.runtime.enter();
            Unnumbered::start(&voice.shell, UnnumberedConfig::new("eth0", RemoteAs::External, 65001))
        };
        let ours: Vec<IpNet> = OURS.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        voice.with({
            let ours = ours.clone();
            move |speaker, now| {
                for prefix in ours {
                    speaker.originate(now, prefix, LocalPath::default());
                }
            }
        })?;

        let router = link_local(&duel.theirs)?;
        wait::until("a session between link-local addresses", || {
            let peers = voice.with(|speaker, now| speaker.peers(now)).map_err(|e| e.to_string())?;
            let up = peers.iter().any(|peer| {
                peer.address == router
                    && peer.interface.as_deref() == Some("eth0")
                    && peer.state == "Established"
            });
            if up { Ok(()) } else { Err(format!("{:?}, {peers:?}", discovery.view())) }
        })?;
        ensure!(discovery.view().problem.is_none(), "{:?}", discovery.view());
        for prefix in THEIRS {
            wait::until(&format!("{prefix} of FRR"), || {
                let next_hops = learned(&voice, prefix).map_err(|error| error.to_string())?;
                if next_hops == [(router, Some("eth0".to_owned()))] {
                    Ok(())
                } else {
                    Err(format!("{next_hops:?}"))
                }
            })?;
        }
        let us = link_local(&duel.ours)?;
        for prefix in OURS {
            wait::until(&format!("{prefix} in FRR's kernel"), || {
                let route = route(&duel.theirs, prefix)?;
                if route.contains(&format!("{us} dev eth0")) { Ok(()) } else { Err(route) }
            })?;
        }

        frr.ask(&["configure terminal", "router bgp 65100", "address-family ipv4 unicast", "no network 203.0.113.0/24"])?;
        voice.with(move |speaker, now| ours.iter().for_each(|prefix| speaker.withdraw(now, *prefix)))?;
        wait::until("withdrawals both ways", || {
            let here = learned(&voice, THEIRS[0]).map_err(|error| error.to_string())?;
            let there = OURS.map(|prefix| route(&duel.theirs, prefix).unwrap_or_default()).concat();
            if here.is_empty() && there.trim().is_empty() { Ok(()) } else { Err(format!("{here:?} {there}")) }
        })?;
        Ok(())
    }
}

fn learned(voice: &Voice, prefix: &str) -> Result<Vec<(IpAddr, Option<String>)>> {
    let prefix: IpNet = prefix.parse()?;
    voice.with(move |speaker, _| {
        let next_hops = speaker.next_hops_on_devices(&prefix);
        next_hops
            .map(|(hop, device)| (hop, device.map(str::to_owned)))
            .collect()
    })
}

fn route(netns: &Netns, prefix: &str) -> Result<String, String> {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let said = netns.ip(&[family, "route", "show", prefix]);
    said.map_err(|error| error.to_string())
}

/// The link-local address of eth0 there, once the kernel has made it.
fn link_local(netns: &Netns) -> Result<IpAddr> {
    let mut found = None;
    wait::until("a link-local address", || {
        let said = netns.ip(&["-6", "-o", "addr", "show", "dev", "eth0", "scope", "link"]);
        let said = said.map_err(|error| error.to_string())?;
        let address = said
            .split_whitespace()
            .find(|word| word.starts_with("fe80:"));
        found = address.and_then(|word| word.split('/').next()?.parse().ok());
        match found {
            Some(_) if !said.contains("tentative") => Ok(()),
            _ => Err(said),
        }
    })?;
    found.context("no link-local address")
}

const CONFIGURATION: &str = "log stdout
router bgp 65100
 bgp router-id 10.9.0.100
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor eth0 interface remote-as external
 neighbor eth0 timers connect 1
 neighbor eth0 advertisement-interval 0
 address-family ipv4 unicast
  network 203.0.113.0/24
 exit-address-family
 address-family ipv6 unicast
  neighbor eth0 activate
  network 2001:db8:2::/48
 exit-address-family
";
