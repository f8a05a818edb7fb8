//! Drawing in points, with the origin in the upper left corner.

use super::Image;
use crate::canvas::{FONT, Surface, legible};
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Name of the picture in error messages.
pub(super) const WHAT: &str = "the ranking picture";
/// Width of the empty border.
pub(super) const MARGIN: i32 = 16;
/// Color of secondary text and of lines.
pub(super) const GRAY: RGBColor = RGBColor(110, 110, 110);

/// A surface with a scale in pixels per point.
pub(super) struct Sheet<'a, 'b> {
    surface: &'a Surface<'b>,
    scale: i32,
}

type Point = (i32, i32);

impl<'a, 'b> Sheet<'a, 'b> {
    pub(super) fn new(surface: &'a Surface<'b>, scale: i32) -> Self {
        Self { surface, scale }
    }

    fn at(&self, (x, y): Point) -> Point {
        (x * self.scale, y * self.scale)
    }

    /// Draws a line of text below `at`; `anchor` is the side of the text that is aligned with `at`.
    pub(super) fn text(&self, at: Point, size: i32, color: RGBColor, anchor: HPos, text: &str) -> Result<()> {
        let style = (FONT, size * self.scale).into_font().color(&color).pos(Pos::new(anchor, VPos::Top));
        self.surface.draw(&Text::new(legible(text), self.at(at), style)).map_err(Error::make(WHAT))
    }

    /// Draws a line of text in at most `width` points; a longer text loses its middle.
    pub(super) fn label(&self, at: Point, width: i32, style: (i32, RGBColor, HPos), text: &str) -> Result<()> {
        let (size, color, anchor) = style;
        self.text(at, size, color, anchor, &shortened(text, |text| Ok(self.width(size, text)? <= width))?)
    }

    /// Width of a line of text in points.
    fn width(&self, size: i32, text: &str) -> Result<i32> {
        let style = (FONT, size * self.scale).into_font().color(&GRAY);
        let (width, _) = self.surface.estimate_text_size(&legible(text), &style).map_err(Error::make(WHAT))?;
        Ok((width as i32 + self.scale - 1) / self.scale)
    }

    /// Draws a filled rectangle.
    pub(super) fn fill(&self, at: Point, (width, height): Point, color: RGBColor) -> Result<()> {
        let (x, y) = self.at(at);
        // plotters does not fill the last row and column.
        let end = (x + width * self.scale, y + height * self.scale);
        self.surface.draw(&Rectangle::new([(x, y), end], color.filled())).map_err(Error::make(WHAT))
    }

    /// Draws a frame around a square.
    pub(super) fn frame(&self, (x, y): Point, side: i32, width: i32, color: RGBColor) -> Result<()> {
        let outer = side + 2 * width;
        self.fill((x - width, y - width), (outer, width), color)?;
        self.fill((x - width, y + side), (outer, width), color)?;
        self.fill((x - width, y), (width, side), color)?;
        self.fill((x + side, y), (width, side), color)
    }

    /// Draws an image in the middle of a square.
    pub(super) fn image(&self, at: Point, side: i32, image: &Image) -> Result<()> {
        let square = (side * self.scale) as u32;
        let size = image.fit(square);
        let (x, y) = self.at(at);
        let corner = (x + (square - size.0) as i32 / 2, y + (square - size.1) as i32 / 2);
        let bitmap: Option<BitMapElement<'_, _>> = BitMapElement::with_owned_buffer(corner, size, image.bytes(size));
        let Some(bitmap) = bitmap else {
            return Err(Error::Make { what: WHAT, reason: "an image does not fit its place".to_owned() });
        };
        self.surface.draw(&bitmap).map_err(Error::make(WHAT))
    }

    /// Draws the gray scale of a perturbation with its ends, ±`epsilon`, shortened if there is no room for both.
    pub(super) fn scale(&self, (x, y): Point, width: i32, epsilon: &str) -> Result<()> {
        const SIZE: i32 = 11;
        const APART: i32 = 4;
        const BANDS: i32 = 64;
        for band in 0..BANDS {
            let level = (f64::from(band) * 255.0 / f64::from(BANDS - 1)).round() as u8;
            let (start, end) = (band * width / BANDS, (band + 1) * width / BANDS);
            self.fill((x + start, y), (end - start, 8), RGBColor(level, level, level))?;
        }
        let ends = |epsilon: &str| [format!("\u{2212}{epsilon}"), format!("+{epsilon}")];
        let widest = |ends: &[String; 2]| -> Result<i32> { Ok(self.width(SIZE, &ends[0])?.max(self.width(SIZE, &ends[1])?)) };
        let (given, short) = (ends(epsilon), ends(&four_digits(epsilon)));
        let ends = if 2 * widest(&given)? + APART > width { short } else { given };
        if 2 * widest(&ends)? + self.width(SIZE, "0")? + 2 * APART <= width {
            self.text((x + width / 2, y + 11), SIZE, GRAY, HPos::Center, "0")?;
        }
        let [low, high] = ends;
        self.label((x, y + 11), (width - APART) / 2, (SIZE, GRAY, HPos::Left), &low)?;
        self.label((x + width, y + 11), (width - APART) / 2, (SIZE, GRAY, HPos::Right), &high)
    }

    pub(super) fn dot(&self, at: Point, color: RGBColor) -> Result<()> {
        self.surface.draw(&Circle::new(self.at(at), self.scale * 3 / 2, color.filled())).map_err(Error::make(WHAT))
    }

    /// Draws an arrow with its tip at `to`.
    pub(super) fn arrow(&self, from: Point, to: Point, width: i32, color: RGBColor) -> Result<()> {
        let (from, to) = (self.at(from), self.at(to));
        let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
        let length = dx.hypot(dy).max(1.0);
        let (dx, dy) = (dx / length, dy / length);
        let reach = f64::from((4 + 3 * width) * self.scale);
        let beside = |along: f64, across: f64| {
            let x = f64::from(to.0) - along * dx + across * dy;
            let y = f64::from(to.1) - along * dy - across * dx;
            (x.round() as i32, y.round() as i32)
        };
        // The line ends inside the tip; otherwise its end would blunt the tip.
        let line = PathElement::new([from, beside(0.7 * reach, 0.0)], color.stroke_width((width * self.scale) as u32));
        self.surface.draw(&line).map_err(Error::make(WHAT))?;
        let tip = [to, beside(reach, 0.45 * reach), beside(reach, -0.45 * reach)];
        self.surface.draw(&Polygon::new(tip, color.filled())).map_err(Error::make(WHAT))
    }
}

/// Rounds a number to four significant digits; any other text stays as it is.
fn four_digits(number: &str) -> String {
    let short = number.parse().ok().and_then(|value: f64| format!("{value:.3e}").parse().ok());
    short.map_or_else(|| number.to_owned(), |value: f64| value.to_string())
}

/// The text if it fits, else as much of its two ends as fits.
fn shortened(text: &str, fits: impl Fn(&str) -> Result<bool>) -> Result<String> {
    if fits(text)? {
        return Ok(text.to_owned());
    }
    let letters: Vec<char> = text.chars().collect();
    for kept in (2..letters.len()).rev() {
        let (head, tail) = (&letters[..kept / 2], &letters[letters.len() - kept.div_ceil(2)..]);
        let short: String = head.iter().chain(&['.', '.']).chain(tail).collect();
        if fits(&short)? {
            return Ok(short);
        }
    }
    Ok("..".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_loses_its_middle() {
        let short = |text, most| shortened(text, |text| Ok(text.chars().count() <= most)).unwrap();
        assert_eq!(short("mug-000/3.jpg", 13), "mug-000/3.jpg");
        assert_eq!(short("mug-000/3.jpg", 9), "mug...jpg");
        assert_eq!(short("größe-ähnlich", 7), "gr..ich");
        assert_eq!(short("mug-000/3.jpg", 3), "..");
    }

    #[test]
    fn numbers_keep_four_digits() {
        for (number, short) in [("0.03137254901960784", "0.03137"), ("0.3", "0.3"), ("8/255", "8/255"), ("1e-7", "0.0000001")] {
            assert_eq!(four_digits(number), short);
        }
    }
}
