//! Identity of a model that is not one file.

use serde::{Deserialize, Serialize};

/// Pairwise distances of fixed probe images, by the model's distance: the identity of a program, and of an ONNX file with numbers in
/// other files beside it. Two are one model if no distance differs by more than [`ProbeDistances::TOLERANCE`] of the largest one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProbeDistances(Vec<f64>);

/// NaN, for which equality would fail, is never let in.
impl Eq for ProbeDistances {}

impl ProbeDistances {
    /// Largest difference of two distances of one model, as a fraction of the largest distance.
    pub const TOLERANCE: f64 = 1e-4;

    /// Takes finite distances, rounded to seven digits: what is behind them is noise, and would only fill the record.
    ///
    /// Returns `None` if one of them is not finite.
    pub fn new(distances: Vec<f64>) -> Option<Self> {
        let round = |distance: &f64| format!("{distance:.6e}").parse().ok().filter(|distance: &f64| distance.is_finite());
        distances.iter().map(round).collect::<Option<_>>().map(Self)
    }

    /// Largest difference to those of another model, as a fraction of the largest distance; infinite for another number of them.
    pub fn difference(&self, other: &Self) -> f64 {
        if self.0.len() != other.0.len() {
            return f64::INFINITY;
        }
        let largest = self.0.iter().chain(&other.0).fold(0.0, |largest: f64, distance| largest.max(distance.abs()));
        let differing = self.0.iter().zip(&other.0).fold(0.0, |differing: f64, (one, other)| differing.max((one - other).abs()));
        if differing == 0.0 { 0.0 } else { differing / largest }
    }

    /// True if both are of one model.
    pub fn are_of_one_model(&self, other: &Self) -> bool {
        self.difference(other) <= Self::TOLERANCE
    }

    /// The distances as text, of which a hash may be made.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ten_thousandth_of_the_largest_distance_is_the_same() {
        let of = |distances: &[f64]| ProbeDistances::new(distances.to_vec()).unwrap();
        let one = of(&[0.5, 2.0]);
        assert!(one.are_of_one_model(&of(&[0.50019, 2.0])) && !one.are_of_one_model(&of(&[0.50021, 2.0])));
        assert!((one.difference(&of(&[0.5, 1.0])) - 0.5).abs() < 1e-12);
        assert!(of(&[0.0]).are_of_one_model(&of(&[0.0])) && !of(&[0.0]).are_of_one_model(&of(&[1e-9])));
        assert_eq!(one.difference(&of(&[0.5])), f64::INFINITY);
        assert_eq!(ProbeDistances::new(vec![f64::NAN]), None);
        assert_eq!(of(&[0.123_456_789, 3.0]).text(), "[0.1234568,3.0]");
    }
}
