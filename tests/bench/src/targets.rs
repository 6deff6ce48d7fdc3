//! What Caracal is to reach, as ratios to others in the same run.

use tabled::builder::Builder;
use tabled::settings::Style;

use crate::report::Report;
use crate::speakers::Name;

/// A figure that is to be at most `share` of the best of these speakers'; or of a number.
struct Target {
    what: &'static str,
    share: f64,
    of: Of,
}

enum Of {
    Best(&'static [Name]),
    Number(f64),
}

/// A table of all targets whose figures are there, or nothing.
pub(crate) fn text(report: &Report) -> String {
    let mut table = Builder::new();
    table.push_record(["target", "wanted", "measured", ""]);
    let mut rows = 0;
    for target in TARGETS {
        let Some(own) = report.median(target.what, Name::Caracal) else {
            continue;
        };
        let (wanted, ratio) = match target.of {
            Of::Number(number) => (format!("at most {number}"), own / number),
            Of::Best(names) => {
                let medians = names.iter().filter_map(|&name| {
                    let median = report.median(target.what, name)?;
                    Some((name, median))
                });
                let Some((name, best)) = medians.min_by(|one, other| one.1.total_cmp(&other.1))
                else {
                    continue;
                };
                let wanted = format!("at most {} x {name}", target.share);
                (wanted, own / best / target.share)
            }
        };
        let measured = match target.of {
            Of::Number(_) => format!("{own:.1}"),
            Of::Best(_) => format!("{:.2}", ratio * target.share),
        };
        let met = if ratio <= 1.0 { "met" } else { "not met" };
        table.push_record([target.what, &wanted, &measured, met]);
        rows += 1;
    }
    match rows {
        0 => String::new(),
        _ => format!("{}\n", table.build().with(Style::markdown())),
    }
}

const BIRDS: &[Name] = &[Name::Bird2, Name::Bird1];
const BIRD2: &[Name] = &[Name::Bird2];
const BIRD1: &[Name] = &[Name::Bird1];
const FRR: &[Name] = &[Name::FrrTuned];
const ALL: &[Name] = &[
    Name::Bird2,
    Name::Bird1,
    Name::Frr,
    Name::FrrTuned,
    Name::Openbgpd,
    Name::Gobgp,
];

const fn of(what: &'static str, share: f64, names: &'static [Name]) -> Target {
    Target {
        what,
        share,
        of: Of::Best(names),
    }
}

const fn at_most(what: &'static str, number: f64) -> Target {
    Target {
        what,
        share: 1.0,
        of: Of::Number(number),
    }
}

const TARGETS: &[Target] = &[
    of("S1 100k: first load", 0.8, BIRDS),
    of("S1 100k: peak memory", 1.2, BIRD2),
    of("S1 500k: first load", 0.8, BIRDS),
    of("S1 500k: peak memory", 1.2, BIRD2),
    of("S1 unique 100k: first load", 0.5, BIRD2),
    of("S1 unique 100k: peak memory", 1.5, BIRD2),
    of("S1 IPv6 100k: first load", 0.8, BIRD2),
    of("S2 200 x 100: first load", 0.7, FRR),
    of("S2 200 x 100: re-announce", 0.7, FRR),
    of("S2 200 x 100: withdraw", 0.7, FRR),
    at_most("S2 200 x 100: peak memory", 30.0),
    of("S2 500 x 20: first load", 0.7, FRR),
    at_most("S2 500 x 20: peak memory", 50.0),
    of("S2 200 x 100: storm", 0.5, ALL),
    of("S2 one route to 199 clients, p50", 0.5, ALL),
    of("S2 one route to 199 clients, p99", 0.5, ALL),
    of("S6 flap, 100k loaded, p50", 1.0, ALL),
    of("S6 flap, 100k loaded, p99", 1.0, ALL),
    of("S5 100k: receiver's reset", 1.0, ALL),
    of("S5 100k: sender's reset", 1.0, ALL),
    of("S4 100k routes into the FIB", 0.5, BIRDS),
    of("S4 100k routes out of the FIB", 0.6, BIRDS),
    of("S3 1000 routes from 200 peers in the FIB", 1.0, BIRD2),
    of("S4 100k routes: one more, p50", 1.0, BIRD1),
];
