//! The page: what was lost first, then every group.

use super::{Report, number};
use crate::contest::{Contest, Lead, contests, full_name, short_name};
use crate::measure::{Role, Row};
use crate::targets::{Outcome, Verdict};
use std::fmt::Write;

/// A line that is written cannot fail: the page is a string.
macro_rules! line {
    ($page:expr, $($text:tt)*) => { { let _ = writeln!($page, $($text)*); } };
}

pub fn page(report: &Report) -> String {
    let mut page = String::new();
    head(&mut page, report);
    let contests = contests(&report.rows);
    losses(&mut page, &contests);
    targets(&mut page, &report.targets);
    for group in report.groups() {
        line!(page, "\n## {group}\n");
        let (growing, fixed): (Vec<_>, Vec<_>) =
            contests.iter().filter(|contest| contest.group == group).partition(|contest| contest.at.is_some());
        fixed.into_iter().for_each(|contest| table(&mut page, contest));
        series(&mut page, &growing);
        let rows = report.rows_of(group);
        line!(page, "![{group}](benchmarks/{group}.svg)");
        details(&mut page, rows);
    }
    page
}

fn head(page: &mut String, report: &Report) {
    let Report { machine, plan, .. } = report;
    let quick = if plan.quick { " --quick" } else { "" };
    line!(page, "# Benchmarks\n");
    line!(page, "This page is made by a command; to repeat it:\n");
    line!(page, "```text\nbenches/harness/foreign/make-venv.sh");
    line!(page, "cargo run --release -p crossproc-bench -- run{quick} --json report.json");
    line!(page, "cargo run --release -p crossproc-bench -- report report.json --out docs\n```\n");
    line!(page, "| | |\n|---|---|");
    let hypervisor = if machine.hypervisor { ", under a hypervisor" } else { "" };
    line!(page, "| processor | {}, {} cores{hypervisor} |", machine.cpu, machine.cores.len());
    line!(page, "| memory | {} MiB, huge pages {} |", machine.memory_mib, machine.transparent_hugepages);
    line!(page, "| system | Linux {}, {} |", machine.kernel, machine.rustc);
    let before = if machine.realtime { ", this program before others" } else { "" };
    line!(page, "| load when it began | {:.2}{before} |", machine.load);
    let versions: Vec<_> = machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    line!(page, "| versions | {} |", versions.join(", "));
    line!(
        page,
        "| settings | {} repetitions after one to warm up, of {} ms (one process) or {} ms (several); a repetition is \
         done again, at most {} times, when the cores moved apart or others wanted them |",
        plan.repetitions,
        plan.batch_ms,
        plan.contended_ms,
        plan.retries
    );
    line!(
        page,
        "\nIn each contest all took turns, in another order each time, on the same cores; what went through was checked, \
         and a loss, a doubling or another order would have ended the run. **Figures** are medians of the repetitions, with \
         their lowest and highest. **Ratios** say how many times as good the first row of a contest (ours) is as another one, \
         from repetition to repetition: the median, and in brackets the lowest and the highest. Above 1 ours is better. Where the \
         hypervisor puts the cores decides much: the way of a cache line there and back stands beside the figures."
    );
}

/// Where a peer or what runs between threads is better: the worst first.
fn losses(page: &mut String, contests: &[Contest<'_>]) {
    let leads = contests.iter().flat_map(|contest| contest.rows.iter().filter_map(|row| contest.against(row)));
    let mut lost: Vec<_> = leads.filter(|lead| lead.other.role != Role::Ours && lead.times < 1.0).collect();
    lost.sort_unstable_by(|a, b| a.times.total_cmp(&b.times));
    let (limits, lost): (Vec<_>, Vec<_>) = lost.into_iter().partition(|lead| lead.other.role == Role::Limit);
    line!(page, "\n## Where others are better\n");
    lead_table(page, &lost);
    line!(page, "\nAnd what the machine could do, without locks, waiting or safety:\n");
    lead_table(page, &limits);
}

fn lead_table(page: &mut String, leads: &[Lead<'_>]) {
    if leads.is_empty() {
        line!(page, "Nowhere in this run.");
        return;
    }
    line!(page, "| group | ours | the other | ratio |\n|---|---|---|---|");
    for lead in leads {
        let (ours, other) = (lead.ours, lead.other);
        let names = (full_name(ours), short_name(other));
        line!(page, "| {} | {} | {} ({}) | {} |", ours.group, names.0, names.1, role(other.role), ratio(lead));
    }
}

fn targets(page: &mut String, verdicts: &[Verdict]) {
    let missed = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Missed).count();
    line!(page, "\n## Targets\n\n{missed} of {} missed.\n", verdicts.len());
    line!(page, "| target | figure | bound | |\n|---|---|---|---|");
    for verdict in verdicts {
        let [metric, figure, bound, answer] = super::tables::verdict_cells(verdict);
        let answer = if answer == "MISSED" { "**missed**" } else { &answer };
        line!(page, "| {metric} | {figure} | {bound} | {answer} |");
    }
}

fn table(page: &mut String, contest: &Contest<'_>) {
    if !contest.title.is_empty() {
        line!(page, "### {}\n", contest.title);
    }
    line!(page, "| | | median | lowest .. highest | | ratio |\n|---|---|---:|---|---|---|");
    for row in &contest.rows {
        line!(page, "| {} | {} |", short_name(row), cells(contest, row));
    }
    line!(page, "");
}

/// What was measured while the work grew.
fn series(page: &mut String, contests: &[&Contest<'_>]) {
    let mut before = None;
    for contest in contests {
        if before.replace(contest.title) != Some(contest.title) {
            line!(page, "\n### {}\n", contest.title);
            line!(page, "| | | | median | lowest .. highest | | ratio |\n|---:|---|---|---:|---|---|---|");
        }
        for row in &contest.rows {
            line!(page, "| {} | {} | {} |", contest.at.unwrap_or_default(), short_name(row), cells(contest, row));
        }
    }
    line!(page, "");
}

/// All but the name.
fn cells(contest: &Contest<'_>, row: &Row) -> String {
    let is_champion = contest.champion().is_some_and(|ours| std::ptr::eq(ours, row));
    let what = if is_champion { "**ours**" } else { role(row.role) };
    let Some((median, (low, high))) = row.median().zip(row.spread()) else {
        let reason = row.missing.as_deref().unwrap_or("not measured");
        return format!("{what} | missing | {reason} | |");
    };
    let lead = contest.against(row).map(|lead| ratio(&lead)).unwrap_or_default();
    format!("{what} | {} | {} .. {} | {} | {lead}", number(median), number(low), number(high), row.unit)
}

fn details(page: &mut String, rows: &[Row]) {
    let details: Vec<&Row> = rows.iter().filter(|row| row.role == Role::Detail && !row.samples.is_empty()).collect();
    if details.is_empty() {
        return;
    }
    line!(page, "\n<details><summary>Sleeps, distances, tails</summary>\n");
    line!(page, "| | median | lowest .. highest | |\n|---|---:|---|---|");
    for row in details {
        let Some((median, (low, high))) = row.median().zip(row.spread()) else { continue };
        line!(page, "| {} | {} | {} .. {} | {} |", full_name(row), number(median), number(low), number(high), row.unit);
    }
    line!(page, "\n</details>");
}

fn ratio(lead: &Lead<'_>) -> String {
    let (low, high) = lead.range;
    let text = format!("{} ({} .. {})", number(lead.times), number(low), number(high));
    if lead.times < 1.0 && lead.other.role != Role::Ours { format!("**{text}**") } else { text }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Ours => "ours",
        Role::Limit => "limit",
        Role::InProcess => "in process",
        Role::Peer => "peer",
        Role::Detail => "",
    }
}
