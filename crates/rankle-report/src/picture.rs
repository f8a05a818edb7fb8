//! Pictures of one attack on one image: the image, the perturbation, and the ranked lists before and after the attack.
//!
//! The caller ranks the items; this module selects the positions to show ([`window`]) and draws them. Images are gray or color,
//! of any size, with pixels in `[0, 1]`. Positions count from 0, the top of a list.

mod image;
mod lists;
mod shared;
mod sheet;

pub use image::Image;
pub use lists::grouped;
pub use shared::{Example, Shared, SharedPicture, shared_png};

use crate::{Result, canvas};
use lists::ListPair;
use plotters::prelude::*;
use sheet::{Sheet, WHAT};
use std::collections::BTreeSet;

/// Largest number of lists, of moved items of one list, or of perturbations in a picture; more would be no easier to look at.
pub const SHOWN: usize = 10;

/// Contents of a picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The attack and its settings, in one line.
    pub title: String,
    /// Lines below the title: the model, the attacked image, the result.
    pub lines: Vec<String>,
    /// Perturbation drawn white, in pixel units: the radius of an L∞ ball, or the largest value under another norm.
    pub epsilon: f64,
    /// Text for `epsilon`, as in `8/255`.
    pub epsilon_as_given: String,
    /// The clean image.
    pub clean: Image,
    /// The adversarial image, of the same shape.
    pub adversarial: Image,
    /// Lists in which the attack moved an item.
    pub lists: Vec<Pair>,
}

/// One list before and after the attack.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The moved items with their ranks before and after, in one line.
    pub caption: String,
    /// The list before the attack.
    pub before: List,
    /// The list after the attack.
    pub after: List,
}

/// A part of the ranked list of a query.
#[derive(Clone, Debug)]
pub struct List {
    /// Image of the query.
    pub query: Image,
    /// Name of the query, in a word or two.
    pub name: String,
    /// Class and file of the query, one line each; empty if they have no names.
    pub names: Vec<String>,
    /// Items to show, from the top.
    pub places: Vec<Slot>,
}

/// One item of a list.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Position in the list, counted from 0.
    pub rank: usize,
    /// Image of the item.
    pub image: Image,
    /// Names of the item, as in [`List::names`].
    pub names: Vec<String>,
    /// Reason to highlight the item.
    pub mark: Mark,
}

/// Reason to highlight an item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// No highlight.
    None,
    /// An item that the attack moves. Equal numbers mark the same item before and after.
    Moved(usize),
    /// A preserved item: the attack keeps its rank. Numbered like the moved items.
    Preserved(usize),
    /// An item of the class of the query.
    SameClass,
    /// The query itself, or the clean copy of the perturbed image.
    Itself,
}

/// Positions to show of a list before and after, with `lens` items: the first `top`, those in `marked`, and the neighbors of the
/// marked ones if a list has at most two of them. Both lists show the same positions, so that a move is visible as one, if these
/// are at most 17; else each list shows its own.
///
/// ```
/// use rankle_report::picture::window;
///
/// let [before, after] = window([100, 101], 3, [&[50], &[7]]);
/// assert_eq!(before, [0, 1, 2, 6, 7, 8, 49, 50, 51]);
/// assert_eq!(after, before);
/// ```
pub fn window(lens: [usize; 2], top: usize, marked: [&[usize]; 2]) -> [Vec<usize>; 2] {
    const COMMON: usize = 17;
    let own = marked.map(|marked| {
        let around = usize::from(marked.len() <= 2);
        let near = marked.iter().flat_map(|&place| place.saturating_sub(around)..=place.saturating_add(around));
        (0..top).chain(near).collect::<BTreeSet<usize>>()
    });
    let common = &own[0] | &own[1];
    let shown = if common.len() <= COMMON { [common.clone(), common] } else { own };
    let inside = |(places, len): (BTreeSet<usize>, usize)| places.into_iter().filter(|&place| place < len).collect();
    let [before, after] = shown;
    [inside((before, lens[0])), inside((after, lens[1]))]
}

/// Draws the picture as a PNG with two pixels per point.
///
/// # Errors
/// [`crate::Error::Make`] when the two images have different shapes, or when the picture cannot be made.
pub fn png(picture: &Picture) -> Result<Vec<u8>> {
    let perturbation = picture.adversarial.difference(&picture.clean, picture.epsilon)?;
    let rows: Vec<ListPair<'_>> = picture.lists.iter().map(ListPair::new).collect();
    let width = rows.iter().map(ListPair::width).fold(header::WIDTH, i32::max);
    let top = header::height(picture.lines.len());
    let height = top + rows.iter().map(ListPair::height).sum::<i32>();
    canvas::png((width as u32, height as u32), WHAT, |surface, scale| {
        canvas::know_font();
        surface.fill(&WHITE).map_err(crate::Error::make(WHAT))?;
        let sheet = Sheet::new(surface, scale as i32);
        header::draw(&sheet, picture, &perturbation, width)?;
        let mut top = top;
        for rows in &rows {
            rows.draw(&sheet, top, width)?;
            top += rows.height();
        }
        Ok(())
    })
}

/// Top of the picture: the title, three images, and the legend of the frames.
mod header {
    use super::sheet::{GRAY, MARGIN, Sheet};
    use super::{Image, Mark, Picture};
    use crate::Result;
    use crate::canvas::INK;
    use plotters::style::text_anchor::HPos;

    /// Smallest width of a picture.
    pub(super) const WIDTH: i32 = 760;
    const SIDE: i32 = 112;
    const STEP: i32 = SIDE + 34;
    const LINE: i32 = 18;

    fn tiles(lines: usize) -> i32 {
        MARGIN + 28 + LINE * lines as i32 + 26
    }

    pub(super) fn height(lines: usize) -> i32 {
        tiles(lines) + SIDE + 44
    }

    pub(super) fn draw(sheet: &Sheet<'_, '_>, picture: &Picture, perturbation: &Image, width: i32) -> Result<()> {
        let width = width - 2 * MARGIN;
        sheet.label((MARGIN, MARGIN), width, (18, INK, HPos::Left), &picture.title)?;
        for (n, line) in picture.lines.iter().enumerate() {
            sheet.label((MARGIN, MARGIN + 28 + LINE * n as i32), width, (13, GRAY, HPos::Left), line)?;
        }
        let y = tiles(picture.lines.len());
        let caption = perturbation_caption(picture.epsilon);
        let names = ["image", &*caption, "perturbed image"];
        for (n, (image, name)) in [&picture.clean, perturbation, &picture.adversarial].into_iter().zip(names).enumerate() {
            let x = MARGIN + STEP * n as i32;
            sheet.text((x + SIDE / 2, y - 20), 12, INK, HPos::Center, name)?;
            sheet.image((x, y), SIDE, image)?;
            sheet.frame((x, y), SIDE, 1, GRAY)?;
            if let Some(sign) = [None, Some("+"), Some("=")][n] {
                sheet.text((x - (STEP - SIDE) / 2, y + SIDE / 2 - 12), 20, INK, HPos::Center, sign)?;
            }
        }
        sheet.scale((MARGIN + STEP, y + SIDE + 8), SIDE, &picture.epsilon_as_given)?;
        legend(sheet, (MARGIN + 3 * STEP + 8, y), picture)
    }

    fn perturbation_caption(epsilon: f64) -> String {
        match epsilon > 0.0 {
            true => format!("added, × {}", (5.0 / epsilon).round() / 10.0),
            false => "added".to_owned(),
        }
    }

    fn legend(sheet: &Sheet<'_, '_>, (x, y): (i32, i32), picture: &Picture) -> Result<()> {
        let places = || picture.lists.iter().flat_map(|pair| pair.before.places.iter().chain(&pair.after.places));
        let meanings = [
            (Mark::Moved(0), "what the attack moves"),
            (Mark::Preserved(0), "what it keeps in place"),
            (Mark::SameClass, "what is of the class of the image"),
            (Mark::Itself, "the query itself, or the clean image"),
        ];
        let kind = std::mem::discriminant::<Mark>;
        let shown = meanings.into_iter().filter(|(mark, _)| places().any(|place| kind(&place.mark) == kind(mark)));
        for (n, (mark, meaning)) in shown.enumerate() {
            let y = y + 26 * n as i32;
            if let Some((color, width)) = super::lists::frame(mark) {
                sheet.frame((x + 3, y + 3), 14, width, color)?;
            }
            sheet.text((x + 28, y + 3), 12, INK, HPos::Left, meaning)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
