//! How far each check goes, and what passes it.

/// Of the effect of the attack, noise may have so much.
pub(super) const NOISE: f64 = 0.2;
/// Of the effect of the strongest search, that of the tables must have so much.
pub(super) const ENOUGH: f64 = 0.9;
/// In a ball without bounds, ranks end within so many percent of where the attack wants them.
pub(super) const BROKEN: f64 = 10.0;
/// How many items are measured, each against the whole gallery.
pub(super) const ITEMS: usize = 500;
/// The mean distance, in relation to that of items that have nothing in common.
pub(super) const MEAN: f64 = 0.05;
/// The standard deviation of the distances, in relation to their mean.
pub(super) const DEVIATION: f64 = 0.1;
/// How much farther items of different classes are than those of one.
pub(super) const CONTRAST: f64 = 1.5;
/// The share of ties.
pub(super) const TIES: f64 = 0.01;
/// How many directions.
pub(super) const DIRECTIONS: f64 = 2.0;
/// How many images are looked at, and along how many directions each.
pub(super) const IMAGES: usize = 8;
pub(super) const WAYS: usize = 32;
/// How many images may be without any gradient.
pub(super) const SILENT: f64 = 0.05;
/// How many pixels may.
pub(super) const STILL: f64 = 0.5;
/// Steps and random starts of searches that grow: each is the beginning of the next one.
pub(super) const EFFORTS: [(usize, usize); 3] = [(10, 1), (50, 1), (50, 3)];
