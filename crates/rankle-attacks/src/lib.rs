//! Adversarial ranking attacks: what to move in a ranking, how to search the ball around an image for it, and what came of it.
//!
//! A [`RankingAttack`] chooses [`Targets`] and says in embedding space what it wants of them ([`Objective`]), with an exact gradient
//! from closed forms: [`CandidateAttack`] (CA±), [`QueryAttack`] (QA±), [`PreservingQueryAttack`] (SP-QA±), [`ShiftAttack`]
//! (ES). A [`Solver`] such as [`Pgd`] searches for it what a [`Threat`] allows: a ball of L∞ or L2. Neither knows the other: a new attack writes no loop, a new
//! solver touches no attack. [`run`] puts both together, keeps the ball, and measures ranks by counting, never by sorting.
//! For ablations an attack can take another [`ObjectiveKind`] or another [`TargetPool`] of targets.
//!
//! Ranks and shares are fractions. Two [`Protocol`]s exist: the definitions of the paper, and corrected ones.
//!
//! [`transfer`] measures an attack on another model than the one it was computed on, and [`UniversalAttack`] computes one
//! perturbation for many images. Whether a robust model is one is asked with [`Noise`] in the place of a search, and with the
//! attacker's [`losses`] and [`gradients`] at any place, beside what [`slopes`] says of them. Of a model alone [`GradientCheck`] says
//! whether its gradient is one.
//!
//! For comparison, [`Classification`] measures what FGSM and PGD do to a classifier: the same searches with another aim.
//!
//! What an attack is called and what it can be asked for is `rankle-record`'s [`AttackSpec`]; [`build`] and [`search`] make of it
//! what computes.
//!
//! Left out: this crate knows no file, no dataset, no architecture, no command line and no record format.
//!
//! ```
//! use rankle_attacks::{CandidateAttack, Direction, Estimate, Pgd, Protocol, RankingAttack, Scene, Setting, Threat, run, sample_images};
//! use rankle_core::{Dataset, Distance, Embedder, Gallery, Seed, Sets, toy};
//!
//! let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine)?);
//! let everything: Vec<usize> = (0..dataset.len()).collect();
//! let gallery = Gallery::new(&embedder.distance().normalize(&embedder.embed(&dataset.images(&everything)?)?)?)?;
//!
//! // Gallery items ask for one another; `Sets { gallery, queries: Some(others) }` has queries of its own.
//! let scene = Scene { sets: Sets::one(&gallery), protocol: Protocol::Paper, seed: Seed(0) };
//! let attack = CandidateAttack::new(Direction::Raise, 1);
//! let images = sample_images(scene.seed, gallery.len(), 20);
//! let targets = attack.choose(&images, &scene)?;
//! let setting = Setting {
//!     embedder: &embedder, scene, images: Sets::one(&dataset),
//!     batch_size: 10, eight_bit: false, keep_images: false,
//! };
//! let solver = Pgd::paper(Threat::linf(0.1)?);
//! let outcome = run(&attack, &solver, &setting, &images, &targets)?;
//!
//! let mean = |ranks: &[f64]| Estimate::of(ranks).map_or(f64::NAN, |estimate| estimate.mean);
//! assert!(mean(&outcome.after.rank) < mean(&outcome.before.rank) - 0.1); // nearer the top of the lists
//! # Ok::<(), rankle_core::Error>(())
//! ```

mod attack;
mod ball;
mod best;
mod build;
mod by_distance;
mod candidate;
mod classifier;
mod custom;
mod differences;
mod draw;
mod gradient_check;
mod noise;
mod objective;
mod pgd;
mod probe;
mod query;
mod rank_rule;
mod run;
mod scene;
mod shift;
mod shift_attack;
mod slope;
mod solver;
mod target_pool;
mod targets;
mod threat;
mod transfer;
mod universal;

pub use attack::{AttackInstance, Batch, Measures, RankingAttack};
pub use ball::Ball;
pub use build::{build, resolve, search};
pub use candidate::CandidateAttack;
pub use classifier::{Classification, ClassifierAttack, Hits, Misclassification};
pub use custom::CustomAttack;
pub use draw::sample_images;
pub use gradient_check::GradientCheck;
pub use noise::Noise;
pub use objective::Objective;
pub use pgd::{Iterate, Pgd};
pub use probe::{Zeros, gradients, losses};
pub use query::{PreservingQueryAttack, QueryAttack};
pub use rank_rule::{RankOf, RankRule, Ties};
pub use rankle_record::{
    AttackId, AttackOptions, AttackSpec, Declaration, Direction, Estimate, Norm, ObjectiveKind, Protocol, Search, SharedBy,
    TargetPool,
};
pub use run::{Outcome, Setting, run};
pub use scene::Scene;
pub use shift::{EmbeddingShift, shifts, signs};
pub use shift_attack::ShiftAttack;
pub use slope::{Agreement, Slope, directions, slopes};
pub use solver::{Problem, Solver};
pub use targets::Targets;
pub use threat::Threat;
pub use transfer::{Transfer, Victim, target_gallery, transfer};
pub use universal::{Half, Halves, UniversalAttack, UniversalOutcome, universal_target};
