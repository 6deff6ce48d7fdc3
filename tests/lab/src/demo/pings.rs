//! Every pod asks every other, and the wires are watched.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Result;
use caracal_lab::wire::Way;
use caracal_lab::{Encapsulation, Lab, Pod};

use crate::terminal::Terminal;

/// Wider matrices do not fit on a terminal.
const MATRIX_PODS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;

struct Pair {
    from: usize,
    to: usize,
    /// Median; `None`: not all answered.
    time: Option<Duration>,
    way: Way,
    expected: Way,
}

/// Shows the matrix; false when a pair does not answer or takes another way than it should.
pub(crate) fn show(terminal: &Terminal, lab: &Lab, pods: &[Pod], ipv6: bool) -> Result<bool> {
    let family = if ipv6 {
        "IPv6 between pods"
    } else {
        "Between pods"
    };
    terminal.heading(
        family,
        "median round trip of three pings, and the way as seen on the wires",
    );
    let mut pairs = Vec::new();
    for from in 0..pods.len() {
        for to in (0..pods.len()).filter(|&to| to != from) {
            pairs.push(ask(lab, pods, from, to, ipv6)?);
        }
    }
    if pods.len() <= MATRIX_PODS_MAX {
        matrix(terminal, pods, &pairs);
    } else {
        summary(terminal, &pairs);
    }
    let silent: Vec<_> = pairs.iter().filter(|pair| pair.time.is_none()).collect();
    for pair in &silent {
        let (from, to) = (&pods[pair.from], &pods[pair.to]);
        println!(
            "  {}",
            terminal.judged(false, &format!("{} did not answer {}", to.name, from.name))
        );
    }
    let astray: Vec<_> = pairs
        .iter()
        .filter(|pair| pair.time.is_some() && pair.way != pair.expected)
        .collect();
    for pair in &astray {
        let (from, to) = (&pods[pair.from], &pods[pair.to]);
        let words = format!(
            "{} to {}: {:?}, expected {:?}",
            from.name, to.name, pair.way, pair.expected
        );
        println!("  {}", terminal.judged(false, &words));
    }
    let answered = pairs.len() - silent.len();
    terminal.lines(&format!("{answered} of {} pairs answer", pairs.len()));
    Ok(silent.is_empty() && astray.is_empty())
}

fn ask(lab: &Lab, pods: &[Pod], from: usize, to: usize, ipv6: bool) -> Result<Pair> {
    let mut pinger = lab.pinger(&pods[from], &pods[to], ipv6)?;
    let mut times: Vec<_> = (0..ROUNDS).filter_map(|_| pinger.ask(PATIENCE)).collect();
    times.sort();
    let time = (times.len() == ROUNDS).then(|| times[ROUNDS / 2]);
    let way = lab.watcher.way_of(pinger.probe())?;
    let expected = expected(lab, pods[from].node, pods[to].node, ipv6);
    Ok(Pair {
        from,
        to,
        time,
        way,
        expected,
    })
}

/// What `CrossSubnet` means.
fn expected(lab: &Lab, from: usize, to: usize, ipv6: bool) -> Way {
    let address = |node: usize| -> IpAddr {
        let site = &lab.nodes[node].site;
        if ipv6 {
            site.ipv6.addr()
        } else {
            site.ipv4.addr()
        }
    };
    match lab.options.encapsulation {
        _ if from == to => Way::Local,
        _ if lab.same_rack(from, to) => Way::Direct,
        Encapsulation::None => Way::Direct,
        Encapsulation::Ipip if !ipv6 => Way::Ipip(address(from), address(to)),
        Encapsulation::Ipip | Encapsulation::Vxlan => Way::Vxlan(address(from), address(to)),
    }
}

fn shown(time: Duration) -> String {
    let micros = time.as_micros();
    if micros < 1000 {
        format!("{micros} µs")
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}

fn matrix(terminal: &Terminal, pods: &[Pod], pairs: &[Pair]) {
    let names = pods.iter().map(|pod| pod.name.clone());
    let mut rows = vec![
        ["from \\ to".to_owned()]
            .into_iter()
            .chain(names)
            .collect::<Vec<_>>(),
    ];
    for (from, pod) in pods.iter().enumerate() {
        let mut row = vec![pod.name.clone()];
        for to in 0..pods.len() {
            let pair = pairs.iter().find(|pair| pair.from == from && pair.to == to);
            row.push(match pair {
                None => "·".to_owned(),
                Some(Pair { time: None, .. }) => "no answer".to_owned(),
                Some(Pair {
                    time: Some(time),
                    way,
                    ..
                }) => format!("{} {}", shown(*time), way.word()),
            });
        }
        rows.push(row);
    }
    terminal.table(&rows);
}

fn summary(terminal: &Terminal, pairs: &[Pair]) {
    let mut by_way: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    for pair in pairs {
        by_way.entry(pair.way.word()).or_default().extend(pair.time);
    }
    let mut rows = vec![
        ["way", "pairs", "median", "slowest"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (way, mut times) in by_way {
        times.sort();
        let or_dash =
            |time: Option<&Duration>| time.map_or_else(|| "-".to_owned(), |time| shown(*time));
        rows.push(vec![
            way.to_owned(),
            times.len().to_string(),
            or_dash(times.get(times.len() / 2)),
            or_dash(times.last()),
        ]);
    }
    terminal.table(&rows);
}
