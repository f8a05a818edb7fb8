//! Commands that write files, and checks of the files.

use crate::support::{self, outcome, rankle, weights};
use rankle_report::ImageRanks;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A command that runs in a new folder each time.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    command: Make,
    /// Files of an undisturbed run.
    reference: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) takes: Duration,
}

/// Makes a command that writes into a folder.
type Make = fn(&Path) -> Command;

/// Commands that together write every kind of file.
const ALL: [(&str, Make); 6] = [
    ("train", train),
    ("sweep", sweep),
    ("image ranks", image_ranks),
    ("embed", embed),
    ("attack", attack),
    ("picture", picture),
];

/// Photographs for all scenarios.
fn photographs() -> &'static str {
    static FOLDER: OnceLock<(TempDir, String)> = OnceLock::new();
    let (_, path) = FOLDER.get_or_init(|| {
        let folder = support::photographs();
        let path = folder.path().to_str().unwrap().to_owned();
        (folder, path)
    });
    path
}

fn train(folder: &Path) -> Command {
    let mut command = rankle("train --model c2f2 --distance cosine --batch-size 10 --epochs 3 --dataset");
    command.arg(format!("folder,images=50%:{}", photographs())).arg("--output").arg(folder.join("model"));
    command
}

fn sweep(folder: &Path) -> Command {
    let cell = |epsilon: f64| -> Value {
        json!({
            "table": "photographs", "dataset": dataset(), "model": "c2f2", "weights": weights(), "distance": "cosine",
            "loss": "triplet", "defense": "none", "attack": "ca+", "targets": 1, "epsilon": epsilon, "protocol": "paper",
            "eight_bit": false, "images": 10, "seed": 0,
        })
    };
    let plan: String = (1..=4).map(|at| format!("{}\n", cell(0.01 * f64::from(at)))).collect();
    fs::write(folder.join("plan.jsonl"), plan).unwrap();
    let mut command = rankle("sweep --plan");
    command.arg(folder.join("plan.jsonl")).arg("--records").arg(folder.join("records.jsonl"));
    command
}

fn image_ranks(folder: &Path) -> Command {
    let mut command = sweep(folder);
    command.arg("--image-ranks");
    command
}

fn dataset() -> String {
    format!("folder,test=all:{}", photographs())
}

/// A command on the photographs.
fn on(command: &str, rest: &str) -> Command {
    let mut command = rankle(command);
    command.args(["--model", "c2f2", "--distance", "cosine", "--weights"]).arg(weights());
    command.arg("--dataset").arg(dataset()).args(rest.split_whitespace());
    command
}

fn embed(folder: &Path) -> Command {
    let mut command = on("embed", "--output");
    command.arg(folder.join("x.safetensors"));
    command
}

fn attack(folder: &Path) -> Command {
    let mut command = on("attack", "--attack ca+ --epsilon 0.1 --images 20 --iterations 5 --save-adversarial");
    command.arg(folder.join("x.safetensors"));
    command
}

fn picture(folder: &Path) -> Command {
    let mut command = on("picture", "--attack ca+ --epsilon 0.1 --iterations 5 --image-indices 7 --output");
    command.arg(folder.join("x.png"));
    command
}

impl Scenario {
    /// All scenarios with their reference, which is computed once.
    pub(crate) fn all() -> &'static [Self] {
        static SCENARIOS: OnceLock<Vec<Scenario>> = OnceLock::new();
        // Trains the weights now, so that no scenario's time includes it.
        weights();
        SCENARIOS.get_or_init(|| ALL.into_iter().map(|(name, command)| Self::new(name, command)).collect())
    }

    fn new(name: &'static str, command: Make) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let start = Instant::now();
        let (code, _, stderr) = outcome(&mut command(folder.path()));
        assert_eq!(code, 0, "{name}: {stderr}");
        Self { name, command, takes: start.elapsed(), reference: contents(folder.path()) }
    }

    /// The command, and the folder in which it writes.
    pub(crate) fn start(&self) -> (TempDir, Command) {
        let folder = tempfile::tempdir().unwrap();
        let command = (self.command)(folder.path());
        (folder, command)
    }

    /// Checks a folder after a fault: every file under a final name is a whole file of the reference.
    pub(crate) fn check_begun(&self, folder: &Path, what: &str) {
        if folder.join("records.jsonl").exists() && self.reference.contains_key(Path::new(RANKS)) {
            let read = ImageRanks::read(&folder.join("records.jsonl"));
            read.unwrap_or_else(|error| panic!("{}: {what}: {error}", self.name));
        }
        for (file, bytes) in contents(folder) {
            let name = file.file_name().unwrap().to_str().unwrap();
            let passing = name.ends_with(".draft") || name.ends_with(".claims") || name == "checkpoint.safetensors";
            let whole = match self.reference.get(&file) {
                _ if passing => true,
                // Any number of records from the start.
                Some(reference) if name == "records.jsonl" => reference.starts_with(&bytes),
                // Any subset of the ranks; ranks of one record may be in a separate file.
                _ if file.starts_with(STAGED) || file.ends_with(RANKS) => has_part_of(&self.reference[Path::new(RANKS)], &bytes),
                reference => reference == Some(&bytes),
            };
            assert!(whole, "{}: {what}: {} is neither whole nor absent", self.name, file.display());
        }
    }

    /// Runs the command again and checks that all files equal the reference.
    pub(crate) fn check_recovered(&self, folder: &Path, what: &str) {
        let (code, _, stderr) = outcome(&mut (self.command)(folder));
        assert_eq!(code, 0, "{}: {what}: {stderr}", self.name);
        let found = contents(folder);
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&self.reference), "{}: {what}", self.name);
        assert!(found == self.reference, "{}: {what}: other contents", self.name);
    }
}

/// File of ranks, and the prefix of files with ranks that are not yet in it.
const RANKS: &str = "records.ranks.safetensors";
const STAGED: &str = ".records.jsonl.ranks";

/// True if every tensor of `part` is also in `whole`.
fn has_part_of(whole: &[u8], part: &[u8]) -> bool {
    let [whole, part] = [whole, part].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    part.iter().all(|(name, tensor)| whole.tensor(name).is_ok_and(|other| other == tensor))
}

/// All files below a folder, without the parts that differ between runs: times, and the owner of a lock.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(place) = folders.pop() {
        for entry in fs::read_dir(&place).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs::read(&path).unwrap();
            files.insert(path.strip_prefix(folder).unwrap().to_owned(), timeless(&path, bytes));
        }
    }
    files
}

fn timeless(path: &Path, bytes: Vec<u8>) -> Vec<u8> {
    match path.file_name().unwrap().to_str().unwrap() {
        ".lock" => Vec::new(),
        "card.toml" => {
            let lines = String::from_utf8(bytes).unwrap();
            let differs = |line: &&str| line.starts_with("seconds") || line.starts_with("threads");
            lines.lines().filter(|line| !differs(line)).flat_map(|line| [line, "\n"]).collect::<String>().into()
        }
        // Readers ignore a truncated last line.
        "records.jsonl" => {
            let whole = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
            let timeless = whole.map(|line| {
                let mut record: Value = serde_json::from_slice(line).unwrap();
                record.as_object_mut().unwrap().remove("seconds").unwrap();
                format!("{record}\n")
            });
            timeless.collect::<String>().into()
        }
        _ => bytes,
    }
}
