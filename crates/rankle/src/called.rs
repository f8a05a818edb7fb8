//! Names of images and classes in results; numbers where the dataset has no names.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use rankle_core::Dataset;
use rankle_models::weights::Tensors;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// Name of an image, as `mug-000/3.jpg`; `#7` if the dataset has no names.
pub(crate) fn image(dataset: &dyn Dataset, index: usize) -> Cow<'_, str> {
    dataset.image_name(index).unwrap_or_else(|| format!("#{index}").into())
}

/// Caption of an image in two lines: its class, and the file name. If the class has no name, its folders take the place of the
/// class. Empty if images have no names.
pub(crate) fn lines(dataset: &dyn Dataset, index: usize) -> Vec<String> {
    let Some(name) = dataset.image_name(index) else { return Vec::new() };
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", &name));
    let class = dataset.class_name(dataset.labels()[index]);
    let class = class.as_deref().unwrap_or(folder);
    [class, file].into_iter().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Name of a class, as `mug-000`; the label if the dataset has no names.
pub(crate) fn class(dataset: &dyn Dataset, label: u32) -> Cow<'_, str> {
    dataset.class_name(label).unwrap_or_else(|| label.to_string().into())
}

/// Image indices as unique texts: an index that is listed several times gets a counter, as in `7-2`.
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

/// Names of `images` and of their classes, as JSON in byte tensors for a file that also holds indices and labels. `image_names`
/// is a list, `class_names` an object from label to name. A tensor is absent if the dataset has no such names.
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
