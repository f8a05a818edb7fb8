//! `rankle embed`: the embeddings of images, in a file.

use crate::arguments::{self, FormatArgument, SystemArguments, heading};
use crate::device::Device;
use crate::files::Input;
use crate::indices::Indices;
use crate::names::{self, Format};
use crate::system::Key;
use crate::{called, files, progress};
use anyhow::{Result, bail};
use candle_core::{Device as Memory, Tensor};
use clap::Args;
use rankle_core::Role;
use rankle_data::Split;
use rankle_models::weights;
use serde_json::json;
use std::num::NonZero;
use std::path::PathBuf;

/// Write the embeddings of images to a safetensors file.
///
/// An embedding is the vector by which a model ranks an image. The file holds `embeddings` (f32, n x d; normalized to length one
/// for cosine distance, raw for Euclidean), `labels` (u32, n) and `image_indices` (u32, n). For photographs it also holds
/// `image_names` (u8: the bytes of a JSON list of n names, as in mug-000/3.jpg) and `class_names` (u8: the bytes of a JSON object
/// from label to name).
#[derive(Args)]
#[command(
    after_help = "Example:\n  rankle embed --dataset mnist --model models/mnist-c2f2-cosine-triplet \\\n      --images 16 --output embeddings.safetensors"
)]
pub(crate) struct Embed {
    #[command(flatten)]
    system: SystemArguments,
    /// Part of the dataset; gallery is the same as test if the dataset has no separate gallery
    #[arg(
        long,
        value_name = "NAME",
        default_value_t = Split::Test,
        value_parser = names::SPLITS,
        help_heading = heading::IMAGES
    )]
    split: Split,
    /// Number of images, the first ones; all when left out
    #[arg(
        long,
        value_name = "N",
        value_parser = arguments::count,
        allow_negative_numbers = true,
        conflicts_with = "image_indices",
        help_heading = heading::IMAGES
    )]
    images: Option<NonZero<usize>>,
    /// The images: indices, inclusive ranges and names, as in 0-15,20,mug-000/3.jpg, or @FILE with such lines
    #[arg(
        long,
        value_name = "LIST",
        value_parser = arguments::indices,
        allow_hyphen_values = true,
        help_heading = heading::IMAGES
    )]
    image_indices: Option<Indices>,
    /// File to write, ending in .safetensors
    #[arg(long, value_name = "FILE", value_parser = arguments::safetensors(), help_heading = heading::OUTPUT)]
    output: PathBuf,
    #[command(flatten)]
    answer: FormatArgument,
}

impl Embed {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        let key: Key = self.system.try_into()?;
        let list = self.image_indices.as_ref().and_then(|list| list.input("--image-indices"));
        let inputs: Vec<Input> = key.inputs().into_iter().chain(list).collect();
        files::check_outputs(&[("--output", Some(&self.output))], &inputs)?;
        let bar = progress::bar(0);
        let subject = key.open_split(self.split, device, &bar)?;
        let (dataset, named) = (subject.dataset(Role::Candidate), &subject.identity.subject);
        let len = dataset.len();
        let images: Vec<u32> = match (&self.image_indices, self.images) {
            (Some(list), _) => list.resolve("--image-indices", dataset)?,
            (None, Some(images)) if images.get() > len => {
                bail!("{images} images are more than the {len} of {} ({}): choose at most {len}", named.dataset, self.split)
            }
            (None, images) => (0..images.map_or(len, NonZero::get) as u32).collect(),
        };
        bar.set_length(images.len() as u64);
        let places: Vec<usize> = images.iter().map(|&image| image as usize).collect();
        let embeddings = subject.embed(Role::Candidate, &places)?.tensor().to_device(&Memory::Cpu)?;
        let labels: Vec<u32> = places.iter().map(|&image| dataset.labels()[image]).collect();
        let (n, dim) = embeddings.dims2()?;
        let tensors = [
            ("embeddings", embeddings),
            ("labels", Tensor::from_vec(labels, n, &Memory::Cpu)?),
            ("image_indices", Tensor::from_vec(images, n, &Memory::Cpu)?),
        ];
        let mut tensors = weights::Tensors::from(tensors.map(|(name, tensor)| (name.to_owned(), tensor)));
        tensors.append(&mut called::tensors(dataset, &places)?);
        weights::write(&self.output, &tensors)?;
        progress::clear();
        let output = self.output.display().to_string();
        match self.answer.format {
            Format::Human => progress::answer(format!("{}: {n} embeddings of {dim} numbers in {output}", subject)),
            Format::Json => {
                let mut object = json!({
                    "output": output, "images": n, "dim": dim, "dataset": named.dataset,
                    "split": self.split.to_string(), "model": named.model,
                    "distance": named.distance, "weights_sha256": subject.identity.weights_sha256,
                });
                if let Some(preprocessing) = &subject.identity.preprocessing {
                    object["preprocessing"] = preprocessing.as_str().into();
                }
                progress::answer(object.to_string())
            }
        }
    }
}
