//! The models by name.

use crate::{Convnet, ImageFormat, Layers, ResNet18, SoftmaxRegression, weights};
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
    /// ResNet-18 for 28×28 grey images, to 512 numbers, none negative (`method.md` 3.3).
    ResNet18Of28,
    /// torchvision's ResNet-18 for 224×224 colour images, to 512 numbers, none negative (`method.md` 3.4).
    ResNet18,
    /// Softmax regression: 28×28 grey images to ten logits (`method.md` 3.6).
    Softmax,
    /// C2F2 as a classifier: 28×28 grey images to ten logits (`method.md` 3.6).
    C2f2Classifier,
}

/// What a name stands for.
enum Network {
    Convnet(Layers),
    ResNet18(ImageFormat),
    Softmax,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 7] =
        [Self::C2f2, Self::C2f2Of512, Self::LeNet, Self::ResNet18Of28, Self::ResNet18, Self::Softmax, Self::C2f2Classifier];
    /// Those whose embeddings rank images.
    pub const RANKERS: [Self; 5] = [Self::C2f2, Self::C2f2Of512, Self::LeNet, Self::ResNet18Of28, Self::ResNet18];
    /// Those whose embeddings are logits, one number per class: they rank nothing, and are used with the Euclidean distance,
    /// which takes the numbers as they are.
    pub const CLASSIFIERS: [Self; 2] = [Self::Softmax, Self::C2f2Classifier];

    /// Whether its embeddings are logits.
    pub fn is_classifier(self) -> bool {
        Self::CLASSIFIERS.contains(&self)
    }

    fn network(self) -> Network {
        match self {
            Self::C2f2 => Network::Convnet(Layers::C2F2),
            Self::C2f2Of512 => Network::Convnet(Layers::C2F2_512),
            Self::LeNet => Network::Convnet(Layers::LENET),
            Self::ResNet18Of28 => Network::ResNet18(ImageFormat::grey28()),
            Self::ResNet18 => Network::ResNet18(ImageFormat::imagenet()),
            Self::Softmax => Network::Softmax,
            Self::C2f2Classifier => Network::Convnet(Layers::C2F2_CLASSIFIER),
        }
    }

    /// `(channels, height, width)` of the images it takes.
    pub fn input(self) -> (usize, usize, usize) {
        match self.network() {
            Network::Convnet(layers) => layers.input(),
            Network::ResNet18(format) => format.input(),
            Network::Softmax => SoftmaxRegression::INPUT,
        }
    }

    /// How many numbers its embeddings have.
    pub fn embedding_size(self) -> usize {
        match self.network() {
            Network::Convnet(layers) => layers.embedding_size(),
            Network::ResNet18(_) => ResNet18::EMBEDDING_SIZE,
            Network::Softmax => SoftmaxRegression::CLASSES,
        }
    }

    /// A model with the weights of a safetensors file, ready to be attacked.
    ///
    /// # Errors
    /// [`Error::Weights`] naming the file when it cannot be read or does not fit.
    pub fn load(self, path: &Path, distance: Distance) -> Result<Box<dyn Embedder>> {
        let tensors = weights::read(path)?;
        let model = match self.network() {
            Network::Convnet(layers) => Convnet::from_tensors(layers, &tensors, distance).map(boxed),
            Network::ResNet18(format) => ResNet18::from_tensors(&tensors, format, distance).map(boxed),
            Network::Softmax => SoftmaxRegression::from_tensors(&tensors).map(boxed),
        };
        weights::named(path, model)
    }

    /// A model with random weights, ready to be trained (`method.md` 3: uniform in `±1/√fan_in`).
    ///
    /// # Errors
    /// None yet; larger models may not fit the memory.
    pub fn initialise(self, distance: Distance, seed: Seed) -> Result<Box<dyn Trainable>> {
        Ok(match self.network() {
            Network::Convnet(layers) => Box::new(Convnet::initialise(layers, distance, seed)),
            Network::ResNet18(format) => Box::new(ResNet18::initialise(format, distance, seed)),
            Network::Softmax => Box::new(SoftmaxRegression::initialise(seed)),
        })
    }

    /// A model in the state of a checkpoint, ready to be trained further; `seed` is that of the training.
    ///
    /// # Errors
    /// [`Error::Weights`] when the state does not fit.
    pub fn resume(self, distance: Distance, seed: Seed, state: weights::Tensors) -> Result<Box<dyn Trainable>> {
        let mut model = self.initialise(distance, seed)?;
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
            Self::ResNet18Of28 => "resnet18-28",
            Self::ResNet18 => "resnet18",
            Self::Softmax => "softmax",
            Self::C2f2Classifier => "c2f2-classifier",
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

fn boxed(model: impl Embedder + 'static) -> Box<dyn Embedder> {
    Box::new(model)
}
