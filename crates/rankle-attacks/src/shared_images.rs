//! Images that share one perturbation, which a solver sees as a single image.

use crate::ball::shorten;
use crate::{AnySearch, AttackInstance, Objective, Problem, Solver, Threat};
use candle_core::{Device, Tensor};
use rankle_core::numbers::{doubles, numbers};
use rankle_core::{Differentiable, Distance, Embedder, Error, Evaluation, InputSpec, Place, Result, Score, Seed, Upstream};

/// Images that share a perturbation δ, with the loss on them.
///
/// For a solver they are model and objective of a problem with one image, the encoded perturbation `z = (1 + δ)/2`: gray for no
/// perturbation, and in the ball of half the radius where δ is in the ball. The model embeds all perturbed images as one row, one
/// after the other; loss and rank are sums over them. Sums are in f64, image by image, so that no bit depends on the chunks.
pub(crate) struct SharedImages<'a> {
    pub(crate) embedder: &'a dyn Differentiable,
    /// The compute backend of the embedder.
    pub(crate) place: &'a Place,
    /// Norm and radius of the perturbation.
    pub(crate) threat: Threat,
    /// True if perturbed images are clipped to `[0, 1]`.
    pub(crate) clips: bool,
    pub(crate) chunks: Vec<Chunk<'a>>,
}

/// Images that are embedded at once.
pub(crate) struct Chunk<'a> {
    /// Position of the first one among all images.
    pub(crate) first: usize,
    /// The clean images `(n, c, h, w)`, on the CPU.
    pub(crate) images: Tensor,
    /// The loss on them.
    pub(crate) instance: Box<dyn AttackInstance + 'a>,
}

impl Chunk<'_> {
    fn len(&self) -> usize {
        self.images.dims()[0]
    }

    /// The rows of these images among those of all images.
    fn rows(&self, all: &Tensor) -> Result<Tensor> {
        Ok(all.narrow(0, self.first, self.len())?)
    }
}

impl SharedImages<'_> {
    /// The perturbation that a solver finds. `key` is that of its random draws.
    pub(crate) fn solve(&self, search: AnySearch, key: u64, seed: Seed) -> Result<Vec<f32>> {
        let (channels, height, width) = self.embedder.input().shape;
        let clean = Tensor::full(0.5f32, (1, channels, height, width), &Device::Cpu)?;
        let problem = Problem { images: &clean, keys: &[key], objective: self, seed, place: &Place::Kernels };
        let encoded = Threat::new(self.threat.norm(), self.threat.radius() / 2.0)?;
        self.decode(&search.with_threat(encoded).solve(self, &problem)?)
    }

    /// The gradient of a loss with respect to the perturbation, where `upstream` answers the gradient with respect to the
    /// embeddings of a chunk. A clipped pixel does not follow the perturbation.
    pub(crate) fn gradient(
        &self,
        perturbation: &[f32],
        mut upstream: impl FnMut(&Chunk<'_>, &Tensor) -> Result<Tensor>,
    ) -> Result<Vec<f64>> {
        let mut sums = vec![0.0f64; perturbation.len()];
        for chunk in &self.chunks {
            let mut upstream = |raw: &Tensor| Ok(upstream(chunk, raw)?.to_device(raw.device())?);
            let gradient = self.embedder.input_gradient(&self.perturbed(chunk, perturbation)?, &mut upstream)?;
            let (gradient, clean) = (numbers(&gradient)?, numbers(&chunk.images)?);
            for (gradient, clean) in gradient.chunks_exact(sums.len()).zip(clean.chunks_exact(sums.len())) {
                for (((sum, &g), &x), &p) in sums.iter_mut().zip(gradient).zip(clean).zip(perturbation) {
                    let follows = !self.clips || (0.0..=1.0).contains(&(x + p));
                    *sum += if follows { f64::from(g) } else { 0.0 };
                }
            }
        }
        Ok(sums)
    }

    /// The perturbed images of a chunk, on the device of the embedder.
    fn perturbed(&self, chunk: &Chunk<'_>, perturbation: &[f32]) -> Result<Tensor> {
        let (_, channels, height, width) = chunk.images.dims4()?;
        let perturbation = Tensor::from_slice(perturbation, (1, channels, height, width), &Device::Cpu)?;
        let images = chunk.images.broadcast_add(&perturbation)?;
        self.place.to_device(&if self.clips { images.clamp(0f32, 1f32)? } else { images })
    }

    /// The perturbation of an encoded one. Decoding rounds, so it is held in its ball once more.
    fn decode(&self, encoded: &Tensor) -> Result<Vec<f32>> {
        if encoded.dims().first() != Some(&1) {
            let expected = "(1, c, h, w), one perturbation for all images".to_owned();
            return Err(Error::Shape { what: "the encoded perturbation", actual: encoded.dims().to_vec(), expected });
        }
        let mut perturbation: Vec<f32> = numbers(encoded)?.iter().map(|z| 2.0 * z - 1.0).collect();
        shorten(self.threat, &mut perturbation);
        Ok(perturbation)
    }

    /// One row for each image, from the single row of the encoded perturbation.
    fn by_image(&self, row: &Tensor) -> Result<Tensor> {
        let images: usize = self.chunks.iter().map(Chunk::len).sum();
        Ok(row.reshape((images, ()))?)
    }

    /// The answers of all chunks to their rows.
    fn each<T>(&self, row: &Tensor, answer: impl Fn(&dyn AttackInstance, &Tensor) -> Result<T>) -> Result<Vec<T>> {
        let rows = self.by_image(row)?;
        self.chunks.iter().map(|chunk| answer(&*chunk.instance, &chunk.rows(&rows)?)).collect()
    }
}

impl Embedder for SharedImages<'_> {
    fn embed(&self, encoded: &Tensor) -> Result<Tensor> {
        let perturbation = self.decode(encoded)?;
        let embed = |chunk| self.embedder.embed(&self.perturbed(chunk, &perturbation)?);
        single_row(&self.chunks.iter().map(embed).collect::<Result<Vec<_>>>()?)
    }

    fn distance(&self) -> Distance {
        self.embedder.distance()
    }

    fn input(&self) -> InputSpec {
        self.embedder.input()
    }
}

impl Differentiable for SharedImages<'_> {
    /// Embeds the images for `upstream`, which takes those of all chunks, before the pass that computes their gradients.
    fn input_gradient(&self, encoded: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let gradient = self.by_image(&upstream(&self.embed(encoded)?)?)?;
        let sums = self.gradient(&self.decode(encoded)?, |chunk, _| chunk.rows(&gradient))?;
        // δ moves by twice as much as its code.
        let gradient = sums.into_iter().map(|sum| (2.0 * sum) as f32).collect();
        Ok(Tensor::from_vec(gradient, encoded.shape(), encoded.device())?)
    }
}

impl Objective for SharedImages<'_> {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let mut losses = Vec::new();
        let (mut gradients, mut ranks) = (Vec::new(), Vec::new());
        for Evaluation { loss, gradient, rank } in self.each(raw, |instance, raw| instance.evaluate(raw))? {
            losses.push(loss);
            gradients.push(gradient);
            ranks.push(rank);
        }
        Ok(Evaluation { loss: sum(&losses)?, gradient: single_row(&gradients)?, rank: sum_if_all(ranks)? })
    }

    fn score(&self, raw: &Tensor) -> Result<Score> {
        let scores = self.each(raw, |instance, raw| instance.score(raw))?.into_iter();
        let (losses, ranks): (Vec<_>, Vec<_>) = scores.map(|Score { loss, rank }| (loss, rank)).unzip();
        Ok(Score { loss: sum(&losses)?, rank: sum_if_all(ranks)? })
    }

    fn rank(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        sum_if_all(self.each(raw, |instance, raw| instance.rank(raw))?)
    }

    fn first_gradient(&self, raw: &Tensor) -> Result<Option<Tensor>> {
        let gradients: Option<Vec<Tensor>> = self.each(raw, |instance, raw| instance.first_gradient(raw))?.into_iter().collect();
        gradients.map(|gradients| single_row(&gradients)).transpose()
    }
}

/// The rows of all chunks as a single one.
fn single_row(chunks: &[Tensor]) -> Result<Tensor> {
    Ok(Tensor::cat(chunks, 0)?.reshape((1, ()))?)
}

/// The sum over the images of all chunks, `(1)`.
fn sum(chunks: &[Tensor]) -> Result<Tensor> {
    let mut sum = 0.0f64;
    for numbers in chunks {
        doubles(numbers)?.into_iter().for_each(|number| sum += number);
    }
    Ok(Tensor::new(&[sum], &Device::Cpu)?)
}

/// As [`sum`]; `None` if a chunk has none.
fn sum_if_all(chunks: Vec<Option<Tensor>>) -> Result<Option<Tensor>> {
    let chunks: Option<Vec<Tensor>> = chunks.into_iter().collect();
    chunks.map(|chunks| sum(&chunks)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slope::directions;
    use crate::{AttackId, AttackOptions, Batch, Protocol, RankingAttack, Scene, Targets, build};
    use rankle_core::{Dataset, Distance, Embeddings, Gallery, Sets, toy};

    const IMAGES: [usize; 7] = [0, 17, 42, 99, 120, 150, 199];
    const TARGET: u32 = 60;

    /// Does `check` to the shared toy images, in chunks of this size.
    fn with_shared<T>(attack: AttackId, at_once: usize, check: impl FnOnce(&SharedImages<'_>) -> T) -> T {
        let (model, dataset) = (toy::embedder(3, Distance::Cosine).unwrap(), toy::dataset(3));
        let embedded = |images: &[usize]| -> Embeddings {
            model.distance().normalize(&model.embed(&dataset.images(images).unwrap()).unwrap()).unwrap()
        };
        let gallery = Gallery::new(&embedded(&(0..dataset.len()).collect::<Vec<_>>())).unwrap();
        let scene = Scene { sets: Sets::one(&gallery), protocol: Protocol::Paper, seed: Seed(0) };
        let attack: Box<dyn RankingAttack> = build(attack, 1, AttackOptions::default());
        let clean: Vec<Embeddings> = IMAGES.chunks(at_once).map(embedded).collect();
        let chunk = |(number, (images, clean)): (usize, (&'static [usize], _))| {
            let targets = Targets::new(images.len(), vec![TARGET; images.len()], 1, None, dataset.len()).unwrap();
            let instance =
                attack.instantiate(Batch { scene, labels: Sets::one(dataset.labels()), images, clean, targets }).unwrap();
            Chunk { first: number * at_once, images: dataset.images(images).unwrap(), instance }
        };
        check(&SharedImages {
            embedder: &model,
            place: &Place::Kernels,
            threat: Threat::linf(0.25).unwrap(),
            clips: true,
            chunks: IMAGES.chunks(at_once).zip(&clean).enumerate().map(chunk).collect(),
        })
    }

    /// An encoded perturbation that clips about a third of the pixels.
    fn encoded() -> Tensor {
        let ways = directions(Seed(5), 0, 1, (1, 8, 8)).unwrap();
        (ways * 0.1).unwrap().affine(1.0, 0.5).unwrap()
    }

    fn loss(shared: &SharedImages<'_>, encoded: &Tensor) -> f64 {
        shared.evaluate(&shared.embed(encoded).unwrap()).unwrap().losses().unwrap()[0]
    }

    #[test]
    fn the_gradient_is_that_of_the_loss_with_clipped_pixels() {
        const STEP: f64 = 1.0 / 8192.0;
        for attack in [AttackId::CA_PLUS, AttackId::QA_MINUS] {
            with_shared(attack, 3, |shared| {
                let z = encoded();
                let perturbation = shared.decode(&z).unwrap();
                let inside = numbers(&shared.chunks[0].images)
                    .unwrap()
                    .iter()
                    .zip(perturbation.iter().cycle())
                    .filter(|(x, p)| (0.0..=1.0).contains(&(**x + **p)))
                    .count();
                assert!((80..160).contains(&inside), "{inside} of 192 pixels are not clipped");
                let gradient = shared.input_gradient(&z, &mut |raw| Ok(shared.evaluate(raw)?.gradient)).unwrap();
                let steepness = numbers(&gradient).unwrap().iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                for key in 1..9 {
                    let way = directions(Seed(0), key, 1, (1, 8, 8)).unwrap();
                    let moved = |step: f64| loss(shared, &(&z + (&way * step).unwrap()).unwrap());
                    let quotient = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                    let slope = f64::from((&gradient * &way).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap());
                    assert!((quotient - slope).abs() < 0.02 * steepness, "{attack}: {quotient} {slope}");
                }
            });
        }
    }

    #[test]
    fn loss_and_rank_are_sums_over_the_images() {
        with_shared(AttackId::QA_PLUS, 3, |shared| {
            let raw = shared.embed(&encoded()).unwrap();
            let Evaluation { loss, rank, .. } = shared.evaluate(&raw).unwrap();
            let (mut losses, mut ranks) = (0.0, 0.0);
            for chunk in &shared.chunks {
                let moved = shared.perturbed(chunk, &shared.decode(&encoded()).unwrap()).unwrap();
                let one = chunk.instance.evaluate(&shared.embedder.embed(&moved).unwrap()).unwrap();
                losses += one.losses().unwrap().iter().sum::<f64>();
                ranks += doubles(&one.rank.unwrap()).unwrap().iter().sum::<f64>();
            }
            let [loss, rank] = [loss, rank.unwrap()].map(|number| doubles(&number).unwrap());
            assert!(loss.len() == 1 && (loss[0] - losses).abs() < 1e-9 && losses > 0.0, "{loss:?} {losses}");
            assert!(rank.len() == 1 && (rank[0] - ranks).abs() < 1e-9 && ranks > 0.0, "{rank:?} {ranks}");
            assert!(shared.rank(&raw).unwrap().is_some() && shared.first_gradient(&raw).unwrap().is_none());
        });
    }

    #[test]
    fn one_perturbation_is_for_all_images() {
        with_shared(AttackId::CA_PLUS, 7, |shared| {
            let two = Tensor::cat(&[encoded(), encoded()], 0).unwrap();
            assert!(matches!(shared.embed(&two), Err(Error::Shape { what: "the encoded perturbation", .. })));
            let gray = (encoded().zeros_like().unwrap() + 0.5).unwrap();
            assert_eq!(shared.decode(&gray).unwrap(), [0.0; 64]);
        });
    }
}
