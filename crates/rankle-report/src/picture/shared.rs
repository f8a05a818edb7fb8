//! Pictures of universal perturbations, which many images share.

use super::Image;
use super::sheet::{GRAY, MARGIN, Sheet, WHAT};
use crate::canvas::{self, INK};
use crate::{Error, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

/// Contents of a picture of universal perturbations, one below the other.
#[derive(Clone, Debug)]
pub struct SharedPicture {
    /// The attack and its settings, in one line.
    pub title: String,
    /// Lines below the title, such as the model and the images.
    pub lines: Vec<String>,
    /// Text for the perturbation drawn white, in pixel units, as in `8/255`.
    pub epsilon: String,
    /// Perturbations to show.
    pub rows: Vec<Shared>,
}

/// One universal perturbation and its effect on a few images.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Result of the perturbation, in one line.
    pub caption: String,
    /// Name of the target, in a word or two.
    pub name: String,
    /// Image of the target: a query or a candidate.
    pub target: Image,
    /// The perturbation, amplified ([`Image::perturbation`]).
    pub perturbation: Image,
    /// Images without and with the perturbation.
    pub examples: Vec<Example>,
}

/// One image without and with the perturbation.
#[derive(Clone, Debug)]
pub struct Example {
    /// The clean image.
    pub before: Image,
    /// The perturbed image.
    pub after: Image,
    /// Rank without the perturbation, in a few letters.
    pub rank_before: String,
    /// Rank with the perturbation, in a few letters.
    pub rank_after: String,
}

const SIDE: i32 = 54;
const LARGE: i32 = 128;
const LABEL: i32 = 22;
/// Largest width of the name of the target, which stands between the border and the perturbation.
const NAME: i32 = SIDE + 50;
const STRIP: i32 = 24;
const HEIGHT: i32 = 26 + 2 * (SIDE + LABEL) + STRIP + 16;
const EXAMPLES: i32 = MARGIN + SIDE + 40 + LARGE + 48;
const WIDTH: i32 = 760;

/// Draws the picture as a PNG with two pixels per point.
///
/// # Errors
/// [`Error::Make`] when the picture cannot be made.
pub fn shared_png(picture: &SharedPicture) -> Result<Vec<u8>> {
    let most = picture.rows.iter().map(|row| row.examples.len()).max().unwrap_or(0) as i32;
    let width = (EXAMPLES + most * (SIDE + 12) + MARGIN).max(WIDTH);
    let top = MARGIN + 28 + 18 * picture.lines.len() as i32 + 12;
    let size = (width as u32, (top + HEIGHT * picture.rows.len() as i32) as u32);
    canvas::png(size, WHAT, |surface, scale| {
        canvas::know_font();
        surface.fill(&WHITE).map_err(Error::make(WHAT))?;
        let sheet = Sheet::new(surface, scale as i32);
        let across = width - 2 * MARGIN;
        sheet.label((MARGIN, MARGIN), across, (18, INK, HPos::Left), &picture.title)?;
        for (n, line) in picture.lines.iter().enumerate() {
            sheet.label((MARGIN, MARGIN + 28 + 18 * n as i32), across, (13, GRAY, HPos::Left), line)?;
        }
        picture
            .rows
            .iter()
            .enumerate()
            .try_for_each(|(n, row)| draw(&sheet, row, &picture.epsilon, top + HEIGHT * n as i32, width))
    })
}

fn draw(sheet: &Sheet<'_, '_>, row: &Shared, epsilon: &str, top: i32, width: i32) -> Result<()> {
    sheet.fill((MARGIN, top), (width - 2 * MARGIN, 1), RGBColor(225, 225, 225))?;
    sheet.label((MARGIN, top + 6), width - 2 * MARGIN, (13, INK, HPos::Left), &row.caption)?;
    let y = top + 34;
    let middle = y + (2 * SIDE + LABEL + STRIP - SIDE) / 2;
    let target = MARGIN + 10;
    sheet.image((target, middle), SIDE, &row.target)?;
    sheet.frame((target, middle), SIDE, 3, super::lists::TARGET)?;
    sheet.label((target + SIDE / 2, middle + SIDE + 7), NAME, (11, GRAY, HPos::Center), &row.name)?;
    let (x, large) = (target + SIDE + 34, y - 2);
    sheet.image((x, large), LARGE, &row.perturbation)?;
    sheet.frame((x, large), LARGE, 1, GRAY)?;
    sheet.scale((x, large + LARGE + 6), LARGE, epsilon)?;
    for (n, example) in row.examples.iter().enumerate() {
        let x = EXAMPLES + n as i32 * (SIDE + 12);
        let below = y + SIDE + LABEL + STRIP;
        for (y, image, rank, color) in
            [(y, &example.before, &example.rank_before, GRAY), (below, &example.after, &example.rank_after, INK)]
        {
            sheet.image((x, y), SIDE, image)?;
            sheet.frame((x, y), SIDE, 1, GRAY)?;
            sheet.text((x + SIDE / 2, y + SIDE + 5), 12, color, HPos::Center, rank)?;
        }
        sheet.arrow((x + SIDE / 2, y + SIDE + LABEL), (x + SIDE / 2, below - 4), 1, GRAY)?;
    }
    Ok(())
}
