//! An etcd of a test's own: on loopback, with a folder of its own, ended by its process id.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::etcd::{EtcdConfig, EtcdDatastore};

/// How long etcd may take to start.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running etcd.
pub(crate) struct Server {
    folder: TempDir,
    client_port: u16,
    peer_port: u16,
    certificates: Option<Certificates>,
    child: Option<Child>,
}

/// What TLS in both directions needs.
struct Certificates {
    authority: PathBuf,
    server: (PathBuf, PathBuf),
    client: (PathBuf, PathBuf),
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server::start_with(None).await
    }

    /// One that wants certificates and has one.
    pub(crate) async fn start_secure() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::make(folder.path());
        Server::start_with(Some((folder, certificates))).await
    }

    async fn start_with(secure: Option<(TempDir, Certificates)>) -> Server {
        let (folder, certificates) = match secure {
            Some((folder, certificates)) => (folder, Some(certificates)),
            None => (tempfile::tempdir().unwrap(), None),
        };
        let mut server = Server {
            folder,
            client_port: free_port(),
            peer_port: free_port(),
            certificates,
            child: None,
        };
        server.resume().await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.client_port
    }

    pub(crate) fn config(&self) -> EtcdConfig {
        let certificates = self.certificates.as_ref();
        EtcdConfig {
            endpoints: vec![self.url(self.client_port)],
            ca_file: certificates.map(|all| all.authority.clone()),
            cert_file: certificates.map(|all| all.client.0.clone()),
            key_file: certificates.map(|all| all.client.1.clone()),
            ..EtcdConfig::default()
        }
    }

    pub(crate) async fn open(&self) -> EtcdDatastore {
        EtcdDatastore::connect(&self.config()).await.unwrap()
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Another authority and what it has signed, in the same files. What runs goes on with what it has read.
    pub(crate) fn renew_certificates(&mut self) {
        self.certificates = Some(Certificates::make(self.folder.path()));
    }

    /// Forgets all that it ever held. It must not run.
    pub(crate) fn wipe(&self) {
        std::fs::remove_dir_all(self.folder.path().join("data")).unwrap();
    }

    /// Starts it (again) and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        self.resume_for(&self.config()).await;
    }

    /// The same where the answer depends on who asks.
    pub(crate) async fn resume_for(&mut self, config: &EtcdConfig) {
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let client = self.url(self.client_port);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new("etcd");
        command
            .args(["--name", "test", "--unsafe-no-fsync", "--logger", "zap"])
            .args(["--initial-cluster-state", "new"])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &client])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(all) = &self.certificates {
            command
                .arg("--client-cert-auth")
                .arg("--trusted-ca-file")
                .arg(&all.authority)
                .arg("--cert-file")
                .arg(&all.server.0)
                .arg("--key-file")
                .arg(&all.server.1);
        }
        self.child = Some(command.spawn().expect("etcd (apt-get install etcd-server)"));
        let begin = Instant::now();
        while let Err(error) = EtcdDatastore::connect(config).await {
            let log = || std::fs::read_to_string(self.folder.path().join("log"));
            assert!(begin.elapsed() < DEADLINE, "{error}: {:?}", log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn url(&self, port: u16) -> String {
        let scheme = match self.certificates {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://127.0.0.1:{port}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Certificates {
    fn make(folder: &Path) -> Certificates {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let authority = write("ca.pem", certificate.pem());
        let issuer = Issuer::new(params, key);
        let make = |name: &str| {
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            let key = KeyPair::generate().unwrap();
            let certificate = params.signed_by(&key, &issuer).unwrap();
            (
                write(&format!("{name}.pem"), certificate.pem()),
                write(&format!("{name}.key"), key.serialize_pem()),
            )
        };
        Certificates {
            authority,
            server: make("server"),
            client: make("client"),
        }
    }
}

/// A port that nobody listens on.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
