//! Where the API server is and how one proves who one is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::Config;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use tower::{BoxError, ServiceBuilder};

use crate::store::StoreError;

/// The settings of the `kubernetes` backend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesConfig {
    /// A kubeconfig. Without one: those that `KUBECONFIG` names; in a pod its service account; `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; without one its `current-context`.
    pub context: Option<String>,
    /// Watches tell the WorkloadEndpoints of this node only, of which there are few; without one those of all nodes.
    pub node: Option<String>,
    /// The group that holds Calico's resources; without one it is found out.
    pub group: Option<CalicoGroup>,
}

/// The group in which Calico's resources are custom resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum CalicoGroup {
    /// `crd.projectcalico.org/v1`, which nearly every installation has.
    #[serde(rename = "crd.projectcalico.org/v1")]
    CrdV1,
    /// `projectcalico.org/v3`.
    #[serde(rename = "projectcalico.org/v3")]
    V3,
}

/// An API server, ready to be asked.
pub(super) struct Connection {
    /// Its URL.
    pub(super) url: String,
    /// The namespace that is ours: of the service account, or of the context.
    pub(super) namespace: String,
    pub(super) client: kube::Client,
}

impl KubernetesConfig {
    /// Reads what is needed to connect; nothing is connected yet. `Invalid` names the file and what is wrong with it.
    pub(super) async fn connection(&self, pulse: Pulse) -> Result<Connection, StoreError> {
        let config = self.load().await?;
        if let Some(proxy) = &config.proxy_url {
            tracing::warn!(%proxy, "the API server is reached without the proxy: proxies are not supported");
        }
        let url = config.cluster_url.to_string();
        let namespace = config.default_namespace.trim().to_owned();
        let client = connect(config, pulse).map_err(|error| StoreError::Invalid {
            what: format!("kubernetes {url}"),
            why: chain(error.as_ref()),
        })?;
        Ok(Connection {
            url,
            namespace,
            client,
        })
    }

    async fn load(&self) -> Result<Config, StoreError> {
        let in_pod =
            std::env::var_os("KUBERNETES_SERVICE_HOST").is_some_and(|host| !host.is_empty());
        let (what, kubeconfig) = match &self.kubeconfig {
            Some(path) => (path.display().to_string(), read(path)?),
            None => match Kubeconfig::from_env().map_err(|error| invalid("KUBECONFIG", &error))? {
                Some(kubeconfig) => ("KUBECONFIG".to_owned(), kubeconfig),
                None if in_pod && self.context.is_none() => {
                    return Config::incluster().map_err(|error| invalid("service account", &error));
                }
                None => {
                    let Some(path) = std::env::home_dir().map(|home| home.join(".kube/config"))
                    else {
                        return Err(StoreError::Invalid {
                            what: "kubeconfig".to_owned(),
                            why: "missing: this is no pod, KUBECONFIG is not set, and there is no home folder".to_owned(),
                        });
                    };
                    (path.display().to_string(), read(&path)?)
                }
            },
        };
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| invalid(&what, &error))
    }
}

fn read(path: &Path) -> Result<Kubeconfig, StoreError> {
    Kubeconfig::read_from(path).map_err(|error| invalid(&path.display().to_string(), &error))
}

fn invalid(what: &str, error: &(dyn std::error::Error + 'static)) -> StoreError {
    StoreError::Invalid {
        what: what.to_owned(),
        why: chain(error),
    }
}

/// How a connection is probed, so that one whose other end is gone without a word is noticed also while nothing is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    /// Between two probes.
    pub(super) interval: Duration,
    /// How long the answer may take.
    pub(super) timeout: Duration,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(10),
        }
    }
}

/// As `kube::Client::try_from` does it, but with HTTP/2: all watches share one connection, and its PING frames tell a dead
/// one. An API server behind something that speaks HTTP/1 only is probed by TCP.
fn connect(config: Config, pulse: Pulse) -> Result<kube::Client, BoxError> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(pulse.interval));
    tcp.set_keepalive_interval(Some(pulse.interval));
    tcp.set_keepalive_retries(Some(3));
    tcp.set_tcp_user_timeout(Some(pulse.interval + pulse.timeout));
    let mut tls = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    if let Some(name) = &config.tls_server_name {
        tls = tls.with_server_name_resolver(FixedServerNameResolver::new(name.clone().try_into()?));
    }
    let connector = tls.enable_all_versions().wrap_connector(tcp);
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(pulse.interval)
        .http2_keep_alive_timeout(pulse.timeout)
        .http2_keep_alive_while_idle(true)
        .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
        .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace))
}

/// An error down to its cause, without saying anything twice.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = deeper.source();
    }
    text
}

/// How long TCP's handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// For all watches and lists together.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
