//! Nine checks of a model that is claimed to be robust, each with a verdict (METHOD.md 14).

mod attacks;
mod bounds;
mod embedding;
mod gradients;
mod lab;
mod wording;

pub use attacks::{searches, work};
pub use lab::SearchResult;

use crate::error::{Result, invalid};
use crate::{RankedSubject, experiment, transfer};
use lab::Lab;
use rankle_attacks::Threat;
use rankle_core::{Role, Seed, Sets};
use rankle_report::Sanity as Page;
use rankle_report::sanity::{Check, QUESTIONS};
use serde::{Deserialize, Serialize};

/// Result of one search of a study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredSearch {
    /// Cost of the search, in units of a [`Monitor`](crate::Monitor).
    pub work: u64,
    /// Ranks on each model that was measured.
    pub tried: Vec<SearchResult>,
}

/// Stores the results of the searches of a study, so that an interrupted study resumes behind them.
pub trait Memory {
    /// The stored result of the search of this name, from an earlier run.
    fn recall(&self, name: &str) -> Option<StoredSearch>;
    /// Stores a result. If it cannot be stored, a later run searches again.
    fn keep(&self, name: &str, found: StoredSearch);
}

/// A memory that stores nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoMemory;

impl Memory for NoMemory {
    fn recall(&self, _name: &str) -> Option<StoredSearch> {
        None
    }
    fn keep(&self, _name: &str, _found: StoredSearch) {}
}

/// Inputs of a sanity study.
pub struct Questions<'a> {
    /// The model that is claimed to be robust.
    pub ranked: RankedSubject,
    /// Another model, for the transfer check; without it that check has no answer.
    pub other: Option<RankedSubject>,
    /// The norm and radius of the claim.
    pub threat: Threat,
    /// Number of images of each set that are attacked.
    pub images: usize,
    /// The seed of every draw.
    pub seed: Seed,
    /// Results of earlier runs.
    pub memory: &'a dyn Memory,
}

impl Questions<'_> {
    /// Runs all checks. The `seconds` of the page stay 0.
    ///
    /// # Errors
    /// Errors of the attacks, or an interrupt by the monitor.
    pub fn ask(self) -> Result<Page> {
        let Self { ranked, other, threat, images, seed, memory } = self;
        let of = |role| ranked.subject().sample(role, seed, images);
        let queries = ranked.subject().datasets().queries.map(|_| of(Role::Query)).transpose()?;
        let sampled = Sets { gallery: of(Role::Candidate)?, queries };
        let mut lab = Lab {
            memory,
            question: String::new(),
            ranked,
            images: sampled,
            threat,
            seed,
            attacks: Vec::new(),
            families: Vec::new(),
        };
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
            provenance: subject.provenance(experiment::STANDARD),
        })
    }
}

/// Runs all checks in the order of [`QUESTIONS`]; also returns the recall at 1 in percent, if it is a number.
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
            "enough" => {
                lab.attack_families()?;
                attacks::enough(lab)?
            }
            "unbounded" => attacks::unbounded(lab)?,
            "transfer" => attacks::transferred(lab, other)?,
            "gradient-free" => attacks::gradient_free(lab)?,
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
