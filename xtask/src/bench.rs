//! `cargo xtask bench`: how fast the steps are, alone or beside PyTorch.

mod table;

use crate::{driver::Driver, files, process, stop};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use table::Table;

/// Time the forward pass, the attack step and the training step, on one thread.
///
/// With --against-pytorch both sides run in turn, several times, so that both see the same state of the machine; medians of
/// the medians are compared. PyTorch is needed for nothing else.
#[derive(Args)]
pub(crate) struct Bench {
    /// Time PyTorch, too: eager, channels_last with tuned malloc, and these with torch.compile
    #[arg(long)]
    against_pytorch: bool,
    /// A Python that can import torch; target/bench/venv/bin/python if there is one, else python3
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// How often both sides run
    #[arg(long, value_name = "N", default_value = "3")]
    rounds: NonZero<usize>,
    /// How long each timing runs, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Where the JSON goes; target/bench/bench.json in the workspace when left out
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What each side prints, in an array: milliseconds per step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Timing {
    name: String,
    /// How PyTorch was set up; none on our side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
    images: usize,
    threads: usize,
    median_ms: f64,
    minimum_ms: f64,
    repeats: usize,
}

/// The ways of setting PyTorch up, as `torch_bench.py` knows them.
const VARIANTS: [&str; 3] = ["eager", "channels_last", "compile"];
const ONE_THREAD: NonZero<usize> = NonZero::<usize>::MIN;
const SCRIPT: &str = "xtask/bench/torch_bench.py";
const VENV: &str = "target/bench/venv";

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        let python = if self.against_pytorch { Some(self.python()?) } else { None };
        let driver = Driver::build()?;
        let mut variants = VARIANTS.to_vec();
        let mut timings: Vec<Timing> = Vec::new();
        for round in 1..=self.rounds.get() {
            eprintln!("round {round} of {}: rankle", self.rounds);
            timings.extend(parse("`rankle bench`", &driver.bench(ONE_THREAD, self.seconds)?)?);
            let Some(python) = &python else { continue };
            let mut running = Vec::new();
            for variant in variants {
                eprintln!("round {round} of {}: PyTorch, {variant}", self.rounds);
                match self.time_pytorch(python, variant) {
                    Ok(more) => {
                        timings.extend(more);
                        running.push(variant);
                    }
                    Err(error) if stop::code(&error) == 130 => return Err(error),
                    Err(error) => eprintln!("warning: PyTorch {variant} is left out: {error:#}"),
                }
            }
            variants = running;
            if variants.is_empty() {
                bail!("no variant of {SCRIPT} runs: its reasons stand above");
            }
        }
        let table = Table::of(&timings);
        let file = self.json.unwrap_or_else(|| files::root().join("target/bench/bench.json"));
        let file = std::path::absolute(&file).with_context(|| format!("{} is not a path", file.display()))?;
        files::write(&file, serde_json::to_string_pretty(&table)? + "\n")?;
        print!("{table}");
        eprintln!("written to {}", files::shown(&file));
        Ok(())
    }

    /// A Python with torch.
    fn python(&self) -> Result<PathBuf> {
        let own = files::root().join(VENV).join("bin/python");
        let python = match &self.python {
            // A path, not a name to look up: the script is run in another folder than this program.
            Some(given) if given.components().count() > 1 => std::path::absolute(given)?,
            Some(given) => given.clone(),
            None if own.is_file() => own,
            None => "python3".into(),
        };
        let mut check = Command::new(&python);
        check.args(["-c", "import torch, numpy"]).stderr(Stdio::null());
        match process::run_capturing(&mut check, "nothing was written") {
            Ok((status, _)) if status.success() => Ok(python),
            Err(error) if stop::code(&error) == 130 => Err(error),
            _ => bail!(
                "{} cannot import torch and numpy: run `python3 -m venv {VENV} && {VENV}/bin/pip install torch numpy`, or pass --python",
                python.display()
            ),
        }
    }

    fn time_pytorch(&self, python: &Path, variant: &str) -> Result<Vec<Timing>> {
        let mut command = Command::new(python);
        command.current_dir(files::root()).arg(SCRIPT).args(["--variant", variant, "--threads", "1", "--json", "-"]);
        command.args(["--seconds", &self.seconds.to_string()]);
        let (status, output) = process::run_capturing(&mut command, "nothing was written")?;
        if !status.success() {
            bail!("{SCRIPT} ended with {status}");
        }
        parse(SCRIPT, &output)
    }
}

fn parse(who: &str, output: &str) -> Result<Vec<Timing>> {
    serde_json::from_str(output).with_context(|| format!("{who} did not print an array of timings"))
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if f64::is_finite(seconds) && seconds > 0.0 => Ok(seconds),
        _ => Err("a positive number of seconds is needed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_speak_one_format() {
        let ours = r#"[{"name":"c2f2-forward","images":100,"threads":1,"median_ms":4.5,"minimum_ms":4.25,"repeats":600}]"#;
        let theirs = r#"[{"name":"c2f2-forward","variant":"eager","images":100,"threads":1,"median_ms":9,"minimum_ms":8.5,"repeats":300}]"#;
        assert_eq!(parse("us", ours).unwrap()[0].variant, None);
        assert_eq!(parse("them", theirs).unwrap()[0].variant.as_deref(), Some("eager"));
        assert_eq!(serde_json::to_string(&parse("us", ours).unwrap()).unwrap(), ours);
        assert!(format!("{:#}", parse("`rankle bench`", "oops").unwrap_err()).starts_with("`rankle bench` did not print"));
    }

    #[test]
    fn seconds_are_positive() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        assert!(["0", "-1", "inf", "NaN", "three"].into_iter().all(|text| seconds(text).is_err()));
    }
}
