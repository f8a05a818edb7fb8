//! `rankle sanity`: checks whether a model that looks robust is robust.

mod memory;

use crate::arguments::{self, FormatArgument, SubjectArguments, heading};
use crate::data::check_pairs;
use crate::device::Device;
use crate::files::Input;
use crate::model_arguments::{ModelName, ModelOptions};
use crate::names::{self, Format};
use crate::search::{self, Remedy};
use crate::stop::Stop;
use crate::system::{self, Key};
use crate::{files, progress};
use anyhow::{Context, Result, bail};
use clap::Args;
use memory::{About, Memory};
use rankle_attacks::{Pgd, Threat};
use rankle_core::{Distance, Role, Seed};
use rankle_eval::sanity::{Questions, searches, work};
use rankle_eval::{Identity, RankedSubject, Subject, experiment};
use rankle_models::Architecture;
use rankle_record::{Epsilon, Search, SearchKind};
use rankle_report::Sanity as Page;
use rankle_report::sanity::{Check, Verdict};
use std::num::NonZero;
use std::path::PathBuf;

/// Check whether a model is robust, or only hides its gradients from the attack.
///
/// Nine checks, each with a verdict: do random signs have the effect of the attack, does a longer search raise the loss, does the
/// standard attack move ranks further, does epsilon = 1 break everything, do images made against another model have more effect,
/// does an attack without gradients, are gradients right, are gradients zero, and has the embedding collapsed? A failed check is a finding, not an error. The output folder, best that
/// of the weights, gets sanity.md and sanity.json. After an interrupt the same command goes on: finished searches are kept in
/// sanity.part.toml until the end.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sanity {
    #[command(flatten)]
    system: SubjectArguments,
    /// Largest change of a pixel, in units of the pixel range [0, 1]: the radius for which the model is claimed to be robust
    #[arg(
        long,
        value_name = "E",
        default_value = "0.3",
        value_parser = arguments::epsilon,
        allow_negative_numbers = true,
        help_heading = heading::ATTACK
    )]
    epsilon: Threat,
    /// Another model, for the check with images made against it: a folder that `rankle train` wrote, a file of weights, or
    /// onnx:FILE or exec:COMMAND
    #[arg(long, value_name = "FILE|FOLDER|onnx:FILE|exec:COMMAND", help_heading = heading::ATTACK)]
    against: Option<PathBuf>,
    /// Architecture of the --against model, if it differs from --model
    #[arg(
        long,
        value_name = "NAME",
        value_parser = names::RANKERS,
        requires = "against",
        help_heading = heading::ATTACK
    )]
    against_model: Option<Architecture>,
    /// Distance that the --against model was trained for, if it differs from --distance
    #[arg(
        long,
        value_name = "NAME",
        value_parser = names::DISTANCES,
        requires = "against",
        help_heading = heading::ATTACK
    )]
    against_distance: Option<Distance>,
    /// Number of images to attack, sampled by the seed; the comparison with noise takes ten times as many
    #[arg(
        long,
        value_name = "N",
        default_value = "100",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        help_heading = heading::IMAGES
    )]
    images: NonZero<usize>,
    /// Seed of the sampled images, their targets, the random starts and the noise
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true, help_heading = heading::IMAGES)]
    seed: u64,
    /// Folder for sanity.md and sanity.json; created if it does not exist
    #[arg(long, value_name = "FOLDER", help_heading = heading::OUTPUT)]
    output: PathBuf,
    #[command(flatten)]
    answer: FormatArgument,
}

/// File name of the page for people.
const PAGE: &str = "sanity.md";

const EXAMPLES: &str = "\
Example: a defended model, also attacked with images made against the plain one
  rankle sanity --dataset mnist --model models/mnist-c2f2-cosine-triplet-est \\
      --against models/mnist-c2f2-cosine-triplet --output sanity";

impl Sanity {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let (format, file) = (self.answer.format, self.output.join(PAGE));
        let page = self.page(device)?;
        match format {
            Format::Json => progress::answer(page.to_line()?),
            Format::Human => progress::answer(format!("{}\nthe page is {}", summary(&page), file.display())),
        }
    }

    /// Runs all checks and writes the page.
    ///
    /// # Errors
    /// Data or weights that cannot be read, a folder that cannot be written, and an interrupt.
    pub(crate) fn page(self, device: Device) -> Result<Page> {
        if self.epsilon.radius() == 0.0 {
            return Err(Stop::usage("--epsilon 0 leaves no room for an attack: name the radius that is claimed").into());
        }
        let override_card = self.system.system.model.override_card;
        let key = Key::try_from(self.system)?;
        let against = |weights: PathBuf| -> Result<Key> {
            let said = ModelOptions {
                options: ["--against", "--against-distance"],
                names: names::RANKERS,
                model: self.against_model.map(ModelName::Architecture),
                weights: Some(weights),
                distance: self.against_distance,
                override_card,
            };
            let Key { data, prefix, model, distance, .. } = key.clone();
            said.model(Some((model.architecture(), distance)))?.key(data, prefix)
        };
        let other = self.against.map(against).transpose()?;
        [&key].into_iter().chain(&other).try_for_each(|key| key.check_search(SearchKind::Pgd))?;
        other.as_ref().map_or(Ok(()), |other| key.check_beside(other))?;
        std::fs::create_dir_all(&self.output).with_context(|| format!("{} cannot be made", self.output.display()))?;
        let [page_file, json_file] = [PAGE, "sanity.json"].map(|name| self.output.join(name));
        let inputs: Vec<Input> = [&key].into_iter().chain(&other).flat_map(Key::inputs).collect();
        files::check_outputs(&[&page_file, &json_file].map(|file| ("--output", Some(file.as_path()))), &inputs)?;

        let bar = progress::bar(0);
        let seed = Seed(self.seed);
        let (subject, other) = key.open_beside(other, device, &bar)?;
        let hash = |subject: &Subject| subject.identity.weights_sha256.clone();
        if let Some(other) = other.as_ref().filter(|other| hash(other) == hash(&subject)) {
            bail!("--against {} holds the weights of --weights: name another model", other.identity.subject.weights);
        }
        check_pairs(&subject.identity.shown, subject.datasets().map(|set| set.labels()))?;
        let images = self.images.get();
        for role in [Role::Candidate, Role::Query] {
            subject.sample(role, seed, images)?;
        }
        search::heed(&Pgd::paper(self.epsilon).into(), Search::default(), Remedy::Radius);
        let galleries = subject.len() as u64 * if other.is_some() { 2 } else { 1 };
        let lens = subject.datasets().map(|set| set.len());
        bar.set_length(galleries + work(self.epsilon, images, lens, other.is_some()));
        bar.set_message(format!("questions to {subject}"));
        let about = about(&subject, other.as_ref(), self.epsilon, seed, images);
        let memory = Memory::open(&self.output, about, searches(other.is_some()))?;

        let ask = || -> rankle_eval::Result<Page> {
            let (ranked, other) = (RankedSubject::new(subject)?, other.map(RankedSubject::new).transpose()?);
            Questions { ranked, other, threat: self.epsilon, images, seed, memory: &memory }.ask()
        };
        let page = ask().map_err(|error| memory.going_on(error.into()))?;
        let page = Page { seconds: memory.seconds(), ..page };
        let line = page.to_line()? + "\n";
        files::write(&page_file, page.markdown())?;
        files::write(&json_file, line)?;
        memory.forget()?;
        progress::clear();
        Ok(page)
    }
}

/// Everything that the results of the searches depend on, by name.
fn about(subject: &Subject, other: Option<&Subject>, threat: Threat, seed: Seed, images: usize) -> About {
    let of = |subject: &Subject| {
        let Identity { subject, weights_sha256, .. } = &subject.identity;
        format!("{}, {}, {weights_sha256}", subject.model, subject.distance)
    };
    let named = &subject.identity.subject;
    let words = [
        ("dataset", named.dataset.clone()),
        ("preprocessing", subject.identity.preprocessing.clone().unwrap_or_default()),
        ("gallery", subject.dataset(Role::Candidate).len().to_string()),
        ("model", of(subject)),
        ("against", other.map_or_else(|| "none".to_owned(), of)),
        ("epsilon", threat.radius().to_string()),
        ("images", images.to_string()),
        ("seed", seed.0.to_string()),
        ("device", subject.identity.device.clone()),
        ("instruction-set", system::instruction_set()),
        ("version", system::CODE_VERSION.to_owned()),
        ("method", experiment::STANDARD.to_string()),
    ];
    let other = [
        ("queries", named.query_dataset.clone()),
        ("ranked", named.gallery_dataset.clone()),
        ("query-count", subject.datasets().queries.map(|set| set.len().to_string())),
    ];
    let other = other.into_iter().filter_map(|(name, word)| Some((name, word?)));
    words.into_iter().chain(other).map(|(name, word)| (name.to_owned(), word)).collect()
}

/// Summary of a page, with a line for each check.
fn summary(page: &Page) -> String {
    let mut text =
        format!("{} on {}, ε = {}: {}\n", page.subject.model, page.subject.data(), Epsilon(page.epsilon), page.headline());
    for Check { name, claim, verdict, answers, .. } in &page.checks {
        let failed: Vec<&str> =
            answers.iter().filter(|answer| answer.verdict == Verdict::Fail).map(|answer| answer.of.as_str()).collect();
        let failed = if failed.is_empty() { String::new() } else { format!(" ({})", failed.join(", ")) };
        text += &format!("  {verdict:<9} {name:<12} {claim}{failed}\n");
    }
    text.trim_end().to_owned()
}
