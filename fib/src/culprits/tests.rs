//! Names of culprits, and how much is said about them.

use super::*;

#[test]
fn a_port_is_a_process_a_process_that_has_ended_or_only_a_port() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("4242")).unwrap();
    fs::write(folder.path().join("4242/comm"), "systemd-network\n").unwrap();
    let mut culprits = Culprits::new(folder.path().into());
    let now = Instant::now();
    let mut by = |port| culprits.act(port, now).by;
    assert_eq!(by(4242), "systemd-network (process 4242)");
    assert_eq!(by(4243), "process 4243, which has ended");
    assert_eq!(by(4_294_963_199), "netlink port 4294963199");
    assert_eq!(by(0), "the kernel");
}

#[test]
fn a_burst_has_a_few_lines_and_a_sum() {
    let mut culprits = culprits();
    let start = Instant::now();
    let told = (0..20_000).filter(|_| culprits.act(7, start).tell).count();
    assert_eq!(told as u64, LINES_MAX);
    assert_eq!(culprits.sums(start), []);
    let end = culprits.next_sum().unwrap();
    assert_eq!(end, start + QUIET);
    let expected = Sum {
        program: "processes that have ended".into(),
        untold: 20_000 - LINES_MAX,
        took: Duration::ZERO,
    };
    assert_eq!(culprits.sums(end), [expected]);
    assert_eq!(culprits.next_sum(), None, "and is forgotten");
    assert!(culprits.act(7, end).tell);
}

#[test]
fn a_few_acts_have_no_sum() {
    let mut culprits = culprits();
    let start = Instant::now();
    for _ in 0..LINES_MAX {
        assert!(!culprits.act(7, start).mass);
    }
    assert_eq!(culprits.sums(start + QUIET), []);
    assert_eq!(culprits.next_sum(), None);
}

/// A shell script that runs `ip` again and again is one culprit.
#[test]
fn processes_that_have_ended_share_a_burst() {
    let mut culprits = culprits();
    let now = Instant::now();
    let told = (1000..2000)
        .filter(|pid| culprits.act(*pid, now).tell)
        .count();
    assert_eq!(told as u64, LINES_MAX);
}

#[test]
fn a_burst_that_does_not_end_has_a_sum_now_and_then() {
    let mut culprits = culprits();
    let start = Instant::now();
    let mut sums = Vec::new();
    for step in 0..1300 {
        let now = start + Duration::from_millis(step * 100);
        culprits.act(7, now);
        sums.extend(culprits.sums(now).into_iter().map(|sum| sum.untold));
    }
    assert_eq!(sums, [598, 600]);
}

fn culprits() -> Culprits {
    Culprits::new("/nonexistent".into())
}
