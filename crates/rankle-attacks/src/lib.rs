//! Adversarial ranking attacks: what to move in a ranking, and how to search the ball around an image for it.
//!
//! An [`Aim`] says in embedding space what an attacker wants; a [`Solver`] such as [`Pgd`] searches the L∞ ball for it.
//! Neither knows the other. This crate knows no file, no dataset, no architecture and no command line.
//!
//! ```
//! use rankle_attacks::{EmbeddingShift, Pgd, Solver, signs};
//! use rankle_core::{Dataset, Distance, Embedder, Epsilon, Seed, seed::Purpose, toy};
//!
//! let (dataset, embedder) = (toy::dataset(0), toy::embedder(0, Distance::Cosine)?);
//! let images = dataset.images(&[3, 4])?;
//! let clean = embedder.distance().place(&embedder.embed(&images)?)?;
//! let aim = EmbeddingShift::new(clean.clone(), signs(Seed(0), Purpose::FirstStep, &[[3, 0], [4, 0]]))?;
//!
//! let moved = Pgd::paper(Epsilon::new(0.1)?).solve(&embedder, &images, &[3, 4], &aim, Seed(0))?;
//! let moved = embedder.distance().place(&embedder.embed(&moved)?)?;
//! assert!(rankle_attacks::shifts(&clean, &moved)?.iter().all(|&shift| shift > 0.05));
//! # Ok::<(), rankle_core::Error>(())
//! ```

mod aim;
mod ball;
mod numbers;
mod pgd;
mod shift;

pub use aim::{Aim, Evaluation, Solver};
pub use ball::Ball;
pub use pgd::{Keep, Pgd};
pub use shift::{EmbeddingShift, shifts, signs};
