//! The network of a model: an architecture of this program, or a foreign model, which brings its weights along.

use crate::foreign::Foreign;
use crate::system;
use crate::weights::Weights;
use anyhow::Result;
use rankle_core::{Distance, Embedder, InputSpec, Place};
use rankle_models::Architecture;
use rankle_record::ProbeDistances;
use std::fmt;
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Its weights are in a file of their own.
    Architecture(Architecture),
    /// An ONNX file, or a program.
    Foreign(Foreign),
}

/// A model that is ready to embed, with its identity.
pub(crate) struct Loaded {
    pub(crate) embedder: Box<dyn Embedder>,
    pub(crate) weights_sha256: String,
    /// `None` for a model that is one file, which its hash tells.
    pub(crate) probe_distances: Option<ProbeDistances>,
}

impl Network {
    pub(crate) fn architecture(&self) -> Option<Architecture> {
        match self {
            Self::Architecture(architecture) => Some(*architecture),
            Self::Foreign(_) => None,
        }
    }

    /// The name in messages: a foreign model with its file or command.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Architecture(architecture) => architecture.to_string(),
            Self::Foreign(foreign) => foreign.name().to_string(),
        }
    }

    /// File name of an ONNX file, without extension.
    pub(crate) fn name_of_file(&self) -> Option<String> {
        let Self::Foreign(foreign) = self else { return None };
        let name = foreign.name();
        let stem = Path::new(name.weights()).file_stem().filter(|_| name.is_a_file())?;
        Some(stem.to_string_lossy().into_owned())
    }

    /// False where the weights are in no file.
    pub(crate) fn is_a_file(&self) -> bool {
        match self {
            Self::Architecture(_) => true,
            Self::Foreign(foreign) => foreign.name().is_a_file(),
        }
    }

    /// Images that the network takes.
    pub(crate) fn input_spec(&self) -> InputSpec {
        match self {
            Self::Architecture(architecture) => architecture.input_spec(),
            Self::Foreign(foreign) => foreign.input_spec(),
        }
    }

    /// `(channels, height, width)`.
    pub(crate) fn input(&self) -> (usize, usize, usize) {
        self.input_spec().shape
    }

    /// Number of classes; `None` for a model that ranks.
    pub(crate) fn classes(&self) -> Option<usize> {
        self.architecture().filter(|model| model.is_classifier()).map(Architecture::embedding_size)
    }

    /// True if the gradient has to be compared with difference quotients before its first use.
    pub(crate) fn is_unproven(&self) -> bool {
        self.architecture().is_none_or(|model| !model.is_proven()) && !system::gradients_are_left_unchecked()
    }

    /// Loads the model. `before` is the hash of the weights if they were read before.
    ///
    /// # Errors
    /// Weights that cannot be read, do not fit, or have changed; those of a foreign model.
    pub(crate) fn load(
        &self,
        (weights, prefix): (&Path, Option<&str>),
        before: Option<&str>,
        distance: Distance,
        place: &Place,
    ) -> Result<Loaded> {
        match self {
            Self::Architecture(architecture) => {
                let Weights { path, tensors, sha256 } = Weights::read(weights, prefix)?.checked(before)?;
                let embedder = architecture.with_weights(&path, &tensors, distance, place)?;
                Ok(Loaded { embedder, weights_sha256: sha256, probe_distances: None })
            }
            Self::Foreign(foreign) => foreign.load(distance, place),
        }
    }
}

impl From<Architecture> for Network {
    fn from(architecture: Architecture) -> Self {
        Self::Architecture(architecture)
    }
}

/// The name in records.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Architecture(architecture) => architecture.fmt(f),
            Self::Foreign(foreign) => f.write_str(&foreign.name().model()),
        }
    }
}
