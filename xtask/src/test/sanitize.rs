//! Tests of the kernels under AddressSanitizer, which stops at every access outside of allocated memory.

use super::{Step, heard, rustc};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Turns on the standard library's checks of each pointer step, which other runs of the tests leave out because they are slow.
const POINTER_CHECKS: &str = "profile.dev.package.rankle-kernels.debug-assertions=true";

/// The call of cargo, or the reason why there is none: not every compiler includes the sanitizer.
pub(super) fn step() -> Result<Step, String> {
    let compiler = rustc();
    let asked = |what: &str| heard(Command::new(&compiler).args(["--print", what]));
    let (Some(host), Some(libraries)) = (asked("host-tuple"), asked("target-libdir")) else {
        return Err(format!("{} says no target of its own", compiler.display()));
    };
    step_of(&host, Path::new(&libraries))
}

fn step_of(host: &str, libraries: &Path) -> Result<Step, String> {
    let files = std::fs::read_dir(libraries).into_iter().flatten().flatten();
    if !files.map(|file| file.file_name()).any(|name| is_runtime(&name)) {
        return Err(format!("the compiler has no AddressSanitizer for {host} in {}", libraries.display()));
    }
    let words = ["test", "--package", "rankle-kernels", "--lib", "--tests", "--target", host, "--config", POINTER_CHECKS];
    Ok(Step {
        title: "kernels under AddressSanitizer",
        arguments: words.map(str::to_owned).into(),
        environment: vec![
            // Sanitizers are unstable options. Cargo prefers the second variable to all others with flags.
            ("RUSTC_BOOTSTRAP".to_owned(), "1".into()),
            ("CARGO_ENCODED_RUSTFLAGS".to_owned(), "-Zsanitizer=address".into()),
        ],
    })
}

/// True for `librustc-stable_rt.asan.a`, or a dynamic library on a Mac.
fn is_runtime(name: &OsStr) -> bool {
    name.to_string_lossy().contains("_rt.asan.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_with_the_runtime_is_told_to_use_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("librustc-stable_rt.asan.a"), "").unwrap();
        let step = step_of("x86_64-unknown-linux-gnu", folder.path()).unwrap();
        assert_eq!(
            step.arguments.join(" "),
            "test --package rankle-kernels --lib --tests --target x86_64-unknown-linux-gnu \
             --config profile.dev.package.rankle-kernels.debug-assertions=true"
        );
        let environment: Vec<_> = step.environment.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(environment, [("RUSTC_BOOTSTRAP", "1"), ("CARGO_ENCODED_RUSTFLAGS", "-Zsanitizer=address")]);
    }

    #[test]
    fn a_compiler_without_it_is_named_with_the_folder_that_lacks_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("librustc-stable_rt.tsan.a"), "").unwrap();
        for libraries in [folder.path(), Path::new("/no/such/folder")] {
            let reason = step_of("powerpc-unknown-linux-gnu", libraries).unwrap_err();
            assert!(reason.contains("powerpc-unknown-linux-gnu") && reason.contains(libraries.to_str().unwrap()), "{reason}");
        }
    }
}
