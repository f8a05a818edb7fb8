//! Plans in `xtask/plans`, one TOML file per experiment, listed when this program runs. The driver reads and checks them fully.

use crate::files;
use crate::synth::{self, Layout};
use anyhow::{Context, Result};
use clap::builder::{PossibleValue, PossibleValuesParser};
use rankle_cli::say;
use serde::Deserialize;
use std::path::PathBuf;

/// The part of a plan that this program reads.
#[derive(Deserialize)]
struct Plan {
    summary: String,
    #[serde(default)]
    quick: Quick,
}

#[derive(Default, Deserialize)]
struct Quick {
    drawn: Option<Drawn>,
}

/// Drawn images.
#[derive(Deserialize)]
struct Drawn {
    layout: Layout,
    products: u32,
    views: u32,
    folder: PathBuf,
}

/// Path of a plan, relative to the root of the workspace.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(FOLDER).join(format!("{name}.toml"))
}

const FOLDER: &str = "xtask/plans";

fn read(name: &str) -> Result<Plan> {
    let path = files::root().join(file(name));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{} is no plan", path.display()))
}

/// Names of all plans, sorted.
pub(crate) fn names() -> Vec<String> {
    let entries = std::fs::read_dir(files::root().join(FOLDER)).into_iter().flatten().filter_map(std::io::Result::ok);
    let plans = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
    let mut names: Vec<String> = plans.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

/// Parser of a plan's name, with summaries for the help. A broken plan has an empty summary; the driver reports what is wrong.
pub(crate) fn parser() -> PossibleValuesParser {
    let value = |name: String| {
        let summary = read(&name).map(|plan| plan.summary).unwrap_or_default();
        PossibleValue::new(name).help(summary)
    };
    PossibleValuesParser::new(names().into_iter().map(value))
}

/// Draws the images that a plan needs for `--quick`, if they do not exist.
///
/// # Errors
/// When they cannot be written.
pub(crate) fn draw(name: &str) -> Result<()> {
    // The driver reports a broken plan.
    let Some(Drawn { layout, products, views, folder }) = read(name).ok().and_then(|plan| plan.quick.drawn) else {
        return Ok(());
    };
    let place = files::root().join(&folder);
    if !place.exists() {
        say(format_args!("{name}: drawing {products} products in {views} views each, into {}", folder.display()));
        synth::draw_products(layout, (products, views), &place)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_plan_has_a_name_and_a_summary() {
        let names = names();
        assert!(["mnist", "self-transfer", "products"].iter().all(|name| names.iter().any(|known| known == name)), "{names:?}");
        assert!(names.iter().all(|name| !read(name).unwrap().summary.is_empty()));
        let drawn = read("products").unwrap().quick.drawn.unwrap();
        assert_eq!((drawn.layout, drawn.products, drawn.views), (Layout::Sop, 200, 8));
    }
}
