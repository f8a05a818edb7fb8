//! `rankle train`: interrupted, killed, repeated.

use crate::support::{json, outcome, rankle};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Four steps of the inner search per image would do; the paper's smallest is ten.
const TRAIN: &str = "train --dataset mnist --model c2f2 --distance cosine --loss triplet --defense embedding-shift --epsilon 0.01 \
                     --images 400 --batch-size 100 --seed 3";

fn train(rest: &str, output: &Path) -> Command {
    let mut command = rankle(TRAIN);
    command.args(rest.split_whitespace()).arg("--output").arg(output);
    command
}

fn start(rest: &str, output: &Path) -> Child {
    train(rest, output).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits for a file that a child is to write.
fn wait_for(path: &Path, child: &mut Child) {
    let start = Instant::now();
    while !path.exists() {
        assert!(child.try_wait().unwrap().is_none(), "ended before {} was there", path.display());
        assert!(start.elapsed() < Duration::from_secs(120), "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_and_resumed_is_as_if_nothing_had_been() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let (code, stdout, stderr) = outcome(&mut train("--epochs 4", &whole));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("recall at 1"), "{stdout}");
    let mut files: Vec<String> =
        fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, [".lock", "card.toml", "model.safetensors"]);

    let checkpoint = parts.join("checkpoint.safetensors");
    let mut child = start("--epochs 4", &parts);
    wait_for(&checkpoint, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!parts.join("model.safetensors").exists());

    // Another run must not go on from there, and is told why.
    let (code, _, stderr) = outcome(&mut train("--epochs 5", &parts));
    assert_eq!(code, 1);
    assert!(stderr.contains("epochs 4 instead of 5") && stderr.contains("checkpoint.safetensors"), "{stderr}");

    let (code, stdout, stderr) = outcome(&mut train("--epochs 4 --format json", &parts));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("going on from step"), "{stderr}");
    let trained: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((trained["training"]["epochs"].as_u64(), trained["output"].as_str()), (Some(4), parts.to_str()));
    assert!(trained["recall_at_1"].as_f64() > Some(50.0), "{trained}");
    assert!((0.0..=100.0).contains(&trained["waiting_share"].as_f64().unwrap()), "{trained}");
    assert!(fs::read(whole.join("model.safetensors")).unwrap() == fs::read(parts.join("model.safetensors")).unwrap());
    assert!(!checkpoint.exists());

    // Finished: neither trained again nor overwritten by another run.
    let (code, stdout, stderr) = outcome(&mut train("--epochs 4 --format json", &parts));
    assert!(code == 0 && stderr.contains("is finished"), "{stderr}");
    let again: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(again["weights_sha256"], trained["weights_sha256"]);
    assert!(again["images_per_second"].is_null(), "{again}");
    let (code, _, stderr) = outcome(&mut train("--epochs 5", &parts));
    assert!(code == 1 && stderr.contains("epochs 4 instead of 5"), "{stderr}");
}

/// Its dropout is keyed by the seed, which is in the plan, not among the tensors of the checkpoint.
#[test]
fn a_classifier_is_resumed_with_its_seed() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let train = |output: &Path| {
        let arguments =
            "train --dataset mnist --model c2f2-classifier --images 300 --batch-size 100 --epochs 8 --seed 3 --output";
        let mut command = rankle(arguments);
        command.arg(output);
        command
    };
    assert_eq!(outcome(&mut train(&whole)).0, 0);
    let mut child = train(&parts).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&parts.join("checkpoint.safetensors"), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let (code, _, stderr) = outcome(&mut train(&parts));
    assert!(code == 0 && stderr.contains("going on from step"), "{stderr}");
    assert!(fs::read(whole.join("model.safetensors")).unwrap() == fs::read(parts.join("model.safetensors")).unwrap());
}

/// Another network is another name: trained, attacked, and not mistaken for C2F2.
#[test]
fn lenet_is_trained_and_attacked_by_its_name() {
    let output = tempfile::tempdir().unwrap();
    let on_lenet = |command: &str, model: &str| rankle(&format!("{command} --dataset mnist --model {model} --distance cosine"));
    let mut train = on_lenet("train --images 1000 --batch-size 500 --epochs 2", "lenet");
    let (code, _, stderr) = outcome(train.arg("--output").arg(output.path()));
    assert_eq!(code, 0, "{stderr}");
    let card: toml::Table = fs::read_to_string(output.path().join("card.toml")).unwrap().parse().unwrap();
    assert_eq!(card["training"]["model"].as_str(), Some("lenet"));
    assert!(card["recall_at_1"].as_float() > Some(80.0), "{card}");

    let weights = output.path().join("model.safetensors");
    let attack = "attack --attack qa+ --targets 1 --epsilon 0.1 --images 20 --format json";
    let record = json(on_lenet(attack, "lenet").arg("--weights").arg(&weights));
    let rank = |field: &str| record[field].as_f64().unwrap();
    assert!(rank("rank_after") < 0.8 * rank("rank_before"), "{record}");

    let (code, _, stderr) = outcome(on_lenet(attack, "c2f2").arg("--weights").arg(&weights));
    assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
    assert!(stderr.contains("'conv1.weight' has shape [20, 1, 5, 5]"), "{stderr}");
}

#[test]
#[cfg(unix)]
fn a_folder_has_one_run_and_an_interrupt_says_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model");
    let mut child = train("--epochs 1000", &output).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let checkpoint = output.join("checkpoint.safetensors");
    wait_for(&checkpoint, &mut child);

    let (code, _, stderr) = outcome(&mut train("--epochs 1000", &output));
    assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
    for part in [&child.id().to_string(), "rankle train", output.to_str().unwrap()] {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }

    let asked = Instant::now();
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(10));
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("interrupted; the same command goes on from step"), "{stderr}");
    assert!(checkpoint.exists() && !output.join("model.safetensors").exists());
}
