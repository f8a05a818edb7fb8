//! The embedded sets, protocol and seed of an attack.

use crate::Protocol;
use rankle_core::dataset::check_indices;
use rankle_core::{Error, Gallery, Ranking, Result, Role, Seed, Sets};

/// Embedded sets, with the protocol and the seed of the attack on them.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Gallery and queries, embedded by one model.
    pub sets: Sets<&'a dyn Ranking>,
    /// Protocol that defines targets and ranks.
    pub protocol: Protocol,
    /// The seed of every draw.
    pub seed: Seed,
}

impl<'a> Scene<'a> {
    /// The sets for drawing the targets of images of one role.
    pub(crate) fn choice(&self, perturbed: Role) -> Choice<'a> {
        let (images, targets) = (self.sets.of(perturbed).exact(), self.sets.of(perturbed.other()).exact());
        Choice { images, targets, is_one: self.sets.is_one(), protocol: self.protocol, seed: self.seed }
    }
}

/// Sets for drawing targets. In one set, an image is never its own neighbor.
#[derive(Clone, Copy)]
pub(crate) struct Choice<'a> {
    /// The set of the attacked images.
    pub(crate) images: &'a Gallery,
    /// The set of their targets.
    pub(crate) targets: &'a Gallery,
    pub(crate) is_one: bool,
    pub(crate) protocol: Protocol,
    pub(crate) seed: Seed,
}

impl Choice<'_> {
    /// Number of targets that an image can have, itself left out.
    pub(crate) fn available(&self) -> usize {
        self.targets.len() - usize::from(self.is_one)
    }

    /// The target that is the image itself; `None` if images and targets are two sets.
    pub(crate) fn itself(&self, image: usize) -> Option<usize> {
        self.is_one.then_some(image)
    }

    /// Number of targets in the top 1 % of a list: at least one, in integers (METHOD.md 7.1).
    pub(crate) fn top_percent(&self) -> usize {
        top_percent(self.targets)
    }

    pub(crate) fn check(&self, images: &[usize]) -> Result<()> {
        check_indices("image", images, self.images.len())
    }

    /// Refuses a number of targets that is zero or above the available number.
    pub(crate) fn check_set(wanted: usize, available: usize) -> Result<()> {
        match wanted {
            0 => Err(Error::Empty("targets")),
            _ if wanted > available => Err(Error::TooFewTargets { wanted, available }),
            _ => Ok(()),
        }
    }
}

/// [`Choice::top_percent`] of any list.
pub(crate) fn top_percent(list: &Gallery) -> usize {
    (list.len() / 100).max(1)
}
