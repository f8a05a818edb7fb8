//! `cargo xtask synth`: drawn images, for tests and for trying the pipeline without gigabytes of photographs.

use crate::{files, process};
use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use rankle_cli::answer;
use rankle_files::DraftFolder;
use rankle_synth::Products;
use serde::Deserialize;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Draw a small dataset in the layout of a large one.
///
/// Draws products of many shapes and textures, each in several views with its own viewpoint, light and clutter, as JPEG files.
/// The first half of the products is for training, the other half for testing. sop has the two lists of Stanford Online Products.
/// inshop has the list of In-Shop Clothes Retrieval; half of the views of each test product are queries, the others the gallery.
/// The same arguments draw the same images. The images are for trying the pipeline; results on them say nothing about
/// photographs.
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask synth sop --products 200 --views 10\n  \
    rankle train --dataset sop --dataset-dir target/synth/sop --model resnet18 --distance cosine --output models/products")]
pub(crate) struct Synth {
    /// Layout of the dataset
    #[arg(value_name = "NAME")]
    layout: Layout,
    /// Number of products
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(4..=100_000))]
    products: u32,
    /// Number of images per product
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=100))]
    views: u32,
    /// Seed of the drawing; another one draws other products
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Folder to make, which must not exist yet; default: target/synth/NAME
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Layout of drawn images, under the name of its dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Layout {
    /// Stanford Online Products
    Sop,
    /// In-Shop Clothes Retrieval, which has queries and a gallery
    Inshop,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sop => "sop",
            Self::Inshop => "inshop",
        })
    }
}

impl Synth {
    pub(crate) fn run(self) -> Result<()> {
        let products = Products { count: self.products, views: self.views, seed: self.seed };
        let output = self.output.unwrap_or_else(|| files::root().join(format!("target/synth/{}", self.layout)));
        let bar = ProgressBar::new(u64::from(products.count) * u64::from(products.views));
        let style = "{bar:30} {percent:>3} %  {elapsed} gone, {eta} left  {msg}";
        bar.set_style(ProgressStyle::with_template(style).context("the template is valid")?);
        bar.set_message("images");
        draw(self.layout, products, &output, &bar)?;
        bar.finish_and_clear();
        answer(format_args!("{} products in {} views each: {}", products.count, products.views, files::shown(&output)))?;
        Ok(())
    }
}

/// Draws products, each in several views, without a progress bar.
///
/// # Errors
/// When the folder exists or cannot be written; an interrupt.
pub(crate) fn draw_products(layout: Layout, (count, views): (u32, u32), output: &Path) -> Result<()> {
    draw(layout, Products { count, views, seed: 0 }, output, &ProgressBar::hidden())
}

/// Draws everything into a temporary folder, which is then renamed.
fn draw(layout: Layout, products: Products, output: &Path, bar: &ProgressBar) -> Result<()> {
    let shown = files::shown(output);
    if output.symlink_metadata().is_ok() {
        bail!("{shown} exists and was not changed: remove it, or name another folder with --output");
    }
    let parent = rankle_files::folder_of(output);
    let refused = || format!("cannot write {shown}");
    fs::create_dir_all(parent).with_context(refused)?;
    let folder = DraftFolder::within(parent).with_context(refused)?;
    let next = || {
        process::check_interrupt("nothing was written")?;
        bar.inc(1);
        anyhow::Ok(())
    };
    match layout {
        Layout::Sop => products.write_sop(folder.path(), next),
        Layout::Inshop => products.write_inshop(folder.path(), next),
    }?;
    fs::write(folder.path().join("credits.toml"), credits(layout, products)).with_context(refused)?;
    folder.keep(output).with_context(refused)
}

/// License and attribution, which the cards of models trained on these images repeat.
fn credits(layout: Layout, Products { count, views, seed }: Products) -> String {
    let command = format!("cargo xtask synth {layout} --products {count} --views {views} --seed {seed}");
    let license = env!("CARGO_PKG_LICENSE");
    format!("license = \"{license}\"\nattribution = \"rankle: drawn by `{command}`, no photographs\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("deep/sop");
        draw_products(Layout::Sop, (4, 2), &output).unwrap();
        let credits = fs::read_to_string(output.join("credits.toml")).unwrap();
        assert!(credits.contains("synth sop --products 4 --views 2 --seed 0"), "{credits}");
        let message = draw(Layout::Sop, Products { count: 4, views: 2, seed: 1 }, &output, &ProgressBar::hidden());
        let message = message.unwrap_err().to_string();
        assert!(message.contains("exists and was not changed") && message.contains("--output"), "{message}");
        assert_eq!(fs::read_to_string(output.join("credits.toml")).unwrap(), credits);
        // No temporary folder is left.
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn every_layout_has_its_lists_and_names_its_command() {
        let folder = tempfile::tempdir().unwrap();
        for (layout, list) in [(Layout::Sop, "Ebay_test.txt"), (Layout::Inshop, "Eval/list_eval_partition.txt")] {
            assert_eq!(Layout::from_str(&layout.to_string(), false), Ok(layout));
            let output = folder.path().join(layout.to_string());
            draw_products(layout, (4, 2), &output).unwrap();
            assert!(output.join(list).is_file(), "{layout}");
            let credits = fs::read_to_string(output.join("credits.toml")).unwrap();
            assert!(credits.contains(&format!("synth {layout} --products 4 --views 2 --seed 0")), "{credits}");
        }
    }
}
