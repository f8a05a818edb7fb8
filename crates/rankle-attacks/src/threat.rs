//! The perturbations that an attacker may use.

use rankle_core::{Error, Result};
use rankle_record::Norm;
use std::fmt;

/// A norm and a radius. A perturbation is allowed if its norm is at most the radius and the perturbed pixels stay in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threat {
    norm: Norm,
    radius: f64,
}

impl Threat {
    /// A threat with a radius in pixel units: in `[0, 1]` for [`Norm::Linf`], from 0 to a million for [`Norm::L2`].
    ///
    /// # Errors
    /// [`Error::Refused`] for any other radius.
    pub fn new(norm: Norm, radius: f64) -> Result<Self> {
        norm.check(radius).map_err(Error::Refused)?;
        Ok(Self { norm, radius })
    }

    /// A threat under L∞: no pixel moves by more than the radius, which is in `[0, 1]`.
    ///
    /// # Errors
    /// As [`Threat::new`].
    pub fn linf(radius: f64) -> Result<Self> {
        Self::new(Norm::Linf, radius)
    }

    /// A threat under L2: the Euclidean norm of the perturbation, over all pixels and channels, is at most the radius.
    ///
    /// # Errors
    /// As [`Threat::new`].
    pub fn l2(radius: f64) -> Result<Self> {
        Self::new(Norm::L2, radius)
    }

    /// The norm that is limited.
    pub fn norm(self) -> Norm {
        self.norm
    }

    /// Largest allowed norm, in pixel units.
    pub fn radius(self) -> f64 {
        self.radius
    }
}

/// Writes the radius, and the norm unless it is L∞.
impl fmt::Display for Threat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.norm {
            Norm::Linf => self.radius.fmt(f),
            Norm::L2 => write!(f, "{} (l2)", self.radius),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_norm_can_have_is_a_radius() {
        assert_eq!(Threat::linf(0.3).unwrap().radius(), 0.3);
        assert_eq!(Threat::l2(2.0).unwrap().to_string(), "2 (l2)");
        for refused in [Threat::linf(1.5), Threat::linf(f64::NAN), Threat::l2(-1.0), Threat::l2(f64::INFINITY)] {
            assert!(matches!(refused, Err(Error::Refused(_))));
        }
    }
}
