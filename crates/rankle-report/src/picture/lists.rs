//! A list before and after the attack, one above the other, with an arrow for each moved or preserved item.

use super::sheet::{GRAY, MARGIN, Sheet};
use super::{List, Mark, Pair, SHOWN, Slot};
use crate::Result;
use crate::canvas::INK;
use plotters::style::RGBColor;
use plotters::style::text_anchor::HPos;

const SIDE: i32 = 54;
const GAP: i32 = 10;
/// Width of the dots that stand for omitted positions.
const ELLIPSIS: i32 = 26;
/// Left edges of the query and of its list.
const QUERY: i32 = MARGIN + 56;
const LIST: i32 = QUERY + SIDE + 44;

const CAPTION: i32 = 26;
const LABEL: i32 = 22;
const STRIP: i32 = 40;
/// Height of a line of names, and the largest widths of the names of an item and of a query.
const NAME: i32 = 12;
const PLACE_NAME: i32 = SIDE + GAP - 8;
const QUERY_NAME: i32 = SIDE + 40;

/// Colors of the moved items. The color-blind can tell the first five and the green of preserved items apart (Okabe and Ito
/// 2008).
const MOVED: [RGBColor; SHOWN] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(106, 61, 154),
    RGBColor(140, 86, 75),
    RGBColor(178, 24, 43),
    RGBColor(128, 128, 0),
    RGBColor(25, 25, 112),
];
/// Color of a single target.
pub(super) const TARGET: RGBColor = MOVED[0];
const KEPT: RGBColor = RGBColor(0, 158, 115);
const PALE: RGBColor = RGBColor(170, 170, 170);

/// Color and width of the frame around an item.
pub(super) fn frame(mark: Mark) -> Option<(RGBColor, i32)> {
    match mark {
        Mark::None => None,
        Mark::Moved(number) => Some((MOVED[number % SHOWN], 3)),
        Mark::Preserved(_) => Some((KEPT, 2)),
        Mark::SameClass => Some((KEPT, 2)),
        Mark::Itself => Some((PALE, 2)),
    }
}

/// A pair of lists with the left edges of their items.
pub(super) struct ListPair<'a> {
    pair: &'a Pair,
    before: Vec<i32>,
    after: Vec<i32>,
}

impl<'a> ListPair<'a> {
    /// Height of a pair without names.
    pub(super) const HEIGHT: i32 = CAPTION + 2 * (SIDE + LABEL) + STRIP + 22;

    pub(super) fn new(pair: &'a Pair) -> Self {
        Self { pair, before: columns(&pair.before.places), after: columns(&pair.after.places) }
    }

    pub(super) fn height(&self) -> i32 {
        Self::HEIGHT + 2 * self.names()
    }

    /// Height of the names below one list.
    fn names(&self) -> i32 {
        let lists = [&self.pair.before, &self.pair.after];
        let lines = |list: &List| list.places.iter().map(|place| place.names.len()).chain([list.names.len()]).max();
        NAME * lists.into_iter().filter_map(lines).max().unwrap_or(0) as i32
    }

    pub(super) fn width(&self) -> i32 {
        let last = [&self.before, &self.after].into_iter().filter_map(|columns| columns.last()).max();
        last.map_or(LIST, |column| column + SIDE) + MARGIN + GAP
    }

    /// Draws the pair below `top`, on a sheet of `sheet_width`.
    pub(super) fn draw(&self, sheet: &Sheet<'_, '_>, top: i32, sheet_width: i32) -> Result<()> {
        let Pair { caption, before, after } = self.pair;
        sheet.fill((MARGIN, top), (self.width().max(super::header::WIDTH) - 2 * MARGIN, 1), RGBColor(225, 225, 225))?;
        sheet.label((MARGIN, top + 6), sheet_width - 2 * MARGIN, (13, INK, HPos::Left), caption)?;
        let upper = top + CAPTION + 6;
        let below = SIDE + LABEL + self.names();
        let lower = upper + below + STRIP;
        list(sheet, upper, "before", before, &self.before)?;
        list(sheet, lower, "after", after, &self.after)?;
        for (from, &start) in before.places.iter().zip(&self.before) {
            for (to, &end) in after.places.iter().zip(&self.after).filter(|(to, _)| to.mark == from.mark) {
                let (color, width) = match to.mark {
                    Mark::Moved(_) => (frame(to.mark).map_or(INK, |(color, _)| color), 2),
                    Mark::Preserved(_) => (KEPT, 1),
                    Mark::None | Mark::SameClass | Mark::Itself => continue,
                };
                sheet.arrow((start + SIDE / 2, upper + below + 2), (end + SIDE / 2, lower - 6), width, color)?;
            }
        }
        Ok(())
    }
}

/// Left edges of the items.
fn columns(places: &[Slot]) -> Vec<i32> {
    let mut x = LIST;
    let mut columns = Vec::with_capacity(places.len());
    let mut next = 0;
    for place in places {
        x += if place.rank > next { ELLIPSIS } else { 0 };
        columns.push(x);
        x += SIDE + GAP;
        next = place.rank + 1;
    }
    columns
}

fn list(sheet: &Sheet<'_, '_>, y: i32, when: &str, list: &List, columns: &[i32]) -> Result<()> {
    sheet.text((MARGIN, y + SIDE / 2 - 8), 13, INK, HPos::Left, when)?;
    sheet.image((QUERY, y), SIDE, &list.query)?;
    sheet.frame((QUERY, y), SIDE, 1, GRAY)?;
    sheet.label((QUERY + SIDE / 2, y + SIDE + 7), QUERY_NAME, (11, GRAY, HPos::Center), &list.name)?;
    names(sheet, (QUERY + SIDE / 2, y), QUERY_NAME, &list.names)?;
    sheet.fill((QUERY + SIDE + 22, y), (1, SIDE), GRAY)?;
    let mut next = 0;
    for (place, &x) in list.places.iter().zip(columns) {
        if place.rank > next {
            for dot in -1..=1 {
                sheet.dot((x - (ELLIPSIS + GAP) / 2 + 7 * dot, y + SIDE / 2), GRAY)?;
            }
        }
        next = place.rank + 1;
        sheet.image((x, y), SIDE, &place.image)?;
        let (color, width) = frame(place.mark).unwrap_or((RGBColor(225, 225, 225), 1));
        sheet.frame((x, y), SIDE, width, color)?;
        let (color, size) = match place.mark {
            Mark::Moved(_) => (color, 13),
            Mark::Preserved(_) | Mark::SameClass => (color, 12),
            Mark::None | Mark::Itself => (GRAY, 12),
        };
        sheet.text((x + SIDE / 2, y + SIDE + 7), size, color, HPos::Center, &grouped(place.rank))?;
        names(sheet, (x + SIDE / 2, y), PLACE_NAME, &place.names)?;
    }
    Ok(())
}

/// Draws names below the label of the image at `y`, centered at `x`.
fn names(sheet: &Sheet<'_, '_>, (x, y): (i32, i32), width: i32, names: &[String]) -> Result<()> {
    names
        .iter()
        .enumerate()
        .try_for_each(|(n, name)| sheet.label((x, y + SIDE + LABEL + NAME * n as i32), width, (9, GRAY, HPos::Center), name))
}

/// A number with commas between thousands, as pictures show ranks: `4,711`.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
