//! ```text
//!   client A ──► our reflector ◄────────► their reflector ◄── client B
//!   10.9.0.2     10.9.0.1                 10.9.0.100          10.9.0.3
//!                cluster 1.0.0.1          cluster 2.0.0.2
//! ```
//! One AS. Each of the two reflectors is once above the other, once below it and once beside it (RFC 4456 §3, §6), and whichever
//! it is, what A announces arrives at B as A has sent it: its next hop and LOCAL_PREF, A as ORIGINATOR_ID, both clusters in the order
//! of the way (§8), and the same from B to A. When it is withdrawn it goes. In one and the same cluster the two do not believe
//! each other (§8: "if the local CLUSTER_ID is found in the CLUSTER_LIST, the advertisement received SHOULD be ignored").

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use caracal_bgp::view::PathView;
use caracal_bgp::{PeerConfig, SpeakerConfig};
use caracal_interop_tests::duel::{Duel, THEIRS, Voice, v4};
use caracal_interop_tests::features::{RETRY, neighbour, originate, peer, speak, withdraw};
use caracal_interop_tests::{Bird, Frr};
use caracal_lab::{lab_tests, wait};
use ipnet::IpNet;

lab_tests! {
    without programs;

    fn bird_above_us_carries_routes_between_the_clusters() {
        between_clusters(Stand::Above, Bird::alone, bird_configuration)
    }

    fn bird_below_us_carries_routes_between_the_clusters() {
        between_clusters(Stand::Below, Bird::alone, bird_configuration)
    }

    fn bird_beside_us_carries_routes_between_the_clusters() {
        between_clusters(Stand::Beside, Bird::alone, bird_configuration)
    }

    fn bird_in_our_cluster_is_not_believed_and_does_not_believe_us() {
        in_one_cluster(Bird::alone, bird_configuration)
    }

    fn frr_above_us_carries_routes_between_the_clusters() {
        between_clusters(Stand::Above, Frr::alone, frr_configuration)
    }

    fn frr_below_us_carries_routes_between_the_clusters() {
        between_clusters(Stand::Below, Frr::alone, frr_configuration)
    }

    fn frr_beside_us_carries_routes_between_the_clusters() {
        between_clusters(Stand::Beside, Frr::alone, frr_configuration)
    }

    fn frr_in_our_cluster_is_not_believed_and_does_not_believe_us() {
        in_one_cluster(Frr::alone, frr_configuration)
    }
}

/// Where their reflector stands in the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Stand {
    /// We are its client.
    Above,
    /// It is our client.
    Below,
    /// Neither is the other's.
    Beside,
}

/// All four.
struct World<R> {
    ours: Voice,
    a: Voice,
    b: Voice,
    _theirs: R,
    _duel: Duel,
}

impl<R> World<R> {
    fn begin(
        stand: Stand,
        their_cluster: Ipv4Addr,
        start: impl FnOnce(&Duel, &str) -> Result<R>,
        configuration: impl FnOnce(Ipv4Addr, &[(u8, bool)]) -> String,
    ) -> Result<World<R>> {
        let duel = Duel::new()?;
        let their_clients = [(OURS, stand == Stand::Above), (B, true)];
        let theirs = start(&duel, &configuration(their_cluster, &their_clients))?;
        let session = |other: u8, is_client| {
            let mut config = PeerConfig::new(v4(other), ASN, ASN);
            config.local_address = Some(v4(OURS));
            config.connect_retry = RETRY;
            config.reflector_client = is_client;
            config
        };
        let mut speaker = SpeakerConfig::new(ASN, Ipv4Addr::new(10, 9, 0, OURS));
        speaker.cluster_id = Some(OUR_CLUSTER);
        let sessions = vec![session(THEIRS, stand == Stand::Below), session(A, true)];
        let ours = speak(&duel, speaker, sessions)?;
        let a = neighbour(&duel, A, ASN, v4(OURS), ASN)?;
        let b = neighbour(&duel, B, ASN, v4(THEIRS), ASN)?;
        for (voice, other) in [(&ours, THEIRS), (&a, OURS), (&b, THEIRS)] {
            wait::until_or(&format!("the session with {}", v4(other)), || {
                let peer = peer(voice, v4(other))?;
                Ok(match peer.state == "Established" {
                    true => Ok(()),
                    false => Err(format!("{peer:?}")),
                })
            })?;
        }
        Ok(World {
            ours,
            a,
            b,
            _theirs: theirs,
            _duel: duel,
        })
    }
}

fn between_clusters<R>(
    stand: Stand,
    start: impl FnOnce(&Duel, &str) -> Result<R>,
    configuration: impl FnOnce(Ipv4Addr, &[(u8, bool)]) -> String,
) -> Result<()> {
    let world = World::begin(stand, THEIR_CLUSTER, start, configuration)?;
    originate(&world.a, OF_A)?;
    originate(&world.b, OF_B)?;
    for (at, prefix, number, clusters) in [
        (&world.b, OF_A, A, [THEIR_CLUSTER, OUR_CLUSTER]),
        (&world.a, OF_B, B, [OUR_CLUSTER, THEIR_CLUSTER]),
    ] {
        has(at, prefix, |paths| {
            let [path] = paths else { return false };
            path.next_hop == Some(v4(number))
                && path.originator_id.map(IpAddr::V4) == Some(v4(number))
                && path.cluster_list == clusters
                && (path.local_pref, path.med) == (100, Some(50))
                && path.as_path.is_empty()
        })?;
    }
    withdraw(&world.a, OF_A)?;
    withdraw(&world.b, OF_B)?;
    has(&world.b, OF_A, <[_]>::is_empty)?;
    has(&world.a, OF_B, <[_]>::is_empty)
}

/// What comes last shows that all before it has been heard.
fn in_one_cluster<R>(
    start: impl FnOnce(&Duel, &str) -> Result<R>,
    configuration: impl FnOnce(Ipv4Addr, &[(u8, bool)]) -> String,
) -> Result<()> {
    let world = World::begin(Stand::Beside, OUR_CLUSTER, start, configuration)?;
    originate(&world.a, OF_A)?;
    originate(&world.b, OF_B)?;
    // We have what B has said, and say why it counts for nothing.
    has(&world.ours, OF_B, |paths| {
        let [path] = paths else { return false };
        path.cluster_list == [OUR_CLUSTER] && !path.best && path.lost_because.is_some()
    })?;
    // What we say ourselves has no cluster on it: B has it, through the same reflector that leaves out what A has said.
    originate(&world.ours, LAST)?;
    has(&world.b, LAST, |paths| paths.len() == 1)?;
    has(&world.a, LAST, |paths| paths.len() == 1)?;
    has(&world.b, OF_A, <[_]>::is_empty)?;
    has(&world.a, OF_B, <[_]>::is_empty)
}

fn has(voice: &Voice, prefix: &str, is: impl Fn(&[PathView]) -> bool) -> Result<()> {
    let net: IpNet = prefix.parse()?;
    wait::until_or(&format!("the paths of {prefix}"), || {
        let route = voice.with(move |speaker, _| speaker.route(&net))?;
        let paths = route.map(|route| route.paths).unwrap_or_default();
        Ok(match is(&paths) {
            true => Ok(()),
            false => Err(format!("{paths:#?}")),
        })
    })
}

fn bird_configuration(cluster: Ipv4Addr, neighbours: &[(u8, bool)]) -> String {
    let own = v4(THEIRS);
    let mut text = format!(
        "router id {own};\nlog stderr all;\nprotocol device {{ }}\nprotocol direct {{ ipv4; }}\n"
    );
    for &(number, is_client) in neighbours {
        let neighbour = v4(number);
        let client = match is_client {
            true => "rr client; ",
            false => "",
        };
        text += &format!(
            "protocol bgp n{number} {{ local {own} as {ASN}; neighbor {neighbour} as {ASN}; direct; connect retry time 1; \
             error wait time 1, 2; connect delay time 1; rr cluster id {cluster}; {client}\
             ipv4 {{ import all; export where source = RTS_BGP; }}; }}\n"
        );
    }
    text
}

fn frr_configuration(cluster: Ipv4Addr, neighbours: &[(u8, bool)]) -> String {
    let own = v4(THEIRS);
    let mut text = format!(
        "log stdout\nrouter bgp {ASN}\n bgp router-id {own}\n bgp cluster-id {cluster}\n no bgp network import-check\n"
    );
    for &(number, is_client) in neighbours {
        let neighbour = v4(number);
        text += &format!(
            " neighbor {neighbour} remote-as {ASN}\n neighbor {neighbour} timers connect 1\n neighbor {neighbour} advertisement-interval 0\n"
        );
        if is_client {
            text += &format!(
                " address-family ipv4 unicast\n  neighbor {neighbour} route-reflector-client\n exit-address-family\n"
            );
        }
    }
    text
}

const ASN: u32 = 64512;
const OURS: u8 = 1;
const A: u8 = 2;
const B: u8 = 3;
const OUR_CLUSTER: Ipv4Addr = Ipv4Addr::new(1, 0, 0, 1);
const THEIR_CLUSTER: Ipv4Addr = Ipv4Addr::new(2, 0, 0, 2);
const OF_A: &str = "203.0.113.0/24";
const OF_B: &str = "198.51.100.0/24";
const LAST: &str = "192.0.2.0/24";
