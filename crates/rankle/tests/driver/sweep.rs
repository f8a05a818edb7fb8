//! `rankle sweep`: every cell computed once, across interrupts and processes.

use crate::support::{digits, json, on_digits, outcome, rankle, shipped, weights, without};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn planned(attack: &str, targets: usize, epsilon: f64, images: usize) -> Value {
    json!({
        "table": "mnist-ct", "dataset": digits(), "model": "c2f2", "weights": weights(), "distance": "cosine", "loss": "triplet",
        "defense": "none", "attack": attack, "targets": targets, "epsilon": epsilon, "protocol": "paper", "eight_bit": false,
        "images": images, "seed": 0,
    })
}

/// A cell that outlasts its test.
fn of_minutes() -> Value {
    let mut cell = planned("sp-qa+", 10, 0.3, 10_000);
    cell["dataset"] = "mnist".into();
    cell
}

fn write(path: &Path, plan: &[Value]) {
    fs::write(path, plan.iter().map(|cell| format!("{cell}\n")).collect::<String>()).unwrap();
}

fn sweep(plan: &Path, records: &Path) -> Command {
    let mut command = rankle("sweep --plan");
    command.arg(plan).arg("--records").arg(records);
    command
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn finished_cells_are_not_computed_again() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    let cells =
        [planned("ca+", 1, 0.05, 10), planned("ca+", 1, 0.0, 10), planned("es", 0, 0.05, 10), planned("ca+", 1, 0.05, 10)];
    write(&plan, &cells[..1]);
    let (code, stdout, stderr) = outcome(&mut sweep(&plan, &records));
    assert_eq!(code, 0, "{stderr}");
    let first = lines(&stdout);

    // As after a crash while writing: the torn line is reported and replaced, the complete record before it is kept.
    let mut text = fs::read_to_string(&records).unwrap();
    text.push_str("{\"attack\":\"es");
    fs::write(&records, text).unwrap();
    write(&plan, &cells);
    let (code, stdout, stderr) = outcome(&mut sweep(&plan, &records));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("warning: ") && stderr.contains("2 of 4 cells are to be computed"), "{stderr}");
    let all = lines(&stdout);
    // In the order of the plan; the time of the first record is unchanged.
    assert_eq!(all.iter().map(|record| record["attack"].as_str().unwrap()).collect::<Vec<_>>(), ["ca+", "ca+", "es", "ca+"]);
    assert_eq!((&all[0], &all[3]), (&first[0], &first[0]));
    assert_eq!(lines(&fs::read_to_string(&records).unwrap()).len(), 3);

    // Another objective and another target pool make another cell; omitted fields mean the usual values.
    let usual = planned("qa+", 1, 0.05, 10);
    let mut unusual = usual.clone();
    unusual
        .as_object_mut()
        .unwrap()
        .extend([("objective".to_owned(), "distance".into()), ("target_band".to_owned(), "local".into())]);
    let mut searched = planned("sp-qa+", 1, 0.05, 10);
    let search = json!({ "xi": 100.0, "step": 0.02, "iterations": 3, "random_start": true, "restarts": 2 });
    searched.as_object_mut().unwrap().extend(search.as_object().unwrap().clone());
    write(&plan, &[usual, searched, unusual]);
    let (code, stdout, stderr) = outcome(&mut sweep(&plan, &records));
    assert_eq!(code, 0, "{stderr}");
    let mut answers = lines(&stdout);
    let (ablation, searched) = (answers.pop().unwrap(), answers.pop().unwrap());
    let alone = "--attack qa+ --epsilon 0.05 --images 10 --objective distance --target-band local --format json";
    let fields = ["seconds", "table", "loss", "defense"];
    assert_eq!(without(json(&mut on_digits("attack", alone)), &fields), without(ablation, &fields));
    let alone = "--attack sp-qa+ --epsilon 0.05 --images 10 --xi 100 --step 0.02 --iterations 3 --random-start --restarts 2";
    let alone = json(&mut on_digits("attack", &format!("{alone} --format json")));
    assert_eq!(without(alone, &fields), without(searched, &fields));

    // A cell alone gives the same numbers as in a sweep.
    let alone = json(&mut on_digits("attack", "--attack ca+ --epsilon 0.05 --images 10 --format json"));
    assert_eq!(without(alone, &fields), without(first[0].clone(), &fields));
}

/// Transferred and universal cells equal the results of their own commands, also from a model to itself.
#[test]
fn other_kinds_of_cells_are_those_of_their_commands() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    let with = |mut cell: Value, name: &str, value: Value| {
        cell[name] = value;
        cell
    };
    let from = |weights: &Path| json!({ "model": "c2f2", "weights": weights, "distance": "cosine" });
    let transfer = |weights: &Path| with(planned("qa-", 2, 0.05, 6), "from", from(weights));
    let universal = with(planned("ca+", 1, 0.1, 4), "universal", json!({ "batches": 1, "perturbations": 2 }));
    write(&plan, &[transfer(&shipped()), transfer(weights()), universal.clone(), with(universal, "from", from(&shipped()))]);
    let (code, stdout, stderr) = outcome(&mut sweep(&plan, &records));
    assert_eq!(code, 0, "{stderr}");
    let [other, itself, universal, there]: [Value; 4] = lines(&stdout).try_into().unwrap();

    let fields = ["seconds", "table", "loss", "defense"];
    let attack = ["--attack", "qa-", "--targets", "2", "--epsilon", "0.05", "--images", "6", "--format", "json"];
    let mut command = rankle("transfer --model c2f2 --distance cosine --dataset");
    command.args([digits(), "--from"]);
    let alone = json(command.arg(shipped()).arg("--to").arg(weights()).args(attack));
    assert_eq!(without(other, &fields), without(alone, &fields));
    assert_eq!(itself["rank_after"], itself["white_box"]["rank_after"]);
    let rest = "--attack ca+ --epsilon 0.1 --batch 4 --perturbations 2 --format json";
    let alone = json(&mut on_digits("universal", rest));
    assert_eq!(without(universal, &fields), without(alone, &fields));
    assert!(there["white_box"]["rank_after"].is_f64() && there["unseen"]["rank_after"].is_f64(), "{there}");

    let (_, _, stderr) = outcome(&mut sweep(&plan, &records));
    assert!(stderr.contains("0 of 4 cells are to be computed"), "{stderr}");
}

#[test]
fn a_wrong_plan_is_refused_before_anything_is_computed() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    let mut wrong = planned("ca+", 1, 0.05, 10);
    wrong["protocol"] = "papr".into();
    let mut sinking = planned("ca-", 1, 0.05, 10);
    sinking["target_band"] = "local".into();
    let shared = |attack: &str, images, batches: usize| {
        let mut cell = planned(attack, 1, 0.05, images);
        cell["universal"] = json!({ "batches": batches, "perturbations": 1 });
        cell
    };
    let mut random = shared("ca+", 10, 1);
    random["random_start"] = true.into();
    for (cell, part) in [
        (planned("ca+", 1, 5.0, 10), "epsilon 5 is outside [0, 1]"),
        (planned("ca+", 1, 0.05, 0), "images is 0"),
        (planned("ca+", 0, 0.05, 10), "targets is 0"),
        (planned("ca+", 1, 0.05, 10_001), "10001 images"),
        (wrong, "expected `paper` or `strict`"),
        (sinking, "not for ca-"),
        (shared("es", 10, 1), "no universal form"),
        (random, "a universal perturbation by pgd starts at zero"),
        (shared("ca+", 10, 3), "10 images cannot be split into 3 equal batches"),
    ] {
        write(&plan, &[planned("ca+", 1, 0.05, 10), cell]);
        let (code, stdout, stderr) = outcome(&mut sweep(&plan, &records));
        assert_eq!((code, stdout.as_str(), stderr.lines().count()), (1, "", 1), "{stderr}");
        assert!(stderr.contains(part) && stderr.contains("line 2"), "{stderr}");
    }
    fs::write(&plan, "").unwrap();
    let (code, _, stderr) = outcome(&mut sweep(&plan, &records));
    assert!(code == 1 && stderr.contains("holds no cell"), "{stderr}");
    assert!(!records.exists());
}

#[test]
#[cfg(unix)]
fn an_interrupt_keeps_what_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    write(&plan, &[planned("ca+", 1, 0.05, 5), of_minutes()]);
    let mut child = sweep(&plan, &records).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !records.exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Instant::now();
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    assert_eq!((ended.status.code(), stdout.as_str()), (Some(130), ""), "{stderr}");
    assert!(stderr.contains("interrupted; 1 of 2 cells are in"), "{stderr}");
    assert_eq!(lines(&fs::read_to_string(&records).unwrap()).len(), 1);
}

/// Four sweeps at once used to write four records of each cell.
#[test]
fn sweeps_that_share_a_file_share_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    let cells: Vec<Value> = (0..6).map(|at| planned("ca+", 1, 0.01 * f64::from(at), 10)).collect();
    write(&plan, &cells);
    let start = |_| sweep(&plan, &records).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended: Vec<_> =
        (0..4).map(start).collect::<Vec<_>>().into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for ended in &ended {
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let answers: Vec<&[u8]> = ended.iter().map(|ended| &*ended.stdout).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]) && lines(std::str::from_utf8(answers[0]).unwrap()).len() == 6);
    assert_eq!(lines(&fs::read_to_string(&records).unwrap()).len(), 6);
    let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["plan.jsonl", "records.jsonl"]);
}

/// The last of two contradicting records used to be taken.
#[test]
fn two_records_of_one_cell_that_differ_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    write(&plan, &[planned("ca+", 1, 0.0, 10)]);
    let (code, stdout, stderr) = outcome(&mut sweep(&plan, &records));
    assert_eq!(code, 0, "{stderr}");
    let mut again = lines(&stdout).remove(0);
    let twice = |again: &Value| fs::write(&records, format!("{stdout}{again}\n")).unwrap();
    again["seconds"] = 77.0.into();
    twice(&again);
    assert_eq!(outcome(&mut sweep(&plan, &records)).1, stdout, "only the time differs: the first one stands");
    again["rank_after"] = 0.5.into();
    twice(&again);
    let (code, out, stderr) = outcome(&mut sweep(&plan, &records));
    assert_eq!((code, out.as_str()), (1, ""), "{stderr}");
    assert!(
        stderr.contains("records.jsonl has two records of mnist-ct ca+") && stderr.contains(" and 0.5; delete the one"),
        "{stderr}"
    );
    // A contradiction about a cell outside of the plan does no harm.
    write(&plan, &[planned("ca+", 1, 0.05, 10)]);
    assert_eq!(outcome(&mut sweep(&plan, &records)).0, 0);
}

/// After xtask was killed, its sweep used to run on beside the sweep of the next xtask.
#[test]
#[cfg(unix)]
fn a_sweep_ends_with_its_parent() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    write(&plan, &[planned("ca+", 1, 0.05, 5), of_minutes()]);
    // The shell prints the process id of the sweep, and waits for the sweep until it is killed itself.
    let script = r#""$0" sweep --plan "$1" --records "$2" --parent $$ 2>/dev/null & echo $!; wait"#;
    let mut parent = Command::new("sh");
    parent.args(["-c", script, env!("CARGO_BIN_EXE_rankle")]).arg(&plan).arg(&records);
    let mut parent = parent.stdout(Stdio::piped()).spawn().unwrap();
    let mut process = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut process).unwrap();
    let runs = || Command::new("kill").args(["-0", process.trim()]).stderr(Stdio::null()).status().unwrap().success();
    let start = Instant::now();
    while !records.exists() {
        assert!(start.elapsed() < Duration::from_secs(120) && runs());
        std::thread::sleep(Duration::from_millis(20));
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    let killed = Instant::now();
    while runs() {
        assert!(killed.elapsed() < Duration::from_secs(30), "it goes on without its parent");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(lines(&fs::read_to_string(&records).unwrap()).len(), 1);
}
