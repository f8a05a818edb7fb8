//! Classification of images before and after an attack, by classifiers, whose embeddings are logits.

use crate::standard::part_seed;
use crate::{Ball, ClassifierLoss, ClassifierPart, Problem, Solver};
use candle_core::Tensor;
use rankle_core::classes::predictions;
use rankle_core::dataset::check_indices;
use rankle_core::numbers::numbers;
use rankle_core::{Dataset, Differentiable, Error, Result, Seed, in_pieces};

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
    /// The parts of the attack; empty without one.
    pub parts: Vec<PartHits>,
}

/// The outcome of one part of an attack. An image that an earlier part had brought out of its class counts as a miss.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartHits {
    /// Name of the part.
    pub name: &'static str,
    /// Hits on the attacked images.
    pub hits: Vec<f64>,
    /// Number of input gradients of all images together.
    pub gradients: u64,
}

impl Hits {
    /// Hits after all parts of the attack; empty without an attack.
    pub fn after(&self) -> &[f64] {
        self.parts.last().map_or(&[], |part| &part.hits)
    }
}

/// A batch of clean images.
struct ClassifiedBatch {
    images: Tensor,
    /// Their indices in the dataset.
    keys: Vec<u64>,
    labels: Vec<u32>,
}

impl<'a> Classification<'a> {
    /// Classifies the images with these indices, then their versions attacked by each part. The first search attacks all images,
    /// later ones only those that are still classified correctly. As in [`crate::run()`], the images of a search are projected
    /// onto the ball once more. The seed keys random starts, of which every search has its own.
    ///
    /// # Errors
    /// [`Error::Empty`] without images; [`Error::Index`] for an image outside the dataset and for a label without a logit;
    /// [`Error::NotFinite`] when a logit is not finite; and the errors of the classifier and the searches.
    pub fn run(&self, parts: &[ClassifierPart], images: &[usize], seed: Seed) -> Result<Hits> {
        if images.is_empty() {
            return Err(Error::Empty("images to classify"));
        }
        check_indices("image", images, self.dataset.len())?;
        let mut batch_size = self.batch_size;
        let (mut before, mut rivals) = (Vec::new(), Vec::new());
        in_pieces(images.len(), &mut batch_size, |piece| {
            let ClassifiedBatch { images, labels, .. } = self.batch(&images[piece])?;
            let logits = self.classifier.embed(&images)?;
            before.extend(hits(&logits, &labels)?);
            rivals.extend(runners_up(&logits, &labels)?);
            Ok(())
        })?;
        // Every image of a classifier has as many other classes.
        let classes = 1 + rivals[0].len();
        let (mut now, mut found, mut searches) = (before.clone(), Vec::new(), 0);
        let rival = |at: usize, target: usize| rivals[at][target];
        for part in parts {
            let mut gradients = 0;
            for target in 0..part.loss.searches(classes) {
                let remaining: Vec<usize> = (0..images.len()).filter(|&at| searches == 0 || now[at] > 0.0).collect();
                let seed = part_seed(seed, searches);
                in_pieces(remaining.len(), &mut batch_size, |piece| {
                    let places = &remaining[piece];
                    let batch = self.batch(&places.iter().map(|&at| images[at]).collect::<Vec<_>>())?;
                    let targets = match part.loss {
                        ClassifierLoss::CrossEntropy => Vec::new(),
                        ClassifierLoss::TargetedDlr => places.iter().map(|&at| rival(at, target)).collect(),
                    };
                    let after = self.attack(part, &batch, targets, seed)?;
                    places.iter().zip(after).for_each(|(&at, hit)| now[at] = hit);
                    Ok(())
                })?;
                gradients += part.search.cost().gradients * remaining.len() as u64;
                searches += 1;
            }
            found.push(PartHits { name: part.name, hits: now.clone(), gradients });
        }
        Ok(Hits { before, parts: found })
    }

    fn batch(&self, indices: &[usize]) -> Result<ClassifiedBatch> {
        Ok(ClassifiedBatch {
            images: self.classifier.place().to_device(&self.dataset.images(indices)?)?,
            keys: indices.iter().map(|&index| index as u64).collect(),
            labels: indices.iter().map(|&index| self.dataset.labels()[index]).collect(),
        })
    }

    /// The hits after one search on a batch.
    fn attack(&self, part: &ClassifierPart, batch: &ClassifiedBatch, targets: Vec<u32>, seed: Seed) -> Result<Vec<f64>> {
        let ClassifiedBatch { images, keys, labels } = batch;
        let place = &self.classifier.place();
        let objective = &*part.loss.objective(labels.clone(), targets, place);
        let moved = part.search.solve(self.classifier, &Problem { images, keys, objective, seed, place })?;
        let moved = Ball::around(images, part.search.threat()).project(&moved)?;
        hits(&self.classifier.embed(&moved)?, labels)
    }
}

fn hits(logits: &Tensor, labels: &[u32]) -> Result<Vec<f64>> {
    let classes = logits.dims().get(1).copied().unwrap_or(0);
    let places: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
    check_indices("class", &places, classes)?;
    let answers = predictions(logits)?;
    Ok(answers.iter().zip(labels).map(|(answer, label)| f64::from(u8::from(answer == label))).collect())
}

/// The other classes of each row of logits, those with the largest ones first; equal ones by index.
fn runners_up(logits: &Tensor, labels: &[u32]) -> Result<Vec<Vec<u32>>> {
    let classes = logits.dim(1)?;
    let others = |(row, &label): (&[f32], &u32)| {
        let mut others: Vec<u32> = (0..classes as u32).filter(|&class| class != label).collect();
        others.sort_by(|&a, &b| row[b as usize].total_cmp(&row[a as usize]));
        others
    };
    Ok(numbers(logits)?.chunks_exact(classes.max(1)).zip(labels).map(others).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AnySearch, Apgd, ClassifierAttack, Misclassification, Objective, Threat};
    use candle_core::Device;
    use rankle_core::numbers::reads;
    use rankle_core::{Distance, Embedder, InputSpec, Place, toy};

    /// A classifier whose logits are the mean brightness of each quarter of a toy image, times a scale: its class is the brightest
    /// one. The toy images of the first classes are enough for one that knows no others.
    #[derive(Clone)]
    struct Quarters {
        classes: usize,
        scale: f32,
        place: Place,
    }

    /// Softmax has no gradient left in f64 where logits are a thousand apart.
    const LOUD: f32 = 1e4;

    fn quarters() -> Quarters {
        Quarters { classes: 4, scale: 1.0, place: Place::Kernels }
    }

    impl Embedder for Quarters {
        fn embed(&self, images: &Tensor) -> Result<Tensor> {
            let weight: Vec<f32> = (0..64 * self.classes)
                .map(|at| {
                    let (pixel, class) = (at / self.classes, at % self.classes);
                    if (pixel / 8 / 4, pixel % 8 / 4) == (class / 2, class % 2) { self.scale / 16.0 } else { 0.0 }
                })
                .collect();
            Ok(images.flatten_from(1)?.matmul(&Tensor::from_vec(weight, (64, self.classes), &Device::Cpu)?)?)
        }
        fn distance(&self) -> Distance {
            Distance::Euclidean
        }
        fn input(&self) -> InputSpec {
            InputSpec::of_shape((1, 8, 8))
        }
        fn place(&self) -> Place {
            self.place.clone()
        }
    }

    impl Differentiable for Quarters {}

    fn classify_by(classifier: &Quarters, parts: &[ClassifierPart], batch_size: usize) -> Hits {
        let dataset = toy::dataset(0);
        let known = |&image: &usize| (dataset.labels()[image] as usize) < classifier.classes;
        let images: Vec<usize> = (0..dataset.len()).filter(known).collect();
        Classification { classifier, dataset: &dataset, batch_size }.run(parts, &images, Seed(0)).unwrap()
    }

    fn classify(parts: &[ClassifierPart], batch_size: usize) -> Hits {
        classify_by(&quarters(), parts, batch_size)
    }

    fn parts(attack: ClassifierAttack, epsilon: f64) -> Vec<ClassifierPart> {
        attack.parts(Threat::linf(epsilon).unwrap())
    }

    fn count(hits: &[f64]) -> f64 {
        hits.iter().sum()
    }

    #[test]
    fn accuracy_is_one_where_nobody_attacks_and_none_where_the_quarters_can_trade_places() {
        let clean = classify(&[], 7);
        assert_eq!((count(&clean.before), clean.after().len()), (200.0, 0));
        for attack in ClassifierAttack::ALL {
            // A quarter is brighter by 0.55 on average, within 0.02 · 2 for every image: a ball of 0.2 cannot bridge that, one of
            // 0.4 can.
            for (epsilon, left) in [(0.0, 200.0), (0.2, 200.0), (0.4, 0.0)] {
                let hits = classify(&parts(attack, epsilon), 64);
                assert_eq!((hits.before.len(), count(hits.after())), (200, left), "{attack} {epsilon}");
                assert_eq!(hits, classify(&parts(attack, epsilon), 40), "{attack}: the size of the batch counts");
            }
        }
    }

    /// At this radius some images are brought out of their class, each by some part.
    #[test]
    fn the_standard_attack_is_as_strong_as_each_of_its_parts() {
        let standard = classify(&parts(ClassifierAttack::Standard, 0.275), 50);
        let apgd = classify(&parts(ClassifierAttack::Apgd, 0.275), 50);
        assert_eq!(standard.parts[0].hits, apgd.after());
        assert!((1.0..200.0).contains(&count(apgd.after())), "{}", count(apgd.after()));
        assert!(standard.parts.iter().all(|part| part.hits.iter().zip(standard.after()).all(|(part, all)| all <= part)));
        assert_eq!(standard.before, apgd.before);
    }

    /// What one search has brought out of its class no later one attacks; what none has, every one does.
    #[test]
    fn images_out_of_their_class_are_left_out_of_what_follows() {
        let gradients = |classifier: &Quarters, epsilon| {
            let hits = classify_by(classifier, &parts(ClassifierAttack::Standard, epsilon), 64);
            (hits.parts.iter().map(|part| part.gradients).collect::<Vec<_>>(), count(hits.after()))
        };
        assert_eq!(gradients(&quarters(), 0.4), (vec![200 * 100, 0], 0.0));
        assert_eq!(gradients(&quarters(), 0.2), (vec![200 * 100, 200 * 100 * 3], 200.0));
        assert_eq!(gradients(&quarters(), 0.0), (vec![0, 0], 200.0));
        // The first target is enough.
        assert_eq!(gradients(&Quarters { scale: LOUD, ..quarters() }, 0.4), (vec![200 * 100, 200 * 100], 0.0));
    }

    /// A confident classifier hides its gradient from the cross-entropy, with any number of classes. A single class has no other.
    #[test]
    fn the_dlr_sees_what_certainty_hides() {
        for classes in [1, 2, 3, 4] {
            let loud = Quarters { classes, scale: LOUD, ..quarters() };
            let hits = classify_by(&loud, &parts(ClassifierAttack::Standard, 0.4), 64);
            let left = if classes == 1 { hits.before.len() as f64 } else { 0.0 };
            assert_eq!(hits.parts[0].hits, hits.before);
            assert_eq!(count(hits.after()), left, "{classes}");
        }
    }

    #[test]
    fn both_backends_find_the_same() {
        for epsilon in [0.2, 0.4] {
            let parts = parts(ClassifierAttack::Standard, epsilon);
            let [kernels, tensors] = [Place::Kernels, Place::Tensors(Device::Cpu)]
                .map(|place| classify_by(&Quarters { place, ..quarters() }, &parts, 64));
            assert_eq!(kernels, tensors, "{epsilon}");
        }
    }

    #[test]
    fn nothing_leaves_the_device_inside_a_search() {
        let (dataset, place) = (toy::dataset(1), Place::Tensors(Device::Cpu));
        let (images, labels) = (dataset.images(&[0, 1, 2, 3]).unwrap(), dataset.labels()[..4].to_vec());
        let targets = labels.iter().map(|label| (label + 1) % 4).collect::<Vec<_>>();
        for (loss, random_start) in [(ClassifierLoss::CrossEntropy, false), (ClassifierLoss::TargetedDlr, true)] {
            let objective = &*loss.objective(labels.clone(), targets.clone(), &place);
            let search = AnySearch::Apgd(Apgd { random_start, ..Apgd::from_clean(Threat::linf(0.1).unwrap(), 9) });
            let problem = Problem { images: &images, keys: &[0, 1, 2, 3], objective, seed: Seed(0), place: &place };
            let before = reads();
            let classifier: &dyn Differentiable = &quarters();
            search.solve(classifier, &problem).unwrap();
            assert_eq!(reads(), before, "{loss:?}");
        }
    }

    /// All searches raise the cross-entropy and stay in the ball.
    #[test]
    fn the_loss_rises_inside_the_ball() {
        let dataset = toy::dataset(1);
        let images = dataset.images(&[0, 1, 2, 3]).unwrap();
        let objective = Misclassification { labels: dataset.labels()[..4].to_vec(), place: Place::Kernels };
        let loss = |images: &Tensor| objective.evaluate(&quarters().embed(images).unwrap()).unwrap().losses().unwrap();
        let problem =
            Problem { images: &images, keys: &[0, 1, 2, 3], objective: &objective, seed: Seed(0), place: &Place::Kernels };
        let clean = loss(&images);
        for attack in ClassifierAttack::ALL {
            let classifier: &dyn Differentiable = &quarters();
            let moved = parts(attack, 0.1)[0].search.solve(classifier, &problem).unwrap();
            let farthest = (&moved - &images).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(farthest <= 0.1 + 1e-6);
            assert!(loss(&moved).iter().zip(&clean).all(|(now, before)| now < &(before - 1e-3)), "{attack}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dataset = toy::dataset(0);
        let setting = Classification { classifier: &quarters(), dataset: &dataset, batch_size: 10 };
        let run = |images: &[usize]| setting.run(&[], images, Seed(0));
        assert!(matches!(run(&[]), Err(Error::Empty(_))));
        assert!(matches!(run(&[200]), Err(Error::Index { .. })));
        let few = Quarters { classes: 2, ..quarters() };
        let unknown = Classification { classifier: &few, dataset: &dataset, batch_size: 10 };
        let everything: Vec<usize> = (0..200).collect();
        assert!(matches!(unknown.run(&[], &everything, Seed(0)), Err(Error::Index { what: "class", .. })));
    }
}
