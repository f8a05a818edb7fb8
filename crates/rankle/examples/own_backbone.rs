//! Your own model behind the trait `Embedder`, attacked on MNIST: `cargo run --example own_backbone`.

use candle_core::{Device, Tensor};
use rankle_attacks::{
    CandidateAttack, Direction, Estimate, Pgd, Protocol, RankingAttack, Scene, Setting, Threat, run, sample_images,
};
use rankle_core::{Differentiable, Distance, Embedder, Gallery, InputSpec, Result, Seed, Sets};
use rankle_data::{Name, Split};

/// A dense layer shared by all patches of 4×4 pixels, tanh, then a dense layer to 64 numbers.
struct Patches {
    patch: Tensor,
    whole: Tensor,
}

impl Embedder for Patches {
    /// `(n, 1, 28, 28)`, pixels in `[0, 1]`, to `(n, 64)`.
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let n = images.dim(0)?;
        // Mean and standard deviation are a layer of the model, since attacks work on pixels in [0, 1].
        let pixels = ((images - 0.1307)? / 0.3081)?;
        // 7×7 patches. With a stride equal to the kernel size, a convolution is a matrix product.
        let patches = pixels.reshape((n, 7, 4, 7, 4))?.transpose(2, 3)?.reshape((n * 49, 16))?;
        let hidden = patches.matmul(&self.patch)?.tanh()?.reshape((n, 49 * 32))?;
        Ok(hidden.matmul(&self.whole)?)
    }

    fn distance(&self) -> Distance {
        Distance::Cosine
    }

    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, 28, 28))
    }

    fn differentiable(&self) -> Option<&dyn Differentiable> {
        Some(self)
    }
}

impl Differentiable for Patches {}

/// Weights from a formula. To read a file use `candle_core::safetensors::load`.
fn weights(inputs: usize, outputs: usize) -> Result<Tensor> {
    let scale = (2.0 / inputs as f32).sqrt();
    let weights = (0..inputs * outputs).map(|n| scale * (n as f32 * 1.7).sin());
    Ok(Tensor::from_iter(weights, &Device::Cpu)?.reshape((inputs, outputs))?)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let model = Patches { patch: weights(16, 32)?, whole: weights(49 * 32, 64)? };

    // The gallery: all 10,000 test images.
    let dataset = rankle_data::open(Name::Mnist, Split::Test, None)?;
    let everything: Vec<usize> = (0..dataset.len()).collect();
    let gallery = Gallery::new(&model.distance().normalize(&model.embed(&dataset.images(&everything)?)?)?)?;

    // CA+: each of 50 images is to rise in the list of one random query; no pixel may change by more than 0.3.
    let scene = Scene { sets: Sets::one(&gallery), protocol: Protocol::Paper, seed: Seed(0) };
    let attack = CandidateAttack::new(Direction::Raise, 1);
    let solver = Pgd::paper(Threat::linf(0.3)?);
    let images = sample_images(scene.seed, gallery.len(), 50);
    let targets = attack.choose(&images, &scene)?;
    let setting =
        Setting { embedder: &model, scene, images: Sets::one(&*dataset), batch_size: 50, eight_bit: false, keep_images: false };
    let outcome = run(&attack, &solver, &setting, &images, &targets)?;

    let percent = |ranks: &[f64]| Estimate::of(ranks).map_or(f64::NAN, |estimate| 100.0 * estimate.mean);
    let (before, after) = (percent(&outcome.before.rank), percent(&outcome.after.rank));
    println!("mean rank of the images: {before:.1} % before, {after:.1} % after (0 is the top of the list)");
    assert!(after < before / 4.0);
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rank_falls() {
        super::main().unwrap();
    }
}
