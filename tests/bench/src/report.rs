//! The table: a row a figure, a column a speaker; medians, and in brackets the ratio to BIRD 2.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tabled::builder::Builder;
use tabled::settings::Style;

use crate::speakers::Name;

/// What one run has measured, in order.
pub(crate) type Figures = Vec<(String, Unit, f64)>;

/// What a figure is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Milliseconds,
    Microseconds,
    Seconds,
    Mebibytes,
    PerSecond,
    Count,
}

/// All runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// What was not valid: case, speaker, why.
    invalid: Vec<(String, Name, String)>,
}

#[derive(Debug)]
struct Row {
    case: &'static str,
    what: String,
    unit: Unit,
    samples: BTreeMap<Name, Vec<f64>>,
}

impl Report {
    /// Adds what a run of a case has measured.
    pub(crate) fn add(&mut self, case: &'static str, speaker: Name, figures: Figures) {
        for (what, unit, value) in figures {
            let place = self.rows.iter().position(|row| row.what == what);
            let place = place.unwrap_or_else(|| {
                // Beside the others of its case.
                let after = self.rows.iter().rposition(|row| row.case == case);
                let place = after.map_or(self.rows.len(), |after| after + 1);
                let row = Row {
                    case,
                    what,
                    unit,
                    samples: BTreeMap::new(),
                };
                self.rows.insert(place, row);
                place
            });
            let samples = &mut self.rows[place].samples;
            samples.entry(speaker).or_default().push(value);
        }
    }

    /// A run of a case came to nothing, or not to its end.
    pub(crate) fn fail(&mut self, case: &str, speaker: Name, why: &str) {
        self.invalid
            .push((case.to_owned(), speaker, why.to_owned()));
    }

    /// How many runs were not valid.
    pub(crate) fn failures(&self) -> usize {
        self.invalid.len()
    }

    /// The median of a figure.
    pub(crate) fn median(&self, what: &str, speaker: Name) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.what == what)?;
        row.median(speaker)
    }

    /// In Markdown.
    pub(crate) fn text(&self, speakers: &[Name]) -> String {
        let mut table = Builder::new();
        let names = speakers.iter().map(Name::to_string);
        table.push_record(
            ["what".to_owned(), "unit".to_owned()]
                .into_iter()
                .chain(names),
        );
        for row in &self.rows {
            let base = row.median(Name::Bird2);
            let cells = speakers.iter().map(|&one| self.cell(row, one, base));
            let front = [row.what.clone(), row.unit.name().to_owned()];
            table.push_record(front.into_iter().chain(cells));
        }
        let mut text = table.build().with(Style::markdown()).to_string();
        text.push('\n');
        if !self.invalid.is_empty() {
            text.push_str("\nRuns that were not valid, or not to their end:\n\n");
        }
        for (case, speaker, why) in &self.invalid {
            let _ = writeln!(text, "- {case}, {speaker}: {why}");
        }
        text
    }

    fn cell(&self, row: &Row, speaker: Name, base: Option<f64>) -> String {
        let Some(median) = row.median(speaker) else {
            let mut invalid = self.invalid.iter();
            let failed = invalid.any(|(case, one, _)| case == row.case && *one == speaker);
            return if failed { "invalid" } else { "-" }.to_owned();
        };
        match base {
            Some(base) if base > 0.0 && speaker != Name::Bird2 && row.unit != Unit::Count => {
                format!("{} ({:.2}x)", number(median), median / base)
            }
            _ => number(median),
        }
    }
}

impl Row {
    fn median(&self, speaker: Name) -> Option<f64> {
        let mut samples = self.samples.get(&speaker)?.clone();
        samples.sort_by(f64::total_cmp);
        let (low, high) = ((samples.len() - 1) / 2, samples.len() / 2);
        Some((samples[low] + samples[high]) / 2.0)
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Milliseconds => "ms",
            Unit::Microseconds => "us",
            Unit::Seconds => "s",
            Unit::Mebibytes => "MiB",
            Unit::PerSecond => "/s",
            Unit::Count => "",
        }
    }
}

/// Three digits that mean something.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        _ if value < 1.0 => format!("{value:.3}"),
        _ if value < 10.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
