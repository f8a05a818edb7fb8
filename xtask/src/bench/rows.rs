//! Rows of the benchmark: the work, the other sides, and the ratio to reach.

use crate::driver::TRAINED;

/// Configurations of PyTorch for rows that are mostly a network; `xtask/bench/README.md` explains them.
const NETWORK: &[&str] = &["eager", "channels_last", "compile"];
/// Variant name of rankle on one thread, with which two threads are compared.
pub(super) const ONE_THREAD: &str = "rankle, one thread";
/// Variant name of rankle's PGD, with which a search of as many steps is compared.
pub(super) const PGD: &str = "rankle, PGD";
/// A step of APGD may take 1.1 times as long as one of PGD.
const SEARCH_FLOOR: f64 = 0.91;
/// Row of [`PGD`].
const PGD_SEARCH: &str = "pgd-search";
/// The other program that runs ONNX files. Like the networks without kernels of their own, rankle's import of ONNX may take 1.5 times
/// as long as the best other; with the input gradient no longer than PyTorch as most code runs it.
pub(super) const ONNXRUNTIME: &str = "onnxruntime";
const FORWARD_FLOOR: f64 = 0.67;
/// Models that are timed from an ONNX file, too, by the names of their architectures.
const EXPORTED: [&str; 3] = ["mobilenet-v2", "resnet50", "vit-small-patch16-224"];
/// Configurations of PyTorch for single operations.
const OPERATION: &[&str] = &["eager", "channels_last"];
/// Single operations may take 1.3 times as long as PyTorch.
const OPERATION_FLOOR: f64 = 0.77;
/// The peak that other rows are measured against: multiply-adds in registers.
pub(super) const PEAK: &str = "f32-peak";
/// Scripts as they are often written. They take minutes, so that one round has to do.
pub(super) const RESEARCH: &str = "research";
/// Images of a cell of an attack table.
const CELL: usize = 1000;
/// Placeholder in the arguments for a folder of the run, relative to the root of the workspace.
pub(super) const FOLDER: &str = "{folder}";

/// Placeholder for the folder of drawn photographs; a model for them is beside it.
pub(super) const PHOTOGRAPHS: &str = "{photographs}";
/// Number of products, half of them for training, and number of photographs of each.
pub(super) const PRODUCTS: (u32, u32) = (40, 12);

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// Number of images or queries in a batch.
    pub(super) images: usize,
    pub(super) threads: usize,
    pub(super) ours: Ours,
    /// Other sides to compare with.
    pub(super) contests: Vec<Contest>,
    /// Largest memory that the process may use, in MB (10⁶ bytes).
    pub(super) limit_mb: Option<f64>,
    /// The architecture whose ONNX file the row reads or is compared on.
    pub(super) exported: Option<&'static str>,
}

/// Work of rankle in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ours {
    /// A row of `rankle bench`.
    Step,
    /// A row of `rankle bench --model`, of the ONNX file of [`Row::exported`].
    OnnxStep,
    /// A whole command, timed from start to end; the arguments are separated by blanks.
    Command(String),
}

/// Other sides, the best of which must take at least `floor` times as long as rankle, unless rankle reaches the share `enough` of
/// the peak.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contest {
    pub(super) floor: f64,
    pub(super) enough: f64,
    pub(super) variants: &'static [&'static str],
}

/// All rows, in the order of the table.
pub(super) fn all() -> Vec<Row> {
    let network = |name, images, floor| Row::step(name, images).against(floor, NETWORK);
    let operation = |name| Row::step(name, 8).against(OPERATION_FLOOR, OPERATION);
    let two = |name| Row { threads: 2, ..Row::step(name, 500) }.against(1.85, &[ONE_THREAD]);
    let mut rows = vec![
        Row::step(PEAK, 1),
        network("c2f2-forward", 100, 1.3),
        network("c2f2-forward", 500, 1.35),
        network("c2f2-pgd-step", 100, 2.8),
        network("c2f2-pgd-step", 500, 2.8),
        network("c2f2-training-step", 100, 1.8),
        network("c2f2-training-step", 500, 1.8),
        network("lenet-pgd-step", 100, 1.5),
        network("resnet18-28-pgd-step", 100, 1.6),
        network("resnet18-forward", 8, 1.05),
        network("resnet18-pgd-step", 8, 1.25),
        network("resnet18-training-step", 8, 1.1),
        network("qa-step", 100, 1.5),
        network("sp-qa-step", 100, 1.5),
        Row::step("apgd-search", 100).against(SEARCH_FLOOR, &[PGD]),
        Row::step("gallery-rank-count", 1000).against(1.5, &["cosine", "cdist"]).or_of_peak(0.92),
        Row::step("retrieval", 1024).against(2.0, &["cdist+topk"]).against(2.0, &["cdist+topk+count"]).within(1073.7),
        attack("ca+", 1).against(10.0, &[RESEARCH]).against(3.0, &["vectorized"]),
        attack("ca+", 10).against(15.0, &[RESEARCH]).against(2.0, &["vectorized"]),
        attack("sp-qa+", 1).against(12.0, &[RESEARCH]).against(2.0, &["vectorized"]),
        Row::step("adversarial-batch", 1000).against(4.0, &[RESEARCH]).against(2.0, &["vectorized"]),
    ];
    rows.extend(EXPORTED.into_iter().flat_map(of_photographs));
    rows.extend([
        operation("op-conv3x3"),
        operation("op-conv1x1"),
        operation("op-depthwise3x3"),
        operation("op-depthwise5x5"),
        operation("op-attention"),
        operation("op-layer-norm"),
        two("c2f2-forward"),
        two("c2f2-pgd-step"),
        two("c2f2-training-step"),
        command("attack", 500, "--attack ca+ --epsilon 0.1 --images 500 --batch-size 500").within(300.0),
        command("embed", 10_000, &format!("--output {FOLDER}/embeddings.safetensors")),
        command("evaluate", 10_000, ""),
        Row::whole("train", 1000, format!("train {DATA} --loss triplet --epochs 1 --output {FOLDER}/model")),
        photographs("evaluate", &format!("--weights {PHOTOGRAPHS}.safetensors")),
        photographs("train", &format!("--epochs 1 --batch-size 60 --output {FOLDER}/model")),
    ]);
    rows
}

/// The rows of a network for photographs without kernels of its own, and those of its ONNX file.
fn of_photographs(model: &'static str) -> [Row; 4] {
    let row = |name: String, ours| Row { ours, exported: Some(model), ..Row::step(&name, 8) };
    [
        row(format!("{model}-forward"), Ours::Step).against(FORWARD_FLOOR, &["eager", "channels_last", "compile", ONNXRUNTIME]),
        row(format!("{model}-pgd-step"), Ours::Step).against(1.0, &["eager"]),
        row(format!("onnx-{model}-forward"), Ours::OnnxStep).against(FORWARD_FLOOR, &["eager", ONNXRUNTIME]),
        row(format!("onnx-{model}-pgd-step"), Ours::OnnxStep).against(1.0, &["eager"]),
    ]
}

const DATA: &str = "--dataset mnist --model c2f2 --distance cosine";

impl Row {
    /// A row of `rankle bench`, on one thread.
    pub(super) fn step(name: &str, images: usize) -> Self {
        Self { name: name.to_owned(), images, threads: 1, ours: Ours::Step, contests: Vec::new(), limit_mb: None, exported: None }
    }

    /// The row of rankle that a variant stands for; `None` for a variant of PyTorch.
    pub(super) fn other(&self, variant: &str) -> Option<Self> {
        match variant {
            ONE_THREAD => Some(Self { threads: 1, ..self.clone() }),
            PGD => Some(Self { name: PGD_SEARCH.to_owned(), ..self.clone() }),
            _ => None,
        }
    }

    fn whole(name: &str, images: usize, arguments: String) -> Self {
        Self { ours: Ours::Command(arguments), ..Self::step(name, images) }
    }

    fn against(mut self, floor: f64, variants: &'static [&'static str]) -> Self {
        self.contests.push(Contest { floor, enough: 0.95, variants });
        self
    }

    /// The share of the peak at which no floor binds, instead of 95 %.
    fn or_of_peak(mut self, enough: f64) -> Self {
        self.contests.iter_mut().for_each(|contest| contest.enough = enough);
        self
    }

    fn within(self, limit_mb: f64) -> Self {
        Self { limit_mb: Some(limit_mb), ..self }
    }

    /// Name, size and threads, which together are unique.
    pub(super) fn id(&self) -> String {
        let threads = if self.threads > 1 { format!("/{} threads", self.threads) } else { String::new() };
        format!("{}/{}{threads}", self.name, self.images)
    }

    /// Id of the row in `rankle bench`.
    pub(super) fn step_id(&self) -> String {
        format!("{}/{}", self.name, self.images)
    }

    pub(super) fn variants(&self) -> impl Iterator<Item = &'static str> {
        self.contests.iter().flat_map(|contest| contest.variants).copied()
    }
}

/// A command on the shipped model.
fn command(name: &str, images: usize, rest: &str) -> Row {
    Row::whole(name, images, format!("{name} {DATA} --weights {TRAINED} {rest}"))
}

/// A command on photographs, which are decoded while the model works.
fn photographs(name: &str, rest: &str) -> Row {
    let arguments =
        format!("{name} --dataset sop --dataset-dir {PHOTOGRAPHS} --model resnet18 --distance cosine --format json {rest}");
    Row::whole(&format!("photographs-{name}"), (PRODUCTS.0 / 2 * PRODUCTS.1) as usize, arguments)
}

/// One cell of a table, with the targets that the scripts use as well.
fn attack(kind: &str, targets: usize) -> Row {
    let letter = if kind.starts_with("ca") { 'w' } else { 'm' };
    let rest = format!(
        "--attack {kind} --targets {targets} --epsilon 0.3 --format json --image-indices 0-{} --target-indices @{FOLDER}/{}",
        CELL - 1,
        targets_file(targets)
    );
    Row { name: format!("attack-{kind}-{letter}{targets}"), ..command("attack", CELL, &rest) }
}

/// Name of the file with `each` targets per image.
fn targets_file(each: usize) -> String {
    format!("targets-{each}.txt")
}

/// Files of targets, spread over the gallery by the rule in `xtask/bench/common.py`.
pub(super) fn target_files() -> impl Iterator<Item = (String, String)> {
    [1, 10].into_iter().map(|each| {
        let items: Vec<String> = (0..CELL * each).map(|at| ((7919 * at + 13) % 10_000).to_string()).collect();
        (targets_file(each), items.join(",") + "\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_own_id_and_something_to_show() {
        let rows = all();
        let mut ids: Vec<String> = rows.iter().map(Row::id).collect();
        assert!(ids.contains(&"c2f2-pgd-step/500/2 threads".to_owned()) && ids.contains(&"attack-ca+-w10/1000".to_owned()));
        ids.sort_unstable();
        assert!(ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
        for row in &rows {
            let least = match row.name.split('-').next() {
                Some("op") => OPERATION_FLOOR,
                Some("apgd") => SEARCH_FLOOR,
                _ if row.exported.is_some() => FORWARD_FLOOR,
                _ => 1.0,
            };
            assert!(row.contests.iter().all(|contest| contest.floor >= least && !contest.variants.is_empty()));
            assert!(row.name == PEAK || !row.contests.is_empty() || matches!(row.ours, Ours::Command(_)), "{row:?}");
        }
    }

    #[test]
    fn targets_are_those_of_the_scripts() {
        let files: Vec<_> = target_files().collect();
        assert!(files[0].0 == "targets-1.txt" && files[0].1.starts_with("13,7932,5851,3770,"));
        assert_eq!(files[1].1.split(',').count(), 10_000);
        let Ours::Command(arguments) = attack("ca+", 10).ours else { panic!() };
        assert!(arguments.contains("--targets 10") && arguments.contains("@{folder}/targets-10.txt"));
    }
}
