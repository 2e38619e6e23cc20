//! The files of a sweep: figures, tables and charts.

use std::path::Path;

use anyhow::Result;

use crate::{chart::png::png, output::write_file};

use super::{figures::sheets, markdown::markdown, report::SweepReport};

/// Writes all files. The PNGs come last, since a machine without fonts has everything but them.
///
/// # Errors
/// If a file cannot be written, or there is no font to draw a PNG with.
pub fn write(folder: &Path, report: &SweepReport) -> Result<()> {
    let json = serde_json::to_string_pretty(report).expect("a report has text keys and finite numbers");
    write_file(folder, "sweep.json", format!("{json}\n"))?;
    write_file(folder, "sweep.md", markdown(report))?;
    let sheets = sheets(report);
    for sheet in &sheets {
        write_file(folder, &format!("{}.svg", sheet.name), &sheet.svg)?;
    }
    for sheet in &sheets {
        write_file(folder, &format!("{}.png", sheet.name), png(&sheet.svg)?)?;
    }
    Ok(())
}
