//! `rankle train`: training of a model, with checkpoints and a card.

mod card;
mod checkpoint;
mod few;
mod images;
mod plan;
mod quality;
mod singles;

use crate::arguments::{self, FormatArgument, heading};
use crate::data::{self, Data};
use crate::device::Device;
use crate::files::Input;
use crate::hub;
use crate::names::{self, Defense, Format};
use crate::network::Network;
use crate::search::{self, Remedy};
use crate::search_arguments::SearchArguments;
use crate::stop::Stop;
use crate::system;
use crate::weights::Weights;
use crate::{files, interrupt, progress};
use anyhow::{Context, Result, bail};
use card::Card;
use checkpoint::Checkpoint;
use clap::Args;
use few::FirstImages;
use indicatif::ProgressBar;
use plan::Plan;
use quality::Quality;
use rankle_attacks::{AnySearch, Prescribed, Protocol, Threat};
use rankle_core::{Dataset, Distance, Place, Seed, Trainable, Waiting};
use rankle_data::{Source, Split};
use rankle_defense::{MisclassificationDefense, ShiftDefense};
use rankle_eval::{MonitoredDefense, UncheckedGradient, percent};
use rankle_models::{Architecture, weights};
use rankle_record::Search;
use rankle_report::FolderLock;
use rankle_train::{EpochLoss, Loss, Moment, PairRule, Progress, Recipe, Sampling, Training};
use serde::Serialize;
use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Train a model, plain or defended against attacks.
///
/// The output folder gets model.safetensors and card.toml, which says how the model was made and lets other commands take the
/// folder as --model. A defense trains on images that an attack has changed, no pixel by more than --epsilon; its search is the
/// paper's, PGD of at most 30 steps, unless --search names another (apgd makes as many steps). The loss shown, and
/// stored in the card for every epoch, is the mean per image over the epoch. After an interrupt the same command goes on from the
/// last checkpoint (one every two minutes and after every epoch) and ends with the same weights, bit for bit. A finished folder
/// is left as it is.
#[derive(Args)]
#[command(next_help_heading = heading::DATA, after_help = EXAMPLES)]
pub(crate) struct Train {
    /// The images: the training split of a published dataset, or of folder:PATH with one sub-folder per class
    #[arg(long, value_name = "NAME", value_parser = names::Datasets, long_help = names::DATASETS)]
    dataset: Source,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    /// Train on the first N images only; on all when left out
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    images: Option<NonZero<usize>>,
    /// Architecture; a network for photographs takes the side of its images, if it is not 224: resnet18,size=112
    #[arg(long, value_name = "NAME", value_parser = names::TRAINABLE, help_heading = heading::MODEL)]
    model: Architecture,
    /// Distance to train for, required except for the classifiers softmax and c2f2-classifier
    #[arg(long, value_name = "NAME", value_parser = names::DISTANCES, help_heading = heading::MODEL)]
    distance: Option<Distance>,
    /// Length of the embeddings: put a linear layer of this size behind a ResNet-18; resnet18,embedding-size=N means the same
    #[arg(long, value_name = "N", help_heading = heading::MODEL)]
    embedding_size: Option<usize>,
    /// Safetensors file of weights to start from, for example torchvision's for ImageNet; random weights when left out
    #[arg(long, value_name = "FILE", help_heading = heading::MODEL)]
    pretrained: Option<PathBuf>,
    /// Remove PREFIX, as in model., from the names of the tensors to start from, where all names begin with it. module. and
    /// _orig_mod., which PyTorch adds, are removed without it
    #[arg(long, value_name = "PREFIX", requires = "pretrained", help_heading = heading::MODEL)]
    strip_prefix: Option<String>,
    /// First layer to train, with all behind it; the layers in front keep their weights and running statistics. Of a ResNet
    /// layer1 to layer4, of other networks a block by the name that its parameters begin with, as encoder.layer.6
    #[arg(long, value_name = "NAME", default_value = names::ALL_LAYERS, help_heading = heading::MODEL)]
    train_layers: String,
    /// Loss to minimize: triplet (the default) compares every image with one of its class and one of another; contrastive
    /// compares all pairs of a batch, or one pair per photograph; cross-entropy is the loss of classifiers
    #[arg(long, value_name = "NAME", value_parser = names::LOSSES, help_heading = TRAINING)]
    loss: Option<Loss>,
    /// Defense to train with: embedding-shift shifts the embeddings of the training images as far as possible, pgd raises the
    /// cross-entropy of a classifier
    #[arg(
        long,
        value_name = "NAME",
        default_value_t = Defense::None,
        value_parser = names::DEFENSES,
        help_heading = TRAINING
    )]
    defense: Defense,
    /// Largest change of a pixel by the defense, in units of the pixel range [0, 1]; 0.3 when left out, 0.06 for photographs
    #[arg(
        long,
        value_name = "E",
        value_parser = arguments::epsilon,
        allow_negative_numbers = true,
        help_heading = TRAINING
    )]
    epsilon: Option<Threat>,
    #[command(flatten)]
    search: SearchArguments,
    /// Rule that draws the images a photograph is compared with: strict (the default) draws another image of its class and one of
    /// another class; paper, as the original code, may draw the image itself and any other, and mislabels pairs of two classes
    #[arg(long, value_name = "NAME", value_parser = names::PROTOCOLS, help_heading = TRAINING)]
    protocol: Option<Protocol>,
    /// Seed of the first weights, and of the order, crops, triplets and pairs of the images
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, help_heading = TRAINING,
        value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
    #[command(flatten)]
    recipe: RecipeArguments,
    /// Folder for the model; only one run at a time can use it
    #[arg(long, value_name = "FOLDER", help_heading = heading::OUTPUT)]
    output: PathBuf,
    /// License of the weights, for the card
    #[arg(long, value_name = "TEXT", help_heading = heading::OUTPUT)]
    license: Option<String>,
    #[command(flatten)]
    answer: FormatArgument,
}

/// Heading of the options for loss and defense.
const TRAINING: &str = "Training";

/// The JSON object: the card, and the speed of this run.
#[derive(Serialize)]
pub(crate) struct Trained {
    #[serde(flatten)]
    card: Card,
    output: PathBuf,
    /// Speed of the training, including checkpoints; `None` if the model was finished already.
    images_per_second: Option<f64>,
    /// Share of the time that the model waited for images, in percent.
    waiting_share: Option<f64>,
}

/// Parts of the recipe that replace those of the paper.
#[derive(Args)]
#[command(next_help_heading = "Recipe (the paper's when left out)")]
struct RecipeArguments {
    /// Number of passes over the images; 30, for softmax 10; for photographs 42, with the contrastive loss 6
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    epochs: Option<NonZero<usize>>,
    /// Number of images per step; 1000, for Euclidean distance 500; for photographs 128, beside those they are compared with
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    batch_size: Option<NonZero<usize>>,
    /// Learning rate of Adam; 1e-3; for photographs 1e-4, with Euclidean distance 1e-5
    #[arg(long, value_name = "R", value_parser = arguments::positive, allow_negative_numbers = true)]
    lr: Option<f64>,
    /// Weight decay: the multiple of the weights that is added to their gradient; 1e-7
    #[arg(long, value_name = "D", value_parser = arguments::not_negative, allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Margin of the triplet or contrastive loss; 0.2 for cosine distance, for photographs 0.5; 1.0 for Euclidean distance
    #[arg(long, value_name = "M", value_parser = arguments::not_negative, allow_negative_numbers = true)]
    margin: Option<f64>,
}

const EXAMPLES: &str = "\
Examples:
  rankle train --dataset mnist --model c2f2 --distance cosine --loss triplet --seed 0 \\
      --output models/plain
  rankle train --dataset mnist --model c2f2 --distance cosine --loss triplet --seed 0 \\
      --defense embedding-shift --epsilon 0.3 --output models/defended
  rankle train --dataset mnist --model c2f2-classifier --output models/classifier";

/// Default radius of a defense, as in the paper, for 28×28 images and for photographs.
const USUAL_EPSILON: [f64; 2] = [0.3, 0.06];
const BETWEEN_CHECKPOINTS: Duration = Duration::from_secs(120);

impl Train {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let format = self.answer.format;
        let trained = self.train(device)?;
        match format {
            Format::Json => progress::answer(serde_json::to_string(&trained).context("the result is no JSON")?),
            Format::Human => trained.sentence().map_or(Ok(()), progress::answer),
        }
    }

    /// Trains the model, unless the folder holds it already.
    ///
    /// # Errors
    /// Data that cannot be read, a folder that cannot be written or holds another training, and an interrupt.
    pub(crate) fn train(mut self, device: Device) -> Result<Trained> {
        self.model = arguments::sized(self.model, self.embedding_size)?;
        let goal = self.goal()?;
        let search = self.inner_search()?;
        let place = device.place()?;
        let dataset = data::open_data(&self.dataset, Split::Train, self.dataset_dir.as_deref(), &self.model.into())?;
        let data = Data::one(self.dataset.clone(), self.dataset_dir.clone());
        let test = data::open_sets(&data, &self.model.into())?;
        let test = test.as_ref().map(|set| &**set);
        if !self.model.is_classifier() {
            data::check_pairs(&data.portable(), test.map(|set| set.labels()))?;
        }
        let credits = self.dataset.credits(self.dataset_dir.as_deref())?;
        let dataset = FirstImages::new(dataset, self.images.map(NonZero::get))?;
        if goal.loss.is_ranking() {
            singles::check(&self.dataset, dataset.labels(), self.images.is_some())?;
        }
        let read = |file| Weights::read(file, self.strip_prefix.as_deref());
        let pretrained = self.pretrained.as_deref().map(read).transpose()?;
        let start = pretrained.as_ref().map(|weights| weights.sha256.clone());
        let plan = Plan {
            preprocessing: data::preprocessing(&self.dataset, &self.model.into())?,
            ..self.plan(goal, dataset.len(), search, start)
        };
        let folder = Folder::new(&self.output);
        let pretrained_file = self.pretrained.as_ref().map(|path| Input::new("--pretrained", path));
        let inputs =
            data::data_inputs("--dataset", &self.dataset, self.dataset_dir.as_deref()).into_iter().chain(pretrained_file);
        let _lock = FolderLock::acquire(&self.output, "rankle train")?;
        let outputs = [&folder.model, &folder.card, &folder.checkpoint].map(|file| ("--output", Some(file.as_path())));
        files::check_outputs(&outputs, &inputs.collect::<Vec<_>>())?;
        if let Some(mut card) = folder.finished(&plan)? {
            if self.license.is_some() && self.license != card.license {
                card.license = self.license.clone();
                files::write(&folder.card, card.to_toml()?)?;
            }
            tracing::info!("{} is finished: nothing to do", folder.model.display());
            return Ok(Trained { card, output: self.output, images_per_second: None, waiting_share: None });
        }

        let defense = search.and_then(|search| self.defense(search, &dataset)).map(|defense| {
            let unproven = Network::from(self.model).is_unproven().then(|| UncheckedGradient::at(None));
            MonitoredDefense { defense, monitor: progress::Bar::monitor(&indicatif::ProgressBar::hidden()), unproven }
        });
        let defense = defense.as_ref().map(|defense| defense as &dyn rankle_core::Defense);
        let recipe = plan.recipe(goal.loss, goal.paper.sampling);
        let training = Training { dataset: &dataset, recipe, defense, seed: Seed(self.seed) };
        let (mut model, mut checkpoint) =
            folder.start(&plan, &training, (self.model, goal.distance, &place), device, pretrained)?;
        device.check(self.model, &*model)?;
        let from = checkpoint.step();
        let waiting = learn(&training, &mut *model, &mut checkpoint, &folder).map_err(|error| self.explained(error))?;

        let quality = Quality::of(self.model, &*model, test);
        let bytes = weights::serialize(&model.parameters()?)?;
        let quality = quality.map_err(|error| self.unmeasured(error, &folder, &bytes))?;
        files::write(&folder.model, &bytes)?;
        let left_out = Some([dataset.left_out(), test.iter().map(|set| set.left_out()).sum()]).filter(|images| *images != [0, 0]);
        let card = Card::new(&plan, credits, &checkpoint, files::hash(&bytes), quality, test.queries().len(), &self.output)?;
        let card = Card { left_out, license: self.license.clone(), ..card };
        files::write(&folder.card, &card.to_toml()?)?;
        std::fs::remove_file(&folder.checkpoint).with_context(|| format!("cannot remove {}", folder.checkpoint.display()))?;
        progress::clear();
        let images = training.images(from..training.steps()) as f64;
        let images_per_second = (images > 0.0).then(|| images / waiting.total.as_secs_f64());
        let waiting_share = Some(percent(waiting.share()));
        Ok(Trained { card, output: self.output, images_per_second, waiting_share })
    }

    fn learns_photographs(&self) -> bool {
        self.dataset.is_of_photographs()
    }

    /// Distance, loss and recipe of the training, after checks of the options.
    fn goal(&self) -> Result<Goal, Stop> {
        let model = self.model;
        let odd = |message: String| Err(Stop::usage(message));
        if !model.is_trainable() {
            return odd(format!("{model} cannot be trained here, only attacked and measured: choose another --model"));
        }
        let layer = &*self.train_layers;
        match model.stages() {
            stages if layer == names::ALL_LAYERS || stages.contains(&layer) => {}
            [] => return odd(format!("--train-layers {layer} cannot be: all layers of {model} are trained: leave it out")),
            stages => return odd(names::unknown("layer", layer, &[&[names::ALL_LAYERS][..], stages].concat())),
        }
        if model.is_classifier() {
            if let Some(loss) = self.loss.filter(|&loss| loss != Loss::CrossEntropy) {
                return odd(format!("--loss {loss} is for rankings; {model} is a classifier: leave it out"));
            }
            let other = [
                ("--distance", self.distance.is_some()),
                ("--margin", self.recipe.margin.is_some()),
                ("--protocol", self.protocol.is_some()),
            ];
            if let Some((option, _)) = other.into_iter().find(|(_, given)| *given) {
                return odd(format!("{option} is for rankings; {model} is a classifier: leave it out"));
            }
            if self.defense == Defense::EmbeddingShift {
                return odd(format!("--defense {} hardens rankings; {model} is a classifier: choose pgd or none", self.defense));
            }
            let epochs = if model == Architecture::Softmax { 10 } else { 30 };
            return Ok(Goal { distance: Distance::Euclidean, loss: Loss::CrossEntropy, paper: Recipe::classifier(epochs) });
        }
        if self.defense == Defense::Pgd {
            return odd(format!("--defense pgd hardens classifiers; {model} ranks: choose embedding-shift or none"));
        }
        match (self.distance, self.loss.unwrap_or(Loss::Triplet)) {
            (_, Loss::CrossEntropy) => {
                odd(format!("--loss cross-entropy is for classifiers; {model} ranks: choose triplet or contrastive"))
            }
            (None, _) => odd(format!("--distance is missing: {model} ranks by cosine or euclidean")),
            (Some(distance), loss) if self.learns_photographs() => {
                let draw = match self.protocol {
                    None | Some(Protocol::Strict) => PairRule::Strict,
                    Some(Protocol::Paper) => PairRule::Paper,
                };
                Ok(Goal { distance, loss, paper: Recipe::photographs(distance, loss, draw) })
            }
            (Some(_), _) if self.protocol.is_some() => {
                odd(format!("--protocol says with whom photographs are compared; {} has none: leave it out", self.dataset))
            }
            (Some(_), loss) if self.recipe.batch_size == NonZero::new(1) => odd(format!(
                "--batch-size 1 leaves --loss {loss} nothing to compare: images are compared within their batch, take more"
            )),
            (Some(distance), loss) => Ok(Goal { distance, loss, paper: Recipe::paper(distance) }),
        }
    }

    /// Inner search of the defense; `None` without a defense.
    fn inner_search(&self) -> Result<Option<AnySearch>> {
        let chosen = self.search.chosen();
        let usual = || Threat::linf(USUAL_EPSILON[usize::from(self.learns_photographs())]);
        let threat = self.epsilon.map_or_else(usual, Ok)?;
        let Some(prescribed) = self.prescribed(threat) else {
            if self.epsilon.is_some() {
                return Err(Stop::usage("--epsilon is the radius of a defense: add --defense or leave it out").into());
            }
            if chosen != Search::default() {
                return Err(Stop::usage("the options under Search are for a defense: add --defense or leave them out").into());
            }
            return Ok(None);
        };
        let search = prescribed.fill(chosen).map_err(|error| Stop::usage(error.to_string()))?;
        search::heed(&search, chosen, Remedy::Options);
        Ok(Some(search))
    }

    /// Searches of the defense; `None` without a defense.
    fn prescribed(&self, threat: Threat) -> Option<Prescribed> {
        match self.defense {
            Defense::None => None,
            Defense::EmbeddingShift => Some(ShiftDefense::prescribed(threat)),
            Defense::Pgd => Some(MisclassificationDefense::prescribed(threat)),
        }
    }

    /// Adds advice to an error about numbers that are not finite.
    fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref() {
            Some(rankle_core::Error::NotFinite(_) | rankle_core::Error::Unrankable { .. }) => error.context(format!(
                "the training in {} has diverged: lower --lr, and choose another folder with --output",
                self.output.display()
            )),
            _ => error,
        }
    }

    /// Writes the weights of a model that cannot be measured because of a broken test image, and adds advice to the error. The
    /// checkpoint of the last step stays.
    fn unmeasured(&self, error: anyhow::Error, folder: &Folder, weights: &[u8]) -> anyhow::Error {
        if !matches!(error.downcast_ref(), Some(rankle_core::Error::Image(_))) {
            return self.explained(error);
        }
        let kept = files::write(&folder.model, weights).map(|()| {
            format!(
                "{} is trained, but has no card yet, for a test image cannot be used: mend or remove it, and the same command ends \
                 without training again; `rankle check` names all of them",
                folder.model.display()
            )
        });
        kept.map_or_else(|refused| refused, |kept| error.context(kept))
    }

    fn defense(&self, search: AnySearch, dataset: &dyn Dataset) -> Option<Box<dyn rankle_core::Defense>> {
        match self.defense {
            Defense::None => None,
            Defense::EmbeddingShift => Some(Box::new(ShiftDefense { search })),
            Defense::Pgd => Some(Box::new(MisclassificationDefense::new(search, dataset.labels().to_vec()))),
        }
    }

    fn plan(&self, goal: Goal, images: usize, search: Option<AnySearch>, pretrained_sha256: Option<String>) -> Plan {
        let (Goal { distance, loss, paper }, given) = (goal, &self.recipe);
        let ranks = !self.model.is_classifier();
        Plan {
            dataset: self.dataset.to_string(),
            images,
            model: self.model.to_string(),
            pretrained: self.pretrained.as_deref().map(hub::name),
            pretrained_sha256,
            strip_prefix: self.strip_prefix.clone(),
            dataset_sha256: None,
            preprocessing: None,
            train_layers: Some(self.train_layers.clone()).filter(|layers| layers != names::ALL_LAYERS),
            distance: ranks.then(|| distance.to_string()),
            loss: loss.to_string(),
            protocol: match paper.sampling {
                Sampling::Batch => None,
                Sampling::Set(PairRule::Strict) => Some(Protocol::Strict.to_string()),
                Sampling::Set(PairRule::Paper) => Some(Protocol::Paper.to_string()),
            },
            defense: self.defense,
            epsilon: search.map(|search| search.threat().radius()),
            search: search
                .filter(|search| Some(*search) != self.prescribed(search.threat()).map(|prescribed| prescribed.pgd.into()))
                .map_or(Search::default(), |search| search.parameters()),
            epochs: given.epochs.map_or(paper.epochs, NonZero::get),
            batch_size: given.batch_size.map_or(paper.batch_size, NonZero::get),
            learning_rate: given.lr.unwrap_or(paper.learning_rate),
            weight_decay: given.weight_decay.unwrap_or(paper.weight_decay),
            margin: ranks.then(|| given.margin.unwrap_or(paper.margin)),
            seed: self.seed,
        }
    }
}

impl Trained {
    /// Sentence about the finished training; `None` if the model was finished already.
    pub(crate) fn sentence(&self) -> Option<String> {
        let Card { quality, test_images, .. } = &self.card;
        let model = Folder::new(&self.output).model;
        self.waiting_share.map(|_| format!("{}: {quality} of {test_images} test images", model.display()))
    }
}

/// Distance and loss to train for, and the paper's recipe for them.
#[derive(Clone, Copy)]
struct Goal {
    distance: Distance,
    loss: Loss,
    paper: Recipe,
}

/// Paths of the files of a training run.
struct Folder {
    model: PathBuf,
    card: PathBuf,
    checkpoint: PathBuf,
}

impl Folder {
    fn new(folder: &Path) -> Self {
        let file = |name| folder.join(name);
        Self { model: file("model.safetensors"), card: file("card.toml"), checkpoint: file("checkpoint.safetensors") }
    }

    /// The card of a finished training; `None` if the training is not finished.
    ///
    /// # Errors
    /// A folder that belongs to another run.
    fn finished(&self, plan: &Plan) -> Result<Option<Card>> {
        if !self.model.exists() || self.checkpoint.exists() {
            return Ok(None);
        }
        let model = self.model.display();
        if !self.card.exists() {
            bail!("{model} is there, but neither its card nor a checkpoint: choose another folder with --output");
        }
        let card = Card::read(&self.card)?;
        let found = files::hash(&weights::bytes(&self.model)?);
        if found != card.provenance.weights_sha256 {
            let said = &card.provenance.weights_sha256;
            bail!(
                "{model} is not the file that its card describes: its SHA-256 is {found} instead of {said}; delete both to train anew"
            );
        }
        if let Some(difference) = plan.portable()?.difference(&card.training) {
            bail!("{model} is another run's, with {difference}: choose another folder with --output");
        }
        Ok(Some(card))
    }

    /// The model and progress of the checkpoint; without a checkpoint a new model, with the weights of `pretrained` if given.
    fn start(
        &self,
        plan: &Plan,
        training: &Training<'_>,
        (model, distance, place): (Architecture, Distance, &Place),
        device: Device,
        pretrained: Option<Weights>,
    ) -> Result<(Box<dyn Trainable>, Checkpoint)> {
        let (isa, seed) = (system::instruction_set(), Seed(plan.seed));
        let freeze = |mut model: Box<dyn Trainable>| -> Result<Box<dyn Trainable>> {
            plan.train_layers.as_deref().map_or(Ok(()), |layer| model.freeze_below(layer))?;
            Ok(model)
        };
        let images = images::names(training.dataset);
        let Some((mut checkpoint, state)) = Checkpoint::read(&self.checkpoint)? else {
            let model = match pretrained {
                Some(Weights { path, tensors, .. }) => model.pretrained_with(&path, tensors, distance, seed, place),
                None => model.initialize(distance, seed, place),
            };
            return Ok((freeze(model?)?, Checkpoint::new(plan.clone(), images, (device.to_string(), isa))));
        };
        let path = self.checkpoint.display();
        // The images of another dataset all differ, which the name of the dataset says already.
        let others = (plan.dataset == checkpoint.plan.dataset).then(|| images::difference(&checkpoint.images, &images)).flatten();
        let differences: Vec<String> = plan.difference(&checkpoint.plan).into_iter().chain(others).collect();
        if !differences.is_empty() {
            let difference = differences.join(", ");
            bail!("{path} is another run's, with {difference}: choose another folder with --output, or delete it");
        }
        if !checkpoint.instruction_sets.contains(&isa) {
            tracing::warn!(
                "{path} was made with {}, this run computes with {isa}: the last bits will differ",
                checkpoint.instruction_sets.join(", ")
            );
            checkpoint.instruction_sets.push(isa);
        }
        let device = device.to_string();
        if !checkpoint.devices.contains(&device) {
            tracing::warn!(
                "{path} was made on {}, this run computes on {device}: digits will differ",
                checkpoint.devices.join(", ")
            );
            checkpoint.devices.push(device);
        }
        let cannot = || format!("{path} cannot be gone on from; delete it to start anew");
        checkpoint.check_progress(training.steps(), training.steps_per_epoch()).with_context(cannot)?;
        let mut resumed = freeze(model.initialize(distance, seed, place)?)?;
        resumed.restore(state).with_context(cannot)?;
        tracing::info!("going on from step {}", checkpoint.step());
        Ok((resumed, checkpoint))
    }
}

/// Trains to the end and writes checkpoints. Returns the time that the model waited for images.
fn learn(training: &Training<'_>, model: &mut dyn Trainable, checkpoint: &mut Checkpoint, folder: &Folder) -> Result<Waiting> {
    let bar = progress::bar(training.steps() as u64);
    bar.set_position(checkpoint.step() as u64);
    bar.reset_eta();
    let (start, before, from) = (Instant::now(), checkpoint.seconds, checkpoint.progress());
    let mut saved = Instant::now();
    let mut failure = None;
    let outcome = training.run(model, from, &mut |moment, model| {
        checkpoint.follow(moment);
        checkpoint.seconds = before + start.elapsed().as_secs_f64();
        tell(&bar, moment, training.steps_per_epoch());
        if moment.epoch_ended || saved.elapsed() > BETWEEN_CHECKPOINTS {
            saved = Instant::now();
            if let Err(error) = checkpoint.write(&folder.checkpoint, model) {
                failure = Some(error);
                return ControlFlow::Break(());
            }
        }
        interrupt::flow()
    });
    if let Some(error) = failure {
        return Err(error);
    }
    match outcome {
        // Before the end of the first step there is nothing to save.
        Err(rankle_core::Error::Interrupted) if checkpoint.step() == 0 => {
            Err(Stop::interrupted("nothing was learned yet; the same command starts anew").into())
        }
        // An interrupt inside a step leaves the weights as they were before the step.
        Err(rankle_core::Error::Interrupted) => {
            checkpoint.write(&folder.checkpoint, model)?;
            Err(Stop::interrupted(format!("the same command goes on from step {} of {}", checkpoint.step(), training.steps()))
                .into())
        }
        outcome => Ok(outcome?),
    }
}

fn tell(bar: &ProgressBar, moment: Moment, per_epoch: usize) {
    let Moment { progress: Progress { step, loss }, steps, epoch_ended } = moment;
    let (epoch, epochs) = (step.div_ceil(per_epoch), steps / per_epoch);
    let line = format!("epoch {epoch} of {epochs}{}", shown(loss));
    bar.set_position(step as u64);
    if epoch_ended && !progress::visible() {
        tracing::info!("{line}");
    }
    bar.set_message(line);
}

/// Mean loss per image over the epoch so far, for display; empty before the first batch with a loss.
fn shown(loss: EpochLoss) -> String {
    loss.mean().map_or_else(String::new, |mean| format!(", loss {mean:.4}"))
}
