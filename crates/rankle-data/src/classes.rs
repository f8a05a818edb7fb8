//! Shared class labels for two datasets.

use crate::{Error, Result};
use candle_core::Tensor;
use rankle_core::{Dataset, Seed};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// A dataset with other labels.
struct Relabeled {
    inner: Arc<dyn Dataset>,
    labels: Vec<u32>,
    /// The label of a class in the inner dataset, by its new label.
    own: HashMap<u32, u32>,
}

/// Relabels `dataset` so that classes with the same name have the label of `other`; classes not in `other` get new labels. If no
/// class of either dataset has a name, equal labels mean the same class.
///
/// # Errors
/// [`Error::Classes`] if some classes of the two datasets have names and others have none.
pub fn with_classes_of(dataset: Arc<dyn Dataset>, other: &dyn Dataset) -> Result<Arc<dyn Dataset>> {
    let names = |dataset: &dyn Dataset| -> HashMap<u32, String> {
        let named = |&label: &u32| Some((label, dataset.class_name(label)?.into_owned()));
        dataset.labels().iter().filter_map(named).collect()
    };
    let (own_names, other_names) = (names(&*dataset), names(other));
    if own_names.is_empty() && other_names.is_empty() {
        return Ok(dataset);
    }
    let all_named =
        |dataset: &dyn Dataset, names: &HashMap<u32, String>| dataset.labels().iter().all(|label| names.contains_key(label));
    let (own_named, other_named) = (all_named(&*dataset, &own_names), all_named(other, &other_names));
    if !own_named || !other_named {
        let (named, unnamed) = if own_named { (dataset.name(), other.name()) } else { (other.name(), dataset.name()) };
        return Err(Error::Classes { named: named.to_owned(), unnamed: unnamed.to_owned() });
    }
    let known: HashMap<&str, u32> = other_names.iter().map(|(&label, name)| (&**name, label)).collect();
    let mut new: HashMap<u32, u32> = HashMap::new();
    let mut next = other.labels().iter().max().map_or(0, |&label| label + 1);
    for &label in dataset.labels() {
        new.entry(label).or_insert_with(|| {
            known.get(&*own_names[&label]).copied().unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        });
    }
    if new.iter().all(|(own, new)| own == new) {
        return Ok(dataset);
    }
    let labels = dataset.labels().iter().map(|label| new[label]).collect();
    let own = new.into_iter().map(|(own, new)| (new, own)).collect();
    Ok(Arc::new(Relabeled { inner: dataset, labels, own }))
}

impl Dataset for Relabeled {
    fn name(&self) -> &str {
        self.inner.name()
    }
    fn shape(&self) -> (usize, usize, usize) {
        self.inner.shape()
    }
    fn labels(&self) -> &[u32] {
        &self.labels
    }
    fn images(&self, indices: &[usize]) -> rankle_core::Result<Tensor> {
        self.inner.images(indices)
    }
    fn training_images(&self, indices: &[usize], seed: Seed, epoch: u64) -> rankle_core::Result<Tensor> {
        self.inner.training_images(indices, seed, epoch)
    }
    fn describe(&self, index: usize) -> String {
        self.inner.describe(index)
    }
    fn image_name(&self, index: usize) -> Option<Cow<'_, str>> {
        self.inner.image_name(index)
    }
    fn class_name(&self, label: u32) -> Option<Cow<'_, str>> {
        self.inner.class_name(*self.own.get(&label)?)
    }
    fn left_out(&self) -> usize {
        self.inner.left_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankle_core::toy::{self, ToyDataset};

    struct Named {
        images: ToyDataset,
        labels: Vec<u32>,
        names: &'static [&'static str],
    }

    impl Dataset for Named {
        fn name(&self) -> &str {
            "named"
        }
        fn shape(&self) -> (usize, usize, usize) {
            self.images.shape()
        }
        fn labels(&self) -> &[u32] {
            &self.labels
        }
        fn images(&self, indices: &[usize]) -> rankle_core::Result<Tensor> {
            self.images.images(indices)
        }
        fn class_name(&self, label: u32) -> Option<Cow<'_, str>> {
            self.names.get(label as usize).map(|&name| name.into())
        }
    }

    fn named(labels: &[u32], names: &'static [&'static str]) -> Named {
        Named { images: toy::dataset(0), labels: labels.to_vec(), names }
    }

    #[test]
    fn classes_are_the_same_by_name() {
        let gallery = named(&[0, 1, 2, 2], &["cup", "lamp", "mug"]);
        let queries = with_classes_of(Arc::new(named(&[0, 1, 2, 3, 0], &["mug", "axe", "cup", "bow"])), &gallery).unwrap();
        assert_eq!(queries.labels(), [2, 3, 0, 4, 2]);
        assert_eq!([0, 2, 3, 4].map(|label| queries.class_name(label).unwrap()), ["cup", "mug", "axe", "bow"]);
        assert_eq!(queries.class_name(1), None, "no query is a lamp");
        let same = with_classes_of(Arc::new(named(&[2, 0], &["cup", "lamp", "mug"])), &gallery).unwrap();
        assert_eq!(same.labels(), [2, 0]);
    }

    #[test]
    fn classes_without_names_are_the_same_by_number() {
        let gallery = named(&[0, 7], &[]);
        assert_eq!(with_classes_of(Arc::new(named(&[7, 3], &[])), &gallery).unwrap().labels(), [7, 3]);
        let refused = with_classes_of(Arc::new(named(&[0, 1], &["cup", "lamp"])), &gallery).err().unwrap().to_string();
        assert!(refused.contains("have no names") && refused.lines().count() == 1, "{refused}");
        assert!(matches!(with_classes_of(Arc::new(named(&[0, 1], &["cup"])), &gallery), Err(Error::Classes { .. })));
    }
}
