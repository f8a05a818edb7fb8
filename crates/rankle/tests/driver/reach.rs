//! Warnings about searches whose steps do not suit their radius, once each on standard error.

use crate::support::{digits, on_digits, outcome, rankle, shipped, splits, weights};
use serde_json::json;
use std::process::Command;

/// Warnings of a run that must succeed.
#[track_caller]
fn warnings(command: &mut Command) -> Vec<String> {
    let (code, _, stderr) = outcome(command);
    assert_eq!(code, 0, "{stderr}");
    stderr.lines().filter(|line| line.starts_with("warning: ")).map(str::to_owned).collect()
}

const SHORT: &str = "warning: the edge of the ball is out of reach: 5 steps of 0.01 go at most 0.05, and epsilon is 0.3; raise --iterations or \
                     --step";

#[test]
fn five_steps_of_a_hundredth_do_not_reach_three_tenths() {
    let attack = |rest: &str| on_digits("attack", &format!("--attack ca+ --images 2 --batch-size 1 {rest}"));
    assert_eq!(warnings(&mut attack("--epsilon 0.3 --iterations 5")), [SHORT]);
    assert!(warnings(&mut attack("--epsilon 0.3")).is_empty());
    let long = "warning: a step of 0.5 is longer than epsilon, 0.3: the search sees only the edge of the ball; lower --step";
    assert_eq!(warnings(&mut attack("--epsilon 0.3 --step 0.5")), [long]);
}

#[test]
fn every_command_with_a_search_tells() {
    let folder = tempfile::tempdir().unwrap();
    let rest = "--attack ca+ --epsilon 0.3 --iterations 5";
    let picture = folder.path().join("picture.png");
    assert_eq!(warnings(on_digits("picture", rest).arg("--output").arg(picture)), [SHORT]);
    let mut transfer = rankle("transfer --model c2f2 --distance cosine --images 2 --dataset");
    transfer.arg(digits());
    transfer.args(rest.split(' ')).arg("--from").arg(weights()).arg("--to").arg(shipped());
    assert_eq!(warnings(&mut transfer), [SHORT]);
    let told = warnings(&mut on_digits("universal", "--attack ca+ --batch 4 --perturbations 1 --epsilon 0.3 --iterations 4"));
    assert!(told.len() == 1 && told[0].contains("4 steps of 0.007843 go at most 0.03137"), "{told:?}");
    let splits = splits();
    let train = format!(
        "train --dataset folder:{} --model c2f2 --distance cosine --images 200 --batch-size 200 --epochs 1 --defense embedding-shift \
         --epsilon 0.5",
        splits.path().display()
    );
    let told = warnings(rankle(&train).arg("--output").arg(folder.path().join("model")));
    let told: Vec<&String> = told.iter().filter(|line| line.contains("out of reach")).collect();
    assert!(told.len() == 1 && told[0].ends_with("and epsilon is 0.5; raise --iterations or --step"), "{told:?}");
}

#[test]
fn a_sweep_tells_once_and_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    let line = |attack: &str, iterations: Option<usize>| {
        let mut line = json!({
            "table": "t", "dataset": "mnist", "model": "c2f2", "weights": weights(), "distance": "cosine", "loss": "triplet",
            "defense": "none", "attack": attack, "targets": 1, "epsilon": 0.3, "protocol": "paper", "eight_bit": false, "images": 2,
            "seed": 0,
        });
        if let Some(iterations) = iterations {
            line["iterations"] = iterations.into();
        }
        line.to_string() + "\n"
    };
    std::fs::write(&plan, line("ca+", None) + &line("ca+", Some(5)) + &line("ca-", Some(5)) + &line("ca-", Some(6))).unwrap();
    let told = warnings(rankle("sweep --plan").arg(&plan).arg("--records").arg(&records));
    let place = |line: usize| format!("warning: {} line {line}: the edge of the ball is out of reach: ", plan.display());
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with(&place(2)) && told[0].ends_with("; raise iterations or step"), "{told:?}");
    assert!(told[1].starts_with(&place(4)) && told[1].contains("6 steps"), "{told:?}");
}
