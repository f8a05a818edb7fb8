//! The models by name.

use crate::C2f2;
use rankle_core::{Distance, Embedder, Error, Result, Seed, Trainable};
use std::{collections::BTreeMap, fmt, path::Path, str::FromStr};

/// A model that can be named on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Two convolutions, one dense layer: 28×28 grey images to 1024 numbers (`method.md` 3.1).
    C2f2,
}

impl Architecture {
    /// Every architecture, for messages and menus.
    pub const ALL: [Self; 1] = [Self::C2f2];

    /// `(channels, height, width)` of the images it takes.
    pub fn input(self) -> (usize, usize, usize) {
        match self {
            Self::C2f2 => (1, 28, 28),
        }
    }

    /// A model with the weights of a safetensors file, ready to be attacked.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the file when it cannot be read or does not fit.
    pub fn load(self, path: &Path, distance: Distance) -> Result<Box<dyn Embedder>> {
        match self {
            Self::C2f2 => Ok(Box::new(crate::weights::named(path, C2f2::from_tensors(&crate::weights::read(path)?, distance))?)),
        }
    }

    /// A model with random weights, ready to be trained (`method.md` 3: uniform in `±1/√fan_in`).
    ///
    /// # Errors
    /// None yet; larger models may not fit the memory.
    pub fn initialise(self, distance: Distance, seed: Seed) -> Result<Box<dyn Trainable>> {
        match self {
            Self::C2f2 => Ok(Box::new(C2f2::initialise(distance, seed))),
        }
    }

    /// A model in the state of a checkpoint, ready to be trained further.
    ///
    /// # Errors
    /// [`Error::Weights`] when the state does not fit.
    pub fn resume(self, distance: Distance, state: BTreeMap<String, candle_core::Tensor>) -> Result<Box<dyn Trainable>> {
        let mut model = self.initialise(distance, Seed(0))?;
        model.restore(state)?;
        Ok(model)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C2f2 => "c2f2",
        })
    }
}

impl FromStr for Architecture {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|model| model.to_string() == name).ok_or_else(|| Error::Unknown {
            what: "model",
            name: name.into(),
            known: Self::ALL.map(|m| m.to_string()).join(", "),
        })
    }
}
