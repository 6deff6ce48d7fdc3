//! How much memory a large cluster's Kubernetes costs a process: what an agent watches, the collector's watch of everything,
//! and a pass over all Pods. Each is a process of its own; the API server is another one, which makes up what it answers.
//!
//! `cargo run --release -p caracal-datastore --example kubernetes_memory`. `PODS=150000` is how many, thirty on each node.

#![allow(clippy::print_stdout, reason = "its output is a table")]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use caracal_datastore::ipam::collect::{Snapshot, WATCHED};
use caracal_datastore::{Datastore, Kind, KubernetesConfig, KubernetesDatastore, WatchEvent};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Of a node.
const PODS_OF_NODE: usize = 30;
const BLOCK: usize = 64;
const CALICO: &str = "/apis/crd.projectcalico.org/v1";

/// What a process does, and how it is called in the table.
const WAYS: [(&str, &str); 4] = [
    ("nothing", "connected"),
    ("own", "watch of a node's own Pods"),
    ("pass", "a pass over all Pods"),
    (
        "collector",
        "the collector's watch: Nodes, Pods, blocks, handles",
    ),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("serve"), _) => serve().await,
        (Some(way), Some(port)) => measure(way, &port).await,
        _ => all(),
    }
}

/// Starts the server, and each way behind the other.
fn all() -> Outcome<()> {
    let mut server = itself(&["serve"])?;
    let port = line_of(&mut server)?;
    println!(
        "| {} Pods on {} nodes | objects | peak of memory | time |",
        pods(),
        nodes()
    );
    println!("|---|---|---|---|");
    let done = WAYS.iter().try_for_each(|(way, words)| {
        let mut child = itself(&[way, port.trim()])?;
        let figures = line_of(&mut child)?;
        child.wait()?;
        println!("| {words} | {} |", figures.trim());
        Ok(())
    });
    server.kill()?;
    server.wait()?;
    done
}

fn itself(arguments: &[&str]) -> Outcome<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command.args(arguments).stdout(Stdio::piped()).spawn()?)
}

fn line_of(child: &mut Child) -> Outcome<String> {
    let out = child.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok(line)
}

/// Does one of the [`WAYS`] and says what it took.
async fn measure(way: &str, port: &str) -> Outcome<()> {
    let file = std::env::temp_dir().join(format!("caracal-memory-{}.yaml", std::process::id()));
    std::fs::write(
        &file,
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}], \
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{}}}}]}}"
        ),
    )?;
    let config = KubernetesConfig {
        kubeconfig: Some(file.clone()),
        node: Some("n7".to_owned()),
        ..KubernetesConfig::default()
    };
    let store = KubernetesDatastore::connect(&config).await;
    std::fs::remove_file(&file)?;
    let (store, start) = (store?, Instant::now());
    let mut objects = 0;
    match way {
        "own" => {
            let mut watcher = store.watch(&[Kind::WorkloadEndpoint]).await?;
            while let Some(event) = watcher.events.recv().await {
                match event {
                    WatchEvent::Set(_) => objects += 1,
                    WatchEvent::InSync => break,
                    other => return Err(format!("{other:?}").into()),
                }
            }
        }
        "pass" => {
            let mut faults = 0;
            let mut visit = |passed: Result<_, _>| match passed {
                Ok(_) => objects += 1,
                Err(_) => faults += 1,
            };
            store.pass_over(Kind::WorkloadEndpoint, &mut visit).await?;
            if faults > 0 {
                return Err(format!("{faults} Pods cannot be read").into());
            }
        }
        "collector" => {
            let mut watcher = store.watch_all(&WATCHED).await?;
            let mut snapshot = Snapshot::default();
            while !snapshot.is_in_sync() {
                let event = watcher.events.recv().await.ok_or("the watch has ended")?;
                objects += usize::from(matches!(event, WatchEvent::Set(_)));
                snapshot.handle(event);
            }
            if let Some(why) = snapshot.incomplete() {
                return Err(why.into());
            }
        }
        _ => {}
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: f64 = peak
        .and_then(|peak| peak.split_whitespace().next()?.parse().ok())
        .ok_or("no VmHWM")?;
    let seconds = start.elapsed().as_secs_f64();
    println!("{objects} | {:.0} MiB | {seconds:.1} s", kilobytes / 1024.0);
    Ok(())
}

// ---- the API server

async fn serve() -> Outcome<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that goes away is no fault.
        tokio::spawn(async move { drop(answer_all(stream).await) });
    }
}

async fn answer_all(stream: TcpStream) -> Outcome<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(reader).lines();
    while let Some(request) = lines.next_line().await? {
        while lines
            .next_line()
            .await?
            .is_some_and(|line| !line.is_empty())
        {}
        let address = request.split(' ').nth(1).unwrap_or_default();
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        if query.contains("watch=") {
            // Nothing ever changes.
            writer
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await?;
            continue;
        }
        let (code, body) = match answer(path, query) {
            Some(body) => (200, body),
            None => (404, r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound"}"#.to_owned()),
        };
        let head = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        writer.write_all(head.as_bytes()).await?;
        writer.write_all(body.as_bytes()).await?;
    }
    Ok(())
}

fn answer(path: &str, query: &str) -> Option<String> {
    let of_node = query.contains("fieldSelector=");
    let calicos = path.strip_prefix(CALICO);
    match (path, calicos) {
        (_, Some("")) => Some(r#"{"resources":[{"name":"ippools"}]}"#.to_owned()),
        ("/api/v1/pods", _) if of_node => {
            Some(page(query, PODS_OF_NODE, |at| pod(7 * PODS_OF_NODE + at)))
        }
        ("/api/v1/pods", _) => Some(page(query, pods(), pod)),
        ("/api/v1/nodes", _) => Some(page(query, nodes(), node)),
        (_, Some("/ipamblocks")) => Some(page(query, pods().div_ceil(BLOCK), block)),
        (_, Some("/ipamhandles")) => Some(page(query, pods(), handle)),
        (_, Some(_)) => Some(page(query, 0, handle)),
        _ => None,
    }
}

/// A page of a list of so many objects. What comes behind it is named by its place.
fn page(query: &str, count: usize, object: impl Fn(usize) -> String) -> String {
    let number = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let mut found = pairs.filter(|(key, _)| *key == name);
        found
            .next()
            .and_then(|(_, value)| value.parse::<usize>().ok())
    };
    let start = number("continue").unwrap_or(0);
    let end = count.min(start + number("limit").unwrap_or(count));
    let next = if end < count {
        format!(r#","continue":"{end}""#)
    } else {
        String::new()
    };
    let items: Vec<String> = (start..end).map(object).collect();
    format!(
        r#"{{"kind":"List","metadata":{{"resourceVersion":"1"{next}}},"items":[{}]}}"#,
        items.join(",")
    )
}

fn metadata(name: &str) -> String {
    format!(
        r#""name":"{name}","uid":"00000000-0000-4000-8000-000000000000","resourceVersion":"1","creationTimestamp":"2026-01-01T00:00:00Z""#
    )
}

fn address(at: usize) -> String {
    format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255)
}

fn container(at: usize) -> String {
    format!("{at:064x}")
}

/// About 4 KB, as a Pod of a Deployment has.
fn pod(at: usize) -> String {
    let mut spec = String::new();
    for container in ["main", "sidecar"] {
        let _ = write!(
            spec,
            r#"{{"name":"{container}","image":"registry.example/team/{container}:1.2.3","ports":[{{"name":"http-{container}","containerPort":8080,"protocol":"TCP"}}],
            "env":[{{"name":"TEXT","value":"{text}"}}],"resources":{{}},"volumeMounts":[{{"name":"token","mountPath":"/var/run/secrets"}}]}},"#,
            text = "x".repeat(900),
        );
    }
    format!(
        r#"{{"metadata":{{{metadata},"namespace":"team-{team}","labels":{{"app":"web","pod-template-hash":"6c5d8f9b7d","team":"{team}"}},
        "annotations":{{"cni.projectcalico.org/podIP":"{address}/32","cni.projectcalico.org/podIPs":"{address}/32","cni.projectcalico.org/containerID":"{container}","note":"{note}"}},
        "managedFields":[{{"manager":"kubelet","fieldsV1":{{"f:status":"{fields}"}}}}]}},
        "spec":{{"nodeName":"n{node}","serviceAccountName":"default","containers":[{spec}{{"name":"last"}}]}},
        "status":{{"phase":"Running","podIP":"{address}","podIPs":[{{"ip":"{address}"}}]}}}}"#,
        metadata = metadata(&format!("web-6c5d8f9b7d-{at:05x}")),
        team = at % 100,
        address = address(at),
        container = container(at),
        note = "n".repeat(200),
        fields = "f".repeat(1200),
        node = at / PODS_OF_NODE,
    )
}

fn node(at: usize) -> String {
    format!(
        r#"{{"metadata":{{{},"annotations":{{"projectcalico.org/IPv4Address":"172.16.{}.{}/16"}},"labels":{{"kubernetes.io/os":"linux"}}}},"spec":{{}},"status":{{"note":"{}"}}}}"#,
        metadata(&format!("n{at}")),
        at >> 8,
        at & 255,
        "s".repeat(4000)
    )
}

fn handle_id(at: usize) -> String {
    format!("k8s-pod-network.{}", container(at))
}

fn cidr(block: usize) -> String {
    format!("{}/26", address(block * BLOCK))
}

fn handle(at: usize) -> String {
    let id = handle_id(at);
    format!(
        r#"{{"metadata":{{{}}},"spec":{{"handleID":"{id}","block":{{"{}":1}},"deleted":false}}}}"#,
        metadata(&id),
        cidr(at / BLOCK)
    )
}

fn block(at: usize) -> String {
    let inside: Vec<usize> = (at * BLOCK..pods().min((at + 1) * BLOCK)).collect();
    let attributes: Vec<String> = inside
        .iter()
        .map(|pod| {
            format!(
                r#"{{"handle_id":"{}","secondary":{{"namespace":"team-{}","node":"n{}","pod":"web-6c5d8f9b7d-{pod:05x}","timestamp":"2026-01-01 00:00:00 +0000 UTC"}}}}"#,
                handle_id(*pod),
                pod % 100,
                pod / PODS_OF_NODE
            )
        })
        .collect();
    let ordinals = 0..BLOCK;
    let allocations: Vec<String> = ordinals
        .clone()
        .map(|ordinal| {
            if ordinal < inside.len() {
                ordinal.to_string()
            } else {
                "null".to_owned()
            }
        })
        .collect();
    let free: Vec<String> = ordinals
        .skip(inside.len())
        .map(|ordinal| ordinal.to_string())
        .collect();
    format!(
        r#"{{"metadata":{{{}}},"spec":{{"cidr":"{}","affinity":"host:n{}","allocations":[{}],"unallocated":[{}],"attributes":[{}],"deleted":false,"strictAffinity":false}}}}"#,
        metadata(&cidr(at).replace(['.', '/'], "-")),
        cidr(at),
        at * BLOCK / PODS_OF_NODE,
        allocations.join(","),
        free.join(","),
        attributes.join(",")
    )
}

fn pods() -> usize {
    let asked = std::env::var("PODS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(150_000)
}

fn nodes() -> usize {
    pods().div_ceil(PODS_OF_NODE)
}
