//! The subject of a study: a model, its images, and their names.

use crate::error::{Error, Result, invalid};
use crate::{Monitor, Monitored, UncheckedGradient, collapse};
use rankle_core::{Dataset, Embedder, Embeddings, Gallery, Ranking, Role, Seed, Sets, Waiting, in_pieces, read_ahead};
use rankle_record::{ProbeDistances, Provenance, Record};
use std::sync::Arc;

/// Names of a subject in records and messages.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Data, model, weights, distance and training, as plans and records have them.
    pub subject: rankle_record::Subject,
    /// Name of the data in messages and pictures, which may be shown to others.
    pub shown: String,
    /// Preprocessing of photographs into the model's images; `None` for other images.
    pub preprocessing: Option<String>,
    /// SHA-256 of the weights, in hexadecimal.
    pub weights_sha256: String,
    /// Identity of a model that is not one file; `None` for one that is.
    pub probe_distances: Option<ProbeDistances>,
    /// The device of the model, as in `cpu`.
    pub device: String,
    /// The instruction set of the kernels, as in `avx512`.
    pub instruction_set: String,
    /// The version of the code.
    pub code_version: String,
}

/// An image search: a model, its queries and gallery, and their names, built together so that they cannot be mixed up.
pub struct Subject {
    /// Its names.
    pub identity: Identity,
    embedder: Monitored<'static>,
    images: Sets<Arc<dyn Dataset>>,
    monitor: Arc<dyn Monitor>,
}

/// A model, marked if no test proves its gradient.
pub struct Model {
    /// The model.
    pub embedder: Box<dyn Embedder>,
    /// True if the gradient is to be compared with difference quotients before its first use.
    pub unproven: bool,
}

impl Model {
    /// A model whose gradient no test proves.
    pub fn new(embedder: impl Embedder + 'static) -> Self {
        Self { embedder: Box::new(embedder), unproven: true }
    }
}

/// Number of images embedded at once, between two calls of the monitor; no result depends on it. A chunk has 32 MiB at most.
fn chunk(shape: (usize, usize, usize)) -> usize {
    let image = shape.0 * shape.1 * shape.2 * size_of::<f32>();
    ((32 << 20) / image.max(1)).clamp(1, 500)
}

impl Subject {
    /// Joins a model and its images; every pass of the model is reported to `monitor`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for images of another shape than the model takes, and errors of reading the first images.
    pub fn new(model: Model, images: Sets<Arc<dyn Dataset>>, identity: Identity, monitor: Arc<dyn Monitor>) -> Result<Self> {
        let Model { embedder, unproven } = model;
        let (shape, place) = (embedder.input().shape, embedder.place());
        if let Some(other) = images.iter().find(|set| set.shape() != shape) {
            let (name, own) = (other.name(), other.shape());
            return invalid(format!(
                "the model takes images of {shape:?} (channels, height, width), those of {name} are {own:?}"
            ));
        }
        let first: Vec<usize> = (0..images.gallery.len().min(UncheckedGradient::IMAGES)).collect();
        let unproven =
            if unproven { Some(UncheckedGradient::at(Some(place.to_device(&images.gallery.images(&first)?)?))) } else { None };
        let embedder = Monitored::new(embedder, monitor.clone()).unproven(unproven);
        Ok(Self { identity, embedder, images, monitor })
    }

    /// The model.
    pub fn embedder(&self) -> &Monitored<'static> {
        &self.embedder
    }

    /// The monitor of the model's passes.
    pub fn monitor(&self) -> &dyn Monitor {
        &*self.monitor
    }

    /// The images of a role.
    pub fn dataset(&self, role: Role) -> &dyn Dataset {
        &**self.images.of(role)
    }

    /// Both sets of images.
    pub fn datasets(&self) -> Sets<&dyn Dataset> {
        self.images.as_ref().map(|set| &**set)
    }

    /// Number of images in both sets.
    pub fn len(&self) -> usize {
        self.images.iter().map(|set| set.len()).sum()
    }

    /// True if there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of items in a list: the gallery, without the query if the query is a gallery item.
    pub fn list_len(&self) -> usize {
        self.images.gallery.len() - usize::from(self.images.is_one())
    }

    /// Number of broken images left out of the sets; `None` if there are none.
    pub fn left_out(&self) -> Option<usize> {
        Some(self.images.iter().map(|set| set.left_out()).sum()).filter(|&images| images > 0)
    }

    /// The weights, the method version, the code and the machine behind its numbers.
    pub fn provenance(&self, method_version: u32) -> Provenance {
        let Identity { weights_sha256, probe_distances, device, instruction_set, code_version, .. } = self.identity.clone();
        Provenance { weights_sha256, probe_distances, method_version, device, instruction_set, code_version }
    }

    /// Adds the gradient error to the record of an attack that followed the gradient of this model, if the check found it wrong.
    pub fn followed(&self, record: Record) -> Record {
        let followed = record.cell.spec.epsilon > 0.0;
        let gradient_error = self.embedder.gradient_error().filter(|_| followed).map(crate::percent);
        Record { gradient_error, ..record }
    }

    /// Indices of `count` images of a role, drawn by the seed.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are fewer images.
    pub fn sample(&self, role: Role, seed: Seed, count: usize) -> Result<Vec<usize>> {
        let set = self.dataset(role);
        let len = set.len();
        if count > len {
            let of = if self.images.is_one() { &*self.identity.shown } else { set.name() };
            return invalid(format!("{count} images are more than the {len} of {of}: choose at most {len}"));
        }
        Ok(rankle_attacks::sample_images(seed, len, count))
    }

    /// Embeds some images of a role.
    ///
    /// # Errors
    /// Errors of the model, or an interrupt by the monitor.
    pub fn embed(&self, role: Role, images: &[usize]) -> Result<Embeddings> {
        Ok(embed(&self.embedder, self.dataset(role), images)?.0)
    }

    /// Embeds all images of both sets for ranking; also returns how long the model waited for them.
    ///
    /// # Errors
    /// As [`Subject::embed`], and for an embedding that cannot be ranked.
    pub fn embed_all(&self) -> Result<(Sets<Box<dyn Ranking>>, Waiting)> {
        let embedded = embed_sets(&self.embedder, self.datasets());
        embedded.map_err(|error| Error::at(&self.identity.subject.weights)(error.into()))
    }
}

/// Data, model and distance in words, for messages and pictures, which may be shown to others.
impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Identity { subject, shown, .. } = &self.identity;
        write!(f, "{shown} ({}, {})", subject.model, subject.distance)
    }
}

/// A subject with its images embedded.
pub struct RankedSubject {
    subject: Subject,
    sets: Sets<Box<dyn Ranking>>,
}

impl RankedSubject {
    /// Embeds all images.
    ///
    /// # Errors
    /// As [`Subject::embed_all`].
    pub fn new(subject: Subject) -> Result<Self> {
        let (sets, _) = subject.embed_all()?;
        Ok(Self { subject, sets })
    }

    /// The model and the images.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Both sets, on the compute backend of searches.
    pub fn sets(&self) -> Sets<&dyn Ranking> {
        self.sets.as_ref().map(|set| &**set)
    }

    /// Both sets on the host, with exact ranks.
    pub fn exact(&self) -> Sets<&Gallery> {
        self.sets.as_ref().map(|set| set.exact())
    }
}

/// Embeds some images of a dataset, and returns how long the model waited for them: the next ones are loaded while it works.
/// Warns if the embeddings have collapsed.
///
/// # Errors
/// Errors of the model, and an embedding that cannot be ranked.
pub fn embed(embedder: &dyn Embedder, dataset: &dyn Dataset, images: &[usize]) -> rankle_core::Result<(Embeddings, Waiting)> {
    let (place, mut chunks, mut most) = (embedder.place(), Vec::new(), usize::MAX);
    let waiting = read_ahead(
        images.chunks(chunk(dataset.shape())),
        |chunk| dataset.images(chunk),
        |images| {
            in_pieces(images.dims()[0], &mut most, |piece| {
                chunks.push(embedder.embed(&place.to_device(&images.narrow(0, piece.start, piece.len())?)?)?);
                Ok(())
            })
        },
    )?;
    let embeddings = place.normalize(embedder.distance(), &candle_core::Tensor::cat(&chunks, 0)?)?;
    embeddings.check(images.len(), |row| dataset.describe(images[row]))?;
    collapse::warn_of_collapse(dataset.name(), &embeddings)?;
    Ok((embeddings, waiting))
}

/// Embeds all images of both sets, as [`embed`].
///
/// # Errors
/// As [`embed`].
pub fn embed_sets(embedder: &dyn Embedder, sets: Sets<&dyn Dataset>) -> rankle_core::Result<(Sets<Box<dyn Ranking>>, Waiting)> {
    let mut all = Waiting::default();
    let embedded = sets.try_map(|set| {
        let everything: Vec<usize> = (0..set.len()).collect();
        let (embeddings, waiting) = embed(embedder, set, &everything)?;
        all = Waiting { waited: all.waited + waiting.waited, total: all.total + waiting.total };
        embedder.place().ranking(&embeddings)
    })?;
    Ok((embedded, all))
}
