//! `rankle sanity`.

use crate::support::{json, on_mnist, outcome, shipped, weights};
use rankle_report::sanity::{QUESTIONS, Sanity, Verdict};

/// The page on the disk is the one on standard output; every question has an answer for every attack.
#[test]
fn every_question_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("new/folder");
    let mut command = on_mnist("sanity", "--images 1 --epsilon 0.1 --format json");
    let answer = json(command.arg("--against").arg(shipped()).arg("--output").arg(&output));
    let page = Sanity::read(&output.join("sanity.json")).unwrap();
    assert_eq!(serde_json::from_value::<Sanity>(answer).unwrap(), page);
    assert_eq!(page.checks.iter().map(|check| check.name.as_str()).collect::<Vec<_>>(), QUESTIONS);
    for check in &page.checks {
        assert!(!check.answers.is_empty() && check.reason.is_none(), "{}", check.name);
        assert!(check.answers.iter().all(|answer| answer.numbers.len() == check.columns.len()), "{}", check.name);
        if check.name != "collapse" {
            assert_eq!(check.answers.iter().map(|answer| answer.of.as_str()).collect::<Vec<_>>(), ["ca+", "ca-", "qa+", "qa-"]);
        }
    }
    // What holds of every model, however little it was trained.
    let check = |name: &str| page.checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!(["effort", "zeros"].map(|name| check(name).verdict), [Verdict::Pass; 2]);
    // Of a single image some slopes are lost in rounding.
    let gradients = || check("gradients").answers.iter().map(|answer| answer.verdict);
    assert!(gradients().all(|verdict| verdict != Verdict::Fail) && gradients().any(|verdict| verdict == Verdict::Pass));
    assert_eq!((page.images, page.gallery, page.epsilon), (1, 10_000, 0.1));
    assert_ne!(page.against.as_ref().unwrap().weights_sha256, page.weights_sha256);
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
