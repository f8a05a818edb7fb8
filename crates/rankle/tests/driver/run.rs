//! `rankle run`: plan files.

use crate::support::{outcome, rankle, shipped, weights};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `rankle run` on a plan, with the shipped models and an output folder.
fn run(plan: &Path, output: &Path, rest: &str) -> Command {
    let mut command = rankle("run");
    command.arg(plan).arg("--output").arg(output).arg("--models").arg(repository().join("models"));
    command.args(rest.split_whitespace());
    command
}

/// A plan with two existing models: [`weights`] and [`shipped`].
fn plan(folder: &Path, name: &str, rest: &str) -> PathBuf {
    let subject = |name: &str, seed: u64, weights: &Path| {
        format!(
            "[[subject]]\nname = \"{name}\"\ndataset = \"mnist\"\nmodel = \"c2f2\"\ndistance = \"cosine\"\nloss = \"triplet\"\n\
             seed = {seed}\nweights = {:?}\n",
            weights.display().to_string()
        )
    };
    let (head, rest) = rest.split_once("---\n").unwrap_or(("", rest));
    let subjects = subject("A", 7, weights()) + &subject("B", 8, &shipped());
    let path = folder.join(name);
    fs::write(&path, format!("title = \"A title\"\nsummary = \"a summary\"\n{head}{subjects}{rest}")).unwrap();
    path
}

fn objects(stdout: &str) -> Vec<Value> {
    serde_json::from_str(stdout).unwrap()
}

/// The example of the documentation is a single file; its model is trained briefly.
#[test]
fn a_new_experiment_is_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, output) = (folder.path().join("mine.toml"), folder.path().join("out"));
    fs::copy(repository().join("xtask/plans/examples/lenet-euclidean.toml"), &plan).unwrap();
    let rest = "--quick --images 2 --training-images 100";
    let (code, stdout, stderr) = outcome(&mut run(&plan, &output, rest));
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("mnist-lenet-et ·") && stdout.contains("BEWARE: quick model, trained for 1 epoch on 100 images"),
        "{stdout}"
    );
    assert!(stdout.ends_with(&format!("pictures of single attacks are in {}\n", output.display())), "{stdout}");
    assert!(stderr.contains("mine: a slice of the cells, 2 images attacked per cell, seed 0, into "), "{stderr}");
    let files = ["plan.jsonl", "records.jsonl", "report.md", "cells.csv", "curves.svg", "curves.png", "curves.pdf"];
    let pictures = ["mnist-c2f2-cosine-triplet-ca+.png", "mnist-lenet-euclidean-triplet-qa+.png"];
    assert!(files.iter().chain(&pictures).all(|file| output.join(file).is_file()));
    let trained = output.join("models-quick/mnist-lenet-euclidean-triplet-epochs-1-images-100/model.safetensors");
    assert!(trained.is_file());
    let report = fs::read_to_string(output.join("report.md")).unwrap();
    assert!(report.starts_with("# LeNet for Euclidean distance\n\nScope: a slice of the cells, 2 images"), "{report}");

    // A second run computes nothing and gives the same result in JSON.
    let (code, stdout, stderr) = outcome(&mut run(&plan, &output, &format!("{rest} --format json")));
    assert!(code == 0 && stderr.contains("0 of 16 cells are to be computed"), "{stderr}");
    let cells = objects(&stdout);
    assert_eq!(cells.len(), 16);
    assert!(cells.iter().all(|cell| cell["measured"].is_f64() && cell["images"] == 2), "{stdout}");
    assert!(cells.iter().all(|cell| cell["published"].is_f64() == (cell["table"] == "mnist-ct")), "{stdout}");
    assert!(stdout.trim_start().starts_with("[\n  {\n    \"published\": 50.0,\n    \"measured\": "), "{stdout}");
}

/// Lines of cells are computed by the code of `rankle sweep`.
#[test]
fn a_plan_may_be_lines() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, output) = (folder.path().join("cells.jsonl"), folder.path().join("out"));
    let cell = |attack: &str, targets: usize| {
        json!({
            "table": "own", "dataset": "mnist", "model": "c2f2", "weights": weights(), "distance": "cosine", "loss": "triplet",
            "defense": "none", "attack": attack, "targets": targets, "epsilon": 0.05, "protocol": "paper", "eight_bit": false,
            "images": 3, "seed": 0,
        })
    };
    fs::write(&plan, format!("{}\n{}\n", cell("ca+", 2), cell("es", 0))).unwrap();
    let (code, stdout, stderr) = outcome(rankle("run").arg(&plan).arg("--output").arg(&output));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("own ca+ w=2 ε=0.05") && stdout.contains("own es"), "{stdout}");
    assert!(stdout.contains(" → ") && stdout.ends_with(&format!("records.jsonl is in {}\n", output.display())), "{stdout}");
    let (_, stdout, _) = outcome(rankle("run --format json").arg(&plan).arg("--output").arg(&output));
    // `rankle sweep` finds the same cells done.
    let mut sweep = rankle("sweep");
    let (code, swept, stderr) = outcome(sweep.arg("--plan").arg(&plan).arg("--records").arg(output.join("records.jsonl")));
    assert!(code == 0 && stderr.contains("0 of 2 cells are to be computed"), "{stderr}");
    let swept: Vec<Value> = swept.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((objects(&stdout).len(), objects(&stdout)), (2, swept));
    let (code, _, stderr) = outcome(rankle("run --quick").arg(&plan).arg("--output").arg(&output));
    assert!(
        code == 1 && stderr.contains("cells.jsonl holds cells, each with its own images and seed: leave out --quick"),
        "{stderr}"
    );
}

/// Every study uses the weights that the plan names; several plans get a folder each.
#[test]
fn every_study_runs_on_weights_of_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let study = |name: &str| format!("study = \"{name}\"\nnote = \"Note {{size}}.\"\n---\n");
    let section =
        |name: &str, rest: &str| plan(folder.path(), &format!("{name}.toml"), &(study(name) + &format!("[{name}]\n{rest}")));
    let attacks = "attacks = [\"ca+\"]\nepsilon = 0.1\n";
    let plans = [
        section("transfer", &format!("models = [\"A\", \"B\"]\n{attacks}")),
        section(
            "universal",
            &format!("{attacks}pictured = \"A\"\n[[universal.row]]\nname = \"one\"\nattacked = \"A\"\nmeasured = \"B\"\n"),
        ),
        section(
            "ablations",
            "pictured = 0.1\n[[ablations.model]]\nname = \"model\"\nsubject = \"A\"\nepsilon = 0.1\n[[ablations.table]]\n\
             heading = \"the {name} at {epsilon}\"\ncorner = \"x\"\nattacks = [\"ca+\", \"sp-qa-\"]\n\
             rows = [{ name = \"usual\" }, { name = \"far\", attacks = [\"sp-qa-\"], xi = 2.0, step_per_epsilon = 1.0, iterations = 2 }]\n",
        ),
    ];
    let output = folder.path().join("out");
    let mut command = rankle("run --quick --images 2 --format json");
    let (code, stdout, stderr) = outcome(command.args(&plans).arg("--output").arg(&output));
    assert_eq!(code, 0, "{stderr}");
    let records = objects(&stdout);
    let tables: Vec<&str> = records.iter().map(|record| record["table"].as_str().unwrap()).collect();
    assert_eq!(tables, [&["transfer"; 4][..], &["universal"], &["ablations"; 3]].concat());
    assert!(
        records[..2].iter().all(|record| record["weights"] == *weights().to_str().unwrap()),
        "measured model by measured model"
    );
    assert!(records[4]["universal"]["perturbations"] == 3 && records[4]["from"]["weights"] == *weights().to_str().unwrap());
    let far = &records[7];
    assert_eq!((&far["xi"], &far["step"], &far["iterations"]), (&json!(2.0), &json!(0.1), &json!(2)));
    for (name, part) in [
        ("transfer", "| A | "),
        ("universal", "Note 2 images in batches of 2, 3 perturbations each."),
        ("ablations", "## the model at 0.1"),
    ] {
        let report = fs::read_to_string(output.join(name).join("report.md")).unwrap();
        assert!(report.starts_with("# A title\n") && report.contains(part), "{report}");
    }
    assert!(
        output.join("universal/universal-ca+.png").is_file()
            && output.join("transfer/mnist-c2f2-cosine-triplet-seed-8-qa+.png").is_file()
    );
    assert!(!output.join("transfer/models").exists(), "nothing was trained");
}

#[test]
fn classifiers_are_trained_for_a_moment_and_attacked() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, output) = (folder.path().join("c.toml"), folder.path().join("out"));
    let text = "title = \"T\"\nsummary = \"s\"\nstudy = \"classification\"\n[[subject]]\nname = \"S\"\ndataset = \"mnist\"\n\
                model = \"softmax\"\n[classification]\nmodels = [\"S\"]\nattacks = [\"fgsm\", \"pgd\"]\nepsilons = [0.1, 0.2]\n";
    fs::write(&plan, text).unwrap();
    let (code, stdout, stderr) = outcome(&mut run(&plan, &output, "--quick --images 5 --training-images 200 --format json"));
    assert_eq!(code, 0, "{stderr}");
    let cells = objects(&stdout);
    let of: Vec<_> = cells.iter().map(|cell| (cell["attack"].as_str().unwrap(), cell["epsilon"].as_f64().unwrap())).collect();
    assert_eq!(of, [("fgsm", 0.1), ("fgsm", 0.2), ("pgd", 0.1), ("pgd", 0.2)]);
    assert!(cells.iter().all(|cell| cell["caveat"].as_str().unwrap().starts_with("quick model") && cell["images"] == 5));
    assert!(fs::read_to_string(output.join("report.md")).unwrap().contains("## softmax on mnist\n"));

    // Files are named as given, so with relative paths neither record nor card reveals a path of this machine.
    let mut command = rankle("run ../c.toml --quick --images 5 --training-images 200 --format json --output .");
    let here = folder.path().join("here");
    fs::create_dir(&here).unwrap();
    let (code, stdout, stderr) = outcome(command.current_dir(&here));
    assert_eq!(code, 0, "{stderr}");
    let model = "models-quick/mnist-softmax-cross-entropy-epochs-1-images-200";
    assert!(objects(&stdout).iter().all(|cell| cell["weights"] == format!("{model}/model.safetensors")), "{stdout}");
    let card = fs::read_to_string(here.join(model).join("card.toml")).unwrap();
    assert!(card.contains(&format!(" --output {model}\"")), "{card}");
}

#[test]
fn a_wrong_plan_is_refused_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let table = "[[table]]\nid = \"own\"\ntitle = \"Own\"\nsubject = \"A\"\n";
    for (text, part) in [
        (table.replace("\"A\"", "\"C\""), "wrong.toml line 22: unknown subject 'C'; known: A, B"),
        (format!("{table}color = 1\n"), "wrong.toml line 23: unknown field `color`"),
        (format!("{table}targets = [0]\n"), "wrong.toml line 19: cannot make the table: 'own': targets is 0"),
        (format!("study = \"transfe\"\n---\n{table}"), "wrong.toml line 3: unknown study 'transfe', did you mean 'transfer'?"),
    ] {
        let (code, stdout, stderr) = outcome(&mut run(&plan(folder.path(), "wrong.toml", &text), &output, ""));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
        assert!(stderr.contains(part) && !output.exists(), "{stderr}");
    }
    let none = folder.path().join("none.toml");
    let (code, _, stderr) = outcome(&mut run(&none, &output, ""));
    assert!(code == 1 && stderr.starts_with("error: cannot read ") && stderr.contains("none.toml"), "{stderr}");

    let whole = plan(folder.path(), "whole.toml", table);
    let other = folder.path().join("deep/whole.toml");
    fs::create_dir(folder.path().join("deep")).unwrap();
    fs::copy(&whole, &other).unwrap();
    let (code, _, stderr) = outcome(run(&whole, &output, "").arg(&other));
    assert!(code == 2 && stderr.contains("would share a folder: rename one of them"), "{stderr}");
    for rest in ["--full --quick", "--full --images 5", "--quick --retrain", "--train-seed 1", "--images 0", "--seed -1"] {
        assert_eq!(outcome(&mut run(&whole, &output, rest)).0, 2, "{rest}");
    }
    assert_eq!(outcome(rankle("run").arg(&whole)).0, 2, "no --output");
    assert!(!output.exists());
}

#[test]
fn the_list_says_what_plans_need() {
    let plans = ["products", "mnist"].map(|name| repository().join(format!("xtask/plans/{name}.toml")));
    let mut command = rankle("run --list --trained no/such/folder");
    let (code, stdout, stderr) = outcome(command.args(&plans).arg("--models").arg(repository().join("models")));
    assert_eq!((code, stderr.as_str()), (0, ""));
    let line = stdout.lines().position(|line| line == "mnist                  yes         0.007    0.22     2.2 mnist (shipped)");
    let products = stdout.lines().position(|line| line.starts_with("products               no "));
    assert!(line.is_some() && line < products, "in the order that the plans say: {stdout}");
    assert!(stdout.contains(" sop-resnet18-euclidean-triplet-est (to be trained)\n"), "{stdout}");
}

#[test]
fn records_of_several_trainings_are_compared() {
    let records = repository().join("models/mnist-c2f2-cosine-triplet");
    let mut command = rankle("spread mnist-ct --format csv");
    let (code, stdout, stderr) = outcome(command.arg(records.join("records.jsonl")).arg(records.join("seeds/records-1.jsonl")));
    assert_eq!((code, stderr.as_str(), stdout.lines().count()), (0, "", 81));
    let (code, _, stderr) =
        outcome(rankle("spread mnist-ct").arg(records.join("records.jsonl")).arg(records.join("records.jsonl")));
    assert!(code == 1 && stderr.contains("hold records of the same weights"), "{stderr}");
    for wrong in ["spread mnist-ct", "spread mnist records.jsonl"] {
        assert_eq!(outcome(&mut rankle(wrong)).0, 2, "{wrong}");
    }
}
