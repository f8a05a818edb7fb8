//! The loss of an attacker and its gradient at given images.

use crate::run::each_batch;
use crate::{Objective, RankingAttack, Setting, Targets};
use candle_core::{Device, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::{Embedder, Error, Result};

/// The attacker's loss of every image when its pixels are its row of `at`, `(n, c, h, w)`; lower is better for the attacker.
///
/// # Errors
/// As [`crate::run`], and [`Error::Shape`] when `at` does not hold one image for each of `images`.
pub fn losses<M: Embedder + ?Sized>(
    attack: &dyn RankingAttack,
    setting: &Setting<'_, M>,
    images: &[usize],
    targets: &Targets,
    at: &Tensor,
) -> Result<Vec<f64>> {
    let mut losses = Vec::with_capacity(images.len());
    batches(attack, setting, images, targets, at, &mut |at, objective| {
        losses.append(&mut objective.evaluate(&setting.embedder.embed(at)?)?.losses()?);
        Ok(())
    })?;
    Ok(losses)
}

/// The gradient of [`losses`] with respect to the pixels, shaped as `at` and on the CPU.
///
/// # Errors
/// As [`losses`].
pub fn gradients(
    attack: &dyn RankingAttack,
    setting: &Setting<'_>,
    images: &[usize],
    targets: &Targets,
    at: &Tensor,
) -> Result<Tensor> {
    let mut gradients = Vec::new();
    batches(attack, setting, images, targets, at, &mut |at, objective| {
        let mut upstream = |raw: &Tensor| Ok(objective.evaluate(raw)?.gradient.to_device(raw.device())?);
        let gradient = setting.embedder.input_gradient(at, &mut upstream)?;
        gradients.push(gradient.to_device(&Device::Cpu)?);
        Ok(())
    })?;
    Ok(Tensor::cat(&gradients, 0)?)
}

/// Shares of gradients that are exactly zero, as fractions. A sign attack does not move there, so a model with vanishing
/// gradients looks robust to it without being so.
///
/// # Source
/// Athalye et al., "Obfuscated Gradients Give a False Sense of Security", ICML 2018, arXiv:1802.00420.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zeros {
    /// Share of pixels with a zero gradient.
    pub pixels: f64,
    /// Share of images whose gradient is zero at every pixel.
    pub images: f64,
}

impl Zeros {
    /// Counts the zeros of gradients `(n, c, h, w)`.
    ///
    /// # Errors
    /// [`Error::Empty`] without images, [`Error::NotFinite`] for gradients that are not finite.
    pub fn of(gradients: &Tensor) -> Result<Self> {
        let (images, values) = (gradients.dims().first().copied().unwrap_or(0), numbers(gradients)?);
        if images == 0 || values.is_empty() {
            return Err(Error::Empty("gradients"));
        }
        if !values.iter().all(|x| x.is_finite()) {
            return Err(Error::NotFinite("the gradient of the loss".into()));
        }
        let zeros = |values: &[f32]| values.iter().filter(|&&x| x == 0.0).count();
        let rows = values.chunks_exact(values.len() / images);
        let silent = rows.filter(|row| zeros(row) == row.len()).count();
        Ok(Self { pixels: zeros(&values) as f64 / values.len() as f64, images: silent as f64 / images as f64 })
    }
}

/// Passes the loss of the attack to `each`, batch by batch, with the rows of `at`.
fn batches<M: Embedder + ?Sized>(
    attack: &dyn RankingAttack,
    setting: &Setting<'_, M>,
    images: &[usize],
    targets: &Targets,
    at: &Tensor,
    each: &mut dyn FnMut(&Tensor, &dyn Objective) -> Result<()>,
) -> Result<()> {
    if at.dims().first() != Some(&images.len()) {
        let expected = format!("({}, c, h, w), one row per image", images.len());
        return Err(Error::Shape { what: "the pixels of the images", actual: at.dims().to_vec(), expected });
    }
    let mut done = 0;
    each_batch(attack, &setting.source(), setting, (images, targets), &mut |batch| {
        let at = at.narrow(0, done, batch.indices.len())?;
        each(&at, batch.instance)?;
        // Not before: a batch for which a device has no memory comes again.
        done += batch.indices.len();
        Ok(())
    })
}
