//! `rankle classify`: accuracy of a classifier, on clean images and under FGSM or PGD.

use crate::arguments::{self, FormatArgument, TensorNames, heading};
use crate::choice::Count;
use crate::data::Data;
use crate::device::Device;
use crate::model_arguments::{self, ModelName, ModelOptions};
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

/// Measure the accuracy of a classifier, on clean images and under an attack.
///
/// The accuracy is the percentage of test images whose own class has the largest logit. An attack changes no pixel by more than
/// --epsilon, to raise the cross-entropy with the image's own class: fgsm in one step of epsilon, pgd in ten steps of epsilon/5.
/// Classifiers are here for comparison; all other attacks are on rankings.
#[derive(Args)]
#[command(next_help_heading = heading::DATA, after_help = EXAMPLES)]
pub(crate) struct Classify {
    /// The images; `rankle attack --help` lists the names
    #[arg(long, value_name = "NAME", value_parser = names::Datasets)]
    dataset: Source,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    /// The classifier: a folder that `rankle train` wrote, whose card.toml names the architecture; or an architecture, then with
    /// --weights
    #[arg(long, value_name = "FOLDER|NAME", value_parser = model_arguments::CLASSIFIERS, help_heading = heading::MODEL)]
    model: ModelName,
    /// The weights: a safetensors file with the tensor names of the public PyTorch code
    #[arg(long, value_name = "FILE", help_heading = heading::MODEL)]
    weights: Option<PathBuf>,
    /// Let these options win where they contradict the card of the model; otherwise that is an error
    #[arg(long, help_heading = heading::MODEL)]
    override_card: bool,
    #[command(flatten, next_help_heading = heading::MODEL)]
    names: TensorNames,
    /// The attack; none when left out
    #[arg(
        long,
        value_name = "NAME",
        value_parser = names::CLASSIFIER_ATTACKS,
        requires = "epsilon",
        help_heading = heading::ATTACK
    )]
    attack: Option<ClassifierAttack>,
    /// Largest change of a pixel, in units of the pixel range [0, 1], as in 0.03 or 8/255
    #[arg(
        long,
        value_name = "E",
        value_parser = arguments::epsilon,
        allow_negative_numbers = true,
        requires = "attack",
        help_heading = heading::ATTACK
    )]
    epsilon: Option<Threat>,
    /// Number of test images, sampled by the seed; when left out all, or at most 1000 under an attack
    #[arg(
        long,
        value_name = "N",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        help_heading = heading::IMAGES
    )]
    images: Option<NonZero<usize>>,
    /// Seed of the sampled images
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, help_heading = heading::IMAGES)]
    seed: u64,
    #[command(flatten)]
    answer: FormatArgument,
}

const EXAMPLES: &str = "\
Example:
  rankle train    --dataset mnist --model softmax --output models/softmax
  rankle classify --dataset mnist --model models/softmax --attack pgd --epsilon 0.1";

/// The JSON object; accuracies are in percent.
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

/// An attack and the accuracy under it.
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
        let format = self.answer.format;
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
        let said =
            ModelOptions { options, names, model: Some(model), weights, distance: Some(Distance::Euclidean), override_card };
        let key = said.model(None)?.key(Data::one(dataset, dataset_dir), prefix)?;
        let subject = key.open(device, &bar)?;
        let count = match (self.images, &attack) {
            (None, None) => subject.len(),
            (images, _) => Count::usual(images).of(subject.len()),
        };
        let images = subject.sample(Role::Query, Seed(seed), count)?;
        if let Some((_, search)) = &attack {
            search::heed(&(*search).into(), Search::default(), Remedy::Radius);
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

/// Accuracy and its standard error, in percent.
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
