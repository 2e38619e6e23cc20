//! Everything that a run found, as it is printed and written.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    bazaar::bytes::OrderBytes,
    goals::{Verdict, verdicts},
    machine::Machine,
    point::Point,
    progress::say_point,
    ratios::{Ratio, ratios},
    repeat::Timing,
    soak::Soak,
};

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Document {
    /// Where and when.
    pub machine: Machine,
    /// How long and how often.
    pub timing: Timing,
    /// What a reader of the figures must know.
    pub notes: Vec<String>,
    /// Orders in the store before the first row.
    pub orders_at_start: u64,
    /// The rows.
    pub points: Vec<Point>,
    /// Mean bytes of an order, if trades were measured.
    pub order_bytes: Option<OrderBytes>,
    /// The goals.
    pub goals: Vec<Verdict>,
    /// Against the peers.
    pub ratios: Vec<Ratio>,
    /// The soak, if there was one.
    pub soak: Option<Soak>,
    /// What went wrong. Rows that come after it are missing.
    pub failures: Vec<String>,
}

impl Document {
    /// An empty one.
    ///
    /// # Errors
    /// If the machine does not say what it is.
    pub fn new(timing: Timing) -> Result<Self> {
        Ok(Self {
            machine: Machine::look()?,
            timing,
            notes: Vec::new(),
            orders_at_start: 0,
            points: Vec::new(),
            order_bytes: None,
            goals: Vec::new(),
            ratios: Vec::new(),
            soak: None,
            failures: Vec::new(),
        })
    }

    /// Adds a row and says so.
    pub fn add(&mut self, point: Point) {
        say_point(&point);
        self.points.push(point);
    }

    /// Draws the conclusions from the rows.
    pub fn conclude(&mut self) {
        self.goals = verdicts(&self.points, self.order_bytes);
        self.ratios = ratios(&self.points);
    }

    /// Writes it, all at once: what was there before stays whole if this fails.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let shown = file.display();
        let new = file.with_extension("new");
        let write = || -> Result<()> {
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(&new, serde_json::to_string_pretty(self)? + "\n")?;
            Ok(fs::rename(&new, file)?)
        };
        write().with_context(|| format!("{shown} cannot be written"))
    }
}
