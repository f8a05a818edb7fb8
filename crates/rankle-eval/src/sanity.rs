//! Whether a robust model is one: eight questions, each with a verdict.

mod attacks;
mod bounds;
mod embedding;
mod gradients;
mod lab;
mod wording;

pub use attacks::{searches, work};
pub use lab::Tried;

use crate::error::{Result, invalid};
use crate::{RankedSubject, experiment, transfer};
use lab::Lab;
use rankle_attacks::{Protocol, Threat};
use rankle_core::{Role, Seed, Sets};
use rankle_report::Sanity as Page;
use rankle_report::sanity::{Check, QUESTIONS};
use serde::{Deserialize, Serialize};

/// What one search of a study found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// How much work it was, in the units of a monitor.
    pub work: u64,
    /// On each model that it was measured on.
    pub tried: Vec<Tried>,
}

/// Keeps what the searches of a study found, so that a study that was ended goes on behind them.
pub trait Memory {
    /// What the search of this name found in an earlier run.
    fn recall(&self, name: &str) -> Option<Remembered>;
    /// Keeps what it found. What cannot be kept is searched for again some day.
    fn keep(&self, name: &str, found: Remembered);
}

/// Remembers nothing.
#[derive(Clone, Copy, Debug)]
pub struct Forgetful;

impl Memory for Forgetful {
    fn recall(&self, _name: &str) -> Option<Remembered> {
        None
    }
    fn keep(&self, _name: &str, _found: Remembered) {}
}

/// What is asked.
pub struct Questions<'a> {
    /// The model that is claimed to be robust.
    pub ranked: RankedSubject,
    /// Another model, whose images are tried on the first one.
    pub other: Option<RankedSubject>,
    /// What the claim is about.
    pub threat: Threat,
    /// How many images of each set are attacked.
    pub images: usize,
    /// The seed of every draw.
    pub seed: Seed,
    /// What earlier runs have found.
    pub memory: &'a dyn Memory,
}

impl Questions<'_> {
    /// Asks all of them. The page does not say yet how long it took.
    ///
    /// # Errors
    /// What the libraries report, or the end that the monitor asks for.
    pub fn ask(self) -> Result<Page> {
        let Self { ranked, other, threat, images, seed, memory } = self;
        let of = |role| ranked.subject().sample(role, seed, images);
        let queries = ranked.subject().datasets().queries.map(|_| of(Role::Query)).transpose()?;
        let sampled = Sets { gallery: of(Role::Candidate)?, queries };
        let mut lab = Lab { memory, question: String::new(), ranked, images: sampled, threat, seed, attacks: Vec::new() };
        let (checks, recall_at_1) = ask(&mut lab, other.as_ref())?;
        let subject = lab.ranked.subject();
        Ok(Page {
            subject: subject.identity.subject.clone(),
            preprocessing: subject.identity.preprocessing.clone(),
            epsilon: threat.radius(),
            images,
            gallery: subject.dataset(Role::Candidate).len(),
            seed: seed.0,
            recall_at_1,
            against: other.as_ref().map(|other| transfer::source(other.subject())),
            checks,
            seconds: 0.0,
            provenance: subject.provenance(experiment::method_version(Protocol::Strict)),
        })
    }
}

/// All checks in the order of [`QUESTIONS`], and the recall at 1 where there is one.
fn ask(lab: &mut Lab<'_>, other: Option<&RankedSubject>) -> Result<(Vec<Check>, Option<f64>)> {
    let mut checks = Vec::new();
    let mut recall_at_1 = None;
    for (at, question) in QUESTIONS.into_iter().enumerate() {
        let place = format!("check {} of {}", at + 1, QUESTIONS.len());
        lab.question = format!("{place}, {question}");
        lab.ranked.subject().monitor().enter(&lab.question);
        let check = match question {
            "noise" => attacks::noise(lab)?,
            "effort" => {
                lab.attack()?;
                attacks::effort(lab)?
            }
            "enough" => attacks::enough(lab)?,
            "unbounded" => attacks::unbounded(lab)?,
            "transfer" => attacks::transferred(lab, other)?,
            "gradients" => gradients::differences(lab)?,
            "zeros" => gradients::zeros(lab)?,
            "collapse" => {
                let (check, recall) = embedding::collapse(lab)?;
                recall_at_1 = Some(recall).filter(|recall| recall.is_finite());
                check
            }
            unknown => return invalid(format!("there is no check '{unknown}'")),
        };
        tracing::info!("{place}, {question}: {}", check.verdict);
        checks.push(check);
    }
    Ok((checks, recall_at_1))
}
