//! The reflector's configuration: one YAML file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use caracal_bgp::config::bfd;
use caracal_bgp::wire::Family;
use caracal_bgp::{BfdConfig, RemoteAs};
use caracal_bgp_net::{Md5Key, SessionOptions};
use ipnet::IpNet;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// What `--help` says about the file.
pub(crate) const HELP: &str = "\
CONFIGURATION, one of two ways. Defaults in brackets.
  (a) This file alone:
    asn: 64512
    routerId: 172.31.0.1
    clusterId: 1.0.0.1                [the router id]
    listen: [\"172.31.0.1:179\"]
    holdTime: 90                      seconds, 0 or at least 3 [90]
    families: [ipv4-unicast]          [ipv4-unicast, ipv6-unicast]
    peers:
      - {address: 172.31.1.1, asn: 64512, client: true, passive: true}
                                      also port: [179]; client and passive: [false];
                                      password: 1 to 80 octets, signs the session (TCP MD5) [none];
                                      ttlSecurity: hops, no packet from farther away is taken [off];
                                      bfd: true, or {minIntervalMilliseconds: [300], multiplier: [3],
                                      multihop: [unless in a subnet of ours]}, a path that fails ends
                                      the session at once [false]
    dynamicPeers:                     whoever connects from here is a peer
      - {prefix: 172.31.0.0/16, asn: 64512, client: true}
                                      also password, ttlSecurity, bfd; with a password every peer in the
                                      prefix needs one
  (b) From the cluster's resources: AS number, cluster id and peers are what Node, BGPPeer and
      BGPConfiguration say of this node; clients find it by the same resources.
    datastore: {type: file, path: /var/lib/caracal/store}
    nodename: rr1                     its Node has spec.bgp.routeReflectorClusterID
    routerId: hash                    an address, or `hash` of the name [the node's IPv4 address]
    listen: [\"172.31.0.1:179\"]        [all addresses, listenPort of BGPConfiguration]
    holdTime: 90                      [90]
  Both ways:
    http: {listen: \"127.0.0.1:9092\"}  /metrics, /livez, /readyz [none]
    socket: /run/caracal/rr.sock      for caracalctl [/run/caracal/rr.sock]
    log: {level: info, format: text}  level also `caracal_bgp_net=debug,info`; format text or json

SIGNALS: HUP reads the file again, as does a change of it: peers, dynamicPeers, families and holdTime follow at
         once and other sessions stay; the rest needs a restart, and status says so.
         TERM and INT end the sessions so that peers keep the routes for their restart time.";

/// What the file says, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) source: Source,
    pub(crate) hold_time_seconds: u16,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) socket: PathBuf,
    pub(crate) log: LogConfig,
}

/// Where AS number and peers come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    /// From the file itself.
    File(Standalone),
    /// From the cluster's resources.
    Datastore(FromDatastore),
}

/// A reflector that needs nothing but its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standalone {
    pub(crate) asn: u32,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cluster_id: Option<Ipv4Addr>,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) families: Vec<Family>,
    pub(crate) peers: Vec<PeerEntry>,
    pub(crate) dynamic_peers: Vec<DynamicEntry>,
}

/// A reflector that is a node of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FromDatastore {
    pub(crate) path: PathBuf,
    pub(crate) nodename: String,
    pub(crate) router_id: Option<String>,
    /// Empty: as the resources say.
    pub(crate) listen: Vec<SocketAddr>,
}

/// One of `peers`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PeerEntry {
    pub(crate) address: IpAddr,
    pub(crate) asn: RemoteAs,
    #[serde(default = "bgp_port")]
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) client: bool,
    #[serde(default)]
    pub(crate) passive: bool,
    #[serde(default, deserialize_with = "password")]
    pub(crate) password: Option<Md5Key>,
    #[serde(default)]
    pub(crate) ttl_security: Option<NonZeroU8>,
    #[serde(default, deserialize_with = "bfd::switch")]
    pub(crate) bfd: Option<BfdConfig>,
}

/// One of `dynamicPeers`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DynamicEntry {
    pub(crate) prefix: IpNet,
    pub(crate) asn: RemoteAs,
    #[serde(default)]
    pub(crate) client: bool,
    #[serde(default, deserialize_with = "password")]
    pub(crate) password: Option<Md5Key>,
    #[serde(default)]
    pub(crate) ttl_security: Option<NonZeroU8>,
    #[serde(default, deserialize_with = "bfd::switch")]
    pub(crate) bfd: Option<BfdConfig>,
}

impl PeerEntry {
    /// What its connections need.
    pub(crate) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            key: self.password.clone(),
            ttl_security: self.ttl_security,
        }
    }
}

impl DynamicEntry {
    /// What its connections need.
    pub(crate) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            key: self.password.clone(),
            ttl_security: self.ttl_security,
        }
    }
}

/// Logs on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct LogConfig {
    pub(crate) level: String,
    pub(crate) format: LogFormat,
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

/// The file as it stands, with everything that may be absent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Raw {
    asn: Option<u32>,
    router_id: Option<String>,
    cluster_id: Option<Ipv4Addr>,
    #[serde(default)]
    listen: Vec<SocketAddr>,
    hold_time: Option<u16>,
    families: Option<Vec<Family>>,
    #[serde(default)]
    peers: Vec<PeerEntry>,
    #[serde(default)]
    dynamic_peers: Vec<DynamicEntry>,
    datastore: Option<RawDatastore>,
    nodename: Option<String>,
    #[serde(default)]
    http: RawHttp,
    socket: Option<PathBuf>,
    #[serde(default)]
    log: LogConfig,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawDatastore {
    #[serde(rename = "type")]
    kind: DatastoreKind,
    path: PathBuf,
}

/// The backends of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum DatastoreKind {
    File,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    listen: Option<SocketAddr>,
}

impl Config {
    /// Reads and checks a file. The error is one sentence with file, field and value.
    pub(crate) fn load(path: &Path) -> Result<Config, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|fault| format!("{}: {fault}", path.display()))?;
        Config::parse(&text).map_err(|fault| format!("{}: {fault}", path.display()))
    }

    /// Checks the text of a file.
    pub(crate) fn parse(text: &str) -> Result<Config, String> {
        let mut raw: Raw = serde_saphyr::from_str(text).map_err(|fault| {
            if text.contains("password") {
                // The lines around the fault may hold one, and logs are read by many.
                fault.without_snippet().to_string()
            } else {
                fault.to_string()
            }
        })?;
        let hold_time_seconds = raw.hold_time.unwrap_or(HOLD_TIME_SECONDS);
        if (1..3).contains(&hold_time_seconds) {
            return Err(format!(
                "holdTime: {hold_time_seconds} is neither 0 nor at least 3 seconds (RFC 4271 §4.2)"
            ));
        }
        if let Some(address) = raw.listen.iter().find(|address| address.port() == 0) {
            return Err(format!("listen: {address}: 0 is not a port"));
        }
        Ok(Config {
            hold_time_seconds,
            http: raw.http.listen,
            socket: raw.socket.take().unwrap_or_else(|| SOCKET_DEFAULT.into()),
            log: std::mem::take(&mut raw.log),
            source: match raw.datastore.take() {
                Some(datastore) => Source::Datastore(raw.into_node(datastore)?),
                None => Source::File(raw.into_standalone()?),
            },
        })
    }
}

impl Raw {
    fn into_node(self, datastore: RawDatastore) -> Result<FromDatastore, String> {
        let DatastoreKind::File = datastore.kind;
        let nodename = match self.nodename {
            Some(name) if !name.is_empty() => name,
            _ => {
                return Err(
                    "nodename: missing; with a datastore it says which Node this reflector is"
                        .to_owned(),
                );
            }
        };
        for (field, given) in [
            ("asn", self.asn.is_some()),
            ("clusterId", self.cluster_id.is_some()),
            ("families", self.families.is_some()),
            ("peers", !self.peers.is_empty()),
            ("dynamicPeers", !self.dynamic_peers.is_empty()),
        ] {
            if given {
                return Err(format!(
                    "{field}: comes from the datastore and cannot be given beside `datastore`"
                ));
            }
        }
        Ok(FromDatastore {
            path: datastore.path,
            nodename,
            router_id: self.router_id,
            listen: self.listen,
        })
    }

    fn into_standalone(self) -> Result<Standalone, String> {
        if let Some(nodename) = self.nodename {
            return Err(format!(
                "nodename: {nodename} has a meaning only with `datastore`"
            ));
        }
        let asn = check_asn(
            "asn",
            self.asn
                .ok_or("asn: missing (or give `datastore` and `nodename`)")?,
        )?;
        let router_id = self.router_id.ok_or("routerId: missing")?;
        let router_id = match router_id.parse::<Ipv4Addr>() {
            Ok(address) if !address.is_unspecified() => address,
            _ => {
                return Err(format!(
                    "routerId: `{router_id}` is not an IPv4 address that can name a router"
                ));
            }
        };
        if self.listen.is_empty() && self.peers.iter().all(|peer| peer.passive) {
            return Err(
                "listen: missing, and without it no passive or dynamic peer can connect".to_owned(),
            );
        }
        let families = self
            .families
            .unwrap_or_else(|| vec![Family::Ipv4Unicast, Family::Ipv6Unicast]);
        if families.is_empty() {
            return Err("families: empty, so that nothing could be reflected".to_owned());
        }
        for (index, peer) in self.peers.iter().enumerate() {
            let at = format!("peers[{index}]");
            check_remote(&at, peer.asn)?;
            check_client(&at, peer.client, peer.asn, asn)?;
            if peer.port == 0 {
                return Err(format!("{at}.port: 0 is not a port"));
            }
            if peer.password.is_none() {
                check_unsigned(&at, peer.address.into(), &self.dynamic_peers)?;
            }
            if self
                .peers
                .iter()
                .take(index)
                .any(|earlier| earlier.address == peer.address)
            {
                return Err(format!("{at}.address: {} is there twice", peer.address));
            }
        }
        for (index, entry) in self.dynamic_peers.iter().enumerate() {
            let at = format!("dynamicPeers[{index}]");
            check_remote(&at, entry.asn)?;
            check_client(&at, entry.client, entry.asn, asn)?;
            if entry.prefix != entry.prefix.trunc() {
                return Err(format!("{at}.prefix: {} has host bits set", entry.prefix));
            }
            if entry.password.is_none() {
                check_unsigned(&at, entry.prefix, &self.dynamic_peers)?;
            }
        }
        Ok(Standalone {
            asn,
            router_id,
            cluster_id: self.cluster_id,
            listen: self.listen,
            families,
            peers: self.peers,
            dynamic_peers: self.dynamic_peers,
        })
    }
}

/// The kernel takes nothing unsigned from a prefix that has a key.
fn check_unsigned(at: &str, peers: IpNet, dynamic: &[DynamicEntry]) -> Result<(), String> {
    let signed = dynamic
        .iter()
        .find(|entry| entry.password.is_some() && entry.prefix.contains(&peers));
    match signed {
        None => Ok(()),
        Some(entry) => Err(format!(
            "{at}.password: missing, and dynamicPeers has one for {}, which this is part of",
            entry.prefix
        )),
    }
}

/// Its errors do not say what it is.
fn password<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Md5Key>, D::Error> {
    let Ok(text) = Option::<String>::deserialize(deserializer) else {
        return Err(D::Error::custom("password is not a text"));
    };
    let key = text.map(|text| Md5Key::new(text.as_bytes())).transpose();
    key.map_err(|why| D::Error::custom(format!("password: {why}")))
}

fn check_asn(field: &str, asn: u32) -> Result<u32, String> {
    if asn == 0 {
        Err(format!("{field}: 0 is not an AS number"))
    } else {
        Ok(asn)
    }
}

fn check_remote(field: &str, asn: RemoteAs) -> Result<(), String> {
    match asn {
        RemoteAs::Number(asn) => check_asn(&format!("{field}.asn"), asn).map(|_| ()),
        RemoteAs::External | RemoteAs::Internal => Ok(()),
    }
}

fn check_client(field: &str, client: bool, asn: RemoteAs, own: u32) -> Result<(), String> {
    if client && asn.is_external(own) {
        return Err(format!(
            "{field}.client: a client has our AS number {own}, and this peer has {asn}"
        ));
    }
    Ok(())
}

fn bgp_port() -> u16 {
    179
}

const HOLD_TIME_SECONDS: u16 = 90;
const SOCKET_DEFAULT: &str = "/run/caracal/rr.sock";

#[cfg(test)]
mod tests;
