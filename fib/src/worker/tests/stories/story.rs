//! What may happen, and stories of it, each made from one number.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::kernel::VxlanLink;
use crate::model::{
    Change, Encapsulation, Endpoint, Gate, IpipDevice, Mode, Route, Standing, TunnelSet, Tunnels,
    Vtep, VxlanDevice,
};
use crate::settings::Settings;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Wish(Vec<Change>),
    /// The worker does one turn, with whatever events have come so far.
    Turn,
    /// Turns until there is nothing to do at this moment.
    Settle,
    /// So many milliseconds pass.
    Wait(u64),
    Deed(Deed),
    Fault(Fault),
    /// The worker ends, and a new one begins on the same kernel and is told all wishes again.
    Restart,
    /// Faults end, time passes, and the kernel is compared with the wishes.
    Quiet,
}

/// What someone else does to the kernel. It has no effect where its object is not there.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    SetRoute {
        prefix: IpNet,
        metric: u32,
        protocol: u8,
        way: ForeignWay,
        replace: bool,
    },
    /// Whatever protocol it has.
    DeleteRoute {
        prefix: IpNet,
    },
    /// `ip route flush proto 67`
    Flush,
    /// Of our nexthop objects, the one in this place.
    DeleteObject(usize),
    Link(&'static str, LinkDeed),
    Address {
        device: &'static str,
        address: IpNet,
        add: bool,
    },
    /// A permanent neighbour; without a MAC it is deleted.
    Neighbour {
        device: &'static str,
        address: IpAddr,
        mac: Option<[u8; 6]>,
    },
}

#[derive(Debug, Clone)]
pub(super) enum ForeignWay {
    Blackhole,
    Via(IpAddr, &'static str),
    Device(&'static str),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum LinkDeed {
    /// With its addresses, unless such a device is there.
    Add,
    Delete,
    /// Gone, and back with another index.
    Renew,
    Down,
    Up,
    Rename(&'static str),
    Mtu(u32),
}

#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// Each n-th route write is refused with this errno; 0: none any more.
    RefuseWrites { every: u32, errno: i32 },
    /// Each n-th change of devices, addresses and neighbours; 0: none any more.
    RefuseChanges { every: u32, errno: i32 },
    /// The next batch is carried out, its answers are lost.
    LoseAnswers,
    /// The next batch is lost with its socket.
    LoseSocket,
    /// Events that are on their way are lost, and the kernel says so.
    LoseEvents,
    /// The kernel is to be read, and that takes so many turns.
    SlowRead(u32),
    /// The next whole reads fail.
    FailReads(u32),
    /// The next lookups have no answer.
    FailLookups(u32),
}

/// The story of this number.
pub(super) fn story(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let length = dice.below(50) + 6;
    let mut steps: Vec<Step> = (0..length).map(|_| dice.step()).collect();
    // Most nodes have a gate that opens at some time.
    if dice.one_in(2) {
        let place = dice.below(steps.len());
        steps.insert(place, Step::Wish(vec![Change::SetGate(Gate::Open)]));
    }
    steps
}

/// A node has these devices at first, all up.
pub(super) const DEVICES: [&str; 5] = ["eth0", "eth1", "cali1", "cali2", "cali3"];

/// The addresses of a device of the host.
pub(super) fn addresses_of(device: &str) -> Vec<IpNet> {
    let texts: &[&str] = match device {
        "eth0" => &["172.18.0.1/24", "2001:db8:18::1/64"],
        "eth1" => &["172.19.0.1/24", "2001:db8:19::1/64"],
        _ => &[],
    };
    texts.iter().map(|text| net(text)).collect()
}

/// Prefixes that may be wished for. Others have only foreign routes.
pub(super) const WISHABLE: [&str; 12] = [
    "10.233.1.0/26",
    "10.233.1.7/32",
    "10.233.1.8/32",
    "10.233.2.0/26",
    "10.233.3.0/26",
    "10.233.4.0/26",
    "fd00:10:233:1::/122",
    "fd00:10:233:1::7/128",
    "fd00:10:233:1::8/128",
    "fd00:10:233:2::/122",
    "fd00:10:233:3::/122",
    "fd00:10:233:4::/122",
];
/// All metrics that routes of ours may have, and some that others use.
pub(super) const METRICS: [u32; 5] = [0, 50, 100, 512, 1024];
/// What events and faults bring about is not to be mended by a read now and then.
pub(super) const NEVER: Duration = Duration::from_secs(1_000_000);
/// Nobody wishes for these.
const FOREIGN: [&str; 2] = ["192.0.2.0/24", "2001:db8:99::/48"];
/// Where routers lead that are not on our links.
const BEYOND: [&str; 2] = ["172.20.0.0/16", "2001:db8:20::/48"];
const NODES_V4: [&str; 4] = ["172.18.0.2", "172.18.0.3", "172.19.0.9", "172.20.0.9"];
const NODES_V6: [&str; 4] = [
    "2001:db8:18::2",
    "2001:db8:18::3",
    "2001:db8:19::9",
    "2001:db8:20::9",
];
const CALIS: [&str; 3] = ["cali1", "cali2", "cali3"];

/// Random numbers from a seed (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    fn step(&mut self) -> Step {
        match self.below(34) {
            0..12 => {
                let count = if self.one_in(4) { 4 } else { 1 };
                Step::Wish((0..count).map(|_| self.change()).collect())
            }
            12..15 => Step::Turn,
            15..18 => Step::Settle,
            18..20 => Step::Wait(self.below(3000) as u64),
            20..29 => Step::Deed(self.deed()),
            29..32 => Step::Fault(self.fault()),
            32 => Step::Restart,
            _ => Step::Quiet,
        }
    }

    fn change(&mut self) -> Change {
        match self.below(17) {
            16 => Change::SetSettings(Box::new(self.settings())),
            0..6 => {
                let prefix = self.wishable();
                Change::SetRoute(prefix, self.route(&prefix))
            }
            6..8 => Change::RemoveRoute(self.wishable()),
            8..11 => Change::SetEndpoint(self.one(&CALIS).into(), self.endpoint()),
            11 => Change::RemoveEndpoint(self.one(&CALIS).into()),
            12 => Change::SetTunnels(Box::new(self.tunnels())),
            13 => {
                let node = self.node();
                // Sometimes a node names what is another's: it got its address, or its successor did.
                let like = match node {
                    IpAddr::V4(_) if self.one_in(4) => ip(self.one(&NODES_V4)),
                    IpAddr::V6(_) if self.one_in(4) => ip(self.one(&NODES_V6)),
                    _ => node,
                };
                Change::SetVtep(node, vtep(like, self.below(2) as u8))
            }
            14 if self.one_in(3) => Change::SetIpipEnd(self.node(), self.one_in(2)),
            14 => {
                let node = self.node();
                match self.one_in(3) {
                    true => Change::RemoveVtep(node),
                    false => Change::SetVtep(node, vtep(node, 0)),
                }
            }
            _ => Change::SetGate(self.gate()),
        }
    }

    fn wishable(&mut self) -> IpNet {
        net(self.one(&WISHABLE))
    }

    fn node(&mut self) -> IpAddr {
        let all = [NODES_V4, NODES_V6].concat();
        ip(self.one(&all))
    }

    fn route(&mut self, prefix: &IpNet) -> Route {
        let v4 = prefix.addr().is_ipv4();
        let count = if self.one_in(3) { 2 } else { 1 };
        match self.below(8) {
            0 => Route::Blackhole,
            1 => Route::Links {
                next_hops: (0..count)
                    .map(|i| {
                        let device = self.one(&["eth0", "eth1", "eth1"]);
                        (ip(["fe80::1", "fe80::2"][i]), device.into())
                    })
                    .collect(),
            },
            _ => {
                let encapsulation = self.encapsulation();
                // RFC 8950, directly only: a tunnel goes to nodes of its own family.
                let either = v4 && encapsulation == Encapsulation::None && self.one_in(6);
                let nodes = if v4 && !either { NODES_V4 } else { NODES_V6 };
                Route::Remote {
                    next_hops: (0..count).map(|_| ip(self.one(&nodes))).collect(),
                    encapsulation,
                }
            }
        }
    }

    fn encapsulation(&mut self) -> Encapsulation {
        self.one(&[
            Encapsulation::None,
            Encapsulation::None,
            Encapsulation::Ipip(Mode::CrossSubnet),
            Encapsulation::Ipip(Mode::Always),
            Encapsulation::Vxlan(Mode::CrossSubnet),
            Encapsulation::Vxlan(Mode::Always),
        ])
    }

    fn endpoint(&mut self) -> Endpoint {
        let pool = [
            "10.233.1.7",
            "10.233.1.8",
            "fd00:10:233:1::7",
            "fd00:10:233:1::8",
        ];
        let mut addresses = vec![ip(self.one(&pool))];
        let second = ip(self.one(&pool));
        if !addresses.contains(&second) {
            addresses.push(second);
        }
        let last = self.below(2) as u8;
        Endpoint {
            addresses,
            mac: [2, 0, 0, 0, 0, 7 + last],
            standing: self.one(&[
                Standing::Normal,
                Standing::Normal,
                Standing::Normal,
                Standing::Awaited,
                Standing::Elevated,
            ]),
            may_spoof: false,
        }
    }

    fn tunnels(&mut self) -> Tunnels {
        let vxlan = |address: &str, local: &str, last: usize| VxlanDevice {
            vni: 4096,
            port: 4789,
            address: ip(address),
            mac: [0x66, 0, 0, 0, 0, last as u8],
            local: ip(local),
            mtu: None,
        };
        let address = if self.one_in(4) { 3 } else { 1 };
        let mac = usize::from(self.one_in(4));
        Tunnels {
            ipip: (!self.one_in(3)).then(|| IpipDevice {
                address: [10, 233, 1, address].into(),
                mtu: None,
            }),
            vxlan: (!self.one_in(3)).then(|| vxlan("10.233.1.2", "172.18.0.1", 1 + mac)),
            vxlan_v6: (!self.one_in(3))
                .then(|| vxlan("fd00:10:233:1::2", "2001:db8:18::1", 3 + mac)),
            leaving: TunnelSet::default(),
            awaited: TunnelSet {
                ipip: self.one_in(4),
                vxlan: self.one_in(4),
                vxlan_v6: self.one_in(4),
            },
        }
    }

    fn settings(&mut self) -> Settings {
        Settings {
            metric_v4: self.one(&[0, 0, 100]),
            metric_v6: self.one(&[0, 0, 100]),
            elevated_metric_v4: self.one(&[512, 50]),
            elevated_metric_v6: self.one(&[512, 50]),
            verify_interval: NEVER,
            ..Settings::default()
        }
    }

    fn gate(&mut self) -> Gate {
        self.one(&[
            Gate::Closed,
            Gate::LocalOnly,
            Gate::OpenExcept(vec![ip("172.18.0.3"), ip("2001:db8:20::9")]),
            Gate::Open,
            Gate::Open,
        ])
    }

    fn deed(&mut self) -> Deed {
        match self.below(21) {
            20 => Deed::DeleteObject(self.below(4)),
            0..5 => self.foreign_route(),
            5..8 => Deed::DeleteRoute {
                prefix: self.wishable(),
            },
            8 => Deed::Flush,
            9..15 => self.link_deed(),
            15..17 => self.address_deed(),
            _ => {
                let (device, address) = self.one(&[
                    ("cali1", "10.233.1.7"),
                    ("cali1", "fd00:10:233:1::7"),
                    ("cali2", "10.233.1.8"),
                    ("cali2", "10.233.1.9"),
                    ("vxlan.calico", "10.233.2.0"),
                    ("vxlan.calico", "10.233.2.77"),
                ]);
                Deed::Neighbour {
                    device,
                    address: ip(address),
                    mac: (!self.one_in(2)).then_some([2, 0, 0, 0, 0, 0x99]),
                }
            }
        }
    }

    fn foreign_route(&mut self) -> Deed {
        let wishable = self.wishable();
        let prefix = match self.below(6) {
            0 => net(self.one(&FOREIGN)),
            1..3 => net(self.one(&BEYOND)),
            _ => wishable,
        };
        let v4 = prefix.addr().is_ipv4();
        let beyond = BEYOND.iter().any(|text| net(text) == prefix);
        let foreign = FOREIGN.iter().any(|text| net(text) == prefix);
        let via = |device: &'static str| {
            let text = match (device, v4) {
                ("eth0", true) => "172.18.0.254",
                ("eth0", false) => "2001:db8:18::fe",
                (_, true) => "172.19.0.254",
                (_, false) => "2001:db8:19::fe",
            };
            ForeignWay::Via(ip(text), device)
        };
        let way = match self.below(6) {
            0 => ForeignWay::Blackhole,
            1 if !beyond && !foreign => ForeignWay::Device(self.one(&CALIS)),
            2 | 3 if !foreign => via("eth1"),
            _ => via("eth0"),
        };
        let protocol = match foreign || beyond {
            true => self.one(&[3u8, 4, 16, 186]),
            false => self.one(&[3u8, 4, 12, 67, 80, 80]),
        };
        Deed::SetRoute {
            prefix,
            metric: if !foreign && !beyond && self.one_in(4) {
                50
            } else {
                0
            },
            protocol,
            way,
            replace: !self.one_in(4),
        }
    }

    fn link_deed(&mut self) -> Deed {
        let device = self.one(&[
            "eth1",
            "eth1",
            "eth2",
            "cali1",
            "cali2",
            "cali3",
            "tunl0",
            "vxlan.calico",
            "vxlan-v6.calico",
        ]);
        let deed = match self.below(10) {
            0 => LinkDeed::Delete,
            1 | 2 => LinkDeed::Renew,
            3..5 => LinkDeed::Down,
            5..7 => LinkDeed::Up,
            7 => LinkDeed::Add,
            8 => match device {
                "eth1" => LinkDeed::Rename("eth2"),
                "eth2" => LinkDeed::Rename("eth1"),
                _ => LinkDeed::Down,
            },
            _ => LinkDeed::Mtu(self.one(&[1400, 1450, 1500])),
        };
        Deed::Link(device, deed)
    }

    fn address_deed(&mut self) -> Deed {
        let (device, address) = self.one(&[
            ("eth1", "172.19.0.1/24"),
            ("eth1", "2001:db8:19::1/64"),
            ("eth0", "172.21.0.1/24"),
            ("tunl0", "10.99.0.1/32"),
            ("vxlan.calico", "10.99.0.2/32"),
        ]);
        Deed::Address {
            device,
            address: net(address),
            add: !self.one_in(2),
        }
    }

    fn fault(&mut self) -> Fault {
        let every = self.below(4) as u32;
        match self.below(13) {
            0..2 => Fault::RefuseWrites {
                every,
                errno: self.one(&[libc::ENOMEM, libc::ENOBUFS, libc::EINVAL, libc::ENETUNREACH]),
            },
            2 => Fault::RefuseChanges {
                every,
                errno: self.one(&[libc::ENOMEM, libc::EBUSY]),
            },
            3..5 => Fault::LoseAnswers,
            5 => Fault::LoseSocket,
            6..8 => Fault::LoseEvents,
            8 => Fault::FailReads(1 + self.below(3) as u32),
            9..12 => Fault::SlowRead(self.below(12) as u32),
            _ => Fault::FailLookups(1 + self.below(3) as u32),
        }
    }
}

/// Each node has a tunnel address and MAC of its own. The addresses are in the nodes' own blocks.
fn vtep(node: IpAddr, last: u8) -> Vtep {
    let v4 = NODES_V4.iter().position(|text| ip(text) == node);
    let v6 = NODES_V6.iter().position(|text| ip(text) == node);
    let place = 2 + v4.or(v6).unwrap_or_default() as u8;
    Vtep {
        address: match node {
            IpAddr::V4(_) => [10, 233, place, last].into(),
            IpAddr::V6(_) => ip(&format!("fd00:10:233:{place}::{last}")),
        },
        mac: [0x66, 0, u8::from(node.is_ipv6()), 1, place, last],
    }
}

/// A device as it would have to be made.
pub(super) fn vxlan_link(device: &VxlanDevice) -> VxlanLink {
    VxlanLink {
        vni: device.vni,
        port: device.port,
        local: Some(device.local),
        learning: false,
    }
}

pub(super) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
