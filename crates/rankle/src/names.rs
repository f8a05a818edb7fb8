//! Parsers of names on the command line, with suggestions for misspelled ones.

use crate::foreign::ForeignName;
use crate::hub;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command};
use rankle_attacks::ClassifierAttack;
use rankle_core::Distance;
use rankle_data::{Source, Split};
use rankle_models::Architecture;
use rankle_record::{AttackId, Norm, ObjectiveKind, Protocol, SearchKind, TargetPool};
use rankle_train::Loss;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt::{self, Display};

/// Parser of one of a few names. The message for an unknown name has the nearest known name and all known ones.
#[derive(Clone)]
pub(crate) struct Names<T: 'static> {
    what: &'static str,
    all: &'static [T],
    /// Values that the running program has registered in addition.
    own: fn() -> Vec<T>,
}

impl<T> Names<T> {
    const fn of(what: &'static str, all: &'static [T]) -> Self {
        Self { what, all, own: Vec::new }
    }
}

/// Help on the names of datasets.
pub(crate) const DATASETS: &str = "\
The images: a published dataset, or a folder of your own.

folder:PATH has one sub-folder per class. The first half of the classes, in the order of their names, is for training, the \
second half for testing. If all sub-folders are named like a split (train, test, val, valid, validation; in any case), train \
is for training, and test for testing or, where there is none, the validation images. Options choose the test images: \
folder,images=20%:PATH a fifth of each class, folder,classes=30%:PATH the last 30 % of the classes, folder,list=FILE:PATH \
those in a list, one CLASS/IMAGE a line, and folder,test=all:PATH every image. idx:PATH is a folder of IDX files without a \
published hash, as of EMNIST or KMNIST, and idx,name=emnist-letters:PATH one of several datasets in it.

Photographs (sop, cub, cars, inshop and folders) are resized, cropped to the input size of the model, and turned gray for a \
model of gray images. Options choose how, as in sop,resize=square,edge=224: resize=shorter keeps the aspect ratio (the default \
for folders, unless the model says otherwise), resize=square does not, resize=none takes only files of the input size; edge=N \
is the side before the center crop (8/7 of the input size when left out); filter=bilinear or bicubic; exif=ignore leaves \
photographs as stored instead of turning them upright; skip-broken leaves out photographs that cannot be decoded";

/// Value parsers of the options.
pub(crate) const SPLITS: Names<Split> = Names::of("split", &Split::ALL);
pub(crate) const TRAINABLE: Models = Models {
    what: "model",
    all: &Architecture::ALL,
    own: Architecture::registered,
    offered: Architecture::is_trainable,
    foreign: "cannot be trained here: its weights are its own",
    hub: "is for the commands that rank: name an architecture here, and weights to start from with --pretrained",
};
pub(crate) const MODELS: Models = Models {
    offered: |_| true,
    foreign: "is a whole model, and an architecture is needed here: name it in place of the weights, on the command line",
    hub: "is a model with its weights, and an architecture is needed here",
    ..TRAINABLE
};
pub(crate) const RANKERS: Models = Models { all: &Architecture::RANKERS, ..MODELS };
pub(crate) const CLASSIFIERS: Models = Models {
    what: "classifier",
    all: &Architecture::CLASSIFIERS,
    own: Vec::new,
    foreign: "ranks, and a classifier is needed here",
    hub: "is for the commands that rank, and a classifier is needed here: name an architecture, and --weights",
    ..MODELS
};
pub(crate) const DISTANCES: Names<Distance> = Names::of("distance", &Distance::ALL);
pub(crate) const ATTACKS: Names<AttackId> = Names { own: AttackId::registered, ..Names::of("attack", &AttackId::ALL) };
pub(crate) const CLASSIFIER_ATTACKS: Names<ClassifierAttack> = Names::of("attack", &ClassifierAttack::ALL);
pub(crate) const PROTOCOLS: Names<Protocol> = Names::of("protocol", &Protocol::ALL);
pub(crate) const NORMS: Names<Norm> = Names::of("norm", &Norm::ALL);
pub(crate) const SEARCHES: Names<SearchKind> = Names::of("search", &SearchKind::ALL);
pub(crate) const OBJECTIVES: Names<ObjectiveKind> = Names::of("objective", &ObjectiveKind::ALL);
pub(crate) const TARGET_POOLS: Names<TargetPool> = Names::of("target band", &TargetPool::ALL);
pub(crate) const LOSSES: Names<Loss> = Names { own: Loss::registered, ..Names::of("loss", &Loss::ALL) };
pub(crate) const DEFENSES: Names<Defense> = Names::of("defense", &Defense::ALL);
/// Value of `--train-layers` beside the names of layers.
pub(crate) const ALL_LAYERS: &str = "all";
pub(crate) const FORMATS: Names<Format> = Names::of("format", &Format::ALL);

/// Parser of the name of a model with its arguments, as in `resnet18,size=112`; messages as for [`Names`].
#[derive(Clone)]
pub(crate) struct Models {
    what: &'static str,
    /// Known models, also those that are known only so that a message can say why they cannot be used.
    all: &'static [Architecture],
    /// Models that the running program has registered in addition.
    own: fn() -> Vec<Architecture>,
    /// True for the models that messages and the help list as usable.
    offered: fn(Architecture) -> bool,
    /// Why no foreign model can be named here.
    foreign: &'static str,
    /// Why no model on the hub can be named here.
    hub: &'static str,
}

impl Models {
    /// # Errors
    /// An unknown name, and arguments that the model does not take.
    pub(crate) fn find(&self, name: &str) -> Result<Architecture, String> {
        if let Some(foreign) = ForeignName::parse(OsStr::new(name)) {
            return Err(format!("{foreign} {}", self.foreign));
        }
        if hub::is_name(OsStr::new(name)) {
            return Err(format!("{name} {}", self.hub));
        }
        let plain = name.split(',').next().unwrap_or_default();
        match Architecture::named(plain).filter(|model| self.all().any(|one| one == *model)) {
            Some(_) => name.parse().map_err(|error: rankle_core::Error| error.to_string()),
            None => Err(unknown(self.what, plain, &self.offered().collect::<Vec<_>>())),
        }
    }

    fn offered(&self) -> impl Iterator<Item = String> {
        self.all().filter(|&model| (self.offered)(model)).map(|model| model.to_string())
    }

    fn all(&self) -> impl Iterator<Item = Architecture> {
        self.all.iter().copied().chain((self.own)())
    }
}

impl TypedValueParser for Models {
    type Value = Architecture;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<Architecture, clap::Error> {
        let found = self.find(&value.to_string_lossy());
        found.map_err(|line| clap::Error::raw(ErrorKind::InvalidValue, line).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.offered().map(PossibleValue::new)))
    }
}

/// Parser of the name of a dataset. The message for the path of a folder says how to name that folder.
#[derive(Clone)]
pub(crate) struct Datasets;

impl TypedValueParser for Datasets {
    type Value = Source;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<Source, clap::Error> {
        let refused = |line: String| clap::Error::raw(ErrorKind::InvalidValue, line).with_cmd(command);
        // Results and cards name the dataset, and they are UTF-8.
        let name = value.to_str();
        let name = name.ok_or_else(|| refused(format!("dataset {value:?} is not UTF-8: rename the folder or link to it")))?;
        name.parse().map_err(|error: rankle_data::Error| refused(a_folder(name, &error).unwrap_or_else(|| error.to_string())))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Source::NAMES.into_iter().map(PossibleValue::new)))
    }
}

/// Message for an unknown name that is the path of a folder; `None` for any other name.
fn a_folder(name: &str, error: &rankle_data::Error) -> Option<String> {
    let (path, options) = name.split_at(name.find(',').unwrap_or(name.len()));
    if !matches!(error, rankle_data::Error::Unknown { what: "dataset", .. }) || path.is_empty() {
        return None;
    }
    let files = std::fs::read_dir(path).ok()?;
    let is_idx = |file: std::io::Result<std::fs::DirEntry>| {
        file.is_ok_and(|file| file.file_name().to_string_lossy().trim_end_matches(".gz").ends_with("idx3-ubyte"))
    };
    let word = if files.into_iter().any(is_idx) { "idx" } else { "folder" };
    Some(format!("unknown dataset '{path}'; for the folder of that name write {word}{options}:{path}"))
}

impl<T: Display + Clone> Names<T> {
    pub(crate) fn find(&self, name: &str) -> Result<T, String> {
        let found = self.all().find(|one| one.to_string() == name);
        found.ok_or_else(|| unknown(self.what, name, &self.all().map(|one| one.to_string()).collect::<Vec<_>>()))
    }

    fn all(&self) -> impl Iterator<Item = T> {
        self.all.iter().cloned().chain((self.own)())
    }
}

/// Message for an unknown name: the nearest known name, and all known ones.
pub(crate) fn unknown(what: &str, name: &str, known: &[impl AsRef<str>]) -> String {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let nearest = nearest(name, known.iter()).map_or(";".to_owned(), |known| format!(", did you mean '{known}'?"));
    format!("unknown {what} '{name}'{nearest} known: {}", known.join(", "))
}

/// The known name that is most similar to `name`, regardless of case, the first among equals; `None` if none is similar.
pub(crate) fn nearest<T: AsRef<str>>(name: &str, known: impl Iterator<Item = T>) -> Option<T> {
    let name = name.to_lowercase();
    let likeness = known.map(|known| (strsim::jaro_winkler(&name, &known.as_ref().to_lowercase()), known));
    let nearest = likeness.reduce(|best, other| if other.0 > best.0 { other } else { best });
    nearest.filter(|&(likeness, _)| likeness > 0.7).map(|(_, known)| known)
}

impl<T: Display + Clone + Send + Sync> TypedValueParser for Names<T> {
    type Value = T;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<T, clap::Error> {
        self.find(&value.to_string_lossy()).map_err(|line| clap::Error::raw(ErrorKind::InvalidValue, line).with_cmd(command))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.all().map(|one| PossibleValue::new(one.to_string()))))
    }
}

/// Defense used in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Defense {
    /// Plain training.
    None,
    /// The defense of the paper: training on images whose embeddings are shifted as far as possible.
    EmbeddingShift,
    /// For classifiers: training on images whose cross-entropy projected gradient descent has raised.
    Pgd,
}

/// Format of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text for people.
    Human,
    /// One JSON object for programs, nothing else.
    Json,
}

impl Defense {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::EmbeddingShift, Self::Pgd];
}
impl Format {
    pub(crate) const ALL: [Self; 2] = [Self::Human, Self::Json];
}

impl Display for Defense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::EmbeddingShift => "embedding-shift",
            Self::Pgd => "pgd",
        })
    }
}
impl Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn slips_are_answered_with_the_nearest_name() {
        for (slip, line) in [
            ("ca",    "unknown attack 'ca', did you mean 'ca+'? known: ca+, ca-, qa+, qa-, sp-qa+, sp-qa-, es"),
            ("SP-QA", "unknown attack 'SP-QA', did you mean 'sp-qa+'? known: ca+, ca-, qa+, qa-, sp-qa+, sp-qa-, es"),
            ("zzz",   "unknown attack 'zzz'; known: ca+, ca-, qa+, qa-, sp-qa+, sp-qa-, es"),
        ] {
            assert_eq!(ATTACKS.find(slip).unwrap_err(), line);
        }
        assert_eq!(DISTANCES.find("cosin").unwrap_err(), "unknown distance 'cosin', did you mean 'cosine'? known: cosine, euclidean");
        let known = "known: c2f2, c2f2-512, lenet, resnet18-28, resnet18, resnet50, ";
        assert!(RANKERS.find("resnet,size=9").unwrap_err().starts_with(&format!("unknown model 'resnet', did you mean 'resnet18'? {known}")));
        assert!(!TRAINABLE.find("resnet").unwrap_err().contains("convnext") && TRAINABLE.find("convnext_atto").is_ok());
        assert_eq!(RANKERS.find("ResNet-18,size=96"), RANKERS.find("resnet18,size=96"));
        assert!(RANKERS.find("resnet18,size=9").unwrap_err().starts_with("model 'resnet18' takes no 'size=9'"));
        assert!(RANKERS.find("resnet18,size=96").is_ok() && RANKERS.find("softmax").is_err());
        assert_eq!(DEFENSES.find("embedding-shift"), Ok(Defense::EmbeddingShift));
    }
}
