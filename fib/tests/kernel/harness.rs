//! A fresh network namespace a test, devices made by `ip`, and waiting with a deadline.

use std::future::Future;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use caracal_fib::{Change, Config, Encapsulation, Endpoint, Fib, FibStatus, Gate, Route};
use ipnet::IpNet;

/// Runs the test on a thread of its own in a namespace of its own, which ends with it. The namespace has `lo`, and
/// `eth0` 172.18.0.1/24, 2001:db8:18::1/64, up, with its peer in the same namespace.
pub(crate) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        // NEWNET concerns this thread only; the files of other threads are not touched.
        #[expect(
            deprecated,
            reason = "the replacement is unsafe for the sake of other flags"
        )]
        let entered = rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET);
        if let Err(error) = entered {
            println!("skipped: no network namespace: {error}");
            return;
        }
        for line in [
            "link set lo up",
            "link add eth0 type veth peer name peer0",
            "link set peer0 up",
            "link set eth0 up",
            "addr add 172.18.0.1/24 dev eth0",
            "addr add 2001:db8:18::1/64 dev eth0 nodad",
        ] {
            ip(line);
        }
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

/// `ip …`, which must succeed.
pub(crate) fn ip(line: &str) -> String {
    try_ip(line).unwrap_or_else(|error| panic!("ip {line}: {error}"))
}

pub(crate) fn try_ip(line: &str) -> Result<String, String> {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .expect("iproute2 is installed");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().into())
    }
}

/// Many lines of `ip`, in one process; what fails is passed over.
pub(crate) fn batch(lines: &str) {
    let mut ip = Command::new("ip")
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("iproute2 is installed");
    let mut stdin = ip.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    ip.wait().unwrap();
}

/// The host end of a pod's veth, up, as the CNI plugin makes it.
pub(crate) fn add_cali(name: &str) {
    ip(&format!(
        "link add {name} address ee:ee:ee:ee:ee:ee type veth peer name p{name}"
    ));
    ip(&format!("link set p{name} up"));
    ip(&format!("link set {name} up"));
}

/// The routes with our signature, one a line, without trailing space.
pub(crate) fn ours(family: &str) -> Vec<String> {
    ip(&format!("{family} route show proto 67"))
        .lines()
        .map(|line| {
            // The number of a nexthop object is nobody's business; where it leads is shown with it.
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if let Some(place) = words.iter().position(|word| *word == "nhid") {
                words.drain(place..place + 2);
            }
            words.join(" ")
        })
        .collect()
}

/// `ip route flush` names what it deletes by all that the kernel shows of it, which the kernel refuses where it shows both
/// a nexthop object and what that stands for. This makes it show the object only.
pub(crate) fn show_objects_only() {
    std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
}

pub(crate) async fn start() -> Fib {
    Fib::start(Config::default()).await.unwrap()
}

pub(crate) fn workload(device: &str, addresses: &[&str]) -> Change {
    Change::SetEndpoint(
        device.into(),
        Endpoint {
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            mac: [2, 0, 0, 0, 0, 7],
            ..Endpoint::default()
        },
    )
}

pub(crate) fn remote(prefix: &str, next_hops: &[&str]) -> Change {
    encapsulated(prefix, next_hops, Encapsulation::None)
}

pub(crate) fn encapsulated(
    prefix: &str,
    next_hops: &[&str],
    encapsulation: Encapsulation,
) -> Change {
    Change::SetRoute(
        net(prefix),
        Route::Remote {
            next_hops: next_hops.iter().map(|hop| address(hop)).collect(),
            encapsulation,
        },
    )
}

pub(crate) fn blackhole(prefix: &str) -> Change {
    Change::SetRoute(net(prefix), Route::Blackhole)
}

pub(crate) fn open() -> Change {
    Change::SetGate(Gate::Open)
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Waits until the status is as wanted.
pub(crate) async fn until(fib: &Fib, what: &str, wanted: impl Fn(&FibStatus) -> bool) -> FibStatus {
    let mut status = fib.status();
    match tokio::time::timeout(PATIENCE, status.wait_for(|now| wanted(now))).await {
        Ok(status) => status.unwrap().clone(),
        Err(_) => panic!(
            "{what}: not within {PATIENCE:?}: {:?}",
            fib.status().borrow()
        ),
    }
}

/// Waits until everything that was applied before is in the kernel.
pub(crate) async fn settle(fib: &Fib) -> FibStatus {
    // An answer comes after all commands before it; the status follows.
    fib.routes().await.unwrap();
    until(fib, "settled", |s| s.pending == 0).await
}

/// Waits until the kernel says so.
pub(crate) async fn until_kernel(what: &str, wanted: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !wanted() {
        assert!(
            std::time::Instant::now() < deadline,
            "{what}: not within {PATIENCE:?}; routes: {}",
            ip("route show")
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// For an emulated machine, which loads the kernel's modules meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
