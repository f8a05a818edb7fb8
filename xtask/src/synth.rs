//! `cargo xtask synth`: data that is drawn here, for tests and for trying the pipeline without gigabytes of photographs.

mod drawing;

use crate::{files, process};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use drawing::Product;
use image::codecs::jpeg::JpegEncoder;
use indicatif::{ProgressBar, ProgressStyle};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rankle_cli::answer;
use rankle_files::DraftFolder;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Draw a small dataset in the layout of a large one.
///
/// sop: products of many shapes and textures, each in several views with its own viewpoint, light and clutter, as JPEG files
/// with the two lists of Stanford Online Products. The first half of the products is for training, the other for testing.
/// The same arguments draw the same images. They try the pipeline; numbers measured on them say nothing about photographs.
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask synth sop --products 200 --views 10\n  \
    rankle train --dataset sop --dataset-dir target/synth/sop --model resnet18 --distance cosine --output models/products")]
pub(crate) struct Synth {
    /// Which layout
    #[arg(value_name = "NAME")]
    name: Name,
    /// How many products
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(4..=100_000))]
    products: u32,
    /// How many images of each
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100))]
    views: u32,
    /// Another seed draws other products
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The folder to make, which must not be there yet; target/synth/NAME when left out
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Stanford Online Products
    Sop,
}

impl Synth {
    pub(crate) fn run(self) -> Result<()> {
        let Name::Sop = self.name;
        let output = self.output.clone().unwrap_or_else(|| files::root().join("target/synth/sop"));
        let bar = ProgressBar::new(u64::from(self.products) * u64::from(self.views));
        let style = "{bar:30} {percent:>3} %  {elapsed} gone, {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(style).context("the template is valid")?);
        bar.set_message("images");
        self.draw(&output, &bar)?;
        bar.finish_and_clear();
        answer(format_args!("{} products in {} views each: {}", self.products, self.views, files::shown(&output)))?;
        Ok(())
    }

    /// Draws everything into a temporary folder, which then gets its name.
    ///
    /// # Errors
    /// When the folder is there already or cannot be written; interrupted.
    fn draw(&self, output: &Path, bar: &ProgressBar) -> Result<()> {
        let shown = files::shown(output);
        if output.symlink_metadata().is_ok() {
            bail!("{shown} is there already and is left as it is: remove it, or name another folder with --output");
        }
        let parent = rankle_files::folder_of(output);
        let refused = || format!("cannot write {shown}");
        fs::create_dir_all(parent).with_context(refused)?;
        let folder = DraftFolder::within(parent).with_context(refused)?;

        let mut lists = [HEADER.to_owned(), HEADER.to_owned()];
        let mut image_id = 0;
        for number in 1..=self.products {
            let product = Product::new(&mut self.random(number, 0));
            let (class, kind) = (product.kind() + 1, product.kind_name());
            let list = &mut lists[usize::from(number > self.products / 2)];
            fs::create_dir_all(folder.path().join(format!("{kind}_final"))).with_context(refused)?;
            for view in 1..=self.views {
                process::check_interrupt("nothing was written")?;
                image_id += 1;
                let path = format!("{kind}_final/{number:06}_{}.JPG", view - 1);
                let mut jpeg = Vec::new();
                let image = product.photograph(&mut self.random(number, view));
                JpegEncoder::new_with_quality(&mut jpeg, 85).encode_image(&image).with_context(refused)?;
                fs::write(folder.path().join(&path), jpeg).with_context(refused)?;
                writeln!(list, "{image_id} {number} {class} {path}")?;
                bar.inc(1);
            }
        }
        for (name, list) in ["Ebay_train.txt", "Ebay_test.txt"].iter().zip(lists) {
            fs::write(folder.path().join(name), list).with_context(refused)?;
        }
        fs::write(folder.path().join("credits.toml"), self.credits()).with_context(refused)?;
        folder.keep(output).with_context(refused)
    }

    /// What the cards of models that learn from these images will say.
    fn credits(&self) -> String {
        let Self { products, views, seed, .. } = self;
        let command = format!("cargo xtask synth sop --products {products} --views {views} --seed {seed}");
        let license = env!("CARGO_PKG_LICENSE");
        format!("license = \"{license}\"\nattribution = \"rankle: drawn by `{command}`, no photographs\"\n")
    }

    /// The stream of a product (view 0) or of a view: keyed, so that more products or views leave the others as they are.
    fn random(&self, product: u32, view: u32) -> ChaCha8Rng {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..12].copy_from_slice(&product.to_le_bytes());
        key[12..16].copy_from_slice(&view.to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

/// A few products in the layout of Stanford Online Products, each in several views.
///
/// # Errors
/// When the folder is there already or cannot be written; interrupted.
pub(crate) fn draw_products((products, views): (u32, u32), output: &Path) -> Result<()> {
    Synth { name: Name::Sop, products, views, seed: 0, output: None }.draw(output, &ProgressBar::hidden())
}

const HEADER: &str = "image_id class_id super_class_id path\n";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn synth(products: u32, views: u32, seed: u64) -> Synth {
        Synth { name: Name::Sop, products, views, seed, output: None }
    }

    /// Every file below a folder, by its name.
    fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(contents(&path));
            } else {
                found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
            }
        }
        found
    }

    fn drawn(synth: &Synth) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("deep/sop");
        synth.draw(&output, &ProgressBar::hidden()).unwrap();
        (folder, output)
    }

    #[test]
    fn the_layout_is_that_of_the_original() {
        let (_folder, output) = drawn(&synth(5, 2, 0));
        let mut next = 1;
        for (name, products) in [("Ebay_train.txt", 1..=2), ("Ebay_test.txt", 3..=5)] {
            let list = fs::read_to_string(output.join(name)).unwrap();
            let mut lines = list.lines();
            assert_eq!(lines.next(), Some("image_id class_id super_class_id path"));
            for product in products {
                for _ in 0..2 {
                    let columns: Vec<&str> = lines.next().unwrap().split(' ').collect();
                    assert_eq!((columns.len(), columns[0], columns[1]), (4, &*next.to_string(), &*product.to_string()));
                    let image = image::load_from_memory(&fs::read(output.join(columns[3])).unwrap()).unwrap();
                    assert!(image.width() >= 160 && image.height() >= 160 && image.color() == image::ColorType::Rgb8);
                    next += 1;
                }
            }
            assert_eq!(lines.next(), None);
        }
    }

    #[test]
    fn the_same_arguments_draw_the_same_images() {
        let of = |products, views, seed| contents(&drawn(&synth(products, views, seed)).1);
        let first = of(4, 2, 0);
        assert_eq!(first.len(), 11); // with two lists and the credits
        assert_eq!(of(4, 2, 0), first);
        let pictures = |all: BTreeMap<String, Vec<u8>>| all.into_iter().filter(|(name, _)| name.ends_with("JPG"));
        // More views leave the others as they are, and no two images are alike.
        let more = of(4, 3, 0);
        assert!(pictures(first.clone()).all(|(name, bytes)| more[&name] == bytes));
        let distinct: std::collections::BTreeSet<Vec<u8>> = pictures(more).map(|(_, bytes)| bytes).collect();
        assert_eq!(distinct.len(), 12);
        assert!(pictures(of(4, 2, 1)).all(|(name, bytes)| first.get(&name) != Some(&bytes)));
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let (folder, output) = drawn(&synth(4, 2, 0));
        let before = contents(&output);
        let message = synth(4, 2, 1).draw(&output, &ProgressBar::hidden()).unwrap_err().to_string();
        assert!(message.contains("is there already") && message.contains("--output"), "{message}");
        assert_eq!(contents(&output), before);
        // No temporary folder is left behind.
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }
}
