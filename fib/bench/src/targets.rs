//! What the FIB shall reach, and whether it does.

use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::contestants::Contestant;
use crate::pairs::Pair;
use crate::report::Report;
use crate::work::{Family, Step};

/// One line of the last table.
#[derive(Debug, Serialize)]
pub(crate) struct Target {
    pub what: String,
    pub wanted: String,
    pub measured: String,
    pub met: bool,
}

/// Those of which something was measured.
pub(crate) fn of(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    for family in [Family::V4, Family::V6] {
        for (step, word) in [(Step::In, "inserts"), (Step::Out, "deletes")] {
            for (fib, mark, least) in RATES {
                let rate = |who| {
                    let row = report.row(family, who, step);
                    row.map(|row| row.routes_per_second)
                };
                let (Some(ours), Some(theirs)) = (rate(fib), rate(mark)) else {
                    continue;
                };
                let wanted = (family, step, fib, mark);
                let mut pairs = report.pairs.iter();
                let pair = pairs
                    .find(|pair| (pair.family, pair.step, pair.contestant, pair.mark) == wanted);
                let ratio = pair.map_or(ours / theirs, |pair| pair.median);
                targets.push(Target {
                    what: format!("{family} {word}: {fib} to {mark}"),
                    wanted: format!("at least {least}"),
                    measured: pair.map_or_else(|| format!("{ratio:.2}"), Pair::text),
                    met: ratio >= least,
                });
            }
        }
    }
    for one in &report.latency {
        let most = if one.busy { BUSY_MOST_US } else { MOST_US };
        targets.push(Target {
            what: format!("{}, median", one.what),
            wanted: format!("below {most} us"),
            measured: format!("{:.0} us", one.p50_us),
            met: one.p50_us < most,
        });
    }
    targets
}

pub(crate) fn table(targets: &[Target]) -> String {
    let mut builder = Builder::default();
    builder.push_record(["target", "wanted", "measured", ""]);
    for one in targets {
        let met = if one.met { "met" } else { "not met" };
        builder.push_record([&*one.what, &*one.wanted, &*one.measured, met]);
    }
    builder.build().with(Style::markdown()).to_string()
}

/// Whose rate is to be so many times whose.
const RATES: [(Contestant, Contestant, f64); 5] = [
    (Contestant::Fib, Contestant::Raw, 0.8),
    (Contestant::Fib, Contestant::IpBatch, 2.0),
    // As it is by default.
    (Contestant::FibNexthop, Contestant::Raw, 0.8),
    (Contestant::FibNexthop, Contestant::RawNexthop, 0.8),
    (Contestant::FibNexthop, Contestant::IpBatch, 2.0),
];
/// One change, while the table is full and quiet.
const MOST_US: f64 = 200.0;
/// And while half of it moves.
const BUSY_MOST_US: f64 = 5_000.0;
