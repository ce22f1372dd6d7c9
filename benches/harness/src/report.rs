//! Tables for people, JSON for programs.

use crate::machine::Machine;
use crate::measure::{Plan, Row};
use crate::targets::{Against, Target, Verdict};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// All that a run leaves behind.
#[derive(Serialize)]
pub struct Report {
    pub machine: Machine,
    pub plan: Plan,
    pub rows: Vec<Row>,
    pub targets: Vec<Verdict>,
}

pub fn table<const N: usize>(header: [&str; N], lines: impl IntoIterator<Item = [String; N]>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for line in lines {
        table.add_row(line);
    }
    table
}

/// The rows of one group.
pub fn rows(rows: &[Row]) -> Table {
    let line = |row: &Row| {
        let Some(((min, max), median)) = row.spread().zip(row.median()) else {
            let reason = row.missing.as_deref().unwrap_or("not measured");
            return [row.name.clone(), "missing".into(), reason.into(), String::new()];
        };
        [row.name.clone(), number(median), format!("{} .. {}", number(min), number(max)), row.unit.clone()]
    };
    let group = rows.first().map_or("", |row| &row.group);
    let mut table = table([group, "median", "min .. max", "unit"], rows.iter().map(line));
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// What has to be reached.
pub fn targets(targets: &[Target]) -> Table {
    let line = |target: &Target| {
        let times = match target.against {
            Against::Nothing => String::new(),
            Against::Row(name) => format!(" x {name}"),
            Against::BestOf(names) => format!(" x the best of: {}", names.join("; ")),
        };
        [format!("{}: {}", target.group, target.metric), format!("{}{times}", target.bound)]
    };
    table(["target", "bound"], targets.iter().map(line))
}

/// What was reached.
pub fn verdicts(verdicts: &[Verdict]) -> Table {
    let line = |verdict: &Verdict| {
        let times = verdict.reference.as_ref().map_or(String::new(), |reference| format!(" x {reference}"));
        let figure = verdict.figure.map_or("not measured".into(), number);
        let answer = if verdict.met { "met" } else { "MISSED" };
        [format!("{}: {}", verdict.group, verdict.metric), figure, format!("{}{times}", verdict.bound), answer.into()]
    };
    table(["target", "figure", "bound", ""], verdicts.iter().map(line))
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
