//! Sample means with their uncertainty.

/// A sample mean with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The sample mean.
    pub mean: f64,
    /// The standard error of the mean (sample deviation with `n - 1`, over `√n`); `None` for a single value.
    pub standard_error: Option<f64>,
    /// Number of values.
    pub count: usize,
}

impl Estimate {
    /// The estimate from a sample, each value counting once (METHOD.md 8.4); `None` for an empty one.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = (count > 1).then(|| (squares / (count - 1) as f64 / count as f64).sqrt());
        Some(Self { mean, standard_error, count })
    }

    /// The 95 % interval of the mean, `mean ± 1.96` standard errors; `None` for a single value.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.standard_error.map(|error| (self.mean - 1.96 * error, self.mean + 1.96 * error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_by_hand() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 6.0]).unwrap();
        // Squares 4 + 1 + 0 + 9 = 14; 14 / 3 / 4 = 1.1667.
        assert_eq!((estimate.mean, estimate.count), (3.0, 4));
        assert!((estimate.standard_error.unwrap() - 1.080_123).abs() < 1e-6);
        let (low, high) = estimate.interval().unwrap();
        assert!((low - 0.882_958).abs() < 1e-5 && (high - 5.117_042).abs() < 1e-5);
        assert_eq!(Estimate::of(&[0.5]).unwrap().interval(), None);
        assert_eq!(Estimate::of(&[]), None);
    }
}
