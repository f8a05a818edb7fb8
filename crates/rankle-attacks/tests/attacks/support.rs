//! 1,000 small images, enough for a top 1 % of ten, and a nonlinear embedding of them.

use candle_core::{Device, Tensor};
use rand::Rng;
use rankle_attacks::{AttackId, AttackInstance, AttackOptions, Batch, Objective, Protocol, Scene, Targets, build};
use rankle_core::dataset::check_indices;
use rankle_core::seed::Purpose;
use rankle_core::{Dataset, Differentiable, Distance, Embedder, Embeddings, Gallery, InputSpec, Result, Seed, Sets};

pub(crate) const LEN: usize = 1000;
const PIXELS: usize = 25;
const DIM: usize = 9;

pub(crate) struct World {
    pixels: Vec<f32>,
    labels: Vec<u32>,
}

pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = Seed(seed).stream(Purpose::Toy, [77, 0]);
    (0..len).map(|_| rng.random()).collect()
}

pub(crate) fn world() -> World {
    World { pixels: random(1, LEN * PIXELS), labels: (0..LEN as u32).map(|image| image % 5).collect() }
}

impl Dataset for World {
    fn name(&self) -> &str {
        "world"
    }
    fn shape(&self) -> (usize, usize, usize) {
        (1, 5, 5)
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn images(&self, indices: &[usize]) -> Result<Tensor> {
        check_indices("image", indices, LEN)?;
        let pixels: Vec<f32> = indices.iter().flat_map(|&i| &self.pixels[i * PIXELS..][..PIXELS]).copied().collect();
        Ok(Tensor::from_vec(pixels, (indices.len(), 1, 5, 5), &Device::Cpu)?)
    }
}

/// `tanh` of a random linear map. The products are summed pixel by pixel: a library matrix product would round differently in
/// batches of different sizes.
pub(crate) struct Curved {
    weight: Tensor,
    distance: Distance,
}

pub(crate) fn embedder(seed: u64, distance: Distance) -> Curved {
    let weight = random(seed, PIXELS * DIM).into_iter().map(|x| x - 0.5).collect();
    Curved { weight: Tensor::from_vec(weight, (1, PIXELS, DIM), &Device::Cpu).unwrap(), distance }
}

impl Embedder for Curved {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        Ok(images.flatten_from(1)?.unsqueeze(2)?.broadcast_mul(&self.weight)?.sum(1)?.tanh()?)
    }
    fn distance(&self) -> Distance {
        self.distance
    }
    fn input(&self) -> InputSpec {
        InputSpec::of_shape((1, 5, 5))
    }
}

impl Differentiable for Curved {}

pub(crate) fn place(embedder: &dyn Embedder, dataset: &dyn Dataset, images: &[usize]) -> Embeddings {
    embedder.distance().normalize(&embedder.embed(&dataset.images(images).unwrap()).unwrap()).unwrap()
}

pub(crate) fn gallery(embedder: &dyn Embedder, dataset: &dyn Dataset) -> Gallery {
    let everything: Vec<usize> = (0..dataset.len()).collect();
    Gallery::new(&place(embedder, dataset, &everything)).unwrap()
}

/// A scene whose queries are the gallery items.
pub(crate) fn at(gallery: &Gallery, protocol: Protocol, seed: u64) -> Scene<'_> {
    Scene { sets: Sets::one(gallery), protocol, seed: Seed(seed) }
}

/// A gallery of the given raw rows.
pub(crate) fn rows(distance: Distance, rows: &[&[f32]]) -> Embeddings {
    let raw = Tensor::from_vec(rows.concat(), (rows.len(), rows[0].len()), &Device::Cpu).unwrap();
    distance.normalize(&raw).unwrap()
}

/// An attack instantiated with targets chosen by hand; `images` are gallery indices, `clean` their embeddings.
#[allow(clippy::too_many_arguments, reason = "everything an attack can be bound to")]
pub(crate) fn bind<'a>(
    kind: AttackId,
    variant: AttackOptions,
    gallery: &'a Gallery,
    images: &'a [usize],
    clean: &'a Embeddings,
    targets: Targets,
    protocol: Protocol,
) -> Box<dyn AttackInstance + 'a> {
    let labels: &'static [u32] = vec![0; gallery.len()].leak();
    let batch = Batch { scene: at(gallery, protocol, 0), labels: Sets::one(labels), images, clean, targets };
    build(kind, batch.targets.targets_per_image(), variant).instantiate(batch).unwrap()
}

pub(crate) fn losses(aim: &dyn Objective, embedder: &dyn Embedder, images: &Tensor) -> Vec<f64> {
    aim.evaluate(&embedder.embed(images).unwrap()).unwrap().losses().unwrap()
}
