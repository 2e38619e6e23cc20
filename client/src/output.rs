//! Results as tables for people or as JSON for programs.

use std::{fmt::Display, path::Path};

use anyhow::{Context as _, Result};
pub use bazaar_domain::condition::counted;
use clap::ValueEnum;
use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::terminal;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON document.
    Json,
}

/// Something that can be shown both ways: `Serialize` is the JSON form.
pub trait Report: Serialize {
    /// The form for people, without a line end at the end.
    fn to_text(&self, colour: bool) -> String;
}

/// Prints reports.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    /// How.
    pub format: Format,
    /// Whether tables are coloured.
    pub colour: bool,
}

impl Printer {
    /// A printer of this format.
    pub fn new(format: Format, colour: bool) -> Self {
        Self { format, colour }
    }

    /// A line for something that is one of many: its JSON, or words for people.
    pub fn line(&self, json: &impl Serialize, words: impl FnOnce() -> String) -> String {
        match self.format {
            Format::Table => words(),
            Format::Json => serde_json::to_string(json).expect("a line has text keys and finite numbers"),
        }
    }

    /// Prints a report on standard output.
    pub fn print(&self, report: &impl Report) {
        match self.format {
            Format::Table => terminal::print_line(&report.to_text(self.colour)),
            Format::Json => {
                let text = serde_json::to_string_pretty(report).expect("a report has text keys and finite numbers");
                terminal::print_line(&text);
            }
        }
    }
}

/// An empty table in the common style: no borders, so that columns can be cut out by other tools.
pub fn table(header: &[&str], colour: bool) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    if colour {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

/// A table as text, without spaces at the ends of lines.
pub fn table_text(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// A cell that is green if all is well and red if not.
pub fn verdict_cell(text: impl ToString, well: bool) -> Cell {
    Cell::new(text).fg(if well { Color::Green } else { Color::Red })
}

/// A value, or a dash for none.
pub fn or_dash<T: Display>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// Makes the folder for results, unless it is there.
///
/// # Errors
/// If it cannot be made.
pub fn make_folder(folder: &Path) -> Result<()> {
    let made = std::fs::create_dir_all(folder);
    made.with_context(|| format!("{} cannot be made, name another folder with --out", folder.display()))
}

/// Writes a file of results into their folder.
///
/// # Errors
/// If it cannot be written; the message names it.
pub fn write_file(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}
