//! Options that name a model: an architecture with a file of weights, a folder that `rankle train` wrote, or a model on the hub.

use crate::arguments::{self, heading};
use crate::card::{CARD, Card};
use crate::data::Data;
use crate::foreign::ForeignName;
use crate::hub::{self, Published};
use crate::names::{self, Models};
use crate::network::Network;
use crate::stop::Stop;
use crate::system::Key;
use anyhow::Result;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use rankle_core::{Distance, InputSpec};
use rankle_data::Source;
use rankle_models::Architecture;
use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// Value of `--model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelName {
    Architecture(Architecture),
    /// Folder with weights and a card.
    Folder(PathBuf),
    /// Weights on the hub, beside a configuration that names the architecture.
    Hub(String),
    /// A model that is no architecture of this program.
    Foreign(ForeignName),
}

impl ModelName {
    /// The network alone: that of a folder is named by its card.
    ///
    /// # Errors
    /// A card or a configuration that cannot be read, and a foreign model that cannot be opened.
    pub(crate) fn network(&self) -> Result<Network> {
        match self {
            Self::Architecture(architecture) => Ok((*architecture).into()),
            Self::Folder(folder) => {
                let card = folder.join(CARD);
                Ok(Card::read(&card)?.architecture(&card, &names::MODELS)?.into())
            }
            Self::Hub(name) => Ok(Published::read(name)?.architecture.into()),
            Self::Foreign(name) => Ok(Network::Foreign(name.open()?)),
        }
    }
}

/// Parser of a [`ModelName`]: a foreign model or one on the hub where it is allowed, the name of an architecture, else that of a
/// folder.
#[derive(Clone)]
pub(crate) struct ModelNames {
    architectures: Models,
    foreign: bool,
}

pub(crate) const RANKERS: ModelNames = ModelNames { architectures: names::RANKERS, foreign: true };
pub(crate) const CLASSIFIERS: ModelNames = ModelNames { architectures: names::CLASSIFIERS, foreign: false };
pub(crate) const ALL: ModelNames = ModelNames { architectures: names::MODELS, foreign: true };

impl TypedValueParser for ModelNames {
    type Value = ModelName;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<ModelName, clap::Error> {
        let foreign = ForeignName::parse(value);
        if let Some(name) = foreign.clone().filter(|_| self.foreign) {
            return Ok(ModelName::Foreign(name));
        }
        if let Some(name) = value.to_str().filter(|_| self.foreign && hub::is_name(value)) {
            return Ok(ModelName::Hub(name.to_owned()));
        }
        match self.architectures.parse_ref(command, arg, value) {
            Ok(architecture) => Ok(ModelName::Architecture(architecture)),
            Err(error) if foreign.is_some() || hub::is_name(value) => Err(error),
            Err(_) if Path::new(value).is_dir() => Ok(ModelName::Folder(value.into())),
            Err(_) if self.foreign && is_onnx(value) => {
                let line = format!("there is no folder {value:?}: an ONNX file is named onnx:{}", value.display());
                Err(clap::Error::raw(ErrorKind::InvalidValue, line).with_cmd(command))
            }
            Err(_) if Path::new(value).components().count() > 1 => {
                let line = format!("there is no folder {value:?} with a model: name one with a card.toml, or an architecture");
                Err(clap::Error::raw(ErrorKind::InvalidValue, line).with_cmd(command))
            }
            Err(error) => Err(error),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let foreign = ["hf:OWNER/REPO", "onnx:FILE", "exec:COMMAND"].into_iter().filter(|_| self.foreign).map(PossibleValue::new);
        Some(Box::new(self.architectures.possible_values()?.chain([PossibleValue::new("FOLDER")]).chain(foreign)))
    }
}

/// True for the path of an ONNX file, with or without options.
fn is_onnx(value: &OsStr) -> bool {
    let file = value.to_str().map(|name| rankle_onnx::Options::split(name).0);
    file.is_some_and(|file| arguments::ends_in(file.as_ref(), "onnx"))
}

/// A trained model and its distance.
#[derive(Args)]
#[command(next_help_heading = heading::MODEL)]
pub(crate) struct ModelArguments {
    /// The model: a folder that `rankle train` wrote, whose card.toml names architecture, distance and preprocessing; or an
    /// architecture, then with --weights and --distance; or weights on the Hugging Face hub beside a config.json of transformers or
    /// timm, as in hf:facebook/dinov2-small, then with --distance; or an ONNX file, as in onnx:model.onnx, or any program, as in
    /// exec:'python3 model.py', then with --distance. A network for photographs takes the side of its images, if it is not 224:
    /// resnet18,size=112. An ONNX file takes what it does not say itself: onnx:FILE,output=NAME,pool=mean,size=N,resize=shorter,
    /// edge=N,filter=bicubic,mean=0.5:0.5:0.5,std=0.5,layout=nhwc. Here pool=mean makes an embedding of a map or of tokens, and
    /// pool=first of the class token; without mean and std pixels go in as numbers from 0 to 1. A command is split into words as by a
    /// shell, but no shell runs; crates/rankle-exec/PROTOCOL.md says what the program has to answer
    #[arg(long, value_name = "FOLDER|NAME|hf:OWNER/REPO|onnx:FILE|exec:COMMAND", value_parser = RANKERS)]
    pub(crate) model: ModelName,
    /// The weights: a safetensors file with the tensor names of the public PyTorch checkpoints. hf:OWNER/REPO[@REVISION][/FILE]
    /// is a file on the Hugging Face hub, for programs built with the feature hub
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// The distance that the weights were trained for
    #[arg(long, value_name = "NAME", value_parser = names::DISTANCES)]
    pub(crate) distance: Option<Distance>,
    /// Length of the embeddings, for a ResNet-18 with a linear layer behind it; resnet18,embedding-size=N means the same
    #[arg(long, value_name = "N")]
    pub(crate) embedding_size: Option<usize>,
    /// Let these options win where they contradict the card of the model; otherwise that is an error
    #[arg(long)]
    pub(crate) override_card: bool,
}

/// The options given for one model.
pub(crate) struct ModelOptions<'a> {
    /// Names of the options for weights and distance, for messages.
    pub(crate) options: [&'a str; 2],
    /// Models that a card may name.
    pub(crate) names: Models,
    pub(crate) model: Option<ModelName>,
    /// File of weights, or folder with a card.
    pub(crate) weights: Option<PathBuf>,
    pub(crate) distance: Option<Distance>,
    pub(crate) override_card: bool,
}

/// A model and its distance, complete.
pub(crate) struct Model {
    pub(crate) network: Network,
    /// File of weights; an ONNX file, or the command of a program.
    pub(crate) weights: PathBuf,
    pub(crate) distance: Distance,
    /// The card of the model, with its path; `None` if no folder is named.
    card: Option<(Card, PathBuf)>,
    /// Preparation of photographs in the configuration of a model on the hub.
    published: Option<InputSpec>,
    override_card: bool,
}

impl ModelOptions<'_> {
    /// Completes the options: a missing one is taken from the card, else from `usual`.
    ///
    /// # Errors
    /// [`Stop`] for a missing option, and for one that contradicts the card; a card that cannot be read.
    pub(crate) fn model(self, usual: Option<(Option<Architecture>, Distance)>) -> Result<Model> {
        if let Some(name) = self.foreign()? {
            return self.of_its_own(&name, usual.map(|(_, distance)| distance));
        }
        let Self { options: [weights_option, distance_option], names, model, weights, distance, override_card } = self;
        let (mut published, mut own_weights) = (None, None);
        let (architecture, mut folder) = match model {
            Some(ModelName::Architecture(architecture)) => (Some(architecture), None),
            Some(ModelName::Folder(folder)) => (None, Some(folder)),
            Some(ModelName::Hub(name)) => {
                let model = Published::read(&name)?;
                (published, own_weights) = (Some(model.input), Some(model.weights));
                (Some(model.architecture), None)
            }
            Some(ModelName::Foreign(_)) | None => (None, None),
        };
        let weights = match weights.or(own_weights) {
            Some(path) if path.is_dir() && folder.is_none() => {
                folder = Some(path);
                None
            }
            weights => weights,
        };
        let missing = |option: &str, what: &str| {
            Stop::usage(format!("{option} is missing: name {what}, or a model by its folder, whose card tells it"))
        };
        let (usual_architecture, usual_distance) = usual.unzip();
        let Some(folder) = folder else {
            return Ok(Model {
                network: architecture
                    .or(usual_architecture.flatten())
                    .ok_or_else(|| missing("--model", "an architecture"))?
                    .into(),
                weights: weights.ok_or_else(|| missing(weights_option, "a file of weights"))?,
                distance: distance.or(usual_distance).ok_or_else(|| missing(distance_option, "a distance"))?,
                card: None,
                published,
                override_card,
            });
        };
        let place = folder.join(CARD);
        let card = Card::read(&place)?;
        let contradicted = CardConflict { card: &place, override_card };
        let architecture = contradicted.choose("--model", architecture, card.architecture(&place, &names)?)?;
        let own = folder.join(card.weights(&place)?);
        let distance = match card.distance(&place)? {
            Some(own) => contradicted.choose(distance_option, distance, own)?,
            None => distance.or(usual_distance).ok_or_else(|| {
                Stop::usage(format!("{} says no distance in [training]: add {distance_option}", place.display()))
            })?,
        };
        let weights = weights.unwrap_or_else(|| own.clone());
        if !override_card {
            if !rankle_files::are_one(&weights, &own).unwrap_or(false) {
                return Err(contradicted.stop(weights_option, weights.display(), own.display()).into());
            }
            card.check(&place, &weights)?;
        }
        Ok(Model { network: architecture.into(), weights, distance, card: Some((card, place)), published, override_card })
    }

    /// The foreign model that is named, in place of an architecture or of a file of weights.
    ///
    /// # Errors
    /// [`Stop`] for an architecture or weights beside it, which it has itself.
    fn foreign(&self) -> Result<Option<ForeignName>, Stop> {
        let alone = |name: &ForeignName, other: &str| Stop::usage(format!("{name} is a whole model: leave out {other}"));
        let in_place_of_weights = self.weights.as_ref().and_then(|weights| ForeignName::parse(weights.as_os_str()));
        match (&self.model, &self.weights, in_place_of_weights) {
            (Some(ModelName::Foreign(name)), Some(_), _) => Err(alone(name, self.options[0])),
            (Some(ModelName::Foreign(name)), None, _) => Ok(Some(name.clone())),
            (Some(_), _, Some(name)) => Err(alone(&name, "its architecture")),
            (_, _, name) => Ok(name),
        }
    }

    /// Opens a foreign model.
    fn of_its_own(self, name: &ForeignName, usual: Option<Distance>) -> Result<Model> {
        let distance = self.distance.or(usual).ok_or_else(|| {
            Stop::usage(format!("{} is missing: name the distance by which {name} ranks, cosine or euclidean", self.options[1]))
        })?;
        let (network, weights) = (Network::Foreign(name.open()?), name.weights().into());
        Ok(Model { network, weights, distance, card: None, published: None, override_card: self.override_card })
    }
}

/// The path of a card that options may contradict.
struct CardConflict<'a> {
    card: &'a Path,
    override_card: bool,
}

impl CardConflict<'_> {
    /// The value of the option, or of the card if the option is not given.
    ///
    /// # Errors
    /// An option that contradicts the card, unless `override_card` is set.
    fn choose<T: Display + PartialEq>(&self, option: &str, said: Option<T>, card: T) -> Result<T, Stop> {
        match said {
            Some(said) if said != card && !self.override_card => Err(self.stop(option, said, card)),
            said => Ok(said.unwrap_or(card)),
        }
    }

    fn stop(&self, option: &str, said: impl Display, card: impl Display) -> Stop {
        let place = self.card.display();
        Stop::usage(format!("{option} {said} contradicts {place}, which says {card}: leave it out, or add --override-card"))
    }
}

impl Model {
    /// The dataset with the preprocessing of the card or of the configuration on the hub, where its name does not choose another.
    ///
    /// # Errors
    /// [`Stop`] for a name that contradicts the card.
    pub(crate) fn prepared(&self, option: &str, dataset: Source) -> Result<Source> {
        if !dataset.is_of_photographs() {
            return Ok(dataset);
        }
        if let Some(InputSpec { resize: Some(resize), edge: Some(edge), filter: Some(filter), .. }) = self.published {
            return Ok(dataset.prepared_as(&format!("resize={resize},edge={edge},filter={filter}"))?);
        }
        let said = self.card.as_ref().and_then(|(card, place)| Some((card.preprocessing()?, place)));
        let Some((said, place)) = said else { return Ok(dataset) };
        let prepared = dataset.prepared_as(said)?;
        let own = crate::data::preprocessing(&prepared, &self.network)?.unwrap_or_default();
        if own != said && !self.override_card {
            return Err(CardConflict { card: place, override_card: false }.stop(&format!("{option} with"), own, said).into());
        }
        Ok(prepared)
    }

    /// Key of the system of this model and the data.
    ///
    /// # Errors
    /// As [`Model::prepared`].
    pub(crate) fn key(self, data: Data, prefix: Option<String>) -> Result<Key> {
        let Data { dataset, queries, gallery, dir } = data;
        let prepared = |option, name: Option<Source>| name.map(|name| self.prepared(option, name)).transpose();
        let data = Data {
            dataset: self.prepared("--dataset", dataset)?,
            queries: prepared("--queries", queries)?,
            gallery: prepared("--gallery", gallery)?,
            dir,
        };
        let Self { network: model, weights, distance, card, .. } = self;
        let [loss, defense] = card.map_or([None, None], |(card, _)| card.trained());
        Ok(Key { data, model, weights, prefix, distance, loss, defense })
    }
}

impl ModelArguments {
    /// The model, with the linear layer of `--embedding-size`.
    ///
    /// # Errors
    /// As [`ModelOptions::model`]; a model that takes no such layer.
    pub(crate) fn model(self) -> Result<Model> {
        let Self { model, embedding_size, weights, distance, override_card } = self;
        let sized = match model {
            ModelName::Architecture(model) => ModelName::Architecture(arguments::sized(model, embedding_size)?),
            ModelName::Folder(_) if embedding_size.is_some() => {
                return Err(Stop::usage("--embedding-size is for an architecture: the card of a folder tells it").into());
            }
            ModelName::Hub(_) if embedding_size.is_some() => {
                return Err(Stop::usage("--embedding-size is for an architecture: config.json on the hub tells it").into());
            }
            ModelName::Foreign(_) if embedding_size.is_some() => {
                return Err(Stop::usage("--embedding-size is for an architecture: a foreign model says its own").into());
            }
            folder => folder,
        };
        let (options, names) = (["--weights", "--distance"], names::RANKERS);
        ModelOptions { options, names, model: Some(sized), weights, distance, override_card }.model(None)
    }
}
