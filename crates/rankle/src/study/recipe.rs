//! Differences between the paper's recipes.

use rankle_data::Source;
use rankle_report::System;

/// True if the images of the system are photographs.
pub(super) fn sees_photographs(system: &System) -> bool {
    system.dataset.parse().is_ok_and(|dataset: Source| dataset.is_of_photographs())
}

/// Radius that the paper's defense is trained for on such images, in pixel units.
pub(super) fn defended_epsilon(system: &System) -> f64 {
    if sees_photographs(system) { 0.06 } else { 0.3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photographs_are_defended_in_smaller_balls() {
        let of = |dataset: &str| defended_epsilon(&System::plain(dataset, "resnet18", "euclidean", "triplet"));
        assert_eq!(["mnist", "fashion-mnist", "sop", "cub", "cars", "inshop"].map(of), [0.3, 0.3, 0.06, 0.06, 0.06, 0.06]);
    }
}
