//! The file of `--save-adversarial`.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use rankle_attacks::{Outcome, Targets};
use rankle_core::Dataset;
use rankle_models::weights;
use std::path::Path;

/// Writes the images before and after with all that is known of each: `images` and `adversarial` (f32, n x c x h x w),
/// `image_indices` (u32, n), and for attacks with targets `target_indices` (u32, n x set), `rank_before` and `rank_after`
/// (f32, n, percent), and `preserved_indices` (u32, n x set) where items are preserved.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn write(path: &Path, dataset: &dyn Dataset, images: &[usize], targets: &Targets, outcome: &Outcome) -> Result<()> {
    let n = images.len();
    let adversarial = outcome.adversarial.clone().context("the adversarial images were not kept")?;
    let indices: Vec<u32> = images.iter().map(|&image| image as u32).collect();
    let mut tensors = weights::Tensors::from([
        ("images".to_owned(), dataset.images(images)?),
        ("adversarial".to_owned(), adversarial),
        ("image_indices".to_owned(), Tensor::from_vec(indices, n, &Device::Cpu)?),
    ]);
    if targets.set() > 0 {
        let percent = |ranks: &[f64]| {
            let ranks: Vec<f32> = ranks.iter().map(|&rank| (100.0 * rank) as f32).collect();
            Tensor::from_vec(ranks, n, &Device::Cpu)
        };
        tensors.insert("target_indices".to_owned(), Tensor::from_slice(targets.indices(), (n, targets.set()), &Device::Cpu)?);
        tensors.insert("rank_before".to_owned(), percent(&outcome.before.rank)?);
        tensors.insert("rank_after".to_owned(), percent(&outcome.after.rank)?);
    }
    if let Some((preserved, set)) = targets.preserved() {
        tensors.insert("preserved_indices".to_owned(), Tensor::from_slice(preserved, (n, set), &Device::Cpu)?);
    }
    Ok(weights::write(path, &tensors)?)
}
