//! ONNX files as models: `--model onnx:FILE`.

use crate::support::{json, outcome, photographs, rankle, without};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small MobileNetV2 for images of 32×32 pixels, as `torch.onnx.export` wrote it.
fn exported() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rankle-onnx/tests/fixtures/mobilenet_v2-script-13.onnx")
}

/// A command on a folder of photographs.
fn on(photographs: &Path, model: &str, line: &str) -> Command {
    let mut command = rankle(line);
    command.arg("--dataset").arg(format!("folder,test=all:{}", photographs.display()));
    command.args(["--distance", "cosine", "--model", model]);
    command
}

const ATTACK: &str = "attack --attack ca+ --epsilon 8/255 --protocol strict --iterations 4 --images 3 --format json";

#[test]
fn a_file_is_a_white_box() {
    let (photographs, folder) = (photographs(), tempfile::tempdir().unwrap());
    let file = folder.path().join("m.onnx");
    fs::copy(exported(), &file).unwrap();
    let name = format!("onnx:{},mean=0.5,std=0.25", file.display());
    let run = |line: &str| json(&mut on(photographs.path(), &name, line));
    let attacked = run(ATTACK);
    assert_eq!((&attacked["model"], &attacked["weights"]), (&"onnx,mean=0.5,std=0.25".into(), &file.to_str().unwrap().into()));
    assert!(attacked["rank_after"].as_f64() < attacked["rank_before"].as_f64(), "{attacked}");
    assert!(attacked["gradient_error"].is_null(), "the gradient was doubted: {attacked}");
    assert!(attacked["probe_distances"].is_null(), "the hash of the file tells the model: {attacked}");
    assert_eq!(run("evaluate --format json")["weights_sha256"], attacked["weights_sha256"]);
    let tensors = without(run(&format!("{ATTACK} --device candle-cpu")), &["seconds", "device", "instruction_set"]);
    let [here, there] = [&attacked, &tensors].map(|record| record["embedding_shift"].as_f64().unwrap());
    assert!((here - there).abs() < 0.05 * here, "{here} {there}");

    // The record is found again by the hash, and is not that of another file.
    let records = folder.path().join("records.jsonl");
    fs::write(&records, format!("{attacked}\n")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let renamed = elsewhere.path().join("other name,x=1.onnx");
    fs::rename(&file, &renamed).unwrap();
    let verify = || outcome(rankle("verify").arg(&records).arg("--weights-dir").arg(elsewhere.path()));
    assert_eq!(verify().1, "1 agree, 0 disagree, 0 not run\n");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rankle-onnx/tests/fixtures/mobilenet_v3-script-14.onnx");
    fs::copy(other, &renamed).unwrap();
    let (code, stdout, _) = verify();
    assert!(code == 1 && stdout.starts_with("1 record not run: the weights are missing ("), "{stdout}");
}

#[test]
fn the_benchmark_times_a_file() {
    let name = format!("onnx:{},mean=0.5", exported().display());
    let answer = json(rankle("bench --format json --seconds 0.01 --threads 1 --model").arg(&name));
    let timings = answer["timings"].as_array().unwrap();
    let names: Vec<&str> = timings.iter().map(|timing| timing["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["onnx-mobilenet_v2-script-13-forward", "onnx-mobilenet_v2-script-13-pgd-step"]);
    assert!(timings.iter().all(|timing| timing["results"]["mean_magnitude"].as_f64() > Some(0.0)), "{answer}");
    let (code, _, stderr) = outcome(rankle("bench --name c2f2 --model").arg(&name));
    assert!(code == 2 && stderr.contains("known: onnx-mobilenet_v2-script-13-forward/8"), "{stderr}");
}

#[test]
fn what_does_not_fit_is_one_line() {
    let (photographs, folder) = (photographs(), tempfile::tempdir().unwrap());
    let file = exported();
    let text = folder.path().join("t.onnx");
    fs::write(&text, "no protobuf").unwrap();
    let name = |file: &Path, options: &str| format!("onnx:{}{options}", file.display());
    for (model, line, code, part) in [
        (name(&file, ",sise=3"), ATTACK, 2, "unknown option of an ONNX file 'sise'"),
        (name(&file, ",size=64"), ATTACK, 1, "size=64, but the graph takes images of"),
        (name(&file, ",output=nothing"), ATTACK, 1, "nothing"),
        (name(&folder.path().join("none.onnx"), ""), ATTACK, 1, "none.onnx cannot be read"),
        (name(&text, ""), ATTACK, 1, "t.onnx: "),
        (name(&file, ""), "attack --attack es --epsilon 0.1 --weights m.safetensors", 2, "is a whole model: leave out --weights"),
        (name(&file, ""), "attack --attack es --epsilon 0.1 --embedding-size 9", 2, "a foreign model says its own"),
        (name(&file, ""), "train --output m", 2, "cannot be trained here"),
        ("onnx:,size=3".into(), ATTACK, 2, "an ONNX file is missing"),
        ("h/ok.onnx".into(), ATTACK, 2, "an ONNX file is named onnx:h/ok.onnx"),
        ("ok.onnx,size=3".into(), "evaluate", 2, "an ONNX file is named onnx:ok.onnx,size=3"),
        ("hf:a/b".into(), "train --output m", 2, "hf:a/b is for the commands that rank: name an architecture here"),
        ("exec:".into(), ATTACK, 2, "exec: is no command: name a program"),
        ("exec:a 'b".into(), ATTACK, 2, "is no command: a quote has no end"),
    ] {
        let (status, stdout, stderr) = outcome(&mut on(photographs.path(), &model, line));
        assert_eq!((status, stderr.lines().count()), (code, 1), "{model} {line}: {stdout}{stderr}");
        assert!(stderr.contains(part) && stdout.is_empty(), "{model}: {stderr}");
    }
}
