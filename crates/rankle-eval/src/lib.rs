//! Studies of image rankings under attack. A study measures a [`Subject`]: a model, its queries and its gallery, and their names.
//!
//! - [`experiment`] attacks images with an [`Experiment`], which holds all parameters of an attack, and makes the
//!   [`Record`](rankle_record::Record) of the outcome.
//! - [`transfer`] measures the attacked images on another model, [`universal`] one perturbation on many images.
//! - [`sanity`] checks a model that is claimed to be robust.
//! - [`plan`] computes the cells of a plan, each once, also when processes share the file of records; [`verify`] compares records
//!   with what is computed now.
//!
//! Every pass of a model is reported to a [`Monitor`], which may end the study: this is the only way to follow a study or to stop
//! it. A subject takes any [`Embedder`](rankle_core::Embedder), an experiment any registered attack.
//!
//! Left out: architectures (`rankle_models`), datasets (`rankle_data`), names and the command line (`rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_attacks`](../rankle_attacks/index.html),
//! [`rankle_metrics`](../rankle_metrics/index.html), [`rankle_record`](../rankle_record/index.html),
//! [`rankle_report`](../rankle_report/index.html), [`rankle`](../rankle/index.html).
//!
//! ```
//! use rankle_attacks::{AttackId, Protocol, Threat};
//! use rankle_core::{Distance, Seed, Sets, toy};
//! use rankle_eval::{Experiment, Identity, Model, Origin, RankedSubject, Subject, Unwatched, experiment};
//! use std::sync::Arc;
//!
//! let named = rankle_record::Subject {
//!     dataset: "toy".into(), query_dataset: None, gallery_dataset: None, model: "linear".into(), weights: String::new(),
//!     distance: "cosine".into(), loss: None, defense: None,
//! };
//! let identity = Identity {
//!     shown: named.data(), subject: named, preprocessing: None, weights_sha256: String::new(), probe_distances: None,
//!     device: "cpu".into(), instruction_set: String::new(), code_version: String::new(),
//! };
//! let model = Model::new(toy::embedder(0, Distance::Cosine)?);
//! let subject = Subject::new(model, Sets::one(Arc::new(toy::dataset(0))), identity, Arc::new(Unwatched))?;
//! let ranked = RankedSubject::new(subject)?;
//!
//! let attack = Experiment::usual(AttackId::CA_PLUS, Threat::linf(0.1)?, Protocol::Paper, Seed(0));
//! let images = ranked.subject().sample(attack.perturbs(), attack.seed(), 20)?;
//! let targets = attack.choose(&images, ranked.sets())?;
//! let start = std::time::Instant::now();
//! let outcome = attack.run(&ranked, &images, &targets, false)?;
//! let inputs = attack.inputs(ranked.subject(), images.len(), Origin::default());
//! let record = experiment::record(ranked.subject(), inputs, &outcome, start);
//! assert!(record.rank_after < record.rank_before); // nearer the top of the lists
//! # Ok::<(), rankle_eval::Error>(())
//! ```

mod collapse;
mod error;
pub mod experiment;
mod monitor;
mod monitored;
pub mod plan;
pub mod sanity;
mod subject;
pub mod transfer;
pub mod universal;
pub mod verify;

pub use collapse::warn_of_ties;
pub use error::{Error, Result};
pub use experiment::{Experiment, Inputs, Origin};
pub use monitor::{Monitor, Unwatched};
pub use monitored::{Monitored, MonitoredDefense, UncheckedGradient};
pub use subject::{Identity, Model, RankedSubject, Subject, embed, embed_sets};

use std::time::Instant;

/// A fraction in percent, without the digits that only come from the multiplication: 0.29 is 29, not 28.999999999999996.
pub fn percent(fraction: f64) -> f64 {
    (fraction * 1e14).round() / 1e12
}

/// Seconds since `start`, rounded to milliseconds.
pub fn seconds_since(start: Instant) -> f64 {
    (start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
}
