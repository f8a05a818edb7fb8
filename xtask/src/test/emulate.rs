//! Tests of the kernels for another processor, under QEMU's user-mode emulation.

use super::{Step, heard, rustc};
use anyhow::{Result, bail};
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";
const PACKAGES: &str = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user";
/// Commands that install the Rust of Debian's security updates, and its library for the other processor.
const DEBIAN_RUST: &str = "dpkg --add-architecture arm64; apt-get update; apt-get install rustc-web libstd-rust-web-dev:arm64";

/// Processors that can be emulated.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Processor {
    /// 64-bit ARM with NEON
    Aarch64,
}

/// Tools of this machine for the emulation.
#[derive(Debug, Default)]
struct Tools {
    /// A compiler with a standard library for the target.
    compiler: Option<PathBuf>,
    /// Root folder for the emulator; `None` if the linker or the target's C library is missing.
    root: Option<PathBuf>,
    emulator: bool,
}

impl Processor {
    /// The calls of cargo, or an error that names the missing tools and their packages.
    pub(super) fn steps(self) -> Result<Vec<Step>> {
        match self {
            Self::Aarch64 => Tools::of_this_machine().steps(),
        }
    }
}

impl Tools {
    fn of_this_machine() -> Self {
        // The compiler on the path often lacks the library that Debian's own compiler has.
        let compiler = [rustc(), "/usr/bin/rustc".into()].into_iter().find(|compiler| {
            let folder = heard(Command::new(compiler).args(["--print", "target-libdir", "--target", TARGET]));
            folder.is_some_and(|folder| Path::new(&folder).is_dir())
        });
        // For a file that it does not find, the linker prints the bare name.
        let startup = heard(Command::new(LINKER).arg("-print-file-name=crt1.o")).map(PathBuf::from);
        let root = startup.filter(|file| file.is_absolute()).and_then(|file| Some(file.parent()?.parent()?.to_owned()));
        let emulator = heard(Command::new(EMULATOR).arg("--version")).is_some();
        Self { compiler, root, emulator }
    }

    fn steps(self) -> Result<Vec<Step>> {
        let (Some(compiler), Some(root), true) = (&self.compiler, &self.root, self.emulator) else { bail!(self.lacks()) };
        let words = ["test", "--package", "rankle-kernels", "--lib", "--tests", "--target", TARGET];
        let variable = |name: &str| format!("CARGO_TARGET_{}_{name}", TARGET.to_uppercase().replace('-', "_"));
        Ok(vec![Step {
            title: "kernels under emulation",
            arguments: words.map(str::to_owned).into(),
            environment: vec![
                ("RUSTC".to_owned(), compiler.into()),
                (variable("LINKER"), LINKER.into()),
                (variable("RUNNER"), format!("{EMULATOR} -L {}", root.display()).into()),
            ],
        }])
    }

    fn lacks(&self) -> String {
        let mut missing = Vec::new();
        if self.compiler.is_none() {
            missing.push(format!(
                "Rust's library for {TARGET} (`rustup target add {TARGET}`; without rustup, on Debian: `{DEBIAN_RUST}`)"
            ));
        }
        let mut tools = Vec::new();
        if self.root.is_none() {
            tools.push(format!("{LINKER} with its C library"));
        }
        if !self.emulator {
            tools.push(EMULATOR.to_owned());
        }
        if !tools.is_empty() {
            missing.push(format!("{} (on Debian and Ubuntu: `apt-get install {PACKAGES}`)", tools.join(" and ")));
        }
        format!("the emulation lacks {}", missing.join("; and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_everything_is_told_what_to_use() {
        let tools = Tools { compiler: Some("/usr/bin/rustc".into()), root: Some("/usr/arm".into()), emulator: true };
        let [step] = &tools.steps().unwrap()[..] else { panic!("one step") };
        assert_eq!(step.arguments.join(" "), "test --package rankle-kernels --lib --tests --target aarch64-unknown-linux-gnu");
        let environment: Vec<_> = step.environment.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            environment,
            [
                ("RUSTC", "/usr/bin/rustc"),
                ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc"),
                ("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64 -L /usr/arm"),
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_packages_that_have_it() {
        let said = |tools: Tools| tools.steps().unwrap_err().to_string();
        let all = said(Tools::default());
        for name in [TARGET, LINKER, EMULATOR, PACKAGES, DEBIAN_RUST] {
            assert!(all.contains(name), "{name} is not in: {all}");
        }
        let two = said(Tools { compiler: Some("rustc".into()), ..Tools::default() });
        assert!(!two.contains("rustup") && two.contains(LINKER) && two.contains(EMULATOR), "{two}");
        let one = said(Tools { compiler: Some("rustc".into()), root: Some("/usr/arm".into()), emulator: false });
        assert!(!one.contains(LINKER) && one.contains(EMULATOR), "{one}");
    }
}
