//! `rankle bench`: times of networks, attack steps, ranking and training.

mod formula;
mod lab;
mod operation;
mod row;
mod timing;

use crate::device::Device;
use crate::model_arguments::{self, ModelName};
use crate::names::{self, Format};
use crate::stop::Stop;
use crate::{arguments, progress, system};
use anyhow::{Context, Result};
use clap::Args;
use rankle_models::{Architecture, weights};
use row::Row;
use serde::Serialize;
use std::path::{Path, PathBuf};
use timing::Timing;

/// Time networks, attack steps, ranking and training on this machine.
///
/// A row is one piece of work on a number of images, with random weights. --model times any model in their place. After two calls to warm up, each row runs for --seconds
/// and at least five times (once, if one call takes longer than --seconds). `cargo xtask bench --against-pytorch` times the same
/// work in PyTorch.
#[derive(Args)]
#[command(after_help = "Examples:\n  rankle bench --threads 1 --name c2f2-pgd-step/100\n  rankle bench --model onnx:model.onnx")]
pub(crate) struct Bench {
    /// Time only the row NAME/IMAGES, or all rows whose NAME/IMAGES contains this
    #[arg(long, value_name = "PART", default_value = "")]
    name: String,
    /// Time the forward pass of this model and, if it has gradients, a step of PGD, on 8 images; an architecture and a folder get
    /// random weights
    #[arg(long, value_name = "NAME|FOLDER|hf:OWNER/REPO|onnx:FILE|exec:COMMAND", value_parser = model_arguments::RANKERS)]
    model: Option<ModelName>,
    /// Time spent on each row, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = arguments::positive)]
    seconds: f64,
    /// Folder to write the weights of the timed models to, as ARCHITECTURE.safetensors
    #[arg(long, value_name = "FOLDER")]
    save_weights: Option<PathBuf>,
    /// Print a table, or one JSON object
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

#[derive(Serialize)]
struct Answer<'a> {
    version: &'a str,
    instruction_set: String,
    timings: &'a [Timing],
}

impl Bench {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        if device != Device::Cpu {
            anyhow::bail!("the benchmark times the kernels of the CPU: leave --device {device} out");
        }
        let all = match &self.model {
            Some(model) => Row::of(&model.network()?).into_iter().filter(Row::is_possible).collect(),
            None => Row::all(),
        };
        let named: Vec<Row> = all.iter().filter(|row| row.id().contains(&self.name)).cloned().collect();
        let exact: Vec<Row> = named.iter().filter(|row| row.id() == self.name).cloned().collect();
        let rows = if exact.is_empty() { named } else { exact };
        if rows.is_empty() {
            let known: Vec<String> = all.iter().map(Row::id).collect();
            return Err(Stop::usage(format!("--name {}: no row is called so; known: {}", self.name, known.join(", "))).into());
        }
        if let Some(folder) = &self.save_weights {
            save_weights(folder, &rows)?;
        }
        let bar = progress::bar(rows.len() as u64);
        let mut timings = Vec::new();
        for row in rows {
            bar.set_message(row.id());
            timings.push(Timing::take(&row, &mut lab::prepare(&row)?, self.seconds)?);
            bar.inc(1);
        }
        progress::clear();
        match self.format {
            Format::Json => {
                let (version, instruction_set) = (system::CODE_VERSION, system::instruction_set());
                let answer = serde_json::to_string(&Answer { version, instruction_set, timings: &timings });
                progress::answer(answer.context("the timings are no JSON")?)
            }
            Format::Human => progress::answer(table(&timings)),
        }
    }
}

fn save_weights(folder: &Path, rows: &[Row]) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut models: Vec<Architecture> = rows.iter().filter_map(Row::architecture).collect();
    models.dedup();
    for architecture in models {
        weights::write(&folder.join(format!("{architecture}.safetensors")), &lab::model(architecture)?.parameters()?)?;
    }
    Ok(())
}

fn table(timings: &[Timing]) -> String {
    let head = ["milliseconds", "images", "threads", "median", "minimum", "repeats"].map(str::to_owned);
    let row = |Timing { name, images, threads, median_ms, minimum_ms, repeats, .. }: &Timing| {
        let (median, minimum) = (format!("{median_ms:.3}"), format!("{minimum_ms:.3}"));
        [name.clone(), images.to_string(), threads.to_string(), median, minimum, repeats.to_string()]
    };
    let line = |[name, rest @ ..]: [String; 6]| format!("{name:<24}{}", rest.map(|cell| format!("{cell:>10}")).concat());
    let lines: Vec<String> = std::iter::once(head).chain(timings.iter().map(row)).map(line).collect();
    lines.join("\n")
}
