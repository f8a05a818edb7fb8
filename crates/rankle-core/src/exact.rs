//! Distances in f64, for pairs that f32 cannot tell apart.

use crate::Distance;

impl Distance {
    /// The distance of two embeddings in f64. Cosine: `‖a/‖a‖ - b/‖b‖‖² / 2`, which keeps the digits that `1 - a·b` loses, and 1
    /// if one is a zero vector. Euclidean: `‖a - b‖`. Equal embeddings have equal distances to any other, to the last bit.
    pub fn exact(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::Cosine => {
                let (norm_a, norm_b) = (wide_sum(a, a, |x, y| x * y).sqrt(), wide_sum(b, b, |x, y| x * y).sqrt());
                if norm_a == 0.0 || norm_b == 0.0 {
                    return 1.0;
                }
                wide_sum(a, b, |x, y| (x / norm_a - y / norm_b).powi(2)) / 2.0
            }
            Self::Euclidean => wide_sum(a, b, |x, y| (x - y).powi(2)).sqrt(),
        }
    }
}

/// Sum of `term` over the pairs, in a fixed order: eight lanes, so that the compiler can vectorize it.
pub(crate) fn sum(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += term(a, b);
        }
    }
    lanes.iter().sum()
}

/// As [`sum`], with the numbers as f64.
fn wide_sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    sum(a, b, |a, b| term(f64::from(a), f64::from(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
        near(Distance::Cosine.exact(&[3.0, 0.0], &[0.0, 2.0]), 1.0);
        near(Distance::Cosine.exact(&[3.0, 4.0], &[-6.0, -8.0]), 2.0);
        near(Distance::Cosine.exact(&[1.0, 1.0], &[0.0, 0.0]), 1.0);
        near(Distance::Euclidean.exact(&[1.0, 2.0], &[4.0, 6.0]), 5.0);
        assert_eq!(Distance::Cosine.exact(&[0.1, 0.7], &[0.1, 0.7]), 0.0);
        // An angle of 1e-6 is a distance of 5e-13, far below what 1 - a·b can hold in f32.
        let small = Distance::Cosine.exact(&[1.0, 0.0], &[1.0, 1e-6]);
        assert!((small / 5e-13 - 1.0).abs() < 1e-6, "{small}");
    }
}
