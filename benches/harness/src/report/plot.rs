//! Plots, one picture for each group: bars for contests, lines where the work grows.

use super::number;
use crate::contest::{Contest, contests, short_name, title};
use crate::measure::{Role, Row};
use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const WIDTH: u32 = 900;
/// Of a bar, and what is written above a contest's.
const LINE: i32 = 20;
/// Where bars begin and end.
const LEFT: i32 = 330;
const RIGHT: i32 = 800;
const CHART: i32 = 340;
const SIZE: f64 = 13.0;

/// None where nothing was measured.
pub fn group(rows: &[Row]) -> Result<Option<String>> {
    let has_bars = |contest: &Contest<'_>| contest.at.is_none() && measured(contest).count() > 0;
    let contests: Vec<_> = contests(rows).into_iter().filter(has_bars).collect();
    let mut charts: Vec<&str> = rows.iter().filter(|row| row.at.is_some()).map(title).collect();
    charts.dedup();
    let bars: i32 = contests.iter().map(|contest| LINE * (2 + measured(contest).count() as i32)).sum();
    let height = bars + CHART * charts.len() as i32;
    if height == 0 {
        return Ok(None);
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height.unsigned_abs())).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut top = 0;
        for contest in &contests {
            top = bars_of(&area, contest, top)?;
        }
        for (at, title) in charts.iter().enumerate() {
            let top = bars + CHART * at as i32;
            let part = area.clone().shrink((0, top), (WIDTH, CHART.unsigned_abs()));
            chart(&part, title, rows)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(Some(svg))
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("cannot draw: {error}")
}

fn measured<'a, 'b>(contest: &'b Contest<'a>) -> impl Iterator<Item = (&'a Row, f64)> + use<'a, 'b> {
    contest.rows.iter().filter_map(|row| Some((*row, row.median().filter(|median| *median > 0.0)?)))
}

fn text(at: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", SIZE).into_font()).pos(Pos::new(at, VPos::Center))
}

fn color(role: Role) -> RGBColor {
    match role {
        Role::Ours => RGBColor(200, 70, 30),
        Role::Limit => RGBColor(150, 150, 150),
        Role::InProcess => RGBColor(110, 160, 110),
        Role::Peer | Role::Detail => RGBColor(90, 130, 190),
    }
}

/// Of lines; ours come first.
const LINES: [RGBColor; 6] = [
    RGBColor(200, 70, 30),
    RGBColor(60, 100, 170),
    RGBColor(90, 140, 60),
    RGBColor(130, 80, 150),
    RGBColor(110, 110, 110),
    RGBColor(180, 130, 40),
];

/// Bars on a scale of powers, each with its lowest and highest; gives where the next contest begins.
fn bars_of(area: &Area<'_>, contest: &Contest<'_>, top: i32) -> Result<i32> {
    let rows: Vec<_> = measured(contest).collect();
    let unit = &rows[0].0.unit;
    let heading = if contest.title.is_empty() { contest.group } else { contest.title };
    area.draw_text(&format!("{heading} ({unit})"), &text(HPos::Left), (10, top + LINE)).map_err(failed)?;
    let least = rows.iter().map(|row| row.1).fold(f64::INFINITY, f64::min) / 2.0;
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max) * 1.2;
    let x = |value: f64| {
        let share = (value.max(least) / least).ln() / (most / least).ln();
        LEFT + (share.min(1.0) * f64::from(RIGHT - LEFT)) as i32
    };
    let mut y = top + LINE;
    for (row, median) in rows {
        y += LINE;
        area.draw_text(short_name(row), &text(HPos::Right), (LEFT - 8, y)).map_err(failed)?;
        let bar = [(LEFT, y - LINE / 2 + 3), (x(median), y + LINE / 2 - 3)];
        area.draw(&Rectangle::new(bar, color(row.role).filled())).map_err(failed)?;
        if let Some((low, high)) = row.spread() {
            area.draw(&PathElement::new(vec![(x(low), y), (x(high), y)], BLACK)).map_err(failed)?;
        }
        let end = x(row.spread().map_or(median, |(_, high)| high.max(median))) + 6;
        let figure = if row.unit == *unit { number(median) } else { format!("{} {}", number(median), row.unit) };
        area.draw_text(&figure, &text(HPos::Left), (end, y)).map_err(failed)?;
    }
    Ok(y + LINE)
}

/// Lines on two scales of powers.
fn chart(area: &Area<'_>, which: &str, rows: &[Row]) -> Result<()> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.role != Role::Detail && title(row) == which).collect();
    let points: Vec<(f64, f64)> = rows.iter().filter_map(|row| row.at.zip(row.median())).collect();
    let range = |of: fn(&(f64, f64)) -> f64| {
        let all = points.iter().map(of).filter(|x| *x > 0.0);
        let (least, most) = all.fold((f64::INFINITY, 0.0_f64), |(least, most), x| (least.min(x), most.max(x)));
        if least <= most { least / 1.3..most * 1.3 } else { 1.0..10.0 }
    };
    let unit = rows.iter().find(|row| !row.unit.is_empty()).map_or("", |row| &row.unit);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{which} ({unit})"), ("sans-serif", SIZE))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(range(|point| point.0).log_scale(), range(|point| point.1).log_scale())
        .map_err(failed)?;
    let label = |x: &f64| if *x >= 1.0 { format!("{x:.0}") } else { format!("{x}") };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .draw()
        .map_err(failed)?;
    let mut names: Vec<(&str, Role)> = Vec::new();
    for row in &rows {
        if !names.iter().any(|(name, _)| *name == row.name) {
            names.push((&row.name, row.role));
        }
    }
    for (at, (name, role)) in names.into_iter().enumerate() {
        let width = if role == Role::Ours { 3 } else { 1 };
        let color = LINES[at % LINES.len()].stroke_width(width);
        let of_name = |row: &&&Row| row.name == name;
        let points: Vec<_> = rows.iter().filter(of_name).filter_map(|row| row.at.zip(row.median())).collect();
        let line = LineSeries::new(points, color).point_size(3);
        let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], color);
        chart
            .draw_series(line)
            .map_err(failed)?
            .label(name.split_once(": ").map_or(name, |name| name.1))
            .legend(legend);
    }
    chart
        .configure_series_labels()
        .label_font(("sans-serif", SIZE))
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()
        .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_and_lines_are_drawn_and_what_was_not_measured_is_not() {
        let row = |name: &str, at, samples: &[f64]| Row { at, samples: samples.to_vec(), ..Row::new("g", name, "ns") };
        let rows = [
            row("alone: ours", None, &[3.0, 4.0]),
            row("many: ours", Some(1.0), &[3.0]),
            row("many: ours", Some(10.0), &[30.0]),
        ];
        let svg = group(&rows).unwrap().unwrap();
        assert!(svg.contains("alone (ns)") && svg.contains("many (ns)"), "{svg}");
        assert!(group(&[Row::missing("g", "gone", "why")]).unwrap().is_none());
    }
}
