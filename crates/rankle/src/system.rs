//! An image search to attack or to measure: a dataset, a model, and all images embedded by it.

use crate::arguments::SystemArguments;
use crate::files::Input;
use crate::pass::Pass;
use crate::stop::Stop;
use crate::watched::{self, Unproven, Watched};
use crate::weights::Weights;
use crate::{card, collapse, device::Device, experiment};
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rankle_core::{Dataset, Distance, Embedder, Gallery, Points, Waiting, read_ahead};
use rankle_data::{Source, Split, Watch};
use rankle_models::{Architecture, Isa};
use rankle_record::{Provenance, Record, Subject};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What names a system. Two equal keys are one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) dataset: Source,
    pub(crate) dataset_dir: Option<PathBuf>,
    pub(crate) model: Architecture,
    pub(crate) weights: PathBuf,
    /// In front of the names of the tensors, where all have it.
    pub(crate) prefix: Option<String>,
    pub(crate) distance: Distance,
    /// How it was trained, where a card said so.
    pub(crate) loss: Option<String>,
    pub(crate) defense: Option<String>,
}

/// A model and the images it is asked about.
pub(crate) struct System {
    pub(crate) key: Key,
    pub(crate) dataset: Arc<dyn Dataset>,
    /// As [`Key::preprocessing`].
    pub(crate) preprocessing: Option<String>,
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
    /// # Errors
    /// As [`System::gallery`].
    pub(crate) fn new(system: System) -> Result<Self> {
        let (gallery, _) = system.gallery()?;
        Ok(Self { system, gallery })
    }
}

/// How many images are embedded at once, and between two looks at the interrupt: no result depends on it. Of large images
/// fewer, so that a chunk has 32 MiB at most.
fn chunk(shape: (usize, usize, usize)) -> usize {
    let image = shape.0 * shape.1 * shape.2 * size_of::<f32>();
    ((32 << 20) / image.max(1)).clamp(1, 500)
}

impl TryFrom<SystemArguments> for Key {
    type Error = anyhow::Error;
    fn try_from(arguments: SystemArguments) -> Result<Self> {
        let SystemArguments { dataset, dataset_dir, model, names } = arguments;
        model.model()?.key(dataset, dataset_dir, names.strip_prefix)
    }
}

/// The test images of several models: those that take the same ones share them, so that they are opened, and complained of, once.
#[derive(Default)]
pub(crate) struct TestImages(Vec<(Key, Arc<dyn Dataset>)>);

impl TestImages {
    fn of(&mut self, key: &Key) -> Result<Arc<dyn Dataset>> {
        let about = |key: &Key| (key.dataset.clone(), key.dataset_dir.clone(), key.model.input(), key.preprocessing().ok());
        if let Some((_, known)) = self.0.iter().find(|(known, _)| about(known) == about(key)) {
            return Ok(known.clone());
        }
        let dataset = open_test(&key.dataset, key.dataset_dir.as_deref(), key.model)?;
        self.0.push((key.clone(), dataset.clone()));
        Ok(dataset)
    }
}

impl Key {
    /// What opening the system reads.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let mut inputs = data_inputs(&self.dataset, self.dataset_dir.as_deref());
        inputs.push(Input::new("--weights", &self.weights));
        inputs
    }

    /// Whether another model can be shown the images that are made against this one.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments where it takes other images.
    pub(crate) fn check_beside(&self, other: &Self) -> Result<(), Stop> {
        let ((channels, height, width), (own_channels, own_height, own_width)) = (other.model.input(), self.model.input());
        if other.model.input() != self.model.input() {
            return Err(Stop::usage(format!(
                "{} takes images of {channels} x {height} x {width} numbers and {} of {own_channels} x {own_height} x {own_width}: what is made \
                 for one cannot be shown to the other; use the same size for both",
                other.model, self.model
            )));
        }
        let (its, own) = (other.preprocessing()?, self.preprocessing()?);
        if its != own {
            return Err(Stop::usage(format!(
                "{} is shown photographs by {} and {} by {}: what is made for one cannot be shown to the other; say resize, edge and \
                 filter in --dataset for both, as in folder,resize=shorter,edge=256,filter=bilinear:PATH",
                other.model,
                its.unwrap_or_default(),
                self.model,
                own.unwrap_or_default()
            )));
        }
        Ok(())
    }

    /// How photographs become the model's images, as records name it; none of other images.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments where they cannot.
    pub(crate) fn preprocessing(&self) -> Result<Option<String>, Stop> {
        preprocessing(&self.dataset, self.model)
    }
}

impl System {
    /// Loads the test images, to rank them, and the weights; warns as [`System::heed_card`] does. Every pass of the model counts
    /// into `bar`.
    ///
    /// # Errors
    /// When the device cannot be used, when data or weights cannot be read, or when they do not fit; as [`check_classes`].
    pub(crate) fn open(key: Key, device: Device, bar: ProgressBar) -> Result<Self> {
        Ok(Self::pair(key, None, device, bar)?.0)
    }

    /// Loads one split of the data, to embed it; else as [`System::open`].
    ///
    /// # Errors
    /// As [`System::open`], but for the last.
    pub(crate) fn of_split(key: Key, split: Split, device: Device, bar: ProgressBar) -> Result<Self> {
        let data = |key: &Key| open_data(&key.dataset, split, key.dataset_dir.as_deref(), key.model);
        let system = Self::with_data(key, None, device, bar, data)?;
        system.heed_card();
        Ok(system)
    }

    /// One of several models of test images, and says nothing of a card.
    ///
    /// # Errors
    /// As [`System::open`].
    pub(crate) fn among(key: Key, images: &mut TestImages, device: Device, bar: ProgressBar) -> Result<Self> {
        Self::with_data(key, None, device, bar, |key| images.of(key))
    }

    /// The same once more: a record carries the hash of the weights when they were opened first.
    ///
    /// # Errors
    /// As [`System::among`], and when the file holds other weights now.
    pub(crate) fn again(key: Key, sha256: &str, images: &mut TestImages, device: Device, bar: ProgressBar) -> Result<Self> {
        Self::with_data(key, Some(sha256), device, bar, |key| images.of(key))
    }

    /// Two models of the same test images; only the first where no other is named. Warns as [`System::open`] does.
    ///
    /// # Errors
    /// As [`Key::check_beside`] and [`System::open`].
    pub(crate) fn pair(key: Key, other: Option<Key>, device: Device, bar: ProgressBar) -> Result<(Self, Option<Self>)> {
        other.as_ref().map_or(Ok(()), |other| key.check_beside(other))?;
        let mut images = TestImages::default();
        let mut open = |key| {
            let system = Self::among(key, &mut images, device, bar.clone())?;
            system.heed_card();
            anyhow::Ok(system)
        };
        Ok((open(key)?, other.map(open).transpose()?))
    }

    /// Warns where a card beside the weights says that they are for another distance, or other photographs.
    pub(crate) fn heed_card(&self) {
        let used = (self.key.distance, self.preprocessing.as_deref());
        for warning in card::warnings(&self.key.weights, &self.weights_sha256, used) {
            tracing::warn!("{warning}");
        }
    }

    fn with_data(
        key: Key,
        sha256: Option<&str>,
        device: Device,
        bar: ProgressBar,
        data: impl FnOnce(&Key) -> Result<Arc<dyn Dataset>>,
    ) -> Result<Self> {
        device.check()?;
        let preprocessing = key.preprocessing()?;
        // The weights first: a wrong path is the more frequent mistake.
        let (embedder, weights_sha256) = {
            let Weights { path, tensors, sha256 } = Weights::read(&key.weights, key.prefix.as_deref())?.checked(sha256)?;
            (key.model.with_weights(&path, &tensors, key.distance)?, sha256)
        };
        let dataset = data(&key)?;
        let unproven = match key.model.has_kernels() {
            true => None,
            false => Unproven::at(Some(dataset.images(&(0..dataset.len().min(watched::MOST)).collect::<Vec<_>>())?)),
        };
        let embedder = Watched::new(embedder, bar).unproven(unproven);
        tracing::debug!("{} images of {}, weights {weights_sha256}", dataset.len(), key.dataset);
        Ok(Self { key, dataset, preprocessing, embedder, weights_sha256, device })
    }

    /// The record of an attack that followed the gradient of this system: it says where that was not one.
    pub(crate) fn followed(&self, record: Record) -> Record {
        let followed = record.cell.spec.epsilon > 0.0;
        let gradient_error = self.embedder.gradient_error().filter(|_| followed).map(experiment::percent);
        Record { gradient_error, ..record }
    }

    /// As a plan, a record and a card describe it; how it was trained only where a card said so.
    pub(crate) fn subject(&self) -> Subject {
        let Key { dataset, model, weights, distance, loss, defense, .. } = &self.key;
        Subject {
            dataset: dataset.to_string(),
            model: model.to_string(),
            weights: weights.display().to_string(),
            distance: distance.to_string(),
            loss: loss.clone(),
            defense: defense.clone(),
        }
    }

    /// What its numbers are computed with.
    pub(crate) fn provenance(&self, method_version: u32) -> Provenance {
        Provenance {
            weights_sha256: self.weights_sha256.clone(),
            method_version,
            device: self.device.to_string(),
            instruction_set: instruction_set(),
            code_version: CODE_VERSION.to_owned(),
        }
    }

    /// How many broken images were left out of the dataset, where any were.
    pub(crate) fn left_out(&self) -> Option<usize> {
        left_out(&*self.dataset)
    }

    /// Embeds some images.
    ///
    /// # Errors
    /// What the model reports, or an interrupt.
    pub(crate) fn embed(&self, images: &[usize]) -> Result<Points> {
        Ok(embed(&self.embedder, &*self.dataset, images)?.0)
    }

    /// All images, as the list that is ranked; and how long the model waited for them.
    ///
    /// # Errors
    /// As [`System::embed`].
    pub(crate) fn gallery(&self) -> Result<(Gallery, Waiting)> {
        let everything: Vec<usize> = (0..self.dataset.len()).collect();
        let (points, waiting) = embed(&self.embedder, &*self.dataset, &everything)?;
        let gallery = Gallery::new(&points).with_context(|| format!("{}", self.key.weights.display()))?;
        Ok((gallery, waiting))
    }
}

/// Embeds some images of a dataset; the next ones are loaded while the model works, and how long it waited all the same is told.
///
/// # Errors
/// What the model reports, or an interrupt.
pub(crate) fn embed(embedder: &dyn Embedder, dataset: &dyn Dataset, images: &[usize]) -> rankle_core::Result<(Points, Waiting)> {
    let mut chunks = Vec::new();
    let waiting = read_ahead(
        images.chunks(chunk(dataset.shape())),
        |chunk| dataset.images(chunk),
        |images| {
            chunks.push(embedder.embed(&images)?);
            Ok(())
        },
    )?;
    let points = embedder.distance().place(&candle_core::Tensor::cat(&chunks, 0)?)?;
    points.check(|row| dataset.describe(images[row]))?;
    collapse::warn_of_collapse(dataset.name(), &points);
    Ok((points, waiting))
}

/// How photographs become a model's images, as records name it; none of other images.
///
/// # Errors
/// [`Stop`] with the exit code for wrong arguments where they cannot.
pub(crate) fn preprocessing(dataset: &Source, model: Architecture) -> Result<Option<String>, Stop> {
    let preparation = dataset.preparation(&model.input_spec()).map_err(|error| Stop::usage(error.to_string()))?;
    Ok(preparation.map(|preparation| preparation.to_string()))
}

/// What opening a dataset reads that an output could be taken for.
pub(crate) fn data_inputs(name: &Source, folder: Option<&Path>) -> Vec<Input> {
    let photographs = name.photographs(folder).map(|place| Input::photographs("--dataset", place));
    photographs.into_iter().chain(name.list(folder).map(|list| Input::new("--dataset", list))).collect()
}

/// How many broken images were left out of a dataset, where any were.
pub(crate) fn left_out(dataset: &dyn Dataset) -> Option<usize> {
    Some(dataset.left_out()).filter(|&images| images > 0)
}

/// Opens a dataset whose images a model takes: photographs are brought to its size.
///
/// # Errors
/// When it cannot be read, when its images have another shape, or where a classifier does not know their classes.
pub(crate) fn open_data(name: &Source, split: Split, folder: Option<&Path>, model: Architecture) -> Result<Arc<dyn Dataset>> {
    let dataset = opened(|watch| name.open_watched(split, folder, &model.input_spec(), watch))?;
    check_fit(name, &*dataset, model)?;
    Ok(dataset)
}

/// Whether a model takes the images of a dataset.
///
/// # Errors
/// When they have another shape, or where a classifier does not know their classes.
pub(crate) fn check_fit(name: &Source, dataset: &dyn Dataset, model: Architecture) -> Result<()> {
    if dataset.shape() != model.input() {
        bail!("{model} takes images of {:?} (channels, height, width), those of {name} are {:?}", model.input(), dataset.shape());
    }
    check_labels(name, model, dataset.labels())
}

/// What `open` opens; where every photograph has to be decoded for that, it is shown how far that is.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn opened(open: impl FnOnce(Watch<'_>) -> rankle_data::Result<Arc<dyn Dataset>>) -> Result<Arc<dyn Dataset>> {
    let pass = Pass::default();
    open(&|done, of| pass.show(done, of)).map_err(|error| match error {
        rankle_data::Error::Interrupted => rankle_core::Error::Interrupted.into(),
        error if error.is_of_arguments() => Stop::usage(error.to_string()).into(),
        error => anyhow::Error::new(error),
    })
}

/// Opens the test images of a dataset, for a model to rank or to classify.
///
/// # Errors
/// As [`open_data`]; of a model that ranks, as [`check_classes`].
pub(crate) fn open_test(name: &Source, folder: Option<&Path>, model: Architecture) -> Result<Arc<dyn Dataset>> {
    let dataset = open_data(name, Split::Test, folder, model)?;
    if !model.is_classifier() {
        check_classes(name, dataset.labels())?;
    }
    Ok(dataset)
}

/// Whether a classifier knows all classes.
///
/// # Errors
/// Where there is a label beyond its logits.
fn check_labels(name: &Source, model: Architecture, labels: &[u32]) -> Result<()> {
    let classes = model.embedding_size();
    if let Some(label) = labels.iter().copied().max().filter(|&label| model.is_classifier() && label as usize >= classes) {
        bail!("{model} tells {classes} classes apart, counted from 0, and {name} has the label {label}: choose another --model");
    }
    Ok(())
}

/// Whether the test images are of more than one class: otherwise whatever is found is right.
///
/// # Errors
/// Where all are of one.
fn check_classes(name: &Source, labels: &[u32]) -> Result<()> {
    if labels.len() > 1 && labels.iter().all(|label| *label == labels[0]) {
        bail!(
            "all test images of {name} are of one class, so recall would be 100 % whatever the model: test several classes, as in \
             folder,images=50%:PATH or folder,test=all:PATH"
        );
    }
    Ok(())
}

/// Whether any test image has another one of its class to find, asked before the work is done: a recall of nothing is no number.
///
/// # Errors
/// Where none has.
pub(crate) fn check_pairs(name: &Source, labels: &[u32]) -> Result<()> {
    let mut seen = HashSet::new();
    if labels.iter().all(|label| seen.insert(label)) {
        bail!(
            "no class of {name} has two test images, so there is nothing to find: test more of each, as in folder,images=50%:PATH"
        );
    }
    Ok(())
}

/// The instruction set of the kernels, as records name it.
pub(crate) fn instruction_set() -> String {
    Isa::best().to_string()
}

/// The version of the code, as records name it.
pub(crate) const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");

#[cfg(test)]
mod tests {
    use super::*;

    /// What a record says of the weights is true of those that are used, whatever happens to the file between two cells.
    #[test]
    fn weights_that_are_replaced_while_a_command_runs_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        let write = |seed| {
            let model = Architecture::C2f2.initialise(Distance::Cosine, rankle_core::Seed(seed)).unwrap();
            rankle_models::weights::write(&weights, &model.parameters().unwrap()).unwrap();
        };
        let key = Key {
            dataset: "mnist".parse().unwrap(),
            dataset_dir: None,
            model: Architecture::C2f2,
            weights: weights.clone(),
            prefix: None,
            distance: Distance::Cosine,
            loss: None,
            defense: None,
        };
        let (mut images, bar) = (TestImages::default(), ProgressBar::hidden());
        write(1);
        let first = System::among(key.clone(), &mut images, Device::Cpu, bar.clone()).unwrap().weights_sha256;
        assert_eq!(first, crate::files::hash(&std::fs::read(&weights).unwrap()));
        let mut again = || System::again(key.clone(), &first, &mut images, Device::Cpu, bar.clone());
        assert_eq!(again().unwrap().weights_sha256, first);
        write(2);
        let message = again().err().unwrap().to_string();
        assert!(message.starts_with(weights.to_str().unwrap()) && message.contains(&first), "{message}");
        assert!(message.contains(" has changed while this command ran: ") && message.lines().count() == 1, "{message}");
        std::fs::write(&weights, "no weights").unwrap();
        assert!(again().err().unwrap().to_string().contains("is not a readable safetensors file"));
    }

    /// A model whose gradient is half of what it should be.
    struct Lying(Box<dyn Embedder>);

    impl Embedder for Lying {
        fn embed(&self, images: &candle_core::Tensor) -> rankle_core::Result<candle_core::Tensor> {
            self.0.embed(images)
        }
        fn distance(&self) -> Distance {
            self.0.distance()
        }
        fn input_gradient(
            &self,
            images: &candle_core::Tensor,
            upstream: &mut rankle_core::Upstream<'_>,
        ) -> rankle_core::Result<candle_core::Tensor> {
            Ok((self.0.input_gradient(images, upstream)? * 0.5)?)
        }
    }

    #[test]
    fn a_record_says_that_the_gradient_it_followed_was_none() {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("model.safetensors");
        let parameters = Architecture::C2f2.initialise(Distance::Cosine, rankle_core::Seed(1)).unwrap().parameters().unwrap();
        rankle_models::weights::write(&weights, &parameters).unwrap();
        let model = Architecture::C2f2.load(&weights, Distance::Cosine).unwrap();
        let key = Key {
            dataset: "mnist".parse().unwrap(),
            dataset_dir: None,
            model: Architecture::C2f2,
            weights,
            prefix: None,
            distance: Distance::Cosine,
            loss: None,
            defense: None,
        };
        let system = System::among(key, &mut TestImages::default(), Device::Cpu, ProgressBar::hidden()).unwrap();
        let lying = Watched::new(Box::new(Lying(model)), ProgressBar::hidden()).unproven(Unproven::at(None));
        let system = System { embedder: lying, ..system };
        let sample = |epsilon: f64| {
            let (subject, attack) = (rankle_record::sample::subject(), rankle_record::AttackId::CA_PLUS);
            system.followed(rankle_record::sample::record("mnist-ct", subject, attack, 1, epsilon, 2.0))
        };
        assert_eq!(sample(0.3).gradient_error, None, "nothing was followed yet");
        let images = system.dataset.images(&[9]).unwrap();
        system.embedder.input_gradient(&images, &mut |raw| Ok(raw.ones_like()?)).unwrap();
        let error = sample(0.3).gradient_error.unwrap();
        assert!((45.0..55.0).contains(&error), "{error}");
        assert!(sample(0.3).to_line().unwrap().contains("\"gradient_error\":"));
        assert_eq!(sample(0.0).gradient_error, None, "at radius 0 no gradient is followed");
    }

    #[test]
    fn a_recall_of_nothing_is_no_number() {
        let name = "folder,images=20%:shoes".parse().unwrap();
        assert!(check_pairs(&name, &[0, 1, 0]).is_ok());
        for labels in [&[0, 1, 2][..], &[7]] {
            let message = check_pairs(&name, labels).unwrap_err().to_string();
            assert!(message.starts_with("no class of folder,images=20%:shoes has two test images"), "{message}");
        }
        assert!(
            check_labels(&name, Architecture::C2f2, &[77]).is_ok() && check_labels(&name, Architecture::Softmax, &[9]).is_ok()
        );
        let message = check_labels(&name, Architecture::Softmax, &[3, 26, 1]).unwrap_err().to_string();
        assert!(
            message.starts_with("softmax tells 10 classes apart, counted from 0, and folder,images=20%:shoes has the label 26")
        );
        assert!(check_classes(&name, &[0, 0, 1]).is_ok() && check_classes(&name, &[7]).is_ok());
        let message = check_classes(&name, &[3, 3]).unwrap_err().to_string();
        assert!(message.contains("are of one class, so recall would be 100 % whatever the model: test several"), "{message}");
    }
}
