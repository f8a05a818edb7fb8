//! The machine of a benchmark, and its load.

use crate::process;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Properties that do not change during a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Machine {
    /// Model name of the processor; `None` if the system does not report it.
    pub(super) processor: Option<String>,
    pub(super) cores: usize,
    /// Sizes of the caches that a core sees, as in `L1d 48K, L2 2048K`; `None` if the system does not report them.
    #[serde(default)]
    pub(super) caches: Option<String>,
    /// Instruction set of rankle's kernels.
    pub(super) instruction_set: String,
    pub(super) rankle: String,
    pub(super) rustc: String,
    /// Version and instruction set of PyTorch.
    pub(super) pytorch: Option<String>,
    #[serde(default)]
    pub(super) onnxruntime: Option<String>,
}

impl Machine {
    pub(super) fn here() -> Self {
        let compiler = process::run_capturing(Command::new("rustc").arg("--version"), "nothing was written");
        Self {
            processor: fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| processor(&text)),
            cores: cores(),
            caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            rustc: compiler.map(|(_, version)| version.trim().to_owned()).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Number of threads that can run at once.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Data caches in a folder of the kernel, one sub-folder each.
fn caches(folder: &Path) -> Option<String> {
    let cache = |index: usize| {
        let read = |name: &str| fs::read_to_string(folder.join(format!("index{index}")).join(name));
        let (level, kind, size) = (read("level").ok()?, read("type").ok()?, read("size").ok()?);
        Some(match kind.trim() {
            "Instruction" => None,
            "Data" => Some(format!("L{}d {}", level.trim(), size.trim())),
            _ => Some(format!("L{} {}", level.trim(), size.trim())),
        })
    };
    let caches: Vec<String> = (0..).map_while(cache).flatten().collect();
    (!caches.is_empty()).then(|| caches.join(", "))
}

fn processor(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Average number of runnable processes over the last minute; `None` if the system does not report it.
pub(super) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_listed_without_that_of_instructions() {
        let folder = tempfile::tempdir().unwrap();
        for (index, [level, kind, size]) in
            [["1", "Data", "48K"], ["1", "Instruction", "32K"], ["2", "Unified", "2048K"]].iter().enumerate()
        {
            let cache = folder.path().join(format!("index{index}"));
            fs::create_dir(&cache).unwrap();
            for (name, value) in [("level", level), ("type", kind), ("size", size)] {
                fs::write(cache.join(name), format!("{value}\n")).unwrap();
            }
        }
        assert_eq!(caches(folder.path()).as_deref(), Some("L1d 48K, L2 2048K"));
        assert_eq!(caches(&folder.path().join("none")), None);
    }

    #[test]
    fn the_processor_is_named_as_it_names_itself() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2.60GHz\nflags\t: fma\n";
        assert_eq!(processor(text).as_deref(), Some("Some CPU @ 2.60GHz"));
        assert_eq!(processor("Features : asimd\n"), None);
        assert!(cores() >= 1);
    }
}
