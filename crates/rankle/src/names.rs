//! Names on the command line: those of the libraries, and an answer to slips of the pen.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command};
use rankle_attacks::ClassifierAttack;
use rankle_core::Distance;
use rankle_data::{Source, Split};
use rankle_models::Architecture;
use rankle_record::{AttackId, Norm, ObjectiveKind, Protocol, TargetPool};
use rankle_train::Loss;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt::{self, Display};

/// Reads one of a few names; a wrong one is answered with the nearest and with all of them.
#[derive(Clone)]
pub(crate) struct Names<T: 'static> {
    what: &'static str,
    all: &'static [T],
    /// Further ones, of the program that this is.
    own: fn() -> Vec<T>,
}

impl<T> Names<T> {
    const fn of(what: &'static str, all: &'static [T]) -> Self {
        Self { what, all, own: Vec::new }
    }
}

/// What `--help` says of the names of datasets.
pub(crate) const DATASETS: &str = "\
The images. folder:PATH has a sub-folder per class. If all of these are called like a split (train, test, val, valid, validation; in any case), \
train is trained on and test is tested, or where there is none the validation images. Otherwise the second half of the classes is \
tested, in the order of their names. folder,images=20%:PATH tests a fifth of each class, folder,classes=30%:PATH the last classes, \
folder,list=FILE:PATH what a list names, one CLASS/IMAGE a line, and folder,test=all:PATH every image. idx:PATH is a folder of IDX files without a \
published hash, as of EMNIST or KMNIST, and idx,name=emnist-letters:PATH one of several datasets in it.

Photographs of sop, cub, cars, inshop and folders are resized and cut to the size of the model, and gray for a model of gray images. Options say how, as in \
sop,resize=square,edge=224: resize=shorter keeps the shape (for folders, unless the model says otherwise), resize=square does not, \
resize=none takes files of the model's size only; edge=N is the side before the middle is cut out (8/7 of the model's); \
filter=bilinear or bicubic; exif=ignore takes pixels as they lie in the file, where cameras are held upright by default; skip-broken leaves out \
photographs that cannot be decoded";

/// The value parsers of the options.
pub(crate) const SPLITS: Names<Split> = Names::of("split", &Split::ALL);
pub(crate) const TRAINABLE: Models =
    Models { what: "model", all: &Architecture::ALL, own: Architecture::registered, offered: Architecture::is_trainable };
pub(crate) const MODELS: Models = Models { offered: Architecture::is_in_this_build, ..TRAINABLE };
pub(crate) const RANKERS: Models = Models { all: &Architecture::RANKERS, ..MODELS };
pub(crate) const CLASSIFIERS: Models =
    Models { what: "classifier", all: &Architecture::CLASSIFIERS, own: Vec::new, offered: Architecture::is_in_this_build };
pub(crate) const DISTANCES: Names<Distance> = Names::of("distance", &Distance::ALL);
pub(crate) const ATTACKS: Names<AttackId> = Names { own: AttackId::registered, ..Names::of("attack", &AttackId::ALL) };
pub(crate) const CLASSIFIER_ATTACKS: Names<ClassifierAttack> = Names::of("attack", &ClassifierAttack::ALL);
pub(crate) const PROTOCOLS: Names<Protocol> = Names::of("protocol", &Protocol::ALL);
pub(crate) const NORMS: Names<Norm> = Names::of("norm", &Norm::ALL);
pub(crate) const OBJECTIVES: Names<ObjectiveKind> = Names::of("objective", &ObjectiveKind::ALL);
pub(crate) const BANDS: Names<TargetPool> = Names::of("target band", &TargetPool::ALL);
pub(crate) const LOSSES: Names<Loss> = Names { own: Loss::registered, ..Names::of("loss", &Loss::ALL) };
pub(crate) const DEFENSES: Names<Defense> = Names::of("defense", &Defense::ALL);
/// What `--train-layers` takes: [`ALL_LAYERS`], or the first that is trained.
pub(crate) const LAYERS: Names<&str> = Names::of("layer", &[ALL_LAYERS, "layer1", "layer2", "layer3", "layer4"]);
pub(crate) const ALL_LAYERS: &str = "all";
pub(crate) const FORMATS: Names<Format> = Names::of("format", &Format::ALL);

/// Reads the name of a model with its arguments, as in `resnet18,size=112`; a wrong one is answered likewise.
#[derive(Clone)]
pub(crate) struct Models {
    what: &'static str,
    /// Those that are understood, if only to say what stands in their way.
    all: &'static [Architecture],
    /// Further ones, of the program that this is.
    own: fn() -> Vec<Architecture>,
    /// Which of them can be used.
    offered: fn(Architecture) -> bool,
}

impl Models {
    /// # Errors
    /// One line for a name that is not known, and for arguments that it does not take.
    pub(crate) fn find(&self, name: &str) -> Result<Architecture, String> {
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

/// Reads the name of a dataset; a wrong one is answered likewise.
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

/// What is said of a name that is that of a folder instead, and what to write for it.
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
    /// # Errors
    /// One line for a name that is not known.
    pub(crate) fn find(&self, name: &str) -> Result<T, String> {
        let found = self.all().find(|one| one.to_string() == name);
        found.ok_or_else(|| unknown(self.what, name, &self.all().map(|one| one.to_string()).collect::<Vec<_>>()))
    }

    fn all(&self) -> impl Iterator<Item = T> {
        self.all.iter().cloned().chain((self.own)())
    }
}

/// What is said of a name that is not known: the nearest, and all of them.
pub(crate) fn unknown(what: &str, name: &str, known: &[impl AsRef<str>]) -> String {
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    let nearest = nearest(name, known.iter()).map_or(";".to_owned(), |known| format!(", did you mean '{known}'?"));
    format!("unknown {what} '{name}'{nearest} known: {}", known.join(", "))
}

/// The known name that is most like another one, in upper or lower case, the first of equals; none where no one is like it.
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

/// What training is hardened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Defense {
    /// Plain training.
    None,
    /// The paper's: training on images whose embeddings were moved as far as possible.
    EmbeddingShift,
    /// For classifiers: training on images that projected gradient descent has made doubtful.
    Pgd,
}

/// What standard output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// People.
    Human,
    /// Programs: one JSON object, nothing else.
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
        let convnext = if cfg!(feature = "candle-transformers") { ", convnext-atto, convnext-tiny" } else { "" };
        let known = format!("known: c2f2, c2f2-512, lenet, resnet18-28, resnet18{convnext}");
        assert_eq!(RANKERS.find("resnet,size=9").unwrap_err(), format!("unknown model 'resnet', did you mean 'resnet18'? {known}"));
        assert!(!TRAINABLE.find("resnet").unwrap_err().contains("convnext") && TRAINABLE.find("convnext_atto").is_ok());
        assert_eq!(RANKERS.find("ResNet-18,size=96"), RANKERS.find("resnet18,size=96"));
        assert!(RANKERS.find("resnet18,size=9").unwrap_err().starts_with("model 'resnet18' takes no 'size=9'"));
        assert!(RANKERS.find("resnet18,size=96").is_ok() && RANKERS.find("softmax").is_err());
        assert_eq!(DEFENSES.find("embedding-shift"), Ok(Defense::EmbeddingShift));
    }
}
