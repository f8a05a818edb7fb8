//! Every command with an added model, loss and attack.

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn run(folder: &Path, line: &str) -> (String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_own-model")).args(line.split_whitespace()).current_dir(folder).output().unwrap();
    let Output { status, stdout, stderr } = output;
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{line}: {stderr}");
    // The gradient is correct, so there is no warning.
    assert!(!stderr.contains("input gradient"), "{line}: {stderr}");
    (stdout, stderr)
}

#[test]
fn every_command_knows_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = |line: &str| run(folder.path(), line).0;
    let json = |line: &str| serde_json::from_str::<Value>(&run(line)).unwrap();
    run("train --dataset mnist --model transformer --distance cosine --loss triplet --epochs 1 --images 1500 --output m");
    let card = std::fs::read_to_string(folder.path().join("m/card.toml")).unwrap();
    assert!(card.contains("transformer"), "{card}");
    let subject = "--dataset mnist --model m";
    let recall = json(&format!("evaluate {subject} --format json"))["recall_at_1"].as_f64().unwrap();
    assert!(recall > 40.0, "{recall}");
    let attacked = json(&format!("attack {subject} --attack ca+ --epsilon 0.3 --images 20 --format json"));
    let [before, after] = ["rank_before", "rank_after"].map(|name| attacked[name].as_f64().unwrap());
    assert!(after < before / 2.0 && attacked["model"] == "transformer" && attacked["gradient_error"].is_null(), "{attacked}");
    let candle = json(&format!("attack {subject} --attack ca+ --epsilon 0.3 --images 20 --device candle-cpu --format json"));
    assert!(candle["device"] == "candle-cpu" && candle["gradient_error"].is_null(), "{candle}");
    for field in ["rank_before", "rank_after"] {
        let [one, other] = [&attacked, &candle].map(|record| record[field].as_f64().unwrap());
        eprintln!("{field} {one} {other}");
        assert!((one - other).abs() < 0.5, "{field}: {one} {other}");
    }
    let own = json(&format!("attack {subject} --attack bottom-up+ --epsilon 0.3 --images 20 --format json"));
    let [before, after] = ["rank_before", "rank_after"].map(|name| own[name].as_f64().unwrap());
    assert!(before > 99.0 && after < 90.0 && own["attack"] == "bottom-up+", "{own}");
    std::fs::write(folder.path().join("records.jsonl"), format!("{attacked}\n{own}\n")).unwrap();
    assert_eq!(run("verify records.jsonl"), "2 agree, 0 disagree, 0 not run\n");
    run("run records.jsonl --output again");
    let again = std::fs::read_to_string(folder.path().join("again/records.jsonl")).unwrap();
    let again: Vec<Value> = again.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!([&attacked, &own].iter().zip(&again).all(|(first, again)| first["rank_after"] == again["rank_after"]), "{again:?}");
    run(&format!("embed {subject} --split test --output e.safetensors"));
    run(&format!("picture {subject} --attack qa+ --epsilon 0.1 --iterations 2 --image-indices 7 --output p.png"));
    run("transfer --dataset mnist --from m --to m --attack es --epsilon 0.1 --iterations 2 --images 5");
    run(&format!("universal {subject} --attack ca+ --epsilon 0.3 --batch 10 --perturbations 1 --iterations 2"));
    let page = json(&format!("sanity {subject} --epsilon 0.1 --images 5 --output s --format json"));
    let gradients = page["checks"].as_array().unwrap().iter().find(|check| check["name"] == "gradients").unwrap();
    assert_eq!(gradients["verdict"], "pass", "{gradients}");
    let defended = "--defense embedding-shift --epsilon 0.1 --epochs 1 --images 40 --output d";
    run(&format!("train --dataset mnist --model transformer --distance cosine --loss triplet {defended}"));
    run(
        "train --dataset mnist --model transformer --distance cosine --loss neighborhood --margin 0.1 --epochs 1 --images 500 --output n",
    );
    let card = std::fs::read_to_string(folder.path().join("n/card.toml")).unwrap();
    assert!(card.contains("neighborhood"), "{card}");
    // A second run resumes a finished training and has nothing to do.
    run("train --dataset mnist --model transformer --distance cosine --loss triplet --epochs 1 --images 1500 --output m");
}
