//! From a folder into etcd and back, with the binary. Needs the program `etcd`: `./tests/run stores` installs it and runs this.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{POOL, run, run_with};

/// How long etcd may take to start.
const DEADLINE: Duration = Duration::from_secs(30);

/// An etcd of the test's own, on loopback.
struct Etcd {
    child: Child,
    endpoint: String,
}

impl Etcd {
    fn start(folder: &Path) -> Etcd {
        let [client, peer] = [free(), free()].map(|port| format!("http://127.0.0.1:{port}"));
        let child = Command::new("etcd")
            .args(["--name", "test", "--unsafe-no-fsync", "--logger", "zap"])
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("test={peer}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let etcd = Etcd {
            child,
            endpoint: client,
        };
        let begin = Instant::now();
        while run(
            folder,
            &["get", "nodes", "--etcd-endpoints", &etcd.endpoint],
        )
        .0 != 0
        {
            assert!(begin.elapsed() < DEADLINE, "etcd does not answer");
        }
        etcd
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

const MORE: &str = r#"---
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {name: 10-233-0-0-26}
spec:
  cidr: 10.233.0.0/26
  affinity: host:n1
  allocations: [0, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
    null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
    null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null]
  unallocated: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32,
    33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63]
  attributes: [{handle_id: k8s-pod-network.Ab, secondary: {node: n1}}]
  sequenceNumber: 1799999999999999999
  sequenceNumberForAllocation: {"0": 1799999999999999998}
  deleted: false
  strictAffinity: false
---
apiVersion: projectcalico.org/v3
kind: BlockAffinity
metadata: {name: n1-10-233-0-0-26}
spec: {cidr: 10.233.0.0/26, node: n1, state: confirmed, deleted: "false"}
---
apiVersion: projectcalico.org/v3
kind: IPAMHandle
metadata: {name: k8s-pod-network.Ab}
spec: {handleID: k8s-pod-network.Ab, block: {10.233.0.0/26: 1}, deleted: false}
---
apiVersion: projectcalico.org/v3
kind: IPAMConfig
metadata: {name: default}
spec: {strictAffinity: false, autoAllocateBlocks: true}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1, labels: {rack: a}}
spec: {bgp: {ipv4Address: 172.31.0.1/24}, foreign: 1}
---
apiVersion: v1
kind: Secret
metadata: {name: bgp, namespace: one}
data: {password: c2VjcmV0}
"#;

#[test]
#[ignore = "needs etcd (apt-get install etcd-server): ./tests/run stores"]
fn a_folder_moves_into_etcd_and_back() {
    let folder = tempfile::tempdir().unwrap();
    for store in ["store", "back"] {
        std::fs::create_dir(folder.path().join(store)).unwrap();
    }
    let etcd = Etcd::start(folder.path());
    let in_etcd = ["--etcd-endpoints", etcd.endpoint.as_str()];
    let done = |args: &[&str], input: &str| {
        let (exit, stdout, stderr) = run_with(folder.path(), args, input);
        assert_eq!(exit, 0, "{args:?}: {stdout}{stderr}");
        stdout
    };
    done(&["apply", "-f", "-"], &format!("{POOL}{MORE}"));
    assert_eq!(done(&["datastore", "lock"], ""), "Datastore locked.\n");
    let first = done(&["datastore", "migrate", "export"], "");
    assert!(
        first.starts_with("# caracalctl datastore export: 8 objects\n"),
        "{first}"
    );
    let said = done(
        &["datastore", "import", "-f", "-", in_etcd[0], in_etcd[1]],
        &first,
    );
    assert!(
        said.contains(&format!(
            "All 8 objects are in etcd {} as in the file.\n",
            etcd.endpoint
        )),
        "{said}"
    );
    // IPAM's numbers are whole: no digit of 64 bits is lost.
    let numbers = "jsonpath={.spec.sequenceNumber} {.spec.sequenceNumberForAllocation.0}";
    let block = [
        "get",
        "ipamblock",
        "10-233-0-0-26",
        "-o",
        numbers,
        in_etcd[0],
        in_etcd[1],
    ];
    assert_eq!(done(&block, ""), "1799999999999999999 1799999999999999998");
    let second = done(&["datastore", "export", in_etcd[0], in_etcd[1]], "");
    let back = folder.path().join("back");
    let back = ["--datastore", back.to_str().unwrap()];
    done(
        &["datastore", "import", "-f", "-", back[0], back[1]],
        &second,
    );
    let third = done(&["datastore", "export", back[0], back[1]], "");
    assert_eq!(third, second);
    // etcd adds only the labels by which Calico finds a node's affinities.
    let labels = |text: &str| {
        text.lines()
            .filter(|line| line.contains("projectcalico.org/") && !line.starts_with("apiVersion"))
            .count()
    };
    assert_eq!(
        second.lines().filter(|line| !first.contains(*line)).count(),
        labels(&second)
    );
    // A pool of etcd is split while it is locked, and has what it had.
    let said = done(
        &[
            "ipam",
            "split",
            "2",
            "--cidr",
            "10.233.0.0/16",
            in_etcd[0],
            in_etcd[1],
        ],
        "",
    );
    assert!(
        said.ends_with("IPPool default-ipv4-ippool deleted: it is now 2 pools\n"),
        "{said}"
    );
    assert_eq!(
        done(&["datastore", "unlock", in_etcd[0], in_etcd[1]], ""),
        "Datastore unlocked.\n"
    );
}
