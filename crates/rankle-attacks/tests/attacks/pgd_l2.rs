//! PGD under L2 against torchattacks on the same loss: `fixtures/README.md`.

use candle_core::{Device, Tensor, safetensors};
use rankle_attacks::{Misclassification, Pgd, Problem, Solver, Threat};
use rankle_core::{Differentiable, Distance, Embedder, InputSpec, Place, Result, Seed};

/// A classifier whose logits are a linear map of `tanh` of a linear map.
struct Classifier {
    first: Tensor,
    second: Tensor,
}

impl Embedder for Classifier {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        Ok(images.flatten_from(1)?.matmul(&self.first)?.tanh()?.matmul(&self.second)?)
    }
    fn distance(&self) -> Distance {
        Distance::Euclidean
    }
    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, 5, 5))
    }
}

impl Differentiable for Classifier {}

#[test]
fn images_are_those_of_torchattacks() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pgd_l2.safetensors");
    let fixture = safetensors::load(path, &Device::Cpu).unwrap();
    let classifier = Classifier { first: fixture["first"].clone(), second: fixture["second"].clone() };
    let images = &fixture["images"];
    let objective = Misclassification { labels: fixture["labels"].to_vec1().unwrap(), place: Place::Kernels };
    let keys: Vec<u64> = (0..objective.labels.len() as u64).collect();
    let problem = Problem { images, keys: &keys, objective: &objective, seed: Seed(0), place: &Place::Kernels };
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    for (name, epsilon, step, iterations) in [("left", 0.8, 0.2, 10), ("never-left", 2.0, 0.1, 5), ("covers", 6.0, 1.0, 10)] {
        let search = Pgd::from_clean(Threat::l2(epsilon).unwrap(), step, iterations);
        let ours = values(&search.solve(&classifier, &problem).unwrap());
        let theirs = values(&fixture[name]);
        let apart = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "{name}: {apart}");
        assert!(ours.iter().zip(values(images)).any(|(a, b)| (a - b).abs() > 0.05), "{name}: nothing moved");
    }
}
