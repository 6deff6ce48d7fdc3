//! A real Kubernetes API server in a lab's network, and what people do with `kubectl`.
//!
//! There are no kubelets, controllers or schedulers: tests make Node and Pod objects themselves, as those would. The program comes
//! from `tests/kubernetes/apiserver build`.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use caracal_lab::{Netns, private};
use serde_json::{Value, json};

/// The namespace of `deploy/`.
pub const NAMESPACE: &str = "caracal-system";
/// Of the API server.
pub const PORT: u16 = 16443;

/// An API server with its etcd. Both end with the lab.
#[derive(Debug)]
pub struct ApiServer {
    netns: Netns,
    address: IpAddr,
    folder: PathBuf,
}

impl ApiServer {
    /// Starts one that listens on an address of this namespace.
    pub fn start(netns: &Netns, address: IpAddr) -> Result<ApiServer> {
        let folder = Path::new(private::FOLDER).join("api");
        fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        let server = ApiServer {
            netns: netns.clone(),
            address,
            folder,
        };
        server.resume()?;
        Ok(server)
    }

    /// Starts it again after [`ApiServer::stop`].
    pub fn resume(&self) -> Result<()> {
        let (port, address) = (PORT.to_string(), self.address.to_string());
        self.script("start", &[&port, &address])
    }

    /// Ends it. What it knows is kept.
    pub fn stop(&self) -> Result<()> {
        self.script("stop", &[])
    }

    fn script(&self, command: &str, args: &[&str]) -> Result<()> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/apiserver");
        let mut script = Command::new(file);
        script
            .arg(command)
            .arg(&self.folder)
            .args(args)
            .env("PATH", private::path())
            .stdin(Stdio::null());
        let done = self.netns.output(&mut script)?;
        ensure!(
            done.status.success(),
            "{file} {command}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        );
        Ok(())
    }

    /// What a pod finds in its files and environment: `caracal-agent` has the ServiceAccount `account` then, and no other rights.
    /// The variables are returned.
    pub fn put_service_account(&self, account: &str) -> Result<Vec<(String, String)>> {
        let folder = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
        fs::write(folder.join("token"), self.token(account)?)?;
        fs::write(folder.join("namespace"), NAMESPACE)?;
        fs::copy(self.folder.join("ca.crt"), folder.join("ca.crt"))?;
        Ok(vec![
            (
                "KUBERNETES_SERVICE_HOST".to_owned(),
                self.address.to_string(),
            ),
            ("KUBERNETES_SERVICE_PORT".to_owned(), PORT.to_string()),
        ])
    }

    /// The kubeconfig of cluster-admin.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// A kubeconfig of a ServiceAccount.
    pub fn kubeconfig_of(&self, account: &str) -> Result<String> {
        let server = format!("https://{}:{PORT}", self.address);
        let authority = self.folder.join("ca.crt");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": authority}}],
            "users": [{"name": account, "user": {"token": self.token(account)?}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": account, "namespace": NAMESPACE}}],
            "current-context": "lab",
        });
        let file = self.folder.join(format!("{account}.kubeconfig"));
        fs::write(&file, config.to_string()).with_context(|| format!("{}", file.display()))?;
        Ok(file.display().to_string())
    }

    /// A token of a ServiceAccount, from the API server as a kubelet gets it.
    pub fn token(&self, account: &str) -> Result<String> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 3600},
        });
        let answer =
            self.kubectl_with(&["create", "--raw", &path, "-f", "-"], &request.to_string())?;
        let answer: Value = serde_json::from_str(&answer)?;
        let token = answer["status"]["token"].as_str();
        Ok(token
            .with_context(|| format!("no token in {answer}"))?
            .to_owned())
    }

    /// What `kubectl ARGS` prints, as cluster-admin.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_with(args, "")
    }

    /// The same with a text on standard input.
    pub fn kubectl_with(&self, args: &[&str], text: &str) -> Result<String> {
        let mut command = Command::new("kubectl");
        command
            .args(args)
            .env("PATH", private::path())
            // It keeps what it has learned about servers there.
            .env("HOME", &self.folder)
            .env("KUBECONFIG", self.kubeconfig())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.netns.spawn(&mut command)?;
        if let Some(mut pipe) = child.stdin.take() {
            let _ = pipe.write_all(text.as_bytes());
        }
        let done = child.wait_with_output().context("kubectl")?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr);
            bail!("kubectl {}: {}", args.join(" "), said.trim());
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }

    /// `kubectl get ARGS -o json`.
    pub fn get(&self, args: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], args].concat())?;
        serde_json::from_str(&text).with_context(|| format!("kubectl get {}", args.join(" ")))
    }

    /// The objects of `kubectl get ARGS`.
    pub fn list(&self, args: &[&str]) -> Result<Vec<Value>> {
        let list = self.get(args)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// `kubectl apply -f -`.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        self.kubectl_with(&["apply", "--server-side", "-f", "-"], manifests)
            .map(drop)
    }

    /// Calico's kinds, from `deploy/crds`. Returns when they are served.
    pub fn define_kinds(&self) -> Result<()> {
        self.kubectl(&["apply", "--server-side", "-k", &deploy("crds")])?;
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd",
            "--all",
        ])
        .map(drop)
    }

    /// Whether a ServiceAccount may do this in a namespace (empty: in all, or with what has none). A resource is `pods`,
    /// `pods/exec`, or `ippools.crd.projectcalico.org`.
    pub fn may(&self, account: &str, verb: &str, resource: &str, namespace: &str) -> Result<bool> {
        let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
        let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
        let question = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": format!("system:serviceaccount:{NAMESPACE}:{account}"),
                "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{NAMESPACE}"), "system:authenticated"],
                "resourceAttributes": {
                    "verb": verb, "group": group, "resource": resource, "subresource": part, "namespace": namespace,
                },
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer =
            self.kubectl_with(&["create", "--raw", path, "-f", "-"], &question.to_string())?;
        let answer: Value = serde_json::from_str(&answer)?;
        let allowed = answer["status"]["allowed"].as_bool();
        allowed.with_context(|| format!("no answer in {answer}"))
    }
}

/// A folder of `deploy/`.
pub fn deploy(name: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy");
    Path::new(root).join(name).display().to_string()
}
