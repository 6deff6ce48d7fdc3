//! What leaks is found, named, and freed; what is in use is not.

use super::*;

/// Of eight addresses: .1 is a pod's, .2 was one's, .3 a load balancer's, .4 was given in this century.
const CLUSTER: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pods}
spec: {cidr: 10.233.0.0/24, blockSize: 29}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: n1}
spec: {}
---
apiVersion: projectcalico.org/v3
kind: ClusterInformation
metadata: {name: default}
spec: {clusterGUID: abc, datastoreReady: true}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: n1-k8s-web-eth0, namespace: default}
spec: {orchestrator: k8s, node: n1, pod: web, endpoint: eth0, containerID: c1, ipNetworks: [10.233.0.1/32, 10.233.0.100/32]}
---
apiVersion: projectcalico.org/v3
kind: BlockAffinity
metadata: {name: n1-10-233-0-0-29}
spec: {state: confirmed, node: n1, cidr: 10.233.0.0/29, deleted: 'false'}
---
apiVersion: projectcalico.org/v3
kind: IPAMBlock
metadata: {name: 10-233-0-0-29}
spec:
  cidr: 10.233.0.0/29
  affinity: host:n1
  allocations: [null, 0, 1, 2, 3, null, null, null]
  unallocated: [0, 5, 6, 7]
  attributes:
    - {handle_id: net.c1, secondary: {node: n1, namespace: default, pod: web, timestamp: '2020-01-01T00:00:00Z'}}
    - {handle_id: net.c2, secondary: {node: n1, namespace: default, pod: gone, timestamp: '2020-01-01T00:00:00Z'}}
    - {handle_id: lb-1, secondary: {namespace: default, service: s}}
    - {handle_id: net.c4, secondary: {node: n1, namespace: default, pod: new, timestamp: '2099-01-01T00:00:00Z'}}
  sequenceNumber: 7
  sequenceNumberForAllocation: {'1': 3, '2': 4, '3': 5, '4': 6}
---
apiVersion: projectcalico.org/v3
kind: IPAMHandle
metadata: {name: net.lost}
spec: {handleID: net.lost, block: {10.233.0.8/29: 1}, deleted: false}
";

fn cluster() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir(&store).unwrap();
    std::fs::write(store.join("cluster.yaml"), CLUSTER).unwrap();
    for (handle, count) in [("net.c1", 1), ("net.c2", 1), ("lb-1", 1), ("net.c4", 1)] {
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: IPAMHandle\nmetadata: {{name: {handle}}}\n\
             spec: {{handleID: {handle}, block: {{10.233.0.0/29: {count}}}, deleted: false}}\n"
        );
        std::fs::write(store.join(format!("{handle}.yaml")), text).unwrap();
    }
    folder
}

fn taken(folder: &Path) -> Vec<u64> {
    let (_, stdout, _) = run(folder, &["get", "ipamblock", "10-233-0-0-29", "-o", "json"]);
    let block: Value = serde_json::from_str(&stdout).unwrap();
    let spec = if block["items"].is_array() {
        &block["items"][0]["spec"]
    } else {
        &block["spec"]
    };
    let all = spec["allocations"].as_array().unwrap().iter().enumerate();
    all.filter(|(_, index)| !index.is_null())
        .map(|(ordinal, _)| ordinal as u64)
        .collect()
}

#[test]
fn check_says_what_leaks_and_writes_a_report_that_release_reads() {
    let folder = cluster();
    let report = folder.path().join("report.json");
    let file = report.to_str().unwrap();
    let (exit, stdout, stderr) = run(
        folder.path(),
        &["ipam", "check", "--show-problem-ips", "-o", file],
    );
    assert_eq!((exit, stderr.as_str()), (0, ""));
    for line in [
        "Found 1 IPAM blocks.",
        "IPAM blocks record 4 allocations.",
        "Found 2 workload IPs.",
        "Node with most allocations has 3; median is 3.",
        "  10.233.0.2 leaked; handle=net.c2: there is no pod default/gone",
        "Found 2 IPs that are allocated in IPAM but not actually in use.",
        "  10.233.0.100: pod default/web",
        "Found 1 in-use IPs that are in IP pools but have no IPAM allocation.",
        "Found 1 handles with no matching IPs (and 4 handles with matches).",
        "Check complete; found 4 problems. `caracalctl ipam gc --dry-run` says what would be put right.",
    ] {
        assert!(
            stdout.lines().any(|found| found == line),
            "{line}\n{stdout}"
        );
    }
    let (_, stdout, _) = run(folder.path(), &["ipam", "check", "-o", "json"]);
    let read: Value = serde_json::from_str(&stdout).unwrap();
    let text = std::fs::read_to_string(&report).unwrap();
    assert_eq!(read, serde_json::from_str::<Value>(&text).unwrap());
    assert_eq!(read["clusterGUID"], "abc");
    assert_eq!(read["leakedHandles"], json!(["net.lost"]));
    let one = &read["allocations"]["10.233.0.2"][0];
    assert_eq!(
        (&one["inUse"], &one["sequenceNumber"], &one["handle"]),
        (&json!(false), &json!(4), &json!("net.c2"))
    );
    // A report of another cluster is not followed.
    let other = folder.path().join("other.json");
    std::fs::write(&other, text.replace("abc", "xyz")).unwrap();
    let from = format!("--from-report={}", other.display());
    let (exit, _, stderr) = run(folder.path(), &["ipam", "release", &from]);
    assert!(exit == 1 && stderr.contains("xyz"), "{stderr}");
    assert_eq!(taken(folder.path()), [1, 2, 3, 4]);
    let from = format!("--from-report={file}");
    let (exit, stdout, stderr) = run(folder.path(), &["ipam", "release", &from]);
    assert_eq!((exit, stderr.as_str()), (0, ""));
    assert_eq!(stdout, "Released 2 of 2 IPs, and put 1 handles right.\n");
    assert_eq!(taken(folder.path()), [1, 3]);
    // An old report does no harm.
    let (exit, stdout, stderr) = run(folder.path(), &["ipam", "release", &from]);
    assert_eq!(exit, 0, "{stderr}");
    assert_eq!(stdout, "Released 0 of 2 IPs, and put 0 handles right.\n");
    let (_, stdout, _) = run(folder.path(), &["ipam", "check"]);
    assert!(stdout.contains("found 1 problems."), "{stdout}");
}

#[test]
fn release_refuses_what_is_in_use_or_not_known_unless_it_is_forced() {
    let folder = cluster();
    let release = |address: &str, more: &[&str]| {
        let ip = format!("--ip={address}");
        let mut args = vec!["ipam", "release", &ip];
        args.extend(more);
        run(folder.path(), &args)
    };
    let (exit, _, stderr) = release("10.233.0.1", &[]);
    assert!(
        exit == 1 && stderr.contains("pod default/web uses it"),
        "{stderr}"
    );
    let (exit, _, stderr) = release("10.233.0.3", &[]);
    assert!(exit == 1 && stderr.contains("lb-1"), "{stderr}");
    assert_eq!(release("10.233.0.5", &[]).0, 3);
    assert_eq!(taken(folder.path()), [1, 2, 3, 4]);
    let (exit, stdout, _) = release("10.233.0.2", &[]);
    assert_eq!(
        (exit, stdout.as_str()),
        (
            0,
            "Successfully released IP address 10.233.0.2 of handle net.c2\n"
        )
    );
    assert_eq!(release("10.233.0.1", &["--force"]).0, 0);
    assert_eq!(taken(folder.path()), [3, 4]);
    let (exit, stdout, _) = run(folder.path(), &["get", "ipamhandles", "-o", "name"]);
    assert_eq!(exit, 0);
    assert!(
        !stdout.contains("net.c1") && !stdout.contains("net.c2"),
        "{stdout}"
    );
}

#[test]
fn gc_looks_twice_and_leaves_what_is_young() {
    let folder = cluster();
    let (exit, stdout, stderr) = run(folder.path(), &["ipam", "gc", "--dry-run"]);
    assert_eq!(exit, 0, "{stderr}");
    assert!(
        stdout.contains("address 10.233.0.2 of handle net.c2: free it"),
        "{stdout}"
    );
    assert!(stdout.contains("(too young)"), "{stdout}");
    assert!(stderr.contains("1 addresses are of kinds"), "{stderr}");
    assert_eq!(taken(folder.path()), [1, 2, 3, 4]);
    let (exit, stdout, _) = run(folder.path(), &["ipam", "gc", "--pause-seconds=0"]);
    assert_eq!(exit, 0);
    assert!(stdout.contains("2 repairs done; 0 spared"), "{stdout}");
    assert_eq!(taken(folder.path()), [1, 3, 4]);
    // Something that may be a workload cannot be read.
    let bad = folder.path().join("store/bad.yaml");
    std::fs::write(&bad, "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\nmetadata: {name: x}\nspec: {node: [\n").unwrap();
    let (exit, _, stderr) = run(folder.path(), &["ipam", "gc", "--dry-run"]);
    assert!(exit == 1 && stderr.contains("bad.yaml"), "{stderr}");
    let (exit, stdout, _) = run(folder.path(), &["ipam", "check"]);
    assert!(
        exit == 0 && stdout.contains("Nothing is said to be unused"),
        "{stdout}"
    );
    assert_eq!(
        run(folder.path(), &["ipam", "gc", "--grace-seconds=5"]).0,
        2
    );
}

#[test]
fn configure_sets_what_show_shows() {
    let folder = cluster();
    let (exit, stdout, _) = run(
        folder.path(),
        &[
            "ipam",
            "configure",
            "--strictaffinity=true",
            "--max-blocks-per-host=4",
        ],
    );
    assert_eq!(exit, 0);
    assert_eq!(
        stdout,
        "Successfully set StrictAffinity to: true\nSuccessfully set MaxBlocksPerHost to: 4\n"
    );
    assert_eq!(
        run(
            folder.path(),
            &["ipam", "configure", "--strictaffinity=false"]
        )
        .0,
        0
    );
    let (_, stdout, _) = run(folder.path(), &["ipam", "show", "--show-configuration"]);
    let has = |property: &str, value: &str| {
        let mut lines = stdout.lines();
        lines.any(|line| line.contains(property) && line.contains(&format!(" {value} ")))
    };
    assert!(
        has("StrictAffinity", "false") && has("MaxBlocksPerHost", "4"),
        "{stdout}"
    );
    assert_eq!(run(folder.path(), &["ipam", "configure"]).0, 2);
    let (exit, stdout, _) = run(folder.path(), &["ipam", "show", "--show-borrowed"]);
    assert!(exit == 0 && stdout.contains("BORROWING-NODE"), "{stdout}");
}
