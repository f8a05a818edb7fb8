//! The targets of attacked images.

use rankle_core::{Error, Result};
use std::ops::Range;

/// Targets of attacked images: indices of gallery items (query attack) or of queries (candidate attack), and for SP-QA those of
/// preserved items. They refer to no gallery, so one choice serves the galleries of two models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    images: usize,
    indices: Vec<u32>,
    set: usize,
    /// The indices, and their number per image.
    preserved: Option<(Vec<u32>, usize)>,
}

impl Targets {
    /// Targets chosen by hand: `indices` holds `images x set` indices, row by row; `preserved` the same with a set size of its
    /// own. `gallery` is the size of the set that they index.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are not `set` indices per image, [`Error::Index`] for an index outside of that set,
    /// [`Error::TooFewTargets`] when `set` is larger than it, [`Error::Empty`] without images or with a `set` of 0.
    pub fn new(
        images: usize,
        indices: Vec<u32>,
        set: usize,
        preserved: Option<(Vec<u32>, usize)>,
        gallery: usize,
    ) -> Result<Self> {
        check("targets", images, &indices, set, gallery)?;
        if let Some((indices, set)) = &preserved {
            check("preserved items", images, indices, *set, gallery)?;
        }
        Ok(Self { images, indices, set, preserved })
    }

    /// Empty targets, for an attack that has none.
    pub fn none(images: usize) -> Self {
        Self { images, indices: Vec::new(), set: 0, preserved: None }
    }

    /// Targets and preserved items from one row of each per image, already known to be in range.
    pub(crate) fn from_rows(rows: Vec<(Vec<u32>, Vec<u32>)>) -> Self {
        let (set, kept) = rows.first().map_or((0, 0), |(targets, preserved)| (targets.len(), preserved.len()));
        let images = rows.len();
        let (indices, preserved): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        Self { images, indices: indices.concat(), set, preserved: (kept > 0).then(|| (preserved.concat(), kept)) }
    }

    /// Number of images.
    pub fn images(&self) -> usize {
        self.images
    }
    /// `images x set` indices in the set of the other role, row by row.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }
    /// Number of targets per image.
    pub fn targets_per_image(&self) -> usize {
        self.set
    }
    /// The preserved items, row by row, and their number per image.
    pub fn preserved(&self) -> Option<(&[u32], usize)> {
        self.preserved.as_ref().map(|(indices, set)| (&**indices, *set))
    }

    /// The same targets for several copies of the images, copy after copy.
    pub(crate) fn repeated(&self, copies: usize) -> Self {
        Self {
            images: self.images * copies,
            indices: self.indices.repeat(copies),
            set: self.set,
            preserved: self.preserved().map(|(indices, set)| (indices.repeat(copies), set)),
        }
    }

    /// The targets of a range of images.
    ///
    /// # Panics
    /// When the range ends behind the last image.
    pub fn of_images(&self, range: Range<usize>) -> Self {
        self.select(&range.collect::<Vec<_>>())
    }

    /// The targets of some images, given by their places.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn select(&self, places: &[usize]) -> Self {
        let rows = |indices: &[u32], set: usize| places.iter().flat_map(|at| &indices[at * set..][..set]).copied().collect();
        Self {
            images: places.len(),
            indices: rows(&self.indices, self.set),
            set: self.set,
            preserved: self.preserved().map(|(indices, set)| (rows(indices, set), set)),
        }
    }

    /// Checks the numbers of images and of targets per image, and that there are preserved items if there should be.
    pub(crate) fn expect(&self, images: usize, set: usize, preserved: bool) -> Result<()> {
        if (self.images, self.set, self.preserved.is_some()) == (images, set, preserved) {
            return Ok(());
        }
        let with = if preserved { "with preserved items" } else { "without preserved items" };
        let expected = format!("({images}, {set}) {with}");
        Err(Error::Shape { what: "the list of targets", actual: vec![self.images, self.set], expected })
    }
}

fn check(what: &'static str, images: usize, indices: &[u32], set: usize, gallery: usize) -> Result<()> {
    if set == 0 || images == 0 {
        return Err(Error::Empty(what));
    }
    if set > gallery {
        return Err(Error::TooFewTargets { wanted: set, available: gallery });
    }
    if images.checked_mul(set) != Some(indices.len()) {
        return Err(Error::Shape { what, actual: vec![indices.len()], expected: format!("({images} x {set})") });
    }
    match indices.iter().find(|&&index| index as usize >= gallery) {
        Some(&index) => Err(Error::Index { what: "target", index: index as usize, len: gallery }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_is_checked() {
        let new = |indices: &[u32], set| Targets::new(2, indices.to_vec(), set, None, 10);
        assert!(new(&[1, 2, 3, 9], 2).is_ok());
        assert!(matches!(new(&[1, 2, 3], 2), Err(Error::Shape { .. })));
        assert!(matches!(new(&[1, 2, 3, 10], 2), Err(Error::Index { index: 10, len: 10, .. })));
        assert!(matches!(new(&[0; 22], 11), Err(Error::TooFewTargets { wanted: 11, available: 10 })));
        assert!(matches!(new(&[], 0), Err(Error::Empty(_))));
        assert!(matches!(Targets::new(1, vec![1], 1, Some((vec![10], 1)), 10), Err(Error::Index { .. })));
    }

    #[test]
    fn rows_stay_with_their_images() {
        let targets = Targets::new(3, vec![0, 1, 2, 3, 4, 5], 2, Some((vec![7, 8, 9], 1)), 10).unwrap();
        let tail = targets.of_images(1..3);
        assert_eq!((tail.images(), tail.indices(), tail.preserved()), (2, &[2, 3, 4, 5][..], Some((&[8, 9][..], 1))));
    }
}
