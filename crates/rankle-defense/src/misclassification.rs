//! Adversarial training of classifiers.

use candle_core::Tensor;
use rankle_attacks::{AnySearch, ClassifierAttack, Misclassification, Prescribed, Problem, Solver, Threat};
use rankle_core::dataset::check_indices;
use rankle_core::seed::Purpose;
use rankle_core::{Defense, Differentiable, Result, Seed};

/// Replaces every image of a batch by the result of a search that raises the cross-entropy with the image's own label. For
/// comparison with [`crate::ShiftDefense`], which needs no labels.
///
/// # Source
/// Madry et al., "Toward Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018, arXiv:1706.06083; METHOD.md 12.
#[derive(Clone, Debug, PartialEq)]
pub struct MisclassificationDefense {
    /// The inner search for adversarial images.
    pub search: AnySearch,
    labels: Vec<u32>,
}

impl MisclassificationDefense {
    /// The defense by any search. `labels` are those of the whole training set, in its order.
    pub fn new(search: AnySearch, labels: Vec<u32>) -> Self {
        Self { search, labels }
    }

    /// The search of the paper's code: ten steps of ε/5 from the clean image, here on the classifier in evaluation mode, without
    /// dropout. `labels` as for [`Self::new`].
    pub fn paper(threat: Threat, labels: Vec<u32>) -> Self {
        Self::new(ClassifierAttack::pgd(threat).into(), labels)
    }

    /// The search of the paper's code, and values for others.
    pub fn prescribed(threat: Threat) -> Prescribed {
        Prescribed::of(ClassifierAttack::pgd(threat))
    }
}

impl Defense for MisclassificationDefense {
    fn perturb(&self, frozen: &dyn Differentiable, images: &Tensor, keys: &[u64], epoch: u64, seed: Seed) -> Result<Tensor> {
        let places: Vec<usize> = keys.iter().map(|&key| key as usize).collect();
        check_indices("training image", &places, self.labels.len())?;
        let place = frozen.place();
        let images = &place.to_device(images)?;
        let labels = places.iter().map(|&place| self.labels[place]).collect();
        let objective = Misclassification { labels, place: place.clone() };
        let seed = seed.derived(Purpose::TrainingSearch, [epoch, 0]);
        self.search.solve(frozen, &Problem { images, keys, objective: &objective, seed, place: &place })
    }
}
