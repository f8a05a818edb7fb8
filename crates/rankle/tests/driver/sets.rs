//! Queries that are not in the gallery.

use crate::support::{bmp, json, outcome, rankle, weights, without};
use rankle_synth::Products;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Writes `copies` photographs in each of four classes. Another `kind` has other pixels, one other class, and file names in
/// another order than the classes.
fn photographs(folder: &Path, kind: u32, copies: u32) {
    let classes = if kind == 0 { ["axe", "bow", "cup", "dog"] } else { ["dog", "ant", "bow", "axe"] };
    for (class, name) in classes.iter().enumerate() {
        let shade = u32::from(name.as_bytes()[0]) * 57;
        for image in 0..copies {
            let pixel = |x: u32, y: u32| [x * 5, y * 7, image].map(|value| (value * 31 + shade + 9 * kind) as u8);
            bmp(&folder.join(name).join(format!("{kind}-{class}-{image}.bmp")), (28, 28), pixel);
        }
    }
}

/// A gallery of forty photographs, and twelve queries.
fn shop() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    photographs(&folder.path().join("shop"), 0, 10);
    photographs(&folder.path().join("phone"), 1, 3);
    folder
}

/// A command on a model of gray images, with queries from a separate folder.
fn on(command: &str, folder: &TempDir, rest: &str) -> Command {
    let place = |name: &str| format!("folder,test=all:{}", folder.path().join(name).display());
    let mut command = rankle(command);
    command.args(["--model", "c2f2", "--distance", "cosine", "--weights"]).arg(weights());
    command.args(["--dataset", &place("shop"), "--queries", &place("phone")]).args(rest.split_whitespace());
    command
}

#[test]
fn a_gallery_of_photographs_is_attacked_by_queries_that_are_not_in_it() {
    let shop = shop();
    for (attack, images) in [("ca+", 40), ("ca-", 40), ("qa+", 12), ("es", 12)] {
        let targets = if attack == "es" { "" } else { "--targets 2" };
        let rest =
            format!("--attack {attack} {targets} --epsilon 0.1 --protocol strict --iterations 5 --restarts 1 --format json");
        let record = json(&mut on("attack", &shop, &rest));
        // By default all images of the perturbed set are attacked.
        assert_eq!(
            (&record["images"], &record["gallery"], &record["queries"]),
            (&images.into(), &40.into(), &12.into()),
            "{attack}"
        );
        assert!(record["query_dataset"].as_str().unwrap().ends_with("phone") && record.get("gallery_dataset").is_none());
        let (code, _, stderr) = outcome(&mut on("attack", &shop, &format!("{rest} --images {}", images + 1)));
        assert!(code == 1 && stderr.contains(&format!("are more than the {images} of ")), "{stderr}");
    }
    // The same with `--dataset` for the queries and `--gallery` for the gallery.
    let (whole, asks) = (shop.path().join("shop"), shop.path().join("phone"));
    let mut command = rankle("attack --model c2f2 --distance cosine --attack qa+ --epsilon 0.1 --iterations 5 --format json");
    command.arg("--weights").arg(weights());
    command.arg("--dataset").arg(format!("folder,test=all:{}", asks.display()));
    command.arg("--gallery").arg(format!("folder,test=all:{}", whole.display()));
    let named = json(&mut command);
    let other = json(&mut on("attack", &shop, "--attack qa+ --epsilon 0.1 --iterations 5 --format json"));
    let names = ["dataset", "seconds"];
    let (named, other) = (without(named, &names), without(other, &names));
    assert_eq!(without(named, &["gallery_dataset"]), without(other, &["query_dataset"]));
}

/// Classes are matched by name: three of the four query classes are in the gallery.
#[test]
fn queries_are_evaluated_against_the_gallery() {
    let shop = shop();
    let found = json(&mut on("evaluate --format json", &shop, ""));
    assert_eq!((&found["images"], &found["gallery"], &found["skipped"]), (&12.into(), &40.into(), &3.into()));
    let (code, stdout, stderr) = outcome(&mut on("evaluate", &shop, ""));
    assert!(
        code == 0 && stdout.contains(", 12 test images against 40 gallery images, 3 of them of no class of these and skipped "),
        "{stdout}{stderr}"
    );
    // The same set as queries and gallery equals one dataset.
    let place = format!("folder,test=all:{}", shop.path().join("shop").display());
    let plain = || {
        let mut command = rankle("evaluate --model c2f2 --distance cosine --format json --dataset");
        command.arg(&place).arg("--weights").arg(weights());
        command
    };
    let fields = ["seconds", "images_per_second", "waiting_share"];
    let (one, both) = (json(&mut plain()), json(plain().args(["--queries", &place, "--gallery", &place])));
    assert_eq!(without(one, &fields), without(both, &fields));
}

#[test]
fn what_does_not_go_together_is_told() {
    let shop = shop();
    for (rest, code, part) in [
        ("--gallery mnist", 2, "the gallery and the queries are not prepared alike"),
        ("--queries folder:nowhere", 1, "nowhere"),
        ("--queries nonsense", 2, "unknown dataset 'nonsense'"),
    ] {
        let mut command = rankle("evaluate --model c2f2 --distance cosine");
        command.arg("--dataset").arg(format!("folder,test=all:{}", shop.path().join("shop").display()));
        let (found, stdout, stderr) = outcome(command.arg("--weights").arg(weights()).args(rest.split_whitespace()));
        assert!(found == code && stdout.is_empty() && stderr.contains(part), "{rest}: {found} {stderr}");
    }
    // Image and target lists refer to the set of their role.
    let named =
        "--attack qa+ --epsilon 0.1 --iterations 2 --format json --image-indices dog/1-0-1.bmp --target-indices axe/0-0-3.bmp";
    assert_eq!(json(&mut on("attack", &shop, named))["images"], 1);
    let swapped = "--attack ca+ --epsilon 0.1 --image-indices dog/1-0-1.bmp";
    let (code, _, stderr) = outcome(&mut on("attack", &shop, swapped));
    assert!(code == 1 && stderr.contains("none of the 40 images of "), "{stderr}");
}

#[test]
fn every_command_takes_queries_of_their_own() {
    let shop = shop();
    let search = "--epsilon 0.1 --iterations 3";
    for attack in ["ca+", "sp-qa+", "es"] {
        let file = shop.path().join("picture.png");
        let (code, stdout, stderr) =
            outcome(on("picture", &shop, &format!("--attack {attack} {search} --images 1")).arg("--output").arg(&file));
        assert!(code == 0 && file.exists(), "{attack} {stdout}{stderr}");
        std::fs::remove_file(&file).unwrap();
    }
    for attack in ["ca+", "qa-"] {
        let (saved, drawn) = (shop.path().join("u.safetensors"), shop.path().join("u.png"));
        let mut universal = on("universal", &shop, &format!("--attack {attack} {search} --batch 6 --batches 2 --format json"));
        let record = json(universal.arg("--save").arg(&saved).arg("--picture").arg(&drawn));
        assert_eq!((&record["images"], &record["queries"]), (&12.into(), &12.into()), "{attack}");
        assert!(saved.exists() && drawn.exists());
    }
    let mut transfer = rankle("transfer --model c2f2 --distance cosine --attack qa+ --epsilon 0.1 --iterations 3 --format json");
    let place = |name: &str| format!("folder,test=all:{}", shop.path().join(name).display());
    transfer.arg("--from").arg(weights()).arg("--to").arg(weights());
    let record = json(transfer.args(["--dataset", &place("shop"), "--queries", &place("phone")]));
    assert_eq!(record["rank_after"], record["white_box"]["rank_after"]);
    let page = shop.path().join("page");
    let (code, stdout, stderr) = outcome(on("sanity", &shop, "--epsilon 0.1 --images 4").arg("--output").arg(&page));
    assert!(code == 0 && stdout.contains(", queries folder,test=all:"), "{stdout}{stderr}");
    assert!(std::fs::read_to_string(page.join("sanity.json")).unwrap().contains("\"query_dataset\":"));
}

/// A dataset published with queries and gallery; its records can be computed again.
#[test]
fn in_shop_is_trained_evaluated_attacked_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    Products { count: 8, views: 4, seed: 0 }.write_inshop(&at("inshop"), || Ok::<_, std::io::Error>(())).unwrap();
    let mut train = rankle("train --dataset inshop --model resnet18,size=32 --distance cosine --batch-size 4 --epochs 1");
    let (code, stdout, stderr) = outcome(train.arg("--dataset-dir").arg(at("inshop")).arg("--output").arg(at("model")));
    assert!(code == 0 && stdout.contains(" of 8 test images"), "{stdout}{stderr}");
    let on = |command: &str| {
        let mut command = rankle(command);
        command.args(["--dataset", "inshop", "--dataset-dir"]).arg(at("inshop")).arg("--model").arg(at("model"));
        command
    };
    let found = json(&mut on("evaluate --format json"));
    assert_eq!((&found["images"], &found["gallery"], &found["skipped"]), (&8.into(), &8.into(), &0.into()));
    let (mut lines, records) = (String::new(), at("records.jsonl"));
    for attack in ["ca+", "qa+", "es"] {
        let (code, line, stderr) =
            outcome(&mut on(&format!("attack --attack {attack} --epsilon 0.1 --iterations 2 --format json")));
        assert_eq!(code, 0, "{stderr}");
        assert!(line.contains("\"queries\":8") && !line.contains("query_dataset"), "{line}");
        lines += &line;
    }
    std::fs::write(&records, lines).unwrap();
    let mut verify = rankle("verify --dataset-dir");
    verify.arg(at("inshop")).arg("--weights-dir").arg(folder.path()).arg(&records).arg("--output").arg(at("verified"));
    let (code, stdout, stderr) = outcome(&mut verify);
    assert!(code == 0 && stdout.contains("3 agree"), "{stdout}{stderr}");
}

/// A file may hold cells with and without separate queries; each is computed once, as it states.
#[test]
fn records_of_queries_of_their_own_are_resumed_and_verified() {
    let shop = shop();
    let search = "--attack qa+ --epsilon 0.1 --iterations 2 --images 6 --format json";
    let place = |name: &str| format!("folder,test=all:{}", shop.path().join(name).display());
    let mut alone = rankle(&format!("attack --model c2f2 --distance cosine {search}"));
    alone.args(["--dataset", &place("shop"), "--weights"]).arg(weights());
    let plan = shop.path().join("plan.jsonl");
    let lines = [outcome(&mut on("attack", &shop, search)), outcome(&mut alone)];
    std::fs::write(&plan, lines.map(|(code, line, stderr)| if code == 0 { line } else { panic!("{stderr}") }).concat()).unwrap();
    let records = shop.path().join("records.jsonl");
    let sweep = || outcome(rankle("sweep").arg("--plan").arg(&plan).arg("--records").arg(&records));
    let (first, second) = (sweep(), sweep());
    assert!(first.0 == 0 && first.1 == second.1 && first.1.lines().count() == 2, "{first:?} {second:?}");
    let kept = std::fs::read_to_string(&records).unwrap();
    assert_eq!((kept.lines().count(), kept.matches("\"query_dataset\":").count()), (2, 1), "{kept}");
    let mut verify = rankle("verify");
    let folder = weights().parent().unwrap().to_owned();
    verify.arg("--weights-dir").arg(folder).arg(&records).arg("--output").arg(shop.path().join("verified"));
    let (code, stdout, stderr) = outcome(&mut verify);
    assert!(code == 0 && stdout.contains("2 agree"), "{stdout}{stderr}");
}

#[test]
fn what_is_in_both_sets_or_in_no_class_of_both_is_refused_before_the_work() {
    let shop = shop();
    photographs(&shop.path().join("others"), 2, 2);
    for name in ["dog", "ant", "bow", "axe"] {
        let (from, to) = (shop.path().join("others").join(name), shop.path().join("others").join(format!("un{name}")));
        std::fs::rename(from, to).unwrap();
    }
    let asked = |command: &str, queries: String| {
        let mut command = rankle(command);
        command.args(["--model", "c2f2", "--distance", "cosine", "--weights"]).arg(weights());
        command.arg("--dataset").arg(format!("folder,test=all:{}", shop.path().join("shop").display()));
        outcome(command.args(["--queries", &queries]))
    };
    // The same folder under another spelling.
    let again = format!("folder,test=all,resize=shorter:{}", shop.path().join("phone/../shop").display());
    for command in ["evaluate", "attack --attack qa+ --epsilon 0.1 --iterations 2"] {
        let (code, _, stderr) = asked(command, again.clone());
        assert!(code == 1 && stderr.contains("40 images of the queries"), "{stderr}");
    }
    let page = shop.path().join("page");
    let strange = format!("folder,test=all:{}", shop.path().join("others").display());
    let (code, _, stderr) = asked(&format!("sanity --epsilon 0.1 --images 4 --output {}", page.display()), strange);
    assert!(code == 1 && stderr.contains("no class of the queries is in the gallery"), "{stderr}");
    assert!(!page.join("sanity.json").exists());
}
