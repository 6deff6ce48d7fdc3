//! A node with two pods and the world outside, each in a network namespace of its own:
//!
//! ```text
//!   pod 1  10.65.0.1  fd65::1 ── cali1 ┐
//!                                      ├ node ── eth0 192.0.2.1 2001:db8::1 ──── outside 192.0.2.9 2001:db8::9
//!   pod 2  10.65.0.2  fd65::2 ── cali2 ┘
//! ```

use std::future::Future;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use caracal_filter::{
    Filter, FilterStatus, Masquerade, Rules, ServiceLoops, SpoofProtection, TunnelProtection,
};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread in it, which works for us there.
pub(crate) struct Namespace {
    jobs: mpsc::Sender<Job>,
    /// As `ip link set … netns` takes it.
    path: String,
}

impl Namespace {
    fn new() -> Namespace {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (told, path) = mpsc::channel();
        thread::spawn(move || {
            unshare().unwrap();
            ip("link set lo up");
            let thread = rustix::thread::gettid().as_raw_nonzero();
            let path = format!("/proc/{}/task/{thread}/ns/net", std::process::id());
            told.send(path).unwrap();
            for job in queue {
                job();
            }
        });
        let path = path.recv().unwrap();
        Namespace { jobs, path }
    }

    /// Does this there, and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (told, outcome) = mpsc::channel();
        let job = move || drop(told.send(work()));
        self.jobs.send(Box::new(job)).unwrap();
        outcome.recv().expect("the work did not panic")
    }

    pub(crate) fn ip(&self, line: &str) {
        let line = line.to_owned();
        self.run(move || drop(ip(&line)));
    }
}

fn unshare() -> rustix::io::Result<()> {
    // NEWNET concerns this thread only; the files of other threads are not touched.
    #[expect(
        deprecated,
        reason = "the replacement is unsafe for the sake of other flags"
    )]
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
}

/// The namespaces of a test, which itself runs in that of the node.
pub(crate) struct World {
    pub(crate) pods: [Namespace; 2],
    pub(crate) outside: Namespace,
}

/// Runs the test on a thread of its own in a namespace of its own.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = thread::spawn(move || {
        if let Err(error) = unshare() {
            println!("skipped: no network namespace: {error}");
            return;
        }
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl World {
    /// To be called in the namespace of the node.
    pub(crate) fn build() -> World {
        let world = World {
            pods: [Namespace::new(), Namespace::new()],
            outside: Namespace::new(),
        };
        for (place, pod) in world.pods.iter().enumerate() {
            let number = place + 1;
            let (device, peer) = (format!("cali{number}"), format!("peer{number}"));
            ip(&format!(
                "link add {device} address ee:ee:ee:ee:ee:ee type veth peer name {peer}"
            ));
            ip(&format!("link set {peer} netns {}", pod.path));
            sysctl(&format!("ipv6/conf/{device}/accept_dad"), "0");
            ip(&format!("link set {device} up"));
            ip(&format!("addr add fe80::1/64 dev {device} nodad"));
            // What we test does this; the kernel's own filter would hide it.
            sysctl(&format!("ipv4/conf/{device}/rp_filter"), "0");
            pod.ip(&format!("link set {peer} name eth0"));
            pod.run(|| sysctl("ipv6/conf/eth0/accept_dad", "0"));
            pod.ip("link set eth0 up");
            pod.ip(&format!("addr add 10.65.0.{number}/32 dev eth0"));
            pod.ip(&format!("addr add fd65::{number}/128 dev eth0 nodad"));
            pod.ip("route add 169.254.1.1 dev eth0 scope link");
            pod.ip("route add default via 169.254.1.1");
            pod.ip("neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0");
            pod.ip("route add default via fe80::1 dev eth0");
            ip(&format!("route add 10.65.0.{number} dev {device}"));
            ip(&format!("route add fd65::{number} dev {device}"));
        }
        ip("link add eth0 type veth peer name peer0");
        ip(&format!("link set peer0 netns {}", world.outside.path));
        sysctl("ipv6/conf/eth0/accept_dad", "0");
        ip("link set eth0 up");
        ip("addr add 192.0.2.1/24 dev eth0");
        ip("addr add 2001:db8::1/64 dev eth0 nodad");
        world.outside.ip("link set peer0 name eth0");
        world
            .outside
            .run(|| sysctl("ipv6/conf/eth0/accept_dad", "0"));
        world.outside.ip("link set eth0 up");
        world.outside.ip("addr add 192.0.2.9/24 dev eth0");
        world.outside.ip("addr add 2001:db8::9/64 dev eth0 nodad");
        // So that an answer comes back whether or not the source was changed.
        world.outside.ip("route add 10.0.0.0/8 via 192.0.2.1");
        world.outside.ip("route add fd00::/8 via 2001:db8::1");
        sysctl("ipv4/ip_forward", "1");
        sysctl("ipv6/conf/all/forwarding", "1");
        sysctl("ipv4/conf/all/rp_filter", "0");
        // Redirects use up what ICMP may send.
        sysctl("ipv4/conf/all/send_redirects", "0");
        sysctl("ipv4/conf/eth0/send_redirects", "0");
        world
    }
}

/// Answers each datagram on this port with the source that it saw, in the current namespace.
pub(crate) fn echo(namespace: &Namespace, address: &str, port: u16) -> SocketAddr {
    let at = SocketAddr::new(self::address(address), port);
    namespace.run(move || {
        let socket = UdpSocket::bind(at).unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(from.to_string().as_bytes(), from).ok();
            }
        });
    });
    at
}

/// The source that `to` saw of a datagram sent from here; `None` when no answer comes.
pub(crate) fn ask(from: &Namespace, source: &str, to: SocketAddr) -> Option<SocketAddr> {
    ask_for(PATIENCE, from, source, to)
}

/// The same where no answer is expected.
pub(crate) fn ask_in_vain(from: &Namespace, source: &str, to: SocketAddr) -> Option<SocketAddr> {
    ask_for(2 * ASK_AGAIN, from, source, to)
}

fn ask_for(
    patience: Duration,
    from: &Namespace,
    source: &str,
    to: SocketAddr,
) -> Option<SocketAddr> {
    let source = source.to_owned();
    from.run(move || ask_here(patience, &source, to))
}

/// The same from the current namespace.
pub(crate) fn ask_here(patience: Duration, source: &str, to: SocketAddr) -> Option<SocketAddr> {
    let socket = UdpSocket::bind(SocketAddr::new(address(source), 0)).unwrap();
    socket.connect(to).unwrap();
    let mut buffer = [0; 64];
    // The first may get lost while neighbours are looked for.
    let deadline = Instant::now() + patience;
    socket.set_read_timeout(Some(ASK_AGAIN)).unwrap();
    while Instant::now() < deadline {
        if socket.send(b"who am I?").is_err() {
            continue;
        }
        if let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            return Some(text.parse().unwrap());
        }
    }
    None
}

/// `ip …` in the current namespace, which must succeed.
pub(crate) fn ip(line: &str) -> String {
    let v6 = line.contains("::");
    let family: &[&str] = if v6 { &["-6"] } else { &[] };
    let words: Vec<_> = family
        .iter()
        .copied()
        .chain(line.split_whitespace())
        .collect();
    run("ip", &words)
}

/// `nft …` in the current namespace, which must succeed.
pub(crate) fn nft(line: &str) -> String {
    run("nft", &[line])
}

/// All tables, with the handles by which one sees whether something was written anew.
pub(crate) fn ruleset_with_handles() -> String {
    run("nft", &["-a", "list", "ruleset"])
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {words:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn sysctl(name: &str, value: &str) {
    let path = format!("/proc/sys/net/{name}");
    std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Wishes, and waits until the kernel has them.
pub(crate) async fn set(filter: &Filter, rules: Rules) -> FilterStatus {
    filter.set(rules);
    settle(filter).await
}

pub(crate) async fn settle(filter: &Filter) -> FilterStatus {
    // An answer comes after all wishes before it were taken in. The first may take long: the kernel loads modules.
    let deadline = Instant::now() + PATIENCE;
    while let Err(fault) = filter.counters().await {
        assert!(Instant::now() < deadline, "{fault}");
    }
    until(filter, "settled", |status| status.settled).await
}

/// Waits until the status is as wanted.
pub(crate) async fn until(
    filter: &Filter,
    what: &str,
    wanted: impl Fn(&FilterStatus) -> bool,
) -> FilterStatus {
    let mut status = filter.status();
    match tokio::time::timeout(PATIENCE, status.wait_for(|now| wanted(now))).await {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!(
            "{what}: not within {PATIENCE:?}: {:?}",
            filter.status().borrow()
        ),
    }
}

/// Waits until the table is as wanted.
pub(crate) async fn until_table(what: &str, wanted: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = nft("list ruleset");
        if wanted(&now) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}; {now}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Pools 10.65.0.0/16 and fd65::/64, both masqueraded.
pub(crate) fn masqueraded() -> Masquerade {
    let pools = ["10.65.0.0/16", "fd65::/64"];
    Masquerade {
        sources: pools.iter().map(|pool| pool.parse().unwrap()).collect(),
        except_to: pools.iter().map(|pool| pool.parse().unwrap()).collect(),
        own_through: ["tunl0".to_owned()].into(),
        ..Masquerade::default()
    }
}

pub(crate) fn protected() -> SpoofProtection {
    SpoofProtection {
        device_prefixes: ["cali".to_owned()].into(),
        allowed: Default::default(),
        may_send_ipip: false,
        vxlan_port: Some(4789),
    }
}

pub(crate) fn services(reject: bool) -> ServiceLoops {
    let services = ["10.96.0.0/12", "fd96::/108"];
    ServiceLoops {
        services: services.iter().map(|net| net.parse().unwrap()).collect(),
        reject,
    }
}

/// All of it.
pub(crate) fn everything() -> Rules {
    Rules {
        masquerade: masqueraded(),
        spoofing: Some(protected()),
        tunnels: Some(TunnelProtection {
            ipip: true,
            vxlan: Some(4789),
            vxlan_v6: Some(4789),
            ends: ["192.0.2.0/24", "2001:db8::/64"]
                .map(|net| net.parse().unwrap())
                .into(),
        }),
        service_loops: Some(services(false)),
    }
}

/// For an emulated machine, which loads the kernel's modules meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const ASK_AGAIN: Duration = Duration::from_millis(200);
