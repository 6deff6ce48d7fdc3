//! Tables for people.

use tabled::builder::Builder;
use tabled::settings::object::Segment;
use tabled::settings::{Alignment, Modify, Padding, Style};

/// Rows under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    heading: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    pub(crate) fn new<H: Into<String>>(heading: impl IntoIterator<Item = H>) -> Table {
        Table {
            heading: heading.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Columns side by side, as `kubectl` prints them: easy to read, easy to cut.
    pub(crate) fn columns(&self) -> String {
        let mut table = self.builder().build();
        table.with(Style::empty());
        table.with(Padding::new(0, 3, 0, 0));
        trimmed(&table.to_string())
    }

    /// With a frame, as `calicoctl` prints its reports.
    pub(crate) fn framed(&self) -> String {
        let mut table = self.builder().build();
        table.with(Style::ascii().remove_horizontal().horizontals([(
            1,
            tabled::settings::style::HorizontalLine::inherit(Style::ascii()),
        )]));
        table.with(Modify::new(Segment::all()).with(Alignment::left()));
        trimmed(&table.to_string())
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::default();
        builder.push_record(self.heading.iter().map(String::as_str));
        for row in &self.rows {
            builder.push_record(row.iter().map(|cell| one_line(cell)));
        }
        builder
    }
}

/// A cell is one line, whatever an object's author or a peer put into it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

fn trimmed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `3s`, `5m10s`, `2h3m`, `4d1h`.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// `-` for what is not there.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests;
