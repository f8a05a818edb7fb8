//! Folders of photographs: splits, preprocessing, broken images and names.

use crate::support::{bmp, indices, json, outcome, rankle};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Writes three photographs of 12×16 pixels, noise around a shade of gray.
fn class(folder: &Path, shade: u32) {
    for image in 0..3u32 {
        let noise = |at: u32| (shade + (at * 37 + image * 101) % 90) as u8;
        let pixel = |x, y| [0, 1, 2].map(|channel| noise(36 * y + 3 * x + channel));
        bmp(&folder.join(format!("{image}.bmp")), (12, 16), pixel);
    }
}

/// Writes two classes of photographs into each of the folders `parts` of `root`, and returns `root`.
fn classes(root: &Path, parts: &[&str]) -> PathBuf {
    for part in parts {
        class(&root.join(part).join("bright"), 150);
        class(&root.join(part).join("dark"), 20);
    }
    root.to_owned()
}

/// A folder with a network in `model` and its photographs in `splits`, and the standard error of the training. Made once.
fn trained() -> &'static (TempDir, String) {
    static MODEL: OnceLock<(TempDir, String)> = OnceLock::new();
    MODEL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let photographs = classes(&folder.path().join("splits"), &["train", "val"]);
        let mut train = rankle("train --batch-size 3 --epochs 1 --model resnet18,size=32 --distance cosine");
        train.arg("--dataset").arg(format!("folder:{}", photographs.display()));
        let (code, _, stderr) = outcome(train.arg("--output").arg(folder.path().join("model")));
        assert_eq!(code, 0, "{stderr}");
        (folder, stderr)
    })
}

/// A command on the network of [`trained`] and the dataset `folder{options}:PATH`.
fn on(command: &str, options: &str, path: &Path) -> Command {
    let mut command = rankle(&format!("{command} --model resnet18,size=32 --distance cosine"));
    command.arg("--dataset").arg(format!("folder{options}:{}", path.display()));
    command.arg("--weights").arg(trained().0.path().join("model/model.safetensors"));
    command
}

#[test]
fn train_and_val_are_splits() {
    let (folder, stderr) = trained();
    assert!(stderr.contains("tested: val/, trained on: train/"), "{stderr}");
    let card = std::fs::read_to_string(folder.path().join("model/card.toml")).unwrap();
    // The license is unknown.
    assert!(!card.contains("\nlicense = "), "{card}");
    assert!(card.contains("\nimages = 6\n") && card.contains("\ntest_images = 6\n"), "{card}");
    let (code, stdout, stderr) = outcome(&mut on("evaluate", "", &folder.path().join("splits")));
    assert!(code == 0 && stdout.contains(", 6 test images, ") && stderr.contains("tested: val/"), "{stdout}{stderr}");
    // Each image has a similar one in the other split.
    let all = json(&mut on("evaluate --format json", ",test=all", &folder.path().join("splits")));
    assert_eq!((&all["images"], &all["recall_at_1"], &all["skipped"]), (&12.into(), &100.0.into(), &0.into()));
}

/// Every command refuses them before it begins.
#[test]
fn test_images_of_one_class_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let root = classes(folder.path(), &[""]);
    let plan = folder.path().join("plan");
    let weights = trained().0.path().join("model/model.safetensors");
    let (dataset, weights) = (format!("folder:{}", root.display()), weights.display());
    let cell = format!(
        r#"{{"table":"t","dataset":"{dataset}","model":"resnet18,size=32","weights":"{weights}","distance":"cosine","loss":"triplet","#
    ) + r#""defense":"none","attack":"es","targets":0,"epsilon":0.1,"protocol":"paper","eight_bit":false,"images":1,"seed":0}"#;
    std::fs::write(&plan, cell).unwrap();
    let at = |line: &str| on(line, "", &root);
    let mut sweep = rankle("sweep");
    sweep.arg("--plan").arg(&plan).arg("--records").arg(folder.path().join("records"));
    let mut train = rankle("train --model resnet18,size=32 --distance cosine --dataset");
    train.arg(&dataset).arg("--output").arg(folder.path().join("model"));
    let attack = "--attack es --epsilon 0.1 --images 1 --iterations 1";
    let mut picture = at(&format!("picture {attack}"));
    picture.arg("--output").arg(folder.path().join("x.png"));
    for mut command in [at("evaluate"), at(&format!("attack {attack}")), sweep, train, picture] {
        let (code, stdout, stderr) = outcome(&mut command);
        let message = "are of one class, so recall is 100 % with any model: test several classes, as in folder,images=50%";
        assert!(code == 1 && stdout.is_empty() && stderr.contains(message), "{command:?}: {code} {stderr}");
    }
    // `embed` ranks nothing and accepts one class; options that put both classes into the test split are accepted.
    let embed = outcome(at("embed").arg("--output").arg(folder.path().join("embeddings.safetensors")));
    assert_eq!(embed.0, 0, "{}", embed.2);
    for options in [",test=all", ",images=50%"] {
        let (code, _, stderr) = outcome(&mut on("evaluate", options, &root));
        assert_eq!(code, 0, "{stderr}");
    }
}

#[test]
fn names_of_datasets_that_their_arguments_contradict() {
    let splits = trained().0.path().join("splits");
    let mut train = rankle("train --model resnet18,size=32 --distance cosine --output o --dataset");
    train.arg(format!("folder,test=all:{}", splits.display()));
    for (mut command, message) in [
        (train, "tests every image and leaves none to train on: say what is tested"),
        (
            on("evaluate", ",edge=31", &splits),
            "edge=31 does not fit a model that takes 32 pixels a side: 32 to 2048 are possible",
        ),
        (on("evaluate", ",resize=none,edge=64", &splits), "resize=none resizes nothing"),
        (on("evaluate", ",resize=wide", &splits), "write resize=shorter or resize=square or resize=none"),
        (on("evaluate", ",resise=square", &splits), "unknown option of a dataset 'resise', did you mean 'resize'?"),
    ] {
        let (code, stdout, stderr) = outcome(&mut command);
        assert!(code == 2 && stdout.is_empty() && stderr.contains(message), "{code} {stderr}");
    }
}

/// Records and cards name the preprocessing, and a different one causes a warning.
#[test]
fn preparations_are_recorded_and_compared() {
    let (folder, _) = trained();
    let splits = folder.path().join("splits");
    let usual = "resize=shorter,edge=37,crop=32,filter=bilinear,exif=rotate";
    let card = std::fs::read_to_string(folder.path().join("model/card.toml")).unwrap();
    assert!(card.contains(&format!("preprocessing = \"{usual}\"")), "{card}");
    let square = "resize=square,edge=40,crop=32,filter=bicubic,exif=ignore";
    for (options, expected) in [("", usual), (",filter=bicubic,exif=ignore,edge=40,resize=square", square)] {
        let attack = "attack --attack es --epsilon 0.1 --images 2 --iterations 1 --format json";
        for command in [attack, "evaluate --format json"] {
            let (code, stdout, stderr) = outcome(&mut on(command, options, &splits));
            assert_eq!(code, 0, "{stderr}");
            let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(answer["preprocessing"], expected, "{command}");
            let told = stderr.contains(&format!("tested after training with {usual}, used with {square}"));
            assert_eq!(told, expected == square, "{stderr}");
        }
    }
    let (code, _, stderr) = outcome(&mut on("evaluate", ",resize=none", &splits));
    let message = "0.bmp is 12×16 pixels, and with resize=none the model takes 32×32 only: resize it, or";
    assert!(code == 1 && stderr.contains(message), "{stderr}");
}

/// Twelve photographs in two splits, three of them broken.
fn damaged() -> (TempDir, [&'static str; 3]) {
    let folder = tempfile::tempdir().unwrap();
    classes(folder.path(), &["train", "val"]);
    let broken = ["train/dark/1.bmp", "val/bright/0.bmp", "val/dark/2.bmp"];
    for file in broken {
        std::fs::write(folder.path().join(file), "<html>").unwrap();
    }
    (folder, broken)
}

/// `check` finds all broken images in one run; every other command stops at the first.
#[test]
fn broken_images_are_named_at_once() {
    let (folder, broken) = damaged();
    let dataset = |options: &str| format!("folder{options}:{}", folder.path().display());
    let check = |options: &str, rest: &str| outcome(rankle("check").arg(dataset(options)).args(rest.split_whitespace()));
    let (code, stdout, stderr) = check("", "");
    assert_eq!((code, stdout.lines().count()), (1, 4), "{stdout}{stderr}");
    for (line, file) in stdout.lines().zip(broken) {
        let split = if file.starts_with("train") { "train: " } else { "test: " };
        assert!(line.starts_with(split) && line.contains(&format!("{file} does not begin like an image")), "{line}");
    }
    assert!(stdout.ends_with(": 3 of 12 images are broken\n"), "{stdout}");
    assert!(stderr.contains("3 of 12 images of ") && stderr.contains("leave them out with skip-broken"), "{stderr}");

    let (code, stdout, _) = check("", "--format json --split test");
    let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &answer["images"], &answer["broken"][1]["image"]), (1, &6.into(), &broken[2].into()));
    let (code, stdout, stderr) = check(",skip-broken", "");
    assert!(code == 0 && stdout.ends_with(": 0 of 9 images are broken, 3 broken ones are left out\n"), "{stdout}");
    let warnings = stderr.lines().filter(|line| line.contains("are left out because they cannot be decoded: ")).count();
    assert_eq!(warnings, 2, "{stderr}");
    // Without resizing, an image of another size is as useless as a broken one.
    let (code, stdout, _) = check(",resize=none", "--model resnet18,size=32");
    assert!(code == 1 && stdout.ends_with(": 12 of 12 images are broken\n"), "{stdout}");
    assert_eq!(check(",resize=none", "").0, 2);
    assert_eq!(outcome(&mut rankle("check mnist")).1, "mnist: 0 of 70000 images are broken\n");
}

/// The record has the number of images that were left out; the name of its dataset says why.
#[test]
fn broken_images_are_left_out_and_recorded() {
    let (folder, _) = damaged();
    let (code, _, stderr) = outcome(&mut on("evaluate", "", folder.path()));
    assert!(code == 1 && stderr.contains("val/bright/0.bmp does not begin like an image"), "{stderr}");
    let attack = "attack --attack es --epsilon 0.1 --images 2 --iterations 1 --format json";
    for command in ["evaluate --format json", attack] {
        let (code, stdout, stderr) = outcome(&mut on(command, ",skip-broken", folder.path()));
        let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code} {stderr}"));
        assert_eq!(answer["left_out"], 2, "{answer}");
        assert!(
            stderr.contains(": 2 of 6 photographs are left out because they cannot be decoded: val/bright/0.bmp, val/"),
            "{stderr}"
        );
    }
    let mut train = rankle("train --batch-size 3 --epochs 1 --model resnet18,size=32 --distance cosine --dataset");
    train.arg(format!("folder,skip-broken:{}", folder.path().display()));
    let (code, _, stderr) = outcome(train.arg("--output").arg(folder.path().join("model")));
    assert_eq!(code, 0, "{stderr}");
    let card = std::fs::read_to_string(folder.path().join("model/card.toml")).unwrap();
    assert!(card.contains("\nleft_out = [\n    1,\n    2,\n]\n") || card.contains("\nleft_out = [1, 2]\n"), "{card}");
    // The field is absent if no image was left out.
    let all = json(&mut on("evaluate --format json", "", &trained().0.path().join("splits")));
    assert!(all.get("left_out").is_none(), "{all}");
}

/// A model of 28×28 gray pixels on color photographs.
#[test]
fn photographs_serve_models_of_gray_images() {
    let folder = tempfile::tempdir().unwrap();
    let photographs = classes(&folder.path().join("splits"), &["train", "val"]);
    let dataset = format!("folder:{}", photographs.display());
    let mut train = rankle("train --batch-size 3 --epochs 1 --model c2f2 --distance cosine --dataset");
    let (code, _, stderr) = outcome(train.arg(&dataset).arg("--output").arg(folder.path().join("model")));
    assert_eq!(code, 0, "{stderr}");
    let mut attack =
        rankle("attack --model c2f2 --distance cosine --attack es --epsilon 0.1 --images 2 --iterations 1 --format json");
    let record = json(attack.arg("--dataset").arg(&dataset).arg("--weights").arg(folder.path().join("model/model.safetensors")));
    assert_eq!(record["preprocessing"], "resize=shorter,edge=32,crop=28,filter=bilinear,exif=rotate,channels=1");
}

/// The library does not look up a bare name as a path; the driver suggests the name to write.
#[test]
fn a_folder_that_is_named_without_a_word_is_told() {
    let folder = tempfile::tempdir().unwrap();
    classes(&folder.path().join("shop"), &[""]);
    std::fs::create_dir(folder.path().join("letters")).unwrap();
    std::fs::write(folder.path().join("letters/t10k-images-idx3-ubyte.gz"), "").unwrap();
    for (name, parts) in [
        ("shop", ["unknown dataset 'shop'; ", "write folder:shop"]),
        ("./shop", ["unknown dataset './shop'; ", "write folder:./shop"]),
        ("shop,images=50%", ["unknown dataset 'shop'; ", "write folder,images=50%:shop"]),
        ("letters", ["unknown dataset 'letters'; ", "write idx:letters"]),
        ("minst", ["unknown dataset 'minst', did you mean 'mnist'?", "idx:PATH"]),
    ] {
        let (code, _, stderr) = outcome(rankle("check").arg(name).current_dir(folder.path()));
        assert!(code == 2 && stderr.lines().count() == 1 && parts.iter().all(|part| stderr.contains(part)), "{stderr}");
    }
}

/// JSON in a tensor of bytes.
fn told(file: &Path, name: &str) -> serde_json::Value {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    serde_json::from_slice(tensors.tensor(name).unwrap().data()).unwrap()
}

/// Images are chosen by name, and named in tensor files, beside saved images and in pictures.
#[test]
fn photographs_have_names() {
    let splits = trained().0.path().join("splits");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let list = at("list");
    std::fs::write(&list, "val/dark/1.bmp\r\n0,./val/dark/0.bmp\n").unwrap();
    for (list, expected) in [("val/bright/2.bmp,1", vec![2, 1]), (&*format!("@{}", list.display()), vec![4, 0, 3])] {
        let file = at("e.safetensors");
        let mut embed = on("embed --split test", "", &splits);
        let (code, _, stderr) = outcome(embed.args(["--image-indices", list]).arg("--output").arg(&file));
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(indices(&std::fs::read(&file).unwrap(), "image_indices").1, expected);
        let name = |&index: &u32| format!("val/{}/{}.bmp", if index < 3 { "bright" } else { "dark" }, index % 3);
        assert_eq!(told(&file, "image_names"), serde_json::json!(expected.iter().map(name).collect::<Vec<_>>()));
    }
    assert_eq!(told(&at("e.safetensors"), "class_names"), serde_json::json!({ "0": "bright", "1": "dark" }));

    let chosen = "--attack qa+ --epsilon 8/255 --iterations 1 --image-indices val/dark/1.bmp --target-indices val/bright/0.bmp";
    let attack = |path: &Path| {
        let mut command = on(&format!("attack --format json {chosen}"), "", &splits);
        command.arg("--save-adversarial").arg(path);
        command
    };
    let record = json(&mut attack(&at("new/")));
    // Records name images by number.
    assert_eq!(record["chosen"], "images 4; targets 0");
    let index: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(at("new/index.json")).unwrap()).unwrap();
    let image = &index["images"][0];
    assert_eq!((&image["file"], &image["name"], &image["class"]), (&"4-1.png".into(), &"val/dark/1.bmp".into(), &"dark".into()));
    assert!(at("new/4-1.png").exists());
    json(&mut attack(&at("a.safetensors")));
    assert_eq!(told(&at("a.safetensors"), "image_names"), serde_json::json!(["val/dark/1.bmp"]));
    let mut picture = on(&format!("picture --format json {chosen}"), "", &splits);
    let drawn = json(picture.arg("--output").arg(at("p.png")));
    assert_eq!(drawn["pictures"][0]["name"], "val/dark/1.bmp");

    for (name, said) in [
        ("val/drak/1.bmp", "--image-indices: none of the 6 images of folder:"),
        ("val/drak/1.bmp", " is 'val/drak/1.bmp', did you mean 'val/dark/1.bmp'?"),
        ("0,6", "--image-indices: index 6 is out of range"),
    ] {
        let (code, stdout, stderr) = outcome(on("attack --attack es --epsilon 0.1", "", &splits).args(["--image-indices", name]));
        assert!(code == 1 && stdout.is_empty() && stderr.contains(said), "{stderr}");
    }
}
