//! `rankle classify`: how good a classifier is, and how much of that FGSM or PGD leave.

use crate::arguments::{self, TensorNames};
use crate::choice::Count;
use crate::data::Data;
use crate::device::Device;
use crate::model_arguments::{self, ModelName, Said};
use crate::names::{self, Format};
use crate::progress;
use crate::provenance::Measured;
use crate::search::{self, Remedy};
use anyhow::{Context, Result};
use clap::Args;
use rankle_attacks::{Classification, ClassifierAttack, Estimate, Hits, Pgd, Solver, Threat};
use rankle_core::{Distance, Role, Seed};
use rankle_data::Source;
use rankle_eval::{Subject, experiment, percent, seconds_since};
use rankle_record::Search;
use serde::Serialize;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// Measure a classifier: the share of test images whose class has the largest logit, before and after an attack.
///
/// The attacks raise the cross-entropy with the image's own class, whatever other class comes out: fgsm in one step of size
/// epsilon, pgd in ten steps of epsilon/5. All numbers are in percent. Classifiers are here for comparison: all other commands are
/// about rankings.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Classify {
    /// The images
    #[arg(long, value_name = "NAME", value_parser = names::Datasets)]
    dataset: Source,
    /// The folder with the files of the dataset; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    /// The folder that `rankle train` left, whose card tells the architecture; or an architecture, then with --weights
    #[arg(long, value_name = "FOLDER|NAME", value_parser = model_arguments::CLASSIFIERS)]
    model: ModelName,
    /// The weights: safetensors with the names of the public PyTorch code
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// What is said here counts where the card of the model says something else
    #[arg(long)]
    override_card: bool,
    #[command(flatten)]
    names: TensorNames,
    /// What to attack with; nothing when left out
    #[arg(long, value_name = "NAME", value_parser = names::CLASSIFIER_ATTACKS, requires = "epsilon")]
    attack: Option<ClassifierAttack>,
    /// How far the attack may move a pixel, as in 0.03 or 8/255; pixels are in [0, 1]
    #[arg(long, value_name = "E", value_parser = arguments::epsilon, allow_negative_numbers = true, requires = "attack")]
    epsilon: Option<Threat>,
    /// How many test images, sampled by the seed; when left out all, or 1000 under an attack
    #[arg(long, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    images: Option<NonZero<usize>>,
    /// The seed of the images
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    seed: u64,
    /// On standard output: a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

const EXAMPLES: &str = "\
Example:
  rankle train    --dataset mnist --model softmax --output models/softmax
  rankle classify --dataset mnist --model softmax --weights models/softmax/model.safetensors --attack pgd --epsilon 0.1";

/// The JSON object, in percent.
#[derive(Serialize)]
pub(crate) struct Answer {
    accuracy: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy_stderr: Option<f64>,
    #[serde(flatten)]
    attacked: Option<Attacked>,
    images: usize,
    seed: u64,
    #[serde(flatten)]
    provenance: Measured,
}

/// What an attack leaves.
#[derive(Serialize)]
struct Attacked {
    attack: String,
    epsilon: f64,
    step: f64,
    iterations: usize,
    accuracy_after: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy_after_stderr: Option<f64>,
}

impl Classify {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let format = self.format;
        let (answer, subject) = self.measure(device)?;
        match format {
            Format::Json => progress::answer(serde_json::to_string(&answer).context("the result is no JSON")?),
            Format::Human => progress::answer(answer.table(&subject)),
        }
    }

    /// Measures the classifier.
    ///
    /// # Errors
    /// When data or weights cannot be read; an interrupt.
    pub(crate) fn measure(self, device: Device) -> Result<(Answer, Subject)> {
        let Self { dataset, dataset_dir, model, weights, override_card, seed, .. } = self;
        let attack = self.attack.zip(self.epsilon).map(|(attack, threat)| (attack, attack.search(threat)));
        let bar = progress::bar(0);
        let prefix = self.names.strip_prefix;
        let (options, names) = (["--weights", "--distance"], names::CLASSIFIERS);
        let said = Said { options, names, model: Some(model), weights, distance: Some(Distance::Euclidean), override_card };
        let key = said.model(None)?.key(Data::one(dataset, dataset_dir), prefix)?;
        let subject = key.open(device, &bar)?;
        let count = match (self.images, &attack) {
            (None, None) => subject.len(),
            (images, _) => Count::usual(images).of(subject.len()),
        };
        let images = subject.sample(Role::Query, Seed(seed), count)?;
        if let Some((_, search)) = &attack {
            search::heed(search, Search::default(), Remedy::Radius);
        }
        bar.set_length(count as u64 * attack.map_or(1, |(_, search)| 2 + 2 * search.iterations as u64));

        let start = Instant::now();
        let dataset = subject.dataset(Role::Query);
        let setting = Classification { classifier: subject.embedder(), dataset, batch_size: experiment::BATCH };
        let solver = attack.as_ref().map(|(_, search)| search as &dyn Solver<_>);
        let hits = setting.run(solver, &images, Seed(seed))?;
        let answer = Answer::of(&subject, &hits, attack, seed, seconds_since(start))?;
        progress::clear();
        Ok((answer, subject))
    }
}

/// The mean and its standard error, in percent.
fn accuracy(hits: &[f64]) -> Result<(f64, Option<f64>)> {
    let estimate = Estimate::of(hits).context("no image was classified")?;
    Ok((percent(estimate.mean), estimate.standard_error.map(percent)))
}

impl Answer {
    fn of(subject: &Subject, hits: &Hits, attack: Option<(ClassifierAttack, Pgd)>, seed: u64, seconds: f64) -> Result<Self> {
        let attacked = attack.map(|(attack, Pgd { threat, step, iterations, .. })| {
            let (accuracy_after, accuracy_after_stderr) = accuracy(&hits.after)?;
            let (attack, epsilon) = (attack.to_string(), threat.radius());
            anyhow::Ok(Attacked { attack, epsilon, step, iterations, accuracy_after, accuracy_after_stderr })
        });
        let (accuracy, accuracy_stderr) = accuracy(&hits.before)?;
        Ok(Self {
            accuracy,
            accuracy_stderr,
            attacked: attacked.transpose()?,
            images: hits.before.len(),
            seed,
            provenance: Measured::of(subject, seconds),
        })
    }

    fn table(&self, subject: &Subject) -> String {
        let line = |name: &str, accuracy: f64, error: Option<f64>| {
            format!("\n  {name:<18}{accuracy:>8.2} %{}", error.map_or(String::new(), |error| format!(" ± {error:.2}")))
        };
        let rankle_record::Subject { dataset, model, .. } = &subject.identity.subject;
        let mut table = format!("{dataset} ({model}), {} test images, {:.1} s", self.images, self.provenance.seconds);
        table += &line("accuracy", self.accuracy, self.accuracy_stderr);
        if let Some(Attacked { attack, epsilon, accuracy_after, accuracy_after_stderr, .. }) = &self.attacked {
            table += &line(&format!("{attack}, ε = {epsilon}"), *accuracy_after, *accuracy_after_stderr);
        }
        table
    }
}
