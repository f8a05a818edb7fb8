//! Losses registered by other programs.

use crate::Loss;
use rankle_core::{Embeddings, Error, Result};
use rankle_registry::{Named, Registry};

/// A ranking loss of another program. Once registered it is a [`Loss`] like any other, under its name.
#[derive(Clone, Copy, Debug)]
pub struct CustomLoss {
    /// Name in model cards and on command lines.
    pub name: &'static str,
    /// Function that computes the loss and its gradient.
    pub evaluate: Evaluate,
}

/// Computes the mean loss per image and its gradient with respect to the embeddings, `n x dim`, from the embeddings of a batch,
/// its labels and the margin. Training follows this gradient unchanged, also for groups drawn from the whole set, for which the
/// losses of this crate return the gradient of the sum.
pub type Evaluate = fn(&Embeddings, &[u32], f64) -> Result<(f64, Vec<f32>)>;

impl Named for CustomLoss {
    fn name(&self) -> &'static str {
        self.name
    }
}

static LOSSES: Registry<CustomLoss> = Registry::new();

impl Loss {
    /// Registers a loss under its name until the process ends.
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

    /// The registered losses, in the order of registration.
    pub fn registered() -> Vec<Self> {
        LOSSES.all().into_iter().map(Self::Custom).collect()
    }
}
