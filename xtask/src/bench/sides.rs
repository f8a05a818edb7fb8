//! Runs of rankle and of PyTorch, one process per row, so that its peak memory belongs to the row.

use super::rows::{FOLDER, ONNXRUNTIME, Ours, PHOTOGRAPHS, PRODUCTS, Row, target_files};
use super::timing::{Answer, Timing, parse};
use crate::driver::Driver;
use crate::{files, process, synth};
use anyhow::{Context, Result, bail};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SCRIPT: &str = "xtask/bench/torch_bench.py";
/// Writes ONNX files.
const EXPORT: &str = "xtask/bench/export.py";
const VENV: &str = "target/bench/venv";
/// Folder of the weights that rankle writes and both sides use.
const WEIGHTS: &str = "target/bench/weights";

/// Programs and folders for the rows.
pub(super) struct Sides {
    driver: Driver,
    seconds: f64,
    python: Option<PathBuf>,
    /// Folder into which rankle writes its weights, relative to the root of the workspace.
    weights: String,
    /// Temporary folder for the files of commands.
    folder: tempfile::TempDir,
    /// Models whose ONNX files this run has written.
    exported: RefCell<Vec<&'static str>>,
}

impl Sides {
    /// Sides for a comparison with PyTorch, or for rankle alone.
    ///
    /// # Errors
    /// When the temporary folder cannot be made.
    pub(super) fn new(driver: Driver, seconds: f64, python: Option<PathBuf>) -> Result<Self> {
        Ok(Self { python, weights: WEIGHTS.to_owned(), ..Self::without_python(driver, seconds)? })
    }

    /// Sides for a comparison with another driver; no weights are left for PyTorch.
    ///
    /// # Errors
    /// When the temporary folder cannot be made.
    pub(super) fn without_python(driver: Driver, seconds: f64) -> Result<Self> {
        let target = files::root().join("target/bench");
        std::fs::create_dir_all(&target).with_context(|| format!("{} cannot be made", files::shown(&target)))?;
        let folder = tempfile::tempdir_in(target).context("no temporary folder can be made")?;
        for (name, text) in target_files() {
            files::write(&folder.path().join(name), text)?;
        }
        let weights = files::shown(&folder.path().join("weights"));
        Ok(Self { driver, seconds, python: None, weights, folder, exported: RefCell::default() })
    }

    /// Times rankle on a row; the answer is `None` for a whole command.
    ///
    /// # Errors
    /// When rankle fails.
    pub(super) fn ours(&self, row: &Row) -> Result<(Option<Answer>, Timing)> {
        self.of(&self.driver, row)
    }

    /// Times any driver on a row; the answer is `None` for a whole command.
    ///
    /// # Errors
    /// When the driver fails.
    pub(super) fn of(&self, driver: &Driver, row: &Row) -> Result<(Option<Answer>, Timing)> {
        match &row.ours {
            Ours::Step | Ours::OnnxStep => {
                let (answer, timing) = self.step(driver, row, row.threads)?;
                Ok((Some(answer), timing))
            }
            Ours::Command(arguments) => {
                // A new folder, because `train` would resume from the files of another run.
                let folder = tempfile::tempdir_in(self.folder.path()).context("no temporary folder can be made")?;
                for (name, _) in target_files() {
                    std::fs::hard_link(self.folder.path().join(&name), folder.path().join(&name))
                        .with_context(|| format!("{name} cannot be put into a temporary folder"))?;
                }
                let mut arguments = arguments.replace(FOLDER, &files::shown(folder.path()));
                if arguments.contains(PHOTOGRAPHS) {
                    arguments = arguments.replace(PHOTOGRAPHS, &files::shown(&self.photographs()?));
                }
                let (output, usage) = driver.measure(&arguments, row.threads)?;
                Ok((None, Timing::whole(&output, usage, row.threads)))
            }
        }
    }

    /// Drawn photographs, and the weights of `resnet18-forward` beside them; made on the first call.
    fn photographs(&self) -> Result<PathBuf> {
        let folder = self.folder.path().join("photographs");
        if !folder.exists() {
            synth::draw_products(synth::Layout::Sop, PRODUCTS, &folder)?;
            let made = tempfile::tempdir_in(self.folder.path()).context("no temporary folder can be made")?;
            let weights = files::shown(made.path());
            let arguments = format!("bench --format json --name resnet18-forward/8 --seconds 0.1 --save-weights {weights}");
            self.driver.measure(&arguments, 1)?;
            std::fs::rename(made.path().join("resnet18.safetensors"), folder.with_extension("safetensors"))
                .context("the weights cannot be put beside the photographs")?;
        }
        Ok(folder)
    }

    fn step(&self, driver: &Driver, row: &Row, threads: usize) -> Result<(Answer, Timing)> {
        let Self { seconds, weights, .. } = self;
        let source = match (&row.ours, row.exported) {
            (Ours::OnnxStep, Some(model)) => format!("--model onnx:{}", self.onnx_file(model)?),
            _ => format!("--save-weights {weights}"),
        };
        let arguments = format!("bench --format json --name {} --seconds {seconds} {source}", row.step_id());
        let (output, usage) = driver.measure(&arguments, threads)?;
        parse("`rankle bench`", &output, usage)
    }

    /// The ONNX file of an architecture with the weights of its rows, relative to the root of the workspace; written on the first call.
    fn onnx_file(&self, model: &'static str) -> Result<String> {
        let (weights, file) = (&self.weights, format!("{}/{model}.onnx", self.weights));
        if !self.exported.borrow().contains(&model) {
            let Some(python) = self.python.as_ref() else { bail!("{file} is written with --against-pytorch") };
            let arguments = format!("bench --format json --name {model}-forward/8 --seconds 0.01 --save-weights {weights}");
            self.driver.measure(&arguments, 1)?;
            let mut command = Command::new(python);
            command.current_dir(files::root()).arg(EXPORT).args(["--model", model, "--weights", weights]);
            let (status, _) = process::run_capturing(&mut command, "nothing more was written")?;
            if !status.success() {
                bail!("{EXPORT} ended with {status}");
            }
            self.exported.borrow_mut().push(model);
        }
        Ok(file)
    }

    /// True if this variant can be run.
    pub(super) fn can(&self, row: &Row, variant: &str) -> bool {
        row.other(variant).is_some() || self.python.is_some()
    }

    /// Times another side on a row; the answer is `None` if that is rankle, too.
    ///
    /// # Errors
    /// When the other side fails.
    pub(super) fn other(&self, row: &Row, variant: &str) -> Result<(Option<Answer>, Timing)> {
        let named = |timing| Timing { variant: Some(variant.to_owned()), ..timing };
        if let Some(other) = row.other(variant) {
            return Ok((None, named(self.step(&self.driver, &other, other.threads)?.1)));
        }
        let Some(python) = self.python.as_ref() else { bail!("{variant} needs a Python with torch") };
        if let Some(model) = row.exported.filter(|_| variant == ONNXRUNTIME) {
            self.onnx_file(model)?;
        }
        let mut command = Command::new(python);
        command.current_dir(files::root()).arg(SCRIPT).args(["--row", &row.name, "--images", &row.images.to_string()]);
        command.args(["--variant", variant, "--threads", &row.threads.to_string(), "--seconds", &self.seconds.to_string()]);
        command.args(["--weights", WEIGHTS]);
        let (status, output, usage) = process::run_measuring(&mut command, "nothing more was written")?;
        if !status.success() {
            bail!("{SCRIPT} ended with {status}");
        }
        let (answer, timing) = parse(SCRIPT, &output, usage)?;
        Ok((Some(answer), named(timing)))
    }
}

/// A Python with torch: the given one, else the one in target/bench/venv, else the one on the path.
///
/// # Errors
/// When it cannot import torch; the message says how to install it.
pub(super) fn python(given: Option<&Path>) -> Result<PathBuf> {
    let own = files::root().join(VENV).join("bin/python");
    let python = match given {
        // Absolute, since it is a path and not a name to look up, and the script runs in another working directory.
        Some(given) if given.components().count() > 1 => std::path::absolute(given)?,
        Some(given) => given.to_owned(),
        None if own.is_file() => own,
        None => "python3".into(),
    };
    let mut check = Command::new(&python);
    check.args(["-c", "import torch, numpy, safetensors"]).stderr(Stdio::null());
    match process::run_capturing(&mut check, "nothing was written") {
        Ok((status, _)) if status.success() => Ok(python),
        Err(error) if rankle_cli::code(&error) == 130 => Err(error),
        _ => bail!(
            "{} cannot import torch, numpy and safetensors: run `python3 -m venv {VENV} && {VENV}/bin/pip install torch numpy \
             safetensors`, or pass --python",
            python.display()
        ),
    }
}
