//! Figure of the mean rank against epsilon for attacks with one target, one panel per model: our values are lines with filled
//! markers, published values hollow markers. Series differ in color and in marker, so that they can be told apart in gray.

use crate::canvas::{self, Drawn, INK};
use crate::published::PublishedTable;
use crate::vector::{Drawing, UNITS};
use crate::{AttackId, Comparison, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

/// Width and height of a panel in points.
pub const PANEL: (u32, u32) = (580, 500);
/// Pixels of the PNG per point.
pub const DENSITY: u32 = canvas::DENSITY;

const WHAT: &str = "the curves";
const TITLE: &str = "Mean rank after the attack against epsilon";
/// Ranges of the axes: epsilon, and ranks in percent.
const EPSILONS: std::ops::Range<f64> = -0.005..0.305;
const RANKS: std::ops::Range<f64> = -2.0..102.0;
/// Shift drawn as high as a rank of 100 %: the largest cosine distance.
const LARGEST_SHIFT: f64 = 2.0;

/// Data of one panel.
#[derive(Clone, Copy, Debug)]
pub struct Panel<'a> {
    /// Comparison with our measured cells, of which those with at most one target are drawn, and the panel's title and caveat.
    pub ours: &'a Comparison<'a>,
    /// Published table of the same system, of which the cells with at most one target are drawn.
    pub theirs: &'a PublishedTable,
}

/// Color of a series; the color-blind can tell the colors apart (Okabe and Ito 2008).
fn color(attack: AttackId) -> RGBColor {
    match attack {
        AttackId::CA_PLUS => RGBColor(0, 114, 178),
        AttackId::CA_MINUS => RGBColor(213, 94, 0),
        AttackId::SP_QA_PLUS => RGBColor(0, 158, 115),
        AttackId::EmbeddingShift => RGBColor(120, 120, 120),
        _ => RGBColor(170, 68, 153),
    }
}

/// Corners of the marker of a series, relative to its center, for a radius of about 1.
fn marker(attack: AttackId) -> Vec<(f64, f64)> {
    match attack {
        AttackId::CA_PLUS => vec![(0.0, -1.1), (1.1, 0.9), (-1.1, 0.9)],
        AttackId::CA_MINUS => vec![(0.0, 1.1), (1.1, -0.9), (-1.1, -0.9)],
        AttackId::SP_QA_PLUS => vec![(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        AttackId::EmbeddingShift => vec![(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
        // A polygon close to a circle.
        _ => (0..24).map(|n| f64::from(n) * std::f64::consts::TAU / 24.0).map(|angle| (angle.cos(), angle.sin())).collect(),
    }
}

/// Corners of a marker with a radius in pixels; the first corner is repeated at the end.
fn corners(attack: AttackId, radius: f64) -> Vec<(i32, i32)> {
    let mut corners: Vec<_> =
        marker(attack).into_iter().map(|(x, y)| ((x * radius).round() as i32, (y * radius).round() as i32)).collect();
    corners.push(corners[0]);
    corners
}

/// Radii of filled and hollow markers in points. They differ so that both are visible where they coincide.
const FILLED: f64 = 3.5;
const HOLLOW: f64 = 5.0;

/// One of our points. `value` is a rank in percent, or a shift in units of the distance.
struct Point {
    epsilon: f64,
    value: f64,
    stderr: f64,
}

/// The figure as SVG, with letters as outlines and [`caption`] as its description.
///
/// # Errors
/// [`crate::Error::Make`] when the figure cannot be drawn.
pub fn svg(panels: &[Panel<'_>]) -> Result<String> {
    Ok(drawing(panels)?.to_svg(TITLE, &caption(panels)))
}

/// The figure as a PDF of one page, with letters as outlines.
///
/// # Errors
/// [`crate::Error::Make`] when the figure cannot be drawn.
pub fn pdf(panels: &[Panel<'_>]) -> Result<Vec<u8>> {
    Ok(drawing(panels)?.to_pdf(TITLE))
}

fn drawing(panels: &[Panel<'_>]) -> Result<Drawing> {
    let mut drawing = Drawing::new(canvas::size(PANEL, panels.len()));
    draw(&(&mut drawing).into_drawing_area(), UNITS, panels)?;
    Ok(drawing)
}

/// The caption of the figure: the measures, the number of images, the meaning of the bars, and the published sources.
pub fn caption(panels: &[Panel<'_>]) -> String {
    let shift = if has_shift(panels) { ", and mean embedding shift (ES, right axis)," } else { "" };
    let mut caption = format!("Mean normalized rank after the attack{shift} against ε, one target per image. ");
    caption += &match images(panels) {
        None => "None of our cells is measured yet.".to_owned(),
        Some(images) => {
            format!(
                "Lines and filled markers: ours, n = {images} images a point, bars ± one standard error of the mean over them."
            )
        }
    };
    let mut sources: Vec<&str> = Vec::new();
    for panel in panels.iter().filter(|panel| has_published(**panel)) {
        let source = panel.theirs.source.as_deref().unwrap_or("unnamed source");
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    match (sources.is_empty(), of_another_system(panels)) {
        (true, _) => caption += " No published values.",
        (false, true) => caption += &format!(" Hollow markers: published, of another system ({}).", sources.join("; ")),
        (false, false) => caption += &format!(" Hollow markers: published ({}).", sources.join("; ")),
    }
    caption
}

/// Number of images behind each of our points, or the range of these numbers; `None` if no point is measured.
fn images(panels: &[Panel<'_>]) -> Option<String> {
    let images = || panels.iter().flat_map(|panel| panel.ours.measured()).filter_map(|row| Some(row.record?.cell.images));
    let (least, most) = (images().min()?, images().max()?);
    Some(if least == most { least.to_string() } else { format!("{least} to {most}") })
}

fn has_published(panel: Panel<'_>) -> bool {
    drawn(panel).any(|attack| theirs(panel.theirs, attack).next().is_some())
}

fn of_another_system(panels: &[Panel<'_>]) -> bool {
    panels.iter().any(|panel| has_published(*panel) && panel.theirs.other_system.is_some())
}

/// The figure of [`svg`] as a PNG. Letters come from a font inside this crate: none needs to be installed.
///
/// # Errors
/// [`crate::Error::Make`] when the picture cannot be made.
pub fn png(panels: &[Panel<'_>]) -> Result<Vec<u8>> {
    canvas::png(canvas::size(PANEL, panels.len()), WHAT, |root, scale| draw(root, scale, panels))
}

fn draw<DB: DrawingBackend>(root: &DrawingArea<DB, Shift>, scale: u32, panels: &[Panel<'_>]) -> Result<()> {
    let draw = |area: &DrawingArea<_, _>, panel: &Panel<'_>| draw_panel(area, scale, *panel);
    canvas::figure(root, (scale, WHAT), panels, draw, |area| explain(area, scale as i32, panels))
}

fn draw_panel<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, scale: u32, panel: Panel<'_>) -> Drawn<DB> {
    let text = |size: u32| canvas::text(size, scale);
    let shifts = has_shift(&[panel]);
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(&panel.ours.table.title, text(18))
        .margin(12 * scale)
        .x_label_area_size(46 * scale)
        .y_label_area_size(58 * scale)
        .right_y_label_area_size(if shifts { 52 * scale } else { 0 });
    let percent = LARGEST_SHIFT / 100.0;
    let mut chart =
        builder.build_cartesian_2d(EPSILONS, RANKS)?.set_secondary_coord(EPSILONS, RANKS.start * percent..RANKS.end * percent);
    canvas::plain(&mut chart.configure_mesh(), scale)
        .x_labels(7)
        .y_labels(11)
        .x_label_formatter(&|epsilon| format!("{epsilon:.2}"))
        .y_label_formatter(&|rank| format!("{rank:.0} %"))
        .x_desc("ε, the radius of the L∞ ball (pixels in [0, 1])")
        .y_desc("mean normalized rank after the attack")
        .draw()?;
    if shifts {
        chart
            .configure_secondary_axes()
            .axis_style(INK.stroke_width(scale))
            .set_all_tick_mark_size(4 * scale)
            .y_labels(11)
            .y_label_formatter(&|shift| format!("{shift:.1}"))
            .label_style(text(13))
            .axis_desc_style(text(14))
            .y_desc("mean embedding shift (ES)")
            .draw()?;
    }
    if let Some(caveat) = panel.ours.caveat {
        // At the top left, where no rank curve runs.
        let style = text(13).color(&RGBColor(200, 0, 0));
        for (line, words) in wrapped(caveat, 70).into_iter().enumerate() {
            chart.draw_series([Text::new(words, (EPSILONS.start + 0.01, 97.0 - 4.0 * line as f64), style.clone())])?;
        }
    }

    for attack in drawn(panel) {
        // All values are plotted on the rank axis: a shift is scaled to its height on the secondary axis.
        let place = |value: f64| if attack == AttackId::EmbeddingShift { value / percent } else { value };
        let (line, ours) = (color(attack).stroke_width(2 * scale), ours(panel.ours, attack));
        let published = theirs(panel.theirs, attack).map(|(epsilon, value)| (epsilon, place(value)));
        let [filled, hollow] = [FILLED, HOLLOW].map(|radius| corners(attack, radius * f64::from(scale)));
        let (thin, full) = (color(attack).stroke_width(scale), color(attack).filled());
        chart.draw_series(published.map(|at| EmptyElement::at(at) + PathElement::new(hollow.clone(), thin)))?;
        chart.draw_series(LineSeries::new(ours.iter().map(|point| (point.epsilon, place(point.value))), line))?;
        let bar =
            |&Point { epsilon, value, stderr }: &Point| [(epsilon, place(value) - stderr), (epsilon, place(value) + stderr)];
        chart.draw_series(ours.iter().map(|point| PathElement::new(bar(point), line)))?;
        let mark = |point: &Point| EmptyElement::at((point.epsilon, place(point.value))) + Polygon::new(filled.clone(), full);
        chart.draw_series(ours.iter().map(mark))?;
    }
    Ok(())
}

/// Draws the legend below the panels: the marker of each series, then filled and hollow markers.
fn explain<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, scale: i32, panels: &[Panel<'_>]) -> Drawn<DB> {
    let at = |x: i32, y: i32| (x * scale, y * scale);
    let style = canvas::text(14, scale as u32);
    let label = |x: i32, y: i32, text: &str| area.draw(&Text::new(text.to_owned(), at(x, y - 4), style.clone()));
    let mark = |attack, radius: f64| corners(attack, radius * f64::from(scale));
    let left = 50;
    let shift = has_shift(panels).then_some(AttackId::EmbeddingShift);
    for (n, attack) in AttackId::TABLE.into_iter().chain(shift).enumerate() {
        let x = left + 130 * n as i32;
        area.draw(&PathElement::new([at(x, 18), at(x + 28, 18)], color(attack).stroke_width(2 * scale as u32)))?;
        area.draw(&(EmptyElement::at(at(x + 14, 18)) + Polygon::new(mark(attack, FILLED), color(attack).filled())))?;
        label(x + 36, 18, &attack.name().to_uppercase())?;
    }
    let x = left + 530 + if shift.is_some() { 100 } else { 0 };
    let round = AttackId::SP_QA_MINUS;
    area.draw(&PathElement::new([at(x, 18), at(x + 28, 18)], INK.stroke_width(2 * scale as u32)))?;
    area.draw(&(EmptyElement::at(at(x + 14, 18)) + Polygon::new(mark(round, FILLED), INK.filled())))?;
    let images = images(panels).map_or_else(String::new, |images| format!(", n = {images}"));
    let ours = format!("ours{images}, ± standard error");
    label(x + 36, 18, &ours)?;
    if panels.iter().any(|panel| has_published(*panel)) {
        let hollow = PathElement::new(mark(round, HOLLOW), INK.stroke_width(scale as u32));
        let x = x + 60 + 8 * ours.chars().count() as i32;
        area.draw(&(EmptyElement::at(at(x, 18)) + hollow))?;
        label(x + 12, 18, if of_another_system(panels) { "published, other system" } else { "published" })?;
    }
    Ok(())
}

/// Attacks with a curve in a panel, in the order of the paper.
fn drawn(panel: Panel<'_>) -> impl Iterator<Item = AttackId> {
    let known = move |attack: &AttackId| panel.theirs.attacks().chain(panel.ours.table.attacks()).any(|known| known == *attack);
    // The shift only if our table has it as well: it needs an axis of its own.
    let wanted = move |attack: &AttackId| *attack != AttackId::EmbeddingShift || panel.ours.table.attacks().any(|a| a == *attack);
    AttackId::ALL.into_iter().filter(known).filter(wanted)
}

fn has_shift(panels: &[Panel<'_>]) -> bool {
    panels.iter().any(|panel| drawn(*panel).any(|attack| attack == AttackId::EmbeddingShift))
}

/// Our points of one curve, by ascending epsilon.
fn ours(comparison: &Comparison<'_>, attack: AttackId) -> Vec<Point> {
    let here = comparison.measured().filter(|row| row.published.attack == attack && row.published.targets <= 1);
    let point = |row: &crate::Row<'_>| {
        let (epsilon, value) = (row.published.epsilon, row.measured()?);
        Some(Point { epsilon, value, stderr: row.stderr().unwrap_or(0.0) })
    };
    let mut points: Vec<Point> = here.filter_map(point).collect();
    points.sort_by(|a, b| a.epsilon.total_cmp(&b.epsilon));
    points
}

fn theirs(table: &PublishedTable, attack: AttackId) -> impl Iterator<Item = (f64, f64)> {
    let here = table.cells().filter(move |cell| cell.attack == attack && cell.targets <= 1);
    here.filter_map(|cell| Some((cell.epsilon, cell.rank?)))
}

/// Breaks a text into lines of at most `width` letters; a longer word gets a line of its own.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width || line.is_empty() => {
                *line += if line.is_empty() { "" } else { " " };
                *line += word;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Record, published, synthetic};

    fn table(id: &str) -> &'static PublishedTable {
        published::table(id).unwrap()
    }

    /// Calls `look` with the panels of both MNIST tables, which have published values at 31 epsilons.
    fn with_panels<T>(records: &[Record], caveat: Option<&str>, look: impl Fn(&[Panel<'_>]) -> T) -> T {
        let setting = synthetic::setting();
        let ours = ["mnist-ct", "mnist-ctd"].map(|id| Comparison::new(table(id), &setting, records, caveat));
        let theirs = ["mnist-ct-curves", "mnist-ctd-curves"].map(table);
        look(&[Panel { ours: &ours[0], theirs: theirs[0] }, Panel { ours: &ours[1], theirs: theirs[1] }])
    }

    fn records() -> Vec<Record> {
        ["mnist-ct", "mnist-ctd"].iter().flat_map(|id| synthetic::complete(id)).collect()
    }

    #[test]
    fn ours_are_the_cells_with_one_target_in_order() {
        let mut records = records();
        records.reverse();
        records.push(synthetic::record("mnist-ct", AttackId::CA_MINUS, 1, 0.1, 77.0)); // a later one of the same cell
        let points = with_panels(&records, None, |panels| {
            ours(panels[0].ours, AttackId::CA_MINUS).iter().map(|p| (p.epsilon, p.value)).collect::<Vec<_>>()
        });
        assert_eq!(points, [(0.0, 2.6), (0.01, 3.9), (0.03, 6.8), (0.1, 77.0), (0.3, 94.4)]);
    }

    #[test]
    fn the_svg_has_all_words_and_marks() {
        let text = with_panels(&records(), None, svg).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for words in ["(CT)", "(CTD)", "CA+", "SP-QA-", "published", "ε, the radius", "mean normalized rank"] {
            assert!(text.contains(words), "{words}");
        }
        // 2 models x 4 attacks, and the legend: one marker per series, and one each for ours and published.
        assert_eq!(marks(&text), [2 * 4 * 5 + 4 + 1, 2 * 4 * 31 + 1]);
        assert!(!text.contains("embedding shift"), "no axis without a curve");
        let without = with_panels(&[], None, svg).unwrap();
        assert_eq!(marks(&without), [4 + 1, 2 * 4 * 31 + 1]);
    }

    /// Numbers of filled and hollow markers: closed paths other than the white background.
    fn marks(svg: &str) -> [usize; 2] {
        let closed = || svg.lines().filter(|line| line.ends_with("Z\"/>") && !line.contains("id=") && !line.contains("#ffffff"));
        [closed().filter(|line| !line.contains("stroke")).count(), closed().filter(|line| line.contains("stroke")).count()]
    }

    /// Every series has a marker of its own, for readers of a copy without color.
    #[test]
    fn series_differ_in_their_markers() {
        let mut attacks = AttackId::TABLE.to_vec();
        attacks.push(AttackId::EmbeddingShift);
        for (at, &one) in attacks.iter().enumerate() {
            assert!(attacks[..at].iter().all(|&other| corners(one, 40.0) != corners(other, 40.0)), "{one}");
        }
    }

    #[test]
    fn the_caption_says_how_many_images_and_what_is_published() {
        let caption = with_panels(&records(), None, caption);
        assert_eq!(
            caption,
            "Mean normalized rank after the attack against ε, one target per image. Lines and filled markers: ours, n = 1000 images a point, \
             bars ± one standard error of the mean over them. Hollow markers: published (cdluminate/advrank: Code/curves/mnistcurve.py)."
        );
        let fashion = Comparison::new(table("fashion-ct"), &synthetic::setting(), &[], None);
        let panel = Panel { ours: &fashion, theirs: fashion.table };
        assert!(super::caption(&[panel]).ends_with("None of our cells is measured yet. No published values."));
        assert!(
            super::caption(&[Panel { theirs: table("fashion-ct-curves"), ..panel }]).contains("published, of another system (cd")
        );
    }

    #[test]
    fn the_pdf_is_one_page_of_the_size_of_the_figure() {
        let bytes = with_panels(&records(), None, pdf).unwrap();
        assert!(bytes.starts_with(b"%PDF-1.") && bytes.trim_ascii_end().ends_with(b"%%EOF"));
        let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(has(b"/MediaBox [0 0 1160 544]") && has(b"/Count 1") && has(b"/Title (Mean rank"));
        assert!(!has(b"/Font"), "letters are outlines");
        // As many stroked and filled paths as in the SVG.
        let start = bytes.windows(7).position(|window| window == b"stream\n").unwrap() + 7;
        let mut content = String::new();
        std::io::Read::read_to_string(&mut flate2::read::ZlibDecoder::new(&bytes[start..]), &mut content).unwrap();
        let count =
            |operator: &str| content.lines().filter(|line| *line == operator || line.ends_with(&format!(" {operator}"))).count();
        let text = with_panels(&records(), None, svg).unwrap();
        assert_eq!(count("S"), text.matches("stroke-width").count());
        assert_eq!(count("f"), text.matches("<path fill=\"#").count() + text.matches("<use").count());
    }

    #[test]
    fn the_shift_has_an_axis_and_a_caveat_is_in_the_picture() {
        let mut shift = synthetic::record("mnist-ct-curves", AttackId::EmbeddingShift, 0, 0.3, 0.0);
        (shift.rank_after, shift.rank_after_stderr) = (None, None);
        let records = [shift];
        let curves = table("mnist-ct-curves");
        let caveat = "quick model: one epoch of the first 10,000 images instead of 30 epochs of all images";
        let ours = Comparison::new(curves, &synthetic::setting(), &records, Some(caveat));
        let text = svg(&[Panel { ours: &ours, theirs: curves }]).unwrap();
        for words in ["mean embedding shift (ES)", "quick model: one epoch", "of all images"] {
            assert!(text.contains(words), "{words}");
        }
        assert_eq!(marks(&text), [1 + 5 + 1, 5 * 31 + 1]);
    }

    #[test]
    fn what_is_not_published_has_no_ring_and_four_panels_two_rows() {
        let fashion = Comparison::new(table("fashion-ct"), &synthetic::setting(), &[], None);
        let panel = Panel { ours: &fashion, theirs: fashion.table };
        assert_eq!(canvas::size(PANEL, 4), (1160, 1044));
        let text = svg(&[panel; 3]).unwrap();
        assert!(!text.contains("\"published") && text.matches("Fashion-MNIST, ordinary").count() == 3);
        let theirs = table("fashion-ct-curves");
        assert!(svg(&[Panel { theirs, ..panel }]).unwrap().contains("published, of another system"));
    }

    #[test]
    fn the_png_decodes_and_shows_the_colors_and_letters() {
        let bytes = with_panels(&records(), None, png).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), (2 * 1160, 2 * 544));
        let count = |wanted: RGBColor| pixels.chunks_exact(3).filter(|rgb| *rgb == [wanted.0, wanted.1, wanted.2]).count();
        for attack in AttackId::TABLE {
            assert!(count(color(attack)) > 2000, "{attack} is hardly visible: {}", count(color(attack)));
        }
        // The caption of the first panel has letters. These rows of pixels hold nothing else.
        let width = frame.width as usize;
        let dark = (24..70).flat_map(|y| (0..width / 2).map(move |x| (y, x))).filter(|(y, x)| pixels[(y * width + x) * 3] < 100);
        assert!(dark.count() > 500);
    }

    #[test]
    fn words_are_wrapped() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("verylongword a", 4), ["verylongword", "a"]);
    }
}
