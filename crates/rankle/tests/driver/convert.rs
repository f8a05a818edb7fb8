//! `rankle convert`.

use crate::support::{json, on_mnist, outcome, rankle, weights};
use std::fs;

#[test]
fn an_old_file_is_rewritten_in_place_and_what_is_no_record_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    let new = json(&mut on_mnist("attack", "--attack ca+ --epsilon 0.05 --images 4 --format json"));
    let mut old = new.clone();
    old.as_object_mut().unwrap().remove("format");
    fs::write(&file, format!("{old}\n{old}\n")).unwrap();
    let lines = || -> Vec<serde_json::Value> {
        fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let convert = |rest: &[&str]| outcome(rankle("convert").arg(&file).args(rest));
    let (code, _, stderr) = outcome(rankle("verify").arg(&file));
    assert!(code == 1 && stderr.contains("`rankle convert FILE` rewrites the file"), "{stderr}");
    assert_eq!((convert(&[]).1, lines()), (format!("{}: converted\n", file.display()), vec![new.clone(), new.clone()]));
    assert_eq!(convert(&[]).1, format!("{}: nothing to do\n", file.display()));

    // With the weights, a record is not marked as unverifiable; without them it is, and the mark stays.
    let own = weights().parent().unwrap().to_str().unwrap();
    assert!(convert(&["--weights-dir", own]).1.ends_with(": nothing to do\n"));
    let empty = tempfile::tempdir().unwrap();
    assert!(convert(&["--weights-dir", empty.path().to_str().unwrap()]).1.ends_with(": converted\n"));
    assert!(lines().iter().all(|record| record["verifiable"] == false));
    assert!(convert(&["--weights-dir", own]).1.ends_with(": nothing to do\n"));

    for (text, part) in [(format!("{old}\n{{\"own\":1}}\n"), "line 2: "), ("notes".to_owned(), "line 1: ")] {
        fs::write(&file, &text).unwrap();
        let (code, stdout, stderr) = convert(&[]);
        assert!(code == 1 && stdout.is_empty() && stderr.contains(part) && stderr.contains("records.jsonl"), "{stderr}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
    let (code, _, stderr) = outcome(&mut rankle("convert none.jsonl"));
    assert!(code == 1 && stderr.contains("none.jsonl"), "{stderr}");
}
