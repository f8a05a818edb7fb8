//! Adversarial attacks on image rankings: choice of targets, losses, searches inside a ball, and ranks before and after.
//!
//! A [`RankingAttack`] draws [`Targets`] and defines a loss of embeddings ([`Objective`]) with an exact gradient in closed form:
//! [`CandidateAttack`] (CA±), [`QueryAttack`] (QA±), [`PreservingQueryAttack`] (SP-QA±), [`ShiftAttack`] (ES). A [`Solver`] such
//! as [`Pgd`] lowers the loss inside the L∞ or L2 ball of a [`Threat`]. Neither depends on the other: a new attack needs no
//! search loop, a new solver works with every attack. [`run`] combines the two, projects onto the ball, and measures ranks by
//! counting. Ablations change the [`ObjectiveKind`] or the [`TargetPool`]. An [`AttackSpec`] describes attack and search as data;
//! [`build`] and [`search`] construct them.
//!
//! Ranks and shares are fractions. A [`Protocol`] selects the definitions of the paper or corrected ones.
//!
//! [`transfer`] measures an attack on another model than the one it was computed on. [`UniversalAttack`] computes one
//! perturbation for many images. Robustness is checked (METHOD.md 14) with [`Noise`] in place of a search, with [`losses`] and
//! [`gradients`] at given images, with [`slopes`], and with [`GradientCheck`] for a model alone. [`Classification`] measures a
//! [`ClassifierAttack`] on a classifier.
//!
//! Left out: datasets (`rankle-data`), architectures (`rankle-models`), record format (`rankle-record`), command line (`rankle`).
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle_core`](../rankle_core/index.html),
//! [`rankle_record`](../rankle_record/index.html), [`rankle_defense`](../rankle_defense/index.html),
//! [`rankle_eval`](../rankle_eval/index.html).
//!
//! ```
//! use rankle_attacks::{CandidateAttack, Direction, Estimate, Pgd, Protocol, RankingAttack, Scene, Setting, Threat, run, sample_images};
//! use rankle_core::{Dataset, Distance, Embedder, Gallery, Seed, Sets, toy};
//!
//! let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine)?);
//! let everything: Vec<usize> = (0..dataset.len()).collect();
//! let gallery = Gallery::new(&embedder.distance().normalize(&embedder.embed(&dataset.images(&everything)?)?)?)?;
//!
//! // The gallery items are the queries; `Sets { gallery, queries: Some(others) }` has a separate set of queries.
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

mod any_search;
mod apgd;
mod attack;
mod ball;
mod best;
mod build;
mod by_distance;
mod candidate;
mod classifier;
mod classifier_attack;
mod custom;
mod differences;
mod draw;
mod goal;
mod gradient_check;
mod logits;
mod misclassification;
mod noise;
mod objective;
mod pgd;
mod prescribed;
mod probe;
mod query;
mod rank_rule;
mod run;
mod scene;
mod shared_images;
mod shift;
mod shift_attack;
mod slope;
mod soft_rank;
mod solver;
mod square;
mod standard;
mod target_pool;
mod targeted_dlr;
mod targets;
mod threat;
mod transfer;
mod universal;

pub use any_search::{AnySearch, Cost};
pub use apgd::Apgd;
pub use attack::{AttackInstance, Batch, Measures, RankingAttack};
pub use ball::Ball;
pub use build::{build, resolve, search};
pub use candidate::CandidateAttack;
pub use classifier::{Classification, Hits, PartHits};
pub use classifier_attack::{ClassifierAttack, ClassifierLoss, ClassifierPart};
pub use custom::CustomAttack;
pub use draw::sample_images;
pub use goal::Goal;
pub use gradient_check::GradientCheck;
pub use misclassification::Misclassification;
pub use noise::Noise;
pub use objective::Objective;
pub use pgd::{Iterate, Pgd};
pub use prescribed::Prescribed;
pub use probe::{Zeros, gradients, losses};
pub use query::{PreservingQueryAttack, QueryAttack};
pub use rank_rule::{RankOf, RankRule, Ties};
pub use rankle_record::{
    AttackId, AttackOptions, AttackSpec, Declaration, Direction, Estimate, Norm, ObjectiveKind, Protocol, Search, SearchKind,
    SharedBy, TargetPool,
};
pub use run::{Outcome, Setting, run};
pub use scene::Scene;
pub use shift::{EmbeddingShift, shifts, signs};
pub use shift_attack::ShiftAttack;
pub use slope::{Agreement, Slope, directions, slopes};
pub use solver::{Problem, Solver};
pub use square::Square;
pub use standard::{Part, PartOutcome, PartSearch, Standard, run_spec, transfer_spec};
pub use targeted_dlr::TargetedDlr;
pub use targets::Targets;
pub use threat::Threat;
pub use transfer::{Transfer, Victim, target_gallery, transfer};
pub use universal::{Half, Halves, UniversalAttack, UniversalOutcome, universal_target};
