//! An image search to attack or to measure: a dataset, a model, and all images embedded by it.

use crate::arguments::{SubjectArguments, SystemArguments};
use crate::files::Input;
use crate::pass::Pass;
use crate::stop::Stop;
use crate::watched::{self, Unproven, Watched};
use crate::weights::Weights;
use crate::{card, collapse, device::Device, experiment};
use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use rankle_core::{Dataset, Distance, Embedder, Embeddings, Gallery, Ranking, Role, Sets, Waiting, read_ahead};
use rankle_data::{Source, Split, Watch, with_classes_of};
use rankle_models::{Architecture, Isa};
use rankle_record::{Provenance, Record, Subject};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The images of a system by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    /// Its test images ask, and are ranked, where nothing else is named.
    pub(crate) dataset: Source,
    /// Another dataset whose test images ask.
    pub(crate) queries: Option<Source>,
    /// Another dataset that is ranked.
    pub(crate) gallery: Option<Source>,
    /// The folder with their files.
    pub(crate) dir: Option<PathBuf>,
}

impl Data {
    /// One dataset for everything.
    pub(crate) fn one(dataset: Source, dir: Option<PathBuf>) -> Self {
        Self { dataset, queries: None, gallery: None, dir }
    }

    /// What is opened: one set where queries and gallery are the same images.
    pub(crate) fn sets(&self) -> Sets<(&Source, Split)> {
        let [queries, gallery] = [&self.queries, &self.gallery].map(|other| other.as_ref().unwrap_or(&self.dataset));
        let queries = (queries != gallery || gallery.has_gallery()).then_some((queries, Split::Test));
        Sets { gallery: (gallery, Split::Gallery), queries }
    }

    /// As messages and pictures say it, which may go to others.
    pub(crate) fn portable(&self) -> String {
        let other = |what: &str, other: &Option<Source>| {
            other.as_ref().map_or_else(String::new, |other| format!(", {what} {}", other.portable()))
        };
        format!("{}{}{}", self.dataset.portable(), other("queries", &self.queries), other("gallery", &self.gallery))
    }
}

/// What names a system. Two equal keys are one system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) data: Data,
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
    pub(crate) images: Sets<Arc<dyn Dataset>>,
    /// As [`Key::preprocessing`].
    pub(crate) preprocessing: Option<String>,
    pub(crate) embedder: Watched<'static>,
    pub(crate) weights_sha256: String,
    pub(crate) device: Device,
}

/// A system with its images embedded.
pub(crate) struct Ranked {
    pub(crate) system: System,
    pub(crate) embedded: Sets<Box<dyn Ranking>>,
}

impl Ranked {
    /// # Errors
    /// As [`System::embedded`].
    pub(crate) fn new(system: System) -> Result<Self> {
        let (embedded, _) = system.embedded()?;
        Ok(Self { system, embedded })
    }

    /// Both sets, where searches are computed.
    pub(crate) fn sets(&self) -> Sets<&dyn Ranking> {
        self.embedded.as_ref().map(|set| &**set)
    }

    /// Both sets, with exact ranks.
    pub(crate) fn exact(&self) -> Sets<&Gallery> {
        self.embedded.as_ref().map(|set| set.exact())
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
        model.model()?.key(Data::one(dataset, dataset_dir), names.strip_prefix)
    }
}

impl TryFrom<SubjectArguments> for Key {
    type Error = anyhow::Error;
    fn try_from(arguments: SubjectArguments) -> Result<Self> {
        let SubjectArguments { system: SystemArguments { dataset, dataset_dir, model, names }, sets } = arguments;
        model.model()?.key(sets.of(dataset, dataset_dir), names.strip_prefix)
    }
}

/// The test images of several models: those that take the same ones share them, so that they are opened, and complained of, once.
#[derive(Default)]
pub(crate) struct TestImages(Vec<(Key, Sets<Arc<dyn Dataset>>)>);

impl TestImages {
    fn of(&mut self, key: &Key) -> Result<Sets<Arc<dyn Dataset>>> {
        let about = |key: &Key| (key.data.clone(), key.model.input(), key.preprocessing().ok());
        if let Some((_, known)) = self.0.iter().find(|(known, _)| about(known) == about(key)) {
            return Ok(known.clone());
        }
        let images = open_sets(&key.data, key.model)?;
        self.0.push((key.clone(), images.clone()));
        Ok(images)
    }
}

impl Key {
    /// What opening the system reads.
    pub(crate) fn inputs(&self) -> Vec<Input> {
        let Data { dataset, queries, gallery, dir } = &self.data;
        let named = [("--dataset", Some(dataset)), ("--queries", queries.as_ref()), ("--gallery", gallery.as_ref())];
        let named = named.into_iter().filter_map(|(option, name)| Some((option, name?)));
        let mut inputs: Vec<Input> = named.flat_map(|(option, name)| data_inputs(option, name, dir.as_deref())).collect();
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
    /// [`Stop`] with the exit code for wrong arguments where they cannot, or where queries and gallery are not prepared alike.
    pub(crate) fn preprocessing(&self) -> Result<Option<String>, Stop> {
        let of = |(name, _): (&Source, Split)| preprocessing(name, self.model);
        let sets = self.data.sets();
        let (gallery, queries) = (of(sets.gallery)?, of(*sets.queries())?);
        if gallery != queries {
            let words = |said: Option<String>| said.unwrap_or_else(|| "are no photographs".to_owned());
            return Err(Stop::usage(format!(
                "the gallery and the queries are not prepared alike: {} and {}; say resize, edge and filter in both names",
                words(gallery),
                words(queries)
            )));
        }
        Ok(gallery)
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
        let data = |key: &Key| {
            let Data { dataset, dir, .. } = &key.data;
            open_data(dataset, split, dir.as_deref(), key.model).map(Sets::one)
        };
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
        data: impl FnOnce(&Key) -> Result<Sets<Arc<dyn Dataset>>>,
    ) -> Result<Self> {
        device.check()?;
        let preprocessing = key.preprocessing()?;
        // The weights first: a wrong path is the more frequent mistake.
        let (embedder, weights_sha256) = {
            let Weights { path, tensors, sha256 } = Weights::read(&key.weights, key.prefix.as_deref())?.checked(sha256)?;
            (key.model.with_weights(&path, &tensors, key.distance)?, sha256)
        };
        let images = data(&key)?;
        let gallery = &images.gallery;
        let unproven = match key.model.has_kernels() {
            true => None,
            false => Unproven::at(Some(gallery.images(&(0..gallery.len().min(watched::MOST)).collect::<Vec<_>>())?)),
        };
        let embedder = Watched::new(embedder, bar).unproven(unproven);
        for set in images.iter() {
            tracing::debug!("{} images of {}, weights {weights_sha256}", set.len(), set.name());
        }
        Ok(Self { key, images, preprocessing, embedder, weights_sha256, device })
    }

    /// The record of an attack that followed the gradient of this system: it says where that was not one.
    pub(crate) fn followed(&self, record: Record) -> Record {
        let followed = record.cell.spec.epsilon > 0.0;
        let gradient_error = self.embedder.gradient_error().filter(|_| followed).map(experiment::percent);
        Record { gradient_error, ..record }
    }

    /// As a plan, a record and a card describe it; how it was trained only where a card said so.
    pub(crate) fn subject(&self) -> Subject {
        let Key { data: Data { dataset, queries, gallery, .. }, model, weights, distance, loss, defense, .. } = &self.key;
        let other = |other: &Option<Source>| other.as_ref().filter(|other| *other != dataset).map(Source::to_string);
        Subject {
            dataset: dataset.to_string(),
            query_dataset: other(queries),
            gallery_dataset: other(gallery),
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

    /// How many broken images were left out of the sets, where any were.
    pub(crate) fn left_out(&self) -> Option<usize> {
        Some(self.images.iter().map(|set| set.left_out()).sum()).filter(|&images| images > 0)
    }

    /// The images in a role.
    pub(crate) fn dataset(&self, role: Role) -> &dyn Dataset {
        &**self.images.of(role)
    }

    /// Both sets.
    pub(crate) fn datasets(&self) -> Sets<&dyn Dataset> {
        self.images.as_ref().map(|set| &**set)
    }

    /// How many images there are in both sets.
    pub(crate) fn len(&self) -> usize {
        self.images.iter().map(|set| set.len()).sum()
    }

    /// Embeds some images of a role.
    ///
    /// # Errors
    /// What the model reports, or an interrupt.
    pub(crate) fn embed(&self, role: Role, images: &[usize]) -> Result<Embeddings> {
        Ok(embed(&self.embedder, self.dataset(role), images)?.0)
    }

    /// All images of both sets; and how long the model waited for them.
    ///
    /// # Errors
    /// As [`System::embed`].
    pub(crate) fn embedded(&self) -> Result<(Sets<Box<dyn Ranking>>, Waiting)> {
        embed_sets(&self.embedder, self.datasets()).with_context(|| format!("{}", self.key.weights.display()))
    }
}

/// Embeds some images of a dataset; the next ones are loaded while the model works, and how long it waited all the same is told.
///
/// # Errors
/// What the model reports, or an interrupt.
pub(crate) fn embed(
    embedder: &dyn Embedder,
    dataset: &dyn Dataset,
    images: &[usize],
) -> rankle_core::Result<(Embeddings, Waiting)> {
    let mut chunks = Vec::new();
    let waiting = read_ahead(
        images.chunks(chunk(dataset.shape())),
        |chunk| dataset.images(chunk),
        |images| {
            chunks.push(embedder.embed(&images)?);
            Ok(())
        },
    )?;
    let points = embedder.distance().normalize(&candle_core::Tensor::cat(&chunks, 0)?)?;
    points.check(|row| dataset.describe(images[row]))?;
    collapse::warn_of_collapse(dataset.name(), &points)?;
    Ok((points, waiting))
}

/// Embeds all images of both sets; as [`embed`].
///
/// # Errors
/// As [`embed`], and where an embedding cannot be ranked.
pub(crate) fn embed_sets(
    embedder: &dyn Embedder,
    sets: Sets<&dyn Dataset>,
) -> rankle_core::Result<(Sets<Box<dyn Ranking>>, Waiting)> {
    let mut all = Waiting::default();
    let embedded = sets.try_map(|set| {
        let everything: Vec<usize> = (0..set.len()).collect();
        let (points, waiting) = embed(embedder, set, &everything)?;
        all = Waiting { waited: all.waited + waiting.waited, total: all.total + waiting.total };
        points.place().ranking(&points)
    })?;
    Ok((embedded, all))
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
pub(crate) fn data_inputs(option: &'static str, name: &Source, folder: Option<&Path>) -> Vec<Input> {
    let photographs = name.photographs(folder).map(|place| Input::photographs(option, place));
    photographs.into_iter().chain(name.list(folder).map(|list| Input::new(option, list))).collect()
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

/// Opens the images of a search, for a model to rank, or those that it is to classify. Queries have the labels of the gallery's classes.
///
/// # Errors
/// As [`open_data`]; of a model that ranks, as [`check_classes`]; where it cannot be told which classes are the same.
pub(crate) fn open_sets(data: &Data, model: Architecture) -> Result<Sets<Arc<dyn Dataset>>> {
    let sets = data.sets();
    let images = sets.try_map(|(name, split)| open_data(name, split, data.dir.as_deref(), model))?;
    if !model.is_classifier() {
        check_classes(sets.gallery.0, images.gallery.labels())?;
    }
    let queries = images.queries.map(|queries| with_classes_of(queries, &*images.gallery)).transpose()?;
    Ok(Sets { queries, gallery: images.gallery })
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

/// Whether the gallery is of more than one class: otherwise whatever is found is right.
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

/// Whether any query has another image of its class to find, asked before the work is done: a recall of nothing is no number.
///
/// # Errors
/// Where none has.
pub(crate) fn check_pairs(data: &Data, labels: Sets<&[u32]>) -> Result<()> {
    let mut seen = HashSet::new();
    let none = match labels.queries {
        None => labels.gallery.iter().all(|label| seen.insert(label)),
        Some(queries) => {
            seen.extend(labels.gallery);
            !queries.iter().any(|label| seen.contains(label))
        }
    };
    match labels.queries {
        _ if !none => Ok(()),
        None => bail!(
            "no class of {} has two test images, so there is nothing to find: test more of each, as in folder,images=50%:PATH",
            data.portable()
        ),
        Some(_) => bail!("no class of the queries is in the gallery, so there is nothing to find: {}", data.portable()),
    }
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
    use rankle_core::{Differentiable, InputSpec};

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
            data: Data::one("mnist".parse().unwrap(), None),
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
        fn input(&self) -> InputSpec {
            self.0.input()
        }
        fn differentiable(&self) -> Option<&dyn Differentiable> {
            Some(self)
        }
    }

    impl Differentiable for Lying {
        fn input_gradient(
            &self,
            images: &candle_core::Tensor,
            upstream: &mut rankle_core::Upstream<'_>,
        ) -> rankle_core::Result<candle_core::Tensor> {
            Ok((self.0.white_box()?.input_gradient(images, upstream)? * 0.5)?)
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
            data: Data::one("mnist".parse().unwrap(), None),
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
        let images = system.dataset(Role::Query).images(&[9]).unwrap();
        system.embedder.input_gradient(&images, &mut |raw| Ok(raw.ones_like()?)).unwrap();
        let error = sample(0.3).gradient_error.unwrap();
        assert!((45.0..55.0).contains(&error), "{error}");
        assert!(sample(0.3).to_line().unwrap().contains("\"gradient_error\":"));
        assert_eq!(sample(0.0).gradient_error, None, "at radius 0 no gradient is followed");
    }

    #[test]
    fn queries_and_gallery_are_one_set_where_they_are_the_same_images() {
        let source = |name: &str| -> Source { name.parse().unwrap() };
        let data = |dataset: &str, queries: Option<&str>, gallery: Option<&str>| Data {
            dataset: source(dataset),
            queries: queries.map(source),
            gallery: gallery.map(source),
            dir: None,
        };
        let named = |data: &Data| data.sets().map(|(name, split)| format!("{name} {split}"));
        let one = |data: &Data| (data.sets().is_one(), named(data).gallery);
        assert_eq!(one(&data("mnist", None, None)), (true, "mnist gallery".to_owned()));
        assert_eq!(one(&data("mnist", Some("mnist"), None)), (true, "mnist gallery".to_owned()));
        assert_eq!(one(&data("mnist", Some("folder:a"), Some("folder:a"))), (true, "folder:a gallery".to_owned()));
        let two = |data: &Data| (named(data).gallery, named(data).queries.unwrap());
        assert_eq!(two(&data("mnist", Some("idx:b"), None)), ("mnist gallery".to_owned(), "idx:b test".to_owned()));
        assert_eq!(two(&data("mnist", None, Some("idx:b"))), ("idx:b gallery".to_owned(), "mnist test".to_owned()));
        assert_eq!(two(&data("inshop", None, None)), ("inshop gallery".to_owned(), "inshop test".to_owned()));
        assert_eq!(data("mnist", Some("idx:b"), Some("folder:a")).portable(), "mnist, queries idx:b, gallery folder:a");
    }

    #[test]
    fn a_recall_of_nothing_is_no_number() {
        let name: Source = "folder,images=20%:shoes".parse().unwrap();
        let data = Data::one(name.clone(), None);
        assert!(check_pairs(&data, Sets::one(&[0, 1, 0])).is_ok());
        for labels in [&[0, 1, 2][..], &[7]] {
            let message = check_pairs(&data, Sets::one(labels)).unwrap_err().to_string();
            assert!(message.starts_with("no class of folder,images=20%:shoes has two test images"), "{message}");
        }
        // Of two sets one of each is enough.
        assert!(check_pairs(&data, Sets { gallery: &[0, 1, 2], queries: Some(&[3, 2]) }).is_ok());
        let message = check_pairs(&data, Sets { gallery: &[0, 0], queries: Some(&[3, 3]) }).unwrap_err().to_string();
        assert!(message.starts_with("no class of the queries is in the gallery"), "{message}");
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
