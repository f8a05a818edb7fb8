//! `rankle classify`: accuracy of a classifier, on clean images and under attack.

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
use rankle_attacks::{Classification, ClassifierAttack, ClassifierPart, Cost, Estimate, Hits, PartHits, Threat};
use rankle_core::{Distance, Role, Seed};
use rankle_data::Source;
use rankle_eval::{Subject, experiment, percent, seconds_since};
use rankle_record::{Epsilon, Search};
use serde::{Deserialize, Serialize};
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Instant;

/// Measure the accuracy of a classifier, on clean images and under an attack.
///
/// The accuracy is the percentage of test images whose own class has the largest logit. An attack changes no pixel by more than
/// --epsilon. Three raise the cross-entropy with the image's own class: fgsm in one step of epsilon, pgd in ten steps of epsilon/5,
/// apgd in 100 steps whose size it adapts to each image. standard is the strongest: it does as apgd, then attacks the images that
/// are still classified correctly with each of up to nine other classes as the target, in 100 steps on the difference of logits ratio.
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
    /// Seed of the sampled images and of random starts
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
    /// Of FGSM and PGD; the others adapt theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<f64>,
    /// Number of steps of each search.
    #[serde(skip_serializing_if = "Option::is_none")]
    iterations: Option<usize>,
    accuracy_after: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy_after_stderr: Option<f64>,
    /// Empty for an attack of a single part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<PartAccuracy>,
}

/// The accuracy after one part of an attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartAccuracy {
    name: String,
    accuracy_after: f64,
    /// Number of input gradients of all images together.
    gradients: u64,
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
        let attack = self.attack.zip(self.epsilon);
        let parts = attack.map_or(Vec::new(), |(attack, threat)| attack.parts(threat));
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
        parts.iter().for_each(|part| search::heed(&part.search, Search::default(), Remedy::Radius));
        bar.set_length(cost(&parts, count));

        let start = Instant::now();
        let dataset = subject.dataset(Role::Query);
        let setting = Classification { classifier: subject.embedder(), dataset, batch_size: experiment::BATCH };
        let hits = setting.run(&parts, &images, Seed(seed))?;
        let attacked = attack.map(|(attack, threat)| Attacked::of(attack, threat, &parts, &hits)).transpose()?;
        let answer = Answer::of(&subject, &hits, attacked, seed, seconds_since(start))?;
        progress::clear();
        Ok((answer, subject))
    }
}

/// Accuracy and its standard error, in percent.
fn accuracy(hits: &[f64]) -> Result<(f64, Option<f64>)> {
    let estimate = Estimate::of(hits).context("no image was classified")?;
    Ok((percent(estimate.mean), estimate.standard_error.map(percent)))
}

/// Cost of classifying this many images and attacking them, in units of a progress bar. Images that leave their class early cost
/// less.
fn cost(parts: &[ClassifierPart], images: usize) -> u64 {
    let each: u64 = parts.iter().map(ClassifierPart::cost).map(|Cost { gradients, queries }| 2 * gradients + queries).sum();
    images as u64 * (1 + each)
}

impl Attacked {
    fn of(attack: ClassifierAttack, threat: Threat, parts: &[ClassifierPart], hits: &Hits) -> Result<Self> {
        let Search { step, iterations, .. } = parts.first().map(|part| part.search.parameters()).unwrap_or_default();
        let (accuracy_after, accuracy_after_stderr) = accuracy(hits.after())?;
        let part = |PartHits { name, hits, gradients }: &PartHits| {
            Ok(PartAccuracy { name: (*name).to_owned(), accuracy_after: accuracy(hits)?.0, gradients: *gradients })
        };
        let parts = if hits.parts.len() > 1 { hits.parts.iter().map(part).collect::<Result<_>>()? } else { Vec::new() };
        let (attack, epsilon) = (attack.to_string(), threat.radius());
        Ok(Self { attack, epsilon, step, iterations, accuracy_after, accuracy_after_stderr, parts })
    }
}

impl Answer {
    fn of(subject: &Subject, hits: &Hits, attacked: Option<Attacked>, seed: u64, seconds: f64) -> Result<Self> {
        let (accuracy, accuracy_stderr) = accuracy(&hits.before)?;
        Ok(Self {
            accuracy,
            accuracy_stderr,
            attacked,
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
            table += &line(&format!("{attack}, ε = {}", Epsilon(*epsilon)), *accuracy_after, *accuracy_after_stderr);
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_core::{Dataset, Differentiable, Embedder, toy};
    use rankle_eval::{Monitor, Monitored};
    use std::ops::ControlFlow;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    struct Counting(AtomicU64);

    impl Monitor for Counting {
        fn advance(&self, units: u64) -> ControlFlow<()> {
            self.0.fetch_add(units, Ordering::Relaxed);
            ControlFlow::Continue(())
        }
    }

    /// Within so small a radius no image leaves its class.
    #[test]
    fn the_bar_is_as_long_as_the_work() {
        let dataset = toy::dataset(0);
        let run = |classifier: &dyn Differentiable, parts: &[ClassifierPart], images: &[usize]| {
            Classification { classifier, dataset: &dataset, batch_size: 3 }.run(parts, images, Seed(0)).unwrap()
        };
        // A toy embedder that happens to be right about some images.
        let right = |seed| {
            let classifier = toy::embedder(seed, Distance::Euclidean).unwrap();
            let hits = run(&classifier, &[], &(0..dataset.len()).collect::<Vec<_>>()).before;
            let images: Vec<usize> = (0..dataset.len()).filter(|&image| hits[image] > 0.0).take(5).collect();
            (images.len() == 5).then_some((classifier, images))
        };
        let (classifier, images) = (0..100).find_map(right).unwrap();
        let attacks = ClassifierAttack::ALL
            .into_iter()
            .flat_map(|attack| [0.0, 1e-6].map(|epsilon| attack.parts(Threat::linf(epsilon).unwrap())));
        for parts in attacks.chain([Vec::new()]) {
            let counting = Arc::new(Counting::default());
            let watched = Monitored::new(Box::new(&classifier as &dyn Embedder), counting.clone());
            run(&watched, &parts, &images);
            assert_eq!(counting.0.load(Ordering::Relaxed), cost(&parts, images.len()), "{parts:?}");
        }
    }
}
