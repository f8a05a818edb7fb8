//! `rankle attack`.

use crate::support::{Digits, floats, indices, json, on_digits, on_mnist, outcome, shipped, without};
use std::fs::File;
use std::path::Path;
use std::process::Stdio;

/// Fields that may differ between two runs.
const INCIDENTAL: [&str; 1] = ["seconds"];

#[test]
fn the_json_has_the_promised_fields_and_the_attack_works() {
    let record = json(&mut on_mnist(
        "attack",
        "--attack ca+ --targets 1 --epsilon 0.3 --images 50 --seed 0 --protocol paper --format json",
    ));
    let fixed = serde_json::json!({
        "attack": "ca+", "targets": 1, "epsilon": 0.3, "protocol": "paper", "images": 50, "gallery": 10000, "seed": 0,
        "preserved_rank_before": null, "preserved_rank_after": null, "recall_at_1_before": null, "recall_at_1_after": null,
        "dataset": "mnist", "model": "c2f2", "distance": "cosine", "step": 0.01, "iterations": 30, "device": "cpu", "chosen": null,
    });
    for (field, value) in fixed.as_object().unwrap() {
        assert_eq!(&record[field], value, "{field}");
    }
    for unusual in ["objective", "target_band"] {
        assert!(record.get(unusual).is_none(), "{unusual}");
    }
    let number = |field: &str| record[field].as_f64().unwrap_or_else(|| panic!("{field} is no number"));
    for field in ["rank_before_stderr", "rank_after_stderr", "embedding_shift", "tie_share", "seconds"] {
        assert!(number(field) >= 0.0, "{field}");
    }
    assert!(number("rank_before") > 30.0 && number("rank_after") < number("rank_before") / 2.0, "{record}");
    assert_eq!(record["weights_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn each_attack_fills_its_own_fields() {
    let record = json(&mut on_mnist("attack", "--attack es --targets 1 --epsilon 0.3 --images 20 --format json"));
    assert_eq!((record["targets"].as_u64(), record["rank_after"].as_f64()), (Some(0), None));
    assert!(record["recall_at_1_before"].as_f64() > record["recall_at_1_after"].as_f64());
    let record =
        json(&mut on_mnist("attack", "--attack sp-qa- --targets 2 --epsilon 0.1 --iterations 3 --images 20 --format json"));
    assert!(record["preserved_rank_before"].is_f64() && record["preserved_rank_after"].is_f64());
    assert_eq!((record["xi"].as_f64(), record["targets"].as_u64()), (Some(100.0), Some(2)));
}

#[test]
fn ablations_stand_in_the_record() {
    let rest = "--attack qa+ --targets 2 --epsilon 8/255 --step 1/255 --iterations 5 --images 20 --objective distance \
                --target-band local --format json";
    let record = json(&mut on_mnist("attack", rest));
    assert_eq!((record["objective"].as_str(), record["target_band"].as_str()), (Some("distance"), Some("local")));
    assert_eq!((record["epsilon"].as_f64(), record["step"].as_f64()), (Some(8.0 / 255.0), Some(1.0 / 255.0)));
    let [before, after] = ["rank_before", "rank_after"].map(|field| record[field].as_f64().unwrap());
    assert!((1.0..5.0).contains(&before) && after < before, "{before} {after}");
}

/// Records of other searches have their parameters and no other, and are verified.
#[test]
fn another_search_is_named_in_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("records.jsonl");
    let digits = Digits::new(200);
    let attack = "attack --attack ca+ --epsilon 0.3 --images 2 --protocol strict --format json";
    let record = |search: &str| json(digits.on(&format!("{attack} {search}")).arg("--weights").arg(shipped()));
    let apgd = record("--search apgd --iterations 8 --objective soft-rank");
    assert_eq!((apgd["search"].as_str(), apgd["iterations"].as_u64(), apgd.get("step")), (Some("apgd"), Some(8), None));
    assert!(apgd["rank_after"].as_f64() < apgd["rank_before"].as_f64(), "{apgd}");
    let square = record("--search square --query-budget 30");
    assert_eq!((square["query_budget"].as_u64(), square.get("iterations")), (Some(30), None));
    let standard = record("--search standard");
    let parts = standard["parts"].as_array().unwrap();
    assert_eq!((parts.len(), parts[0]["gradients"].as_f64()), (4, Some(100.0)));
    let ranks = parts.iter().map(|part| part["rank_after"].as_f64().unwrap());
    assert!(ranks.fold(100.0, f64::min) >= standard["rank_after"].as_f64().unwrap() - 1e-9, "{standard}");
    std::fs::write(&file, format!("{apgd}\n{square}\n{standard}\n")).unwrap();
    let (code, stdout, stderr) = outcome(crate::support::rankle("verify").arg(&file));
    assert_eq!((code, stdout.as_str()), (0, "3 agree, 0 disagree, 0 not run\n"), "{stderr}");
    for (wrong, reason) in [
        ("--search apgd --step 0.1", "step (--step) is no parameter of the search apgd"),
        ("--search standard --iterations 3", "iterations (--iterations) is no parameter of the search standard"),
        ("--query-budget 3", "query_budget (--query-budget) is no parameter of the search pgd"),
        ("--search square --query-budget 0", "'--query-budget <N>'"),
        ("--search apgdd", "'apgd'"),
    ] {
        let (code, stdout, stderr) = outcome(&mut on_mnist("attack", &format!("--attack ca+ --epsilon 0.3 {wrong}")));
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains(reason), "{wrong}: {stderr}");
    }
}

/// Under L2 the default is 30 steps of ε/12, and saved images stay in the ball.
#[test]
fn a_radius_may_be_euclidean() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moved.safetensors");
    let rest = "--attack ca+ --epsilon 3 --norm l2 --images 20";
    let record = json(on_digits("attack", &format!("{rest} --format json --save-adversarial")).arg(&file));
    assert_eq!(
        (record["norm"].as_str(), record["epsilon"].as_f64(), record["step"].as_f64()),
        (Some("l2"), Some(3.0), Some(0.25))
    );
    assert_eq!(record["iterations"], 30);
    let [before, after] = ["rank_before", "rank_after"].map(|field| record[field].as_f64().unwrap());
    assert!(after < before / 2.0, "{before} {after}");
    let bytes = std::fs::read(&file).unwrap();
    let [clean, moved] = ["images", "adversarial"].map(|name| floats(&bytes, name).1);
    for (clean, moved) in clean.chunks_exact(784).zip(moved.chunks_exact(784)) {
        let norm = clean.iter().zip(moved).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt();
        assert!((1.0..3.0 + 1e-6).contains(&norm) && moved.iter().all(|x| (0.0..=1.0).contains(x)), "{norm}");
    }
    let (code, stdout, _) = outcome(&mut on_digits("attack", rest));
    assert!(code == 0 && stdout.contains("w = 1, ε = 3 (L2)\n"), "{stdout}");
}

#[test]
fn nothing_depends_on_threads_and_batches() {
    let run = |threads: usize, batch: usize| {
        let rest = format!(
            "--attack sp-qa+ --targets 2 --epsilon 0.1 --iterations 2 --images 15 --protocol strict --threads {threads} \
             --batch-size {batch} --format json"
        );
        without(json(&mut on_digits("attack", &rest)), &INCIDENTAL)
    };
    let first = run(1, 1);
    assert_eq!(first, run(2, 7));
    assert_eq!(first, run(3, 100));
}

#[test]
fn epsilon_zero_changes_nothing() {
    let record =
        json(&mut on_digits("attack", "--attack qa- --targets 2 --epsilon 0 --images 20 --protocol strict --format json"));
    assert_eq!(record["rank_before"], record["rank_after"]);
    assert!(record["embedding_shift"].as_f64().unwrap().abs() < 1e-6, "{record}");
}

/// Explicit images, targets and preserved items give the numbers of the seed that chose them; the file agrees with the record.
#[test]
fn the_saved_file_repeats_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("adversarial.safetensors");
    let rest = "--attack sp-qa+ --targets 2 --epsilon 0.1 --images 12 --iterations 4 --format json";
    let sampled = json(on_digits("attack", rest).arg("--save-adversarial").arg(&file));
    let bytes = std::fs::read(&file).unwrap();
    let (shape, images) = floats(&bytes, "images");
    let (_, adversarial) = floats(&bytes, "adversarial");
    assert_eq!(shape, [12, 1, 28, 28]);
    assert!(images.iter().zip(&adversarial).all(|(a, b)| (a - b).abs() <= 0.1 + 1e-6 && (0.0..=1.0).contains(b)));
    assert_ne!(images, adversarial);
    for field in ["rank_before", "rank_after"] {
        let (shape, ranks) = floats(&bytes, field);
        let mean = ranks.iter().map(|&rank| f64::from(rank)).sum::<f64>() / 12.0;
        assert!(shape == [12] && (mean - sampled[field].as_f64().unwrap()).abs() < 1e-4, "{field}");
    }

    let list = |name: &str| {
        let (shape, indices) = indices(&bytes, name);
        (shape, indices.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
    };
    let (shape, targets) = list("target_indices");
    assert_eq!(shape, [12, 2]);
    // A list from a file; preserved items once listed and once found anew as the items next to the image.
    let targets_file = folder.path().join("targets");
    std::fs::write(&targets_file, targets.replace(',', "\n")).unwrap();
    let explicit = "--attack sp-qa+ --epsilon 0.1 --iterations 4 --format json";
    for preserved in [Some(list("preserved_indices").1), None] {
        let mut command = on_digits("attack", explicit);
        command
            .arg("--image-indices")
            .arg(list("image_indices").1)
            .arg("--target-indices")
            .arg(format!("@{}", targets_file.display()));
        if let Some(preserved) = preserved {
            command.arg("--preserved-indices").arg(preserved);
        }
        let chosen = json(&mut command);
        assert!(chosen["chosen"].as_str().unwrap().starts_with("images "), "{chosen}");
        let fields = ["seconds", "chosen"];
        assert_eq!(without(chosen, &fields), without(sampled.clone(), &fields));
    }
}

#[test]
fn eight_bit_images_are_multiples_of_a_level() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.safetensors");
    let rest = "--attack qa+ --image-indices 7 --target-indices 100 --epsilon 0.1 --eight-bit";
    let (code, stdout, stderr) = outcome(on_mnist("attack", rest).arg("--save-adversarial").arg(&file));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("qa+ on mnist (c2f2, cosine), m = 1, ε = 0.1\n") && stdout.contains("rank, %"), "{stdout}");
    let bytes = std::fs::read(&file).unwrap();
    let (_, pixels) = floats(&bytes, "adversarial");
    assert!(pixels.iter().all(|pixel| (pixel * 255.0 - (pixel * 255.0).round()).abs() < 1e-4));
    assert_eq!((indices(&bytes, "image_indices").1, indices(&bytes, "target_indices").1), (vec![7], vec![100]));
}

/// Gray levels of a PNG.
fn levels(path: &Path) -> Vec<u8> {
    let mut reader = png::Decoder::new(std::io::BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.width, frame.height, frame.color_type), (28, 28, png::ColorType::Grayscale));
    pixels
}

/// The saved pictures are the images that were ranked, rounded.
#[test]
fn images_are_saved_as_images() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let attack = |rest: &str, path: &Path| {
        let rest = format!("--attack qa+ --epsilon 8/255 --iterations 2 --format json {rest}");
        let mut command = on_mnist("attack", &rest);
        command.arg("--save-adversarial").arg(path);
        command
    };
    let [tensors, picture] = ["x.safetensors", "x.png"].map(at);
    let chosen = "--image-indices 7 --target-indices 100";
    let record = json(&mut attack(chosen, &tensors));
    assert_eq!(without(json(&mut attack(chosen, &picture)), &["seconds"]), without(record, &["seconds"]));
    let (_, ranked) = floats(&std::fs::read(&tensors).unwrap(), "adversarial");
    let rounded: Vec<u8> = ranked.iter().map(|pixel| (255.0 * pixel).round() as u8).collect();
    assert_eq!(levels(&picture), rounded);

    // An image that is attacked twice gets two files.
    let several = "--image-indices 7,8,7 --target-indices 100,200,300";
    let new = at("new/");
    let record = json(&mut attack(several, &new));
    assert_eq!(levels(&new.join("7-1.png")), rounded);
    let index: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(new.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["record"], record);
    let of = |field: &str| index["images"].as_array().unwrap().iter().map(|image| image[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("file"), ["7-1.png", "8.png", "7-2.png"]);
    assert_eq!((of("image"), of("name")), (vec![7.into(), 8.into(), 7.into()], vec![serde_json::Value::Null; 3]));
    let mean = of("rank_after").iter().map(|rank| rank.as_f64().unwrap()).sum::<f64>() / 3.0;
    assert!((mean - record["rank_after"].as_f64().unwrap()).abs() < 1e-9, "{index}");

    // An empty folder is accepted; a folder with content is not, nor is one file for several images.
    let empty = at("empty.png");
    std::fs::create_dir(&empty).unwrap();
    json(&mut attack(several, &empty));
    assert_eq!(std::fs::read_dir(&empty).unwrap().count(), 4);
    let (code, stdout, stderr) = outcome(&mut attack(chosen, &empty));
    assert!(code == 1 && stdout.is_empty() && stderr.contains("empty.png is not empty: name a new folder"), "{stderr}");
    let list = at("list");
    std::fs::write(&list, "7 8").unwrap();
    let (code, _, stderr) = outcome(&mut attack(&format!("--image-indices @{}", list.display()), &at("y.png")));
    assert!(code == 1 && stderr.contains("y.png is one image, and 2 are attacked: name a folder"), "{stderr}");
    assert!(!at("y.png").exists());
}

/// A log has lines with the progress and the time left, except under `--quiet`.
#[test]
fn a_log_is_told_how_far_the_work_is() {
    let run = |rest: &str| {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // A search that outlasts the test on any machine.
        let rest = format!("--attack ca+ --targets 10 --epsilon 0.3 --images 10000 --iterations 1000 --step 0.01 {rest}");
        let mut command = on_mnist("attack", &rest);
        let mut child = command.stdout(Stdio::null()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let start = std::time::Instant::now();
        let enough = |log: &str| log.matches("about ").count() > 1;
        let said = || std::fs::read_to_string(&log).unwrap();
        // Waits for two lines with an estimate; under `--quiet` for longer than the first lines would take.
        let patience = if rest.ends_with("--quiet") { 7 } else { 120 };
        while !enough(&said()) && start.elapsed().as_secs() < patience {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        said()
    };
    let log = run("");
    let lines: Vec<&str> = log.lines().filter(|line| line.starts_with("progress: ")).collect();
    assert!(lines.len() >= 2, "{log}");
    let last = lines[lines.len() - 1];
    assert!(last.contains(" % done, ") && last.contains(" gone, about ") && last.contains(" left: ca+ "), "{log}");
    assert_eq!(run("--quiet"), "");
}
