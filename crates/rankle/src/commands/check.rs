//! `rankle check`: the broken images of a dataset.

use crate::model_arguments::{self, ModelName};
use crate::names::{self, Format};
use crate::network::Network;
use crate::pass::Pass;
use crate::stop::Stop;
use crate::{data, progress};
use anyhow::{Context, Result, bail};
use clap::Args;
use rankle_core::{Dataset, InputSpec, Resize};
use rankle_data::{Division, Folder, Source, Split, broken_images};
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Find all broken images of a dataset.
///
/// Every image is decoded. Each one that cannot be used gets a line on standard output with its file and the reason; if there is
/// any, the exit code is 1. The option skip-broken leaves broken photographs out of a dataset: folder,skip-broken:PATH.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle check folder:shoes")]
pub(crate) struct Check {
    /// The images
    #[arg(value_name = "DATASET", value_parser = names::Datasets, long_help = names::DATASETS)]
    dataset: Source,
    /// Folder with the files of published datasets; MNIST needs none, it is in the program
    #[arg(long, value_name = "FOLDER")]
    dataset_dir: Option<PathBuf>,
    /// Part of the dataset; all parts when left out. gallery is the same as test if the dataset has no separate gallery
    #[arg(long, value_name = "NAME", value_parser = names::SPLITS)]
    split: Option<Split>,
    /// Also check that the images have the input size of this model
    #[arg(long, value_name = "NAME|hf:OWNER/REPO|onnx:FILE|exec:COMMAND", value_parser = model_arguments::ALL)]
    model: Option<ModelName>,
    /// Print lines, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

/// The JSON object.
#[derive(Default, Serialize)]
struct Checked {
    dataset: String,
    images: usize,
    /// Number of broken images that `skip-broken` leaves out.
    left_out: usize,
    broken: Vec<Broken>,
}

#[derive(Serialize)]
struct Broken {
    split: String,
    index: usize,
    /// Path of the file relative to the folder of the dataset; `None` if images are not files.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    reason: String,
}

impl Check {
    pub(crate) fn run(self) -> Result<()> {
        let mut checked = Checked { dataset: self.dataset.to_string(), ..Checked::default() };
        let model = self.model.as_ref().map(ModelName::network).transpose()?;
        for split in self.splits() {
            let dataset = self.open(split, model.as_ref())?;
            let pass = Pass::default();
            let broken = broken_images(&*dataset, &|done, of| pass.show(done, of))?;
            checked.images += dataset.len();
            checked.left_out += dataset.left_out();
            checked.broken.extend(broken.into_iter().map(|image| Broken {
                split: split.to_string(),
                index: image.index,
                image: dataset.image_name(image.index).map(|name| name.into_owned()),
                reason: image.reason,
            }));
        }
        progress::clear();
        match self.format {
            Format::Json => progress::answer(serde_json::to_string(&checked).context("the result is no JSON")?)?,
            Format::Human => progress::answer(checked.lines())?,
        }
        let Checked { dataset, images, broken, .. } = checked;
        if broken.is_empty() {
            return Ok(());
        }
        let leave = if self.dataset.is_of_photographs() { ", or leave them out with skip-broken in the name" } else { "" };
        bail!("{} of {images} images of {dataset} cannot be used: mend or remove them{leave}", broken.len())
    }

    /// Splits to check; each image is in one of them. A folder whose images are all for testing has no training split.
    fn splits(&self) -> Vec<Split> {
        match (self.split, &self.dataset) {
            (Some(split), _) => vec![split],
            (None, Source::Folder(Folder { division: Division::All, .. })) => vec![Split::Test],
            (None, source) if source.has_gallery() => Split::ALL.to_vec(),
            (None, _) => vec![Split::Train, Split::Test],
        }
    }

    fn open(&self, split: Split, model: Option<&Network>) -> Result<Arc<dyn Dataset>> {
        // Without a model only decoding is checked: no photograph is too small for one pixel.
        let input = model.map_or(InputSpec::of_shape((3, 1, 1)), Network::input_spec);
        if let Source::Published(_, overrides) | Source::Folder(Folder { overrides, .. }) = &self.dataset
            && (model, overrides.resize) == (None, Some(Resize::None))
        {
            return Err(Stop::usage("resize=none takes photographs of the model's size only: add --model").into());
        }
        let folder = self.dataset_dir.as_deref();
        let dataset = data::opened(|watch| self.dataset.open_to_check(split, folder, &input, watch))?;
        model.map_or(Ok(()), |model| data::check_fit(&self.dataset, &*dataset, model))?;
        Ok(dataset)
    }
}

impl Checked {
    fn lines(&self) -> String {
        let Self { dataset, images, left_out, broken } = self;
        let left_out = if *left_out > 0 { format!(", {left_out} broken ones are left out") } else { String::new() };
        let broken = broken.iter().map(|Broken { split, reason, .. }| format!("{split}: {}\n", rankle_cli::one_line(reason)));
        let (count, lines) = (broken.len(), broken.collect::<String>());
        format!("{lines}{dataset}: {count} of {images} images are broken{left_out}")
    }
}
