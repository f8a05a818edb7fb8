//! An ONNX file as a model, and its identity.

use super::exec::measured;
use super::open::Open;
use crate::files;
use crate::network::Loaded;
use crate::stop::Stop;
use anyhow::{Context, Result, bail};
use rankle_core::{Distance, Embedder, InputSpec, Place};
use rankle_onnx::{OnnxModel, Options};
use std::path::PathBuf;
use std::sync::Arc;

/// An ONNX file that was read once, for what it says of its images.
pub(crate) struct Onnx {
    /// `FILE[,option=value..]`.
    pub(crate) name: String,
    pub(crate) input: InputSpec,
    file: PathBuf,
    options: Options,
    sha256: String,
}

static OPEN: Open<Onnx> = Open::new();

impl Onnx {
    /// Reads a file, or takes the one that is open by this name. Warns of an output that looks like scores of classes.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments for options that are none; one line that names the file.
    pub(super) fn open(name: &str) -> Result<Arc<Self>> {
        OPEN.get(name, || {
            let (file, options) = Options::parse(name).map_err(|error| Stop::usage(format!("onnx:{name}: {error}")))?;
            let sha256 = files::hash_file(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            let model = OnnxModel::load(&file, &options, Distance::Cosine, &Place::Kernels)?;
            if let Some(hint) = model.hint() {
                tracing::warn!("{}: {hint}", file.display());
            }
            Ok(Self { name: name.to_owned(), input: model.input(), file, options, sha256 })
        })
    }

    /// The model for a distance, in a compute backend. Its identity is the hash of the file and, where numbers are in other files
    /// beside it, the distances of its probe images.
    ///
    /// # Errors
    /// One line that names the file.
    pub(super) fn load(&self, distance: Distance, place: &Place) -> Result<Loaded> {
        let model = OnnxModel::load(&self.file, &self.options, distance, place)?;
        let name = self.file.display();
        if files::hash_file(&self.file).with_context(|| format!("{name} cannot be read"))? != self.sha256 {
            bail!("{name} has changed while this command ran: leave the file alone and run the command again");
        }
        let probe_distances =
            model.is_in_several_files().then(|| measured(&model, || format!("onnx:{}", self.name))).transpose()?;
        Ok(Loaded { embedder: Box::new(model), weights_sha256: self.sha256.clone(), probe_distances })
    }
}
