//! Who wants to watch, and what.

use std::net::SocketAddr;
use std::path::PathBuf;

use caracal_bgp::tap::TapConfig;
use serde::{Deserialize, Serialize};

/// What is monitored; nothing by default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MonitorConfig {
    /// Collectors of BMP.
    pub bmp: Vec<StationConfig>,
    /// Files of MRT.
    pub mrt: MrtConfig,
}

/// A monitoring station (RFC 7854 §3.2). We connect to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StationConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// Adj-RIBs-In as they arrived.
    #[serde(default = "yes")]
    pub pre_policy: bool,
    /// Adj-RIBs-In as import policy left them.
    #[serde(default = "yes")]
    pub post_policy: bool,
    /// The Loc-RIB (RFC 9069).
    #[serde(default = "yes")]
    pub loc_rib: bool,
    /// Seconds between two Statistics Reports; 0: none.
    #[serde(default = "a_minute")]
    pub statistics_seconds: u32,
    /// When so many octets wait for it, it is let go and begins anew.
    #[serde(default = "queue_octets_max")]
    pub queue_octets_max: usize,
}

impl StationConfig {
    /// A station that gets everything.
    pub fn new(address: SocketAddr) -> StationConfig {
        StationConfig {
            address,
            pre_policy: true,
            post_policy: true,
            loc_rib: true,
            statistics_seconds: a_minute(),
            queue_octets_max: queue_octets_max(),
        }
    }
}

/// MRT files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct MrtConfig {
    /// Messages and state changes as they come.
    pub updates: Option<UpdatesConfig>,
    /// All that peers have sent, from time to time.
    pub rib: Option<RibConfig>,
}

/// Where messages go (RFC 6396 §4.4).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdatesConfig {
    /// Files are `updates.SECONDS.mrt`, after the second of their beginning.
    pub directory: PathBuf,
    /// A new file is begun after so many seconds.
    #[serde(default = "a_quarter_of_an_hour")]
    pub rotate_seconds: u64,
    /// A new file is begun when one has so many octets.
    #[serde(default = "file_octets_max")]
    pub rotate_octets: u64,
    /// UPDATEs that we send, too.
    #[serde(default)]
    pub sent: bool,
}

/// Where tables go (RFC 6396 §4.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RibConfig {
    /// Files are `rib.SECONDS.mrt`, after the second of their beginning.
    pub directory: PathBuf,
    /// So many seconds apart.
    #[serde(default = "two_hours")]
    pub interval_seconds: u64,
}

impl MonitorConfig {
    /// Whether there is anything to watch for.
    pub fn is_empty(&self) -> bool {
        *self == MonitorConfig::default()
    }

    /// What to tap of the speaker.
    pub fn tap(&self) -> Option<TapConfig> {
        let updates = self.mrt.updates.as_ref();
        let of_station = |wants: fn(&StationConfig) -> bool| self.bmp.iter().any(wants);
        (!self.is_empty()).then(|| TapConfig {
            received: updates.is_some(),
            sent: updates.is_some_and(|updates| updates.sent),
            adj_rib_in: of_station(|station| station.pre_policy || station.post_policy),
            loc_rib: of_station(|station| station.loc_rib),
        })
    }

    /// What cannot be meant; the text names the key and carries the value.
    pub fn check(&self) -> Result<(), String> {
        for (index, station) in self.bmp.iter().enumerate() {
            let address = station.address;
            if address.port() == 0 || address.ip().is_unspecified() {
                return Err(format!("bmp: {address} is no address to connect to"));
            }
            if self.bmp[..index].iter().any(|one| one.address == address) {
                return Err(format!("bmp: {address} is there twice"));
            }
            if station.queue_octets_max < QUEUE_OCTETS_MIN {
                let octets = station.queue_octets_max;
                return Err(format!(
                    "bmp: {address}: queueOctetsMax: {octets} is less than {QUEUE_OCTETS_MIN}"
                ));
            }
        }
        if let Some(updates) = &self.mrt.updates
            && (updates.rotate_seconds == 0 || updates.rotate_octets == 0)
        {
            return Err("mrt: updates: a file without time or octets".to_owned());
        }
        match &self.mrt.rib {
            Some(rib) if rib.interval_seconds == 0 => {
                Err("mrt: rib: intervalSeconds: 0".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn yes() -> bool {
    true
}

fn a_minute() -> u32 {
    60
}

fn a_quarter_of_an_hour() -> u64 {
    15 * 60
}

fn two_hours() -> u64 {
    2 * 60 * 60
}

fn queue_octets_max() -> usize {
    16 << 20
}

fn file_octets_max() -> u64 {
    100 << 20
}

/// The piece of a dump that is asked for must fit, and all Peer Ups with it.
const QUEUE_OCTETS_MIN: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> MonitorConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_station_needs_no_more_than_an_address() {
        let config = read(r#"{"bmp": [{"address": "192.0.2.7:11019"}]}"#);
        let address = "192.0.2.7:11019".parse().unwrap();
        assert_eq!(config.bmp, [StationConfig::new(address)]);
        config.check().unwrap();
        let tap = config.tap().unwrap();
        assert!(tap.adj_rib_in && tap.loc_rib && !tap.received && !tap.sent);
    }

    #[test]
    fn nothing_is_tapped_for_nobody() {
        assert_eq!(read("{}").tap(), None);
    }

    #[test]
    fn what_cannot_be_meant_is_named_with_its_value() {
        for (text, value) in [
            (r#"{"bmp": [{"address": "192.0.2.7:0"}]}"#, "192.0.2.7:0"),
            (
                r#"{"bmp": [{"address": "192.0.2.7:1"}, {"address": "192.0.2.7:1"}]}"#,
                "twice",
            ),
            (
                r#"{"bmp": [{"address": "192.0.2.7:1", "queueOctetsMax": 17}]}"#,
                "17",
            ),
            (
                r#"{"mrt": {"rib": {"directory": "/tmp", "intervalSeconds": 0}}}"#,
                "intervalSeconds: 0",
            ),
        ] {
            let error = read(text).check().unwrap_err();
            assert!(error.contains(value), "{error}");
        }
    }
}
