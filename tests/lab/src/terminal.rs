//! Calm output: a line a step, headings, tables without frames. Colours only on a terminal.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use anyhow::Result;
use tabled::builder::Builder;
use tabled::settings::{Padding, Style};

/// Where a demo writes.
pub(crate) struct Terminal {
    colours: bool,
}

impl Terminal {
    pub(crate) fn new() -> Terminal {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Terminal {
            colours: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub(crate) fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    /// `text` in green or red.
    pub(crate) fn judged(&self, good: bool, text: &str) -> String {
        self.paint(if good { "32" } else { "31" }, text)
    }

    /// Runs a step, with a line that says what, what came out, and how long it took.
    pub(crate) fn step<T>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<(T, String)>,
    ) -> Result<T> {
        let start = Instant::now();
        if self.colours {
            print!("  … {name}");
            let _ = std::io::stdout().flush();
        }
        let outcome = work();
        if self.colours {
            print!("\r\x1b[K");
        }
        let seconds = format!("{:.1} s", start.elapsed().as_secs_f64());
        match outcome {
            Ok((value, words)) => {
                let padding = " ".repeat(66usize.saturating_sub(words.chars().count()));
                println!(
                    "  {} {name:<9} {words}{padding} {}",
                    self.judged(true, "✓"),
                    self.dim(&seconds)
                );
                Ok(value)
            }
            Err(error) => {
                println!(
                    "  {} {name:<9} failed after {seconds}",
                    self.judged(false, "✗")
                );
                Err(error)
            }
        }
    }

    /// A heading with a remark.
    pub(crate) fn heading(&self, title: &str, remark: &str) {
        println!("\n{}  {}", self.bold(title), self.dim(remark));
    }

    /// Lines, indented.
    pub(crate) fn lines(&self, text: &str) {
        for line in text.lines() {
            println!("  {}", line.trim_end());
        }
    }

    /// Rows of cells; the first row and the first column are names.
    pub(crate) fn table(&self, rows: &[Vec<String>]) {
        let mut builder = Builder::default();
        for row in rows {
            builder.push_record(row);
        }
        let mut table = builder.build();
        table.with(Style::empty()).with(Padding::new(0, 3, 0, 0));
        for (number, line) in table.to_string().lines().enumerate() {
            let line = line.trim_end();
            println!(
                "  {}",
                if number == 0 {
                    self.dim(line)
                } else {
                    line.to_owned()
                }
            );
        }
    }
}
