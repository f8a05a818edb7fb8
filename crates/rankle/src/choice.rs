//! Choice of the attacked images and their targets: lists from the user, draws by the seed for the rest.

use crate::arguments::IMAGES;
use crate::indices::{self, Indices};
use crate::stop::Stop;
use anyhow::Result;
use rankle_attacks::{AttackId, Targets};
use rankle_core::{Ranking, Role, Seed, Sets};
use rankle_eval::{Experiment, Subject, experiment};
use std::num::NonZero;

/// The choice in the arguments; `None` for a list that is not given.
pub(crate) struct Choice {
    pub(crate) images: Option<Indices>,
    pub(crate) targets: Option<Indices>,
    pub(crate) preserved: Option<Indices>,
    /// Number of images if they are not listed.
    pub(crate) count: Count,
    /// Value of `--targets`: the number of targets of each image.
    pub(crate) set: Option<usize>,
    pub(crate) seed: Seed,
    /// Role of the attacked images; their targets have the other role.
    pub(crate) role: Role,
}

/// Number of images that are sampled by the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    /// This number; a dataset with fewer images is an error.
    Exactly(usize),
    /// This number, or all images of a smaller dataset.
    AtMost(usize),
}

impl Count {
    /// The number that the user gave; by default at most [`IMAGES`].
    pub(crate) fn usual(said: Option<NonZero<usize>>) -> Self {
        said.map_or(Self::AtMost(IMAGES.get()), |count| Self::Exactly(count.get()))
    }

    /// Number of images to sample from `len`.
    pub(crate) fn of(self, len: usize) -> usize {
        match self {
            Self::Exactly(count) => count,
            Self::AtMost(count) => count.min(len),
        }
    }
}

/// Listed targets and preserved items, image after image, each with the number per image; `None` if not listed.
pub(crate) struct IndexRows {
    targets: Option<(Vec<u32>, usize)>,
    preserved: Option<(Vec<u32>, usize)>,
}

impl Choice {
    /// Checks that the lengths of the lists fit one another, as far as they are known without reading a file.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments.
    pub(crate) fn check_counts(&self) -> Result<(), Stop> {
        let Some(images) = self.image_count() else { return Ok(()) };
        for (option, list, set) in self.rows() {
            if let Some(indices) = list.and_then(Indices::count) {
                check_count(option, indices, images, set).map_err(Stop::usage)?;
            }
        }
        Ok(())
    }

    /// Number of images; `None` if it is not known without reading a file or the dataset.
    pub(crate) fn image_count(&self) -> Option<u64> {
        let sampled = match self.count {
            Count::Exactly(count) => Some(count as u64),
            Count::AtMost(_) => None,
        };
        self.images.as_ref().map_or(sampled, Indices::count)
    }

    fn rows(&self) -> [(&'static str, Option<&Indices>, Option<usize>); 2] {
        [("--target-indices", self.targets.as_ref(), self.set), ("--preserved-indices", self.preserved.as_ref(), None)]
    }

    /// The attacked images, and the listed targets and preserved items.
    ///
    /// # Errors
    /// A file that cannot be read, an index out of range, and lists that do not fit one another.
    pub(crate) fn images(&self, subject: &Subject) -> Result<(Vec<usize>, IndexRows)> {
        let dataset = subject.dataset(self.role);
        let images: Vec<usize> = match &self.images {
            Some(list) => list.resolve("--image-indices", dataset)?.into_iter().map(|index| index as usize).collect(),
            None => subject.sample(self.role, self.seed, self.count.of(dataset.len()))?,
        };
        let read = |(option, list, set): (&str, Option<&Indices>, Option<usize>)| -> Result<_> {
            let Some(list) = list else { return Ok(None) };
            let indices = list.resolve(option, subject.dataset(self.role.other()))?;
            let set = check_count(option, indices.len() as u64, images.len() as u64, set);
            // A wrong list on the command line is a usage error, one in a file is an error of the file.
            let wrong = |line| if list.is_given() { Stop::usage(line).into() } else { anyhow::Error::msg(line) };
            let set = set.map_err(wrong)?;
            Ok(Some((indices, set)))
        };
        let [targets, preserved] = self.rows();
        let rows = IndexRows { targets: read(targets)?, preserved: read(preserved)? };
        Ok((images, rows))
    }

    /// The listed images in words, for the record; `None` if the seed sampled them.
    pub(crate) fn image_words(&self, images: &[usize]) -> Option<String> {
        let images: Vec<u32> = images.iter().map(|&image| image as u32).collect();
        self.images.as_ref().map(|_| format!("images {}", indices::in_words(&images)))
    }
}

/// Number of indices per image; `set` is the value of `--targets`.
fn check_count(option: &str, indices: u64, images: u64, set: Option<usize>) -> Result<usize, String> {
    match set {
        Some(set) if indices != images.saturating_mul(set as u64) => Err(format!(
            "{option}: {indices} indices for {images} images with --targets {set}; {} are needed",
            images.saturating_mul(set as u64)
        )),
        None if !indices.is_multiple_of(images) => {
            Err(format!("{option}: {indices} indices are no whole number for each of {images} images"))
        }
        _ => Ok((indices / images) as usize),
    }
}

impl IndexRows {
    /// Number of targets per image; `otherwise` if targets are not listed.
    pub(crate) fn set(&self, otherwise: usize) -> usize {
        self.targets.as_ref().map_or(otherwise, |(_, set)| *set)
    }

    /// Targets and preserved items: the listed ones, and for missing lists those that the attack draws or finds.
    ///
    /// # Errors
    /// A gallery that is too small.
    pub(crate) fn targets(&self, experiment: &Experiment, sets: Sets<&dyn Ranking>, images: &[usize]) -> Result<Targets> {
        let draw = || experiment.choose(images, sets);
        let (targets, set, preserved) = match (&self.targets, &self.preserved) {
            (None, None) => return Ok(draw()?),
            (None, Some(preserved)) => (draw()?.indices().to_vec(), experiment.spec.targets, Some(preserved.clone())),
            (Some((targets, set)), preserved) => {
                let preserved = match (preserved, experiment.spec.attack) {
                    (None, AttackId::PreservingQuery(direction)) => {
                        Some(experiment::preserved_beside(experiment, direction, sets, images, targets)?)
                    }
                    (preserved, _) => preserved.clone(),
                };
                (targets.clone(), *set, preserved)
            }
        };
        Ok(Targets::new(images.len(), targets, set, preserved, sets.of(experiment.perturbs().other()).len())?)
    }

    /// All lists in words, for the record; `None` if the seed chose everything.
    pub(crate) fn in_words(&self, images: Option<String>) -> Option<String> {
        let words = |what: &str, rows: &Option<(Vec<u32>, usize)>| {
            rows.as_ref().map(|(indices, _)| format!("{what} {}", indices::in_words(indices)))
        };
        let parts = [images, words("targets", &self.targets), words("preserved", &self.preserved)];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_never_too_much() {
        assert_eq!([10_000, 300].map(|len| Count::usual(None).of(len)), [1000, 300]);
        assert_eq!(Count::usual(NonZero::new(400)).of(300), 400);
    }

    #[test]
    fn lists_must_fit_one_another() {
        assert_eq!(check_count("--x", 6, 3, None), Ok(2));
        assert_eq!(check_count("--x", 6, 3, Some(2)), Ok(2));
        assert_eq!(check_count("--x", 7, 3, None).unwrap_err(), "--x: 7 indices are no whole number for each of 3 images");
        assert_eq!(check_count("--x", 6, 3, Some(1)).unwrap_err(), "--x: 6 indices for 3 images with --targets 1; 3 are needed");
        assert!(check_count("--x", 2, 2, Some(1 << 63 | 1)).is_err() && check_count("--x", 0, 2, Some(1 << 63)).is_err());
    }
}
