//! The driver `rankle`: built in release mode, then spawned. All that xtask knows of its command line is here.

use crate::process::{self, Usage};
use crate::reproduce::Scope;
use crate::{fetch, files};
use anyhow::{Context, Result, anyhow, bail};
use rankle_report::{Cell, Record, System};
use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

/// Weights that are shipped, as seen from the root of the workspace.
pub(crate) const TRAINED: &str = "models/mnist-c2f2-cosine-triplet/model.safetensors";

/// How an interrupted run goes on.
const AGAIN: &str = "the same command goes on where it was";

/// The built program.
pub(crate) struct Driver {
    program: PathBuf,
    /// Where all data are, if not where each dataset usually is.
    data: Option<PathBuf>,
    /// Whether it ends when this process does; older ones do not know how.
    ends_with_us: bool,
}

/// The program that called us, or the one on the path.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(files::root());
    command
}

impl Driver {
    /// Builds it, or finds it built. Cargo shows its own progress.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build() -> Result<Self> {
        let mut command = cargo();
        command.args(["build", "--release", "--package", "rankle", "--bin", "rankle"]);
        command.arg("--message-format=json-render-diagnostics");
        let (status, messages) = process::run_capturing(&mut command, "nothing was computed yet")?;
        if !status.success() {
            bail!("the driver does not build: see the messages of cargo above");
        }
        let program = messages.lines().find_map(executable).context("cargo built the driver, but did not say where it is")?;
        Ok(Self { program, data: None, ends_with_us: true })
    }

    /// A program that was built before, and its version.
    ///
    /// # Errors
    /// When it is no driver.
    pub(crate) fn older(program: &Path) -> Result<(Self, String)> {
        let program = std::path::absolute(program).with_context(|| format!("{} is not a path", program.display()))?;
        let mut command = Command::new(&program);
        let (status, output, ..) = process::run_hearing(command.arg("--version"), "nothing was computed yet")?;
        match output.trim().strip_prefix("rankle ") {
            Some(version) if status.success() && !version.contains(char::is_whitespace) => {
                let version = version.to_owned();
                Ok((Self { program, data: None, ends_with_us: false }, version))
            }
            _ => bail!("{} is no driver: asked for its --version, `rankle` says its name and a number", program.display()),
        }
    }

    /// The hash of the program, which tells builds apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn sha256(&self) -> Result<String> {
        files::sha256(&self.program)
    }

    /// The same program, with all data in this folder.
    pub(crate) fn with_data(&self, folder: PathBuf) -> Self {
        Self { program: self.program.clone(), data: Some(folder), ..*self }
    }

    /// Where it shall look for datasets, as arguments: in the folder that was named, else among ours when one was fetched, else
    /// where it looks by itself.
    fn data<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Vec<OsString> {
        let datasets = files::root().join("datasets");
        let fetched = |name: &str| name != "mnist" && fetch::is_fetched(name);
        let folder = self.data.clone().or_else(|| names.into_iter().any(fetched).then(|| datasets.clone()));
        folder.map_or(Vec::new(), |folder| vec!["--dataset-dir".into(), folder.into()])
    }

    /// Runs every cell of a plan that records.jsonl in `output` does not hold yet. The weights in the plan are named as seen from
    /// `base`. Returns the records of the plan, in its order.
    ///
    /// # Errors
    /// When the driver fails (it says why on standard error) or answers with other cells than those of the plan.
    pub(crate) fn sweep(
        &self,
        plan: &[Cell],
        base: &Path,
        output: &Path,
        threads: Option<NonZero<usize>>,
    ) -> Result<Vec<Record>> {
        let (plan_file, records_file) = (output.join("plan.jsonl"), output.join("records.jsonl"));
        files::write(&plan_file, Cell::to_lines(plan)?)?;
        let mut command = self.command("sweep", threads);
        command.current_dir(base).arg("--plan").arg(plan_file).arg("--records").arg(&records_file);
        command.args(self.data(plan.iter().map(|planned| planned.subject.dataset.as_str())));
        let (status, answer) = process::run_capturing(&mut command, AGAIN)?;
        if !status.success() {
            bail!(
                "`rankle sweep` failed ({status}): its reason stands above; finished cells are kept in {}",
                files::shown(&records_file)
            );
        }
        parse_records(plan, &answer)
    }

    /// Trains the weights of a system: with the recipe of the paper where `further` arguments say nothing else. A finished
    /// folder is left as it is, an unfinished one is gone on with. The card says how the folder is named as seen from `base`.
    ///
    /// # Errors
    /// When the driver fails, and when the folder holds another training.
    pub(crate) fn train(
        &self,
        system: &System,
        further: &[String],
        base: &Path,
        folder: &Path,
        threads: Option<NonZero<usize>>,
    ) -> Result<()> {
        let mut command = self.command("train", threads);
        command.current_dir(base).args(recipe(system)).args(further).args(self.data([system.dataset.as_str()]));
        command.arg("--output").arg(files::relative(folder, base));
        if !process::run_aside(&mut command, AGAIN)?.success() {
            bail!("`rankle train` failed: its reason stands above; its checkpoints are kept in {}", files::shown(folder));
        }
        Ok(())
    }

    /// Runs a sub-command that leaves files about a system, such as a picture, with further arguments. The weights are named as seen from `base`.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn draw(
        &self,
        name: &str,
        system: &System,
        weights: &str,
        further: &[String],
        base: &Path,
        threads: Option<NonZero<usize>>,
    ) -> Result<()> {
        let mut command = self.command(name, threads);
        command.current_dir(base).args(["--dataset", &system.dataset, "--model", &system.model, "--distance", &system.distance]);
        command.args(["--weights", weights, "--quiet"]).args(further).args(self.data([system.dataset.as_str()]));
        if !process::run_aside(&mut command, AGAIN)?.success() {
            bail!("`rankle {name}` failed: its reason stands above; the records are kept, and {AGAIN}");
        }
        Ok(())
    }

    /// Computes records again that are committed, and compares them: the driver prints what it finds.
    ///
    /// # Errors
    /// When a record disagrees, when none can be run, and when the driver fails.
    pub(crate) fn verify(&self, arguments: &[String], threads: Option<NonZero<usize>>) -> Result<()> {
        let mut command = self.command("verify", threads);
        // The only data of committed records that is not in the driver.
        command.args(arguments).args(self.data(["fashion-mnist"]));
        if !process::run(&mut command, AGAIN)?.success() {
            bail!("`rankle verify` failed: its reason stands above");
        }
        Ok(())
    }

    /// The accuracy of a classifier before and after an attack, as one line of JSON. The weights are named as seen from `base`.
    ///
    /// # Errors
    /// When the driver fails.
    pub(crate) fn classify(
        &self,
        system: &System,
        weights: &str,
        (attack, epsilon): (&str, f64),
        scope: &Scope,
        base: &Path,
        threads: Option<NonZero<usize>>,
    ) -> Result<String> {
        let mut command = self.command("classify", threads);
        command.current_dir(base).args(["--dataset", &system.dataset, "--model", &system.model, "--weights", weights]);
        command.args(["--attack", attack, "--epsilon", &epsilon.to_string(), "--format", "json"]);
        command.args(["--images", &scope.images.to_string(), "--seed", &scope.seed.to_string()]);
        command.args(self.data([system.dataset.as_str()]));
        let (status, answer) = process::run_capturing(&mut command, AGAIN)?;
        if !status.success() {
            bail!("`rankle classify` failed ({status}): its reason stands above");
        }
        Ok(answer)
    }

    /// A whole command with its arguments, separated by blanks: what it prints, and what it uses up.
    ///
    /// # Errors
    /// [`Failed`] when the driver fails.
    pub(crate) fn measure(&self, line: &str, threads: usize) -> Result<(String, Usage)> {
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let mut command = self.command(name, NonZero::new(threads));
        command.args(arguments.split_whitespace());
        let (status, output, said, usage) = process::run_hearing(&mut command, "nothing more was written")?;
        if !status.success() {
            let reason = said.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            return Err(Failed { command: name.to_owned(), status, reason }.into());
        }
        Ok((output, usage))
    }

    /// A sub-command, run in the root of the workspace.
    fn command(&self, name: &str, threads: Option<NonZero<usize>>) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(files::root()).arg(name);
        if let Some(threads) = threads {
            command.arg("--threads").arg(threads.to_string());
        }
        if self.ends_with_us {
            command.arg("--parent").arg(std::process::id().to_string());
        }
        command
    }
}

/// How a command of the driver ended that did not do its work.
#[derive(Debug)]
pub(crate) struct Failed {
    command: String,
    status: ExitStatus,
    /// The last line that it said.
    pub(crate) reason: String,
}

impl Failed {
    /// Whether its arguments were wrong: of an older driver, whether it lacks what was asked for.
    pub(crate) fn is_usage(&self) -> bool {
        self.status.code() == Some(2)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, status, reason } = self;
        let colon = if reason.is_empty() { "" } else { ": " };
        write!(f, "`rankle {command}` failed ({status}){colon}{reason}")
    }
}

impl std::error::Error for Failed {}

/// How a system is trained: the arguments of `rankle train` that depend on it. The rest of the paper's recipe is what the driver
/// does by itself.
fn recipe(system: &System) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut add = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
    add("dataset", &system.dataset);
    add("model", &system.model);
    if !system.is_classifier() {
        add("distance", &system.distance);
    }
    add("loss", &system.loss);
    add("seed", &system.seed.to_string());
    if system.is_hardened() {
        add("defense", &system.defense);
        add("epsilon", &system.defended_epsilon().to_string());
    }
    arguments
}

/// The path in one of cargo's messages, if that is the one about the driver.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == "rankle";
    if ours { message["executable"].as_str().map(PathBuf::from) } else { None }
}

/// The answer of a sweep must be the plan, cell by cell: anything else would put numbers into the wrong place.
fn parse_records(plan: &[Cell], output: &str) -> Result<Vec<Record>> {
    let records: Vec<Record> = output
        .lines()
        .map(|line| {
            Record::from_line(line.as_bytes())
                .map_err(|reason| anyhow!("`rankle sweep` printed what is not a record, {reason}: {line}"))
        })
        .collect::<Result<_>>()?;
    if records.len() != plan.len() {
        bail!("`rankle sweep` answered with {} records for a plan of {} cells", records.len(), plan.len());
    }
    for (planned, record) in plan.iter().zip(&records) {
        if !planned.asks_for(&record.cell) {
            bail!("`rankle sweep` answered with {} where the plan has {planned}", record.cell);
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::sample;
    use rankle_report::published;

    #[test]
    fn the_program_is_found_among_the_messages_of_cargo() {
        let other = r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"name":"rankle"},"executable":null}"#;
        let ours = r#"{"reason":"compiler-artifact","target":{"name":"rankle"},"executable":"/t/release/rankle"}"#;
        let found: Vec<_> = [other, "not JSON", library, ours].into_iter().filter_map(executable).collect();
        assert_eq!(found, [PathBuf::from("/t/release/rankle")]);
    }

    #[test]
    fn the_recipe_is_that_of_the_table() {
        let of = |id| recipe(&published::table(id).unwrap().system.clone().seeded(3)).join(" ");
        let ordinary = "--dataset mnist --model c2f2 --distance cosine --loss triplet --seed 3";
        assert_eq!(of("mnist-ct"), ordinary);
        let classifier = recipe(&System::classifier("mnist", "softmax").seeded(3)).join(" ");
        assert_eq!(classifier, "--dataset mnist --model softmax --loss cross-entropy --seed 3");
        let hardened = recipe(&System::classifier("mnist", "softmax").hardened().seeded(3)).join(" ");
        assert_eq!(hardened, format!("{classifier} --defense pgd --epsilon 0.3"));
        assert_eq!(of("mnist-ctd"), format!("{ordinary} --defense embedding-shift --epsilon 0.3"));
    }

    #[test]
    fn mnist_is_in_the_program_and_needs_no_folder() {
        let driver = Driver { program: "rankle".into(), data: None, ends_with_us: true };
        assert!(driver.data(["mnist", "mnist"]).is_empty());
        assert!(driver.data(["no-such-dataset"]).is_empty());
        assert_eq!(driver.with_data("here".into()).data(["sop"]), ["--dataset-dir", "here"]);
    }

    #[test]
    fn an_answer_must_be_the_plan() {
        let (plan, records) = sample::answered();
        let lines: Vec<String> = records.iter().map(|record| record.to_line().unwrap()).collect();
        assert_eq!(parse_records(&plan, &(lines.join("\n") + "\n")).unwrap(), records);

        let refused = |output: &str| parse_records(&plan, output).unwrap_err().to_string();
        assert!(refused(&lines[1..].join("\n")).contains("answered with 159 records for a plan of 160 cells"));
        let mut swapped = lines.clone();
        swapped.swap(0, 1);
        assert!(refused(&swapped.join("\n")).contains("ε=0.01 where the plan has mnist-ct ca+ w=1 ε=0"));
        let other: Vec<String> =
            lines.iter().map(|line| line.replace("\"protocol\":\"paper\"", "\"protocol\":\"strict\"")).collect();
        assert!(refused(&other.join("\n")).contains("where the plan has"));
        assert!(refused("Done!").contains("what is not a record") && refused("Done!").ends_with(": Done!"));
    }
}
