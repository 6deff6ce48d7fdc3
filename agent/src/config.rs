//! The agent's configuration: one YAML file, and the environment over it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use caracal_bgp::RemoteAs;
use caracal_bgp_net::monitor::{MonitorConfig, MrtConfig, StationConfig};
use caracal_datastore::DatastoreConfig;
use caracal_datastore::ipam::collect;
use caracal_peering::PeerOptions;
use ipnet::IpNet;
use serde::Deserialize;

use crate::settings;

/// What `--help` says about the file.
pub(crate) const HELP: &str = "\
CONFIGURATION (defaults in brackets; the environment variable wins over the file):
  nodename: node1                  CARACAL_NODENAME or NODENAME  [the host's name]
  datastore:                                                     docs/operation/datastore.md
    type: file                     CARACAL_DATASTORE_TYPE        [file]; or etcd, or kubernetes; also DATASTORE_TYPE
    path: /var/lib/caracal/store   CARACAL_DATASTORE_PATH        [/var/lib/caracal/store]
    endpoints: [https://e1:2379]   ETCD_ENDPOINTS, commas        of etcd, as Calico's programs have them: also caFile,
                                                                 certFile, keyFile, username, password
                                                                 (ETCD_CA_CERT_FILE, ETCD_CERT_FILE, ETCD_KEY_FILE,
                                                                 ETCD_USERNAME, ETCD_PASSWORD)
    kubeconfig: /etc/kubeconfig    KUBECONFIG                    of kubernetes [the pod's service account]; also context,
                                                                 apiGroup (CALICO_API_GROUP)
  ip: 172.31.1.1/24                CARACAL_IP or IP              [what the Node resource says, else autodetect]
                                   an address with prefix length, `autodetect`, or `none`
  ip6: none                        CARACAL_IP6 or IP6            [what the Node resource says, else none]
  routerId: 172.31.1.1             CARACAL_ROUTER_ID             [the IPv4 address, else `hash`: of the node's name]
  socket: /run/caracal/agent.sock  CARACAL_SOCKET                [/run/caracal/agent.sock]
  http:
    listen: 127.0.0.1:9091         CARACAL_HTTP_LISTEN           [0.0.0.0:9091]; `none`: no HTTP
  bgp:
    listen: [0.0.0.0:179]          CARACAL_BGP_LISTEN, commas    [all addresses, listenPort of BGPConfiguration]
    meshOptions: {bfd: true}                                     [{}]; docs/operation/session-options.md: for the
                                   node-to-node mesh, the same on all nodes; a BGPPeer has the annotation
                                   bgp.caracal.network/session for them
    unnumbered: [{interface: eth1, asn: external}]               [none]; routers on that link are peers without configured
                                   addresses; docs/operation/unnumbered.md
    bmp: [{address: 192.0.2.10:11019}]                           [none]; docs/operation/monitoring.md
    mrt: {updates: {directory: DIR}, rib: {directory: DIR}}      [none]
    record: /var/log/caracal/bgp.jsonl                           [none]; for caracal-replay
  cni:
    spool: /var/lib/caracal/cni    CARACAL_CNI_SPOOL             [/var/lib/caracal/cni]
    mtu: 0                         CARACAL_CNI_MTU               [0: the host's less the encapsulation's]
    mtuFile: /var/lib/calico/mtu   CARACAL_CNI_MTU_FILE          [/var/lib/calico/mtu]; `none`: no file. For Calico's plugin;
                                   written only where the folder is there
  filter:
    enabled: true                  CARACAL_FILTER_ENABLED        [true]; masquerade, spoof protection, service loops
  fib:
    nexthopObjects: true           CARACAL_FIB_NEXTHOP_OBJECTS   [true]; false: each route has its own next hops
  ipam:
    gc: true                       CARACAL_IPAM_GC               [true]; be a candidate for the one agent that frees addresses and
                                                                 blocks which nobody uses; docs/operation/ipam.md
    gcIntervalSeconds: 300                                       [300]; between two looks
    gcGraceSeconds: 900                                          [900]; for so long something must have looked unused; 60 or more
    gcRepairsMax: 256                                            [256]; in one round
  metrics:
    perPeer: false                 CARACAL_METRICS_PER_PEER      [false]
  log:
    level: info                    CARACAL_LOG_LEVEL             [info]; also `caracal_bgp=debug,info`
    format: text                   CARACAL_LOG_FORMAT            [text]; or json

FELIX_*, as FELIX_IPV4NORMALROUTEPRIORITY, win over FelixConfiguration, field by field; docs/operation/agent.md lists them.

SIGNALS: TERM and INT end the agent and leave forwarding as it is; peers keep our routes for their restart time.
FILES:   docs/operation/agent.md describes what it creates and how to look at it.";

/// The agent's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Config {
    pub(crate) nodename: String,
    pub(crate) datastore: DatastoreConfig,
    pub(crate) ip: Option<NodeAddress>,
    pub(crate) ip6: Option<NodeAddress>,
    pub(crate) router_id: Option<String>,
    pub(crate) socket: PathBuf,
    pub(crate) http: HttpConfig,
    pub(crate) bgp: BgpConfig,
    pub(crate) cni: CniConfig,
    pub(crate) filter: FilterConfig,
    pub(crate) fib: FibConfig,
    pub(crate) ipam: IpamConfig,
    pub(crate) metrics: MetricsConfig,
    pub(crate) log: LogConfig,
    /// What the variables FELIX_* say.
    #[serde(skip)]
    pub(crate) felix: settings::Environment,
}

/// Where the node's address comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum NodeAddress {
    /// This one.
    Fixed(IpNet),
    /// From the host's devices.
    Autodetect,
    /// No address of this family.
    None,
}

impl TryFrom<String> for NodeAddress {
    type Error = String;

    fn try_from(text: String) -> Result<NodeAddress, String> {
        match text.as_str() {
            "autodetect" => Ok(NodeAddress::Autodetect),
            "none" => Ok(NodeAddress::None),
            _ => text.parse().map(NodeAddress::Fixed).map_err(|_| {
                format!("{text:?} is neither an address with prefix length, nor `autodetect`, nor `none`")
            }),
        }
    }
}

/// HTTP for Prometheus and probes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct HttpConfig {
    pub(crate) listen: HttpListen,
}

/// An address, or none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct HttpListen(pub(crate) Option<SocketAddr>);

impl TryFrom<String> for HttpListen {
    type Error = String;

    fn try_from(text: String) -> Result<HttpListen, String> {
        match text.as_str() {
            "none" => Ok(HttpListen(None)),
            _ => text
                .parse()
                .map(|address| HttpListen(Some(address)))
                .map_err(|_| {
                    format!("{text:?} is no address with port, such as 127.0.0.1:9091, nor `none`")
                }),
        }
    }
}

/// BGP's own sockets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct BgpConfig {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) mesh_options: PeerOptions,
    pub(crate) bmp: Vec<StationConfig>,
    pub(crate) mrt: MrtConfig,
    pub(crate) record: Option<PathBuf>,
    pub(crate) unnumbered: Vec<UnnumberedEntry>,
}

/// A link on which every router is a peer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct UnnumberedEntry {
    /// Our network device there.
    pub(crate) interface: String,
    /// The AS number of the routers, or `external` or `internal`.
    pub(crate) asn: RemoteAs,
}

impl BgpConfig {
    /// Who watches the speaker.
    pub(crate) fn monitor(&self) -> MonitorConfig {
        MonitorConfig {
            bmp: self.bmp.clone(),
            mrt: self.mrt.clone(),
        }
    }
}

/// What the CNI plugin and the agent share.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct CniConfig {
    pub(crate) spool: PathBuf,
    pub(crate) mtu: u32,
    /// Where Calico's own plugin looks for it.
    pub(crate) mtu_file: MtuFile,
}

/// A file, or none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub(crate) struct MtuFile(pub(crate) Option<PathBuf>);

impl From<String> for MtuFile {
    fn from(text: String) -> MtuFile {
        MtuFile((text != "none").then(|| text.into()))
    }
}

/// The packet filter.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct FilterConfig {
    /// `false`: no table of ours, because somebody else masquerades and protects.
    pub(crate) enabled: bool,
}

impl Default for FilterConfig {
    fn default() -> FilterConfig {
        FilterConfig { enabled: true }
    }
}

/// How routes are written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct FibConfig {
    /// Remote routes that share a next hop lead to one object of the kernel.
    pub(crate) nexthop_objects: bool,
}

impl Default for FibConfig {
    fn default() -> FibConfig {
        FibConfig {
            nexthop_objects: true,
        }
    }
}

/// Address management for the whole cluster.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct IpamConfig {
    /// Whether this agent is a candidate.
    pub(crate) gc: bool,
    pub(crate) gc_interval_seconds: u64,
    pub(crate) gc_grace_seconds: u64,
    pub(crate) gc_repairs_max: usize,
}

impl Default for IpamConfig {
    fn default() -> IpamConfig {
        let settings = collect::Settings::default();
        IpamConfig {
            gc: true,
            gc_interval_seconds: 300,
            gc_grace_seconds: settings.grace.as_secs(),
            gc_repairs_max: settings.repairs_max,
        }
    }
}

impl IpamConfig {
    /// How the collector works.
    pub(crate) fn settings(&self) -> collect::Settings {
        collect::Settings {
            grace: Duration::from_secs(self.gc_grace_seconds),
            repairs_max: self.gc_repairs_max,
        }
    }

    /// Between two looks.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_secs(self.gc_interval_seconds)
    }

    fn check(&self) -> Result<(), String> {
        let least = collect::GRACE_MIN.as_secs();
        let day = 86_400;
        for (field, value, least) in [
            ("gcIntervalSeconds", self.gc_interval_seconds, 1),
            ("gcGraceSeconds", self.gc_grace_seconds, least),
        ] {
            if !(least..=day).contains(&value) {
                return Err(format!(
                    "ipam.{field}: {value} is not between {least} and {day}"
                ));
            }
        }
        match self.gc_repairs_max {
            0 => {
                Err("ipam.gcRepairsMax: 0 would put nothing right; `gc: false` says so".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// What Prometheus gets.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct MetricsConfig {
    /// A mesh of n nodes has n² of these series, so they are asked for.
    pub(crate) per_peer: bool,
}

/// Logs on standard error.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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

impl Default for Config {
    fn default() -> Config {
        Config {
            nodename: String::new(),
            datastore: DatastoreConfig::default(),
            ip: None,
            ip6: None,
            router_id: None,
            socket: caracal_agent_api::SOCKET_DEFAULT.into(),
            http: HttpConfig::default(),
            bgp: BgpConfig::default(),
            cni: CniConfig::default(),
            filter: FilterConfig::default(),
            fib: FibConfig::default(),
            ipam: IpamConfig::default(),
            metrics: MetricsConfig::default(),
            log: LogConfig::default(),
            felix: settings::Environment::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            listen: HttpListen(Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9091)))),
        }
    }
}

impl Default for CniConfig {
    fn default() -> CniConfig {
        CniConfig {
            spool: "/var/lib/caracal/cni".into(),
            mtu: 0,
            mtu_file: MtuFile(Some("/var/lib/calico/mtu".into())),
        }
    }
}

impl Default for LogConfig {
    fn default() -> LogConfig {
        LogConfig {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

impl Config {
    /// Reads the file when there is one, lays the environment over it, and checks the result. The error is one
    /// sentence with file or variable, key and value.
    pub(crate) fn load(
        file: Option<&Path>,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, String> {
        let mut config = match file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|fault| format!("{}: {fault}", path.display()))?;
                Config::parse(&text).map_err(|fault| format!("{}: {fault}", path.display()))?
            }
            None => Config::default(),
        };
        config.override_from(environment)?;
        if config.nodename.is_empty() {
            config.nodename = rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .to_lowercase();
        }
        config.check()?;
        Ok(config)
    }

    /// How the FIB works here.
    pub(crate) fn fib(&self) -> caracal_fib::Config {
        caracal_fib::Config {
            nexthop_objects: self.fib.nexthop_objects,
            // A reboot empties the folder of the socket, and the kernel.
            before_file: Some(self.socket.with_file_name("kernel.json")),
            ..caracal_fib::Config::default()
        }
    }

    /// What the MTU file was like before us; for `cleanup`.
    pub(crate) fn mtu_note(&self) -> PathBuf {
        self.socket.with_file_name("mtu.json")
    }

    fn parse(text: &str) -> Result<Config, String> {
        if text.trim().is_empty() {
            return Ok(Config::default());
        }
        serde_saphyr::from_str(text).map_err(|fault| caracal_agent_api::yaml::fault(text, &fault))
    }

    fn override_from(
        &mut self,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), String> {
        let first = |keys: &[&'static str]| {
            keys.iter()
                .find_map(|key| Some((*key, environment(key).filter(|value| !value.is_empty())?)))
        };
        if let Some((_, value)) = first(&["CARACAL_NODENAME", "NODENAME"]) {
            self.nodename = value;
        }
        self.datastore.override_from(environment)?;
        if let Some((key, value)) = first(&["CARACAL_IP", "IP"]) {
            self.ip = Some(
                value
                    .try_into()
                    .map_err(|fault| format!("{key}: {fault}"))?,
            );
        }
        if let Some((key, value)) = first(&["CARACAL_IP6", "IP6"]) {
            self.ip6 = Some(
                value
                    .try_into()
                    .map_err(|fault| format!("{key}: {fault}"))?,
            );
        }
        if let Some((_, value)) = first(&["CARACAL_ROUTER_ID"]) {
            self.router_id = Some(value);
        }
        if let Some((_, value)) = first(&["CARACAL_SOCKET"]) {
            self.socket = value.into();
        }
        if let Some((key, value)) = first(&["CARACAL_HTTP_LISTEN"]) {
            self.http.listen = value
                .try_into()
                .map_err(|fault| format!("{key}: {fault}"))?;
        }
        if let Some((key, value)) = first(&["CARACAL_BGP_LISTEN"]) {
            let one = |text: &str| {
                text.trim()
                    .parse()
                    .map_err(|_| format!("{key}: {text:?} is no address with port"))
            };
            self.bgp.listen = value.split(',').map(one).collect::<Result<_, _>>()?;
        }
        if let Some((_, value)) = first(&["CARACAL_CNI_SPOOL"]) {
            self.cni.spool = value.into();
        }
        if let Some((key, value)) = first(&["CARACAL_CNI_MTU"]) {
            self.cni.mtu = value
                .parse()
                .map_err(|_| format!("{key}: {value:?} is no number of octets"))?;
        }
        if let Some((_, value)) = first(&["CARACAL_CNI_MTU_FILE"]) {
            self.cni.mtu_file = value.into();
        }
        if let Some((key, value)) = first(&["CARACAL_FILTER_ENABLED"]) {
            self.filter.enabled = value
                .parse()
                .map_err(|_| format!("{key}: {value:?} is neither true nor false"))?;
        }
        if let Some((key, value)) = first(&["CARACAL_FIB_NEXTHOP_OBJECTS"]) {
            self.fib.nexthop_objects = value
                .parse()
                .map_err(|_| format!("{key}: {value:?} is neither true nor false"))?;
        }
        if let Some((key, value)) = first(&["CARACAL_IPAM_GC"]) {
            self.ipam.gc = value
                .parse()
                .map_err(|_| format!("{key}: {value:?} is neither true nor false"))?;
        }
        if let Some((key, value)) = first(&["CARACAL_METRICS_PER_PEER"]) {
            self.metrics.per_peer = value
                .parse()
                .map_err(|_| format!("{key}: {value:?} is neither true nor false"))?;
        }
        if let Some((_, value)) = first(&["CARACAL_LOG_LEVEL"]) {
            self.log.level = value;
        }
        if let Some((key, value)) = first(&["CARACAL_LOG_FORMAT"]) {
            self.log.format = word(key, &value)?;
        }
        self.felix = settings::from_environment(environment)?;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.datastore.check()?;
        self.ipam.check()?;
        caracal_agent_api::log::filter(&self.log.level)?;
        let monitor = self.bgp.monitor();
        monitor.check().map_err(|fault| format!("bgp: {fault}"))?;
        for (index, entry) in self.bgp.unnumbered.iter().enumerate() {
            let (at, interface) = (format!("bgp.unnumbered[{index}]"), &entry.interface);
            if interface.is_empty() || interface.len() > 15 {
                return Err(format!(
                    "{at}.interface: {interface:?} is no name of a network device"
                ));
            }
            if entry.asn == RemoteAs::Number(0) {
                return Err(format!("{at}.asn: 0 is not an AS number"));
            }
            let mut earlier = self.bgp.unnumbered.iter().take(index);
            if earlier.any(|earlier| earlier.interface == *interface) {
                return Err(format!("{at}.interface: {interface} is there twice"));
            }
        }
        let name = &self.nodename;
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if name.is_empty() || name.len() > 253 || !name.chars().all(legal) {
            return Err(format!(
                "nodename: {name:?} is no name of lower-case letters, digits, `-` and `.`"
            ));
        }
        for (key, address, v4) in [("ip", &self.ip, true), ("ip6", &self.ip6, false)] {
            if let Some(NodeAddress::Fixed(net)) = address
                && (matches!(net.addr(), IpAddr::V4(_)) != v4
                    || net.addr().is_unspecified()
                    || net.addr().is_loopback())
            {
                return Err(format!(
                    "{key}: {net} is no usable IPv{} address of a node",
                    if v4 { 4 } else { 6 }
                ));
            }
        }
        if self.cni.mtu != 0 && !(576..=65_535).contains(&self.cni.mtu) {
            return Err(format!(
                "cni.mtu: {} is not between 576 and 65535",
                self.cni.mtu
            ));
        }
        Ok(())
    }
}

fn word<T: serde::de::DeserializeOwned>(key: &str, value: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(value.to_owned()))
        .map_err(|fault| format!("{key}: {fault}"))
}

#[cfg(test)]
mod tests;
