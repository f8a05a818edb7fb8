//! Adversarial training with maximum-shift adversaries.

use candle_core::Tensor;
use rankle_attacks::{AnySearch, EmbeddingShift, Pgd, Prescribed, Problem, Solver, Threat, signs};
use rankle_core::seed::Purpose;
use rankle_core::{Defense, Differentiable, Result, Seed};

/// Replaces every image of a batch, anchors, positives and negatives alike, by one whose embedding is as far as possible from its
/// clean embedding. Later work calls the result EST, embedding-shifted triplet.
///
/// # Source
/// Zhou et al., "Adversarial Ranking Attack and Defense", ECCV 2020, arXiv:2002.11293, section 4; METHOD.md 11.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShiftDefense {
    /// The inner search for adversarial images.
    pub search: AnySearch,
}

impl ShiftDefense {
    /// The paper's inner search: `T = min(max(10, 2ε/α), 30)` steps of `α = min(max(ε/10, 1/255), 0.01)` from the clean image
    /// (METHOD.md 11; unlike an attack it has no special case for tiny ε). The paper uses ε = 0.3 at 28×28.
    pub fn paper(threat: Threat) -> Self {
        Self { search: Pgd::many_steps(threat).into() }
    }

    /// The paper's inner search, and values for others.
    pub fn prescribed(threat: Threat) -> Prescribed {
        Prescribed::of(Pgd::many_steps(threat))
    }
}

impl Defense for ShiftDefense {
    fn perturb(&self, frozen: &dyn Differentiable, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor> {
        let place = frozen.place();
        let images = &place.to_device(images)?;
        let clean = place.normalize(frozen.distance(), &frozen.embed(images)?)?;
        let keyed: Vec<[u64; 2]> = keys.iter().map(|&image| [epoch, image]).collect();
        let objective = EmbeddingShift::new(clean, signs(seed, Purpose::TrainingFirstStep, &keyed))?;
        let seed = seed.derived(Purpose::TrainingSearch, [epoch, 0]);
        self.search.solve(frozen, &Problem { images, keys, objective: &objective, seed, place: &place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_attacks::shifts;
    use rankle_core::{Dataset, Distance, Embedder as _, toy};

    #[test]
    #[rustfmt::skip] // the columns are the point
    fn the_schedule_is_that_of_the_paper() {
        //                 epsilon  step         iterations
        for (epsilon, step, iterations) in [
            (0.3,     0.01,        30),
            (0.06,    0.006,       20),
            (0.001,   1.0 / 255.0, 10),
        ] {
            let prescribed = ShiftDefense::prescribed(Threat::linf(epsilon).unwrap());
            assert_eq!(ShiftDefense::paper(prescribed.pgd.threat).search, prescribed.pgd.into());
            assert_eq!((prescribed.pgd.step, prescribed.pgd.iterations), (step, iterations), "{epsilon}");
            assert_eq!(prescribed.apgd.iterations, iterations, "{epsilon}");
        }
    }

    /// Random starts are those of the epoch.
    #[test]
    fn epochs_have_starts_of_their_own() {
        let (dataset, embedder) = (toy::dataset(0), toy::embedder(1, Distance::Cosine).unwrap());
        let prescribed = ShiftDefense::prescribed(Threat::linf(0.1).unwrap());
        let images = dataset.images(&[4, 9]).unwrap();
        let pixels = |search: AnySearch, epoch| {
            let moved = ShiftDefense { search }.perturb(&embedder, &images, &[4, 9], epoch, Seed(5)).unwrap();
            moved.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let random = Pgd { random_start: true, iterations: 1, ..prescribed.pgd }.into();
        assert!(pixels(random, 3) == pixels(random, 3) && pixels(random, 3) != pixels(random, 4));
    }

    /// Every image moves, none leaves the ball, and neither the batch nor its order matters.
    #[test]
    fn perturbed_images_are_shifted_inside_the_ball_whatever_their_batch() {
        for distance in Distance::ALL {
            let (dataset, embedder) = (toy::dataset(0), toy::embedder(1, distance).unwrap());
            let defense = ShiftDefense::paper(Threat::linf(0.1).unwrap());
            let indices = [4, 9, 17, 30];
            let keys = indices.map(|i| i as u64);
            let images = dataset.images(&indices).unwrap();
            let together = defense.perturb(&embedder, &images, &keys, 3, Seed(5)).unwrap();
            let moved = (&together - &images).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(moved <= 0.1 + 1e-6);
            let place = |images: &Tensor| distance.normalize(&embedder.embed(images).unwrap()).unwrap();
            assert!(shifts(&place(&images), &place(&together)).unwrap().iter().all(|&shift| shift > 1e-3));
            for (row, (&index, &key)) in indices.iter().zip(&keys).enumerate() {
                let alone = defense.perturb(&embedder, &dataset.images(&[index]).unwrap(), &[key], 3, Seed(5)).unwrap();
                let (alone, together) = (alone.get(0).unwrap(), together.get(row).unwrap());
                assert_eq!(
                    alone.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                    together.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                );
            }
        }
    }
}
