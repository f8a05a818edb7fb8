//! An image search to attack or to measure: a dataset, a model, and all images embedded by it.

use crate::arguments::SystemArguments;
use crate::watched::Watched;
use crate::{device::Device, files};
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rankle_core::{Dataset, Distance, Embedder, Gallery, Points};
use rankle_data::{Name, Split};
use rankle_models::{Architecture, Isa};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What names a system. Two equal keys are one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) dataset: Name,
    pub(crate) dataset_dir: Option<PathBuf>,
    pub(crate) model: Architecture,
    pub(crate) weights: PathBuf,
    pub(crate) distance: Distance,
}

/// A model and the images it is asked about.
pub(crate) struct System {
    pub(crate) key: Key,
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) embedder: Watched<'static>,
    pub(crate) weights_sha256: String,
    pub(crate) device: Device,
}

/// A system with its list embedded.
pub(crate) struct Ranked {
    pub(crate) system: System,
    pub(crate) gallery: Gallery,
}

impl Ranked {
    /// Opens a test split as [`System::open`] does, and embeds it.
    ///
    /// # Errors
    /// As [`System::open`] and [`System::gallery`].
    pub(crate) fn open(key: Key, device: Device, bar: ProgressBar) -> Result<Self> {
        Self::new(System::open(key, Split::Test, device, bar)?)
    }

    /// # Errors
    /// As [`System::gallery`].
    pub(crate) fn new(system: System) -> Result<Self> {
        let gallery = system.gallery()?;
        Ok(Self { system, gallery })
    }
}

/// How many images are embedded between two looks at the interrupt: no result depends on it.
const CHUNK: usize = 500;

impl From<SystemArguments> for Key {
    fn from(arguments: SystemArguments) -> Self {
        let SystemArguments { dataset, dataset_dir, model, weights, distance } = arguments;
        Self { dataset, dataset_dir, model, weights, distance }
    }
}

impl System {
    /// Loads one split of the data, and the weights. Every pass of the model counts into `bar`.
    ///
    /// # Errors
    /// When the device cannot be used, when data or weights cannot be read, or when they do not fit.
    pub(crate) fn open(key: Key, split: Split, device: Device, bar: ProgressBar) -> Result<Self> {
        device.check()?;
        // The weights first: a wrong path is the more frequent mistake.
        let embedder = key.model.load(&key.weights, key.distance)?;
        let weights_sha256 = files::sha256(&key.weights)?;
        let dataset = open_data(key.dataset, split, key.dataset_dir.as_deref(), key.model)?;
        tracing::debug!("{} images of {} ({split}), weights {weights_sha256}", dataset.len(), key.dataset);
        Ok(Self { key, dataset, embedder: Watched::new(embedder, bar), weights_sha256, device })
    }

    /// Embeds some images.
    ///
    /// # Errors
    /// What the model reports, or an interrupt.
    pub(crate) fn embed(&self, images: &[usize]) -> Result<Points> {
        Ok(embed(&self.embedder, &*self.dataset, images)?)
    }

    /// All images, as the list that is ranked.
    ///
    /// # Errors
    /// As [`System::embed`].
    pub(crate) fn gallery(&self) -> Result<Gallery> {
        let everything: Vec<usize> = (0..self.dataset.len()).collect();
        Gallery::new(&self.embed(&everything)?).with_context(|| format!("{}", self.key.weights.display()))
    }
}

/// Embeds some images of a dataset.
///
/// # Errors
/// What the model reports, or an interrupt.
pub(crate) fn embed(embedder: &dyn Embedder, dataset: &dyn Dataset, images: &[usize]) -> rankle_core::Result<Points> {
    let chunks: Vec<candle_core::Tensor> =
        images.chunks(CHUNK).map(|chunk| embedder.embed(&dataset.images(chunk)?)).collect::<rankle_core::Result<_>>()?;
    embedder.distance().place(&candle_core::Tensor::cat(&chunks, 0)?)
}

/// Opens a dataset whose images a model takes.
///
/// # Errors
/// When it cannot be read, or when its images have another shape.
pub(crate) fn open_data(name: Name, split: Split, folder: Option<&Path>, model: Architecture) -> Result<Arc<dyn Dataset>> {
    let dataset = rankle_data::open(name, split, folder)?;
    if dataset.shape() != model.input() {
        bail!("{model} takes images of {:?} (channels, height, width), those of {name} are {:?}", model.input(), dataset.shape());
    }
    Ok(dataset)
}

/// The instruction set of the kernels, as records name it.
pub(crate) fn instruction_set() -> String {
    Isa::best().to_string()
}

/// The version of the code, as records name it.
pub(crate) const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");
