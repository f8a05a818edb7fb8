//! Programs as models: `--model exec:COMMAND`.

use crate::support::{Digits, floats, json, outcome, rankle, weights, without};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The example in plain Python.
const PLAIN: &str = include_str!("../../../rankle-exec/examples/stdlib.py");

/// A folder with programs, and the commands that start them.
struct Programs(TempDir);

impl Programs {
    fn new() -> Self {
        let programs = Self(tempfile::tempdir().unwrap());
        programs.write("plain", PLAIN);
        programs.write("black_box", &PLAIN.replace("\"gradient\": \"true\"", "\"gradient\": \"false\""));
        programs.write("squares", &PLAIN.replace("return [total / 16 for", "return [total * total for"));
        programs
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name).with_extension("py"), text).unwrap();
    }

    fn command(&self, name: &str) -> String {
        format!("python3 '{}'", self.0.path().join(name).with_extension("py").display())
    }

    fn name(&self, name: &str) -> String {
        format!("exec:{}", self.command(name))
    }
}

/// A command on digits and a program, by Euclidean distance.
fn on(digits: &Digits, name: &str, line: &str) -> Command {
    let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut command = rankle(command);
    command.args(["--dataset", &digits.name(), "--distance", "euclidean", "--model", name]);
    command.args(rest.split_whitespace());
    command
}

const APGD: &str = "attack --attack ca+ --targets 1 --epsilon 0.2 --search apgd --iterations 5 --images 10 --format json";
const SQUARE: &str = "attack --attack ca+ --targets 1 --epsilon 0.2 --search square --query-budget 40 --images 5 --format json";

#[test]
fn every_command_takes_a_program() {
    let (programs, digits) = (Programs::new(), Digits::new(40));
    let plain = programs.name("plain");
    let run = |line: &str| json(&mut on(&digits, &plain, line));
    let evaluated = run("evaluate --format json");
    assert_eq!((&evaluated["model"], &evaluated["weights"]), (&"exec".into(), &programs.command("plain").into()));
    assert!(evaluated["recall_at_1"].as_f64().unwrap() > 60.0, "{evaluated}");

    let attacked = run(APGD);
    let [before, after] = ["rank_before", "rank_after"].map(|name| attacked[name].as_f64().unwrap());
    assert!(after < 0.7 * before && attacked["gradient_error"].is_null(), "{attacked}");
    assert_eq!(attacked["probe_distances"].as_array().unwrap().len(), 120);
    assert_eq!(attacked["probe_distances"], evaluated["probe_distances"]);
    assert_eq!(attacked["weights_sha256"].as_str().unwrap().len(), 64);
    let square = run(SQUARE);
    assert!(square["rank_after"].as_f64() < square["rank_before"].as_f64(), "{square}");

    let folder = tempfile::tempdir().unwrap();
    let [embeddings, picture, page] = ["e.safetensors", "p.png", "sanity"].map(|name| folder.path().join(name));
    json(on(&digits, &plain, "embed --format json --images 7 --split test --output").arg(&embeddings));
    assert_eq!(floats(&fs::read(&embeddings).unwrap(), "embeddings").0, [7, 49]);
    json(on(&digits, &plain, "picture --attack qa+ --epsilon 0.1 --iterations 2 --format json --output").arg(&picture));
    let universal = run("universal --attack qa+ --epsilon 0.3 --batch 10 --perturbations 1 --iterations 2 --format json");
    assert!(universal["unseen"]["rank_after"].is_f64(), "{universal}");
    let (code, stdout, stderr) = outcome(rankle("check --model").args([&plain, &digits.name()]));
    assert_eq!(code, 0, "{stdout}{stderr}");
    let refused = |line: &str, part: &str| {
        let (code, stdout, stderr) = outcome(on(&digits, &plain, line).arg("--output").arg(&page));
        assert!(code == 2 && stdout.is_empty() && stderr.lines().count() == 1 && stderr.contains(part), "{line}: {stderr}");
    };
    refused("train", "cannot be trained here: its weights are its own");
    let (code, _, stderr) = outcome(rankle("classify --dataset mnist --model").arg(&plain));
    assert!(code == 2 && stderr.contains("ranks, and a classifier is needed here"), "{stderr}");
}

#[test]
fn no_number_depends_on_the_threads() {
    let (programs, digits) = (Programs::new(), Digits::new(100));
    let name = programs.name("plain");
    let of = |more: &str| {
        let line = format!("attack --attack es --epsilon 0.2 --search apgd --iterations 3 --images 70 --format json {more}");
        without(json(&mut on(&digits, &name, &line)), &["seconds"])
    };
    let one = of("--threads 1");
    assert_eq!(of("--threads 3"), one);
    assert_eq!(of("--threads 3 --model-processes 2"), one);
}

#[test]
fn a_black_box_is_attacked_without_gradients() {
    let (programs, digits) = (Programs::new(), Digits::new(40));
    let black = programs.name("black_box");
    let folder = tempfile::tempdir().unwrap();
    for line in ["attack --attack ca+ --epsilon 0.1", "attack --attack ca+ --epsilon 0.1 --search standard", "sanity"] {
        let mut command = on(&digits, &black, line);
        if line == "sanity" {
            command.arg("--output").arg(folder.path());
        }
        let (code, stdout, stderr) = outcome(&mut command);
        assert!(code == 2 && stdout.is_empty() && stderr.lines().count() == 1, "{line}: {stderr}");
        assert!(
            stderr.contains(" answers no gradient, which the search ")
                && stderr.ends_with(": --search square is the one that needs none\n"),
            "{stderr}"
        );
    }
    let white = json(&mut on(&digits, &programs.name("plain"), SQUARE));
    let free = ["seconds", "weights"];
    assert_eq!(without(json(&mut on(&digits, &black, SQUARE)), &free), without(white, &free));
    let universal =
        "universal --attack qa+ --epsilon 0.3 --batch 10 --perturbations 1 --search square --query-budget 9 --format json";
    assert!(json(&mut on(&digits, &black, universal))["rank_after"].is_f64());
}

#[test]
fn programs_and_weights_transfer_to_one_another() {
    let (programs, digits) = (Programs::new(), Digits::new(40));
    let transfer = |from: &str, to: &str, rest: &str| {
        let mut command = rankle("transfer --attack es --epsilon 0.2 --images 5 --format json --dataset");
        command.args([&digits.name(), "--from", from, "--to", to]).args(rest.split_whitespace());
        command
    };
    let (plain, black) = (programs.name("plain"), programs.name("black_box"));
    let folder = weights().parent().unwrap().to_str().unwrap();
    let both = json(&mut transfer(&plain, &black, "--distance cosine --iterations 3"));
    assert_eq!(
        (&both["weights"], &both["from"]["weights"]),
        (&programs.command("black_box").into(), &programs.command("plain").into())
    );
    assert_eq!(both["from"]["probe_distances"], both["probe_distances"]);
    let to = json(&mut transfer(folder, &black, "--iterations 3"));
    assert!(to["from"]["probe_distances"].is_null() && to["model"] == "exec" && to["from"]["model"] == "c2f2", "{to}");
    let from = json(&mut transfer(&black, folder, "--distance euclidean --search square --query-budget 9"));
    assert!(from["probe_distances"].is_null() && from["from"]["model"] == "exec", "{from}");
    let told = |command: &mut Command, part: &str| {
        let (code, _, stderr) = outcome(command);
        assert!(code == 2 && stderr.lines().count() == 1 && stderr.contains(part), "{stderr}");
    };
    told(&mut transfer(&black, folder, "--distance cosine"), " answers no gradient");
    told(&mut transfer(&plain, folder, ""), "--distance is missing: name the distance by which exec:");
    told(&mut transfer(&plain, folder, "--model c2f2 --distance cosine"), " is a whole model: leave out its architecture");
    let mut weighed = on(&digits, &plain, "evaluate --weights");
    told(weighed.arg(weights()), " is a whole model: leave out --weights");
}

fn write(file: &Path, records: &[Value]) {
    fs::write(file, records.iter().map(|record| format!("{record}\n")).collect::<String>()).unwrap();
}

#[test]
fn verify_knows_the_model_by_its_probes() {
    let (programs, digits) = (Programs::new(), Digits::new(40));
    let file = programs.0.path().join("records.jsonl");
    let mut transfer = rankle("transfer --attack es --epsilon 0.2 --images 5 --distance euclidean --iterations 3 --format json");
    transfer
        .args(["--dataset", &digits.name(), "--to"])
        .arg(weights().parent().unwrap())
        .args(["--from", &programs.name("plain")]);
    let records = [json(&mut on(&digits, &programs.name("plain"), APGD)), json(&mut transfer)];
    write(&file, &records);
    let verify = |rest: &str| outcome(rankle("verify").arg(&file).args(rest.split_whitespace()));
    assert_eq!(verify("--allow-exec").1, "2 agree, 0 disagree, 0 not run\n");
    let (code, stdout, stderr) = verify("");
    assert_eq!((code, stderr.as_str()), (1, "error: no record could be run: standard output says why\n"));
    let allowed = "is a program named by a file: it runs with --allow-exec only, for files that you trust";
    assert_eq!(stdout, format!("2 records not run: {} {allowed}\n0 agree, 0 disagree, 2 not run\n", programs.name("plain")));

    // Rounded otherwise, it is still the same model, and its ranks may differ a little.
    programs.write("plain", &PLAIN.replace("total / 16 for", "total / 16.0001 for"));
    assert_eq!(verify("--allow-exec").1, "2 agree, 0 disagree, 0 not run\n");
    fs::copy(programs.0.path().join("squares.py"), programs.0.path().join("plain.py")).unwrap();
    let (code, stdout, _) = verify("--allow-exec");
    let other = format!(
        "2 records not run: {} is another model than the record's: its probe distances differ by ",
        programs.command("plain")
    );
    assert!(code == 1 && stdout.starts_with(&other) && stdout.ends_with("0 agree, 0 disagree, 2 not run\n"), "{stdout}");

    // A plan goes on where the model is the same, and starts anew where it is not.
    let run = |rest: &str| {
        outcome(rankle("run --output").arg(programs.0.path().join("again")).arg(&file).args(rest.split_whitespace()))
    };
    let (code, _, stderr) = run("");
    assert!(code == 2 && stderr.contains(allowed) && stderr.contains("records.jsonl line 1: "), "{stderr}");
    for (program, pending) in [(PLAIN, 2), (PLAIN, 0), (&*fs::read_to_string(programs.0.path().join("squares.py")).unwrap(), 2)] {
        programs.write("plain", program);
        let (code, _, stderr) = run("--allow-exec");
        assert!(code == 0 && stderr.contains(&format!("{pending} of 2 cells are to be computed")), "{stderr}");
    }
}

/// A record, a plan, a card: whatever names a program, it does not start.
#[test]
fn no_file_starts_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let [marker, plan, card, records] = ["marker", "plan.jsonl", "card.toml", "r.jsonl"].map(|name| folder.path().join(name));
    let touch = format!("touch '{}'", marker.display());
    let cell = |model: &str, weights: &str| {
        json!({
            "dataset": "mnist", "model": model, "weights": weights, "distance": "cosine", "attack": "ca+", "targets": 1,
            "epsilon": 0.1, "protocol": "paper", "eight_bit": false, "images": 1, "seed": 0,
        })
    };
    let whole = format!("exec:{touch}");
    let mut transferred = cell("c2f2", weights().to_str().unwrap());
    transferred["from"] = json!({ "model": "exec", "weights": touch, "distance": "cosine" });
    for cell in [cell("exec", &touch), cell(&whole, "any"), transferred] {
        write(&plan, &[cell]);
        for mut command in [rankle("run --output out"), rankle("sweep")] {
            command.current_dir(folder.path());
            if command.get_args().next().is_some_and(|name| name == "sweep") {
                command.arg("--records").arg(&records).arg("--plan");
            }
            let (code, stdout, stderr) = outcome(command.arg(&plan));
            assert!(code == 2 && stdout.is_empty() && stderr.contains(" runs with --allow-exec only"), "{stderr}");
        }
    }
    fs::write(&card, format!("weights_sha256 = \"5f\"\n[training]\nmodel = {:?}\ndistance = \"cosine\"\n", whole)).unwrap();
    let toml = folder.path().join("plan.toml");
    fs::write(
        &toml,
        format!("title = \"T\"\nsummary = \"s\"\n[[subject]]\nname = \"a\"\ndataset = \"mnist\"\nmodel = {whole:?}\ndistance = \"cosine\"\nloss = \"triplet\"\n"),
    )
    .unwrap();
    let mut evaluate = rankle("evaluate --dataset mnist --model");
    let mut run = rankle("run --output out --allow-exec");
    for command in [evaluate.arg(folder.path()), run.current_dir(folder.path()).arg(&toml)] {
        let (code, _, stderr) = outcome(command);
        assert!(code != 0 && stderr.lines().count() == 1 && stderr.contains("exec:touch"), "{stderr}");
    }
    assert!(!marker.exists());
    // The test would notice it.
    outcome(rankle("evaluate --dataset mnist --distance cosine --model").arg(whole));
    assert!(marker.exists());
}

#[test]
fn a_program_that_misbehaves_ends_the_command_with_one_line() {
    let digits = Digits::new(40);
    let programs = Programs::new();
    let with = |name: &str, before: &str, after: &str| {
        assert!(PLAIN.contains(before), "{before}");
        programs.write(name, &PLAIN.replace(before, after));
    };
    let answer = "        answer(embeddings=";
    with("hangs", answer, &format!("        import time; time.sleep(99)\n{answer}"));
    with("dies", answer, &format!("        sys.exit('out of luck')\n{answer}"));
    with("prints", "while length", "print('Loading ...', file=sys.__stdout__, flush=True)\nwhile length");
    with("nan", "total / 16 for", "total * float('nan') for");
    with("shape", "[len(embeddings), EDGE * EDGE]", "[EDGE * EDGE, len(embeddings)]");
    for (name, reason) in [
        ("hangs", " gave no answer to embed within 5 s: raise --model-timeout if it needs longer"),
        ("dies", " gave no answer to embed: it ended (exit status: 1); its last words: out of luck"),
        ("prints", " prints \"Loading ...\" to standard output, which is for answers alone: print to standard error"),
        ("nan", " answers embed with numbers that are not finite (NaN or infinity)"),
        ("shape", " answers embed with \"embeddings\" of shape [49, 16], not [16, 49]"),
    ] {
        // Long enough for Python to start on a busy machine.
        let line = if name == "hangs" { "evaluate --model-timeout 5" } else { "evaluate" };
        let (code, stdout, stderr) = outcome(&mut on(&digits, &programs.name(name), line));
        let line = format!("error: {}{reason}", programs.name(name));
        assert!(code == 1 && stdout.is_empty() && stderr.starts_with(&line) && stderr.lines().count() == 1, "{stderr}");
    }
    let (code, _, stderr) =
        outcome(rankle("evaluate --dataset mnist --distance cosine --model").arg(programs.name("plain") + " '"));
    assert!(code == 2 && stderr.contains(" is no command: a quote has no end"), "{stderr}");
    let (code, _, stderr) = outcome(rankle("evaluate --dataset mnist --model").arg(programs.name("plain")));
    assert!(code == 2 && stderr.contains("--distance is missing: name the distance by which exec:python3 "), "{stderr}");
}

/// A program that reads nothing, so that the end of its input does not tell it anything.
#[cfg(target_os = "linux")]
#[test]
fn a_program_ends_with_its_parent_and_an_interrupt_does_not_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("id");
    for signal in ["-KILL", "-INT"] {
        fs::remove_file(&file).ok();
        let deaf = format!("exec:sh -c \"echo $$ > '{0}.new'; mv '{0}.new' '{0}'; exec sleep 600\"", file.display());
        let mut command = rankle("evaluate --dataset mnist --distance cosine --model");
        let mut child = command.arg(deaf).spawn().unwrap();
        crate::support::wait_for(&file, &mut child);
        let id = fs::read_to_string(&file).unwrap().trim().to_owned();
        let runs = || Path::new("/proc").join(&id).join("stat").exists() && !is_zombie(&id);
        assert!(runs());
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let (code, start) = (child.wait().unwrap().code(), Instant::now());
        assert_eq!(code, if signal == "-INT" { Some(130) } else { None });
        while runs() {
            assert!(start.elapsed() < Duration::from_secs(20), "it goes on without its parent");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// True for a process that has ended and is waited for by nobody.
#[cfg(target_os = "linux")]
fn is_zombie(id: &str) -> bool {
    fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}
