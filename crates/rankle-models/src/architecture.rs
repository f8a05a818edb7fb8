//! The models by name.

use crate::{Convnet, Layers, weights};
use rankle_core::{Distance, Embedder, Error, Result, Seed, Trainable};
use std::{fmt, path::Path, str::FromStr};

/// A model that can be named on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// Two convolutions, one dense layer: 28×28 grey images to 1024 numbers (`method.md` 3.1).
    C2f2,
    /// The same with a second dense layer: 28×28 grey images to 512 numbers (`robust-score.md` 3.1).
    C2f2Of512,
    /// LeNet without its classifier: 28×28 grey images to 500 numbers, none negative (`method.md` 3.2).
    LeNet,
}

impl Architecture {
    /// Every architecture, for messages and menus.
    pub const ALL: [Self; 3] = [Self::C2f2, Self::C2f2Of512, Self::LeNet];

    /// `(channels, height, width)` of the images it takes.
    pub fn input(self) -> (usize, usize, usize) {
        match self {
            Self::C2f2 => Layers::C2F2.input(),
            Self::C2f2Of512 => Layers::C2F2_512.input(),
            Self::LeNet => Layers::LENET.input(),
        }
    }

    /// How many numbers its embeddings have.
    pub fn embedding_size(self) -> usize {
        match self {
            Self::C2f2 => Layers::C2F2.embedding_size(),
            Self::C2f2Of512 => Layers::C2F2_512.embedding_size(),
            Self::LeNet => Layers::LENET.embedding_size(),
        }
    }

    /// A model with the weights of a safetensors file, ready to be attacked.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the file when it cannot be read or does not fit.
    pub fn load(self, path: &Path, distance: Distance) -> Result<Box<dyn Embedder>> {
        let tensors = weights::read(path)?;
        let convnet =
            |layers| Convnet::from_tensors(layers, &tensors, distance).map(|model| Box::new(model) as Box<dyn Embedder>);
        let model = match self {
            Self::C2f2 => convnet(Layers::C2F2),
            Self::C2f2Of512 => convnet(Layers::C2F2_512),
            Self::LeNet => convnet(Layers::LENET),
        };
        weights::named(path, model)
    }

    /// A model with random weights, ready to be trained (`method.md` 3: uniform in `±1/√fan_in`).
    ///
    /// # Errors
    /// None yet; larger models may not fit the memory.
    pub fn initialise(self, distance: Distance, seed: Seed) -> Result<Box<dyn Trainable>> {
        Ok(match self {
            Self::C2f2 => Box::new(Convnet::initialise(Layers::C2F2, distance, seed)),
            Self::C2f2Of512 => Box::new(Convnet::initialise(Layers::C2F2_512, distance, seed)),
            Self::LeNet => Box::new(Convnet::initialise(Layers::LENET, distance, seed)),
        })
    }

    /// A model in the state of a checkpoint, ready to be trained further.
    ///
    /// # Errors
    /// [`Error::Weights`] when the state does not fit.
    pub fn resume(self, distance: Distance, state: weights::Tensors) -> Result<Box<dyn Trainable>> {
        let mut model = self.initialise(distance, Seed(0))?;
        model.restore(state)?;
        Ok(model)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::C2f2 => "c2f2",
            Self::C2f2Of512 => "c2f2-512",
            Self::LeNet => "lenet",
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
