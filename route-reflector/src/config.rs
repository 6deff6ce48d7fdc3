//! The reflector's configuration: one YAML file.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};

use caracal_bgp::RemoteAs;
use caracal_bgp::wire::Family;
use caracal_bgp_net::monitor::{MonitorConfig, MrtConfig, StationConfig};
use caracal_bgp_net::{Md5Key, SessionOptions};
use caracal_datastore::DatastoreConfig;
use caracal_peering::{PeerOptions, parsed};
use ipnet::IpNet;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// What `--help` says about the file.
pub(crate) const HELP: &str = "\
CONFIGURATION, one of two ways. Defaults in brackets.
  (a) This file alone:
    asn: 64512
    routerId: 172.31.0.1
    clusterId: 1.0.0.1                [the router id]
    clientToClient: true              false: the clients are fully meshed and hear of one another without
                                      the reflector [true]
    listen: [\"172.31.0.1:179\"]
    holdTime: 90                      seconds, 0 or at least 3 [90]
    families: [ipv4-unicast]          [ipv4-unicast, ipv6-unicast]
    peers:
      - {address: 172.31.1.1, asn: 64512, client: true, passive: true}
                                      also port: [179]; client: [false]; localAsn: [asn];
                                      password: 1 to 80 octets, signs the session (TCP MD5) [none];
                                      ttlSecurity: hops, no packet from farther away is taken [off];
                                      and all of docs/operation/session-options.md: passive, bfd, import,
                                      export, prefixLimits, addPath, role, longLived, shutdown ...
    dynamicPeers:                     whoever connects from here is a peer
      - {prefix: 172.31.0.0/16, asn: 64512, client: true}
                                      the same but for port; with a password every peer in the prefix
                                      needs one
  (b) From the cluster's resources: AS number, cluster id and peers are what Node, BGPPeer and
      BGPConfiguration say of this node; clients find it by the same resources.
    datastore: {type: file, path: /var/lib/caracal/store}
                                      or {type: etcd, endpoints: [\"https://e1:2379\"]}, with caFile,
                                      certFile, keyFile, username, password; or {type: kubernetes}, with
                                      kubeconfig, context, apiGroup; and the environment over it, as
                                      the agent reads it: docs/operation/datastore.md
    nodename: rr1                     its Node has spec.bgp.routeReflectorClusterID
                                      [CARACAL_NODENAME or NODENAME of the environment]
    routerId: hash                    an address, or `hash` of the name [the node's IPv4 address]
    listen: [\"172.31.0.1:179\"]        [all addresses, listenPort of BGPConfiguration]
    holdTime: 90                      [90]
  Both ways:
    bgp:                              who watches the speaker; docs/operation/monitoring.md
      bmp: [{address: \"192.0.2.10:11019\"}]
      mrt: {updates: {directory: DIR}, rib: {directory: DIR}}
      record: /var/log/caracal/rr.jsonl
    http: {listen: \"127.0.0.1:9092\"}  /metrics, /livez, /readyz [none]
    socket: /run/caracal/rr.sock      for caracalctl [/run/caracal/rr.sock]
    log: {level: info, format: text}  level also `caracal_bgp_net=debug,info`; format text or json

SIGNALS: HUP reads the file again, as does a change of it: peers, dynamicPeers, clusterId, clientToClient, families and
         holdTime follow at once and other sessions stay; the rest needs a restart, and status says so.
         TERM and INT end the sessions so that peers keep the routes for their restart time.";

/// What the file says, checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    pub(crate) source: Source,
    pub(crate) hold_time_seconds: u16,
    pub(crate) bgp: BgpConfig,
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
    Datastore(Box<FromDatastore>),
}

/// A reflector that needs nothing but its file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standalone {
    pub(crate) asn: u32,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cluster_id: Option<Ipv4Addr>,
    /// Clients hear of one another through it (RFC 4456 §5).
    pub(crate) client_to_client: bool,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) families: Vec<Family>,
    pub(crate) peers: Vec<PeerEntry>,
    pub(crate) dynamic_peers: Vec<DynamicEntry>,
}

/// A reflector that is a node of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FromDatastore {
    pub(crate) datastore: DatastoreConfig,
    pub(crate) nodename: String,
    pub(crate) router_id: Option<String>,
    /// Empty: as the resources say.
    pub(crate) listen: Vec<SocketAddr>,
}

/// Who watches the speaker.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct BgpConfig {
    pub(crate) bmp: Vec<StationConfig>,
    pub(crate) mrt: MrtConfig,
    pub(crate) record: Option<PathBuf>,
}

impl BgpConfig {
    pub(crate) fn monitor(&self) -> MonitorConfig {
        MonitorConfig {
            bmp: self.bmp.clone(),
            mrt: self.mrt.clone(),
        }
    }
}

/// One of `peers`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct PeerEntry {
    #[serde(deserialize_with = "parsed")]
    pub(crate) address: IpAddr,
    #[serde(default = "bgp_port")]
    pub(crate) port: u16,
    #[serde(skip)]
    pub(crate) terms: Terms,
}

/// One of `dynamicPeers`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DynamicEntry {
    #[serde(deserialize_with = "parsed")]
    pub(crate) prefix: IpNet,
    #[serde(skip)]
    pub(crate) terms: Terms,
}

/// How a peer is spoken with, whoever it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Terms {
    #[serde(deserialize_with = "remote_as")]
    pub(crate) asn: RemoteAs,
    /// Our AS number towards it, where that is another (RFC 7705).
    #[serde(default)]
    pub(crate) local_asn: Option<u32>,
    #[serde(default)]
    pub(crate) client: bool,
    #[serde(default, deserialize_with = "password")]
    pub(crate) password: Option<Md5Key>,
    #[serde(default)]
    pub(crate) ttl_security: Option<NonZeroU8>,
    #[serde(skip)]
    pub(crate) options: PeerOptions,
}

impl PeerEntry {
    fn is_passive(&self) -> bool {
        self.terms.options.passive == Some(true)
    }
}

impl Default for Terms {
    /// Those of an internal peer, until an entry's own take their place.
    fn default() -> Terms {
        Terms {
            asn: RemoteAs::Internal,
            local_asn: None,
            client: false,
            password: None,
            ttl_security: None,
            options: PeerOptions::default(),
        }
    }
}

impl Terms {
    /// What its connections need.
    pub(crate) fn session_options(&self) -> SessionOptions {
        SessionOptions {
            key: self.password.clone(),
            ttl_security: self.ttl_security,
        }
    }

    /// `at`: where it is in the file. `own`: our AS number.
    fn check(&self, at: &str, own: u32) -> Result<(), String> {
        check_remote(at, self.asn)?;
        let local = self.local_asn.unwrap_or(own);
        check_asn(&format!("{at}.localAsn"), local)?;
        if self.client && self.asn.is_external(local) {
            return Err(format!(
                "{at}.client: a client has our AS number {local}, and this peer has {}",
                self.asn
            ));
        }
        let fits = self.options.check_for(!self.asn.is_external(local));
        fits.map_err(|why| format!("{at}.{why}"))
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
    client_to_client: Option<bool>,
    #[serde(default)]
    listen: Vec<SocketAddr>,
    hold_time: Option<u16>,
    families: Option<Vec<Family>>,
    /// Read on their own, so that each fault has its place. `peers:` alone, with all of its entries commented out, is none.
    peers: Option<Vec<Map<String, Value>>>,
    dynamic_peers: Option<Vec<Map<String, Value>>>,
    #[serde(default)]
    bgp: BgpConfig,
    datastore: Option<DatastoreConfig>,
    nodename: Option<String>,
    #[serde(default)]
    http: RawHttp,
    socket: Option<PathBuf>,
    #[serde(default)]
    log: LogConfig,
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
        let mut raw: Raw = serde_saphyr::from_str(text)
            .map_err(|fault| caracal_agent_api::yaml::fault(text, &fault))?;
        let hold_time_seconds = raw.hold_time.unwrap_or(HOLD_TIME_SECONDS);
        if (1..3).contains(&hold_time_seconds) {
            return Err(format!(
                "holdTime: {hold_time_seconds} is neither 0 nor at least 3 seconds (RFC 4271 §4.2)"
            ));
        }
        if let Some(address) = raw.listen.iter().find(|address| address.port() == 0) {
            return Err(format!("listen: {address}: 0 is not a port"));
        }
        caracal_agent_api::log::filter(&raw.log.level)?;
        let monitor = raw.bgp.monitor();
        monitor.check().map_err(|fault| format!("bgp: {fault}"))?;
        Ok(Config {
            hold_time_seconds,
            bgp: std::mem::take(&mut raw.bgp),
            http: raw.http.listen,
            socket: raw.socket.take().unwrap_or_else(|| SOCKET_DEFAULT.into()),
            log: std::mem::take(&mut raw.log),
            source: match raw.datastore.take() {
                Some(datastore) => Source::Datastore(Box::new(raw.into_node(datastore)?)),
                None => Source::File(raw.into_standalone()?),
            },
        })
    }
}

impl Raw {
    fn into_node(self, mut datastore: DatastoreConfig) -> Result<FromDatastore, String> {
        datastore.override_from(&|key| std::env::var(key).ok())?;
        datastore.check()?;
        let variable = |key: &str| std::env::var(key).ok();
        let named = self.nodename.filter(|name| !name.is_empty());
        // In Kubernetes all reflectors have the same file.
        let named = named.or_else(|| variable("CARACAL_NODENAME"));
        let nodename = match named.or_else(|| variable("NODENAME")) {
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
            ("clientToClient", self.client_to_client.is_some()),
            ("families", self.families.is_some()),
            ("peers", self.peers.is_some()),
            ("dynamicPeers", self.dynamic_peers.is_some()),
        ] {
            if given {
                return Err(format!(
                    "{field}: comes from the datastore and cannot be given beside `datastore`"
                ));
            }
        }
        Ok(FromDatastore {
            datastore,
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
        let families = self
            .families
            .unwrap_or_else(|| vec![Family::Ipv4Unicast, Family::Ipv6Unicast]);
        if families.is_empty() {
            return Err("families: empty, so that nothing could be reflected".to_owned());
        }
        let peers = self.peers.unwrap_or_default();
        let peers = entries("peers", peers, &["address", "port"], |peer, terms| {
            PeerEntry { terms, ..peer }
        })?;
        let dynamic_peers = entries(
            "dynamicPeers",
            self.dynamic_peers.unwrap_or_default(),
            &["prefix"],
            |entry, terms| DynamicEntry { terms, ..entry },
        )?;
        let waits = !dynamic_peers.is_empty() || peers.iter().any(PeerEntry::is_passive);
        if self.listen.is_empty() && (waits || peers.is_empty()) {
            return Err(
                "listen: missing, and without it no passive or dynamic peer can connect".to_owned(),
            );
        }
        for (index, peer) in peers.iter().enumerate() {
            let at = format!("peers[{index}]");
            peer.terms.check(&at, asn)?;
            if peer.port == 0 {
                return Err(format!("{at}.port: 0 is not a port"));
            }
            if peer.terms.password.is_none() {
                check_unsigned(&at, peer.address.into(), &dynamic_peers)?;
            }
            if peers
                .iter()
                .take(index)
                .any(|earlier| earlier.address == peer.address)
            {
                return Err(format!("{at}.address: {} is there twice", peer.address));
            }
        }
        for (index, entry) in dynamic_peers.iter().enumerate() {
            let at = format!("dynamicPeers[{index}]");
            entry.terms.check(&at, asn)?;
            if entry.prefix != entry.prefix.trunc() {
                return Err(format!("{at}.prefix: {} has host bits set", entry.prefix));
            }
            if entry.terms.password.is_none() {
                check_unsigned(&at, entry.prefix, &dynamic_peers)?;
            }
            let mut earlier = dynamic_peers.iter().take(index);
            if earlier.any(|earlier| earlier.prefix == entry.prefix) {
                return Err(format!("{at}.prefix: {} is there twice", entry.prefix));
            }
        }
        Ok(Standalone {
            asn,
            router_id,
            cluster_id: self.cluster_id,
            client_to_client: self.client_to_client.unwrap_or(true),
            listen: self.listen,
            families,
            peers,
            dynamic_peers,
        })
    }
}

/// The kernel takes nothing unsigned from a prefix that has a key.
fn check_unsigned(at: &str, peers: IpNet, dynamic: &[DynamicEntry]) -> Result<(), String> {
    let signed = dynamic
        .iter()
        .find(|entry| entry.terms.password.is_some() && entry.prefix.contains(&peers));
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
        return Err(D::Error::custom("is not a text"));
    };
    let key = text.map(|text| Md5Key::new(text.as_bytes())).transpose();
    key.map_err(D::Error::custom)
}

fn check_asn(field: &str, asn: u32) -> Result<u32, String> {
    if asn == 0 {
        Err(format!("{field}: 0 is not an AS number"))
    } else {
        Ok(asn)
    }
}

/// Its own error does not have the value.
fn remote_as<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RemoteAs, D::Error> {
    let said = Value::deserialize(deserializer)?;
    RemoteAs::deserialize(&said).map_err(|why| D::Error::custom(format!("{said} is {why}")))
}

fn check_remote(field: &str, asn: RemoteAs) -> Result<(), String> {
    match asn {
        RemoteAs::Number(asn) => check_asn(&format!("{field}.asn"), asn).map(|_| ()),
        RemoteAs::External | RemoteAs::Internal => Ok(()),
    }
}

/// Entries of a list: who it is, and how it is spoken with.
fn entries<Who: DeserializeOwned>(
    list: &str,
    said: Vec<Map<String, Value>>,
    keys: &[&str],
    join: fn(Who, Terms) -> Who,
) -> Result<Vec<Who>, String> {
    let read = |(index, mut entry): (usize, Map<String, Value>)| {
        let at = |why: String| match why.split_once(' ') {
            // A key comes first, or a sentence about the whole.
            Some((key, _)) if key.ends_with(':') => format!("{list}[{index}].{why}"),
            _ => format!("{list}[{index}]: {why}"),
        };
        let who: Who = take(&mut entry, keys).map_err(at)?;
        let terms: Terms = take(&mut entry, &TERMS).map_err(at)?;
        let options = PeerOptions::of(entry.into());
        let options = options.map_err(|why| at(with_own_keys(why, keys)))?;
        Ok(join(who, Terms { options, ..terms }))
    };
    said.into_iter().enumerate().map(read).collect()
}

/// The options do not know which keys stand beside them, and an unknown one may be meant for one of those.
fn with_own_keys(why: String, keys: &[&str]) -> String {
    match why.split_once(": unknown field ") {
        // A key of the entry itself, and of nothing inside it.
        Some((key, _)) if !key.contains(['.', '[']) => {}
        _ => return why,
    }
    let own = keys.iter().chain(&TERMS).filter(|key| **key != "client");
    let own: String = own.map(|key| format!("`{key}`, ")).collect();
    why.replacen("expected one of ", &format!("expected one of {own}"), 1)
}

/// What these keys say.
fn take<T: DeserializeOwned>(entry: &mut Map<String, Value>, keys: &[&str]) -> Result<T, String> {
    let said = keys.iter().filter_map(|key| entry.remove_entry(*key));
    let said = Value::Object(said.collect());
    serde_path_to_error::deserialize(said).map_err(|fault| {
        match fault.path().to_string().as_str() {
            "." => fault.inner().to_string(),
            path => format!("{path}: {}", fault.inner()),
        }
    })
}

/// The keys of [`Terms`].
const TERMS: [&str; 5] = ["asn", "localAsn", "client", "password", "ttlSecurity"];

fn bgp_port() -> u16 {
    179
}

const HOLD_TIME_SECONDS: u16 = 90;
const SOCKET_DEFAULT: &str = "/run/caracal/rr.sock";

#[cfg(test)]
mod tests;
