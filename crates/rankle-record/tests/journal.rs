//! Journals under killed writers, torn lines, invalid lines and concurrent writers.

use rankle_record::{Journal, Record};
use std::fs;
use std::path::Path;

/// A complete line of the format, written by hand: the file format must not change.
const LINE: &str = r#"{"format":2,"table":"mnist-ct","dataset":"mnist","model":"c2f2","weights":"models/mnist-c2f2-cosine-triplet/model.safetensors","distance":"cosine","loss":"triplet","defense":"none","attack":"ca+","targets":1,"epsilon":0.3,"step":0.01,"iterations":24,"random_start":false,"restarts":1,"xi":null,"protocol":"paper","eight_bit":false,"seed":0,"images":1000,"gallery":10000,"chosen":null,"weights_sha256":"5f","method_version":1,"device":"cpu","instruction_set":"avx512","code_version":"0.1.0","rank_before":50.24,"rank_before_stderr":0.91,"rank_before_interval":[48.46,52.02],"rank_after":2.95,"rank_after_stderr":0.2,"rank_after_interval":[2.56,3.34],"preserved_rank_before":null,"preserved_rank_after":null,"embedding_shift":0.822,"recall_at_1_before":null,"recall_at_1_after":null,"recall_at_10_before":null,"recall_at_10_after":null,"recall_at_100_before":null,"recall_at_100_after":null,"tie_share":0.0,"seconds":9.1}"#;

fn record(seed: u64) -> Record {
    let mut record = Record::from_line(LINE.as_bytes()).unwrap();
    record.cell.spec.seed = seed;
    record
}

fn seeds(path: &Path) -> Vec<u64> {
    Journal::at(path).read().unwrap().records.iter().map(|record| record.cell.spec.seed).collect()
}

#[test]
fn the_format_is_the_one_written_here() {
    assert_eq!(record(0).to_line().unwrap(), LINE);
}

#[test]
fn records_come_back_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::at(folder.path().join("records.jsonl"));
    assert!(journal.read().unwrap().records.is_empty());
    for seed in 0..3 {
        journal.append(&record(seed)).unwrap();
    }
    let reading = journal.read().unwrap();
    assert_eq!(reading.records, [record(0), record(1), record(2)]);
    assert_eq!(reading.torn, None);
}

/// Cuts the file at every single byte of its last line: the two records before it stay, and a third can be added.
#[test]
fn a_torn_line_costs_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let [first, second, third] = [0, 1, 2].map(|seed| record(seed).to_line().unwrap() + "\n");
    let whole = format!("{first}{second}{third}");
    let kept = first.len() + second.len();
    for cut in kept + 1..whole.len() {
        fs::write(&path, &whole.as_bytes()[..cut]).unwrap();
        let reading = Journal::at(&path).read().unwrap();
        let only_the_break_is_missing = cut + 1 == whole.len();
        assert_eq!(reading.records.len(), if only_the_break_is_missing { 3 } else { 2 }, "cut at {cut}");
        assert_eq!(reading.torn.is_some(), !only_the_break_is_missing);
        if let Some(torn) = reading.torn {
            assert_eq!(torn.line, 3);
            assert!(torn.to_string().contains("records.jsonl line 3"));
        }
        Journal::at(&path).append(&record(7)).unwrap();
        let expected: &[u64] = if only_the_break_is_missing { &[0, 1, 2, 7] } else { &[0, 1, 7] };
        assert_eq!(seeds(&path), expected, "cut at {cut}");
    }
}

/// Tails longer than one block that are not even text; a power cut leaves zeros.
#[test]
fn a_long_torn_tail_is_removed_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    for (before, tail) in [("", 0), (&*format!("{LINE}\n"), 0xFF)] {
        let mut bytes = before.as_bytes().to_vec();
        bytes.extend([tail; 10_000]);
        fs::write(&path, bytes).unwrap();
        Journal::at(&path).append(&record(7)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{before}{}\n", record(7).to_line().unwrap()));
    }
}

/// The time to mend grows with the length of the tail, not with its square, which took minutes.
#[test]
fn twenty_megabytes_without_a_line_break_are_mended_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    fs::write(&path, format!("{LINE}\n{{{}", " ".repeat(20_000_000))).unwrap();
    Journal::at(&path).append(&record(7)).unwrap();
    assert_eq!(seeds(&path), [0, 7]);
}

/// A user's own file is neither taken for torn records nor cut off.
#[test]
fn what_holds_no_record_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for text in ["remember the milk", "[1, 2"] {
        fs::write(&path, text).unwrap();
        let message = Journal::at(&path).read().unwrap_err().to_string();
        assert!(message.contains("notes.txt line 1 is not a record"), "{message}");
        let message = Journal::at(&path).append(&record(0)).unwrap_err().to_string();
        assert!(message.ends_with("notes.txt: it holds other data than records of format 2"), "{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn what_others_append_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let journal = Journal::at(&path);
    let mut follower = journal.follow();
    let mut more = || follower.more().unwrap().records.iter().map(|record| record.cell.spec.seed).collect::<Vec<_>>();
    assert!(more().is_empty());
    (0..2).for_each(|seed| journal.append(&record(seed)).unwrap());
    assert_eq!((more(), more()), (vec![0, 1], vec![]));
    let torn = record(2).to_line().unwrap();
    fs::write(&path, format!("{}{torn}", fs::read_to_string(&path).unwrap())).unwrap();
    assert_eq!(more(), [2]);
    journal.append(&record(3)).unwrap();
    assert_eq!((more(), more()), (vec![2, 3], vec![]));
}

#[test]
fn a_wrong_line_in_the_middle_is_named_and_nothing_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    for wrong in ["{}", "", "not JSON", &LINE.replace("0.822", "null"), &LINE.replace("ca+", "ca*")] {
        let text = format!("{LINE}\n{wrong}\n{LINE}\n");
        fs::write(&path, &text).unwrap();
        let message = Journal::at(&path).read().unwrap_err().to_string();
        assert!(message.contains("records.jsonl line 2 is not a record"), "{message}");
        assert_eq!(message.lines().count(), 1);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn a_record_that_json_cannot_hold_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    let mut wrong = record(0);
    wrong.rank_after = Some(f64::NAN);
    assert!(Journal::at(&path).append(&wrong).is_err());
    assert!(!path.exists());
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = Journal::at(folder.path().join("none/records.jsonl")).append(&record(0)).unwrap_err().to_string();
    assert!(message.starts_with("cannot append to") && message.contains("none/records.jsonl"), "{message}");
}

/// A writer that waits for the lock while the file is replaced writes to the new file.
#[test]
fn a_record_goes_into_the_file_that_is_there_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("records.jsonl"), folder.path().join("other.jsonl"));
    Journal::at(&path).append(&record(0)).unwrap();
    Journal::at(&other).append(&record(1)).unwrap();
    std::thread::scope(|scope| {
        let held = Journal::at(&path).hold().unwrap();
        let writer = scope.spawn(|| Journal::at(&path).append(&record(2)).unwrap());
        // Long enough for the writer to have opened the old file; a later writer would see only the new one.
        std::thread::sleep(std::time::Duration::from_millis(200));
        fs::rename(&other, &path).unwrap();
        drop(held);
        writer.join().unwrap();
    });
    assert_eq!(seeds(&path), [1, 2]);
}

/// Each thread opens the file itself, as processes would, while another thread reads.
#[test]
fn eight_writers_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.jsonl");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || (0..25).for_each(|n| Journal::at(path).append(&record(writer * 100 + n)).unwrap()));
        }
        scope.spawn(|| (0..50).for_each(|_| assert_eq!(Journal::at(&path).read().unwrap().torn, None)));
    });
    let mut found = seeds(&path);
    for writer in 0..8 {
        let own: Vec<u64> = found.iter().copied().filter(|seed| seed / 100 == writer).collect();
        assert_eq!(own, (writer * 100..writer * 100 + 25).collect::<Vec<_>>(), "the order of one writer is kept");
    }
    found.sort_unstable();
    found.dedup();
    assert_eq!(found.len(), 200);
}
