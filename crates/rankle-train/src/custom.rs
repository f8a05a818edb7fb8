//! Losses of programs outside of this project, by name.

use crate::Loss;
use rankle_core::{Embeddings, Error, Result};
use rankle_registry::{Named, Registry};

/// A ranking loss that a program brings along: once registered it is a [`Loss`] like any other, under its name.
#[derive(Clone, Copy, Debug)]
pub struct CustomLoss {
    /// What cards and command lines call it.
    pub name: &'static str,
    /// Its value and gradient.
    pub evaluate: Evaluate,
}

/// The embeddings of a batch, its labels and the margin, to the mean loss per image and the gradient with respect to the
/// embeddings, `n x dim`. Training follows this gradient as it is, also where it follows the sum of the losses of other groups.
pub type Evaluate = fn(&Embeddings, &[u32], f64) -> Result<(f64, Vec<f32>)>;

impl Named for CustomLoss {
    fn name(&self) -> &'static str {
        self.name
    }
}

static LOSSES: Registry<CustomLoss> = Registry::new();

impl Loss {
    /// Makes a loss known by its name, to the end of the process.
    ///
    /// # Errors
    /// [`Error::Refused`] for a name that one of rankle's losses has, or that cannot stand on a command line.
    pub fn register(loss: CustomLoss) -> Result<Self> {
        let taken = |name: &str| Self::ALL.into_iter().any(|loss| loss.to_string() == name);
        LOSSES
            .add(loss, taken)
            .map(Self::Custom)
            .map_err(|reason| Error::Refused(format!("a loss cannot be registered: {reason}")))
    }

    /// The losses that were registered, in that order.
    pub fn registered() -> Vec<Self> {
        LOSSES.all().into_iter().map(Self::Custom).collect()
    }
}
