//! Foreign models: no architectures of this program; they say themselves which images they take.

mod exec;
mod onnx;
mod open;

use crate::arguments;
use crate::network::Loaded;
use crate::stop::Stop;
use anyhow::{Context, Result};
use clap::Args;
use exec::Exec;
use onnx::Onnx;
use rankle_core::{Distance, Embedder, InputSpec, Place};
use rankle_exec::probe_distances;
use rankle_onnx::Options;
use rankle_record::ProbeDistances;
use std::ffi::OsStr;
use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// Name of a foreign model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ForeignName {
    /// A program, by its command.
    Exec(String),
    /// An ONNX file, and its options, `[,option=value..]`.
    Onnx { file: String, options: String },
}

/// Limits of foreign models, and whether files may name any.
#[derive(Args, Clone, Copy)]
pub(crate) struct ForeignArguments {
    /// Time that a model of exec:COMMAND has for each answer, loading included, in seconds
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value = "120",
        value_parser = arguments::positive,
        allow_negative_numbers = true
    )]
    model_timeout: f64,
    /// Number of copies of such a model that run at once, at most; one for each thread when left out. No result depends on it
    #[arg(long, global = true, value_name = "N", value_parser = arguments::count, allow_negative_numbers = true)]
    model_processes: Option<NonZero<usize>>,
    /// Start the programs (exec) that plans and records name: only for files that you trust
    #[arg(long, global = true)]
    allow_exec: bool,
}

static ARGUMENTS: RwLock<Option<ForeignArguments>> = RwLock::new(None);

/// Sets the arguments for all foreign models of this process.
pub(crate) fn start(arguments: ForeignArguments) {
    *ARGUMENTS.write().unwrap_or_else(PoisonError::into_inner) = Some(arguments);
}

/// An open foreign model. Two are equal if their names are.
#[derive(Clone)]
pub(crate) enum Foreign {
    Exec(Arc<Exec>),
    Onnx(Arc<Onnx>),
}

impl ForeignName {
    /// A name on the command line, as in `exec:COMMAND` and `onnx:FILE`; `None` for all others.
    pub(crate) fn parse(text: &OsStr) -> Option<Self> {
        match text.to_str()?.split_once(':')? {
            ("exec", command) => Some(Self::Exec(command.to_owned())),
            ("onnx", name) => Some(Self::onnx(Options::split(name))),
            _ => None,
        }
    }

    fn onnx((file, options): (&str, &str)) -> Self {
        Self::Onnx { file: file.to_owned(), options: options.to_owned() }
    }

    /// A name in the columns `model` and `weights` of plans and records; `None` for an architecture.
    pub(crate) fn recorded(model: &str, weights: &str) -> Option<Self> {
        match (model, model.strip_prefix("onnx")) {
            ("exec", _) => Some(Self::Exec(weights.to_owned())),
            // Not joined: the name of a file may look like options.
            (_, Some(options)) if options.is_empty() || options.starts_with(',') => Some(Self::onnx((weights, options))),
            _ => Self::parse(OsStr::new(model)),
        }
    }

    /// The column `model`: `exec`, or `onnx` with its options.
    pub(crate) fn model(&self) -> String {
        match self {
            Self::Exec(_) => "exec".to_owned(),
            Self::Onnx { options, .. } => format!("onnx{options}"),
        }
    }

    /// The column `weights`: the command, or the file.
    pub(crate) fn weights(&self) -> &str {
        match self {
            Self::Exec(command) => command,
            Self::Onnx { file, .. } => file,
        }
    }

    /// False for a program: what it is turns out when it runs. A file is known by its hash.
    pub(crate) fn is_a_file(&self) -> bool {
        match self {
            Self::Exec(_) => false,
            Self::Onnx { .. } => true,
        }
    }

    /// Opens the model that the command line names.
    ///
    /// # Errors
    /// One line that names the model.
    pub(crate) fn open(&self) -> Result<Foreign> {
        let arguments = *ARGUMENTS.read().unwrap_or_else(PoisonError::into_inner);
        let timeout = Duration::from_secs_f64(arguments.map_or(120.0, |arguments| arguments.model_timeout.min(1e9)));
        let processes = arguments.and_then(|arguments| arguments.model_processes);
        let processes = processes.map_or_else(rayon::current_num_threads, NonZero::get);
        match self {
            Self::Exec(command) => Ok(Foreign::Exec(Exec::open(command, timeout, processes)?)),
            Self::Onnx { file, options } => Ok(Foreign::Onnx(Onnx::open(file, options)?)),
        }
    }

    /// Opens the model that a plan or a record names.
    ///
    /// # Errors
    /// [`Stop`] with the exit code for wrong arguments for a program without `--allow-exec`; as [`ForeignName::open`].
    pub(crate) fn open_recorded(&self) -> Result<Foreign> {
        let arguments = *ARGUMENTS.read().unwrap_or_else(PoisonError::into_inner);
        match self {
            Self::Exec(_) if !arguments.is_some_and(|arguments| arguments.allow_exec) => {
                let line = "is a program named by a file: it runs with --allow-exec only, for files that you trust";
                Err(Stop::usage(format!("{self} {line}")).into())
            }
            Self::Exec(_) | Self::Onnx { .. } => self.open(),
        }
    }
}

/// The name on the command line.
impl fmt::Display for ForeignName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exec(command) => write!(f, "exec:{command}"),
            Self::Onnx { file, options } => write!(f, "onnx:{file}{options}"),
        }
    }
}

impl Foreign {
    pub(crate) fn name(&self) -> ForeignName {
        match self {
            Self::Exec(exec) => ForeignName::Exec(exec.program.command().to_owned()),
            Self::Onnx(onnx) => ForeignName::onnx((&onnx.file, &onnx.options)),
        }
    }

    /// Images that the model takes.
    pub(crate) fn input_spec(&self) -> InputSpec {
        match self {
            Self::Exec(exec) => exec.program.description().input,
            Self::Onnx(onnx) => onnx.input,
        }
    }

    /// False for a black box.
    pub(crate) fn has_gradient(&self) -> bool {
        match self {
            Self::Exec(exec) => exec.program.description().gradient,
            Self::Onnx(_) => true,
        }
    }

    /// The model for a distance, with its identity. A program has no use for the compute backend.
    ///
    /// # Errors
    /// One line that names the model.
    pub(crate) fn load(&self, distance: Distance, place: &Place) -> Result<Loaded> {
        match self {
            Self::Exec(exec) => exec.load(distance),
            Self::Onnx(onnx) => onnx.load(distance, place),
        }
    }
}

impl PartialEq for Foreign {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Foreign {}

impl fmt::Debug for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name())
    }
}

/// The distances between the probe images, by which a model is known. An error that does not name the model gets its name.
///
/// # Errors
/// Those of the model.
fn measured(model: &dyn Embedder, name: impl Fn() -> String) -> Result<ProbeDistances> {
    let measured = probe_distances(model).map_err(|error| match error {
        // It names its model itself.
        rankle_core::Error::Refused(_) | rankle_core::Error::Interrupted => anyhow::Error::new(error),
        error => anyhow::Error::new(error).context(name()),
    })?;
    ProbeDistances::new(measured).with_context(|| format!("{} has embeddings too far apart for f64", name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_alike_on_the_command_line_and_in_files() {
        let named = ForeignName::Exec("python3 m.py".into());
        assert_eq!(ForeignName::parse(OsStr::new("exec:python3 m.py")), Some(named.clone()));
        assert_eq!(ForeignName::recorded(&named.model(), named.weights()), Some(named.clone()));
        assert_eq!(ForeignName::recorded("exec:python3 m.py", "anything"), Some(named.clone()));
        assert_eq!(named.to_string(), "exec:python3 m.py");
        for other in ["c2f2", "executor", "models/exec:x", ""] {
            assert_eq!(ForeignName::parse(OsStr::new(other)), None, "{other}");
            assert_eq!(ForeignName::recorded(other, "exec:x"), None, "{other}");
        }
    }

    #[test]
    fn a_file_has_its_options_beside_the_architecture_in_records() {
        let named = ForeignName::parse(OsStr::new("onnx:deep/m.onnx,output=features,size=64")).unwrap();
        assert_eq!((named.model().as_str(), named.weights()), ("onnx,output=features,size=64", "deep/m.onnx"));
        assert_eq!(ForeignName::recorded(&named.model(), named.weights()), Some(named.clone()));
        assert_eq!(ForeignName::recorded("onnx", "m.onnx"), ForeignName::parse(OsStr::new("onnx:m.onnx")));
        let renamed = ForeignName::recorded("onnx,size=64", "deep/other,x=1.onnx").unwrap();
        assert_eq!((renamed.model().as_str(), renamed.weights()), ("onnx,size=64", "deep/other,x=1.onnx"));
        assert!(named.is_a_file() && ForeignName::recorded("onnxruntime", "m.onnx").is_none());
    }

    /// Tests set no arguments: nothing that a file names may run then.
    #[test]
    fn a_program_of_a_file_does_not_run_by_itself() {
        let error = ForeignName::Exec("true".into()).open_recorded().unwrap_err();
        assert_eq!(crate::stop::code(&error), 2);
        assert!(error.to_string().contains("exec:true is a program named by a file: it runs with --allow-exec only"), "{error}");
    }
}
