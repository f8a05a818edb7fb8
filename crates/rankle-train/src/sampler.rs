//! Draws pairs and triplets from the whole training set.

use rand::Rng;
use rankle_core::Seed;
use rankle_core::seed::Purpose;
use std::collections::HashMap;

/// Source of the images that an image is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sampling {
    /// Its own batch: the paper's way at 28×28, where each batch has about a hundred images of a class.
    #[default]
    Batch,
    /// The whole training set, a pair or a triplet for every image of a batch: the paper's way for photographs, whose classes
    /// have a few images each.
    Set(PairRule),
}

/// Rule by which a pair or a triplet is drawn (METHOD.md 2.2), one for every image in every epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PairRule {
    /// The intended rule: the positive is another image of the class if there is one, and the negative is of another class.
    #[default]
    Strict,
    /// The rule of the original: the positive may be the image itself, the negative is any image, and a pair of two classes is
    /// mislabeled (METHOD.md 2.2, 4.1).
    Paper,
}

/// Draws pairs and triplets by a rule, from images grouped by class.
#[derive(Clone, Debug)]
pub(crate) struct Sampler<'a> {
    labels: &'a [u32],
    classes: HashMap<u32, Vec<usize>>,
    draw: PairRule,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(labels: &'a [u32], draw: PairRule) -> Self {
        let mut classes: HashMap<u32, Vec<usize>> = HashMap::new();
        labels.iter().enumerate().for_each(|(image, &label)| classes.entry(label).or_default().push(image));
        Self { labels, classes, draw }
    }

    /// An image, its positive and its negative, keyed by epoch and image alone: the rest of the batch has no influence.
    pub(crate) fn triplet(&self, image: usize, seed: Seed, epoch: u64) -> [usize; 3] {
        let mut random = seed.stream(Purpose::Sampling, [epoch, image as u64]);
        [image, self.of_its_class(image, &mut random), self.of_another(image, &mut random)]
    }

    /// An image and, with equal probability, a positive or a negative.
    pub(crate) fn pair(&self, image: usize, seed: Seed, epoch: u64) -> [usize; 2] {
        let mut random = seed.stream(Purpose::Sampling, [epoch, image as u64]);
        let other = if random.random() { self.of_its_class(image, &mut random) } else { self.of_another(image, &mut random) };
        [image, other]
    }

    fn of_its_class(&self, image: usize, random: &mut impl Rng) -> usize {
        let members = &self.classes[&self.labels[image]];
        match self.draw {
            PairRule::Strict if members.len() > 1 => {
                // Skips the image itself: it and all members behind it move up by one.
                let place = below(members.len() - 1, random);
                members[place + usize::from(members[place] >= image)]
            }
            PairRule::Strict | PairRule::Paper => members[below(members.len(), random)],
        }
    }

    /// A negative. [`PairRule::Strict`] needs a second class.
    fn of_another(&self, image: usize, random: &mut impl Rng) -> usize {
        let members = &self.classes[&self.labels[image]];
        match self.draw {
            PairRule::Paper => below(self.labels.len(), random),
            PairRule::Strict => {
                let place = below(self.labels.len() - members.len(), random);
                // From a position among images of other classes to an index: each member of the class in front adds one.
                members.iter().fold(place, |place, &member| place + usize::from(member <= place))
            }
        }
    }
}

/// Draws a uniform number below `count`, as u32: the draw must not depend on the width of a pointer.
fn below(count: usize, random: &mut impl Rng) -> usize {
    random.random_range(0..count as u32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Classes of 4, 3, 2 and 1 images, mixed.
    const LABELS: [u32; 10] = [7, 2, 7, 9, 2, 7, 5, 9, 2, 7];
    const EPOCHS: u64 = 6000;

    /// Counts how often each image was drawn at position `which` of the triplets of image 2.
    fn counts(draw: PairRule, which: usize) -> BTreeMap<usize, u64> {
        let sampler = Sampler::new(&LABELS, draw);
        let mut counts = BTreeMap::new();
        (0..EPOCHS).for_each(|epoch| *counts.entry(sampler.triplet(2, Seed(0), epoch)[which]).or_default() += 1);
        counts
    }

    fn uniform(counts: &BTreeMap<usize, u64>, over: &[usize]) {
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), over);
        let expected = EPOCHS as f64 / over.len() as f64;
        // Five standard deviations.
        let deviation = 5.0 * expected.sqrt();
        assert!(counts.values().all(|&count| (count as f64 - expected).abs() < deviation), "{counts:?}");
    }

    #[test]
    fn every_companion_is_as_likely_as_the_others() {
        uniform(&counts(PairRule::Strict, 1), &[0, 5, 9]);
        uniform(&counts(PairRule::Strict, 2), &[1, 3, 4, 6, 7, 8]);
        uniform(&counts(PairRule::Paper, 1), &[0, 2, 5, 9]);
        uniform(&counts(PairRule::Paper, 2), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    }

    #[test]
    fn triplets_are_what_they_say() {
        let sampler = Sampler::new(&LABELS, PairRule::Strict);
        for (image, &label) in LABELS.iter().enumerate() {
            for epoch in 0..50 {
                let [anchor, positive, negative] = sampler.triplet(image, Seed(1), epoch);
                assert!(anchor == image && LABELS[positive] == label && LABELS[negative] != label);
                // Image 6 is alone in its class.
                assert_eq!(positive == image, image == 6);
            }
        }
    }

    #[test]
    fn half_of_the_pairs_are_of_one_class() {
        let sampler = Sampler::new(&LABELS, PairRule::Strict);
        let same = |&epoch: &u64| {
            let [first, second] = sampler.pair(4, Seed(0), epoch);
            assert!(first == 4 && second != 4);
            LABELS[first] == LABELS[second]
        };
        let count = (0..EPOCHS).filter(same).count() as f64;
        assert!((count - 3000.0).abs() < 5.0 * (EPOCHS as f64 / 4.0).sqrt(), "{count} of {EPOCHS}");
    }

    #[test]
    fn draws_are_keyed() {
        let sampler = Sampler::new(&LABELS, PairRule::Strict);
        let draws = |seed: u64, epochs: std::ops::Range<u64>| -> Vec<[usize; 3]> {
            epochs.map(|epoch| sampler.triplet(0, Seed(seed), epoch)).collect()
        };
        assert_eq!(draws(0, 0..20), draws(0, 0..20));
        assert_ne!(draws(0, 0..20), draws(1, 0..20));
        assert_ne!(draws(0, 0..20), draws(0, 20..40));
    }
}
