//! A model on the command line: an architecture with a file of weights, or the folder that `rankle train` left.

use crate::card::{CARD, Card};
use crate::data::Data;
use crate::names::{self, Models};
use crate::stop::Stop;
use crate::system::Key;
use anyhow::Result;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Args, Command};
use rankle_core::Distance;
use rankle_data::Source;
use rankle_models::Architecture;
use std::ffi::OsStr;
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// What `--model` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelName {
    Architecture(Architecture),
    /// A folder with weights and a card.
    Folder(PathBuf),
}

/// Reads a [`ModelName`]: the name of an architecture, else that of a folder.
#[derive(Clone)]
pub(crate) struct ModelNames(Models);

pub(crate) const RANKERS: ModelNames = ModelNames(names::RANKERS);
pub(crate) const CLASSIFIERS: ModelNames = ModelNames(names::CLASSIFIERS);

impl TypedValueParser for ModelNames {
    type Value = ModelName;

    fn parse_ref(&self, command: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<ModelName, clap::Error> {
        match self.0.parse_ref(command, arg, value) {
            Ok(architecture) => Ok(ModelName::Architecture(architecture)),
            Err(_) if Path::new(value).is_dir() => Ok(ModelName::Folder(value.into())),
            Err(_) if Path::new(value).components().count() > 1 => {
                let line = format!("there is no folder {value:?} with a model: name one with a card.toml, or an architecture");
                Err(clap::Error::raw(ErrorKind::InvalidValue, line).with_cmd(command))
            }
            Err(error) => Err(error),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.possible_values()?.chain([PossibleValue::new("FOLDER")])))
    }
}

/// A model that was trained, and how it ranks.
#[derive(Args)]
pub(crate) struct ModelArguments {
    /// The folder that `rankle train` left, whose card tells architecture, distance and preprocessing; or an architecture, then with
    /// --weights and --distance. That of a network for photographs with the side of its images, if it is not 224: resnet18,size=112
    #[arg(long, value_name = "FOLDER|NAME", value_parser = RANKERS)]
    pub(crate) model: ModelName,
    /// The linear layer behind a ResNet-18 makes so many numbers; resnet18,embedding-size=N means the same
    #[arg(long, value_name = "N")]
    pub(crate) embedding_size: Option<usize>,
    /// The weights: safetensors with the names of the public PyTorch checkpoints. hf:OWNER/REPO[@REVISION][/FILE] is on the
    /// Hugging Face hub, for programs built with the feature hub
    #[arg(long, value_name = "FILE")]
    pub(crate) weights: Option<PathBuf>,
    /// The distance the weights were trained for
    #[arg(long, value_name = "NAME", value_parser = names::DISTANCES)]
    pub(crate) distance: Option<Distance>,
    /// What is said here counts where the card of the model says something else
    #[arg(long)]
    pub(crate) override_card: bool,
}

/// What is said of one model; nothing of what another one is to be taken from.
pub(crate) struct Said<'a> {
    /// The options that name the weights and the distance, for messages.
    pub(crate) options: [&'a str; 2],
    /// What a card may name.
    pub(crate) names: Models,
    pub(crate) model: Option<ModelName>,
    /// A file, or a folder with a card.
    pub(crate) weights: Option<PathBuf>,
    pub(crate) distance: Option<Distance>,
    pub(crate) override_card: bool,
}

/// A model and how it ranks.
pub(crate) struct Model {
    pub(crate) architecture: Architecture,
    pub(crate) weights: PathBuf,
    pub(crate) distance: Distance,
    /// The card that told it, with its place.
    card: Option<(Card, PathBuf)>,
    override_card: bool,
}

impl Said<'_> {
    /// The model: what is said of it, else what its card says, else what is `usual`.
    ///
    /// # Errors
    /// [`Stop`] for what is missing, and for what contradicts the card; when the card cannot be read.
    pub(crate) fn model(self, usual: Option<(Architecture, Distance)>) -> Result<Model> {
        let Self { options: [weights_option, distance_option], names, model, weights, distance, override_card } = self;
        let (architecture, mut folder) = match model {
            Some(ModelName::Architecture(architecture)) => (Some(architecture), None),
            Some(ModelName::Folder(folder)) => (None, Some(folder)),
            None => (None, None),
        };
        let weights = match weights {
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
                architecture: architecture.or(usual_architecture).ok_or_else(|| missing("--model", "an architecture"))?,
                weights: weights.ok_or_else(|| missing(weights_option, "a file of weights"))?,
                distance: distance.or(usual_distance).ok_or_else(|| missing(distance_option, "a distance"))?,
                card: None,
                override_card,
            });
        };
        let place = folder.join(CARD);
        let card = Card::read(&place)?;
        let contradicted = Contradicted { card: &place, override_card };
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
        Ok(Model { architecture, weights, distance, card: Some((card, place)), override_card })
    }
}

/// A card that options may contradict.
struct Contradicted<'a> {
    card: &'a Path,
    override_card: bool,
}

impl Contradicted<'_> {
    /// What is said, if the card says the same or does not count; else what the card says.
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
    /// The dataset with photographs prepared as the card says, where its name says nothing else.
    ///
    /// # Errors
    /// [`Stop`] where the name contradicts the card.
    pub(crate) fn prepared(&self, option: &str, dataset: Source) -> Result<Source> {
        let said = self.card.as_ref().and_then(|(card, place)| Some((card.preprocessing()?, place)));
        let Some((said, place)) = said.filter(|_| dataset.is_of_photographs()) else { return Ok(dataset) };
        let prepared = dataset.prepared_as(said)?;
        let own = crate::data::preprocessing(&prepared, self.architecture)?.unwrap_or_default();
        if own != said && !self.override_card {
            return Err(Contradicted { card: place, override_card: false }.stop(&format!("{option} with"), own, said).into());
        }
        Ok(prepared)
    }

    /// The system of this model on data.
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
        let Self { architecture: model, weights, distance, card, .. } = self;
        let [loss, defense] = card.map_or([None, None], |(card, _)| card.trained());
        Ok(Key { data, model, weights, prefix, distance, loss, defense })
    }
}

impl ModelArguments {
    /// The model, with the linear layer that was asked for.
    ///
    /// # Errors
    /// As [`Said::model`]; for a model without such a layer.
    pub(crate) fn model(self) -> Result<Model> {
        let Self { model, embedding_size, weights, distance, override_card } = self;
        let sized = match model {
            ModelName::Architecture(model) => ModelName::Architecture(crate::arguments::sized(model, embedding_size)?),
            ModelName::Folder(_) if embedding_size.is_some() => {
                return Err(Stop::usage("--embedding-size is for an architecture: the card of a folder tells it").into());
            }
            folder => folder,
        };
        let (options, names) = (["--weights", "--distance"], names::RANKERS);
        Said { options, names, model: Some(sized), weights, distance, override_card }.model(None)
    }
}
