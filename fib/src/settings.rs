//! What may change of the way in which the FIB works while it runs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::device_prefixes::DevicePrefixes;
use crate::model::{Config, Standing};

/// How the FIB works, as far as it may change while it runs. Until [`crate::Change::SetSettings`] it is as
/// [`Config`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Metric of our IPv4 routes; 0: none given.
    pub metric_v4: u32,
    /// The same of IPv6; 0 is 1024, which the kernel makes of it.
    pub metric_v6: u32,
    /// Metric of routes to workloads that have just moved here ([`Standing::Elevated`]): lower, so that they win.
    pub elevated_metric_v4: u32,
    /// The same of IPv6.
    pub elevated_metric_v6: u32,
    /// Source of the node's own packets to its workloads (RTA_PREFSRC), while some device here has it.
    pub source_v4: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub source_v6: Option<Ipv6Addr>,
    /// How often the kernel is read whole, as a safety net under events; zero: never, less than a
    /// second: each second.
    pub verify_interval: Duration,
    /// How devices of local workloads are named: `cali…`.
    pub device_prefixes: DevicePrefixes,
    /// The smallest MTU of these devices is the host's.
    pub mtu_devices: MtuDevices,
    /// Routes of others on devices of our workloads are removed, as Felix does (`removeExternalRoutes`).
    pub remove_external_routes: bool,
    /// The node forwards packets: `ip_forward`. False: whatever it is, it stays.
    pub forwarding: bool,
}

/// The devices whose MTU counts.
#[derive(Debug, Clone, Default)]
pub enum MtuDevices {
    /// Those that have an address in a subnet.
    #[default]
    WithSubnet,
    /// Those whose name the pattern matches somewhere; when there is none, those of [`MtuDevices::WithSubnet`].
    Matching(regex::bytes::Regex),
}

impl MtuDevices {
    /// By a regular expression on names of devices; the error says what is wrong with it.
    pub fn matching(pattern: &str) -> Result<MtuDevices, String> {
        regex::bytes::RegexBuilder::new(pattern)
            .unicode(false)
            .build()
            .map(MtuDevices::Matching)
            .map_err(|fault| fault.to_string())
    }

    pub(crate) fn named(&self, name: &str) -> bool {
        match self {
            MtuDevices::WithSubnet => false,
            MtuDevices::Matching(pattern) => pattern.is_match(name.as_bytes()),
        }
    }
}

impl PartialEq for MtuDevices {
    fn eq(&self, other: &MtuDevices) -> bool {
        match (self, other) {
            (MtuDevices::WithSubnet, MtuDevices::WithSubnet) => true,
            (MtuDevices::Matching(one), MtuDevices::Matching(other)) => {
                one.as_str() == other.as_str()
            }
            _ => false,
        }
    }
}

impl Eq for MtuDevices {}

impl Default for Settings {
    fn default() -> Settings {
        Settings::of(&Config::default())
    }
}

impl Settings {
    /// As it is at the start.
    pub(crate) fn of(config: &Config) -> Settings {
        Settings {
            metric_v4: config.metric,
            metric_v6: config.metric,
            elevated_metric_v4: ELEVATED,
            elevated_metric_v6: ELEVATED,
            source_v4: None,
            source_v6: None,
            verify_interval: config.verify_interval,
            device_prefixes: config.device_prefixes.clone(),
            mtu_devices: MtuDevices::default(),
            remove_external_routes: config.remove_external_routes,
            forwarding: true,
        }
    }

    /// The metric of a route to this address.
    pub(crate) fn metric(&self, to: &IpAddr, standing: Standing) -> u32 {
        match (to, standing) {
            (IpAddr::V4(_), Standing::Elevated) => self.elevated_metric_v4,
            (IpAddr::V6(_), Standing::Elevated) => self.elevated_metric_v6,
            (IpAddr::V4(_), _) => self.metric_v4,
            (IpAddr::V6(_), _) => self.metric_v6,
        }
    }

    /// The source of packets to this address.
    pub(crate) fn source(&self, to: &IpAddr) -> Option<IpAddr> {
        match to {
            IpAddr::V4(_) => self.source_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.source_v6.map(IpAddr::V6),
        }
    }
}

/// Calico's.
const ELEVATED: u32 = 512;
