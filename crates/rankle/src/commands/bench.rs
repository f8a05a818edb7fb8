//! `rankle bench`: how long the steps take.

mod lab;

use crate::device::Device;
use crate::interrupt;
use crate::names::{self, Format};
use crate::stop::Stop;
use crate::{arguments, progress};
use anyhow::{Context, Result};
use clap::Args;
use lab::{Lab, Step};
use serde::Serialize;
use std::time::Instant;

/// Time the forward pass, the attack step, the training step and the ranking.
///
/// Two calls warm up; then each step runs at least five times and at least for --seconds. What is timed is what
/// `cargo xtask bench --against-pytorch` times in PyTorch.
#[derive(Args)]
#[command(after_help = "Example:\n  rankle bench --threads 1 --name c2f2-pgd-step")]
pub(crate) struct Bench {
    /// Only steps whose name contains this
    #[arg(long, value_name = "PART", default_value = "")]
    name: String,
    /// How long each step is timed, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = arguments::positive)]
    seconds: f64,
    /// On standard output: a table, or one JSON array
    #[arg(long, value_name = "FORMAT", default_value_t = Format::Human, value_parser = names::FORMATS)]
    format: Format,
}

/// Milliseconds per call.
#[derive(Debug, Serialize)]
struct Timing {
    name: &'static str,
    images: usize,
    threads: usize,
    median_ms: f64,
    minimum_ms: f64,
    repeats: usize,
}

impl Bench {
    pub(crate) fn run(self, device: Device) -> Result<()> {
        device.check()?;
        let steps: Vec<Step> = Step::all().into_iter().filter(|step| step.name().contains(&self.name)).collect();
        if steps.is_empty() {
            let mut known: Vec<&str> = Step::all().into_iter().map(Step::name).collect();
            known.sort_unstable();
            known.dedup();
            return Err(Stop::usage(format!("--name {}: no step is called so; known: {}", self.name, known.join(", "))).into());
        }
        let lab = Lab::new()?;
        let bar = progress::bar(steps.len() as u64);
        let mut timings = Vec::new();
        for step in steps {
            bar.set_message(step.name());
            let mut call = lab.prepare(step)?;
            timings.push(self.time(step, &mut *call)?);
            bar.inc(1);
        }
        progress::clear();
        match self.format {
            Format::Json => progress::answer(&serde_json::to_string(&timings).context("the timings are no JSON")?),
            Format::Human => progress::answer(&table(&timings)),
        }
    }

    fn time(&self, step: Step, call: &mut dyn FnMut() -> Result<()>) -> Result<Timing> {
        call()?;
        call()?;
        let (start, mut times) = (Instant::now(), Vec::new());
        while times.len() < 5 || start.elapsed().as_secs_f64() < self.seconds {
            if interrupt::asked() {
                return Err(rankle_core::Error::Interrupted.into());
            }
            let before = Instant::now();
            call()?;
            times.push(before.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        Ok(Timing {
            name: step.name(),
            images: step.images(),
            threads: rayon::current_num_threads(),
            median_ms: times[times.len() / 2],
            minimum_ms: times[0],
            repeats: times.len(),
        })
    }
}

fn table(timings: &[Timing]) -> String {
    let head = ["milliseconds", "images", "threads", "median", "minimum", "repeats"].map(str::to_owned);
    let row = |Timing { name, images, threads, median_ms, minimum_ms, repeats }: &Timing| {
        let (median, minimum) = (format!("{median_ms:.3}"), format!("{minimum_ms:.3}"));
        [(*name).to_owned(), images.to_string(), threads.to_string(), median, minimum, repeats.to_string()]
    };
    let line = |[name, rest @ ..]: [String; 6]| format!("{name:<24}{}", rest.map(|cell| format!("{cell:>10}")).concat());
    let lines: Vec<String> = std::iter::once(head).chain(timings.iter().map(row)).map(line).collect();
    lines.join("\n")
}
