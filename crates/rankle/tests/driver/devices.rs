//! `--device candle-cpu`: every command on candle's operations, beside the same command on the kernels.
//!
//! Embeddings differ in their last digits, by 3e-7 of their length at most, and ranks of clean images are the same. A search under
//! L∞ follows the signs of a gradient. They differ where it is within rounding of zero, at one pixel of 1,000 or none, and what
//! steps apart may stay apart.

use crate::support::{Digits, floats, indices, json, outcome, rankle, shipped, splits, wait_for, without};
use rankle_core::{Distance, Place, Seed};
use rankle_models::{Architecture, weights};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DEVICES: [&str; 2] = ["cpu", "candle-cpu"];

/// The shipped model that was trained with a defense.
fn defended() -> PathBuf {
    shipped().parent().unwrap().with_file_name("mnist-c2f2-cosine-triplet-est").join("model.safetensors")
}

/// Random weights.
fn write_weights(model: Architecture, file: &Path) {
    let fresh = model.initialize(Distance::Cosine, Seed(5), &Place::Kernels).unwrap();
    weights::write(file, &fresh.parameters().unwrap()).unwrap();
}

/// The answers of the kernels and of candle's operations to a command.
fn answers(command: impl Fn() -> Command) -> [Value; 2] {
    DEVICES.map(|device| json(command().args(["--format", "json", "--device", device])))
}

/// Largest difference between the devices in a column, where one image counts `image` percent; 0 for all other columns.
///
/// Over three seeds, mean ranks of ten images differed by 0.017 at most after an attack and not at all before, embedding shifts by
/// 1.1e-4, and shares of images not at all. With another instruction set other digits are rounded: about ten times as much, and
/// a single image or item, are allowed.
fn tolerance(column: &str, image: f64) -> f64 {
    match column {
        "seconds" | "images_per_second" | "waiting_share" => f64::INFINITY,
        "embedding_shift" => 1e-3,
        "rank_before" | "preserved_rank_before" => 0.05,
        "rank_after" | "preserved_rank_after" | "rank_before_stderr" | "rank_after_stderr" => 0.2,
        "rank_before_interval" | "rank_after_interval" => 0.6,
        _ if ["accuracy", "recall_at", "mean_", "r_precision", "tie_share", "undecided_share"]
            .iter()
            .any(|&shares| column.starts_with(shares)) =>
        {
            image
        }
        _ => 0.0,
    }
}

/// Compares the answers of the two devices, column by column. The devices named are those that were asked for.
#[track_caller]
fn agree(column: &str, kernels: &Value, candle: &Value, image: f64) {
    match (kernels, candle) {
        (Value::Object(kernels), Value::Object(candle)) => {
            let names = |object: &serde_json::Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
            assert_eq!(names(kernels), names(candle), "{column}");
            kernels.iter().for_each(|(column, value)| agree(column, value, &candle[column], image));
        }
        (Value::Array(kernels), Value::Array(candle)) => {
            assert_eq!(kernels.len(), candle.len(), "{column}");
            kernels.iter().zip(candle).for_each(|(kernels, candle)| agree(column, kernels, candle, image));
        }
        _ if column == "device" => assert_eq!([kernels, candle], DEVICES),
        _ => match (kernels.as_f64(), candle.as_f64()) {
            (Some(one), Some(other)) => {
                assert!((one - other).abs() <= tolerance(column, image), "{column}: {one} {other}");
            }
            _ => assert_eq!(kernels, candle, "{column}"),
        },
    }
}

/// The largest difference of two lists.
#[track_caller]
fn apart(one: &[f32], other: &[f32]) -> f32 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// The input of a record, with some columns that are unusual.
fn cell(digits: &Digits, attack: &str, unusual: &Value) -> Value {
    let mut cell = json!({
        "dataset": digits.name(), "model": "c2f2", "weights": shipped(), "distance": "cosine", "loss": "triplet",
        "defense": "none", "attack": attack, "targets": usize::from(attack != "es"), "epsilon": 0.03, "protocol": "paper",
        "eight_bit": false, "images": 10, "seed": 0,
    });
    cell.as_object_mut().unwrap().extend(unusual.as_object().unwrap().clone());
    cell
}

fn records(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn attacks_move_what_those_of_the_kernels_move() {
    // The fewest for SP-QA: it preserves some of the first percent of a list.
    let (digits, folder) = (Digits::new(600), tempfile::tempdir().unwrap());
    let plan = folder.path().join("plan.jsonl");
    let cells = [
        ("ca+", json!({ "targets": 2 })),
        ("ca-", json!({ "targets": 2 })),
        ("qa+", json!({ "targets": 2 })),
        ("qa-", json!({ "targets": 2 })),
        ("sp-qa+", json!({})),
        ("sp-qa-", json!({})),
        ("es", json!({})),
        ("ca-", json!({ "protocol": "strict" })),
        ("qa+", json!({ "norm": "l2", "epsilon": 0.6 })),
        ("qa+", json!({ "objective": "distance" })),
        ("qa-", json!({ "random_start": true, "restarts": 2, "eight_bit": true })),
        ("ca+", json!({ "distance": "euclidean" })),
        ("qa-", json!({ "distance": "euclidean" })),
        ("es", json!({ "distance": "euclidean" })),
    ];
    let lines = cells.iter().map(|(attack, unusual)| format!("{}\n", cell(&digits, attack, unusual)));
    fs::write(&plan, lines.collect::<String>()).unwrap();
    let [kernels, candle] = DEVICES.map(|device| {
        let mut sweep = rankle("sweep --plan");
        sweep.arg(&plan).arg("--records").arg(folder.path().join(device));
        let (code, stdout, stderr) = outcome(sweep.args(["--device", device]));
        assert_eq!(code, 0, "{stderr}");
        records(&stdout)
    });
    assert_eq!((kernels.len(), candle.len()), (14, 14));
    for (kernels, candle) in kernels.iter().zip(&candle) {
        agree("a record", kernels, candle, 10.0);
        // The attack had an effect, so there was something to compare.
        assert!(candle["embedding_shift"].as_f64() > Some(1e-3), "{candle}");
        assert!(candle["attack"] == "es" || candle["rank_before"] != candle["rank_after"], "{candle}");
    }
}

/// The images and the targets are the same, to the last bit; so is nearly every pixel after one step.
#[test]
fn one_step_is_that_of_the_kernels() {
    let (digits, folder) = (Digits::new(600), tempfile::tempdir().unwrap());
    let [kernels, candle] = DEVICES.map(|device| {
        let file = folder.path().join(device).with_extension("safetensors");
        let mut attack = digits.on("attack --attack sp-qa+ --targets 2 --epsilon 0.1 --iterations 1 --images 20 --format json");
        let record = json(attack.args(["--device", device, "--weights"]).arg(shipped()).arg("--save-adversarial").arg(&file));
        assert_eq!(record["device"], device);
        fs::read(file).unwrap()
    });
    for name in ["image_indices", "target_indices", "preserved_indices"] {
        assert_eq!(indices(&kernels, name), indices(&candle, name), "{name}");
    }
    let both = |name: &str| [&kernels, &candle].map(|file| floats(file, name).1);
    let [images, same] = both("images");
    assert_eq!(images, same);
    // At most two of the two targets' neighbors changed places, of 600.
    let [before, other] = both("rank_before");
    assert!(apart(&before, &other) <= 100.0 * 1.0 / 600.0, "{before:?} {other:?}");
    let [one, other] = both("adversarial");
    assert_ne!(images, other);
    let differ = one.iter().zip(&other).filter(|(one, other)| (*one - *other).abs() > 1e-6).count();
    assert!(1000 * differ <= one.len(), "{differ} of {} pixels", one.len());
}

#[test]
fn a_model_is_measured_as_by_the_kernels() {
    let digits = Digits::new(200);
    let [kernels, candle] = answers(|| {
        let mut command = digits.on("evaluate");
        command.arg("--weights").arg(shipped());
        command
    });
    agree("the evaluation", &kernels, &candle, 0.5);
    assert!(candle["recall_at_1"].as_f64() > Some(90.0), "{candle}");
}

#[test]
fn every_network_embeds_as_by_the_kernels() {
    let (digits, folder) = (Digits::new(10), tempfile::tempdir().unwrap());
    let [file, output] = ["weights", "embeddings"].map(|name| folder.path().join(name).with_extension("safetensors"));
    for (model, dataset) in [
        ("c2f2", "mnist"),
        ("c2f2-512", "mnist"),
        ("lenet", "mnist"),
        ("resnet18-28,embedding-size=8", "mnist"),
        ("resnet18,size=32", &digits.name()),
    ] {
        write_weights(model.parse().unwrap(), &file);
        let [kernels, candle] = DEVICES.map(|device| {
            let mut embed = rankle("embed --images 10 --distance cosine");
            embed.args(["--device", device, "--model", model, "--dataset", dataset]);
            let (code, _, stderr) = outcome(embed.arg("--weights").arg(&file).arg("--output").arg(&output));
            assert_eq!(code, 0, "{stderr}");
            floats(&fs::read(&output).unwrap(), "embeddings").1
        });
        // Measured: 3e-7. ResNet-18 has the longest sums.
        assert!(apart(&kernels, &candle) < 3e-6, "{model}: {}", apart(&kernels, &candle));
    }
}

#[test]
fn another_model_is_attacked_and_images_are_perturbed_together() {
    let (digits, folder) = (Digits::new(200), tempfile::tempdir().unwrap());
    let [kernels, candle] = answers(|| {
        let mut transfer = digits.on("transfer --attack qa- --targets 2 --epsilon 0.03 --images 10");
        transfer.arg("--from").arg(shipped()).arg("--to").arg(defended());
        transfer
    });
    agree("the transfer", &kernels, &candle, 10.0);
    let file = folder.path().join("x.safetensors");
    for search in ["pgd", "apgd"] {
        let [kernels, candle] = answers(|| {
            let mut universal = digits.on("universal --attack ca+ --epsilon 0.1 --batch 20 --perturbations 1 --iterations 5");
            universal.args(["--search", search, "--weights"]).arg(shipped()).arg("--save").arg(&file);
            universal
        });
        agree(&format!("the perturbation by {search}"), &kernels, &candle, 5.0);
        let (shape, perturbation) = floats(&fs::read(&file).unwrap(), "perturbations");
        assert!(shape == [1, 1, 28, 28] && perturbation.iter().any(|p| p.abs() > 0.01), "{shape:?}");
    }
    let picture = folder.path().join("x.png");
    let [kernels, candle] = answers(|| {
        let mut draw = digits.on("picture --attack ca+ --targets 2 --epsilon 0.1 --iterations 3 --image-indices 7");
        draw.arg("--weights").arg(shipped()).arg("--output").arg(&picture);
        draw
    });
    agree("the picture", &kernels, &candle, 100.0);
    assert_eq!(&fs::read(picture).unwrap()[1..4], b"PNG");
}

#[test]
fn a_sanity_page_is_written() {
    let (digits, folder) = (Digits::new(100), tempfile::tempdir().unwrap());
    let file = folder.path().join("w.safetensors");
    write_weights(Architecture::LeNet, &file);
    let mut sanity = rankle("sanity --images 1 --epsilon 0.1 --model lenet --distance cosine --device candle-cpu --format json");
    sanity.args(["--dataset", &digits.name(), "--weights"]).arg(&file).arg("--output").arg(folder.path().join("page"));
    let page = json(&mut sanity);
    assert_eq!(page["device"], "candle-cpu");
    let verdict = |name: &str| {
        let mut checks = page["checks"].as_array().unwrap().iter();
        checks.find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name} in {page}"))["verdict"].clone()
    };
    assert_eq!((verdict("effort"), verdict("zeros")), ("pass".into(), "pass".into()));
    assert_ne!(verdict("gradients"), "fail");
}

#[test]
fn records_are_verified_by_either_device() {
    let (digits, folder) = (Digits::new(100), tempfile::tempdir().unwrap());
    let [plan, file, output] = ["plan.jsonl", "records.jsonl", "output"].map(|name| folder.path().join(name));
    let from = json!({ "model": "c2f2", "weights": defended(), "distance": "cosine" });
    let cells = [
        ("ca+", json!({ "iterations": 4 })),
        ("qa-", json!({ "iterations": 4, "protocol": "strict" })),
        ("es", json!({ "iterations": 4, "norm": "l2", "epsilon": 0.6 })),
        ("qa+", json!({ "iterations": 4, "from": from })),
        ("ca+", json!({ "iterations": 4, "universal": { "batches": 1, "perturbations": 1 } })),
    ];
    fs::write(&plan, cells.map(|(attack, unusual)| format!("{}\n", cell(&digits, attack, &unusual))).concat()).unwrap();
    let mut sweep = rankle("sweep --device candle-cpu --plan");
    let (code, stdout, stderr) = outcome(sweep.arg(&plan).arg("--records").arg(&file));
    assert_eq!(code, 0, "{stderr}");
    let swept = records(&stdout);
    assert!(swept.len() == 5 && swept.iter().all(|record| record["device"] == "candle-cpu"), "{stdout}");
    // To the last bit where they were computed.
    let nearly = " (5 of another device or instruction set, within its tolerance)";
    for (device, nearly) in [("candle-cpu", ""), ("cpu", nearly)] {
        let (code, stdout, stderr) = outcome(rankle("verify --device").arg(device).arg(&file));
        assert_eq!((code, stdout), (0, format!("5 agree{nearly}, 0 disagree, 0 not run\n")), "{stderr}");
    }
    let mut run = rankle("run --device candle-cpu --format json --output");
    let (code, stdout, stderr) = outcome(run.arg(&output).arg(&plan));
    assert_eq!(code, 0, "{stderr}");
    let timeless = |records: Vec<Value>| records.into_iter().map(|record| without(record, &["seconds"])).collect::<Vec<_>>();
    assert_eq!(timeless(serde_json::from_str(&stdout).unwrap()), timeless(swept));
}

fn card(folder: &Path) -> toml::Table {
    fs::read_to_string(folder.join("card.toml")).unwrap().parse().unwrap()
}

fn losses(folder: &Path) -> Vec<f64> {
    card(folder)["epoch_losses"].as_array().unwrap().iter().map(|loss| loss.as_float().unwrap()).collect()
}

/// Kills a training after its first checkpoint.
fn kill(mut training: Command, output: &Path) {
    let mut child = training.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&output.join("checkpoint.safetensors"), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!output.join("model.safetensors").exists());
}

#[test]
fn a_training_learns_as_with_the_kernels_and_goes_on_after_a_kill() {
    let (digits, folder) = (splits(), tempfile::tempdir().unwrap());
    let [kernels, whole, parts, mixed] = ["kernels", "whole", "parts", "mixed"].map(|name| folder.path().join(name));
    let train = |device: &str, output: &Path| {
        let mut command =
            rankle("train --model lenet --distance cosine --defense embedding-shift --epsilon 0.01 --lr 1e-3 --seed 3");
        command.args(["--epochs", "3", "--batch-size", "40", "--device", device, "--output"]).arg(output);
        command.arg("--dataset").arg(format!("folder:{}", digits.path().display()));
        command
    };
    let finish = |device: &str, output: &Path| {
        let (code, _, stderr) = outcome(&mut train(device, output));
        assert_eq!(code, 0, "{stderr}");
        stderr
    };
    for (device, output) in [("cpu", &kernels), ("candle-cpu", &whole)] {
        finish(device, output);
        assert_eq!(card(output)["device"].as_str(), Some(device));
    }
    kill(train("candle-cpu", &parts), &parts);
    let stderr = finish("candle-cpu", &parts);
    assert!(stderr.contains("going on from step") && !stderr.contains("was made on"), "{stderr}");
    assert!(fs::read(whole.join("model.safetensors")).unwrap() == fs::read(parts.join("model.safetensors")).unwrap());
    assert_eq!(card(&parts)["device"].as_str(), Some("candle-cpu"));

    kill(train("cpu", &mixed), &mixed);
    let stderr = finish("candle-cpu", &mixed);
    assert!(stderr.contains("was made on cpu, this run computes on candle-cpu: digits will differ"), "{stderr}");
    assert_eq!(card(&mixed)["device"].as_str(), Some("cpu, candle-cpu"));

    let expected = losses(&kernels);
    assert!(expected.len() == 3 && expected[2] < 0.9 * expected[0], "{expected:?}");
    assert_eq!(losses(&mixed)[0], expected[0]);
    for output in [&whole, &mixed] {
        let losses = losses(output);
        // Measured: 0.003 of 0.28 in the last epoch, as every step changes what the next one perturbs.
        assert!(losses.len() == 3 && losses.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 0.02), "{losses:?} {expected:?}");
    }
}

#[test]
fn classifiers_are_trained_and_attacked() {
    let (digits, folder) = (splits(), tempfile::tempdir().unwrap());
    let dataset = format!("folder:{}", digits.path().display());
    for (model, recipe) in
        [("softmax", "--epochs 5 --lr 1e-2"), ("c2f2-classifier", "--epochs 2 --lr 1e-3 --defense pgd --epsilon 0.01")]
    {
        let output = folder.path().join(model);
        let mut train = rankle(&format!("train --device candle-cpu --model {model} --batch-size 40 {recipe}"));
        let (code, _, stderr) = outcome(train.args(["--dataset", &dataset, "--output"]).arg(&output));
        assert_eq!(code, 0, "{stderr}");
        let losses = losses(&output);
        assert!(losses[losses.len() - 1] < 0.95 * losses[0], "{losses:?}");
        let [kernels, candle] = answers(|| {
            let mut classify = rankle("classify --attack pgd --epsilon 0.02");
            classify.args(["--dataset", &dataset, "--model"]).arg(&output);
            classify
        });
        agree("the accuracy", &kernels, &candle, 1.0);
        let [before, after] = ["accuracy", "accuracy_after"].map(|field| candle[field].as_f64().unwrap());
        assert!(before > 30.0 && after < before, "{candle}");
        assert_eq!(card(&output)["accuracy"].as_float(), Some(before));
    }
}

#[test]
fn the_benchmark_is_of_the_kernels() {
    let (code, stdout, stderr) = outcome(&mut rankle("bench --device candle-cpu"));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, "error: the benchmark times the kernels of the CPU: leave --device candle-cpu out\n");
}
