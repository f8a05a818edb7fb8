//! `rankle train`: interrupted, killed, repeated.

use crate::support::{bmp, json, outcome, rankle, splits, wait_for};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Radius with the shortest search of the paper's schedule, ten steps per image; four would do for these tests.
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

#[test]
fn a_training_that_diverges_leaves_no_model() {
    // The batch sizes diverge in a step and in the measurement of the model.
    for batch_size in ["50", "100"] {
        let folder = tempfile::tempdir().unwrap();
        let plain = "train --dataset mnist --model c2f2 --distance cosine --images 100 --epochs 1 --lr 1e30 --batch-size";
        let (code, stdout, stderr) = outcome(rankle(plain).arg(batch_size).arg("--output").arg(folder.path()));
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains("has diverged: lower --lr"), "{stderr}");
        assert!(!folder.path().join("model.safetensors").exists());
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

    // A run with other arguments must not resume from this checkpoint, and says why.
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
    let losses = |folder: &Path| {
        let card: toml::Table = fs::read_to_string(folder.join("card.toml")).unwrap().parse().unwrap();
        let losses = card["epoch_losses"].as_array().unwrap().iter().map(|loss| loss.as_float().unwrap());
        losses.collect::<Vec<_>>()
    };
    let expected = losses(&whole);
    assert!(expected.len() == 4 && expected.iter().all(|&loss| loss > 0.0) && expected[3] < expected[0], "{expected:?}");
    assert_eq!(losses(&parts), expected);
    assert_eq!(trained["epoch_losses"], serde_json::json!(expected));
    assert!(fs::read(whole.join("model.safetensors")).unwrap() == fs::read(parts.join("model.safetensors")).unwrap());
    assert!(!checkpoint.exists());

    // A finished training is neither repeated nor overwritten by another run.
    let (code, stdout, stderr) = outcome(&mut train("--epochs 4 --format json", &parts));
    assert!(code == 0 && stderr.contains("is finished"), "{stderr}");
    let again: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(again["weights_sha256"], trained["weights_sha256"]);
    assert!(again["images_per_second"].is_null(), "{again}");
    let (code, _, stderr) = outcome(&mut train("--epochs 5", &parts));
    assert!(code == 1 && stderr.contains("epochs 4 instead of 5"), "{stderr}");
}

/// A truncated model used to be "finished: nothing to do", and a checkpoint at step 9999 of 2000 was resumed.
#[test]
fn what_is_finished_or_begun_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model");
    let splits = splits();
    let dataset = format!("folder:{}", splits.path().display());
    let train = || {
        let mut command = rankle("train --model c2f2 --distance cosine --images 200 --batch-size 100 --epochs 1 --dataset");
        command.args([&*dataset, "--output"]);
        command
    };
    assert_eq!(outcome(train().arg(&output)).0, 0);
    let model = output.join("model.safetensors");
    let whole = fs::read(&model).unwrap();
    for wrong in [&whole[..0], &whole[..whole.len() - 1], &[&whole[..whole.len() - 1], &[7]].concat()] {
        fs::write(&model, wrong).unwrap();
        let (code, stdout, stderr) = outcome(train().arg(&output));
        assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
        assert!(stderr.contains("is not the file that its card describes") && stderr.contains("delete both"), "{stderr}");
    }
    fs::write(&model, &whole).unwrap();
    assert!(outcome(train().arg(&output)).2.contains("nothing to do"));

    // A checkpoint of an unknown run.
    fs::write(output.join("checkpoint.safetensors"), "").unwrap();
    let (code, _, stderr) = outcome(train().arg(&output));
    assert!(code == 1 && stderr.contains("delete that file to start the training anew"), "{stderr}");
}

/// A checkpoint of step 0 would be refused, so none is written and the same command starts anew.
#[test]
#[cfg(unix)]
fn an_interrupt_in_the_first_step_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model");
    let begin = "train --dataset mnist --model c2f2 --distance cosine --images 4000 --batch-size 2000 --epochs 1 --threads 1 \
                 --defense embedding-shift --epsilon 0.3 --output";
    let mut child = rankle(begin).arg(&output).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&output.join(".lock"), &mut child);
    assert!(Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("nothing was learned yet; the same command starts anew"), "{stderr}");
    assert!(!output.exists());
}

/// A refused training used to leave an empty folder with a lock.
#[test]
fn a_refused_training_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("w.safetensors");
    fs::write(&weights, "no weights").unwrap();
    let begin = "train --dataset mnist --model c2f2 --distance cosine --images 200 --epochs 1 --lr 1e30 --batch-size 50 --output";
    let (code, _, stderr) = outcome(rankle(begin).arg(folder.path().join("a/b")));
    assert!(code == 1 && stderr.contains("has diverged"), "{stderr}");
    let (code, _, stderr) = outcome(rankle(begin).arg(folder.path().join("c")).arg("--pretrained").arg(&weights));
    assert!(code == 1 && stderr.contains("w.safetensors"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    // The output must not replace the weights that training starts from.
    let model = folder.path().join("model.safetensors");
    fs::rename(&weights, &model).unwrap();
    let (code, _, stderr) = outcome(rankle(begin).arg(folder.path()).arg("--pretrained").arg(&model));
    assert!(code != 0 && fs::read(&model).unwrap() == b"no weights", "{stderr}");
}

/// Dropout is keyed by the seed, which is in the plan and not among the tensors of the checkpoint.
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

/// Another architecture is trained and attacked under its name, and its weights are refused as C2F2.
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

/// Two classes of photographs of 8×8 pixels, bright and dark noise.
fn photographs(folder: &Path) {
    for (class, base) in [("bright", 150), ("dark", 20)] {
        for image in 0..8u32 {
            let noise = |at: u32| (base + (at * 37 + image * 101) % 90) as u8;
            let pixel = |x, y| [0, 1, 2].map(|channel| noise(24 * (7 - y) + 3 * x + channel));
            bmp(&folder.join(format!("{class}/{image}.bmp")), (8, 8), pixel);
        }
    }
}

/// With one image per class (`../shared/cases/singletons-training`) there is no positive; training once ended with loss 0.
#[test]
fn images_without_a_pair_of_one_class_are_refused() {
    let (photos, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    photographs(photos.path());
    for class in ["bright", "dark"] {
        let [whole, train, test] = ["", "train", "test"].map(|split| photos.path().join(split).join(class));
        fs::create_dir_all(&train).unwrap();
        fs::create_dir_all(test.parent().unwrap()).unwrap();
        fs::rename(whole.join("0.bmp"), train.join("0.bmp")).unwrap();
        fs::rename(whole, test).unwrap();
    }
    let dataset = format!("folder:{}", photos.path().display());
    let train = |line: &str, dataset: &str| {
        let mut command = rankle(&format!("train --distance cosine --epochs 1 {line} --dataset"));
        outcome(command.arg(dataset).arg("--output").arg(output.path().join("model")))
    };
    for (line, dataset, parts) in [
        ("--model resnet18,size=32", &*dataset, ["has two of the 2 training images", "put more images into its classes"]),
        ("--model resnet18,size=32 --loss contrastive --protocol paper", &dataset, ["has two of the 2", "into its classes"]),
        ("--model c2f2 --images 3", "mnist", ["has two of the 3 training images", "take more images with --images"]),
    ] {
        let (code, stdout, stderr) = train(line, dataset);
        // A separate line names the tested and the training images.
        let errors = stderr.lines().filter(|line| line.starts_with("error: ")).count();
        assert_eq!((code, stdout.as_str(), errors), (1, "", 1), "{stderr}");
        assert!(
            stderr.contains(&format!("no class of {dataset} ")) && parts.iter().all(|part| stderr.contains(part)),
            "{stderr}"
        );
        assert!(!output.path().join("model").exists());
    }
    // Labels of the first twelve images: 5 0 4 1 9 2 1 3 1 4 3 5.
    let (code, _, stderr) = train("--model c2f2 --images 12", "mnist");
    assert!(code == 0 && stderr.contains("3 of 7 classes of mnist have one training image"), "{stderr}");
    let (code, _, stderr) = train("--model c2f2 --batch-size 1", "mnist");
    assert!(code == 2 && stderr.contains("--batch-size 1"), "{stderr}");
}

/// One warning, on one line, whatever the file names contain.
#[test]
#[cfg(unix)]
fn files_that_are_no_photographs_are_passed_over_with_a_warning() {
    let (folder, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    photographs(folder.path());
    fs::write(folder.path().join("dark/no\rtes\n.txt"), "").unwrap();
    let dataset = format!("folder,images=50%:{}", folder.path().display());
    let stderr_of = |line: &str, files: [&str; 2]| {
        let mut command = rankle(&format!("{line} --model resnet18,size=32 --distance cosine"));
        let (code, _, stderr) = outcome(command.current_dir(output.path()).arg("--dataset").arg(&dataset).args(files));
        assert_eq!(code, 0, "{stderr}");
        stderr
    };
    let train = stderr_of("train --batch-size 4 --epochs 1", ["--output", "m"]);
    let transfer = "transfer --attack es --epsilon 0.1 --images 1 --iterations 1 --from m/model.safetensors";
    let cell = |distance: &str| {
        let model = format!(r#""model":"resnet18,size=32","weights":"m/model.safetensors","distance":"{distance}""#);
        let attack =
            r#""loss":"triplet","defense":"none","attack":"es","targets":0,"epsilon":0.0,"protocol":"paper","eight_bit":false"#;
        format!(r#"{{"table":"t","dataset":"{dataset}",{model},{attack},"images":1,"seed":0}}"#)
    };
    fs::write(output.path().join("plan"), [cell("cosine"), cell("euclidean")].join("\n")).unwrap();
    let mut sweep = rankle("sweep --plan plan --records records");
    let (code, stdout, sweep) = outcome(sweep.current_dir(output.path()));
    assert_eq!((code, stdout.lines().count()), (0, 2), "{sweep}");
    assert_eq!(sweep.matches("trained for cosine distances, ranked by euclidean ones").count(), 1, "{sweep}");
    for stderr in [train, sweep, stderr_of(transfer, ["--to", "m/model.safetensors"])] {
        let warnings: Vec<&str> = stderr.split(['\r', '\n']).filter(|line| line.contains("is skipped")).collect();
        assert_eq!(warnings.len(), 1, "{stderr}");
        assert!(warnings[0].starts_with("warning: ") && warnings[0].contains(": dark/no tes .txt is skipped: "), "{stderr}");
    }
}

/// A broken test image does not cost the weights of a finished training; once it is repaired, the same command ends without
/// training again. Training images that changed after the checkpoint are named.
#[test]
fn broken_test_images_cost_no_training_and_changed_images_are_named() {
    let (folder, output) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    photographs(folder.path());
    let file = |name: &str| folder.path().join(name);
    for split in ["train", "test"] {
        fs::create_dir(file(split)).unwrap();
    }
    for class in ["bright", "dark"] {
        fs::create_dir(file("test").join(class)).unwrap();
        for image in 0..3 {
            fs::rename(file(&format!("{class}/{image}.bmp")), file(&format!("test/{class}/{image}.bmp"))).unwrap();
        }
        fs::rename(file(class), file("train").join(class)).unwrap();
    }
    let whole = fs::read(file("test/dark/1.bmp")).unwrap();
    fs::write(file("test/dark/1.bmp"), "<html>").unwrap();
    let train = || {
        let mut command = rankle("train --distance cosine --model resnet18,size=32 --epochs 1 --batch-size 5 --format json");
        command.arg("--dataset").arg(format!("folder:{}", folder.path().display()));
        outcome(command.arg("--output").arg(output.path().join("model")))
    };
    let (code, stdout, stderr) = train();
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    for part in
        ["model.safetensors is trained, but has no card yet", "test/dark/1.bmp does not begin like an image", "rankle check"]
    {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
    let weights = output.path().join("model/model.safetensors");
    let before = fs::read(&weights).unwrap();

    fs::rename(file("train/dark/5.bmp"), file("train/dark/9.bmp")).unwrap();
    let (code, _, stderr) = train();
    let message = "is another run's, with train/dark/5.bmp, which is gone now, and no train/dark/9.bmp, which is new: choose";
    assert!(code == 1 && stderr.contains(message), "{stderr}");
    fs::rename(file("train/dark/9.bmp"), file("train/dark/5.bmp")).unwrap();

    fs::write(file("test/dark/1.bmp"), whole).unwrap();
    let (code, stdout, stderr) = train();
    assert!(code == 0 && stderr.contains("going on from step 2"), "{stderr}");
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert!(answer["images_per_second"].is_null() && fs::read(&weights).unwrap() == before, "{answer}");
    assert!(!output.path().join("model/checkpoint.safetensors").exists());
}

/// The original's draws make another model, so a training is never resumed under another protocol.
#[test]
fn the_protocol_says_with_whom_photographs_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    photographs(folder.path());
    let outputs = tempfile::tempdir().unwrap();
    let train = |arguments: &str, output: &str| {
        let line = format!("train --epochs 1 --loss contrastive --model resnet18,size=32 --distance cosine {arguments}");
        let mut command = rankle(&line);
        command.arg("--dataset").arg(format!("folder,images=50%:{}", folder.path().display()));
        outcome(command.arg("--output").arg(outputs.path().join(output)))
    };
    let mut hashes = Vec::new();
    for (arguments, output, protocol) in [("", "strict", "strict"), ("--protocol paper", "paper", "paper")] {
        let (code, _, stderr) = train(arguments, output);
        assert_eq!(code, 0, "{stderr}");
        let card: toml::Table = fs::read_to_string(outputs.path().join(output).join("card.toml")).unwrap().parse().unwrap();
        let recipe = ["protocol", "batch_size", "learning_rate", "margin"].map(|name| card["training"][name].to_string());
        assert_eq!(recipe, [format!("\"{protocol}\""), "128".into(), "0.0001".into(), "0.5".into()]);
        assert!(card["command"].as_str().unwrap().contains(&format!(" --loss contrastive --protocol {protocol} ")));
        hashes.push(card["weights_sha256"].to_string());
    }
    assert_ne!(hashes[0], hashes[1]);
    let (code, _, stderr) = train("--protocol paper", "strict");
    assert!(code == 1 && stderr.contains("protocol strict instead of paper"), "{stderr}");
}

/// A network is trained, then its last stage and a new linear layer are trained from these weights, then it is evaluated by name.
#[test]
fn a_part_of_a_network_is_trained_from_weights_of_before() {
    let folder = tempfile::tempdir().unwrap();
    photographs(folder.path());
    let (whole, part) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let command = |line: &str| {
        let mut command = rankle(line);
        command.arg("--dataset").arg(format!("folder,images=50%:{}", folder.path().display())).args(["--distance", "cosine"]);
        command
    };
    let train = "train --batch-size 4 --epochs 1 --loss contrastive --model resnet18,size=32";
    let (code, _, stderr) = outcome(command(train).arg("--output").arg(whole.path()));
    assert_eq!(code, 0, "{stderr}");
    let before = whole.path().join("model.safetensors");
    let train = format!("{train},embedding-size=16 --train-layers layer4");
    let (code, _, stderr) = outcome(command(&train).arg("--pretrained").arg(&before).arg("--output").arg(part.path()));
    assert_eq!(code, 0, "{stderr}");
    let card: toml::Table = fs::read_to_string(part.path().join("card.toml")).unwrap().parse().unwrap();
    let written = card["command"].as_str().unwrap();
    let expected = " --model resnet18,size=32,embedding-size=16 --pretrained model.safetensors --train-layers layer4 ";
    assert!(written.contains(expected), "{written}");
    assert_eq!(card["training"]["pretrained_sha256"].as_str().map(str::len), Some(64));

    let after = part.path().join("model.safetensors");
    let (old, new) = (fs::read(&before).unwrap(), fs::read(&after).unwrap());
    let (old, new) = (safetensors::SafeTensors::deserialize(&old).unwrap(), safetensors::SafeTensors::deserialize(&new).unwrap());
    for (name, tensor) in old.tensors() {
        assert_eq!(tensor.data() != new.tensor(&name).unwrap().data(), name.starts_with("layer4"), "{name}");
    }
    assert_eq!(new.tensor("fc.weight").unwrap().shape(), [16, 512]);

    let measure = |model: &str| outcome(command(&format!("evaluate --model {model}")).arg("--weights").arg(&after));
    assert_eq!(measure("resnet18,size=32,embedding-size=16").0, 0);
    assert_eq!(measure("resnet18,size=32 --embedding-size 16").0, 0);
    let (code, _, stderr) = measure("resnet18,size=32,embedding-size=8");
    assert!(code == 1 && stderr.contains("'fc.weight' has shape [16, 512], this model needs [8, 512]"), "{stderr}");
    for (arguments, complaint) in [
        ("train --model c2f2 --train-layers layer4", "--train-layers layer4 cannot be: all layers of c2f2 are trained"),
        ("train --model resnet18 --train-layers layer9", "unknown layer 'layer9', did you mean 'layer1'?"),
        ("train --model c2f2 --embedding-size 9", "model 'c2f2' takes no 'embedding-size=9'"),
        ("train --model resnet18,embedding-size=8 --embedding-size 9", "takes no 'embedding-size=9'; it takes size=N"),
        ("train --model convnext-atto", "convnext-atto cannot be trained here"),
    ] {
        let (code, _, stderr) = outcome(command(arguments).arg("--output").arg(part.path()));
        assert!(code == 2 && stderr.contains(complaint) && stderr.lines().count() == 1, "{stderr}");
    }
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
