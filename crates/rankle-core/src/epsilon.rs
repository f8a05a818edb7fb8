//! The size of the ball.

use crate::{Error, Result};
use std::fmt;

/// The radius of the L∞ ball around an image, in pixel units: pixels lie in `[0, 1]`, so does epsilon.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Epsilon(f64);

impl Epsilon {
    /// # Errors
    /// [`Error::Epsilon`] outside `[0, 1]` and for NaN.
    pub fn new(value: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&value) { Ok(Self(value)) } else { Err(Error::Epsilon(value)) }
    }

    /// The radius in pixel units.
    pub fn value(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unit_interval_is_a_radius() {
        for good in [0.0, 0.3, 1.0] {
            assert_eq!(Epsilon::new(good).unwrap().value(), good);
        }
        for bad in [-0.1, 1.0001, 8.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(Epsilon::new(bad), Err(Error::Epsilon(_))), "{bad}");
        }
    }
}
