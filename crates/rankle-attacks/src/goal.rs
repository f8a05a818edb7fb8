//! The number that an attack is after.

use crate::{AttackSpec, Direction};

/// The measured number that an attack lowers, by which results of searches are compared: a rank that shall fall, with ξ times that of the
/// preserved items; one that shall rise, or the embedding shift, with the other sign.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    direction: Option<Direction>,
    xi: f64,
}

impl Goal {
    /// The goal of a spec that has its ξ. `None` for a ξ above 1, with which hardly any image does better than the clean one by ranks:
    /// such an attack is after its loss.
    pub fn of(spec: &AttackSpec) -> Option<Self> {
        let xi = spec.options.xi.unwrap_or(0.0);
        counts_ranks(xi).then_some(Self { direction: spec.attack.direction(), xi })
    }

    /// The number of one image, given per image the mean ranks of targets and of preserved items, where the attack has them, and the
    /// embedding shift.
    pub fn number(&self, image: usize, (rank, preserved, shift): (&[f64], &[f64], &[f64])) -> f64 {
        let kept = preserved.get(image).map_or(0.0, |rank| self.xi * rank);
        match self.direction {
            Some(Direction::Raise) => rank[image] + kept,
            Some(Direction::Lower) => kept - rank[image],
            None => -shift[image],
        }
    }
}

/// True if an attack with this weight of preserved items is after ranks.
pub(crate) fn counts_ranks(xi: f64) -> bool {
    xi <= 1.0
}
