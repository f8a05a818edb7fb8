//! Weights from elsewhere: wrapped, prefixed, or in another format.

use crate::support::{Digits, json, outcome, rankle, shipped, splits, weights, without};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The model of [`weights`] with a prefix before its tensor names, as `../shared/cases/weights` has for a ResNet-18.
fn prefixed(folder: &Path, prefix: &str) -> PathBuf {
    let tensors = rankle_models::weights::read(weights()).unwrap();
    let file = folder.join(format!("{prefix}safetensors"));
    let tensors = tensors.into_iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
    rankle_models::weights::write(&file, &tensors).unwrap();
    file
}

fn attack(digits: &Digits, weights: &Path, rest: &str) -> Command {
    let mut command = digits.on("attack --attack ca+ --epsilon 0.1 --iterations 2");
    command.args(["--images", "3", "--format", "json", "--weights"]).arg(weights).args(rest.split_whitespace());
    command
}

#[test]
fn wrapped_weights_load_and_another_prefix_is_named_with_its_option() {
    let (folder, digits) = (tempfile::tempdir().unwrap(), Digits::new(200));
    // The tensors are the same; the hash of the file is not.
    let result = |record| without(record, &["seconds", "weights", "weights_sha256"]);
    let expected = result(json(&mut attack(&digits, weights(), "")));
    for prefix in ["module.", "_orig_mod.", "module._orig_mod."] {
        assert_eq!(result(json(&mut attack(&digits, &prefixed(folder.path(), prefix), ""))), expected, "{prefix}");
    }
    for (prefix, option) in
        [("model.", "model."), ("trunk.", "trunk"), ("net.backbone.", "net.backbone."), ("module.net.", "net.")]
    {
        let file = prefixed(folder.path(), prefix);
        let (code, stdout, stderr) = outcome(&mut attack(&digits, &file, ""));
        let shown = prefix.trim_start_matches("module.");
        let remedy = format!("there is '{shown}conv1.weight': take '{shown}' off all names with --strip-prefix {shown}\n");
        assert!(code == 1 && stdout.is_empty() && stderr.ends_with(&remedy), "{stderr}");
        assert_eq!(result(json(&mut attack(&digits, &file, &format!("--strip-prefix {option}")))), expected, "{prefix}");
    }
}

#[test]
fn every_command_strips_a_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let file = prefixed(folder.path(), "model.").display().to_string();
    let digits = splits();
    let dataset = format!("folder:{}", digits.path().display());
    let (plain, at) = (shipped().display().to_string(), |name: &str| folder.path().join(name).display().to_string());
    let model = format!("--dataset {dataset} --model c2f2 --distance cosine --strip-prefix model.");
    let search = "--attack ca+ --epsilon 0.1 --iterations 1";
    let cell = format!(
        r#"{{"table":"t","dataset":"{dataset}","model":"c2f2","weights":"{file}","distance":"cosine","loss":"triplet","defense":"none","#
    ) + r#""attack":"es","targets":0,"epsilon":0.1,"protocol":"paper","eight_bit":false,"images":1,"seed":0}"#;
    fs::write(folder.path().join("plan"), cell).unwrap();
    for line in [
        format!("embed {model} --weights {file} --images 2 --output {}", at("e.safetensors")),
        format!("picture {model} --weights {file} {search} --output {}", at("p.png")),
        // Only one of the two files has the prefix.
        format!("transfer {model} --from {file} --to {plain} {search} --images 2"),
        format!("universal {model} --weights {plain} --to {file} {search} --batch 2 --perturbations 1"),
        format!("sweep --strip-prefix model. --plan {} --records {}", at("plan"), at("records")),
        format!(
            "train {model} --pretrained {file} --images 100 --batch-size 100 --epochs 1 --license CC0-1.0 --output {}",
            at("trained")
        ),
    ] {
        let (code, _, stderr) = outcome(&mut rankle(&line));
        assert_eq!(code, 0, "{line}: {stderr}");
    }
    // The card has the command that repeats the training, and the license if one was given.
    let card = fs::read_to_string(folder.path().join("trained/card.toml")).unwrap();
    assert!(card.contains("\nlicense = \"CC0-1.0\"\ndata_license = "), "{card}");
    assert!(card.contains(" --strip-prefix model. ") && card.contains("\nstrip_prefix = \"model.\"\n"), "{card}");
}

/// Files in other formats are recognized by their content, not by their name.
#[test]
fn files_in_other_formats_are_recognized() {
    let (folder, digits) = (tempfile::tempdir().unwrap(), Digits::new(20));
    let file = folder.path().join("model.safetensors");
    let pickle = [&b"PK\x03\x04\x14\0\0\0model/data.pkl"[..], &[0; 64]].concat();
    for (bytes, said) in [
        (&*pickle, "but a checkpoint of PyTorch: convert it in Python with safetensors.torch.save_file(torch.load("),
        (b"\x08\x08\x12\x07pytorch\x1a\x031.0", "but an ONNX model: "),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:5f\nsize 12\n", "but a Git-LFS pointer: "),
        (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "but a web page: download the file itself"),
    ] {
        fs::write(&file, bytes).unwrap();
        let (code, stdout, stderr) = outcome(&mut attack(&digits, &file, ""));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
        assert!(stderr.contains("model.safetensors: is not a readable safetensors file ") && stderr.contains(said), "{stderr}");
    }
}

/// Other spellings of a model's name are accepted; a model that cannot be trained is not offered for training.
#[test]
fn models_are_known_by_the_spellings_of_others() {
    let mut command = rankle("evaluate --dataset mnist --model C2F2_512 --distance cosine --weights");
    let (code, _, stderr) = outcome(command.arg(weights()));
    assert!(code == 1 && stderr.contains("this model needs") | stderr.contains("is missing"), "{stderr}");
    let (_, help, _) = outcome(&mut rankle("evaluate --help"));
    let (_, _, unknown) = outcome(&mut rankle("evaluate --dataset mnist --model resnet34 --distance cosine --weights w"));
    for text in [help, unknown] {
        assert!(text.contains("resnet18") && text.contains("convnext-"), "{text}");
    }
    let (_, help, _) = outcome(&mut rankle("train --help"));
    assert!(help.contains("c2f2-classifier") && !help.contains("convnext-"), "{help}");
}
