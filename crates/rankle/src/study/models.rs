//! Weights of the systems of an experiment: named by the plan, shipped, trained before, or trained now.

use super::{Session, checked, recipe, shown};
use crate::{files, hub};
use anyhow::{Context, Result, bail};
use rankle_report::System;
use std::path::{Path, PathBuf};

const MODEL: &str = "model.safetensors";
/// Training images of a defended model under `--quick`; an epoch with the defense costs almost twenty times an ordinary one.
const FEW_IMAGES: usize = 10_000;
/// Training images of a model of photographs under `--quick`.
const FEW_PHOTOGRAPHS: usize = 200;
/// Training images of MNIST and of Fashion-MNIST.
const ALL_IMAGES: usize = 60_000;

/// Folders of models and datasets.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Folders with a sub-folder per model, searched in this order and never written to.
    pub(crate) models: Vec<PathBuf>,
    /// Folder for trainings with the paper's recipe, shared by all experiments. Trainings of `--quick` are in a folder beside it.
    pub(crate) trained: PathBuf,
    /// Folder with a sub-folder per dataset.
    pub(crate) datasets: Option<PathBuf>,
}

/// Source of the weights that the plan does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Training {
    /// Shipped weights, else weights that any experiment trained before, else a new training.
    WhereMissing,
    /// A new training in the folder of the run, for every system; the number is added to the system's seed.
    Always(u64),
}

/// Location of the weights of a system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    /// A file that the plan names.
    Named,
    /// One of [`Places::models`].
    Shipped,
    /// [`Places::trained`].
    Trained,
    /// No file yet.
    Missing,
}

/// Length of a training that is shorter than the paper's recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shortened {
    pub(super) epochs: usize,
    /// Number of images, from the start of the training set.
    pub(super) images: usize,
}

/// A file of weights.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// Path in the form of records.
    pub(super) name: String,
    /// Caveat about a shortened training.
    pub(super) short: Option<String>,
    /// Caveat about an unexamined robustness.
    unchecked: Option<String>,
}

/// Weights of the systems of an experiment.
pub(super) struct Models(Vec<(System, Weights)>);

impl Weights {
    /// The caveat to show with the numbers; a shortened training takes precedence.
    pub(super) fn caveat(&self) -> Option<&str> {
        self.short.as_deref().or(self.unchecked.as_deref())
    }

    fn of(system: &System, file: &Path, short: Option<String>) -> Self {
        let unchecked = system.is_defended().then(|| checked::caveat(system, file)).flatten();
        Self { name: shown(file), short, unchecked }
    }
}

impl Places {
    /// Location of the weights of a system that the plan does not name.
    pub(super) fn place(&self, system: &System) -> Availability {
        match (self.shipped(system), is_finished(&self.trained(system))) {
            (Some(_), _) => Availability::Shipped,
            (None, true) => Availability::Trained,
            (None, false) => Availability::Missing,
        }
    }

    fn shipped(&self, system: &System) -> Option<PathBuf> {
        self.models.iter().map(|folder| folder.join(system.id()).join(MODEL)).find(|file| file.is_file())
    }

    /// Folder of a training with the paper's recipe.
    fn trained(&self, system: &System) -> PathBuf {
        self.trained.join(system.id())
    }

    /// Folder of a shortened training. Each recipe has its own, outside of the folders of whole trainings.
    fn quick(&self, system: &System, Shortened { epochs, images }: Shortened) -> PathBuf {
        let mut name = self.trained.file_name().unwrap_or_default().to_owned();
        name.push("-quick");
        self.trained.with_file_name(name).join(format!("{}-epochs-{epochs}-images-{images}", system.id()))
    }

    /// Folder that holds a published dataset; `None` for the default folder. A sub-folder with nothing but a manifest does not
    /// count. Datasets of the user are named by their path and need no folder.
    pub(super) fn data(&self, dataset: &str) -> Option<&Path> {
        // The text after a comma says how the dataset is read.
        let name = dataset.split(',').next().unwrap_or(dataset);
        let holds = |folder: &&Path| match std::fs::read_dir(folder.join(name)) {
            Ok(entries) => entries.filter_map(std::io::Result::ok).any(|entry| entry.file_name() != "manifest.toml"),
            // MNIST is built into the program; other datasets may lie in the folder itself.
            Err(_) => name != "mnist",
        };
        self.datasets.as_deref().filter(|folder| !dataset.contains(':') && holds(folder))
    }

    /// Folders of `cargo xtask reproduce`.
    #[cfg(test)]
    pub(super) fn of_the_repository() -> Self {
        let root = super::kept::root();
        Self { models: vec![root.join("models")], trained: root.join("target/models"), datasets: None }
    }
}

impl Shortened {
    /// Training of `--quick`: one epoch, on at most `at_most` images.
    pub(super) fn of(system: &System, at_most: Option<usize>) -> Self {
        let images = match (recipe::sees_photographs(system), system.is_defended()) {
            (true, _) => FEW_PHOTOGRAPHS,
            (false, true) => FEW_IMAGES,
            (false, false) => ALL_IMAGES,
        };
        Self { epochs: 1, images: at_most.map_or(images, |most| most.min(images)) }
    }

    /// Arguments for `rankle train`.
    fn arguments(self) -> [String; 2] {
        [format!("--epochs={}", self.epochs), format!("--images={}", self.images)]
    }

    fn caveat(self) -> String {
        let Self { epochs, images } = self;
        let plural = if epochs == 1 { "" } else { "s" };
        format!(
            "quick model, trained for {epochs} epoch{plural} on {images} images, not with the paper's recipe: its numbers are no results"
        )
    }
}

impl Models {
    /// Weights of each system; missing ones are trained.
    pub(super) fn get(session: &Session<'_>, systems: &[System]) -> Result<Self> {
        let weights = |system: &System| Ok((system.clone(), weights(session, system)?));
        Ok(Self(systems.iter().map(weights).collect::<Result<_>>()?))
    }

    /// Weights of one system.
    ///
    /// # Errors
    /// When [`Models::get`] was not asked for this system.
    pub(super) fn of(&self, system: &System) -> Result<&Weights> {
        let found = self.0.iter().find(|(known, _)| known == system);
        found.map(|(_, weights)| weights).with_context(|| format!("nobody asked for the weights of {}", system.id()))
    }

    /// File of the weights of one system.
    ///
    /// # Errors
    /// As [`Models::of`].
    pub(super) fn name(&self, system: &System) -> Result<String> {
        Ok(self.of(system)?.name.clone())
    }
}

/// True if a training has ended in this folder; an unfinished one leaves only checkpoints.
fn is_finished(folder: &Path) -> bool {
    folder.join(MODEL).is_file() && folder.join("card.toml").is_file()
}

fn weights(session: &Session<'_>, system: &System) -> Result<Weights> {
    let places = session.places;
    if let Some((_, file)) = session.experiment.weights.iter().find(|(known, _)| known == system) {
        let named = Path::new(file);
        if !hub::local(named)?.is_file() {
            let plan = &session.experiment.name;
            bail!("the plan {plan} names {file} as the weights of {}, and there is no such file here", system.id());
        }
        return Ok(Weights { name: file.clone(), ..Weights::of(system, named, None) });
    }
    let place = places.place(system);
    let seeded = match session.training {
        Training::Always(seed) => system.clone().seeded(system.seed.wrapping_add(seed)),
        Training::WhereMissing => system.clone(),
    };
    let (folder, short) = match (session.training, places.shipped(system)) {
        (Training::Always(_), _) => (session.output.join("models").join(seeded.id()), None),
        (Training::WhereMissing, Some(file)) => return Ok(Weights::of(system, &file, None)),
        (Training::WhereMissing, None) if session.scope.quick && place == Availability::Missing => {
            let short = Shortened::of(system, session.training_images);
            (places.quick(system, short), Some(short))
        }
        (Training::WhereMissing, None) => (places.trained(system), None),
    };
    let file = folder.join(MODEL);
    if !file.exists() {
        let how = short.map_or("with the paper's recipe", |_| "for a moment only");
        tracing::info!("{}: training it {how}, in {}", seeded.id(), shown(&folder));
    }
    // A finished training is only checked: a folder with another training than this one is refused.
    session.train(&seeded, &short.map_or(Vec::new(), |short| short.arguments().into()), &folder)?;
    if matches!(session.training, Training::Always(_)) {
        tracing::info!("{}", compared(&file, seeded.seed, system.seed, places.shipped(system).as_deref()));
    }
    Ok(Weights::of(system, &file, short.map(Shortened::caveat)))
}

/// Comparison of new weights with the shipped ones, in words.
fn compared(file: &Path, seed: u64, usual: u64, shipped: Option<&Path>) -> String {
    let place = shown(file);
    if seed != usual {
        return format!("{place} was trained with seed {seed}, the usual weights with seed {usual}");
    }
    let Some(shipped) = shipped else { return format!("{place} cannot be compared: no such weights are shipped") };
    let hash = |file| rankle_files::read(file).map(|bytes| files::hash(&bytes));
    match (hash(file), hash(shipped)) {
        (Ok(new), Ok(old)) if new == old => format!("{place} is bit-equal to the shipped weights"),
        (Ok(_), Ok(_)) => format!(
            "{place} is NOT bit-equal to the shipped weights: expected where their card.toml names another instruction set or other epochs"
        ),
        (Err(error), _) | (_, Err(error)) => format!("{place} cannot be compared with the shipped weights: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> System {
        System::plain("mnist", "c2f2", "cosine", "triplet")
    }

    #[test]
    fn a_quick_model_never_lies_where_a_real_one_is_looked_for() {
        let places = Places::of_the_repository();
        for system in [plain(), plain().defended()] {
            let short = Shortened::of(&system, None);
            let quick = places.quick(&system, short);
            for real in [places.trained(&system), places.models[0].join(system.id())] {
                assert!(!quick.starts_with(&real) && !real.starts_with(&quick));
            }
            let other = Shortened { images: 5, ..short };
            assert_ne!(quick, places.quick(&system, other), "each recipe has a folder of its own");
            assert!(short.caveat().contains("not with the paper's recipe"));
        }
        assert_eq!(Shortened::of(&plain().defended(), None).arguments().join(" "), "--epochs=1 --images=10000");
        assert_eq!(Shortened::of(&plain().defended(), Some(20_000)).images, 10_000);
        assert!(Shortened::of(&plain(), Some(200)).caveat().contains("for 1 epoch on 200 images"));
        let folder = places.quick(&plain(), Shortened::of(&plain(), None));
        assert!(folder.ends_with("target/models-quick/mnist-c2f2-cosine-triplet-epochs-1-images-60000"));
    }

    #[test]
    fn models_are_found_in_the_first_folder_that_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second, trained] = ["first", "second", "trained"].map(|name| folder.path().join(name));
        let places = Places { models: vec![first.clone(), second.clone()], trained: trained.clone(), datasets: None };
        let put = |place: &Path, files: &[&str]| {
            std::fs::create_dir_all(place.join(plain().id())).unwrap();
            files.iter().for_each(|file| std::fs::write(place.join(plain().id()).join(file), "").unwrap());
        };
        assert_eq!(places.place(&plain()), Availability::Missing);
        put(&trained, &[MODEL]);
        assert_eq!(places.place(&plain()), Availability::Missing, "a training that has not ended leaves no card");
        put(&trained, &["card.toml"]);
        assert_eq!(places.place(&plain()), Availability::Trained);
        put(&second, &[MODEL]);
        assert_eq!(
            (places.place(&plain()), places.shipped(&plain()).unwrap().starts_with(&second)),
            (Availability::Shipped, true)
        );
        put(&first, &[MODEL]);
        assert!(places.shipped(&plain()).unwrap().starts_with(&first));
        assert_eq!(Places::of_the_repository().place(&plain()), Availability::Shipped);
        assert_eq!(Weights::of(&plain(), Path::new("./models/x/model.safetensors"), None).name, "models/x/model.safetensors");
    }

    #[test]
    fn data_are_looked_for_where_more_than_a_manifest_is() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places { datasets: Some(folder.path().to_owned()), ..Places::of_the_repository() };
        std::fs::create_dir(folder.path().join("sop")).unwrap();
        std::fs::write(folder.path().join("sop/manifest.toml"), "").unwrap();
        assert_eq!(places.data("sop"), None);
        std::fs::write(folder.path().join("sop/Ebay_test.txt"), "").unwrap();
        assert_eq!((places.data("sop"), places.data("sop,resize=square")), (Some(folder.path()), Some(folder.path())));
        assert_eq!((places.data("cub"), Places::of_the_repository().data("sop")), (Some(folder.path()), None));
        assert_eq!((places.data("mnist"), places.data("folder:sop")), (None, None), "in the program, and at its path");
        std::fs::rename(folder.path().join("sop"), folder.path().join("mnist")).unwrap();
        assert_eq!(places.data("mnist"), Some(folder.path()));
    }

    #[test]
    fn new_weights_are_compared_with_the_shipped_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let (new, same, other) = (file("new", "1"), file("same", "1"), file("other", "2"));
        assert!(compared(&new, 0, 0, Some(&same)).ends_with("is bit-equal to the shipped weights"));
        assert!(compared(&new, 0, 0, Some(&other)).contains("is NOT bit-equal"));
        assert!(compared(&new, 3, 0, Some(&same)).contains("was trained with seed 3"));
        assert!(compared(&new, 0, 0, None).contains("no such weights are shipped"));
    }
}
