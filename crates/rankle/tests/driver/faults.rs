//! Error messages: one line, the right exit code, and nothing written.

use crate::support::{on_mnist, outcome, rankle, weights};
use std::fs;
use std::process::Command;

/// Checks the exit code, that standard output is empty, and that the only line on standard error contains `parts`.
#[track_caller]
fn refused(command: &mut Command, code: i32, parts: &[&str]) {
    let (found, stdout, stderr) = outcome(command);
    assert_eq!((found, stdout.as_str(), stderr.lines().count()), (code, "", 1), "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    for part in parts {
        assert!(stderr.contains(part), "{part} in {stderr}");
    }
}

#[test]
fn weights_of_another_model_are_told() {
    let mut command = rankle("evaluate --dataset mnist --model convnext-atto --distance cosine --weights");
    refused(command.arg(weights()), 1, &["tensor 'stem.0.weight' of shape [40, 3, 4, 4] is missing"]);
}

#[test]
#[rustfmt::skip] // keeps the columns aligned
fn wrong_arguments_are_told_without_any_file() {
    for (arguments, parts) in [
        ("--attack ca+ --epsilon 8",                                              &["epsilon 8 is outside [0, 1]", "8/255"][..]),
        ("--attack ca+ --epsilon -0.1",                                           &["epsilon -0.1 is outside [0, 1]"]),
        ("--attack ca+ --epsilon NaN",                                            &["outside [0, 1]"]),
        ("--attack ca+ --epsilon -1 --norm l2",                                   &["epsilon -1 is not the Euclidean norm"]),
        ("--attack ca+ --epsilon inf --norm l2",                                  &["epsilon inf is not the Euclidean norm"]),
        ("--attack ca+ --epsilon 1 --norm l1",                                    &["unknown norm 'l1'", "linf, l2"]),
        ("--attack ca+ --epsilon much",                                           &["'much'", "no number"]),
        ("--attack ca+",                                                          &["--epsilon"]),
        ("--attack sp-qa --epsilon 0.1",                                          &["unknown attack 'sp-qa'", "did you mean 'sp-qa+'?"]),
        ("--attack ca+ --epsilon 0.1 --protocol papr",                            &["unknown protocol 'papr'", "'paper'"]),
        ("--attack ca+ --epsilon 0.1 --images 0",                                 &["--images", "at least 1"]),
        ("--attack ca+ --epsilon 0.1 --targets 0",                                &["--targets", "at least 1"]),
        ("--attack ca+ --epsilon 0.1 --threads 0",                                &["--threads", "at least 1"]),
        ("--attack ca+ --epsilon 8/0",                                            &["outside [0, 1]"]),
        ("--attack ca+ --epsilon 0.1 --step 1/0",                                 &["--step", "above 0"]),
        ("--attack ca+ --epsilon 0.1 --step 0",                                   &["--step", "above 0"]),
        ("--attack ca+ --epsilon 0.1 --seed -1",                                  &["--seed", "'-1'"]),
        ("--attack ca+ --epsilon 0.1 --restarts 3 --random-start=false",          &["--random-start"]),
        ("--attack ca+ --epsilon 0.1 --xi 3",                                     &["--xi", "ca+ has no such items"]),
        ("--attack ca+ --epsilon 0.1 --objective rank",                           &["unknown objective 'rank'", "'ranking'", "distance"]),
        ("--attack es --epsilon 0.1 --objective distance",                        &["'distance'", "es has none"]),
        ("--attack ca- --epsilon 0.1 --target-band local",                        &["'local'", "not for ca-"]),
        ("--attack ca+ --epsilon 0.1 --target-band local --target-indices 1",     &["--target-band", "--target-indices"]),
        ("--attack ca+ --epsilon 0.1 --device gpu",                               &["unknown device 'gpu'"]),
        ("--attack ca+ --epsilon 0.1 --format jsn",                               &["unknown format 'jsn'", "'json'"]),
        ("--attack ca+ --epsilon 0.1 --image-indices 7-3",                        &["'7-3' ends before it starts"]),
        ("--attack ca+ --epsilon 0.1 --image-indices -3",                         &["'-3' is no index"]),
        ("--attack ca+ --epsilon 0.1 --image-indices 0-3 --images 4",             &["--images", "--image-indices"]),
        ("--attack ca+ --epsilon 0.1 --image-indices 0-3 --target-indices 1-3",   &["--target-indices: 3 indices", "4 images"]),
        ("--attack ca+ --epsilon 0.1 --image-indices 0 --target-indices 1,2 --targets 1", &["--targets 1; 1 are needed"]),
        ("--attack ca+ --epsilon 0.1 --image-indices 0 --preserved-indices 1",    &["--preserved-indices", "ca+"]),
        ("--attack es --epsilon 0.1 --target-indices 1",                          &["es has no targets"]),
        ("--attack ca+ --epsilon 0.1 --save-adversarial x.jpg",                   &["'x.jpg'", "ends in .safetensors or .png"]),
        ("--attack ca+ --epsilon 0.1 --save-adversarial x",                       &["'x'", "a folder that ends in /"]),
        ("--attack ca+ --epsilon 0.1 --images 2 --save-adversarial x.png",        &["x.png is one image, and 2 are attacked"]),
        ("--attack ca+ --epsilon 0.1 --image-indices 3-9 --save-adversarial x.png", &["x.png is one image, and 7 are attacked"]),
        ("--attack ca+ --epsilon 0.1 --image 3",                                  &["'--image'", "'--images'"]),
    ] {
        let model = "attack --dataset mnist --model c2f2 --distance cosine --weights /nonexistent/w.safetensors";
        refused(&mut rankle(&format!("{model} {arguments}")), 2, parts);
    }
    for (arguments, parts) in [
        ("evaluate --dataset minst --model c2f2 --weights w --distance cosine",      &["unknown dataset 'minst'", "'mnist'"][..]),
        ("evaluate --dataset mnist --model c2f --weights w --distance cosine",       &["unknown model 'c2f'", "'c2f2'"]),
        ("evaluate --dataset mnist --model c2f2 --weights w --distance cosin",       &["unknown distance 'cosin'", "'cosine'"]),
        ("embed --dataset mnist --model c2f2 --weights w --distance cosine --images 0 --output e.safetensors", &["--images"]),
        ("embed --dataset mnist --split tets --model c2f2 --weights w --distance cosine --output e.safetensors", &["'tets'", "'test'"]),
        ("train --dataset mnist --model c2f2 --distance cosine --loss triplt --output o",  &["unknown loss 'triplt'", "'triplet'"]),
        ("train --dataset mnist --model c2f2 --distance cosine --epsilon 0.3 --output o",  &["--epsilon", "add --defense"]),
        ("train --dataset mnist --model c2f2 --output o",                                  &["--distance is missing", "cosine or euclidean"]),
        ("train --dataset mnist --model c2f2 --distance cosine --loss cross-entropy --output o", &["for classifiers", "c2f2 ranks"]),
        ("train --dataset mnist --model softmax --distance cosine --output o",             &["--distance is for rankings", "softmax"]),
        ("train --dataset mnist --model softmax --margin 0.2 --output o",                  &["--margin is for rankings", "softmax"]),
        ("train --dataset mnist --model softmax --loss triplet --output o",                &["--loss triplet is for rankings", "softmax"]),
        ("train --dataset mnist --model c2f2-classifier --defense embedding-shift --output o", &["hardens rankings", "c2f2-classifier"]),
        ("train --dataset mnist --model c2f2 --distance cosine --defense pgd --output o", &["hardens classifiers", "c2f2 ranks"]),
        ("evaluate --dataset mnist --model softmax --weights w --distance cosine",         &["unknown model 'softmax'", "c2f2"]),
        ("train --dataset mnist --model c2f2 --distance cosine --protocol paper --output o", &["--protocol", "photographs", "mnist has none"]),
        ("classify --dataset mnist --model c2f2 --weights w",                              &["unknown classifier 'c2f2'", "softmax, c2f2-classifier"]),
        ("classify --dataset mnist --model hf:a/b",                                        &["hf:a/b is for the commands that rank, and a classifier is needed here"]),
        ("classify --dataset mnist --model softmax --weights w --attack pgd",              &["--epsilon"]),
        ("classify --dataset mnist --model softmax --weights w --epsilon 0.1",             &["--attack"]),
        ("train --dataset mnist --model c2f2 --distance cosine --epochs 0 --output o",     &["--epochs", "at least 1"]),
        ("embed --dataset mnist --model c2f2 --weights w --distance cosine --output e.npy", &["'e.npy'", "ends in .safetensors"]),
        ("embed --dataset mnist --model c2f2 --weights w --distance cosine --output e",    &["'e'", "ends in .safetensors"]),
        ("train --dataset mnist --model c2f2 --distance cosine --strip-prefix a --output o", &["--pretrained"]),
        ("bench --name nothing",                                                     &["nothing", "c2f2-forward"]),
        ("atack",                                                                    &["'atack'", "'attack'"]),
    ] {
        refused(&mut rankle(arguments), 2, parts);
    }
}

#[test]
fn a_list_must_fit_the_usual_number_of_images() {
    let attack = "--attack ca+ --epsilon 0.1 --target-indices 1";
    refused(&mut on_mnist("attack", attack), 2, &["--target-indices", "1 indices", "each of 1000 images"]);
}

#[test]
fn what_needs_a_file_or_the_machine_ends_with_1() {
    let attack = |rest: &str| on_mnist("attack", &format!("--attack ca+ --epsilon 0.1 {rest}"));
    refused(&mut attack("--device cuda:1"), 1, &["cuda:1", "--features cuda", "--device cpu"]);
    refused(&mut attack("--device metal"), 1, &["this build has no Metal", "--device cpu"]);
    refused(&mut attack("--images 10001"), 1, &["10001", "10000 of mnist"]);
    refused(&mut attack("--images 1 --targets 10001"), 1, &["10001 targets", "10000"]);
    refused(&mut attack("--image-indices 0-10000"), 1, &["--image-indices", "index 10000 is out of range"]);
    refused(&mut attack("--images 1 --target-indices 4294967295"), 1, &["--target-indices", "4294967295"]);
    refused(&mut attack("--image-indices @/nonexistent"), 1, &["--image-indices: /nonexistent cannot be read"]);
    refused(&mut attack("--save-adversarial /nonexistent/x.safetensors"), 1, &["/nonexistent/x", "there is no folder"]);
    refused(&mut attack("--save-adversarial /nonexistent/x/"), 1, &["/nonexistent/x", "there is no folder"]);
    refused(&mut attack("--dataset-dir /nonexistent"), 1, &["/nonexistent is not a folder"]);
    if !cfg!(feature = "hub") {
        let evaluate = "evaluate --dataset mnist --model c2f2 --distance cosine --weights hf:us/mnist";
        refused(&mut rankle(evaluate), 1, &["hf:us/mnist is on the hub", "--features hub", "or download the file"]);
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let evaluate = || {
        let mut command = rankle("evaluate --dataset mnist --model c2f2 --distance cosine --weights");
        command.arg(&path);
        command
    };
    let name = path.to_str().unwrap();
    refused(&mut evaluate(), 1, &[name, "cannot be read"]);
    fs::write(&path, "not a model").unwrap();
    refused(&mut evaluate(), 1, &[name, "safetensors"]);
    let whole = fs::read(weights()).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    refused(&mut evaluate(), 1, &[name, "safetensors"]);
    let mut spoiled = whole;
    let end = spoiled.len();
    spoiled[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, spoiled).unwrap();
    refused(&mut evaluate(), 1, &[name, "NaN"]);
}

#[test]
fn a_failed_run_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let (code, ..) =
        outcome(on_mnist("attack", "--attack ca+ --epsilon 0.1 --images 1 --targets 10001 --save-adversarial").arg(&file));
    assert_eq!(code, 1);
    let (code, ..) = outcome(on_mnist("embed", "--images 10001 --output").arg(&file));
    assert_eq!(code, 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn help_is_no_error() {
    for arguments in ["--help", "attack --help", "sweep -h", "--version"] {
        let (code, stdout, stderr) = outcome(&mut rankle(arguments));
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments}");
        assert!(stdout.contains("rankle"), "{stdout}");
    }
}
