//! Where the weights of a system are: shipped, trained before, or trained now.

use super::Session;
use super::checked;
use crate::files;
use anyhow::{Context, Result};
use rankle_cli::say;
use rankle_report::System;
use std::path::{Path, PathBuf};

const MODEL: &str = "model.safetensors";
/// A defended model sees so many images when there is little time: its training costs almost twenty times an ordinary one's.
const FEW_IMAGES: usize = 10_000;
/// A model of photographs sees so many.
const FEW_PHOTOGRAPHS: usize = 200;
/// The training images of MNIST and Fashion-MNIST.
const ALL_IMAGES: usize = 60_000;

/// Where weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Training {
    /// Shipped ones where there are any, else those that any experiment trained before under `target/models`, else they are
    /// trained now.
    WhereMissing,
    /// All are trained into the folder of the run, with seeds so much higher than the usual ones.
    Always(u64),
}

/// Where the weights of a system are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the repository.
    Shipped,
    /// Trained before, with the paper's recipe.
    Trained,
    /// Nowhere yet.
    Missing,
}

/// How long to train, where that is not what the paper did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortened {
    pub(crate) epochs: usize,
    /// The first ones of the training set.
    pub(crate) images: usize,
}

/// Weights on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Weights {
    /// The file as seen from where the driver works.
    pub(crate) name: String,
    /// What has to be said of a training that was cut short.
    pub(crate) short: Option<String>,
    /// What has to be said of a robustness that nobody looked into.
    unchecked: Option<String>,
}

/// The weights of the systems of an experiment.
pub(crate) struct Models(Vec<(System, Weights)>);

impl Weights {
    /// What has to be said wherever their numbers stand: the worse of the two.
    pub(crate) fn caveat(&self) -> Option<&str> {
        self.short.as_deref().or(self.unchecked.as_deref())
    }
}

impl Place {
    /// Looks for the weights of a system.
    pub(crate) fn of(system: &System) -> Self {
        match (shipped(system).is_file(), is_finished(&trained(system))) {
            (true, _) => Self::Shipped,
            (false, true) => Self::Trained,
            (false, false) => Self::Missing,
        }
    }
}

impl Shortened {
    /// The training of `--quick`: one epoch, on `at_most` so many images.
    pub(crate) fn of(system: &System, at_most: Option<usize>) -> Self {
        let images = match (system.sees_photographs(), system.is_hardened()) {
            (true, _) => FEW_PHOTOGRAPHS,
            (false, true) => FEW_IMAGES,
            (false, false) => ALL_IMAGES,
        };
        Self { epochs: 1, images: at_most.map_or(images, |most| most.min(images)) }
    }

    /// The arguments of `rankle train`.
    fn arguments(self) -> [String; 4] {
        ["--epochs".to_owned(), self.epochs.to_string(), "--images".to_owned(), self.images.to_string()]
    }

    /// Every shortened recipe has a folder of its own, and none is that of a whole training.
    fn folder(self, system: &System) -> PathBuf {
        let Self { epochs, images } = self;
        files::root().join("target/models-quick").join(format!("{}-epochs-{epochs}-images-{images}", system.id()))
    }

    fn caveat(self) -> String {
        let Self { epochs, images } = self;
        let plural = if epochs == 1 { "" } else { "s" };
        format!(
            "quick model, trained for {epochs} epoch{plural} on {images} images, not with the paper's recipe: its numbers show \
             that everything runs and nothing else"
        )
    }
}

impl Models {
    /// The weights of each system; what is missing is trained.
    pub(super) fn get(session: &Session<'_>, systems: &[System]) -> Result<Self> {
        let weights = |system: &System| Ok((system.clone(), weights(session, system)?));
        Ok(Self(systems.iter().map(weights).collect::<Result<_>>()?))
    }

    /// Those of one system.
    ///
    /// # Errors
    /// When they were not asked for.
    pub(crate) fn of(&self, system: &System) -> Result<&Weights> {
        let found = self.0.iter().find(|(known, _)| known == system);
        found.map(|(_, weights)| weights).with_context(|| format!("nobody asked for the weights of {}", system.id()))
    }
}

fn shipped(system: &System) -> PathBuf {
    files::root().join("models").join(system.id()).join(MODEL)
}

/// The folder of a training with the paper's recipe, shared by all experiments.
fn trained(system: &System) -> PathBuf {
    files::root().join("target/models").join(system.id())
}

/// Whether a training has ended there; an unfinished one leaves only checkpoints.
fn is_finished(folder: &Path) -> bool {
    folder.join(MODEL).is_file() && folder.join("card.toml").is_file()
}

fn weights(session: &Session<'_>, system: &System) -> Result<Weights> {
    let place = Place::of(system);
    let seeded = match session.training {
        Training::Always(seed) => system.clone().seeded(system.seed.wrapping_add(seed)),
        Training::WhereMissing => system.clone(),
    };
    let (folder, short) = match session.training {
        Training::Always(_) => (session.output.join("models").join(seeded.id()), None),
        Training::WhereMissing if place == Place::Shipped => return Ok(found(session, system, &shipped(system), None)),
        Training::WhereMissing if session.scope.quick && place == Place::Missing => {
            let short = Shortened::of(system, session.training_images);
            (short.folder(system), Some(short))
        }
        Training::WhereMissing => (trained(system), None),
    };
    let (file, shown) = (folder.join(MODEL), files::shown(&folder));
    if !file.exists() {
        say(format_args!(
            "{}: training it {}, in {shown}",
            seeded.id(),
            short.map_or("with the paper's recipe", |_| "for a moment only")
        ));
    }
    // Finished ones are only checked: the driver refuses a folder that holds another training than the one asked for.
    let further = short.map_or(Vec::new(), |short| short.arguments().into());
    session.driver.train(&seeded, &further, &session.base, &folder, session.threads)?;
    if matches!(session.training, Training::Always(_)) {
        say(compared(&file, seeded.seed, system.seed, &shipped(system)));
    }
    Ok(found(session, system, &file, short.map(Shortened::caveat)))
}

fn found(session: &Session<'_>, system: &System, file: &Path, short: Option<String>) -> Weights {
    let unchecked = system.is_hardened().then(|| checked::caveat(system, file)).flatten();
    Weights { name: files::relative(file, &session.base), short, unchecked }
}

/// Whether new weights are the shipped ones, in words.
fn compared(file: &Path, seed: u64, usual: u64, shipped: &Path) -> String {
    let place = files::shown(file);
    if seed != usual {
        return format!("{place} was trained with seed {seed}, the usual weights with seed {usual}");
    }
    match (files::sha256(file), files::sha256(shipped)) {
        (Ok(new), Ok(old)) if new == old => format!("{place} is bit-equal to the shipped weights"),
        (Ok(_), Ok(_)) => format!(
            "{place} is NOT bit-equal to the shipped weights: expected where their card.toml names another instruction set or other epochs"
        ),
        (_, Err(_)) if !shipped.exists() => format!("{place} cannot be compared: no such weights are shipped"),
        (Err(error), _) | (_, Err(error)) => format!("{place} cannot be compared with the shipped weights: {error:#}"),
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
        for system in [plain(), plain().hardened()] {
            let quick = Shortened::of(&system, None);
            for real in [trained(&system), shipped(&system)] {
                assert!(!quick.folder(&system).starts_with(&real) && !real.starts_with(quick.folder(&system)));
            }
            let other = Shortened { images: 5, ..quick };
            assert_ne!(quick.folder(&system), other.folder(&system), "each recipe has a folder of its own");
            assert!(quick.caveat().contains("not with the paper's recipe"));
        }
        assert_eq!(Shortened::of(&plain().hardened(), None).arguments().join(" "), "--epochs 1 --images 10000");
        assert_eq!(Shortened::of(&plain().hardened(), Some(20_000)).images, 10_000);
        assert!(Shortened::of(&plain(), Some(200)).caveat().contains("for 1 epoch on 200 images"));
        assert!(Shortened::of(&plain(), None).folder(&plain()).ends_with("mnist-c2f2-cosine-triplet-epochs-1-images-60000"));
    }

    #[test]
    fn what_is_shipped_is_found_and_what_is_nowhere_is_not() {
        assert_eq!(Place::of(&plain()), Place::Shipped);
        assert_eq!(Place::of(&System::plain("mnist", "no-such-model", "cosine", "triplet")), Place::Missing);
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
        assert!(compared(&new, 0, 0, &same).ends_with("is bit-equal to the shipped weights"));
        assert!(compared(&new, 0, 0, &other).contains("is NOT bit-equal"));
        assert!(compared(&new, 3, 0, &same).contains("was trained with seed 3"));
        assert!(compared(&new, 0, 0, &folder.path().join("none")).contains("no such weights are shipped"));
    }
}
