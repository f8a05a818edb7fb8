//! Sizes and bounds of the checks.

/// Largest effect of noise, as a fraction of the effect of the attack.
pub(super) const NOISE: f64 = 0.2;
/// Least effect of the search of the tables, as a fraction of the effect of the standard attack.
pub(super) const ENOUGH: f64 = 0.9;
/// Largest rank, in percent from the end of the list that the attack wants, in a ball without bounds.
pub(super) const BROKEN: f64 = 10.0;
/// Number of items measured for collapse, each against the whole gallery.
pub(super) const ITEMS: usize = 500;
/// Least mean distance, relative to that of orthogonal items.
pub(super) const MEAN: f64 = 0.05;
/// Least standard deviation of the distances, relative to their mean.
pub(super) const DEVIATION: f64 = 0.1;
/// Least mean distance between classes, relative to that within one.
pub(super) const CONTRAST: f64 = 1.5;
/// Largest share of ties.
pub(super) const TIES: f64 = 0.01;
/// Least number of directions.
pub(super) const DIRECTIONS: f64 = 2.0;
/// Number of images whose gradients are compared with differences, and of directions for each.
pub(super) const IMAGES: usize = 8;
pub(super) const WAYS: usize = 32;
/// Largest share of images without any gradient.
pub(super) const SILENT: f64 = 0.05;
/// Largest share of pixels without a gradient.
pub(super) const STILL: f64 = 0.5;
/// Steps and random starts of the growing searches: each is the beginning of the next one.
pub(super) const EFFORTS: [(usize, usize); 3] = [(10, 1), (50, 1), (50, 3)];
