//! What images and classes are called in results: by name where the dataset has names, else by number.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use rankle_core::Dataset;
use rankle_models::weights::Tensors;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// `mug-000/3.jpg`, or `#7`.
pub(crate) fn image(dataset: &dyn Dataset, index: usize) -> Cow<'_, str> {
    dataset.image_name(index).unwrap_or_else(|| format!("#{index}").into())
}

/// The class of an image and the end of its name, or the folders in front of that where the class has none: a line each, and none where
/// images have no names.
pub(crate) fn lines(dataset: &dyn Dataset, index: usize) -> Vec<String> {
    let Some(name) = dataset.image_name(index) else { return Vec::new() };
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", &name));
    let class = dataset.class_name(dataset.labels()[index]);
    let class = class.as_deref().unwrap_or(folder);
    [class, file].into_iter().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `mug-000`, or the label.
pub(crate) fn class(dataset: &dyn Dataset, label: u32) -> Cow<'_, str> {
    dataset.class_name(label).unwrap_or_else(|| label.to_string().into())
}

/// The indices, each once: where one is listed several times, with a number behind it, as in `7-2`.
pub(crate) fn numbered(images: &[usize]) -> Vec<String> {
    let mut times: HashMap<usize, (usize, usize)> = HashMap::new();
    images.iter().for_each(|&image| times.entry(image).or_default().0 += 1);
    let tag = |&image: &usize| {
        let (all, seen) = times.entry(image).or_default();
        *seen += 1;
        if *all > 1 { format!("{image}-{seen}") } else { image.to_string() }
    };
    images.iter().map(tag).collect()
}

/// The names of some images, each as above, and of their classes, as tensors of a file that also holds their indices and labels: JSON
/// in bytes. `image_names` is a list, `class_names` an object from label to name; what has no names is not there.
///
/// # Errors
/// None that a dataset can cause.
pub(crate) fn tensors(dataset: &dyn Dataset, images: &[usize]) -> Result<Tensors> {
    let labels = dataset.labels();
    let names: Option<Vec<_>> = images.iter().map(|&index| dataset.image_name(index)).collect();
    let class = |&index: &usize| Some((labels[index], dataset.class_name(labels[index])?));
    let classes: BTreeMap<u32, _> = images.iter().filter_map(class).collect();
    let names = names.map(|names| json(&names)).transpose()?;
    let classes = (!classes.is_empty()).then(|| json(&classes)).transpose()?;
    let both = [("image_names", names), ("class_names", classes)];
    Ok(both.into_iter().filter_map(|(key, names)| Some((key.to_owned(), names?))).collect())
}

fn json(names: &impl Serialize) -> Result<Tensor> {
    let text = serde_json::to_vec(names).context("the names are no JSON")?;
    Ok(Tensor::from_slice(&text, text.len(), &Device::Cpu)?)
}
