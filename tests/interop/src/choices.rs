//! Random sets of paths for the same prefix from several neighbours, and what our own speaker chooses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use caracal_bgp::wire::{
    AsPath, Attributes, Capability, Codec, Family, Message, Nlri, Open, Origin, Segment,
};
use caracal_bgp::{PeerConfig, Speaker, SpeakerConfig, Time};
use ipnet::{IpNet, Ipv4Net};

use crate::duel::v4;

/// The AS of whoever has to choose.
pub const ASN: u32 = 64512;

/// Who sends paths: address number on the link, and AS number.
pub const NEIGHBOURS: [(u8, u32); 8] = [
    (1, ASN),
    (2, ASN),
    (3, ASN),
    (4, ASN),
    (5, 65001),
    (6, 65001),
    (7, 65002),
    (8, 65003),
];

/// The identifiers of the neighbours are not in the order of their addresses.
pub fn router_id(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 1, 200 - number * 7 % 5 * 10 - number)
}

/// A prefix, and what each neighbour (by number) says of it.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Which.
    pub prefix: IpNet,
    /// Who announces it, with what.
    pub paths: BTreeMap<u8, Attributes>,
}

/// As many as wanted, always the same for a seed.
pub fn choices(seed: u64, count: u16) -> Vec<Choice> {
    let mut dice = Dice(seed);
    let choice = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let prefix = Ipv4Net::new_assert(Ipv4Addr::new(10, 100 + high, low, 0), 24).into();
        let mut paths = BTreeMap::new();
        for (number, asn) in NEIGHBOURS {
            if dice.below(10) < 6 {
                paths.insert(number, path(&mut dice, number, asn));
            }
        }
        Choice { prefix, paths }
    };
    (0..count).map(choice).collect()
}

fn path(dice: &mut Dice, number: u8, asn: u32) -> Attributes {
    let is_internal = asn == ASN;
    let mut asns: Vec<u32> = (0..dice.below(3))
        .map(|_| [65001, 65002, 65003, 64999][dice.below(4)])
        .collect();
    if !is_internal {
        asns.insert(0, asn);
    }
    let mut as_path = AsPath::from_sequence(asns);
    if dice.below(8) == 0 {
        // As long as one AS, whatever is in it.
        as_path.0.push(Segment::Set(vec![64990, 64991]));
    }
    let is_reflected = is_internal && dice.below(3) == 0;
    Attributes {
        origin: [Origin::Igp, Origin::Igp, Origin::Egp, Origin::Incomplete][dice.below(4)],
        as_path,
        next_hop: Some(v4(number)),
        med: [None, Some(0), Some(10), Some(20)][dice.below(4)],
        local_pref: is_internal.then(|| [100, 100, 100, 110][dice.below(4)]),
        originator_id: is_reflected.then(|| Ipv4Addr::new(10, 9, 1, dice.below(3) as u8 + 100)),
        cluster_list: match is_reflected {
            true => (0..=dice.below(2))
                .map(|hop| Ipv4Addr::new(10, 9, 3, hop as u8 + 1))
                .collect(),
            false => Vec::new(),
        },
        ..Attributes::default()
    }
}

/// What our speaker chooses: by prefix, the address of the neighbour, and for each loser why.
pub fn ours(choices: &[Choice]) -> Result<BTreeMap<IpNet, (IpAddr, String)>> {
    let now = Time::ZERO;
    let mut speaker = Speaker::new(SpeakerConfig::new(ASN, Ipv4Addr::new(10, 9, 0, 99)), now);
    for (number, asn) in NEIGHBOURS {
        let config = PeerConfig {
            passive: true,
            ..PeerConfig::new(v4(number), asn, ASN)
        };
        speaker.set_peer(now, config);
        let (here, there) = (
            SocketAddr::new(v4(99), 179),
            SocketAddr::new(v4(number), 40000),
        );
        let connection = speaker
            .handle_incoming(now, here, there)
            .map_err(anyhow::Error::msg)?;
        let codec = Codec {
            four_octet_as: true,
            families: vec![Family::Ipv4Unicast],
            ..Codec::initial()
        };
        let mut bytes = Vec::new();
        let open = Open {
            asn,
            hold_time_seconds: 0,
            router_id: router_id(number),
            capabilities: vec![
                Capability::Multiprotocol(Family::Ipv4Unicast),
                Capability::FourOctetAs(asn),
            ],
        };
        codec.encode(&Message::Open(open), &mut bytes);
        codec.encode(&Message::Keepalive, &mut bytes);
        for choice in choices {
            if let Some(attributes) = choice.paths.get(&number) {
                codec.encode_announce(attributes, &[Nlri::from(choice.prefix)], &mut bytes);
            }
        }
        speaker.handle_bytes(now, connection, &bytes);
    }
    let chosen = |choice: &Choice| {
        let route = speaker.route(&choice.prefix)?;
        let best = route.paths.iter().find(|path| path.best)?;
        let reasons = route.paths.iter().filter_map(|path| {
            let reason = path.lost_because.as_ref()?;
            Some(format!("{}: {reason}", path.peer?))
        });
        let reasons: Vec<String> = reasons.collect();
        Some((choice.prefix, (best.peer?, reasons.join("; "))))
    };
    let with_paths = choices.iter().filter(|choice| !choice.paths.is_empty());
    with_paths
        .map(|choice| chosen(choice).with_context(|| format!("no path chosen for {choice:?}")))
        .collect()
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}
