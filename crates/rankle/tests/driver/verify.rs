//! `rankle verify`: records are compared with a new computation.

use crate::support::{json, outcome, photographs, rankle, weights};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Three records of `rankle sweep` and one of `rankle attack`, ten images each.
fn records(photographs: &TempDir) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let (plan, records) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
    let dataset = format!("folder,test=all:{}", photographs.path().display());
    let planned = |attack: &str, targets: usize, epsilon: f64| {
        json!({
            "table": "photographs", "dataset": dataset, "model": "c2f2", "weights": weights(), "distance": "cosine",
            "loss": "triplet", "defense": "none", "attack": attack, "targets": targets, "epsilon": epsilon, "protocol": "paper",
            "eight_bit": false, "images": 10, "seed": 0,
        })
    };
    let mut universal = planned("ca+", 1, 0.1);
    universal["universal"] = json!({ "batches": 1, "perturbations": 2 });
    (universal["search"], universal["iterations"]) = ("apgd".into(), 5.into());
    let mut euclidean = planned("es", 0, 1.5);
    euclidean["norm"] = "l2".into();
    let cells = [planned("ca+", 1, 0.0), universal, euclidean];
    fs::write(&plan, cells.map(|cell| format!("{cell}\n")).concat()).unwrap();
    let (code, stdout, stderr) = outcome(rankle("sweep --plan").arg(&plan).arg("--records").arg(&records));
    assert_eq!(code, 0, "{stderr}");
    let mut records: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // A search that no protocol prescribes.
    let mut attack = rankle("attack --attack sp-qa+ --epsilon 0.05 --images 10 --xi 100 --step 0.02 --iterations 3 --restarts 2");
    attack.args(["--random-start", "--format", "json", "--model", "c2f2", "--distance", "cosine", "--dataset", &dataset]);
    records.push(json(attack.arg("--weights").arg(weights())));
    records
}

fn write(path: &Path, records: &[Value]) {
    fs::write(path, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
}

fn verify(file: &Path) -> Command {
    let mut command = rankle("verify");
    command.arg(file);
    command
}

#[test]
fn records_agree_with_what_computed_them_and_others_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("records.jsonl"), folder.path().join("verified"));
    let photographs = photographs();
    let mut records = records(&photographs);
    write(&file, &records);
    let (code, stdout, stderr) = outcome(&mut verify(&file));
    assert_eq!((code, stdout.as_str()), (0, "4 agree, 0 disagree, 0 not run\n"), "{stderr}");

    // Changes a digit of the first record, the method of the second, and the choice of images of the third.
    records[0]["rank_after"] = json!(records[0]["rank_after"].as_f64().unwrap() + 0.001);
    records[1]["method_version"] = 7.into();
    records[2]["chosen"] = "images 1-10".into();
    write(&file, &records);
    let answer = |command: &mut Command| -> (i32, Value, String) {
        let (code, stdout, stderr) = outcome(command.arg("--output").arg(&output));
        (code, serde_json::from_str(&stdout).unwrap(), stderr)
    };
    let (code, told, stderr) = answer(verify(&file).args(["--format", "json"]));
    assert_eq!(code, 1);
    let differing = output.join("differences.jsonl");
    assert!(
        stderr.ends_with(&format!("error: 1 of 2 records disagree, in 1 columns: see {}\n", differing.display())),
        "{stderr}"
    );
    assert_eq!(
        (&told["records"], &told["computed"], &told["agree"], &told["disagree"]),
        (&4.into(), &2.into(), &1.into(), &1.into())
    );
    let reasons = json!([
        { "records": 1, "reason": "images or targets were chosen by hand" },
        { "records": 1, "reason": "method version 7, this program computes 1" },
    ]);
    assert_eq!(told["not_run"], reasons);
    let line: Value = serde_json::from_str(&fs::read_to_string(&differing).unwrap()).unwrap();
    assert_eq!(told["differences"], json!([line.clone()]));
    assert_eq!((&line["column"], &line["recorded"]), (&"rank_after".into(), &records[0]["rank_after"]));

    // The same command resumes, and names the record with both numbers.
    let (code, stdout, stderr) = outcome(verify(&file).arg("--output").arg(&output));
    assert!(code == 1 && stderr.contains("0 of 2 cells are to be computed"), "{stderr}");
    let (recorded, computed) = (&line["recorded"], &line["computed"]);
    let first = format!("{} line 1: photographs ca+ w=1 ε=0: rank_after {computed} instead of {recorded}", file.display());
    assert_eq!(stdout.lines().next(), Some(first.as_str()));
    assert_eq!(stdout.lines().last(), Some("1 agree, 1 disagree, 2 not run"));

    // A record of another machine agrees within a tolerance, and is counted as such; outside of it, it is one difference.
    records[3]["instruction_set"] = "of-another-machine".into();
    records[3]["rank_after_stderr"] = json!(records[3]["rank_after_stderr"].as_f64().unwrap() + 0.01);
    write(&file, &records);
    let (code, stdout, _) = outcome(verify(&file).arg("--output").arg(&output));
    let last = "1 agree (1 of another device or instruction set, within its tolerance), 1 disagree, 2 not run";
    assert_eq!((code, stdout.lines().last()), (1, Some(last)));
    records[3]["rank_after_stderr"] = json!(99.0);
    write(&file, &records);
    let (_, told, _) = answer(verify(&file).args(["--format", "json"]));
    assert_eq!((&told["agree"], &told["agree_nearly"], &told["disagree"]), (&0.into(), &0.into(), &2.into()));

    // Records of this very run are no proof of themselves.
    let own = fs::read_dir(&output).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let (code, _, stderr) = outcome(verify(&own.join("records.jsonl")).arg("--output").arg(&output));
    assert!(code == 2 && stderr.contains("--output and RECORDS both name "), "{stderr}");
}

#[test]
fn weights_are_found_by_their_hash_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let [here, there] = ["here", "there/deep"].map(|name| folder.path().join(name));
    [&here, &there].into_iter().for_each(|folder| fs::create_dir_all(folder).unwrap());
    let (file, moved, other) = (here.join("records.jsonl"), here.join("any.safetensors"), here.join("recorded.safetensors"));
    let photographs = photographs();
    let mut record = records(&photographs).remove(0);
    // A file with the recorded name but other content is not used.
    fs::write(&other, "other weights").unwrap();
    record["weights"] = other.to_str().unwrap().into();
    write(&file, &[record]);
    let (code, stdout, stderr) = outcome(&mut verify(&file));
    assert_eq!((code, stderr.as_str()), (1, "error: no record could be run: standard output says why\n"));
    let reason = format!(
        "1 record not run: {} has other weights than the record; --weights-dir names a folder to look in\n",
        other.display()
    );
    assert_eq!(stdout, format!("{reason}0 agree, 0 disagree, 1 not run\n"));
    let agrees = |command: &mut Command| assert_eq!(outcome(command).1, "1 agree, 0 disagree, 0 not run\n");
    fs::copy(weights(), there.join("model.safetensors")).unwrap();
    agrees(verify(&file).arg("--weights-dir").arg(folder.path()));
    fs::copy(weights(), &moved).unwrap();
    agrees(&mut verify(&file));
}

#[test]
fn a_sample_is_of_all_or_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    let photographs = photographs();
    write(&file, &records(&photographs));
    for sample in ["2".to_owned(), format!("{}=2", file.display())] {
        let (code, stdout, _) = outcome(verify(&file).args(["--sample", &sample]));
        assert_eq!((code, stdout.as_str()), (0, "2 agree, 0 disagree, 0 not run\n"));
    }
    for (arguments, part) in [
        (&["--sample", "0"][..], "--sample"),
        (&["--sample", "other.jsonl=2"], "no file of this name"),
        (&["--sample", "1", "--sample", "2"], "said twice"),
    ] {
        let (code, stdout, stderr) = outcome(verify(&file).args(arguments));
        assert!(code == 2 && stdout.is_empty() && stderr.lines().count() == 1 && stderr.contains(part), "{stderr}");
    }
}

/// Malformed records and unreadable folders are named.
#[test]
fn what_is_no_record_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    for (text, part) in [
        ("{}\n", "line 1 is not a record of this version: missing column"),
        ("\u{0}", "line 1 is not a record: "),
        ("[1]", "is no array of records: invalid type"),
    ] {
        fs::write(&file, text).unwrap();
        let (code, stdout, stderr) = outcome(&mut verify(&file));
        assert!(code == 1 && stdout.is_empty() && stderr.lines().count() == 1 && stderr.contains(part), "{stderr}");
    }
    fs::write(&file, "").unwrap();
    let (code, stdout, stderr) = outcome(&mut verify(&file));
    assert_eq!((code, stdout.as_str()), (1, "0 agree, 0 disagree, 0 not run\n"), "{stderr}");
    let (code, _, stderr) = outcome(verify(&file).args(["--weights-dir", "/nonexistent"]));
    assert!(code == 1 && stderr.contains("--weights-dir /nonexistent cannot be read"), "{stderr}");
}

#[test]
#[cfg(unix)]
fn an_interrupt_keeps_what_is_finished() {
    use crate::support::wait_until;
    use std::process::Stdio;
    let folder = tempfile::tempdir().unwrap();
    let (file, output) = (folder.path().join("records.jsonl"), folder.path().join("verified"));
    let photographs = photographs();
    let quick = records(&photographs).remove(0);
    let mut long = quick.clone();
    // A search that would take minutes.
    long["iterations"] = 10_000_000.into();
    long["epsilon"] = 0.3.into();
    write(&file, &[quick, long]);
    let mut child = verify(&file).arg("--output").arg(&output).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let done = || {
        let folders = fs::read_dir(&output).into_iter().flatten().map(|entry| entry.unwrap().path());
        folders.into_iter().any(|folder| fs::read_to_string(folder.join("records.jsonl")).is_ok_and(|text| text.ends_with('\n')))
    };
    wait_until(&mut child, "the first record", done);
    assert!(Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), ended.stdout.len()), (Some(130), 0), "{stderr}");
    assert!(stderr.ends_with("interrupted; 1 of 2 records are computed, the same command goes on with the rest\n"), "{stderr}");
}

/// Records of every instruction set of this machine agree with what the fastest one computes, within the tolerance.
#[test]
fn records_of_every_instruction_set_agree() {
    let photographs = photographs();
    let dataset = format!("folder,test=all:{}", photographs.path().display());
    let help = outcome(&mut rankle("check --instruction-set none mnist")).2;
    let sets = help.split("this machine has ").nth(1).unwrap().lines().next().unwrap();
    let sets: Vec<&str> = sets.split(", ").collect();
    let best = *sets.last().unwrap();
    let mut shifts = Vec::new();
    for set in &sets {
        let folder = tempfile::tempdir().unwrap();
        let (plan, file) = (folder.path().join("plan.jsonl"), folder.path().join("records.jsonl"));
        let cell = |attack: &str, protocol: &str| {
            json!({
                "dataset": dataset, "model": "c2f2", "weights": weights(), "distance": "cosine", "loss": "triplet",
                "defense": "none", "attack": attack, "targets": usize::from(attack != "es"), "epsilon": 0.03,
                "protocol": protocol, "eight_bit": false, "images": 10, "seed": 0,
            })
        };
        let cells = [cell("ca+", "paper"), cell("qa+", "paper"), cell("qa+", "strict"), cell("es", "paper")];
        fs::write(&plan, cells.map(|cell| format!("{cell}\n")).concat()).unwrap();
        let mut sweep = rankle("sweep --plan");
        let (code, stdout, stderr) = outcome(sweep.arg(&plan).arg("--records").arg(&file).args(["--instruction-set", set]));
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(stdout.matches(&format!("\"instruction_set\":\"{set}\"")).count(), 4, "{stdout}");
        let shift = |line: &str| serde_json::from_str::<Value>(line).unwrap()["embedding_shift"].as_f64().unwrap();
        shifts.push(stdout.lines().map(shift).collect::<Vec<f64>>());
        // By the set that computed it: the same to the last digit.
        let (code, stdout, _) = outcome(verify(&file).args(["--instruction-set", set]));
        assert_eq!((code, stdout.as_str()), (0, "4 agree, 0 disagree, 0 not run\n"));
        let (code, stdout, _) = outcome(&mut verify(&file));
        let nearly = if *set == best { "" } else { " (4 of another device or instruction set, within its tolerance)" };
        assert_eq!((code, stdout), (0, format!("4 agree{nearly}, 0 disagree, 0 not run\n")), "{set}");
    }
    // The sets do compute: plain Rust rounds where the others fuse.
    assert!(shifts.len() == 1 || shifts[0] != shifts[shifts.len() - 1], "{shifts:?}");
}
