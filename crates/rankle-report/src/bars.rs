//! Figure of grouped bars: how far each of several searches moves ranks, a group per attack, one panel per model and radius.
//! Series differ in color and in shade, so that they can be told apart in gray.

use crate::canvas::{self, Drawn, INK};
use crate::vector::{Drawing, UNITS};
use crate::{AttackId, Direction, Record, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width and height of a panel in points.
const PANEL: (u32, u32) = (580, 330);
const WHAT: &str = "the bars";
const TITLE: &str = "Change of the mean rank by several searches";
/// Range of the vertical axis, in percentage points of rank.
const EFFECTS: std::ops::Range<f64> = 0.0..102.0;
/// Width of all bars of a group, in units of the distance between groups.
const GROUP: f64 = 0.78;
/// Colors of series, light to dark; the color-blind can tell them apart.
const COLORS: [RGBColor; 4] = [RGBColor(158, 202, 225), RGBColor(66, 146, 198), RGBColor(8, 48, 107), RGBColor(213, 94, 0)];

/// A panel: a group of bars per attack, in each a bar per series.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Title of the panel.
    pub title: String,
    /// The attacks with a bar per series.
    pub groups: Vec<(AttackId, Vec<Bar>)>,
}

/// The change of the mean rank by an attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// Change in the direction that the attack wants, in percentage points.
    pub effect: f64,
    /// Standard error of the rank after the attack, in percentage points.
    pub stderr: f64,
}

impl Bar {
    /// The change that a record measured; `None` for an attack without targets.
    pub fn of(record: &Record) -> Option<Self> {
        let change = record.rank_after? - record.rank_before?;
        let effect = if record.cell.spec.attack.direction() == Some(Direction::Raise) { -change } else { change };
        Some(Self { effect, stderr: record.rank_after_stderr.unwrap_or(0.0) })
    }
}

/// The figure as SVG, with letters as outlines and [`caption`] as its description.
///
/// # Errors
/// [`crate::Error::Make`] when the figure cannot be drawn.
pub fn svg(panels: &[Panel], series: &[&str]) -> Result<String> {
    let mut drawing = Drawing::new(canvas::size(PANEL, panels.len()));
    let root = (&mut drawing).into_drawing_area();
    let draw = |area: &DrawingArea<_, _>, panel: &Panel| draw_panel(area, panel, series.len());
    canvas::figure(&root, (UNITS, WHAT), panels, draw, |area| explain(area, series))?;
    drop(root);
    Ok(drawing.to_svg(TITLE, &caption(series)))
}

/// The caption of the figure.
pub fn caption(series: &[&str]) -> String {
    let series = series.join(", ");
    format!(
        "Change of the mean normalized rank of the target, in percentage points, by the same attacks with different searches ({series}). Lines: ± one \
         standard error of the mean over the images."
    )
}

fn text(size: u32) -> TextStyle<'static> {
    canvas::text(size, UNITS)
}

fn draw_panel<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, panel: &Panel, series: usize) -> Drawn<DB> {
    let groups = panel.groups.len().max(1);
    let mut builder = ChartBuilder::on(area);
    builder.caption(&panel.title, text(18)).margin(12 * UNITS).x_label_area_size(30 * UNITS).y_label_area_size(58 * UNITS);
    let mut chart = builder.build_cartesian_2d(0.0..groups as f64, EFFECTS)?;
    canvas::plain(&mut chart.configure_mesh(), UNITS)
        .disable_x_axis()
        .y_labels(6)
        .y_label_formatter(&|effect| format!("{effect:.0}"))
        .y_desc("change of the rank (points)")
        .draw()?;
    let width = GROUP / series.max(1) as f64;
    let mut bars = Vec::new();
    for (group, (_, found)) in panel.groups.iter().enumerate() {
        for (at, bar) in found.iter().enumerate() {
            let left = group as f64 + (1.0 - GROUP) / 2.0 + width * at as f64;
            bars.push((left, left + 0.92 * width, COLORS[at % COLORS.len()], *bar));
        }
    }
    chart.draw_series(bars.iter().map(|&(left, right, color, bar)| {
        Rectangle::new([(left, 0.0), (right, bar.effect.clamp(0.0, EFFECTS.end))], color.filled())
    }))?;
    chart.draw_series(bars.iter().map(|&(left, right, _, Bar { effect, stderr })| {
        let middle = (left + right) / 2.0;
        PathElement::new([(middle, effect - stderr), (middle, effect + stderr)], INK.stroke_width(UNITS))
    }))?;
    let (_, bottom) = chart.backend_coord(&(0.0, 0.0));
    let (left, top) = area.get_base_pixel();
    for (group, (attack, _)) in panel.groups.iter().enumerate() {
        let (middle, _) = chart.backend_coord(&(group as f64 + 0.5, 0.0));
        let words = attack.name().to_uppercase();
        let centered = text(13).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        area.draw(&Text::new(words, (middle - left, bottom - top + 8 * UNITS as i32), centered))?;
    }
    Ok(())
}

/// Draws the legend below the panels.
fn explain<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, series: &[&str]) -> Drawn<DB> {
    let at = |x: i32, y: i32| (x * UNITS as i32, y * UNITS as i32);
    let mut x = 60;
    for (name, color) in series.iter().zip(COLORS.iter().cycle()) {
        area.draw(&Rectangle::new([at(x, 10), at(x + 22, 24)], color.filled()))?;
        area.draw(&Text::new((*name).to_owned(), at(x + 30, 11), text(14)))?;
        x += 70 + 8 * name.chars().count() as i32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_bar_is_as_high_as_the_rank_moves() {
        let record = |attack, before, after| Record {
            rank_before: before,
            rank_after: after,
            rank_after_stderr: Some(0.5),
            ..sample::record("t", sample::subject(), attack, 1, 0.3, 1.0)
        };
        let bar = |effect| Some(Bar { effect, stderr: 0.5 });
        assert_eq!(Bar::of(&record(AttackId::CA_PLUS, Some(50.0), Some(20.0))), bar(30.0));
        assert_eq!(Bar::of(&record(AttackId::CA_PLUS, Some(1.0), Some(9.0))), bar(-8.0));
        assert_eq!(Bar::of(&record(AttackId::CA_MINUS, Some(1.0), Some(9.0))), bar(8.0));
        assert_eq!(Bar::of(&record(AttackId::EmbeddingShift, None, None)), None);
    }

    /// Heights of the rectangles of one color, in points.
    fn heights(svg: &str, color: &str) -> Vec<f64> {
        let paths = svg.lines().filter(|line| line.contains(&format!("fill=\"{color}\"")));
        let ys = |path: &str| -> Vec<f64> {
            let data = path.split("d=\"").nth(1).unwrap();
            let numbers = data.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-'));
            numbers.filter_map(|number| number.parse().ok()).skip(1).step_by(2).collect()
        };
        paths.map(ys).map(|ys| ys.iter().fold(0.0, |a: f64, b| a.max(*b)) - ys.iter().fold(1e9, |a: f64, b| a.min(*b))).collect()
    }

    #[test]
    fn every_series_has_a_bar_in_every_group_and_twice_the_effect_is_twice_as_high() {
        let bars = |effects: [f64; 2]| effects.map(|effect| Bar { effect, stderr: 1.0 }).to_vec();
        let panel = |title: &str| Panel {
            title: title.into(),
            groups: vec![(AttackId::CA_PLUS, bars([20.0, 40.0])), (AttackId::QA_MINUS, bars([30.0, 60.0]))],
        };
        let svg = svg(&[panel("one"), panel("two"), panel("three")], &["paper", "strict"]).unwrap();
        let (light, dark) = (heights(&svg, "#9ecae1"), heights(&svg, "#4292c6"));
        // Two groups in three panels, and the legend.
        assert_eq!((light.len(), dark.len()), (7, 7));
        assert!(light.iter().zip(&dark).take(6).all(|(light, dark)| (dark / light - 2.0).abs() < 0.02), "{light:?} {dark:?}");
        assert!(svg.contains("<desc>Change of the mean normalized rank"));
    }
}
