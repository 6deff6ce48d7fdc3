//! The table, and the same as JSON.

use std::fmt::Write;

use serde::Serialize;
use tabled::builder::Builder;
use tabled::settings::Style;

use crate::contestants::{Absent, Contestant, Times};
use crate::latency::Latency;
use crate::memory::Memory;
use crate::pairs::{self, Pair};
use crate::stopwatch::Took;
use crate::targets::{self, Target};
use crate::work::{Family, Step};

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub routes: u32,
    pub runs: usize,
    /// A step and run, but for replacements, which are one.
    pub rounds: u32,
    pub batch: usize,
    pub rates: Vec<Row>,
    pub pairs: Vec<Pair>,
    pub skipped: Vec<Skipped>,
    pub latency: Vec<Latency>,
    pub memory: Vec<Memory>,
    pub targets: Vec<Target>,
    pub failed: Vec<Failed>,
}

/// One contestant in one step.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub family: Family,
    pub step: Step,
    pub contestant: Contestant,
    pub milliseconds: Vec<f64>,
    pub median_milliseconds: f64,
    pub routes_per_second: f64,
    /// Of a processor, median.
    pub processor_microseconds_per_route: f64,
    /// How many of them are at work at a time, median.
    pub processors: f64,
    #[serde(skip)]
    processor: Vec<f64>,
    #[serde(skip)]
    shares: Vec<f64>,
    /// Of each round, or of each run where there are none.
    #[serde(skip)]
    seconds: Vec<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Skipped {
    pub family: Family,
    pub contestant: Contestant,
    pub reason: String,
}

/// Something that could not be measured and should have been.
#[derive(Debug, Serialize)]
pub(crate) struct Failed {
    pub what: String,
    pub reason: String,
}

impl Report {
    pub(crate) fn new(routes: u32, runs: usize, rounds: u32, batch: usize) -> Report {
        Report {
            routes,
            runs,
            rounds,
            batch,
            rates: Vec::new(),
            pairs: Vec::new(),
            skipped: Vec::new(),
            latency: Vec::new(),
            memory: Vec::new(),
            targets: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// What one run of a contestant took: of each step, its rounds in their order.
    pub(crate) fn add(&mut self, contestant: Contestant, family: Family, times: &Times) {
        for step in Step::ALL {
            let rounds = times.iter().filter(|(of, _)| *of == step);
            let rounds: Vec<Took> = rounds.map(|(_, took)| *took).collect();
            if !rounds.is_empty() {
                self.add_step(contestant, family, step, &rounds);
            }
        }
    }

    fn add_step(&mut self, contestant: Contestant, family: Family, step: Step, rounds: &[Took]) {
        let same = |row: &Row| (row.contestant, row.family, row.step) == (contestant, family, step);
        let place = self.rates.iter().position(same).unwrap_or_else(|| {
            self.rates.push(Row {
                family,
                step,
                contestant,
                milliseconds: Vec::new(),
                median_milliseconds: 0.0,
                routes_per_second: 0.0,
                processor_microseconds_per_route: 0.0,
                processors: 0.0,
                processor: Vec::new(),
                shares: Vec::new(),
                seconds: Vec::new(),
            });
            self.rates.len() - 1
        });
        let row = &mut self.rates[place];
        let mut took = Took::default();
        for round in rounds {
            took += *round;
            row.seconds.push(round.time.as_secs_f64());
        }
        row.milliseconds.push(took.time.as_secs_f64() * 1e3);
        row.processor
            .push(took.processor.as_secs_f64() * 1e6 / f64::from(self.routes));
        row.shares
            .push(took.processor.as_secs_f64() / took.time.as_secs_f64());
        row.processor_microseconds_per_route = median(&row.processor);
        row.processors = median(&row.shares);
        row.median_milliseconds = median(&row.milliseconds);
        row.routes_per_second = f64::from(self.routes) / row.median_milliseconds * 1e3;
    }

    /// This contestant takes part no more.
    pub(crate) fn leave_out(
        &mut self,
        contestant: Contestant,
        family: Family,
        error: &anyhow::Error,
    ) {
        self.skipped.push(Skipped {
            family,
            contestant,
            reason: format!("{error:#}"),
        });
        if error.downcast_ref::<Absent>().is_none() {
            self.fail(format!("{family} {contestant}"), error);
        }
    }

    pub(crate) fn fail(&mut self, what: String, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        self.failed.push(Failed { what, reason });
    }

    /// Compares who took part in the same rounds, and with the targets what was measured of them.
    pub(crate) fn judge(&mut self) {
        for family in [Family::V4, Family::V6] {
            for (fib, mark) in pairs::PAIRS {
                for step in Step::ALL {
                    let row = |who| self.row(family, who, step);
                    let (Some(ours), Some(theirs)) = (row(fib), row(mark)) else {
                        continue;
                    };
                    let rounds = theirs.seconds.iter().zip(&ours.seconds);
                    let ratios = rounds.map(|(theirs, ours)| theirs / ours).collect();
                    let pair = Pair::new(family, step, fib, mark, ratios);
                    self.pairs.push(pair);
                }
            }
        }
        self.targets = targets::of(self);
    }

    pub(crate) fn row(&self, family: Family, contestant: Contestant, step: Step) -> Option<&Row> {
        let wanted = (family, contestant, step);
        let mut rows = self.rates.iter();
        rows.find(|row| (row.family, row.contestant, row.step) == wanted)
    }

    pub(crate) fn is_out(&self, contestant: Contestant, family: Family) -> bool {
        self.skipped
            .iter()
            .any(|one| (one.contestant, one.family) == (contestant, family))
    }

    pub(crate) fn text(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let out = &mut text;
        writeln!(
            out,
            "{} host routes, batches of {}, medians of {} runs in {} rounds a step; in brackets the ratio to raw's (of fib \
             nexthop: to raw nexthop's)",
            self.routes, self.batch, self.runs, self.rounds
        )?;
        for family in [Family::V4, Family::V6] {
            let rows: Vec<&Row> = self
                .rates
                .iter()
                .filter(|row| row.family == family)
                .collect();
            if !rows.is_empty() {
                let rates = table(&rows, |row| row.routes_per_second / 1e3, 0, true);
                writeln!(out, "\n{family}, thousand routes a second\n\n{rates}")?;
                let times = table(&rows, |row| row.processor_microseconds_per_route, 2, true);
                writeln!(
                    out,
                    "\n{family}, microseconds of a processor a route\n\n{times}"
                )?;
                let at_work = table(&rows, |row| row.processors, 1, false);
                writeln!(out, "\n{family}, processors at work\n\n{at_work}")?;
            }
            if let Some(pairs) = pairs::table(&self.pairs, family) {
                writeln!(
                    out,
                    "\n{family}, ratio of rates within a round: median (quartiles)\n\n{pairs}"
                )?;
            }
        }
        writeln!(out)?;
        for one in &self.skipped {
            writeln!(
                out,
                "skipped: {} {}: {}",
                one.family, one.contestant, one.reason
            )?;
        }
        if !self.latency.is_empty() {
            let mut builder = Builder::default();
            builder.push_record([
                "one change through the fib",
                "samples",
                "p50 us",
                "p99 us",
                "max us",
            ]);
            for one in &self.latency {
                builder.push_record([
                    one.what.clone(),
                    one.samples.to_string(),
                    format!("{:.0}", one.p50_us),
                    format!("{:.0}", one.p99_us),
                    format!("{:.0}", one.max_us),
                ]);
            }
            writeln!(out, "\n{}", builder.build().with(Style::markdown()))?;
        }
        for one in &self.memory {
            writeln!(
                out,
                "memory: {} routes, {:.1} MiB, {:.0} octets a route",
                one.routes,
                one.octets as f64 / f64::from(1 << 20),
                one.octets as f64 / f64::from(one.routes)
            )?;
        }
        if !self.targets.is_empty() {
            writeln!(out, "\n{}", targets::table(&self.targets))?;
        }
        for Failed { what, reason } in &self.failed {
            writeln!(out, "FAILED: {what}: {reason}")?;
        }
        Ok(text)
    }
}

fn table(rows: &[&Row], figure: impl Fn(&Row) -> f64, digits: usize, compared: bool) -> String {
    let steps: Vec<Step> = Step::ALL
        .into_iter()
        .filter(|step| rows.iter().any(|row| row.step == *step))
        .collect();
    let mut builder = Builder::default();
    builder.push_record(
        std::iter::once(String::new()).chain(steps.iter().map(|step| step.to_string())),
    );
    for contestant in Contestant::ALL {
        let of = |contestant, step| {
            rows.iter()
                .find(|row| (row.contestant, row.step) == (contestant, step))
        };
        if !steps.iter().any(|step| of(contestant, *step).is_some()) {
            continue;
        }
        let cells = steps.iter().map(|step| match of(contestant, *step) {
            None => "-".into(),
            Some(row) => {
                let value = figure(row);
                match of(contestant.mark(), *step).filter(|_| compared) {
                    Some(raw) => format!("{value:.digits$} ({:.2})", value / figure(raw)),
                    None => format!("{value:.digits$}"),
                }
            }
        });
        builder.push_record(std::iter::once(contestant.to_string()).chain(cells));
    }
    builder.build().with(Style::markdown()).to_string()
}

pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
