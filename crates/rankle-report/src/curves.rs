//! The rank against epsilon, with one target: ours as lines, the published values as rings, one panel per model.

use crate::canvas::{self, FONT, INK};
use crate::published::{self, Table};
use crate::{Attack, Error, Planned, Record, Result, Setting};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width and height of the picture in points; the PNG has [`DENSITY`] pixels per point.
pub const SIZE: (u32, u32) = (1160, 544);
/// Pixels of the PNG per point.
pub const DENSITY: u32 = canvas::DENSITY;

const LEGEND_HEIGHT: u32 = 44;
const WHAT: &str = "the curves";

/// Colours that the colour-blind can tell apart (Okabe and Ito 2008).
fn colour(attack: Attack) -> RGBColor {
    match attack {
        Attack::CandidateRaise => RGBColor(0, 114, 178),
        Attack::CandidateLower => RGBColor(213, 94, 0),
        Attack::PreservingQueryRaise => RGBColor(0, 158, 115),
        _ => RGBColor(170, 68, 153),
    }
}

/// One of our points. Ranks are in percent.
struct Point {
    epsilon: f64,
    rank: f64,
    stderr: f64,
}

/// The curves as SVG: ours from the records that were measured in `setting`.
///
/// # Errors
/// [`Error::Make`] when the picture cannot be made.
pub fn svg(setting: &Setting, records: &[Record]) -> Result<String> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), 1, setting, records)?;
    Ok(text)
}

/// The curves as PNG, as [`svg`] has them. The letters come from a font inside this crate: none needs to be installed.
///
/// # Errors
/// [`Error::Make`] when the picture cannot be made.
pub fn png(setting: &Setting, records: &[Record]) -> Result<Vec<u8>> {
    canvas::png(SIZE, WHAT, |root, scale| draw(root, scale, setting, records))
}

fn draw<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>, scale: u32, setting: &Setting, records: &[Record]) -> Result<()> {
    canvas::know_font();
    root.fill(&WHITE).map_err(Error::make(WHAT))?;
    let height = root.dim_in_pixel().1;
    let (panels, legend) = root.split_vertically(height - LEGEND_HEIGHT * scale);
    let tables = published::tables();
    for (area, table) in panels.split_evenly((1, tables.len())).iter().zip(tables) {
        panel(area, scale, table, |attack| ours(setting, records, table, attack)).map_err(Error::make(WHAT))?;
    }
    explain(&legend, scale as i32).map_err(Error::make(WHAT))?;
    root.present().map_err(Error::make(WHAT))
}

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

fn panel<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    scale: u32,
    table: &Table,
    ours: impl Fn(Attack) -> Vec<Point>,
) -> Drawn<DB> {
    let text = |size: u32| (FONT, size * scale).into_font().color(&INK);
    let mut chart = ChartBuilder::on(area)
        .caption(&table.title, text(18))
        .margin(12 * scale)
        .x_label_area_size(46 * scale)
        .y_label_area_size(58 * scale)
        .build_cartesian_2d(-0.005..0.305, -2.0..102.0)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225).stroke_width(scale))
        .axis_style(INK.stroke_width(scale))
        .set_all_tick_mark_size(4 * scale)
        .x_labels(7)
        .y_labels(11)
        .x_label_formatter(&|epsilon| format!("{epsilon:.2}"))
        .y_label_formatter(&|rank| format!("{rank:.0} %"))
        .label_style(text(13))
        .axis_desc_style(text(14))
        .x_desc("ε, the radius of the L∞ ball (pixels in [0, 1])")
        .y_desc("mean normalised rank after the attack")
        .draw()?;

    for attack in Attack::TABLE {
        let (line, ours) = (colour(attack).stroke_width(2 * scale), ours(attack));
        chart
            .draw_series(theirs(table, attack).map(|point| Circle::new(point, 4 * scale, colour(attack).stroke_width(scale))))?;
        chart.draw_series(LineSeries::new(ours.iter().map(|point| (point.epsilon, point.rank)), line))?;
        let bar = |&Point { epsilon, rank, stderr }: &Point| [(epsilon, rank - stderr), (epsilon, rank + stderr)];
        chart.draw_series(ours.iter().map(|point| PathElement::new(bar(point), line)))?;
        let dot = |point: &Point| Circle::new((point.epsilon, point.rank), 3 * scale, colour(attack).filled());
        chart.draw_series(ours.iter().map(dot))?;
    }
    Ok(())
}

/// The strip below the panels: what the colours mean, and what lines and rings mean.
fn explain<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, scale: i32) -> Drawn<DB> {
    let at = |x: i32, y: i32| (x * scale, y * scale);
    let style = (FONT, 14 * scale).into_font().color(&INK);
    let label = |x: i32, y: i32, text: &str| area.draw(&Text::new(text.to_owned(), at(x, y - 4), style.clone()));
    let left = 70;
    for (n, attack) in Attack::TABLE.into_iter().enumerate() {
        let x = left + 130 * n as i32;
        area.draw(&PathElement::new([at(x, 18), at(x + 28, 18)], colour(attack).stroke_width(3 * scale as u32)))?;
        label(x + 36, 18, &attack.name().to_uppercase())?;
    }
    let x = left + 560;
    area.draw(&PathElement::new([at(x, 18), at(x + 28, 18)], INK.stroke_width(2 * scale as u32)))?;
    area.draw(&Circle::new(at(x + 14, 18), 3 * scale, INK.filled()))?;
    label(x + 36, 18, "ours, ± standard error")?;
    area.draw(&Circle::new(at(x + 240, 18), 4 * scale, INK.stroke_width(scale as u32)))?;
    label(x + 252, 18, "published")
}

/// Our points of one curve, by rising epsilon; of several records of one epsilon the last one counts.
fn ours(setting: &Setting, records: &[Record], table: &Table, attack: Attack) -> Vec<Point> {
    let mut points: Vec<Point> = Vec::new();
    for record in records {
        let cell = &record.cell;
        let Some(rank) = record.rank_after else { continue };
        if Planned::new(table, "", attack, 1, cell.epsilon, setting).asks_for(cell) {
            points.retain(|point| point.epsilon != cell.epsilon);
            points.push(Point { epsilon: cell.epsilon, rank, stderr: record.rank_after_stderr.unwrap_or(0.0) });
        }
    }
    points.sort_by(|a, b| a.epsilon.total_cmp(&b.epsilon));
    points
}

fn theirs(table: &Table, attack: Attack) -> impl Iterator<Item = (f64, f64)> {
    let mine = move |curve: &&published::Curve| curve.table == table.id && curve.attack == attack;
    published::curves().iter().filter(mine).flat_map(|curve| curve.points.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic;

    fn records() -> Vec<Record> {
        published::tables().iter().flat_map(|table| synthetic::complete(&table.id)).collect()
    }

    #[test]
    fn ours_are_the_cells_with_one_target_in_order() {
        let mut records = records();
        records.reverse();
        let table = published::table("mnist-ct").unwrap();
        records.push(synthetic::record("mnist-ct", Attack::CandidateLower, 1, 0.1, 77.0)); // a later one of the same cell
        let points: Vec<_> =
            ours(&synthetic::setting(), &records, table, Attack::CandidateLower).iter().map(|p| (p.epsilon, p.rank)).collect();
        assert_eq!(points, [(0.0, 2.6), (0.01, 3.9), (0.03, 6.8), (0.1, 77.0), (0.3, 94.4)]);
    }

    #[test]
    fn the_svg_has_all_words_and_marks() {
        let text = svg(&synthetic::setting(), &records()).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for words in ["(CT)", "(CTD)", "CA+", "SP-QA-", "published", "ε, the radius", "mean normalised rank"] {
            assert!(text.contains(words), "{words}");
        }
        // 2 models x 4 attacks x (31 published + 5 ours), and two in the legend.
        assert_eq!(text.matches("<circle").count(), 2 * 4 * (31 + 5) + 2);
        let other = Setting { images: 100, ..synthetic::setting() };
        let without = svg(&synthetic::setting(), &[]).unwrap();
        assert_eq!(svg(&other, &records()).unwrap(), without, "records of another run are not drawn");
        assert_eq!(without.matches("<circle").count(), 2 * 4 * 31 + 2);
    }

    #[test]
    fn the_png_decodes_and_shows_the_colours_and_letters() {
        let bytes = png(&synthetic::setting(), &records()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (SIZE.0 * DENSITY, SIZE.1 * DENSITY));
        let count = |wanted: RGBColor| pixels.chunks_exact(3).filter(|rgb| *rgb == [wanted.0, wanted.1, wanted.2]).count();
        for attack in Attack::TABLE {
            assert!(count(colour(attack)) > 2000, "{attack} is hardly visible: {}", count(colour(attack)));
        }
        // The caption of the first panel: letters, not an empty strip. Its rows hold nothing else.
        let width = frame.width as usize;
        let dark = (24..70).flat_map(|y| (0..width / 2).map(move |x| (y, x))).filter(|(y, x)| pixels[(y * width + x) * 3] < 100);
        assert!(dark.count() > 500);
    }
}
