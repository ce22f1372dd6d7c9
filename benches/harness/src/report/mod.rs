//! What a run writes: for people a page with plots, or tables on a terminal; for programs JSON.

mod page;
mod plot;
pub mod tables;

use crate::machine::Machine;
use crate::measure::{Plan, Row};
use crate::targets::Verdict;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub plan: Plan,
    pub rows: Vec<Row>,
    pub targets: Vec<Verdict>,
}

impl Report {
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report of this harness", path.display()))
    }

    pub fn save(&self, path: &Path) -> Result<()> {
        std::fs::write(path, serde_json::to_string_pretty(self)?).with_context(|| path.display().to_string())
    }

    /// `benchmarks.md` and its plots in `benchmarks/`.
    pub fn publish(&self, directory: &Path) -> Result<()> {
        let plots = directory.join("benchmarks");
        std::fs::create_dir_all(&plots).with_context(|| plots.display().to_string())?;
        for group in self.groups() {
            if let Some(svg) = plot::group(self.rows_of(group))? {
                std::fs::write(plots.join(format!("{group}.svg")), svg)?;
            }
        }
        std::fs::write(directory.join("benchmarks.md"), page::page(self))?;
        Ok(())
    }

    /// In the order in which they were measured.
    fn groups(&self) -> Vec<&str> {
        let mut groups: Vec<&str> = self.rows.iter().map(|row| row.group.as_str()).collect();
        groups.dedup();
        groups
    }

    fn rows_of(&self, group: &str) -> &[Row] {
        let is_in = |row: &Row| row.group == group;
        let start = self.rows.iter().position(is_in).unwrap_or(0);
        let end = self.rows[start..].iter().position(|row| !is_in(row)).map_or(self.rows.len(), |end| start + end);
        &self.rows[start..end]
    }
}

/// Three digits that matter, more where they are before the point.
fn number(value: f64) -> String {
    let digits = match value.abs() {
        x if x >= 100.0 => 0,
        x if x >= 10.0 => 1,
        x if x >= 1.0 || x == 0.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
