//! `rankle sanity`.

use crate::support::{Digits, json, on_mnist, outcome, shipped, wait_until, weights, without};
use rankle_report::sanity::{QUESTIONS, Sanity, Verdict};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The written page equals the one on standard output; every check has an answer for every attack.
#[test]
fn every_question_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("new/folder");
    let digits = Digits::new(200);
    let mut command = digits.on("sanity --images 1 --epsilon 0.1 --format json");
    let answer = json(command.arg("--weights").arg(weights()).arg("--against").arg(shipped()).arg("--output").arg(&output));
    let page = Sanity::read(&output.join("sanity.json")).unwrap();
    assert_eq!(serde_json::from_value::<Sanity>(answer).unwrap(), page);
    assert_eq!(page.checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), QUESTIONS);
    for check in &page.checks {
        assert!(!check.answers.is_empty() && check.reason.is_none(), "{}", check.name);
        assert!(check.answers.iter().all(|answer| answer.numbers.len() == check.columns.len()), "{}", check.name);
        if check.name != "collapse" {
            let families = ["ca+", "ca-", "qa+", "qa-", "sp-qa+", "es"];
            let of = if ["enough", "gradient-free"].contains(&check.name.as_str()) { &families[..] } else { &families[..4] };
            assert_eq!(check.answers.iter().map(|answer| answer.of.as_str()).collect::<Vec<_>>(), of);
        }
    }
    // These checks pass for every model, even a barely trained one.
    let check = |name: &str| page.checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!(["effort", "zeros"].map(|name| check(name).verdict), [Verdict::Pass; 2]);
    // Rounding loses some gradients of a single image.
    let gradients = || check("gradients").answers.iter().map(|answer| answer.verdict);
    assert!(gradients().all(|verdict| verdict != Verdict::Fail) && gradients().any(|verdict| verdict == Verdict::Pass));
    assert_eq!((page.images, page.gallery, page.epsilon), (1, 200, 0.1));
    assert_ne!(page.against.as_ref().unwrap().weights_sha256, page.provenance.weights_sha256);
    assert_eq!(std::fs::read_to_string(output.join("sanity.md")).unwrap(), page.markdown());
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("page");
    for (code, rest, word) in [
        (2, "--epsilon 0".to_owned(), "--epsilon 0"),
        (2, "--against-model lenet".to_owned(), "--against"),
        (1, format!("--against {}", weights().display()), "another model"),
        (1, "--images 10001".to_owned(), "10001 images"),
    ] {
        let (found, _, stderr) = outcome(on_mnist("sanity", &rest).arg("--output").arg(&output));
        assert!(found == code && stderr.contains(word), "{rest}: {found} {stderr}");
        assert!(!output.join("sanity.md").exists() && !output.join("sanity.json").exists());
    }
}

/// A resumed run repeats no finished search, and its page equals that of an uninterrupted run.
#[test]
#[cfg(unix)]
fn an_interrupted_run_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, parts, digits) = (folder.path().join("whole"), folder.path().join("parts"), Digits::new(200));
    let sanity = |rest: &str, output: &Path| {
        let mut command = digits.on(&format!("sanity --images 1 --epsilon 0.1 --format json {rest}"));
        command.arg("--weights").arg(weights()).arg("--output").arg(output);
        command
    };
    let part = parts.join("sanity.part.toml");
    let stop = |signal: &str, when: &dyn Fn(&str) -> bool| {
        let log = folder.path().join("log");
        let mut child = sanity("", &parts).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn().unwrap();
        wait_until(&mut child, "a search", || when(&fs::read_to_string(&log).unwrap()));
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        (child.wait().unwrap().code(), fs::read_to_string(&log).unwrap())
    };
    let searches = || fs::read_to_string(&part).unwrap().parse::<toml::Table>().unwrap()["searches"].as_table().unwrap().len();
    assert_eq!(stop("-KILL", &|_| part.exists()).0, None);
    let killed = searches();
    assert!(killed > 0 && !parts.join("sanity.json").exists());
    let (code, stderr) = stop("-INT", &|log| log.contains("going on: "));
    let last = stderr.lines().last().unwrap_or_default();
    let kept = format!("error: interrupted; {} of 34 searches are in {}, the same command goes on", searches(), part.display());
    assert!(code == Some(130) && last.starts_with(&kept) && stderr.contains("going on: "), "{stderr}");

    let (code, _, stderr) = outcome(&mut sanity("--seed 1", &parts));
    assert!(code == 1 && stderr.contains("is of an unfinished run with seed 0 instead of 1: finish that, "), "{stderr}");
    let (code, stdout, stderr) = outcome(&mut sanity("", &parts));
    assert!(code == 0 && stderr.contains("check 9 of 9, collapse: "), "{stderr}");
    let resumed: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(without(resumed, &["seconds"]), without(json(&mut sanity("", &whole)), &["seconds"]));
    assert!(!part.exists() && fs::read_dir(&parts).unwrap().count() == 2);
}
