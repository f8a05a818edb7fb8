//! An ONNX file as a model, and its identity.

use super::measured;
use super::open::Open;
use crate::files;
use crate::network::Loaded;
use crate::stop::Stop;
use anyhow::{Context, Result, bail};
use rankle_core::{Distance, Embedder, InputSpec, Place};
use rankle_onnx::{OnnxModel, Options};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// An ONNX file that was read once, for what it says of its images.
pub(crate) struct Onnx {
    pub(crate) file: String,
    /// `[,option=value..]`.
    pub(crate) options: String,
    pub(crate) input: InputSpec,
    parsed: Options,
    sha256: String,
    /// The model of the first reading, until the first load.
    first: Mutex<Option<OnnxModel>>,
}

static OPEN: Open<(String, String), Onnx> = Open::new();

impl Onnx {
    /// Reads a file, or takes the one that is open with these options. Warns of an output that looks like scores of classes.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments for no file and for options that are none; one line that names the file.
    pub(super) fn open(file: &str, options: &str) -> Result<Arc<Self>> {
        OPEN.get((file.to_owned(), options.to_owned()), || {
            if file.is_empty() {
                return Err(Stop::usage("an ONNX file is missing: onnx:FILE[,option=value..]").into());
            }
            let parsed = Options::of(options).map_err(|error| Stop::usage(format!("onnx:{file}{options}: {error}")))?;
            let sha256 = files::hash_file(file.as_ref()).with_context(|| format!("{file} cannot be read"))?;
            let model = OnnxModel::load(Path::new(file), &parsed, Distance::Cosine, &Place::Kernels)?;
            if let Some(hint) = model.hint() {
                tracing::warn!("{file}: {hint}");
            }
            let (file, options, input) = (file.to_owned(), options.to_owned(), model.input());
            Ok(Self { file, options, input, parsed, sha256, first: Mutex::new(Some(model)) })
        })
    }

    /// The model for a distance, in a compute backend. Its identity is the hash of the file and, where numbers are in other files
    /// beside it, the distances of its probe images.
    ///
    /// # Errors
    /// One line that names the file.
    pub(super) fn load(&self, distance: Distance, place: &Place) -> Result<Loaded> {
        let Self { file, options, .. } = self;
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let model = match first.filter(|first| first.distance() == distance && matches!(place, Place::Kernels)) {
            Some(first) => first,
            None => OnnxModel::load(file.as_ref(), &self.parsed, distance, place)?,
        };
        if files::hash_file(file.as_ref()).with_context(|| format!("{file} cannot be read"))? != self.sha256 {
            bail!("{file} has changed while this command ran: leave the file alone and run the command again");
        }
        let probe_distances =
            model.is_in_several_files().then(|| measured(&model, || format!("onnx:{file}{options}"))).transpose()?;
        Ok(Loaded { embedder: Box::new(model), weights_sha256: self.sha256.clone(), probe_distances })
    }
}
