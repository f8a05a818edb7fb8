//! The font, the frame and the PNG encoding of all pictures.

use crate::{Error, Result};
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;
use std::sync::Once;

/// Pixels of a PNG per point.
pub(crate) const DENSITY: u32 = 2;
/// Name of the only font. It is part of this crate: none needs to be installed.
pub(crate) const FONT: &str = "sans-serif";
/// File of [`FONT`].
pub(crate) const FONT_FILE: &[u8] = include_bytes!("../fonts/DejaVuSans-subset.ttf");
/// The color of letters and axes.
pub(crate) const INK: RGBColor = RGBColor(40, 40, 40);

/// Replaces every letter that [`FONT`] lacks by a question mark; it has Latin and Greek letters and a few symbols.
pub(crate) fn legible(text: &str) -> String {
    let has = |c: char| matches!(c, ' '..='~' | '\u{a0}'..='ÿ' | 'Α'..='ω' | '–' | '—' | '−' | '∞' | '≤' | '≥' | '○' | '●');
    text.chars().map(|c| if has(c) { c } else { '?' }).collect()
}

/// Factor by which a PNG is drawn larger and then averaged, because plotters does not smooth the edges of filled shapes.
const OVERSAMPLING: u32 = 2;

/// A drawing area of pixels.
pub(crate) type Surface<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// Registers [`FONT`] with plotters.
pub(crate) fn know_font() {
    static KNOWN: Once = Once::new();
    KNOWN.call_once(|| {
        assert!(register_font(FONT, FontStyle::Normal, FONT_FILE).is_ok(), "the font inside this crate is a font");
    });
}

/// What drawing on an area comes to.
pub(crate) type Drawn<DB> = std::result::Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Panels of a figure in a row.
const COLUMNS: u32 = 2;
/// Height of the legend below them, in points.
const LEGEND_HEIGHT: u32 = 44;

fn rows(panels: usize) -> u32 {
    (panels as u32).div_ceil(COLUMNS).max(1)
}

/// Width and height in points of a figure of this many panels of `panel` points.
pub(crate) fn size(panel: (u32, u32), panels: usize) -> (u32, u32) {
    (COLUMNS * panel.0, rows(panels) * panel.1 + LEGEND_HEIGHT)
}

/// Draws the panels of a figure of [`size`] and the legend below them, at `scale` pixels per point.
///
/// # Errors
/// [`Error::Make`] when something cannot be drawn; the message calls the figure `what`.
pub(crate) fn figure<DB: DrawingBackend, P>(
    root: &DrawingArea<DB, Shift>,
    (scale, what): (u32, &'static str),
    panels: &[P],
    draw: impl Fn(&DrawingArea<DB, Shift>, &P) -> Drawn<DB>,
    explain: impl FnOnce(&DrawingArea<DB, Shift>) -> Drawn<DB>,
) -> Result<()> {
    know_font();
    root.fill(&WHITE).map_err(Error::make(what))?;
    let height = root.dim_in_pixel().1;
    let (areas, legend) = root.split_vertically(height - LEGEND_HEIGHT * scale);
    for (area, panel) in areas.split_evenly((rows(panels.len()) as usize, COLUMNS as usize)).iter().zip(panels) {
        draw(area, panel).map_err(Error::make(what))?;
    }
    explain(&legend).map_err(Error::make(what))?;
    root.present().map_err(Error::make(what))
}

/// Letters of `size` points.
pub(crate) fn text(size: u32, scale: u32) -> TextStyle<'static> {
    (FONT, size * scale).into_font().color(&INK)
}

/// Gives axes their lines and letters: horizontal grid lines, gray, and no vertical ones.
pub(crate) fn plain<'m, 'a, 'b, X: Ranged, Y: Ranged, DB: DrawingBackend>(
    mesh: &'m mut MeshStyle<'a, 'b, X, Y, DB>,
    scale: u32,
) -> &'m mut MeshStyle<'a, 'b, X, Y, DB> {
    mesh.disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225).stroke_width(scale))
        .axis_style(INK.stroke_width(scale))
        .set_all_tick_mark_size(4 * scale)
        .label_style(text(13, scale))
        .axis_desc_style(text(14, scale))
}

/// Draws a PNG of `size` points. `draw` receives a surface and its number of pixels per point.
///
/// # Errors
/// [`Error::Make`] when the picture cannot be made; the message calls it `what`.
pub(crate) fn png(size: (u32, u32), what: &'static str, draw: impl FnOnce(&Surface<'_>, u32) -> Result<()>) -> Result<Vec<u8>> {
    let scale = DENSITY * OVERSAMPLING;
    let large = (size.0 * scale, size.1 * scale);
    let mut pixels = vec![0; large.0 as usize * large.1 as usize * 3];
    draw(&BitMapBackend::with_buffer(&mut pixels, large).into_drawing_area(), scale)?;
    encode((size.0 * DENSITY, size.1 * DENSITY), png::ColorType::Rgb, &shrink(&pixels, large.0 as usize), what)
}

/// Encodes a PNG of `size` pixels, given one byte per channel and pixel.
///
/// # Errors
/// As [`png()`].
pub(crate) fn encode(size: (u32, u32), color: png::ColorType, pixels: &[u8], what: &'static str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(Error::make(what))?;
    writer.write_image_data(pixels).map_err(Error::make(what))?;
    writer.finish().map_err(Error::make(what))?;
    Ok(bytes)
}

/// Averages squares of [`OVERSAMPLING`] by [`OVERSAMPLING`] pixels of three bytes.
fn shrink(pixels: &[u8], width: usize) -> Vec<u8> {
    let side = OVERSAMPLING as usize;
    let height = pixels.len() / 3 / width;
    let mut small = Vec::with_capacity(pixels.len() / (side * side));
    for y in (0..height).step_by(side) {
        for x in (0..width).step_by(side) {
            for channel in 0..3 {
                let square = (0..side * side).map(|n| pixels[((y + n / side) * width + x + n % side) * 3 + channel] as usize);
                small.push((square.sum::<usize>() / (side * side)) as u8);
            }
        }
    }
    small
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_the_font_lacks_are_questions() {
        assert_eq!(legible("ε = 8/255, −µ Größe"), "ε = 8/255, −µ Größe");
        assert_eq!(legible("鞋/\u{301}\u{7}.jpg"), "?/??.jpg");
    }

    #[test]
    fn shrinking_averages_squares() {
        let [black, white] = [[0u8; 3], [255; 3]];
        let pixels = [black, black, white, white, black, white, white, white].concat(); // 4 wide, 2 high
        assert_eq!(shrink(&pixels, 4), [63, 63, 63, 255, 255, 255]);
    }
}
