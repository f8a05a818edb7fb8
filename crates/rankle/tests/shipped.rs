//! Checks that the shipped weights, cards and records are results of the current code.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rankle(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rankle")).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn records(model: &str) -> Vec<Value> {
    let file = root().join("models").join(model).join("records.jsonl");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The plan line that repeats a record.
fn plan_line(record: &Value) -> String {
    const PLANNED: &str =
        "table dataset model weights distance loss defense attack targets epsilon protocol eight_bit images seed";
    let line = PLANNED.split(' ').map(|name| (name.to_owned(), record[name].clone())).collect();
    Value::Object(line).to_string()
}

/// Computes cells of `model` again. On the instruction set of the record the numbers are equal bit by bit; elsewhere rounding
/// differs, and a mean over 1,000 images may move a little.
fn repeats(model: &str, cells: &[(&str, u64, f64)]) {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.jsonl");
    let shipped = records(model);
    let wanted: Vec<&Value> = cells
        .iter()
        .map(|(attack, targets, epsilon)| {
            let is =
                |record: &&Value| record["attack"] == *attack && record["targets"] == *targets && record["epsilon"] == *epsilon;
            shipped.iter().find(is).unwrap_or_else(|| panic!("{model} has no record of {attack} {targets} {epsilon}"))
        })
        .collect();
    std::fs::write(&plan, wanted.iter().map(|record| plan_line(record) + "\n").collect::<String>()).unwrap();
    let out = folder.path().join("records.jsonl");
    let answer = rankle(&["sweep", "--quiet", "--plan", plan.to_str().unwrap(), "--records", out.to_str().unwrap()]);
    for (mut again, record) in answer.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).zip(wanted) {
        let mut record = record.clone();
        for part in [&mut again, &mut record] {
            ["seconds", "code_version"].iter().for_each(|name| drop(part.as_object_mut().unwrap().remove(*name)));
        }
        if again["instruction_set"] == record["instruction_set"] {
            assert_eq!(again, record);
        } else {
            let (again, record) = (again["rank_after"].as_f64().unwrap(), record["rank_after"].as_f64().unwrap());
            assert!((again - record).abs() < 0.5, "{model}: {again} instead of {record}");
        }
    }
}

#[test]
fn records_of_the_ordinary_model_repeat() {
    repeats("mnist-c2f2-cosine-triplet", &[("ca+", 1, 0.01), ("ca-", 2, 0.01), ("sp-qa-", 1, 0.01)]);
}

#[test]
fn records_of_the_defended_model_repeat() {
    repeats("mnist-c2f2-cosine-triplet-est", &[("ca-", 1, 0.01), ("sp-qa+", 1, 0.01)]);
}

/// Each of the two published tables has 80 distinct cells, all with the shipped weights.
#[test]
fn every_published_cell_has_a_record_of_the_shipped_weights() {
    for model in ["mnist-c2f2-cosine-triplet", "mnist-c2f2-cosine-triplet-est"] {
        let card: toml::Table =
            std::fs::read_to_string(root().join("models").join(model).join("card.toml")).unwrap().parse().unwrap();
        let records = records(model);
        let mut cells: Vec<String> =
            records.iter().map(|r| format!("{} {} {}", r["attack"], r["targets"], r["epsilon"])).collect();
        cells.sort();
        cells.dedup();
        assert_eq!((records.len(), cells.len()), (80, 80), "{model}");
        for record in &records {
            assert_eq!(record["weights_sha256"].as_str(), card["weights_sha256"].as_str(), "{model}");
            assert!(record["images"] == 1000 && record["gallery"] == 10_000 && record["seed"] == 0, "{model}");
        }
    }
}

/// Committed records have the search that their protocol prescribes today, so a plan without a search asks for them again.
/// Records of ablations, whose plan states the search, are in cells.json and not checked here.
#[test]
fn what_protocols_prescribe_is_what_the_records_have() {
    let folders = |parent: &str| std::fs::read_dir(root().join(parent)).unwrap().map(|entry| entry.unwrap().path());
    let mut compared = 0;
    for folder in folders("models").chain(folders("xtask/results")).filter(|folder| folder.is_dir()) {
        for record in rankle_record::Journal::at(folder.join("records.jsonl")).read().unwrap().records {
            let spec = record.cell.spec;
            // No protocol prescribes it.
            if spec.search.kind == Some(rankle_record::SearchKind::Standard) {
                continue;
            }
            let options = rankle_record::AttackOptions { xi: None, ..spec.options };
            let open = rankle_record::AttackSpec { search: rankle_record::Search::default(), options, ..spec };
            assert_eq!(rankle_attacks::resolve(&open).unwrap(), spec, "{}: {}", folder.display(), record.cell);
            let asked = rankle_record::Cell { spec: open, ..record.cell.clone() };
            assert!(asked.matches(&record.cell), "{}", record.cell);
            compared += 1;
        }
    }
    assert!(compared > 1500, "{compared}");
}

/// A clone has the weights of every record, unless the record says that it cannot be verified.
#[test]
fn what_nobody_can_compute_from_a_clone_is_marked() {
    let folders = |parent: &str| std::fs::read_dir(root().join(parent)).unwrap().map(|entry| entry.unwrap().path());
    let models: Vec<PathBuf> = folders("models").filter(|path| path.is_dir()).collect();
    let shipped: Vec<String> = models
        .iter()
        .map(|model| {
            let card: toml::Table = std::fs::read_to_string(model.join("card.toml")).unwrap().parse().unwrap();
            assert!(model.join("model.safetensors").is_file());
            card["weights_sha256"].as_str().unwrap().to_owned()
        })
        .collect();
    let seeds = models.iter().map(|model| model.join("seeds")).filter(|seeds| seeds.is_dir());
    let (mut verifiable, mut others) = (0, 0);
    for folder in models.iter().cloned().chain(seeds).chain(folders("xtask/results")).filter(|folder| folder.is_dir()) {
        let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "jsonl")) {
            for record in rankle_record::Journal::at(&file).read().unwrap().records {
                let hashes = [&record.facts.provenance.weights_sha256]
                    .into_iter()
                    .chain(record.cell.from.as_ref().map(|from| &from.weights_sha256));
                let is_shipped = hashes.into_iter().all(|hash| shipped.contains(hash));
                assert_eq!(record.facts.verifiable, is_shipped, "{}: {}", file.display(), record.cell);
                *if is_shipped { &mut verifiable } else { &mut others } += 1;
            }
        }
    }
    assert!(verifiable > 800 && others > 800, "{verifiable} {others}");
}

/// The recall in a card is the measured one: equal on the same instruction set, nearly equal elsewhere.
#[test]
fn the_cards_state_the_measured_recall() {
    for model in ["mnist-c2f2-cosine-triplet", "mnist-c2f2-cosine-triplet-est"] {
        let card: toml::Table =
            std::fs::read_to_string(root().join("models").join(model).join("card.toml")).unwrap().parse().unwrap();
        let weights = format!("models/{model}/model.safetensors");
        let evaluate = ["evaluate", "--dataset", "mnist", "--model", "c2f2", "--distance", "cosine", "--format", "json"];
        let answer: Value = serde_json::from_str(&rankle(&[&evaluate[..], &["--weights", &weights]].concat())).unwrap();
        let (measured, stated) = (answer["recall_at_1"].as_f64().unwrap(), card["recall_at_1"].as_float().unwrap());
        assert!((measured - stated).abs() < 0.03, "{model}: {measured} instead of {stated}");
        assert_eq!(answer["weights_sha256"].as_str(), card["weights_sha256"].as_str());
    }
}
