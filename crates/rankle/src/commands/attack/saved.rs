//! Output of `--save-adversarial`: a file of tensors, an image, or a folder of images.

use crate::files::Input;
use crate::stop::Stop;
use crate::{arguments, called, files};
use anyhow::{Context, Result, bail};
use candle_core::{Device, IndexOp as _, Tensor};
use rankle_attacks::{Outcome, Targets};
use rankle_core::{Dataset, numbers::numbers};
use rankle_models::weights;
use rankle_report::Record;
use rankle_report::picture::Image;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Destination of the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// File of tensors, with the results of each image.
    Tensors(PathBuf),
    /// PNG of the only image.
    Picture(PathBuf),
    /// Folder with a PNG for each image, and their results in [`INDEX`].
    Folder(PathBuf),
}

/// File with the results of the images beside it.
const INDEX: &str = "index.json";
/// Largest number of characters of a photograph's name in the name of a PNG.
const LETTERS: usize = 50;

/// Results of an attack that are saved.
pub(super) struct Made<'a> {
    pub(super) dataset: &'a dyn Dataset,
    pub(super) images: &'a [usize],
    pub(super) targets: &'a Targets,
    pub(super) outcome: &'a Outcome,
    pub(super) record: &'a Record,
}

impl Destination {
    /// Kind of destination that a path names: a folder if it exists as one or ends in `/`, else by its extension.
    ///
    /// # Errors
    /// A path with another extension.
    pub(super) fn new(path: PathBuf) -> Result<Self, &'static str> {
        if path.is_dir() || path.to_string_lossy().ends_with(std::path::is_separator) {
            return Ok(Self::Folder(path));
        }
        match (arguments::ends_in(&path, "safetensors"), arguments::ends_in(&path, "png")) {
            (true, _) => Ok(Self::Tensors(path)),
            (_, true) => Ok(Self::Picture(path)),
            _ => Err("name a file that ends in .safetensors or .png, or a folder that ends in /"),
        }
    }

    /// The path of the file; `None` for a folder.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Tensors(path) | Self::Picture(path) => Some(path),
            Self::Folder(_) => None,
        }
    }

    /// Checks that the destination can hold this number of images.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments.
    pub(super) fn check_count(&self, images: u64) -> Result<(), Stop> {
        match self {
            Self::Picture(path) if images != 1 => Err(Stop::usage(format!(
                "--save-adversarial {} is one image, and {images} are attacked: name a folder that ends in /, or say --images 1",
                path.display()
            ))),
            _ => Ok(()),
        }
    }

    /// Checks that a folder can be written and is new or empty, so that no file is replaced or mixed with those of an older
    /// attack.
    ///
    /// # Errors
    /// One line that names the folder.
    pub(super) fn check_folder(&self, inputs: &[Input]) -> Result<()> {
        let Self::Folder(path) = self else { return Ok(()) };
        inputs.iter().try_for_each(|input| files::check_place("--save-adversarial", &path.join("image.png"), input))?;
        if !path.exists() {
            return files::check_writable(path);
        }
        let mut entries = path.read_dir().with_context(|| format!("{} cannot be read", path.display()))?;
        if entries.next().is_some() {
            bail!("{} is not empty: name a new folder with --save-adversarial", path.display());
        }
        files::check_writable(&path.join(INDEX))
    }

    /// Writes the images.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn write(&self, made: &Made<'_>) -> Result<()> {
        match self {
            Self::Tensors(path) => Ok(weights::write(path, &made.tensors()?)?),
            Self::Picture(path) => files::write(path, made.png(0)?),
            Self::Folder(path) => made.fill(path),
        }
    }
}

impl Made<'_> {
    fn adversarial(&self) -> Result<&Tensor> {
        self.outcome.adversarial.as_ref().context("the adversarial images were not kept")
    }

    /// Tensors of the clean and adversarial images and their results: `images` and `adversarial` (f32, n x c x h x w),
    /// `image_indices` (u32, n), for attacks with targets `target_indices` (u32, n x targets per image), `rank_before` and
    /// `rank_after` (f32, n, percent), for SP-QA `preserved_indices` (u32, n x items per image), and names ([`called::tensors`]).
    fn tensors(&self) -> Result<weights::Tensors> {
        let Self { dataset, images, targets, outcome, .. } = *self;
        let n = images.len();
        let indices: Vec<u32> = images.iter().map(|&image| image as u32).collect();
        let mut tensors = weights::Tensors::from([
            ("images".to_owned(), dataset.images(images)?),
            ("adversarial".to_owned(), self.adversarial()?.clone()),
            ("image_indices".to_owned(), Tensor::from_vec(indices, n, &Device::Cpu)?),
        ]);
        if targets.targets_per_image() > 0 {
            let percent = |ranks: &[f64]| {
                let ranks: Vec<f32> = ranks.iter().map(|&rank| (100.0 * rank) as f32).collect();
                Tensor::from_vec(ranks, n, &Device::Cpu)
            };
            tensors.insert(
                "target_indices".to_owned(),
                Tensor::from_slice(targets.indices(), (n, targets.targets_per_image()), &Device::Cpu)?,
            );
            tensors.insert("rank_before".to_owned(), percent(&outcome.before.rank)?);
            tensors.insert("rank_after".to_owned(), percent(&outcome.after.rank)?);
        }
        if let Some((preserved, set)) = targets.preserved() {
            tensors.insert("preserved_indices".to_owned(), Tensor::from_slice(preserved, (n, set), &Device::Cpu)?);
        }
        tensors.append(&mut called::tensors(dataset, images)?);
        Ok(tensors)
    }

    /// The adversarial image of a row as a PNG.
    fn png(&self, row: usize) -> Result<Vec<u8>> {
        let pixels = numbers(&self.adversarial()?.i(row)?)?.to_vec();
        Ok(Image::new(self.dataset.shape(), pixels)?.png()?)
    }

    /// Writes a PNG for each image, then the index: a folder with an index is complete.
    fn fill(&self, folder: &Path) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
        let mut entries = Vec::new();
        for (row, file) in self.files().into_iter().enumerate() {
            files::write(&folder.join(&file), self.png(row)?)?;
            entries.push(self.entry(row, &file));
        }
        let index = json!({ "images": entries, "record": self.record });
        files::write(&folder.join(INDEX), format!("{index:#}\n"))
    }

    /// File names of the images: the index of the image and, for photographs, the name of their file.
    fn files(&self) -> Vec<String> {
        let stem = |image: usize| {
            let name = self.dataset.image_name(image)?;
            Some(Path::new(&*name).file_stem()?.to_string_lossy().chars().take(LETTERS).collect::<String>())
        };
        let tags = called::numbered(self.images).into_iter().zip(self.images);
        tags.map(|(tag, &image)| stem(image).map_or(format!("{tag}.png"), |stem| format!("{tag}-{stem}.png"))).collect()
    }

    /// Entry of an image in the index.
    fn entry(&self, row: usize, file: &str) -> serde_json::Value {
        let Self { dataset, images, targets, outcome, .. } = *self;
        let (image, label) = (images[row], dataset.labels()[images[row]]);
        let rank = |ranks: &[f64]| ranks.get(row).copied().map(rankle_eval::percent);
        json!({
            "file": file, "image": image, "name": dataset.image_name(image), "label": label, "class": dataset.class_name(label),
            "targets": targets.of_images(row..row + 1).indices(),
            "rank_before": rank(&outcome.before.rank), "rank_after": rank(&outcome.after.rank),
            "embedding_shift": outcome.embedding_shift[row],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_told_by_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        let there = folder.path().join("there.png");
        std::fs::create_dir(&there).unwrap();
        let new = |path: &str| Destination::new(path.into());
        assert_eq!(new("x.safetensors"), Ok(Destination::Tensors("x.safetensors".into())));
        assert_eq!(new("a/x.PNG"), Ok(Destination::Picture("a/x.PNG".into())));
        assert_eq!(new("a/x.png/"), Ok(Destination::Folder("a/x.png/".into())));
        assert_eq!(Destination::new(there.clone()), Ok(Destination::Folder(there)));
        for wrong in ["x", "x.jpg", "x.txt", "safetensors", ".png"] {
            assert!(new(wrong).unwrap_err().contains("ends in .safetensors or .png"), "{wrong}");
        }
    }
}
