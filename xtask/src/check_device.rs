//! `cargo xtask check-device`: the features for GPUs, type-checked on machines without one.

use crate::driver::cargo;
use crate::test::{Step, heard, rustc};
use crate::{files, process};
use anyhow::{Context, Result, bail};
use clap::Args;
use rankle_cli::{answer, say};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Type-check the features cuda, cudnn and metal of the driver. No GPU, driver or toolkit is needed, and no program comes of it.
///
/// For CUDA, an empty crate stands in for candle-kernels, whose kernels only nvcc compiles. Metal is checked on a Mac, and
/// elsewhere if the compiler has a library for it (`rustup target add aarch64-apple-darwin`). Everything is built in
/// target/check-device; Cargo.lock stays as it is. Part of `cargo xtask test --slow`.
#[derive(Args)]
pub(crate) struct CheckDevice {}

const FOLDER: &str = "target/check-device";
/// The crate with candle's CUDA kernels.
const KERNELS: &str = "candle-kernels";
/// Version of CUDA whose bindings are checked, which cudarc otherwise asks nvcc for: 13.0.
const CUDA: &str = "13000";
const MAC: &str = "aarch64-apple-darwin";

/// Takes the place of the build script that calls nvcc. `@NAMES@` are the names of the modules.
const BUILD: &str = r#"//! Written by `cargo xtask check-device`: empty modules, which type-check and do not run.

fn main() {
    let names: &[&str] = &[@NAMES@];
    let constants: String = names.iter().map(|name| format!("pub const {name}: &str = \"\";\n")).collect();
    let folder = std::env::var("OUT_DIR").expect("cargo names the folder");
    std::fs::write(std::path::Path::new(&folder).join("ptx.rs"), constants).expect("the folder can be written");
}
"#;

impl CheckDevice {
    pub(crate) fn run(self) -> Result<()> {
        let start = Instant::now();
        let (steps, left_out) = steps()?;
        for step in &steps {
            step.run()?;
        }
        if let Some(reason) = left_out {
            say(reason);
        }
        let titles: Vec<&str> = steps.iter().map(|step| step.title).collect();
        answer(format_args!("cargo xtask check-device: {} passed in {} s", titles.join(", "), start.elapsed().as_secs()))?;
        Ok(())
    }
}

/// The calls of cargo, and a line that says why Metal is left out, if it is.
///
/// # Errors
/// When the sources of the CUDA kernels cannot be had, or the crate is no longer of the form that the stand-in takes.
pub(crate) fn steps() -> Result<(Vec<Step>, Option<String>)> {
    let stub = files::root().join(FOLDER).join(KERNELS);
    stand_in(&kernels()?, &stub)?;
    let mut steps = vec![cuda("cuda", &stub), cuda("cudnn", &stub)];
    let left_out = match metal() {
        Ok(step) => {
            steps.push(step);
            None
        }
        Err(reason) => Some(format!("metal: left out, {reason}")),
    };
    Ok((steps, left_out))
}

/// The call for a feature of the driver.
fn check(feature: &'static str, rest: &[&str]) -> Step {
    let target = format!("{FOLDER}/target");
    let words = ["check", "--locked", "--package", "rankle", "--features", feature, "--target-dir", target.as_str()];
    let arguments = words.iter().chain(rest).map(|&word| word.to_owned()).collect();
    Step { title: feature, arguments, environment: Vec::new() }
}

/// `stub` stands in for the kernels by `paths`, which leaves the lock file alone, unlike `[patch]`.
fn cuda(feature: &'static str, stub: &Path) -> Step {
    let path = toml::Value::String(stub.to_string_lossy().into_owned());
    Step {
        environment: vec![("CUDARC_CUDA_VERSION".to_owned(), CUDA.into())],
        ..check(feature, &["--config", &format!("paths=[{path}]")])
    }
}

/// The call for Metal, or the reason why there is none.
fn metal() -> Result<Step, String> {
    if cfg!(target_os = "macos") {
        return Ok(check("metal", &[]));
    }
    let folder = heard(Command::new(rustc()).args(["--print", "target-libdir", "--target", MAC]));
    metal_elsewhere(folder.is_some_and(|folder| Path::new(&folder).is_dir()))
}

fn metal_elsewhere(has_library: bool) -> Result<Step, String> {
    if has_library {
        Ok(check("metal", &["--target", MAC]))
    } else {
        Err(format!("{} has no library for {MAC}: `rustup target add {MAC}`", rustc().display()))
    }
}

/// Folder with the sources of the CUDA kernels, which cargo downloads if need be.
fn kernels() -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["metadata", "--locked", "--format-version", "1", "--features", "rankle/cuda"]);
    // Without it, crates for all systems would be downloaded.
    if let Some(host) = heard(Command::new(rustc()).args(["--print", "host-tuple"])) {
        command.args(["--filter-platform", &host]);
    }
    let (status, output) = process::run_capturing(&mut command, "no verdict")?;
    if !status.success() {
        bail!("`cargo metadata` failed: see its message above");
    }
    let metadata: Value = serde_json::from_str(&output).context("`cargo metadata` printed no JSON")?;
    let mut packages = metadata["packages"].as_array().into_iter().flatten();
    let manifest = packages.find(|package| package["name"] == KERNELS).and_then(|package| package["manifest_path"].as_str());
    let folder = manifest.and_then(|path| Path::new(path).parent()).map(Path::to_owned);
    folder.with_context(|| format!("the feature cuda of the driver no longer needs {KERNELS}: change xtask/src/check_device.rs"))
}

/// Writes the crate that stands in for the kernels in `real`: its manifest and Rust sources, and empty modules. The dependencies
/// must be the same ones, or cargo would have to change the lock file.
fn stand_in(real: &Path, folder: &Path) -> Result<()> {
    let read = |name: &str| {
        let path = real.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let library = read("src/lib.rs")?;
    let build = build_script(&library)
        .with_context(|| format!("{} declares no modules as mdl!(NAME, …): change xtask/src/check_device.rs", real.display()))?;
    let (manifest, functions) = (read("Cargo.toml")?, read("src/ffi.rs")?);
    for (name, content) in [("Cargo.toml", manifest), ("build.rs", build), ("src/lib.rs", library), ("src/ffi.rs", functions)] {
        let path = folder.join(name);
        // Cargo compiles a file again that was written again.
        if fs::read_to_string(&path).ok().as_deref() != Some(content.as_str()) {
            files::write(&path, content)?;
        }
    }
    Ok(())
}

/// The build script of the stand-in; `None` if the library does not declare modules as candle 0.11 does.
fn build_script(library: &str) -> Option<String> {
    let module = |line: &str| line.trim().strip_prefix("mdl!(")?.split_once(',').map(|(name, _)| format!("{name:?}"));
    let names: Vec<String> = library.lines().filter_map(module).collect();
    if names.is_empty() { None } else { Some(BUILD.replace("@NAMES@", &names.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_is_checked_with_an_empty_crate_in_place_of_the_kernels() {
        let step = cuda("cudnn", Path::new("/w/stub"));
        assert_eq!(
            step.arguments.join(" "),
            "check --locked --package rankle --features cudnn --target-dir target/check-device/target --config paths=[\"/w/stub\"]"
        );
        assert_eq!(step.environment, [("CUDARC_CUDA_VERSION".into(), "13000".into())]);
    }

    #[test]
    fn metal_is_checked_where_the_compiler_has_a_library_for_it() {
        let step = metal_elsewhere(true).unwrap();
        assert!(step.arguments.join(" ").ends_with(" --target aarch64-apple-darwin"), "{:?}", step.arguments);
        let reason = metal_elsewhere(false).unwrap_err();
        assert!(reason.contains("rustup target add aarch64-apple-darwin") && reason.lines().count() == 1, "{reason}");
    }

    #[test]
    fn the_modules_are_those_of_the_library() {
        let library =
            "mod ptx {}\nmacro_rules! mdl {\n    ($cst:ident, $id:ident) => {};\n}\nmdl!(AFFINE, Affine);\nmdl!(SORT, Sort);\n";
        let script = build_script(library).unwrap();
        assert!(script.contains("let names: &[&str] = &[\"AFFINE\", \"SORT\"];"), "{script}");
        assert_eq!(build_script("pub const AFFINE: &str = \"\";"), None);
    }

    #[test]
    fn a_stand_in_has_the_manifest_and_the_library_of_the_crate() {
        let (real, stub) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let message = stand_in(real.path(), stub.path()).unwrap_err().to_string();
        assert!(message.starts_with("cannot read ") && message.ends_with("lib.rs"), "{message}");
        for (name, content) in
            [("Cargo.toml", "manifest"), ("build.rs", "nvcc"), ("src/lib.rs", "mdl!(SORT, Sort);"), ("src/ffi.rs", "")]
        {
            files::write(&real.path().join(name), content).unwrap();
        }
        stand_in(real.path(), stub.path()).unwrap();
        let read = |name: &str| fs::read_to_string(stub.path().join(name)).unwrap();
        assert_eq!((read("Cargo.toml").as_str(), read("src/lib.rs").as_str()), ("manifest", "mdl!(SORT, Sort);"));
        assert!(read("build.rs").contains("&[\"SORT\"]"), "{}", read("build.rs"));
        let written = |name: &str| fs::metadata(stub.path().join(name)).unwrap().modified().unwrap();
        let before = written("src/lib.rs");
        stand_in(real.path(), stub.path()).unwrap();
        assert_eq!(written("src/lib.rs"), before);
    }
}
