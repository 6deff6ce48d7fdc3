//! A Kubernetes API server for the tests of this process, one after the other: it takes seconds to start.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use crate::kubernetes::client::{Client, Collection, Failure};
use crate::kubernetes::config::Pulse;
use crate::kubernetes::{KubernetesConfig, KubernetesDatastore};

/// A dead connection is noticed within two of these.
pub(super) const PULSE: Pulse = Pulse {
    interval: Duration::from_millis(300),
    timeout: Duration::from_millis(700),
};

static SERVER: Mutex<Option<Server>> = Mutex::const_new(None);

/// A running API server, its etcd, and Calico's definitions.
pub(crate) struct Server {
    folder: TempDir,
    port: u16,
    /// Ends what is left when this process ends, however that comes.
    _watchdog: Child,
}

/// The server, empty but for the definitions, for one test.
pub(crate) async fn server() -> MutexGuard<'static, Option<Server>> {
    let mut server = SERVER.lock().await;
    match &*server {
        None => *server = Some(Server::start().await),
        Some(server) => server.clean().await,
    }
    server
}

impl Server {
    async fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let port = three_free_ports();
        let stop = format!(
            "trap '' TERM INT HUP; cat > /dev/null; {} stop {}",
            script().display(),
            folder.path().display()
        );
        let watchdog = Command::new("sh")
            .args(["-c", &stop])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server {
            folder,
            port,
            _watchdog: watchdog,
        };
        let token = Command::new(script())
            .arg("token")
            .arg(server.folder.path())
            .arg(SOMEBODY)
            .arg("people")
            .output()
            .unwrap();
        let token = String::from_utf8(token.stdout).unwrap();
        std::fs::write(server.folder.path().join("somebody"), token.trim()).unwrap();
        server.resume();
        server
            .define(crate::kubernetes::with_kubernetes::definitions())
            .await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the API server and its etcd.
    pub(crate) fn stop(&self) {
        let stopped = Command::new(script())
            .arg("stop")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(stopped.success());
    }

    /// Starts it (again) with what it knew, and waits until it is ready.
    pub(crate) fn resume(&self) {
        let output = Command::new(script())
            .arg("start")
            .arg(self.folder.path())
            .arg(self.port.to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "no API server ({}): {}; tests/kubernetes/apiserver build makes one",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }

    pub(crate) fn config(&self) -> KubernetesConfig {
        KubernetesConfig {
            kubeconfig: Some(self.folder.path().join("kubeconfig")),
            ..KubernetesConfig::default()
        }
    }

    /// As it is reached through another port.
    pub(crate) fn config_through(&self, port: u16) -> KubernetesConfig {
        let text = std::fs::read_to_string(self.folder.path().join("kubeconfig")).unwrap();
        let through = self.folder.path().join(format!("kubeconfig-{port}"));
        let text = text.replace(&format!(":{}", self.port), &format!(":{port}"));
        std::fs::write(&through, text).unwrap();
        KubernetesConfig {
            kubeconfig: Some(through),
            ..KubernetesConfig::default()
        }
    }

    /// Of a user who may do nothing that is not granted.
    pub(crate) fn config_of_somebody(&self) -> KubernetesConfig {
        let token = std::fs::read_to_string(self.folder.path().join("somebody")).unwrap();
        self.config_of(&token)
    }

    /// Of the user of that token.
    pub(crate) fn config_of(&self, token: &str) -> KubernetesConfig {
        let text = std::fs::read_to_string(self.folder.path().join("kubeconfig")).unwrap();
        let (before, rest) = text.split_once("token: \"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        let file = self.folder.path().join("kubeconfig-of-somebody");
        std::fs::write(&file, format!("{before}token: \"{token}\"{after}")).unwrap();
        KubernetesConfig {
            kubeconfig: Some(file),
            ..KubernetesConfig::default()
        }
    }

    pub(crate) async fn open(&self) -> KubernetesDatastore {
        self.open_with(&self.config()).await
    }

    pub(crate) async fn open_with(&self, config: &KubernetesConfig) -> KubernetesDatastore {
        KubernetesDatastore::connect_with(config, PULSE)
            .await
            .unwrap()
    }

    /// As an operator with kubectl.
    pub(in crate::kubernetes) async fn client(&self) -> Client {
        Client::new(&self.config(), PULSE).await.unwrap()
    }

    /// Installs definitions and waits until they are served.
    pub(crate) async fn define(&self, definitions: Vec<Value>) {
        let client = self.client().await;
        for definition in &definitions {
            match client.post(DEFINITIONS, definition).await {
                Ok(_) | Err(Failure::Exists) => {}
                Err(failure) => panic!("{failure:?}"),
            }
        }
        for definition in &definitions {
            let path = path_of(definition);
            while client.get(&path).await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Removes definitions, and waits until they are gone.
    pub(crate) async fn undefine(&self, definitions: &[Value]) {
        let client = self.client().await;
        for definition in definitions {
            let name = definition["metadata"]["name"].as_str().unwrap();
            let path = format!("{DEFINITIONS}/{name}");
            let _ = client.delete(&path, &json!({})).await;
            while client.get(&path).await.unwrap().is_some()
                || client.get(&path_of(definition)).await.unwrap().is_some()
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    /// Deletes what a test before has left.
    async fn clean(&self) {
        let client = self.client().await;
        let definitions = super::definitions();
        // A test may have removed one.
        self.define(definitions.clone()).await;
        let mut collections: Vec<String> = definitions.iter().map(path_of).collect();
        collections.extend(["/api/v1/nodes", "/api/v1/pods"].map(str::to_owned));
        for path in collections {
            let collection = Collection {
                path: path.clone(),
                field_selector: None,
            };
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            for object in client.list(&collection, read).await.unwrap() {
                let metadata = &object["metadata"];
                let name = metadata["name"].as_str().unwrap();
                let path = match metadata["namespace"].as_str() {
                    Some(namespace) => {
                        let (api, plural) = path.rsplit_once('/').unwrap();
                        format!("{api}/namespaces/{namespace}/{plural}/{name}")
                    }
                    None => format!("{path}/{name}"),
                };
                let at_once =
                    json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0});
                let _ = client.delete(&path, &at_once).await;
            }
        }
    }
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Who may do nothing that is not granted.
pub(crate) const SOMEBODY: &str = "somebody";

/// Where the objects of a definition are.
fn path_of(definition: &Value) -> String {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let version = text(&spec["versions"][0]["name"]);
    format!(
        "/apis/{}/{version}/{}",
        text(&spec["group"]),
        text(&spec["names"]["plural"])
    )
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/kubernetes/apiserver")
}

/// The first of three ports that nobody listens on.
fn three_free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if port < u16::MAX - 2 && free(port + 1) && free(port + 2) {
            return port;
        }
    }
}
