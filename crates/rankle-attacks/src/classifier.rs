//! Untargeted attacks on classifiers, whose embeddings are logits.

use crate::{Ball, Objective, Pgd, Problem, Solver, Threat};
use candle_core::Tensor;
use rankle_core::classes::predictions;
use rankle_core::dataset::check_indices;
use rankle_core::{Dataset, Differentiable, Error, Evaluation, Place, Result, Seed, in_pieces};
use std::{fmt, str::FromStr};

/// Searches against classifiers: `fgsm`, `pgd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClassifierAttack {
    /// The fast gradient sign method: one step of size ε (Goodfellow et al., arXiv:1412.6572).
    Fgsm,
    /// Projected gradient descent: ten steps of size ε/5 from the clean image (Madry et al., arXiv:1706.06083).
    Pgd,
}

impl ClassifierAttack {
    /// Both searches, for messages and menus.
    pub const ALL: [Self; 2] = [Self::Fgsm, Self::Pgd];

    /// The search with the numbers of the paper's code (METHOD.md 12). Unlike in that code, the gradient is that of the
    /// classifier in evaluation mode, without dropout: an attack that follows a network other than its victim is weaker.
    pub fn search(self, threat: Threat) -> Pgd {
        match self {
            Self::Fgsm => Pgd::from_clean(threat, threat.radius(), 1),
            Self::Pgd => Pgd::from_clean(threat, threat.radius() / 5.0, 10),
        }
    }
}

/// Untargeted misclassification: raises the cross-entropy of every image of a batch with its own label.
#[derive(Clone, Debug)]
pub struct Misclassification {
    /// One label per image of the batch.
    pub labels: Vec<u32>,
    /// Compute backend of the logits.
    pub place: Place,
}

impl Objective for Misclassification {
    fn evaluate(&self, raw: &Tensor) -> Result<Evaluation> {
        let Evaluation { loss, gradient, .. } = self.place.cross_entropy(raw, &self.labels)?;
        Ok(Evaluation::new(loss.neg()?, gradient.neg()?))
    }
}

/// A classifier and the labeled images that it classifies.
#[derive(Clone, Copy)]
pub struct Classification<'a> {
    /// The classifier, whose embeddings are logits.
    pub classifier: &'a dyn Differentiable,
    /// The images with their labels, which number the classes from 0.
    pub dataset: &'a dyn Dataset,
    /// Number of images per batch. Costs memory, changes no result.
    pub batch_size: usize,
}

/// Correctly classified images: 1 for a hit, 0 for a miss, in the order of the images. Their mean is the accuracy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hits {
    /// Hits on the clean images.
    pub before: Vec<f64>,
    /// Hits on the attacked images; empty without an attack.
    pub after: Vec<f64>,
}

impl<'a> Classification<'a> {
    /// Classifies the images with these indices and, with a solver, their attacked versions. As in [`crate::run()`], the images
    /// of the solver are projected onto the ball once more. The seed keys a random start.
    ///
    /// # Errors
    /// [`Error::Empty`] without images; [`Error::Index`] for an image outside the dataset and for a label without a logit;
    /// [`Error::NotFinite`] when a logit is not finite; and the errors of the classifier and the solver.
    pub fn run(&self, solver: Option<&dyn Solver<dyn Differentiable + 'a>>, images: &[usize], seed: Seed) -> Result<Hits> {
        if images.is_empty() {
            return Err(Error::Empty("images to classify"));
        }
        check_indices("image", images, self.dataset.len())?;
        let mut hits = Hits::default();
        let place = self.classifier.place();
        in_pieces(images.len(), &mut { self.batch_size }, |piece| {
            let indices = &images[piece];
            let clean = place.to_device(&self.dataset.images(indices)?)?;
            let labels: Vec<u32> = indices.iter().map(|&image| self.dataset.labels()[image]).collect();
            let before = self.hits(&clean, &labels)?;
            if let Some(solver) = solver {
                let keys: Vec<u64> = indices.iter().map(|&image| image as u64).collect();
                let objective = Misclassification { labels, place: place.clone() };
                let problem = Problem { images: &clean, keys: &keys, objective: &objective, seed, place: &place };
                let moved = solver.solve(self.classifier, &problem)?;
                let moved = Ball::around(&clean, solver.threat()).project(&moved)?;
                hits.after.extend(self.hits(&moved, &objective.labels)?);
            }
            hits.before.extend(before);
            Ok(())
        })?;
        Ok(hits)
    }

    fn hits(&self, images: &Tensor, labels: &[u32]) -> Result<Vec<f64>> {
        let logits = self.classifier.embed(images)?;
        let classes = logits.dims().get(1).copied().unwrap_or(0);
        let places: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
        check_indices("class", &places, classes)?;
        let answers = predictions(&logits)?;
        Ok(answers.iter().zip(labels).map(|(answer, label)| f64::from(u8::from(answer == label))).collect())
    }
}

impl fmt::Display for ClassifierAttack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fgsm => "fgsm",
            Self::Pgd => "pgd",
        })
    }
}

impl FromStr for ClassifierAttack {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        let unknown = |known| Error::Unknown { what: "attack", name: name.into(), known };
        rankle_registry::named(name, Self::ALL.into_iter()).map_err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Iterate;
    use candle_core::{DType, Device};
    use rankle_core::{Distance, Embedder, InputSpec, toy};

    /// A classifier whose logits are the mean brightness of each quarter of a toy image: its class is the brightest one.
    struct Quarters;

    impl Embedder for Quarters {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            let weight: Vec<f32> = (0..64 * 4)
                .map(|at| {
                    let (pixel, class) = (at / 4, at % 4);
                    if (pixel / 8 / 4, pixel % 8 / 4) == (class / 2, class % 2) { 1.0 / 16.0 } else { 0.0 }
                })
                .collect();
            Ok(images.flatten_from(1)?.matmul(&Tensor::from_vec(weight, (64, 4), &Device::Cpu)?)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((1, 8, 8))
        }
    }

    impl Differentiable for Quarters {}

    fn classify(solver: Option<&Pgd>, batch_size: usize) -> Hits {
        let dataset = toy::dataset(0);
        let everything: Vec<usize> = (0..dataset.len()).collect();
        let setting = Classification { classifier: &Quarters, dataset: &dataset, batch_size };
        setting.run(solver.map(|solver| solver as &dyn Solver<_>), &everything, Seed(0)).unwrap()
    }

    fn pgd(attack: ClassifierAttack, epsilon: f64) -> Pgd {
        attack.search(Threat::linf(epsilon).unwrap())
    }

    #[test]
    fn accuracy_is_one_where_nobody_attacks_and_none_where_the_quarters_can_trade_places() {
        let clean = classify(None, 7);
        assert_eq!((clean.before.iter().sum::<f64>(), clean.after.len()), (200.0, 0));
        for attack in ClassifierAttack::ALL {
            // A quarter is brighter by 0.55 on average, within 0.02 · 2 for every image: a ball of 0.2 cannot bridge that, one of
            // 0.4 can.
            for (epsilon, left) in [(0.0, 200.0), (0.2, 200.0), (0.4, 0.0)] {
                let hits = classify(Some(&pgd(attack, epsilon)), 64);
                assert_eq!((hits.before.len(), hits.after.iter().sum::<f64>()), (200, left), "{attack} {epsilon}");
                assert_eq!(hits, classify(Some(&pgd(attack, epsilon)), 9), "{attack}: the size of the batch counts");
            }
        }
    }

    #[test]
    fn the_searches_are_those_of_the_paper() {
        let (fgsm, pgd) = (pgd(ClassifierAttack::Fgsm, 0.3), pgd(ClassifierAttack::Pgd, 0.3));
        assert_eq!((fgsm.step, fgsm.iterations, pgd.step, pgd.iterations), (0.3, 1, 0.06, 10));
        for attack in ClassifierAttack::ALL {
            assert_eq!(attack.to_string().parse::<ClassifierAttack>().unwrap(), attack);
            let search = attack.search(Threat::linf(0.1).unwrap());
            assert!(!search.random_start && search.keep == Iterate::Last);
        }
        assert!("bim".parse::<ClassifierAttack>().unwrap_err().to_string().contains("known: fgsm, pgd"));
    }

    /// Both searches raise the cross-entropy and stay in the ball.
    #[test]
    fn the_loss_rises_inside_the_ball() {
        let dataset = toy::dataset(1);
        let images = dataset.images(&[0, 1, 2, 3]).unwrap();
        let objective = Misclassification { labels: dataset.labels()[..4].to_vec(), place: Place::Kernels };
        let loss = |images: &Tensor| objective.evaluate(&Quarters.embed(images).unwrap()).unwrap().losses().unwrap();
        let problem =
            Problem { images: &images, keys: &[0, 1, 2, 3], objective: &objective, seed: Seed(0), place: &Place::Kernels };
        let clean = loss(&images);
        for attack in ClassifierAttack::ALL {
            let moved = pgd(attack, 0.1).solve(&Quarters, &problem).unwrap();
            let farthest = (&moved - &images).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(farthest <= 0.1 + 1e-6);
            assert!(loss(&moved).iter().zip(&clean).all(|(now, before)| now < &(before - 1e-3)), "{attack}");
        }
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let aim = Misclassification { labels: vec![1, 0], place: Place::Kernels };
        let at = |values: &[f32; 6]| aim.evaluate(&Tensor::from_slice(values, (2, 3), &Device::Cpu).unwrap()).unwrap();
        let values = [0.5, -1.0, 2.0, 0.1, 0.2, -0.7];
        let gradient = at(&values).gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (place, &gradient) in gradient.iter().enumerate() {
            let sum = |step: f32| {
                let mut values = values;
                values[place] += step;
                at(&values).losses().unwrap().iter().sum::<f64>()
            };
            let difference = (sum(1e-3) - sum(-1e-3)) / 2e-3;
            assert!((difference - f64::from(gradient)).abs() < 1e-4, "{place}: {difference} {gradient}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dataset = toy::dataset(0);
        let setting = Classification { classifier: &Quarters, dataset: &dataset, batch_size: 10 };
        let run = |images: &[usize]| setting.run(None, images, Seed(0));
        assert!(matches!(run(&[]), Err(Error::Empty(_))));
        assert!(matches!(run(&[200]), Err(Error::Index { .. })));
        let aim = Misclassification { labels: vec![0], place: Place::Kernels };
        let logits = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(aim.evaluate(&logits(&[2, 3])), Err(Error::Shape { .. })));
        assert!(matches!(aim.evaluate(&logits(&[3])), Err(Error::Shape { .. })));
        assert!(matches!(
            Misclassification { labels: vec![3], place: Place::Kernels }.evaluate(&logits(&[1, 3])),
            Err(Error::Index { .. })
        ));
    }
}
